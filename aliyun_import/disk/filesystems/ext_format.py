"""Superblock, extent trees and block maps of ext2, ext3 and ext4.

The specification is "ext4 Data Structures and Algorithms" of the kernel documentation. Unknown incompatible features
are refused.
"""

import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from aliyun_import.disk.filesystems.interface import (
    FileSystemFacts,
    Run,
    Signature,
    checked_runs,
    label_of,
    text_of,
    uuid_of,
)
from aliyun_import.disk.reader import Bad, Reader, Unsupported, read_exactly

SUPERBLOCK_AT = 1024
FILETYPE, _RECOVER, _JOURNAL_DEVICE, META_BG, _64BIT = 0x2, 0x4, 0x8, 0x10, 0x80
# Supported incompatible features. Each is handled, or does not affect reading.
_INCOMPAT = {
    FILETYPE: "filetype",
    _RECOVER: "needs_recovery",
    META_BG: "meta_bg",
    0x40: "extent",
    _64BIT: "64bit",
    0x100: "mmp",
    0x200: "flex_bg",
    0x400: "ea_inode",
    0x2000: "metadata_csum_seed",
    0x4000: "large_dir",
    0x8000: "inline_data",
    0x10000: "encrypt",
    0x20000: "casefold",
}
# Read-only compatible features do not affect reading. Those with a name are used by a check.
_SPARSE_SUPER, _SPARSE_SUPER2 = 0x1, 0x200
_RO_COMPAT = {0x100: "quota", 0x200: "bigalloc", 0x2000: "project"}
_HAS_JOURNAL = 0x4
_STATE_CLEAN, _STATE_ERRORS = 1, 2
# A file system with any of these is ext4: extents, 64bit, flex_bg, csum_seed, inline_data; huge_file, gdt_csum,
# dir_nlink, extra_isize, metadata_csum.
_EXT4_INCOMPAT = 0x40 | 0x80 | 0x200 | 0x2000 | 0x8000
_EXT4_RO_COMPAT = 0x8 | 0x10 | 0x20 | 0x40 | 0x400


