"""Inspection and conversion of disk images on this machine. Opens files, never a socket."""
