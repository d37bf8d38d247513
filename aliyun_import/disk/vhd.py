"""This file reads VHD: fixed and dynamic ones, and of a differencing one only that it is one.

Written after Microsoft's "Virtual Hard Disk Image Format Specification" 1.0. All numbers in it are big-endian.
"""

import array
import struct
import sys
import uuid
from dataclasses import dataclass

from aliyun_import.disk.reader import Bad, Reader, Unsupported, check_range, read_exactly
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
    """The footer, or its copy at the beginning of a dynamic VHD."""

    creator: str
    data_offset: int
    original_bytes: int
    current_bytes: int
    geometry_bytes: int
    type: int
    checksum: int
    checksum_right: bool
    cylinders: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicHeader:
    """The second header, of dynamic and differencing VHDs. `parent` is the name of a differencing one's parent."""

    at: int
    table_at: int
    blocks: int
    block_bytes: int
    checksum_right: bool
    parent: str


def parse_footer(raw: bytes) -> Footer | None:
    """Read a footer from its 512 bytes; None when they don't begin as one does."""
    if len(raw) < SECTOR or not raw.startswith(COOKIE):
        return None
    data_offset, _, creator = struct.unpack_from(">QI4s", raw, 16)
    original, current, cylinders, heads, sectors, kind, checksum = struct.unpack_from(">QQHBBII", raw, 40)
    return Footer(
        creator=creator.decode("ascii", "replace").strip(" \0"),
        data_offset=data_offset,
        original_bytes=original,
        current_bytes=current,
        geometry_bytes=cylinders * heads * sectors * SECTOR,
        type=kind,
        checksum=checksum,
        checksum_right=checksum == _checksum(raw[:SECTOR], 64),
        cylinders=cylinders,
    )


def fixed_footer(size: int) -> bytes:
    """Make the footer of a fixed VHD of this size, the same bytes every time.

    It is what `qemu-img -o force_size=on` writes: the creator "qem2" and the largest geometry both tell readers to go
    by the size and not by the geometry. Time and UUID are made of nothing but the size.
    """
    raw = struct.pack(
        ">8sIIQI4sI4sQQHBBII16s",
        COOKIE, 2, 0x00010000, 0xFFFFFFFFFFFFFFFF, 0, b"qem2", 0x00050003, b"Wi2k", size, size,
        *_LARGEST_GEOMETRY, FIXED, 0, uuid.uuid5(uuid.NAMESPACE_OID, str(size)).bytes,
    ).ljust(SECTOR, b"\0")  # fmt: skip
    return raw[:64] + struct.pack(">I", _checksum(raw, 64)) + raw[68:]


def _checksum(raw: bytes, at: int) -> int:
    """Sum the bytes without the checksum's own four, and turn the bits over."""
    return ~(sum(raw) - sum(raw[at : at + 4])) & 0xFFFFFFFF


def read_header(file: Reader, footer: Footer) -> DynamicHeader:
    """Read the second header, where the footer says it is. Bad when there is none, or its numbers make no sense."""
    at = footer.data_offset
    raw = read_exactly(file, at, _HEADER_BYTES)
    if not raw.startswith(_HEADER_COOKIE):
        raise Bad("there is no second header where the footer says it is", offset=at)
    table_at, _, blocks, block_bytes, checksum = struct.unpack_from(">QIIII", raw, 16)
    if not _MIN_BLOCK_BYTES <= block_bytes <= _MAX_BLOCK_BYTES or block_bytes & (block_bytes - 1):
        raise Bad(f"the second header says that a block has {block_bytes} bytes", offset=at + 32)
    if blocks > _MAX_BLOCKS:
        raise Unsupported(f"a block table with {blocks} entries", offset=at + 28)
    return DynamicHeader(
        at=at,
        table_at=table_at,
        blocks=blocks,
        block_bytes=block_bytes,
        checksum_right=checksum == _checksum(raw, 36),
        parent=raw[64:576].decode("utf-16-be", "replace").split("\0")[0],
    )


def read_table(file: Reader, header: DynamicHeader) -> "array.array[int]":
    """Read the block allocation table: for each block the sector of its bitmap, or HOLE. Bad when it is cut off."""
    table = array.array("I", read_exactly(file, header.table_at, header.blocks * 4))
    if sys.byteorder == "little":
        table.byteswap()
    return table


class DynamicReader:
    """The disk in a dynamic VHD. A block is a bitmap, in whole sectors, and then its data; blocks in HOLE are zeros.

    The bitmap is not looked at: a dynamic disk reads what its block holds, and only a differencing one asks its parent.
    """

    def __init__(self, file: Reader, *, size: int, header: DynamicHeader, table: "array.array[int]") -> None:
        self._file = file
        self._size = size
        self._block = header.block_bytes
        self._table = table
        self._bitmap = bitmap_bytes(header.block_bytes)

    @property
    def size(self) -> int:
        """Give the size of the disk in bytes."""
        return self._size

    def pread(self, offset: int, length: int) -> bytes:
        """Read; Bad where a block lies outside of the table or of the file."""
        check_range(offset, length)
        end = min(offset + length, self._size)
        pieces = []
        while offset < end:
            number, within = divmod(offset, self._block)
            piece = min(self._block - within, end - offset)
            if number >= len(self._table):
                raise Bad(f"block {number} is not in the block table of {len(self._table)} entries", offset=offset)
            sector = self._table[number]
            if sector == HOLE:
                pieces.append(bytes(piece))
            else:
                pieces.append(read_exactly(self._file, sector * SECTOR + self._bitmap + within, piece))
            offset += piece
        return b"".join(pieces)


def bitmap_bytes(block_bytes: int) -> int:
    """Give the size of a block's bitmap: a bit a sector, filled up to whole sectors."""
    return -(-(block_bytes // SECTOR) // (8 * SECTOR)) * SECTOR
