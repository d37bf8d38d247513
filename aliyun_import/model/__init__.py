"""Frozen values that cross the boundary between two packages."""
