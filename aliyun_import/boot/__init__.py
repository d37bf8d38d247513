"""Boot tests: of a disk in QEMU, and of an image as an instance of ECS."""
