"""Inspection of the operating system on a disk."""
