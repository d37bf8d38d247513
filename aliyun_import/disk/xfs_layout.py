"""This file reads the superblock of XFS, versions 4 and 5: what the file system is, and whether we know it well enough.

Written after "XFS Algorithms & Data Structures" (3rd edition). An incompatible feature that is not named here is
refused. The log is not replayed; whether it was unmounted cleanly is told by the log's last record.
"""

import struct
import uuid
from dataclasses import dataclass

from aliyun_import.disk.filesystem import FileSystemFacts, text_of
from aliyun_import.disk.reader import Bad, Reader, Unsupported, read_exactly
from aliyun_import.disk.xfs_log import was_unmounted

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
    """The fields that reading needs. `ag` is short for allocation group, as in XFS itself."""

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
        """Give the byte at which a file system block lies; Bad where there is none."""
        ag, index = block >> self.ag_block_log, block & ((1 << self.ag_block_log) - 1)
        if ag >= self.ag_count or index >= self.ag_blocks:
            raise Bad(f"there is no block {block}")
        return (ag * self.ag_blocks + index) * self.block_bytes

    def inode_at(self, number: int) -> int:
        """Give the byte at which an inode lies; Bad where there is none."""
        index = number & ((1 << self.inodes_per_block_log) - 1)
        return self.block_at(number >> self.inodes_per_block_log) + index * self.inode_bytes


def read_superblock(reader: Reader) -> tuple[Superblock, FileSystemFacts]:
    """Read the superblock of an XFS file system; Bad where it cannot be one, Unsupported where we don't know it."""
    raw = read_exactly(reader, 0, 512)
    if raw[:4] != b"XFSB":
        raise Bad("there is no XFS superblock")
    (flags,) = struct.unpack_from(">H", raw, 100)
    version = flags & 15
    features2, _bad2, _compat, _ro_compat, incompat = struct.unpack_from(">IIIII", raw, 200)
    if version not in (4, 5) or (version == 4 and not flags & _DIRECTORY_V2):
        raise Unsupported(f"XFS of version {version} (0x{flags:x}) is not known here")
    if version == 4:
        incompat = 0
    if incompat & ~sum(_INCOMPAT):
        unknown = incompat & ~sum(_INCOMPAT)
        raise Unsupported(f"the XFS has incompatible features 0x{unknown:x} that are not known here")
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
    """Tell whether the log ends in anything but an unmount; a log on another device (start 0) is not asked."""
    (start,) = struct.unpack_from(">Q", raw, 48)
    (blocks,) = struct.unpack_from(">I", raw, 96)
    if not start:
        return False
    return was_unmounted(reader, start=sb.block_at(start), size_bytes=blocks * sb.block_bytes) is False


def _facts(raw: bytes, sb: Superblock, incompat: int, *, replay: bool) -> FileSystemFacts:
    inodes, free_inodes, free_blocks = struct.unpack_from(">QQQ", raw, 128)
    broken = bool(incompat & _NEEDS_REPAIR)
    unclean = "its log does not end in an unmount, so that what was read may be older than what was meant"
    return FileSystemFacts(
        type="xfs",
        uuid=str(uuid.UUID(bytes=raw[32:48])),
        label=text_of(raw[108:120].split(b"\0", 1)[0]),
        size_bytes=sb.blocks * sb.block_bytes,
        free_bytes=free_blocks * sb.block_bytes,
        inodes=inodes,
        # XFS makes inodes as long as there is space; those counted are the ones made already.
        free_inodes=free_inodes + free_blocks * (sb.block_bytes // sb.inode_bytes),
        unclean="it is marked as one that needs xfs_repair" if broken else unclean if replay else "",
        errors=broken,
        features=(f"v{sb.version}", *(name for bit, name in _INCOMPAT.items() if incompat & bit)),
    )
