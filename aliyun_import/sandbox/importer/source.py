"""This file is what the readers of disks in OSS share: how they read, and how they say that a disk is damaged."""

from typing import Protocol


class Reader(Protocol):
    """An object in OSS, read by ranges."""

    @property
    def size(self) -> int:
        """Give the number of bytes."""
        ...

    def pread(self, offset: int, length: int) -> bytes:
        """Read a range that lies within the object."""
        ...


class DamagedDiskError(Exception):
    """The bytes are not a whole disk of their format; the text says what is wrong."""
