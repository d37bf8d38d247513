"""Superblock, extent trees and log of XFS, versions 4 and 5.

The specification is "XFS Algorithms & Data Structures" (3rd edition). Unknown incompatible features are refused. The
log is not replayed. Its last record shows whether the file system was unmounted cleanly.
"""

import struct
import uuid
from collections.abc import Iterator, Sequence
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
from aliyun_import.disk.reader import Bad, Reader, ReadProblem, Unsupported, read_exactly

_DIRECTORY_V2, _FTYPE_V4 = 0x2000, 0x200
_FTYPE, _NEEDS_REPAIR, _META_UUID = 0x1, 0x10, 0x4
_INCOMPAT = {
    _FTYPE: "ftype",
    0x2: "sparse_inodes",
    _META_UUID: "meta_uuid",
    0x8: "bigtime",
    _NEEDS_REPAIR: "needsrepair",
    0x20: "nrext64",
    0x40: "exchange",
    0x80: "parent",
}


@dataclass(frozen=True, slots=True)
class Superblock:
    """The fields of the superblock that reading needs. `ag` stands for allocation group, as in XFS."""

    version: int
    block_bytes: int
    blocks: int
    root: int
    ag_blocks: int
    ag_count: int
    ag_block_log: int
    inode_bytes: int
    inodes_per_block_log: int
    directory_block_bytes: int
    with_type: bool

    def block_at(self, block: int) -> int:
        """Return the offset of a block. Raises Bad if it does not exist."""
        ag, index = block >> self.ag_block_log, block & ((1 << self.ag_block_log) - 1)
        if ag >= self.ag_count or index >= self.ag_blocks:
            raise Bad(f"there is no block {block}")
        return (ag * self.ag_blocks + index) * self.block_bytes

    def inode_at(self, number: int) -> int:
        """Return the offset of an inode. Raises Bad if it does not exist."""
        index = number & ((1 << self.inodes_per_block_log) - 1)
        return self.block_at(number >> self.inodes_per_block_log) + index * self.inode_bytes


def probe_xfs(head: bytes) -> Signature | None:
    """Recognise XFS by the superblock."""
    return Signature("xfs", label=label_of(head[108:120]), uuid=uuid_of(head[32:48])) if head[:4] == b"XFSB" else None


def read_superblock(reader: Reader) -> tuple[Superblock, FileSystemFacts]:
    """Read the superblock. Raises Bad if there is none, and Unsupported for unknown incompatible features."""
    raw = read_exactly(reader, 0, 512)
    if raw[:4] != b"XFSB":
        raise Bad("there is no XFS superblock")
    (flags,) = struct.unpack_from(">H", raw, 100)
    version = flags & 15
    features2, _bad2, _compat, _ro_compat, incompat = struct.unpack_from(">IIIII", raw, 200)
    if version not in (4, 5) or (version == 4 and not flags & _DIRECTORY_V2):
        raise Unsupported(f"XFS of version {version} (0x{flags:x}) is not supported")
    if version == 4:
        incompat = 0
    if incompat & ~sum(_INCOMPAT):
        unknown = incompat & ~sum(_INCOMPAT)
        raise Unsupported(f"the XFS has incompatible features 0x{unknown:x} that are not supported")
    with_type = bool(incompat & _FTYPE) if version == 5 else bool(features2 & _FTYPE_V4)
    sb = _layout(raw, version, with_type=with_type)
    return sb, _facts(raw, sb, incompat, replay=_needs_replay(reader, raw, sb))


def _layout(raw: bytes, version: int, *, with_type: bool) -> Superblock:
    (block_bytes,) = struct.unpack_from(">I", raw, 4)
    (blocks,) = struct.unpack_from(">Q", raw, 8)
    (root,) = struct.unpack_from(">Q", raw, 56)
    ag_blocks, ag_count = struct.unpack_from(">II", raw, 84)
    _sector, inode_bytes, inodes_per_block = struct.unpack_from(">HHH", raw, 102)
    block_log, _sector_log, inode_log, inodes_log, ag_block_log = struct.unpack_from(">BBBBB", raw, 120)
    directory_log = raw[192]
    possible = (
        512 <= block_bytes <= 65536
        and block_bytes == 1 << min(block_log, 16)
        and 256 <= inode_bytes <= min(2048, block_bytes)
        and inode_bytes == 1 << min(inode_log, 11)
        and inodes_per_block << inode_log == block_bytes
        and inodes_per_block == 1 << min(inodes_log, 8)
        and 0 < ag_blocks <= 1 << min(ag_block_log, 32)
        and ag_block_log <= 32
        and 0 < ag_count <= 1 << 24
        and block_bytes << min(directory_log, 8) <= 65536
    )
    if not possible or (ag_count - 1) * ag_blocks >= blocks:
        raise Bad("the XFS superblock has an impossible geometry")
    return Superblock(
        version=version,
        block_bytes=block_bytes,
        blocks=blocks,
        root=root,
        ag_blocks=ag_blocks,
        ag_count=ag_count,
        ag_block_log=ag_block_log,
        inode_bytes=inode_bytes,
        inodes_per_block_log=inodes_log,
        directory_block_bytes=block_bytes << directory_log,
        with_type=with_type,
    )


def _needs_replay(reader: Reader, raw: bytes, sb: Superblock) -> bool:
    """Return whether the log does not end with an unmount record. False for a log on another device (start 0)."""
    (start,) = struct.unpack_from(">Q", raw, 48)
    (blocks,) = struct.unpack_from(">I", raw, 96)
    if not start:
        return False
    return was_unmounted(reader, start=sb.block_at(start), size_bytes=blocks * sb.block_bytes) is False


