"""This room takes a disk to an OSS object, and proves that it arrived."""
