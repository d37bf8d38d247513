"""This file unpacks LZ4 as kernels and initramfs use it: the legacy format, and the frame format.

The blocks are the library's, the way from one to the next is ours: what follows a stream is another archive. A block
never unpacks to more than its format allows, and the caller takes block by block, so that it can stop as soon as it has
seen enough. Checksums are not verified.
"""

import struct
from collections.abc import Generator

import lz4.block

from aliyun_import.disk.reader import Bad, Reader, Unsupported, read_exactly

LEGACY_MAGIC = b"\x02\x21\x4c\x18"
FRAME_MAGIC = b"\x04\x22\x4d\x18"
# The legacy format cuts its input into pieces of 8 MiB; the frame format says 64 KiB to 4 MiB.
_LEGACY_BLOCK_BYTES = 8 << 20
_WINDOW_BYTES = 64 << 10
# What LZ4 makes of incompressible input: LZ4_compressBound.
_MAX_GROWTH = 255


def lz4_blocks(reader: Reader, start: int) -> Generator[bytes, None, int]:
    """Unpack what begins at `start`, block by block, until the reader or the frame ends; returns where that is."""
    magic = read_exactly(reader, start, 4)
    if magic == LEGACY_MAGIC:
        return _legacy(reader, start + 4)
    if magic == FRAME_MAGIC:
        return _frame(reader, start + 4)
    raise Bad("this is no LZ4 stream", offset=start)


def unpack_block(data: bytes, *, limit: int, history: bytes = b"") -> bytes:
    """Unpack one block to at most `limit` bytes; `history` is what the block before it unpacked to."""
    try:
        unpacked: bytes = lz4.block.decompress(data, uncompressed_size=limit, dict=history)
    except lz4.block.LZ4BlockError as error:
        raise Bad(f"an LZ4 block is damaged ({error})") from error
    return unpacked


def _legacy(reader: Reader, at: int) -> Generator[bytes, None, int]:
    bound = _LEGACY_BLOCK_BYTES + _LEGACY_BLOCK_BYTES // _MAX_GROWTH + 16
    while at + 4 <= reader.size:
        raw = read_exactly(reader, at, 4)
        if raw == LEGACY_MAGIC and reader.pread(at - 4, 4) != LEGACY_MAGIC:
            at += 4  # another stream was appended
            continue
        (size,) = struct.unpack("<I", raw)
        if size == 0 or size > bound:
            break  # what follows is not of this stream: padding, or another archive
        yield unpack_block(read_exactly(reader, at + 4, size), limit=_LEGACY_BLOCK_BYTES)
        at += 4 + size
    return at


def _frame(reader: Reader, at: int) -> Generator[bytes, None, int]:
    flags, size_code = read_exactly(reader, at, 2)
    if flags >> 6 != 1 or flags & 1:
        raise Unsupported("the LZ4 frame has a version or a dictionary that is not known here")
    limit = 1 << (8 + 2 * ((size_code >> 4) & 7))
    if limit < 1 << 16:
        raise Bad("the LZ4 frame has an impossible block size")
    linked, block_sum, with_size = not flags & 0x20, 4 if flags & 0x10 else 0, 8 if flags & 0x08 else 0
    at += 3 + with_size
    history = b""
    while True:
        (size,) = struct.unpack("<I", read_exactly(reader, at, 4))
        at += 4
        if size == 0:
            return at + (4 if flags & 0x04 else 0)
        plain, size = size >> 31, size & 0x7FFFFFFF
        if size > limit:
            raise Bad("an LZ4 block is larger than its frame allows")
        data = read_exactly(reader, at, size)
        block = data if plain else unpack_block(data, limit=limit, history=history)
        if linked:
            history = (history + block)[-_WINDOW_BYTES:]
        yield block
        at += size + block_sum
