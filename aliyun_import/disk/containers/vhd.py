"""VHD: fixed, dynamic and differencing ones, and how the parent of a differencing one is found.

Written after Microsoft's "Virtual Hard Disk Image Format Specification" 1.0. All numbers in it are big-endian.

An untrusted disk names its parent by a path, which may be any. Only the last component of that path is used, and only
in the folder of the disk; no link is followed; and the file there must be a VHD with a valid footer whose unique id is
the one that the disk names. These ids are random and have 128 bits: the author of a disk that names one has had the
parent, so that an untrusted disk discloses nothing that its author does not know already, and nothing at all but a VHD
that was put beside it.
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

from aliyun_import.disk.containers.interface import Neighbour, Neighbours
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
# 2 TiB, the most that ECS takes and that a VHD can be, in blocks of 512 KiB, the smallest that any tool makes.
_MAX_BLOCKS = 4 * 1024 * 1024
_MIN_BLOCK_BYTES, _MAX_BLOCK_BYTES = 4096, 64 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """The footer, or its copy at the beginning of a dynamic VHD. `unique_id` is what a child knows its parent by."""

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
    """The second header, of dynamic and differencing VHDs.

    The other fields describe the parent of a differencing one: its name, its unique id, its time of modification in
    seconds since 2000 (0: unknown), and its locators as (code, offset, length).
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
    """Find the footer: in the last 512 bytes, or its copy at the beginning. Gives it and its offset."""
    for at in (file.size - SECTOR, 0):
        footer = parse_footer(file.pread(at, SECTOR)) if at >= 0 else None
        if footer is not None:
            return footer, at
    return None


def parse_footer(raw: bytes) -> Footer | None:
    """Read a footer from its 512 bytes; None when they don't begin as one does."""
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

    `qemu-img -o force_size=on` writes the same: the creator "qem2" and the largest geometry both make readers use
    the size and not the geometry. Time and UUID depend on the size alone.
    """
    raw = struct.pack(
        ">8sIIQI4sI4sQQHBBII16s",
        COOKIE, 2, 0x00010000, 0xFFFFFFFFFFFFFFFF, 0, b"qem2", 0x00050003, b"Wi2k", size, size,
        *_LARGEST_GEOMETRY, FIXED, 0, uuid.uuid5(uuid.NAMESPACE_OID, str(size)).bytes,
    ).ljust(SECTOR, b"\0")  # fmt: skip
    return raw[:64] + struct.pack(">I", _checksum(raw, 64)) + raw[68:]


def _checksum(raw: bytes, at: int) -> int:
    """Return the complement of the sum of the bytes without the checksum's own four."""
    return ~(sum(raw) - sum(raw[at : at + 4])) & 0xFFFFFFFF


def read_header(file: Reader, footer: Footer) -> DynamicHeader:
    """Read the second header, at the offset in the footer. Bad when there is none, or its numbers make no sense."""
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
    """Read the block allocation table: for each block the sector of its bitmap, or HOLE. Bad when it is cut off."""
    table = array.array("I", read_exactly(file, header.table_at, header.blocks * 4))
    if sys.byteorder == "little":
        table.byteswap()
    return table


class DynamicReader(PiecewiseReader):
    """The disk in a dynamic VHD. A block is a bitmap, in whole sectors, and then its data; blocks in HOLE are zeros.

    The bitmap is ignored: a dynamic disk reads its blocks as they are, only a differencing one depends on its bitmap.
    """

    def __init__(self, file: Reader, *, size: int, header: DynamicHeader, table: "array.array[int]") -> None:
        super().__init__(size)
        self._file = file
        self._block = header.block_bytes
        self._table = table
        self._bitmap = bitmap_bytes(header.block_bytes)

    def _piece(self, offset: int, length: int) -> bytes:
        """Read within one block; Bad where it is outside of the table or of the file."""
        number, within = divmod(offset, self._block)
        length = min(self._block - within, length)
        if number >= len(self._table):
            raise Bad(f"block {number} is not in the block table of {len(self._table)} entries", offset=offset)
        return self._block_piece(self._table[number], offset, length)

    def next_data(self, offset: int) -> int:
        """Return the next block that is no hole, as `Sparse` defines it."""
        first = number = offset // self._block
        while number < len(self._table) and self._table[number] == HOLE:
            number += 1
        return offset if number == first else number * self._block

    def _block_piece(self, sector: int, offset: int, length: int) -> bytes:
        """Read a range within one block, whose bitmap is at `sector`."""
        return bytes(length) if sector == HOLE else self._own(sector, offset, length)

    def _own(self, sector: int, offset: int, length: int) -> bytes:
        return read_exactly(self._file, sector * SECTOR + self._bitmap + offset % self._block, length)


