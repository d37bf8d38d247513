"""This file maps a file of ext2, ext3 or ext4 to the runs of blocks that hold it: extent trees and block maps."""

import struct
from collections.abc import Sequence

from aliyun_import.disk.ext_layout import Superblock
from aliyun_import.disk.filesystem import Run, checked_runs
from aliyun_import.disk.reader import Bad, Reader, Unsupported, read_exactly

_EXTENT_MAGIC = 0xF30A
_MAX_DEPTH = 5
# A file of 12,000 extents takes 36 leaf blocks; 2,000 hold 680,000 extents.
_MAX_MAP_BLOCKS = 2000
_MAX_RUNS = 200_000
# Block maps (no extents) are walked whole; no file that is read here comes near 2 GiB.
_MAX_MAPPED_BYTES = 2 << 30


def extent_runs(reader: Reader, sb: Superblock, block: bytes) -> Sequence[Run]:
    """Map a file by the extent tree whose root is the 60 bytes of i_block."""
    walk = _ExtentWalk(reader, sb)
    walk.descend(block, None)
    return checked_runs(walk.runs)


def block_map_runs(reader: Reader, sb: Superblock, block: bytes, *, size_bytes: int) -> Sequence[Run]:
    """Map a file by the 15 direct and indirect pointers of i_block."""
    if size_bytes > _MAX_MAPPED_BYTES:
        raise Unsupported(f"a file of {size_bytes} bytes has no extents")
    walk = _BlockMapWalk(reader, sb, -(-size_bytes // sb.block_bytes))
    walk.start(struct.unpack("<15I", block))
    return walk.runs


class _ExtentWalk:
    """One walk over an extent tree, with its caps."""

    def __init__(self, reader: Reader, sb: Superblock) -> None:
        self._reader, self._sb = reader, sb
        self.runs: list[Run] = []
        self._left = _MAX_MAP_BLOCKS

    def descend(self, raw: bytes, expected_depth: int | None) -> None:
        """Collect the runs below one node of the tree."""
        magic, entries, _max, depth = struct.unpack_from("<HHHH", raw, 0)
        if magic != _EXTENT_MAGIC or 12 + entries * 12 > len(raw) or depth > _MAX_DEPTH:
            raise Bad("a node of an extent tree is damaged")
        if expected_depth is not None and depth != expected_depth:
            raise Bad("an extent tree is not level")
        for at in range(12, 12 + entries * 12, 12):
            if depth == 0:
                self._add(raw, at)
                continue
            _first, low, high = struct.unpack_from("<IIH", raw, at)
            self._left -= 1
            if self._left < 0:
                raise Bad(f"an extent tree has more than {_MAX_MAP_BLOCKS} nodes")
            block_bytes = self._sb.block_bytes
            self.descend(read_exactly(self._reader, (high << 32 | low) * block_bytes, block_bytes), depth - 1)

    def _add(self, raw: bytes, at: int) -> None:
        logical, count, high, low = struct.unpack_from("<IHHI", raw, at)
        if count > 32768:
            return  # allocated and never written: reads as zeros, like a hole
        start = high << 32 | low
        if start + count > self._sb.blocks or len(self.runs) >= _MAX_RUNS:
            raise Bad("an extent lies outside of the file system")
        self.runs.append(Run(logical, count, start * self._sb.block_bytes))


class _BlockMapWalk:
    """One walk over the direct and indirect blocks of ext2 and ext3."""

    def __init__(self, reader: Reader, sb: Superblock, end: int) -> None:
        self._reader, self._sb, self._end = reader, sb, end
        self.runs: list[Run] = []
        self._left = _MAX_MAP_BLOCKS
        self._logical = 0

    def start(self, pointers: tuple[int, ...]) -> None:
        """Collect the runs of a file."""
        self._add(pointers[:12])
        for level, pointer in enumerate(pointers[12:], start=1):
            self._descend(pointer, level)

    def _descend(self, pointer: int, level: int) -> None:
        per_block = self._sb.block_bytes // 4
        if self._logical >= self._end:
            return
        if pointer == 0:
            self._logical += per_block**level
            return
        self._left -= 1
        if self._left < 0:
            raise Bad(f"a block map has more than {_MAX_MAP_BLOCKS} indirect blocks")
        raw = read_exactly(self._reader, pointer * self._sb.block_bytes, self._sb.block_bytes)
        pointers = struct.unpack(f"<{per_block}I", raw)
        if level == 1:
            self._add(pointers)
            return
        for child in pointers:
            self._descend(child, level - 1)

    def _add(self, pointers: tuple[int, ...]) -> None:
        runs, block_bytes = self.runs, self._sb.block_bytes
        for pointer in pointers:
            if self._logical >= self._end:
                return
            if pointer >= self._sb.blocks or len(runs) >= _MAX_RUNS:
                raise Bad("a block of a file lies outside of the file system")
            if pointer:
                position, last = pointer * block_bytes, runs[-1] if runs else None
                if last and (last.logical + last.count, last.position + last.count * block_bytes) == (
                    self._logical,
                    position,
                ):
                    runs[-1] = Run(last.logical, last.count + 1, last.position)
                else:
                    runs.append(Run(self._logical, 1, position))
            self._logical += 1
