"""The holes of a file, and how far the file system is believed about them.

A hole is not read: zeros are made of it, and the CRC-64 of the disk has zeros there, too. So a wrong answer of the file
system would pass every proof. Network and FUSE file systems can give one, and ZFS while data is not written yet.
"""

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aliyun_import.limits import KIB, MIB

# How SEEK_DATA fails where the file system, or the kind of file, does not know holes.
_NO_HOLES_HERE = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.ESPIPE})
# Linux answers for these from its own block maps. Elsewhere the allocated size must fit, too: here it may be larger,
# because space that was reserved and not written (fallocate) is a hole.
_LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "f2fs", "bcachefs"})
# Metadata of the file counts as allocated.
_SLACK_BYTES = MIB
_SPOT_BYTES = 4 * KIB
_MAX_HOLES_TRIED = 128


@dataclass(frozen=True, slots=True)
class Extent:
    """A range of the disk that may hold data: [start, end), in bytes."""

    start: int
    end: int


def find_extents(descriptor: int, size_bytes: int) -> tuple[Extent, ...]:
    """Return the ranges that may hold data by the word of the file system; one for all where it knows no holes.

    What was written is flushed first, so that the answer is about it. Raises OSError as the file system does.
    """
    with contextlib.suppress(OSError):
        os.fsync(descriptor)
    return tuple(_walk(descriptor, size_bytes))


def why_not_believed(
    descriptor: int, size_bytes: int, extents: Sequence[Extent], *, kinds: frozenset[str], allocated_bytes: int
) -> str:
    """Return what contradicts the holes, empty for nothing: bytes in them, or more allocated than the extents have.

    `kinds` are the kinds of the file system that the file may be on, empty where that is unknown.
    """
    data_bytes = sum(extent.end - extent.start for extent in extents)
    if kinds - _LOCAL and allocated_bytes > data_bytes + _SLACK_BYTES and data_bytes < size_bytes:
        return f"{allocated_bytes} bytes are allocated, and {data_bytes} are reported as data"
    for offset, length in spots_in(holes_of(size_bytes, extents)):
        if any(os.pread(descriptor, length, offset)):
            return f"there is data at byte {offset}, in a range that is reported as a hole"
    return ""


def holes_of(size_bytes: int, extents: Sequence[Extent]) -> list[Extent]:
    """Return the ranges between the extents. Pure."""
    starts = [0, *(extent.end for extent in extents)]
    ends = [*(extent.start for extent in extents), size_bytes]
    return [Extent(start, end) for start, end in zip(starts, ends, strict=True) if start < end]


def spots_in(holes: Sequence[Extent]) -> Iterator[tuple[int, int]]:
    """Yield the (offset, length) ranges at which holes are tried: at both ends and in the middle of each. Pure."""
    step = -(-len(holes) // _MAX_HOLES_TRIED) or 1
    for hole in holes[::step]:
        length = min(_SPOT_BYTES, hole.end - hole.start)
        middle = hole.start + (hole.end - hole.start - length) // 2
        for offset in dict.fromkeys((hole.start, middle, hole.end - length)):
            yield offset, length


def _walk(descriptor: int, size_bytes: int) -> Iterator[Extent]:
    end = 0
    while end < size_bytes:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
            next_end = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            if error.errno in _NO_HOLES_HERE:
                yield Extent(end, size_bytes)
                return
            raise
        if start >= size_bytes:
            return
        end = min(next_end, size_bytes)
        yield Extent(start, end)