class DifferencingReader(DynamicReader):
    """The disk in a differencing VHD: a sector whose bit in the block's bitmap is 0 is the parent's, as are holes.

    qemu-img 7.2 silently reads such a file as a dynamic one, without its parent, and can't be used for it.
    """

    def __init__(
        self, file: Reader, *, size: int, header: DynamicHeader, table: "array.array[int]", parent: Reader
    ) -> None:
        super().__init__(file, size=size, header=header, table=table)
        self._parent = parent

    def next_data(self, offset: int) -> int:
        """Return the next data of this disk or its parent, as `Sparse` defines it."""
        own, theirs = super().next_data(offset), next_data(self._parent, offset)
        return own if theirs >= self._parent.size else min(own, theirs)

    def _block_piece(self, sector: int, offset: int, length: int) -> bytes:
        if sector == HOLE:
            return self._of_parent(offset, length)
        bitmap = read_exactly(self._file, sector * SECTOR, self._bitmap)
        return b"".join(
            self._own(sector, start, end - start) if is_own else self._of_parent(start, end - start)
            for is_own, start, end in _runs(bitmap, offset, offset + length, block=self._block)
        )

    def _of_parent(self, offset: int, length: int) -> bytes:
        # A parent may be smaller than its child, which was made larger since.
        return self._parent.pread(offset, length).ljust(length, b"\0")


def _runs(bitmap: bytes, start: int, end: int, *, block: int) -> Iterator[tuple[bool, int, int]]:
    """Split [start, end), which is in one block, where the bitmap changes; the first bit is a byte's highest."""
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
    """Return the size of a block's bitmap: a bit a sector, filled up to whole sectors."""
    return -(-(block_bytes // SECTOR) // (8 * SECTOR)) * SECTOR


# Hyper-V warns of long chains, which are not used; each parent costs an open file and its block table.
MAX_PARENTS = 16
_MAX_PATH_BYTES = 4096
# Paths of Windows, relative and absolute, in UTF-16; and a URL of macOS.
_CODES = {b"W2ru": "utf-16-le", b"W2ku": "utf-16-le", b"MacX": "utf-8"}
# 2000-01-01 in seconds since 1970.
_EPOCH_S = 946_684_800


class Folder:
    """The regular files in the folder of a disk. A context manager that closes those that it opened."""

    def __init__(self, disk: Path) -> None:
        self.path = disk.resolve().parent
        self._files: list[FileReader] = []

    def neighbour(self, name: str) -> Neighbour | None:
        """Open a file by its bare name; None for what is not there, can't be read, or is no regular file."""
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            return None
        path = self.path / name
        try:
            # A link leads out of the folder. A pipe, which would keep the open waiting, is not even opened.
            if not stat.S_ISREG(path.lstat().st_mode):
                return None
            file = FileReader(path, flags=os.O_NOFOLLOW | os.O_NONBLOCK)
            self._files.append(file)
            return Neighbour(file, path.lstat().st_mtime)
        except OSError:
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()


class Parent(NamedTuple):
    """A parent that was found: its name, and where in it a sound footer lies."""

    name: str
    neighbour: Neighbour
    footer: Footer
    at: int


def find_parent(
    file: Reader, header: DynamicHeader, *, neighbours: Neighbours | None, children: tuple[bytes, ...]
) -> Parent:
    """Find the parent of a differencing VHD; `children` are the unique ids of the disk and of those that it is for.

    Raises Missing, with a message about what was expected and what was found.
    """
    wanted = header.parent_id
    names = tuple(dict.fromkeys(_names(file, header)))
    if not any(wanted) or not names:
        raise Missing(f"it does not contain the {'id' if names else 'name'} of its parent")
    if wanted in children:
        raise Missing(f"its parents form a loop: {names[0]!r} is a child of its own child")
    if len(children) > MAX_PARENTS:
        raise Missing(f"it has more than {MAX_PARENTS} parents, one behind the other")
    seen = [_find_named(name, wanted, neighbours) for name in names]
    found = next((one for one in seen if isinstance(one, Parent)), None)
    if found is None:
        raise Missing("; ".join(str(one) for one in seen))
    return found


def modified_since(parent: Parent, header: DynamicHeader) -> bool:
    """Return whether the parent was modified at another time than its child recorded: the child is then damaged.

    A copy without its times (`cp` without -p) gives the same result. Times of FAT have a resolution of two seconds.
    """
    return header.parent_time_s > 0 and abs(parent.neighbour.modified_s - _EPOCH_S - header.parent_time_s) > 2


def bare_name(path: str) -> str:
    """Return the last part of a path of any system."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _find_named(name: str, wanted: bytes, neighbours: Neighbours | None) -> "Parent | str":
    neighbour = neighbours(name) if neighbours else None
    if neighbour is None:
        return f"there is no file {name!r} in its folder"
    found = find_footer(neighbour.file)
    if found is None or not found[0].checksum_right:
        return f"{name!r} in its folder is no VHD, or a damaged one"
    if found[0].unique_id != wanted:
        return (
            f"{name!r} in its folder is another disk: its id is {uuid.UUID(bytes=found[0].unique_id)}, "
            f"and {uuid.UUID(bytes=wanted)} is wanted"
        )
    return Parent(name, neighbour, *found)


def _names(file: Reader, header: DynamicHeader) -> Iterator[str]:
    """Return the last part of each path by which the parent is named."""
    paths = [header.parent]
    for code, at, length in header.locators:
        if code in _CODES and 0 < length <= _MAX_PATH_BYTES:
            paths.append(read_exactly(file, at, length).decode(_CODES[code], "replace").split("\0")[0])
    yield from (name for path in paths if (name := bare_name(path)))
