"""Readers of fixed, dynamic and differencing VHDs, and the search for the parent of a differencing VHD.

The specification is Microsoft's "Virtual Hard Disk Image Format Specification" 1.0. All numbers are big-endian.

The path of the parent in an untrusted disk may be any path. Only its last component is used, in the directory of the
disk; symbolic links are not followed; and the file must be a VHD with a valid footer and the unique id of the parent in
the disk. These ids are random and have 128 bits, so the author of a disk with such an id has had the parent. An
untrusted disk thus discloses nothing that its author does not have, and only a VHD in its directory.
"""

import array
import os
import stat
import struct
import sys
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, Self

from aliyun_import.disk.containers.interface import OpenSibling, Sibling
from aliyun_import.disk.reader import (
    Bad,
    FileReader,
    Missing,
    PiecewiseReader,
    Reader,
    Unsupported,
    next_data,
    read_exactly,
)
from aliyun_import.limits import MIB

COOKIE = b"conectix"
SECTOR = 512
FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4
HOLE = 0xFFFFFFFF
_HEADER_COOKIE = b"cxsparse"
_HEADER_BYTES = 1024
_LARGEST_GEOMETRY = (65535, 16, 255)
# 2 TiB, the maximum of ECS and of VHD, in blocks of 512 KiB, the smallest that tools write.
_MAX_BLOCKS = 4 * 1024 * 1024
_MIN_BLOCK_BYTES, _MAX_BLOCK_BYTES = 4096, 64 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """The footer, or its copy at the beginning of a dynamic VHD. A child refers to its parent by `unique_id`."""

    creator: str
    data_offset: int
    current_bytes: int
    geometry_bytes: int
    type: int
    checksum: int
    checksum_right: bool
    unique_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicHeader:
    """The header of dynamic and differencing VHDs.

    The last four fields describe the parent of a differencing VHD: name, unique id, modification time in seconds since
    2000 (0: unknown), and locators as (code, offset, length).
    """

    at: int
    table_at: int
    blocks: int
    block_bytes: int
    checksum_right: bool
    parent: str
    parent_id: bytes
    parent_time_s: int
    locators: tuple[tuple[bytes, int, int], ...]


def find_footer(file: Reader) -> tuple[Footer, int] | None:
    """Return the footer in the last 512 bytes, or its copy at the beginning, with its offset. None without a footer."""
    for at in (file.size - SECTOR, 0):
        footer = parse_footer(file.pread(at, SECTOR)) if at >= 0 else None
        if footer is not None:
            return footer, at
    return None


def parse_footer(raw: bytes) -> Footer | None:
    """Return the footer in 512 bytes, or None if they do not begin with its cookie."""
    if len(raw) < SECTOR or not raw.startswith(COOKIE):
        return None
    data_offset, _, creator = struct.unpack_from(">QI4s", raw, 16)
    _original, current, cylinders, heads, sectors, kind, checksum = struct.unpack_from(">QQHBBII", raw, 40)
    return Footer(
        creator=creator.decode("ascii", "replace").strip(" \0"),
        data_offset=data_offset,
        current_bytes=current,
        geometry_bytes=cylinders * heads * sectors * SECTOR,
        type=kind,
        checksum=checksum,
        checksum_right=checksum == _checksum(raw[:SECTOR], 64),
        unique_id=raw[68:84],
    )


def fixed_footer(size: int) -> bytes:
    """Return the footer of a fixed VHD of this size, the same bytes every time.

    `qemu-img -o force_size=on` writes the same footer: with the creator "qem2" or the largest geometry, readers use the
    size and not the geometry. The time is zero, and the UUID depends on the size only.
    """
    raw = struct.pack(
        ">8sIIQI4sI4sQQHBBII16s",
        COOKIE, 2, 0x00010000, 0xFFFFFFFFFFFFFFFF, 0, b"qem2", 0x00050003, b"Wi2k", size, size,
        *_LARGEST_GEOMETRY, FIXED, 0, uuid.uuid5(uuid.NAMESPACE_OID, str(size)).bytes,
    ).ljust(SECTOR, b"\0")  # fmt: skip
    return raw[:64] + struct.pack(">I", _checksum(raw, 64)) + raw[68:]


def _checksum(raw: bytes, at: int) -> int:
    """Return the complement of the sum of all bytes except the four of the checksum, which is at `at`."""
    return ~(sum(raw) - sum(raw[at : at + 4])) & 0xFFFFFFFF


