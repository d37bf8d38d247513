"""Checks of a disk and of a request before the first byte is sent."""
