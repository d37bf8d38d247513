"""This file reads the superblock of ext2, ext3 and ext4: what the file system is, and whether we know it well enough.

Written after "ext4 Data Structures and Algorithms" of the kernel documentation. An incompatible feature that is not
named here is refused.
"""

import struct
import uuid
from dataclasses import dataclass

from aliyun_import.disk.filesystem import FileSystemFacts, text_of
from aliyun_import.disk.reader import Bad, Reader, Unsupported, read_exactly

SUPERBLOCK_AT = 1024
FILETYPE, _RECOVER, META_BG, _64BIT = 0x2, 0x4, 0x10, 0x80
# Incompatible features that are read: what each changes is either handled or does not touch reading.
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
# Features that only forbid writing are no obstacle; those in which a rule takes an interest have their name here.
_SPARSE_SUPER, _SPARSE_SUPER2 = 0x1, 0x200
_RO_COMPAT = {0x100: "quota", 0x200: "bigalloc", 0x2000: "project"}
_HAS_JOURNAL = 0x4
_STATE_CLEAN, _STATE_ERRORS = 1, 2


@dataclass(frozen=True, slots=True)
class Superblock:
    """The fields that reading needs."""

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
        """Count the block groups."""
        return -(-(self.blocks - self.first_block) // self.blocks_per_group)

    def has_backup(self, group: int) -> bool:
        """Tell whether a copy of the superblock begins this group."""
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


def read_superblock(reader: Reader) -> tuple[Superblock, FileSystemFacts]:
    """Read the superblock of an ext file system; Bad where it cannot be one, Unsupported where we don't know it."""
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
        raise Unsupported(f"the ext file system has incompatible features 0x{unknown:x} that are not known here")
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
    """Refuse a superblock whose numbers cannot be true, before anything is computed with them."""
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
    journal = bool(compat & _HAS_JOURNAL)
    ext4 = sb.incompat & (0x40 | _64BIT | 0x200)
    free = (free_low | (free_high << 32 if sb.incompat & _64BIT else 0)) * sb.block_bytes
    return FileSystemFacts(
        type="ext4" if ext4 else "ext3" if journal else "ext2",
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
        return "its journal holds changes that were not replayed"
    return "" if state & _STATE_CLEAN else "it was not unmounted cleanly"