def _facts(raw: bytes, sb: Superblock, incompat: int, *, replay: bool) -> FileSystemFacts:
    inodes, free_inodes, free_blocks = struct.unpack_from(">QQQ", raw, 128)
    broken = bool(incompat & _NEEDS_REPAIR)
    unclean = "its log does not end with an unmount record, so its files may be older than the last changes"
    return FileSystemFacts(
        type="xfs",
        uuid=str(uuid.UUID(bytes=raw[32:48])),
        label=text_of(raw[108:120].split(b"\0", 1)[0]),
        size_bytes=sb.blocks * sb.block_bytes,
        free_bytes=free_blocks * sb.block_bytes,
        inodes=inodes,
        # The superblock counts only existing inodes. XFS creates inodes as long as there is space.
        free_inodes=free_inodes + free_blocks * (sb.block_bytes // sb.inode_bytes),
        unclean="it is marked for xfs_repair" if broken else unclean if replay else "",
        errors=broken,
        features=(f"v{sb.version}", *(name for bit, name in _INCOMPAT.items() if incompat & bit)),
    )


# A file with 12,000 extents has 48 leaf blocks of 4 KiB. 2,000 blocks have half a million extents.
_MAX_MAP_BLOCKS = 2000
_MAX_RUNS = 200_000
_MAX_LEVELS = 9
_RECORD_BYTES = 16
_LONG_HEADER_BYTES = {4: 24, 5: 72}
_TREE_MAGIC = {4: b"BMAP", 5: b"BMA3"}


def extent_runs(sb: Superblock, fork: bytes, count: int) -> Sequence[Run]:
    """Return the runs of a file with its extents in the inode."""
    if count * _RECORD_BYTES > len(fork):
        raise Bad(f"{count} extents do not fit into an inode")
    return checked_runs(list(_records(sb, fork, 0, count)))


def tree_runs(reader: Reader, sb: Superblock, fork: bytes) -> Sequence[Run]:
    """Return the runs of a file with its extents in a B+tree, which has its root in the inode."""
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
    """A walk over an extent tree, with limits."""

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
    """Yield extents: 1 bit for unwritten, 54 bits for the offset in the file, 52 for the block, 21 for the length."""
    for index in range(count):
        high, low = struct.unpack_from(">QQ", raw, at + index * _RECORD_BYTES)
        if high >> 63:
            continue  # allocated and never written: reads as zeros, like a hole
        block = (high & 0x1FF) << 43 | low >> 21
        length = low & 0x1FFFFF
        position = sb.block_at(block)
        if length == 0 or position + length * sb.block_bytes > sb.blocks * sb.block_bytes:
            raise Bad("an extent is outside of the file system")
        yield Run(high >> 9 & (1 << 54) - 1, length, position)


_BLOCK = 512
_MAGIC = 0xFEEDBABE
_VERSION_2 = 2
_HEADER_COVERS_BYTES = 32768
# A record has at most 256 KiB and its headers, so its header is within this distance of the end of the log.
_MAX_RECORD_BLOCKS = 1024
_UNMOUNT = 0x20


def was_unmounted(reader: Reader, *, start: int, size_bytes: int) -> bool | None:
    """Return whether the log at `start` ends with an unmount record, or None if that is unknown."""
    blocks = size_bytes // _BLOCK
    if blocks < 2:
        return None
    try:
        return _ends_in_unmount(reader, start, blocks)
    except ReadProblem:
        return None


def _ends_in_unmount(reader: Reader, start: int, blocks: int) -> bool | None:
    if _cycle(reader, start) == 0:
        return None  # only zeros: an empty log, or no log
    head = _head(reader, start, blocks)
    record = _record_before(reader, start, blocks, head)
    if record is None:
        return None
    header = read_exactly(reader, start + record * _BLOCK, _BLOCK)
    version, length = struct.unpack_from(">II", header, 8)
    (operations,) = struct.unpack_from(">I", header, 40)
    (buffer_bytes,) = struct.unpack_from(">I", header, 320)
    headers = max(-(-buffer_bytes // _HEADER_COVERS_BYTES), 1) if version & _VERSION_2 else 1
    if headers > _MAX_RECORD_BLOCKS or (record + headers + -(-length // _BLOCK)) % blocks != head:
        return False  # the last record is incomplete: the machine stopped or was copied while it was written
    operation = read_exactly(reader, start + (record + headers) % blocks * _BLOCK, _BLOCK)
    return operations == 1 and bool(operation[9] & _UNMOUNT)


def _cycle(reader: Reader, at: int) -> int:
    """Return the number of the cycle in which a block was written. A header has it in its second word."""
    magic, second = struct.unpack(">II", read_exactly(reader, at, 8))
    return int(second if magic == _MAGIC else magic)


def _head(reader: Reader, start: int, blocks: int) -> int:
    """Return the block for the next record, which is the first block with an earlier cycle than block 0."""
    first = _cycle(reader, start)
    low, high = 0, blocks
    while high - low > 1:
        middle = (low + high) // 2
        if _cycle(reader, start + middle * _BLOCK) == first:
            low = middle
        else:
            high = middle
    return high % blocks


def _record_before(reader: Reader, start: int, blocks: int, head: int) -> int | None:
    """Return the header of the last record before the head. The log is a ring."""
    for back in range(1, min(_MAX_RECORD_BLOCKS, blocks) + 1):
        block = (head - back) % blocks
        if read_exactly(reader, start + block * _BLOCK, 4) == _MAGIC.to_bytes(4, "big"):
            return block
    return None
