"""Guests of instances: virtual machines in QEMU with the disks of an image."""