def read_header(file: Reader, footer: Footer) -> DynamicHeader:
    """Read the header at the offset in the footer. Raises Bad if there is none, or if its numbers are impossible."""
    at = footer.data_offset
    raw = read_exactly(file, at, _HEADER_BYTES)
    if not raw.startswith(_HEADER_COOKIE):
        raise Bad("there is no second header at the offset in the footer", offset=at)
    table_at, _, blocks, block_bytes, checksum = struct.unpack_from(">QIIII", raw, 16)
    if not _MIN_BLOCK_BYTES <= block_bytes <= _MAX_BLOCK_BYTES or block_bytes & (block_bytes - 1):
        raise Bad(f"the second header has an impossible block size of {block_bytes} bytes", offset=at + 32)
    if blocks > _MAX_BLOCKS:
        raise Unsupported(f"a block table with {blocks} entries", offset=at + 28)
    return DynamicHeader(
        at=at,
        table_at=table_at,
        blocks=blocks,
        block_bytes=block_bytes,
        checksum_right=checksum == _checksum(raw, 36),
        parent=raw[64:576].decode("utf-16-be", "replace").split("\0")[0],
        parent_id=raw[40:56],
        parent_time_s=int.from_bytes(raw[56:60], "big"),
        locators=tuple((code, at, length) for code, length, at in struct.iter_unpack(">4s4xI4xQ", raw[576:768])),
    )


def read_table(file: Reader, header: DynamicHeader) -> "array.array[int]":
    """Read the block allocation table: the sector of the bitmap of each block, or HOLE. Raises Bad if truncated."""
    table = array.array("I", read_exactly(file, header.table_at, header.blocks * 4))
    if sys.byteorder == "little":
        table.byteswap()
    return table


class DynamicReader(PiecewiseReader):
    """The disk in a dynamic VHD. A block is a bitmap, in whole sectors, followed by data. HOLE blocks are zeros.

    The bitmap is ignored: only the data of a differencing VHD depends on it.
    """

    def __init__(self, file: Reader, *, size: int, header: DynamicHeader, table: "array.array[int]") -> None:
        super().__init__(size)
        self._file = file
        self._block = header.block_bytes
        self._table = table
        self._bitmap = bitmap_bytes(header.block_bytes)

    def _piece(self, offset: int, length: int) -> bytes:
        """Read within one block. Raises Bad if the block is not in the table, or not in the file."""
        number, within = divmod(offset, self._block)
        length = min(self._block - within, length)
        if number >= len(self._table):
            raise Bad(f"block {number} is not in the block table of {len(self._table)} entries", offset=offset)
        return self._block_piece(self._table[number], offset, length)

    def next_data(self, offset: int) -> int:
        """Return the beginning of the next block that is not a hole, as `Sparse.next_data`."""
        first = number = offset // self._block
        while number < len(self._table) and self._table[number] == HOLE:
            number += 1
        return offset if number == first else number * self._block

    def _block_piece(self, sector: int, offset: int, length: int) -> bytes:
        """Read a range within the block with its bitmap at `sector`."""
        return bytes(length) if sector == HOLE else self._own(sector, offset, length)

    def _own(self, sector: int, offset: int, length: int) -> bytes:
        return read_exactly(self._file, sector * SECTOR + self._bitmap + offset % self._block, length)


class DifferencingReader(DynamicReader):
    """The disk in a differencing VHD. Holes, and sectors with bit 0 in the bitmap, are read from the parent.

    qemu-img 7.2 can't be used: it reads such a file as a dynamic VHD without its parent, and reports no error.
    """

    def __init__(
        self, file: Reader, *, size: int, header: DynamicHeader, table: "array.array[int]", parent: Reader
    ) -> None:
        super().__init__(file, size=size, header=header, table=table)
        self._parent = parent

    def next_data(self, offset: int) -> int:
        """Return the next data of this disk or its parent, as `Sparse.next_data`."""
        own, of_parent = super().next_data(offset), next_data(self._parent, offset)
        return own if of_parent >= self._parent.size else min(own, of_parent)

    def _block_piece(self, sector: int, offset: int, length: int) -> bytes:
        if sector == HOLE:
            return self._of_parent(offset, length)
        bitmap = read_exactly(self._file, sector * SECTOR, self._bitmap)
        return b"".join(
            self._own(sector, start, end - start) if is_own else self._of_parent(start, end - start)
            for is_own, start, end in _runs(bitmap, offset, offset + length, block=self._block)
        )

    def _of_parent(self, offset: int, length: int) -> bytes:
        # A parent is smaller if its child was enlarged.
        return self._parent.pread(offset, length).ljust(length, b"\0")


