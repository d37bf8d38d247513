"""Guests of instances: disks of images that run in QEMU."""
