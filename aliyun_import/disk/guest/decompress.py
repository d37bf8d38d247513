"""This file unpacks a compressed stream chunk by chunk, bounded in memory and in how much comes out.

99 KB of zstd can unpack to 3 GB: whoever reads from here pulls, and more than a limit never comes.
"""

import bz2
import importlib
import lzma
import struct
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Protocol

import lz4.block

from aliyun_import.disk.io.reader import Bad, Reader, Unsupported, read_exactly

# The largest initramfs seen (dracut, no-hostonly, all firmware) unpacks to about 300 MiB.
MAX_UNPACKED_BYTES = 768 << 20
_IN_BYTES = 256 << 10
_OUT_BYTES = 1 << 20
_PAGE_BYTES = 4096
# xz -9 needs 65 MiB, zstd --ultra -22 a window of 128 MiB.
_LZMA_MEMORY_BYTES = 128 << 20
_ZSTD_WINDOW_LOG = 27


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """zlib's object with the face that bz2's and lzma's have."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


class _Zstd:
    """The decompressor of the zstd module, with ValueError for its own error, a class that only the module knows."""

    def __init__(self) -> None:
        name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
        try:
            zstd = importlib.import_module(name)
        except ImportError as error:
            raise Unsupported(f"it is compressed with zstd, and {name} is not installed") from error
        options = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
        self._inner: _Decompressor = zstd.ZstdDecompressor(options=options)
        self._error: type[Exception] = zstd.ZstdError

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return self._inner.needs_input

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        try:
            return self._inner.decompress(data, max_length)
        except self._error as error:
            raise ValueError(str(error)) from error


def _lzma() -> _Decompressor:
    return lzma.LZMADecompressor(format=lzma.FORMAT_AUTO, memlimit=_LZMA_MEMORY_BYTES)


_CODECS: tuple[tuple[bytes, str, Callable[[], _Decompressor]], ...] = (
    (b"\x1f\x8b", "gzip", _Gzip),
    (b"\xfd7zXZ\x00", "xz", _lzma),
    (b"\x5d\x00\x00", "lzma", _lzma),
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
    (b"\x28\xb5\x2f\xfd", "zstd", _Zstd),
)
_LZO_MAGIC = b"\x89LZO"


def codec_at(magic: bytes) -> str | None:
    """Name the compression by its first bytes (6 are enough); None when they are of none."""
    for start, name, _make in _CODECS:
        if magic.startswith(start):
            return name
    if magic.startswith((LEGACY_MAGIC, FRAME_MAGIC)):
        return "lz4"
    return "lzo" if magic.startswith(_LZO_MAGIC) else None


class Unpacker:
    """Iterates over what a compressed stream unpacks to. `end` is where it ended, None until it did.

    `unpacked_bytes` counts what came out so far; a chunk counts as a page at least, so that a stream of nothing but
    empty blocks ends, too.
    """

    def __init__(self, reader: Reader, start: int, *, limit_bytes: int = MAX_UNPACKED_BYTES) -> None:
        """Look at what begins at `start`; Unsupported when that is in no compression we know."""
        self._limit_bytes = limit_bytes
        magic = reader.pread(start, 6)
        self.codec = codec_at(magic)
        if self.codec in (None, "lzo"):
            raise Unsupported(f"its compression ({self.codec or magic.hex()}) is not known here", offset=start)
        self._reader, self._start = reader, start
        self.end: int | None = None
        self.unpacked_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        """Unpack; Bad where the stream is damaged, ends early, or becomes too much."""
        for chunk in self._chunks():
            self.unpacked_bytes += max(len(chunk), _PAGE_BYTES)
            if self.unpacked_bytes > self._limit_bytes:
                raise Bad(f"it unpacks to more than {self._limit_bytes >> 20} MiB", offset=self._start)
            yield chunk

    def _chunks(self) -> Iterator[bytes]:
        if self.codec == "lz4":
            self.end = yield from lz4_blocks(self._reader, self._start)
            return
        make = next(make for _start, name, make in _CODECS if name == self.codec)
        # The libraries raise ValueError, OSError and errors of their own for damaged data, all of them meaning Bad.
        try:
            yield from self._pump(make())
        except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError) as error:
            raise Bad(f"its {self.codec} stream is damaged: {error}", offset=self._start) from error

    def _pump(self, decompressor: _Decompressor) -> Iterator[bytes]:
        at = self._start
        while not decompressor.eof:
            data = b""
            if decompressor.needs_input:
                data = self._reader.pread(at, _IN_BYTES)
                at += len(data)
                if not data:
                    raise Bad(f"its {self.codec} stream ends early", offset=at)
            yield decompressor.decompress(data, _OUT_BYTES)
        self.end = at - len(decompressor.unused_data)


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