def _runs(bitmap: bytes, start: int, end: int, *, block: int) -> Iterator[tuple[bool, int, int]]:
    """Yield the parts (is_own, start, end) of a range in one block with equal bits, the highest bit of a byte first."""
    first = start % block // SECTOR
    last = (end - 1) % block // SECTOR
    bits = bitmap[first // 8 : last // 8 + 1]
    if bits.count(bits[0]) == len(bits) and bits[0] in (0, 0xFF):
        yield bool(bits[0]), start, end
        return
    at = start
    for is_own, sectors in groupby(range(first, last + 1), key=lambda sector: bitmap[sector // 8] << sector % 8 & 0x80):
        run_end = min(start - start % block + (deque(sectors, maxlen=1)[0] + 1) * SECTOR, end)
        yield bool(is_own), at, run_end
        at = run_end


def bitmap_bytes(block_bytes: int) -> int:
    """Return the size of the bitmap of a block: one bit per sector, rounded up to whole sectors."""
    return -(-(block_bytes // SECTOR) // (8 * SECTOR)) * SECTOR


# Longer chains are not used in practice (Hyper-V warns of them). Each parent needs an open file and a block table.
MAX_PARENTS = 16
_MAX_PATH_BYTES = 4096
# Locators: relative and absolute paths of Windows in UTF-16, and a URL of macOS.
_CODES = {b"W2ru": "utf-16-le", b"W2ku": "utf-16-le", b"MacX": "utf-8"}
# 2000-01-01 in seconds since 1970.
_EPOCH_S = 946_684_800


class DiskDirectory:
    """The regular files in the directory of a disk. A context manager that closes the files that it opened."""

    def __init__(self, disk: Path) -> None:
        self.path = disk.resolve().parent
        self._files: list[FileReader] = []

    def open_sibling(self, name: str) -> Sibling | None:
        """Open a file by its name. Return None if it does not exist, can't be read, or is not a regular file."""
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            return None
        path = self.path / name
        try:
            # A symbolic link may lead out of the directory, and opening a pipe would wait for a writer.
            if not stat.S_ISREG(path.lstat().st_mode):
                return None
            file = FileReader(path, flags=os.O_NOFOLLOW | os.O_NONBLOCK)
            self._files.append(file)
            return Sibling(file, path.lstat().st_mtime)
        except OSError:
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()


class Parent(NamedTuple):
    """The parent of a differencing VHD: its name, its file, and its valid footer at offset `at`."""

    name: str
    sibling: Sibling
    footer: Footer
    at: int


def find_parent(
    file: Reader, header: DynamicHeader, *, open_sibling: OpenSibling | None, children: tuple[bytes, ...]
) -> Parent:
    """Find the parent of a differencing VHD. `children` are the unique ids of the disk and of its own children.

    Raises Missing with the files that were expected and what was found.
    """
    wanted = header.parent_id
    names = tuple(dict.fromkeys(_names(file, header)))
    if not any(wanted) or not names:
        raise Missing(f"it does not contain the {'id' if names else 'name'} of its parent")
    if wanted in children:
        raise Missing(f"its parents form a loop: {names[0]!r} is a child of its own child")
    if len(children) > MAX_PARENTS:
        raise Missing(f"it has a chain of more than {MAX_PARENTS} parents")
    results = [_find_named(name, wanted, open_sibling) for name in names]
    found = next((one for one in results if isinstance(one, Parent)), None)
    if found is None:
        raise Missing("; ".join(str(one) for one in results))
    return found


def modified_since(parent: Parent, header: DynamicHeader) -> bool:
    """Return whether the modification time of the parent differs from the one in its child.

    Either the parent was written to, and the child is damaged, or it was copied without its times (`cp` without -p).
    Times of FAT have a resolution of two seconds.
    """
    return header.parent_time_s > 0 and abs(parent.sibling.modified_s - _EPOCH_S - header.parent_time_s) > 2


def bare_name(path: str) -> str:
    """Return the last component of a path of any operating system."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _find_named(name: str, wanted: bytes, open_sibling: OpenSibling | None) -> "Parent | str":
    """Return the parent with this name and id, or a clause with the reason why it is not this file."""
    sibling = open_sibling(name) if open_sibling else None
    if sibling is None:
        return f"there is no file {name!r} in its directory"
    found = find_footer(sibling.file)
    if found is None or not found[0].checksum_right:
        return f"{name!r} in its directory is not a VHD, or a damaged one"
    if found[0].unique_id != wanted:
        return (
            f"{name!r} in its directory is another disk: its id is {uuid.UUID(bytes=found[0].unique_id)}, "
            f"and {uuid.UUID(bytes=wanted)} is required"
        )
    return Parent(name, sibling, *found)


def _names(file: Reader, header: DynamicHeader) -> Iterator[str]:
    """Yield the last component of each path of the parent."""
    paths = [header.parent]
    for code, at, length in header.locators:
        if code in _CODES and 0 < length <= _MAX_PATH_BYTES:
            paths.append(read_exactly(file, at, length).decode(_CODES[code], "replace").split("\0")[0])
    yield from (name for path in paths if (name := bare_name(path)))
