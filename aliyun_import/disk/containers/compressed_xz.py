"""This file finds the blocks of an .xz file by the index at its end, and unpacks one of them.

Written after the .xz file format, version 1.1.0. Each block is handed to liblzma as a file of its own, with an index
that tells of it alone: header, filters, sizes and checksum (CRC32, CRC64, SHA-256) are then judged there.
"""

import lzma
import mmap
import zlib
from collections.abc import Iterator
from itertools import chain

from aliyun_import.disk.containers.compressed import MAX_BLOCKS, Block, check_packed, read_pieces, unpack_block
from aliyun_import.disk.io.reader import Bad, Reader, Unsupported, read_exactly
from aliyun_import.limits import MIB

_MAGIC, _FOOTER_MAGIC = b"\xfd7zXZ\0", b"YZ"
_HEADER_BYTES = 12
_MAX_INDEX_BYTES, _MAX_STREAMS, _MAX_PADDING_BYTES = 8 * MIB, 4096, MIB
# xz -9 needs 65 MiB.
_MEMORY_BYTES = 256 * MIB


def xz_blocks(file: Reader) -> list[Block]:
    """List the blocks of all streams. Bad when an index is damaged or missing, Unsupported when there are too many."""
    streams: list[list[Block]] = []
    end, count = file.size, 0
    while end > 0:
        end, blocks = _stream_before(file, end, most=MAX_BLOCKS - count)
        streams.append(blocks)
        count += len(blocks)
        if len(streams) > _MAX_STREAMS:
            raise Unsupported(f"it has more than {_MAX_STREAMS} streams")
    start, placed = 0, []
    for block in chain.from_iterable(reversed(streams)):
        placed.append(block._replace(start=start))
        start += block.size
    return placed


def unpack_xz(file: Reader, block: Block) -> mmap.mmap:
    """Unpack a block. Bad when it is damaged."""
    length = _padded(block.packed)
    index = b"\0\1" + _number(block.packed) + _number(block.size)
    index += bytes(-len(index) % 4)
    index += _crc(index)
    backward = len(index) // 4 - 1
    footer = backward.to_bytes(4, "little") + block.check
    head = _MAGIC + block.check + _crc(block.check)
    tail = index + _crc(footer) + footer + _FOOTER_MAGIC
    return unpack_block(
        lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MEMORY_BYTES),
        chain([head], read_pieces(file, block.at, length), [tail]),
        block,
        errors=lzma.LZMAError,
    )


def _stream_before(file: Reader, end: int, *, most: int) -> tuple[int, list[Block]]:
    """Read the index of the stream that ends at `end`; gives where the stream begins, and its blocks."""
    end = _before_padding(file, end)
    footer = read_exactly(file, end - _HEADER_BYTES, _HEADER_BYTES) if end >= _HEADER_BYTES else b""
    if not footer.endswith(_FOOTER_MAGIC) or _crc(footer[4:10]) != footer[:4]:
        raise Bad("there is no footer at its end: the file was cut short, or something was appended", offset=end)
    index_bytes = (int.from_bytes(footer[4:8], "little") + 1) * 4
    if index_bytes > _MAX_INDEX_BYTES:
        raise Unsupported(f"its index has {index_bytes // MIB} MiB")
    index_at, check = end - _HEADER_BYTES - index_bytes, footer[8:10]
    if index_at < _HEADER_BYTES:
        raise Bad("its index begins before the file does", offset=end)
    records = list(_records(read_exactly(file, index_at, index_bytes), index_at, most=most))
    at = begin = index_at - sum(_padded(packed) for packed, _ in records)
    head = file.pread(begin - _HEADER_BYTES, _HEADER_BYTES) if begin >= _HEADER_BYTES else b""
    if head != _MAGIC + check + _crc(check):
        raise Bad("its index does not fit its blocks", offset=index_at)
    blocks = []
    for packed, size in records:
        check_packed(size, packed, at=index_at)
        blocks.append(Block(0, size, at, packed, check))
        at += _padded(packed)
    return begin - _HEADER_BYTES, blocks


def _before_padding(file: Reader, end: int) -> int:
    """Go back over the zeros that may follow a stream."""
    first = max(end - _MAX_PADDING_BYTES, 0)
    return first + len(file.pread(first, end - first).rstrip(b"\0")) if file.pread(end - 1, 1) == b"\0" else end


def _records(raw: bytes, index_at: int, *, most: int) -> Iterator[tuple[int, int]]:
    """Give the packed and the unpacked size of each block of an index."""
    if raw[0] != 0 or _crc(raw[:-4]) != raw[-4:]:
        raise Bad("its index is damaged", offset=index_at)
    count, at = _read_number(raw, 1, index_at)
    if count > most:
        raise Unsupported(f"it has more than {MAX_BLOCKS} blocks")
    for _ in range(count):
        packed, at = _read_number(raw, at, index_at)
        size, at = _read_number(raw, at, index_at)
        yield packed, size


def _read_number(raw: bytes, at: int, index_at: int) -> tuple[int, int]:
    """Read a number of seven bits a byte, nine bytes at most."""
    value = 0
    for place in range(9):
        byte = raw[at + place] if at + place < len(raw) - 4 else 0x80
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise Bad("its index is damaged", offset=index_at + at)


def _number(value: int) -> bytes:
    raw = bytearray()
    while value >= 0x80:
        raw.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*raw, value])


def _padded(length: int) -> int:
    return -(-length // 4) * 4


def _crc(raw: bytes) -> bytes:
    return zlib.crc32(raw).to_bytes(4, "little")
