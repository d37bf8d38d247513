"""ext2, ext3 and ext4 file systems: inodes, directories, files and symbolic links.

The journal is not replayed: a file system that was not unmounted cleanly may have older metadata, and `facts.unclean`
reports this. Checksums are not verified: structure and ranges are.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aliyun_import.disk.filesystems.ext_format import (
    FILETYPE,
    META_BG,
    block_map_runs,
    extent_runs,
    probe_ext,
    read_superblock,
)
from aliyun_import.disk.filesystems.interface import (
    FileSystemFormat,
    InodeFileSystem,
    Node,
    Run,
    child_names,
    expect_directory,
    expect_link,
    kind_of,
    read_runs,
    text_of,
)
from aliyun_import.disk.reader import Bad, Reader, Unsupported, read_exactly

_ROOT = 2
_IMMUTABLE, _ENCRYPTED, _HUGE_FILE, _EXTENTS, _INLINE = 0x10, 0x800, 0x40000, 0x80000, 0x10000000
_XATTR_MAGIC = 0xEA020000


@dataclass(frozen=True, slots=True)
class _Inode:
    """An inode with the fields that reading needs. `block` is i_block, `raw` the whole inode."""

    number: int
    mode: int
    size_bytes: int
    flags: int
    block: bytes
    raw: bytes


class Ext(InodeFileSystem[_Inode]):
    """An ext2, ext3 or ext4 file system. Its methods raise Bad, Unsupported or Missing."""

    def __init__(self, reader: Reader) -> None:
        self._sb, facts = read_superblock(reader)
        super().__init__(reader, facts, root=_ROOT)

    def node(self, number: int) -> Node:
        """Return an inode."""
        inode = self._inode(number)
        unit = self._sb.block_bytes if inode.flags & _HUGE_FILE else 512
        (low,) = struct.unpack_from("<I", inode.raw, 28)
        (high,) = struct.unpack_from("<H", inode.raw, 116)
        # A file with inline data has no blocks.
        allocated = inode.size_bytes if inode.flags & _INLINE else (high << 32 | low) * unit
        return Node(number, kind_of(inode.mode), inode.size_bytes, allocated, bool(inode.flags & _IMMUTABLE))

    def entries(self, number: int) -> Iterator[tuple[str, int]]:
        """Yield the entries of a directory. An indexed directory is also a plain list of entries, which is read."""
        inode = self._inode(number)
        expect_directory(number, inode.mode)
        if inode.flags & _ENCRYPTED:
            raise Unsupported(f"the names in directory {number} are encrypted")
        return child_names(number, self._raw_entries(inode))

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Read part of a file. The result is short at its end."""
        inode = self._inode(number)
        if inode.flags & _ENCRYPTED:
            raise Unsupported(f"inode {number} is encrypted")
        length = max(min(length, inode.size_bytes - offset), 0)
        if inode.flags & _INLINE:
            return self._inline_data(inode)[offset : offset + length]
        runs = self._runs_of(inode.number)
        return read_runs(self._reader, runs, block_bytes=self._sb.block_bytes, offset=offset, length=length)

    def target(self, number: int) -> str:
        """Return the target of a symbolic link. Short targets are stored in the inode."""
        inode = self._inode(number)
        expect_link(number, inode.mode, size_bytes=inode.size_bytes)
        if inode.size_bytes < len(inode.block) and not inode.flags & (_EXTENTS | _INLINE | _ENCRYPTED):
            return text_of(inode.block[: inode.size_bytes])
        return text_of(self.read(number, 0, inode.size_bytes))

    def _load_inode(self, number: int) -> _Inode:
        sb = self._sb
        if not 1 <= number <= sb.inodes:
            raise Bad(f"there is no inode {number}")
        group, index = divmod(number - 1, sb.inodes_per_group)
        table = self._inode_table(group)
        raw = read_exactly(self._reader, table * sb.block_bytes + index * sb.inode_bytes, sb.inode_bytes)
        mode, _uid, size_low = struct.unpack_from("<HHI", raw, 0)
        (flags,) = struct.unpack_from("<I", raw, 32)
        (size_high,) = struct.unpack_from("<I", raw, 108)
        if mode == 0:
            raise Bad(f"inode {number} is not in use")
        return _Inode(number, mode, size_high << 32 | size_low, flags, raw[40:100], raw)

    def _inode_table(self, group: int) -> int:
        """Return the first block of the inode table of a group."""
        sb = self._sb
        if group >= sb.groups:
            raise Bad(f"there is no block group {group}")
        per_block = sb.block_bytes // sb.descriptor_bytes
        descriptor_block, slot = divmod(group, per_block)
        if sb.incompat & META_BG and descriptor_block >= sb.first_meta_bg:
            first = descriptor_block * per_block
            block = sb.first_block + first * sb.blocks_per_group + int(sb.has_backup(first))
            block += sb.descriptors_at - sb.first_block - 1 if first == 0 else 0
        else:
            block = sb.descriptors_at + descriptor_block
        at = block * sb.block_bytes + slot * sb.descriptor_bytes
        raw = read_exactly(self._reader, at, sb.descriptor_bytes)
        (table,) = struct.unpack_from("<I", raw, 8)
        if sb.descriptor_bytes >= 64:
            (high,) = struct.unpack_from("<I", raw, 40)
            table |= high << 32
        return int(table)

    def _raw_entries(self, inode: _Inode) -> Iterator[tuple[bytes, int]]:
        if inode.flags & _INLINE:
            # i_block begins with 4 bytes for "..". The part in the attribute is a separate list.
            yield from self._entries_in(inode.block[4:])
            yield from self._entries_in(self._inline_rest(inode))
            return
        size, block_bytes = inode.size_bytes, self._sb.block_bytes
        for run in self._runs_of(inode.number):
            for index in range(run.count):
                if (run.logical + index) * block_bytes >= size:
                    return
                yield from self._entries_in(read_exactly(self._reader, run.position + index * block_bytes, block_bytes))

    def _entries_in(self, block: bytes) -> Iterator[tuple[bytes, int]]:
        at, end = 0, len(block)
        with_type = self._sb.incompat & FILETYPE
        while at + 8 <= end:
            child, length, name_bytes = struct.unpack_from("<IHH", block, at)
            if with_type or not child:
                # The entry for the checksum of a block (inode 0) has a type, 0xDE, even without the feature.
                name_bytes &= 0xFF
            if end == 65536 and length in (0, 65535):
                length = end
            if length < 8 or at + length > end or name_bytes > length - 8:
                raise Bad(f"a directory entry of {length} bytes does not fit its block")
            yield block[at + 8 : at + 8 + name_bytes] if child else b"", child
            at += length

    def _inline_data(self, inode: _Inode) -> bytes:
        return (inode.block + self._inline_rest(inode))[: inode.size_bytes]

    def _inline_rest(self, inode: _Inode) -> bytes:
        """Return the inline data after i_block, which is in the attribute system.data (name index 7)."""
        (extra,) = struct.unpack_from("<H", inode.raw, 128) if len(inode.raw) > 132 else (0,)
        area = inode.raw[128 + extra :]
        if len(area) < 4 or struct.unpack_from("<I", area, 0)[0] != _XATTR_MAGIC:
            return b""
        entries, at = area[4:], 0
        while at + 16 <= len(entries) and entries[at : at + 4] != bytes(4):
            name_bytes, name_index, value_at, _inode, value_bytes = struct.unpack_from("<BBHII", entries, at)
            if name_index == 7 and entries[at + 16 : at + 16 + name_bytes] == b"data":
                if value_at + value_bytes > len(entries):
                    raise Bad(f"the inline data of inode {inode.number} end outside of the inode")
                return entries[value_at : value_at + value_bytes]
            at += (16 + name_bytes + 3) & ~3
        return b""

    def _load_runs(self, inode: _Inode) -> Sequence[Run]:
        if inode.flags & _EXTENTS:
            return extent_runs(self._reader, self._sb, inode.block)
        return block_map_runs(self._reader, self._sb, inode.block, size_bytes=inode.size_bytes)


EXT = FileSystemFormat(names=("ext2", "ext3", "ext4"), probe=probe_ext, open=lambda reader, _signature: Ext(reader))
