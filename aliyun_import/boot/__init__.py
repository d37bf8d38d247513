"""Boot tests: a disk is started in QEMU, and its console shows whether it boots."""
