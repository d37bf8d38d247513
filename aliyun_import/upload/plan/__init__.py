"""Planning of an upload. Pure functions."""
