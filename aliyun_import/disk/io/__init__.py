"""Reading bytes of disks, and the programs that help with it."""
