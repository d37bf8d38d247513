"""Frozen values that cross a boundary between two packages."""
