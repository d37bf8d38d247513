"""Checks of disks and requests that run before the upload."""
