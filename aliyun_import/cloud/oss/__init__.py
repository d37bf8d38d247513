"""Client of OSS."""
