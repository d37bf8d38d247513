"""Container formats: RAW, VHD, QCOW2, compressed files and formats that QEMU reads."""