@dataclass(frozen=True, slots=True)
class Superblock:
    """The fields of the superblock that reading needs."""

    block_bytes: int
    blocks: int
    first_block: int
    blocks_per_group: int
    inodes_per_group: int
    inodes: int
    inode_bytes: int
    descriptor_bytes: int
    first_meta_bg: int
    incompat: int
    sparse_super: bool
    backup_groups: tuple[int, int] | None

    @property
    def groups(self) -> int:
        """The number of block groups."""
        return -(-(self.blocks - self.first_block) // self.blocks_per_group)

    @property
    def descriptors_at(self) -> int:
        """The block after the one with the superblock, which is block 1 if blocks have 1 KiB."""
        return (1 if self.block_bytes == SUPERBLOCK_AT else self.first_block) + 1

    def has_backup(self, group: int) -> bool:
        """Return whether this group begins with a copy of the superblock."""
        if group == 0:
            return True
        if self.backup_groups is not None:
            return group in self.backup_groups
        if not self.sparse_super or group == 1:
            return True
        return any(_is_power(group, base) for base in (3, 5, 7))


def _is_power(number: int, base: int) -> bool:
    power = base
    while power < number:
        power *= base
    return power == number


def probe_ext(head: bytes) -> Signature | None:
    """Recognise ext2, ext3, ext4 and an external journal by the superblock."""
    if head[1024 + 0x38 : 1024 + 0x3A] != b"\x53\xef":
        return None
    compat, incompat, ro_compat = struct.unpack_from("<III", head, 1024 + 0x5C)
    name = "jbd" if incompat & _JOURNAL_DEVICE else _type(compat, incompat, ro_compat)
    return Signature(
        name, label=label_of(head[1024 + 0x78 : 1024 + 0x88]), uuid=uuid_of(head[1024 + 0x68 : 1024 + 0x78])
    )


def _type(compat: int, incompat: int, ro_compat: int) -> str:
    if incompat & _EXT4_INCOMPAT or ro_compat & _EXT4_RO_COMPAT:
        return "ext4"
    return "ext3" if compat & _HAS_JOURNAL else "ext2"


def read_superblock(reader: Reader) -> tuple[Superblock, FileSystemFacts]:
    """Read the superblock. Raises Bad if there is none, and Unsupported for unknown incompatible features."""
    raw = read_exactly(reader, SUPERBLOCK_AT, 1024)
    (magic,) = struct.unpack_from("<H", raw, 56)
    if magic != 0xEF53:
        raise Bad("there is no ext superblock")
    compat, incompat, ro_compat = struct.unpack_from("<III", raw, 92)
    (revision,) = struct.unpack_from("<I", raw, 76)
    if revision == 0:  # the first revision had no features, and inodes of 128 bytes
        compat = incompat = ro_compat = 0
    unknown = incompat & ~sum(_INCOMPAT)
    if unknown:
        raise Unsupported(f"the ext file system has incompatible features 0x{unknown:x} that are not supported")
    sb = _layout(raw, revision, compat=compat, incompat=incompat, ro_compat=ro_compat)
    return sb, _facts(raw, sb, compat=compat, ro_compat=ro_compat)


def _layout(raw: bytes, revision: int, *, compat: int, incompat: int, ro_compat: int) -> Superblock:
    inodes, blocks_low = struct.unpack_from("<II", raw, 0)
    first_block, log_block = struct.unpack_from("<II", raw, 20)
    blocks_per_group, _clusters, inodes_per_group = struct.unpack_from("<III", raw, 32)
    (inode_bytes,) = struct.unpack_from("<H", raw, 88)
    (descriptor_bytes,) = struct.unpack_from("<H", raw, 254)
    (first_meta_bg,) = struct.unpack_from("<I", raw, 260)
    (blocks_high,) = struct.unpack_from("<I", raw, 336)
    if log_block > 6:
        raise Bad(f"a block size of 2^{10 + log_block} is impossible")
    wide = bool(incompat & _64BIT)
    sb = Superblock(
        block_bytes=1024 << log_block,
        blocks=blocks_low | (blocks_high << 32 if wide else 0),
        first_block=first_block,
        blocks_per_group=blocks_per_group,
        inodes_per_group=inodes_per_group,
        inodes=inodes,
        inode_bytes=inode_bytes if revision else 128,
        descriptor_bytes=max(descriptor_bytes, 32) if wide else 32,
        first_meta_bg=first_meta_bg,
        incompat=incompat,
        sparse_super=bool(ro_compat & _SPARSE_SUPER),
        backup_groups=struct.unpack_from("<II", raw, 588) if compat & _SPARSE_SUPER2 else None,
    )
    _check(sb)
    return sb


def _check(sb: Superblock) -> None:
    """Raise Bad for a superblock with impossible numbers."""
    possible = (
        sb.first_block == (1 if sb.block_bytes == 1024 else 0) or sb.block_bytes == 1024
    ) and sb.blocks > sb.first_block
    if not possible or sb.blocks_per_group < 8 or not 0 < sb.inodes_per_group <= sb.block_bytes * 8:
        raise Bad("the ext superblock has an impossible geometry")
    if not 128 <= sb.inode_bytes <= sb.block_bytes or sb.inode_bytes & (sb.inode_bytes - 1):
        raise Bad(f"inodes of {sb.inode_bytes} bytes are impossible")
    if sb.descriptor_bytes > min(sb.block_bytes, 1024) or sb.descriptor_bytes & (sb.descriptor_bytes - 1):
        raise Bad(f"group descriptors of {sb.descriptor_bytes} bytes are impossible")


def _facts(raw: bytes, sb: Superblock, *, compat: int, ro_compat: int) -> FileSystemFacts:
    free_low, free_inodes = struct.unpack_from("<II", raw, 12)
    (free_high,) = struct.unpack_from("<I", raw, 344)
    (state,) = struct.unpack_from("<H", raw, 58)
    names = [name for bit, name in _INCOMPAT.items() if sb.incompat & bit]
    names += [name for bit, name in _RO_COMPAT.items() if ro_compat & bit]
    free = (free_low | (free_high << 32 if sb.incompat & _64BIT else 0)) * sb.block_bytes
    return FileSystemFacts(
        type=_type(compat, sb.incompat, ro_compat),
        uuid=str(uuid.UUID(bytes=raw[104:120])),
        label=text_of(raw[120:136].split(b"\0", 1)[0]),
        size_bytes=sb.blocks * sb.block_bytes,
        free_bytes=free,
        inodes=sb.inodes,
        free_inodes=free_inodes,
        unclean=_unclean(state, sb.incompat),
        errors=bool(state & _STATE_ERRORS),
        features=tuple(names),
    )


def _unclean(state: int, incompat: int) -> str:
    if state & _STATE_ERRORS:
        return "the kernel or fsck found errors in it that were not repaired"
    if incompat & _RECOVER:
        return "its journal contains changes that were not replayed"
    return "" if state & _STATE_CLEAN else "it was not unmounted cleanly"


_EXTENT_MAGIC = 0xF30A
_MAX_DEPTH = 5
# A file with 12,000 extents has 36 leaf blocks. 2,000 blocks have 680,000 extents.
_MAX_MAP_BLOCKS = 2000
_MAX_RUNS = 200_000
# Block maps (no extents) are read completely. The files that an inspection reads are much smaller than 2 GiB.
_MAX_MAPPED_BYTES = 2 << 30


def extent_runs(reader: Reader, sb: Superblock, block: bytes) -> Sequence[Run]:
    """Return the runs of a file in the extent tree with its root in the 60 bytes of i_block."""
    walk = _ExtentWalk(reader, sb)
    walk.descend(block, None)
    return checked_runs(walk.runs)


def block_map_runs(reader: Reader, sb: Superblock, block: bytes, *, size_bytes: int) -> Sequence[Run]:
    """Return the runs of a file by the 15 direct and indirect pointers of i_block."""
    if size_bytes > _MAX_MAPPED_BYTES:
        raise Unsupported(f"a file of {size_bytes} bytes has no extents")
    walk = _BlockMapWalk(reader, sb, -(-size_bytes // sb.block_bytes))
    walk.start(struct.unpack("<15I", block))
    return walk.runs


class _ExtentWalk:
    """A walk over an extent tree, with limits."""

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
            raise Bad("the nodes of an extent tree have wrong depths")
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
            raise Bad("an extent is outside of the file system")
        self.runs.append(Run(logical, count, start * self._sb.block_bytes))


class _BlockMapWalk:
    """A walk over the direct and indirect blocks of ext2 and ext3, with limits."""

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
                raise Bad("a block of a file is outside of the file system")
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
