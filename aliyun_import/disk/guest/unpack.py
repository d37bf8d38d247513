"""This file unpacks a compressed stream chunk by chunk, bounded in memory and in how much comes out.

99 KB of zstd can unpack to 3 GB: whoever reads from here pulls, and more than a limit never comes.
"""

import bz2
import importlib
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from aliyun_import.disk.guest.lz4 import FRAME_MAGIC, LEGACY_MAGIC, lz4_blocks
from aliyun_import.disk.reader import Bad, Reader, Unsupported

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
