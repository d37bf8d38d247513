"""Imports of disks: their formats and their progress."""
