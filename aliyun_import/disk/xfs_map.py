"""This file maps a file of XFS to the runs of blocks that hold it: extents in the inode, and B+trees of them."""

import struct
from collections.abc import Iterator, Sequence

from aliyun_import.disk.filesystem import Run, checked_runs
from aliyun_import.disk.reader import Bad, Reader, read_exactly
from aliyun_import.disk.xfs_layout import Superblock

# A file of 12,000 extents takes 48 leaf blocks of 4 KiB; 2,000 hold half a million extents.
_MAX_MAP_BLOCKS = 2000
_MAX_RUNS = 200_000
_MAX_LEVELS = 9
_RECORD_BYTES = 16
_LONG_HEADER_BYTES = {4: 24, 5: 72}
_TREE_MAGIC = {4: b"BMAP", 5: b"BMA3"}


def extent_runs(sb: Superblock, fork: bytes, count: int) -> Sequence[Run]:
    """Map a file whose extents lie in its inode."""
    if count * _RECORD_BYTES > len(fork):
        raise Bad(f"{count} extents do not fit into an inode")
    return checked_runs(list(_records(sb, fork, 0, count)))


def tree_runs(reader: Reader, sb: Superblock, fork: bytes) -> Sequence[Run]:
    """Map a file whose extents lie in a B+tree with its root in the inode."""
    walk = _Walk(reader, sb)
    level, count = struct.unpack_from(">HH", fork, 0)
    most = (len(fork) - 4) // _RECORD_BYTES
    if not 1 <= level <= _MAX_LEVELS or count > most:
        raise Bad("the root of an extent tree is damaged")
    pointers_at = 4 + most * 8
    for index in range(count):
        (block,) = struct.unpack_from(">Q", fork, pointers_at + index * 8)
        walk.descend(block, level - 1)
    return checked_runs(walk.runs)


class _Walk:
    """One walk over an extent tree, with its caps."""

    def __init__(self, reader: Reader, sb: Superblock) -> None:
        self._reader, self._sb = reader, sb
        self.runs: list[Run] = []
        self._left = _MAX_MAP_BLOCKS

    def descend(self, block: int, level: int) -> None:
        """Collect the runs below one block of the tree."""
        self._left -= 1
        if self._left < 0 or len(self.runs) > _MAX_RUNS:
            raise Bad(f"an extent tree has more than {_MAX_MAP_BLOCKS} blocks")
        sb = self._sb
        raw = read_exactly(self._reader, sb.block_at(block), sb.block_bytes)
        header = _LONG_HEADER_BYTES[sb.version]
        magic, own_level, count = struct.unpack_from(">4sHH", raw, 0)
        most = (sb.block_bytes - header) // _RECORD_BYTES
        if magic != _TREE_MAGIC[sb.version] or own_level != level or count > most:
            raise Bad("a block of an extent tree is damaged")
        if level == 0:
            self.runs += _records(sb, raw, header, count)
            return
        for index in range(count):
            (child,) = struct.unpack_from(">Q", raw, header + most * 8 + index * 8)
            self.descend(child, level - 1)


def _records(sb: Superblock, raw: bytes, at: int, count: int) -> Iterator[Run]:
    """Unpack extents: 1 bit unwritten, 54 bits of place in the file, 52 of block, 21 of length."""
    for index in range(count):
        high, low = struct.unpack_from(">QQ", raw, at + index * _RECORD_BYTES)
        if high >> 63:
            continue  # allocated and never written: reads as zeros, like a hole
        block = (high & 0x1FF) << 43 | low >> 21
        length = low & 0x1FFFFF
        position = sb.block_at(block)
        if length == 0 or position + length * sb.block_bytes > sb.blocks * sb.block_bytes:
            raise Bad("an extent lies outside of the file system")
        yield Run(high >> 9 & (1 << 54) - 1, length, position)
