"""Transfer of parts by parallel workers."""
