"""Imports, exports and copies of images: their progress, and the formats of disks."""
