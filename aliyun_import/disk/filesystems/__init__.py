"""Read-only file system readers."""
