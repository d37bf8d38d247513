"""This room takes an OSS object to a usable custom image."""
