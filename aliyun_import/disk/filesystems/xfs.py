"""XFS file systems, versions 4 and 5: inodes, directories, files and symbolic links.

Checksums are not verified: structure and ranges are. Files on a realtime device are refused.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aliyun_import.disk.filesystems.interface import (
    FileSystemFormat,
    InodeFileSystem,
    Kind,
    Node,
    Run,
    child_names,
    expect_directory,
    expect_link,
    kind_of,
    read_runs,
    text_of,
)
from aliyun_import.disk.filesystems.xfs_format import extent_runs, probe_xfs, read_superblock, tree_runs
from aliyun_import.disk.reader import Bad, Reader, Unsupported, read_exactly

_LOCAL, _EXTENTS, _TREE = 1, 2, 3
_REALTIME, _IMMUTABLE = 0x1, 0x8
_NREXT64 = 0x10
_CORE_BYTES = {1: 100, 2: 100, 3: 176}
# The offset of the leaf and free-space blocks of a directory, 32 GiB. Blocks with names are before it.
_LEAVES_AT = 1 << 35
_DATA_MAGICS = {b"XD2B": (16, True), b"XD2D": (16, False), b"XDB3": (64, True), b"XDD3": (64, False)}
# A symbolic link of 1024 bytes has at most three blocks of 512 bytes.
_LINK_HEADER_BYTES, _MAX_LINK_RUNS, _MAX_LINK_BLOCKS = 56, 3, 3


@dataclass(frozen=True, slots=True)
class _Inode:
    """An inode with the fields that reading needs. `fork` is its data fork."""

    number: int
    mode: int
    size_bytes: int
    blocks: int
    format: int
    extents: int
    flags: int
    fork: bytes


class Xfs(InodeFileSystem[_Inode]):
    """An XFS file system. Its methods raise Bad, Unsupported or Missing."""

    def __init__(self, reader: Reader) -> None:
        self._sb, facts = read_superblock(reader)
        super().__init__(reader, facts, root=self._sb.root)

    def node(self, number: int) -> Node:
        """Return an inode."""
        inode = self._inode(number)
        allocated = inode.size_bytes if inode.format == _LOCAL else inode.blocks * self._sb.block_bytes
        return Node(number, kind_of(inode.mode), inode.size_bytes, allocated, bool(inode.flags & _IMMUTABLE))

    def entries(self, number: int) -> Iterator[tuple[str, int]]:
        """Yield the entries of a directory in any of its five forms."""
        inode = self._inode(number)
        expect_directory(number, inode.mode)
        return child_names(number, self._short_entries(inode) if inode.format == _LOCAL else self._block_entries(inode))

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Read part of a file. The result is short at its end."""
        inode = self._inode(number)
        length = max(min(length, inode.size_bytes - offset), 0)
        if inode.format == _LOCAL:
            return inode.fork[: inode.size_bytes][offset : offset + length]
        runs = self._runs_of(inode.number)
        return read_runs(self._reader, runs, block_bytes=self._sb.block_bytes, offset=offset, length=length)

    def target(self, number: int) -> str:
        """Return the target of a symbolic link. In version 5, each run of a long link begins with a header."""
        inode = self._inode(number)
        expect_link(number, inode.mode, size_bytes=inode.size_bytes)
        if inode.format == _LOCAL or self._sb.version == 4:
            return text_of(self.read(number, 0, inode.size_bytes))
        pieces = []
        for run in self._runs_of(inode.number)[:_MAX_LINK_RUNS]:
            block = read_exactly(self._reader, run.position, min(run.count, _MAX_LINK_BLOCKS) * self._sb.block_bytes)
            magic, _offset, count = struct.unpack_from(">4sII", block, 0)
            if magic != b"XSLM" or count > len(block) - _LINK_HEADER_BYTES:
                raise Bad(f"a block of the symbolic link {number} is damaged")
            pieces.append(block[_LINK_HEADER_BYTES : _LINK_HEADER_BYTES + count])
        return text_of(b"".join(pieces))

    def _load_inode(self, number: int) -> _Inode:
        sb = self._sb
        raw = read_exactly(self._reader, sb.inode_at(number), sb.inode_bytes)
        magic, mode, version, format_ = struct.unpack_from(">2sHBB", raw, 0)
        if magic != b"IN" or version not in _CORE_BYTES or mode == 0:
            raise Bad(f"inode {number} is not in use, or damaged")
        size, blocks, _extent_size, extents = struct.unpack_from(">QQII", raw, 56)
        fork_units, _attribute_format = struct.unpack_from(">BB", raw, 82)
        (flags,) = struct.unpack_from(">H", raw, 90)
        core = _CORE_BYTES[version]
        if version == 3 and struct.unpack_from(">Q", raw, 120)[0] & _NREXT64:
            (extents,) = struct.unpack_from(">Q", raw, 24)
        end = core + fork_units * 8 if fork_units else sb.inode_bytes
        if end > sb.inode_bytes or size >= 1 << 63:
            raise Bad(f"inode {number} is damaged")
        if flags & _REALTIME and kind_of(mode) is Kind.FILE:
            raise Unsupported(f"inode {number} is on a realtime device")
        fork = raw[core:end]
        if format_ == _LOCAL and size > len(fork):
            raise Bad(f"inode {number} has {size} bytes of inline data, which do not fit into it")
        return _Inode(number, mode, size, blocks, format_, extents, flags, fork)

    def _load_runs(self, inode: _Inode) -> Sequence[Run]:
        if inode.format == _EXTENTS:
            return extent_runs(self._sb, inode.fork, inode.extents)
        if inode.format == _TREE:
            return tree_runs(self._reader, self._sb, inode.fork)
        raise Bad(f"inode {inode.number} has no data (format {inode.format})")

    def _short_entries(self, inode: _Inode) -> Iterator[tuple[bytes, int]]:
        """Yield the entries of a directory that is stored in its inode."""
        fork = inode.fork[: inode.size_bytes]
        if len(fork) < 6:
            raise Bad(f"directory {inode.number} is too short")
        count, wide = fork[0], bool(fork[1])
        number_bytes = 8 if wide else 4
        at = 2 + number_bytes
        extra = 1 if self._sb.with_type else 0
        for _ in range(count):
            end = at + 3 + (fork[at] if at < len(fork) else 0) + extra + number_bytes
            if end > len(fork):
                raise Bad(f"directory {inode.number} is damaged")
            name = fork[at + 3 : at + 3 + fork[at]]
            yield name, int.from_bytes(fork[end - number_bytes : end], "big")
            at = end

    def _block_entries(self, inode: _Inode) -> Iterator[tuple[bytes, int]]:
        """Yield the entries in the data blocks of a directory. The leaf blocks are an index, and are not read."""
        sb = self._sb
        per_block = sb.directory_block_bytes // sb.block_bytes
        end = min(inode.size_bytes, _LEAVES_AT)
        for run in self._runs_of(inode.number):
            first = -(-run.logical // per_block) * per_block
            for logical in range(first, run.logical + run.count, per_block):
                at = logical * sb.block_bytes
                if at >= end:
                    return
                yield from self._data_entries(self.read(inode.number, at, sb.directory_block_bytes))

    def _data_entries(self, block: bytes) -> Iterator[tuple[bytes, int]]:
        begin, with_leaf = _DATA_MAGICS.get(block[:4], (0, False))
        end = len(block)
        if begin == 0 or end < 72:
            raise Bad("a block of a directory is damaged")
        if with_leaf:  # a directory of one block has its index at the end
            (leaves,) = struct.unpack_from(">I", block, end - 8)
            end -= 8 + leaves * 8
            if end < begin:
                raise Bad("the index of a directory does not fit its block")
        at = begin
        while at + 12 <= end:
            if block[at : at + 2] == b"\xff\xff":
                (length,) = struct.unpack_from(">H", block, at + 2)
                yield b"", 0
            else:
                (number,) = struct.unpack_from(">Q", block, at)
                name_bytes = block[at + 8]
                length = -(-(8 + 1 + name_bytes + 2 + (1 if self._sb.with_type else 0)) // 8) * 8
                if name_bytes == 0 or at + length > end:
                    raise Bad("a name in a directory ends outside of its block")
                yield block[at + 9 : at + 9 + name_bytes], number
            if length < 8 or length % 8:
                raise Bad("a directory has an impossible gap")
            at += length


XFS = FileSystemFormat(names=("xfs",), probe=probe_xfs, open=lambda reader, _signature: Xfs(reader))
