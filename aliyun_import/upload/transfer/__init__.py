"""Transfer of the parts of an upload."""
