"""Decompression in pieces, with limits on memory and on the size of the result.

A compressed disk image is read as one stream from its beginning (gzip, xz, zstd, bzip2, zip), and a compressed
initramfs from any offset (gzip, xz, lzma, zstd, bzip2, lz4). All functions are generators, so that the caller can stop
at any piece: 99 KB of zstd can unpack to 3 GB.
"""

import bz2
import importlib
import lzma
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from functools import partial
from types import ModuleType
from typing import BinaryIO, Protocol

from aliyun_import.disk.reader import Bad, Reader, Unsupported, read_exactly
from aliyun_import.limits import KIB, MIB

_READ_BYTES = MIB
# The maximum size of a piece, which limits the memory for highly compressed data.
STEP_BYTES = 4 * MIB
# xz -9 needs 65 MiB. A disk image may need more; an initramfs is read in a child with 1 GiB of memory.
_XZ_MEMORY_BYTES, _INITRAMFS_MEMORY_BYTES = 1024 * MIB, 128 * MIB
# zstd --ultra -22 needs a window of 128 MiB.
_INITRAMFS_WINDOW_LOG = 27
# The exceptions of the libraries for damaged data: bz2 raises OSError, lz4 RuntimeError.
DAMAGE = (zlib.error, lzma.LZMAError, ValueError, EOFError, OSError, RuntimeError)


class Decompressor(Protocol):
    """The interface of the decompressors of bz2, lzma and zstd."""

    @property
    def eof(self) -> bool:
        """Return whether the end of the stream was reached."""
        ...

    @property
    def needs_input(self) -> bool:
        """Return whether more input is needed before more output is available."""
        ...

    @property
    def unused_data(self) -> bytes:
        """Return the input after the end of the stream."""
        ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Take input, and return at most `max_length` bytes of output."""
        ...


NewDecompressor = Callable[[], Decompressor]


class _Gzip:
    """The decompressor of zlib with the interface of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


class _Zstd:
    """The decompressor of zstd. It raises ValueError for damaged data, because ZstdError is in a module on demand."""

    def __init__(self, *, max_window_log: int | None = None) -> None:
        zstd = _zstd_module()
        options = {zstd.DecompressionParameter.window_log_max: max_window_log} if max_window_log else None
        self._inner: Decompressor = zstd.ZstdDecompressor(options=options)
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

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        try:
            return self._inner.decompress(data, max_length)
        except self._error as error:
            raise ValueError(str(error)) from error


def _zstd_module() -> ModuleType:
    """Import zstd on demand: before Python 3.14 it is a package whose import takes 20 ms."""
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Unsupported(f"it is compressed with zstd, and {name} is not installed") from error


def new_gzip() -> Decompressor:
    """Return a decompressor of gzip."""
    return _Gzip()


def new_zstd(*, max_window_log: int | None = None) -> Decompressor:
    """Return a decompressor of zstd. Raises Unsupported if its package is not installed."""
    return _Zstd(max_window_log=max_window_log)


def new_xz(*, memory_bytes: int = _XZ_MEMORY_BYTES, form: int = lzma.FORMAT_XZ) -> Decompressor:
    """Return a decompressor of xz. It raises LZMAError for data that needs more memory."""
    return lzma.LZMADecompressor(format=form, memlimit=memory_bytes)


def _new_lz4() -> Decompressor:
    import lz4.frame

    decompressor: Decompressor = lz4.frame.LZ4FrameDecompressor()
    return decompressor


def unpacked(file: BinaryIO, new: NewDecompressor) -> Generator[bytes]:
    """Yield the content of a compressed file in pieces of at most STEP_BYTES.

    Consecutive streams are one file, as in all tools. Raises Bad if the data is damaged or truncated, and OSError.
    """
    data = file.read(_READ_BYTES)
    while data:
        stream = new()
        while not stream.eof:
            try:
                piece = stream.decompress(data, STEP_BYTES)
            except DAMAGE as error:
                raise Bad(f"the compressed data is damaged ({error})", offset=file.tell()) from error
            data = b""
            if piece:
                yield piece
            if stream.needs_input and not stream.eof:
                data = file.read(_READ_BYTES)
                if not data:
                    raise Bad("the compressed data ends early: the file is truncated", offset=file.tell())
        data = stream.unused_data or file.read(_READ_BYTES)
        # Zeros after the last stream are padding (tapes, xz): no stream begins with zero.
        data = data.lstrip(b"\0") or (file.read(_READ_BYTES).lstrip(b"\0") if data else b"")


def unzipped(file: BinaryIO, *, disk_suffixes: tuple[str, ...]) -> Generator[bytes]:
    """Yield the only file in a zip archive, or the only one with the suffix of a disk.

    Raises Bad, Unsupported and OSError.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            disks = [member for member in members if member.filename.lower().endswith(disk_suffixes)]
            chosen = members if len(members) == 1 else disks
            if len(chosen) != 1:
                raise Unsupported(
                    f"the zip archive contains {len(members)} files, of which {len(chosen)} have the suffix of a disk"
                )
            with archive.open(chosen[0]) as member:
                while piece := member.read(256 * KIB):
                    yield piece
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise Bad(f"the zip archive is damaged ({error})") from error
    except (NotImplementedError, RuntimeError) as error:
        # An unknown compression method, or a password.
        raise Unsupported(f"the zip archive can't be unpacked ({error})") from error


# The largest known initramfs (dracut, no-hostonly, all firmware) has about 300 MiB.
MAX_UNPACKED_BYTES = 768 << 20
_IN_BYTES = 256 << 10
_OUT_BYTES = 1 << 20
_PAGE_BYTES = 4096
_new_lzma = partial(new_xz, memory_bytes=_INITRAMFS_MEMORY_BYTES, form=lzma.FORMAT_AUTO)
_CODECS: tuple[tuple[bytes, str, NewDecompressor], ...] = (
    (b"\x1f\x8b", "gzip", new_gzip),
    (b"\xfd7zXZ\x00", "xz", _new_lzma),
    (b"\x5d\x00\x00", "lzma", _new_lzma),
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
    (b"\x28\xb5\x2f\xfd", "zstd", partial(new_zstd, max_window_log=_INITRAMFS_WINDOW_LOG)),
    (b"\x04\x22\x4d\x18", "lz4", _new_lz4),
)
LEGACY_MAGIC = b"\x02\x21\x4c\x18"
_LZO_MAGIC = b"\x89LZO"


def codec_at(magic: bytes) -> str | None:
    """Return the name of a compression by the first bytes (6 are enough), or None if it is unknown."""
    for start, name, _new in _CODECS:
        if magic.startswith(start):
            return name
    if magic.startswith(LEGACY_MAGIC):
        return "lz4"
    return "lzo" if magic.startswith(_LZO_MAGIC) else None


class Unpacker:
    """An iterator over the content of a compressed stream. `end` is the offset of its end, None until it is reached.

    `unpacked_bytes` counts the output. A piece counts as at least one page, so that a stream of empty blocks reaches
    the limit, too.
    """

    def __init__(self, reader: Reader, start: int, *, limit_bytes: int = MAX_UNPACKED_BYTES) -> None:
        """Detect the compression of the stream at `start`. Raises Unsupported if it is unknown."""
        self._limit_bytes = limit_bytes
        magic = reader.pread(start, 6)
        self.codec = codec_at(magic)
        if self.codec in (None, "lzo"):
            raise Unsupported(f"its compression ({self.codec or magic.hex()}) is not supported", offset=start)
        self._reader, self._start = reader, start
        self._is_legacy_lz4 = magic.startswith(LEGACY_MAGIC)
        self.end: int | None = None
        self.unpacked_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        """Yield the content. Raises Bad if the stream is damaged, ends early, or exceeds the limit."""
        for piece in self._pieces():
            self.unpacked_bytes += max(len(piece), _PAGE_BYTES)
            if self.unpacked_bytes > self._limit_bytes:
                raise Bad(f"it unpacks to more than {self._limit_bytes >> 20} MiB", offset=self._start)
            yield piece

    def _pieces(self) -> Iterator[bytes]:
        if self._is_legacy_lz4:
            self.end = yield from _legacy_blocks(self._reader, self._start + len(LEGACY_MAGIC))
            return
        new = next(new for _start, name, new in _CODECS if name == self.codec)
        try:
            yield from self._pump(new())
        except DAMAGE as error:
            raise Bad(f"its {self.codec} stream is damaged: {error}", offset=self._start) from error

    def _pump(self, decompressor: Decompressor) -> Iterator[bytes]:
        at = self._start
        while not decompressor.eof:
            data = b""
            if decompressor.needs_input:
                data = self._reader.pread(at, _IN_BYTES)
                at += len(data)
                if not data:
                    raise Bad(f"its {self.codec} stream ends early", offset=at)
            yield decompressor.decompress(data, _OUT_BYTES)
        self.end = at - len(decompressor.unused_data or b"")  # lz4 has None in place of b""


# The legacy format compresses its input in blocks of 8 MiB.
_LEGACY_BLOCK_BYTES = 8 << 20
# The growth of incompressible input is one byte in 255 (LZ4_compressBound).
_MAX_GROWTH = 255


def unpack_lz4_block(data: bytes, *, limit: int) -> bytes:
    """Return the content of a block, at most `limit` bytes. Raises Bad if it is damaged."""
    import lz4.block

    try:
        content: bytes = lz4.block.decompress(data, uncompressed_size=limit)
    except lz4.block.LZ4BlockError as error:
        raise Bad(f"an LZ4 block is damaged ({error})") from error
    return content


def _legacy_blocks(reader: Reader, at: int) -> Generator[bytes, None, int]:
    """Yield the content of the legacy LZ4 stream with its first block at `at`, and return the offset of its end."""
    bound = _LEGACY_BLOCK_BYTES + _LEGACY_BLOCK_BYTES // _MAX_GROWTH + 16
    while at + 4 <= reader.size:
        raw = read_exactly(reader, at, 4)
        if raw == LEGACY_MAGIC and reader.pread(at - 4, 4) != LEGACY_MAGIC:
            at += 4  # the next stream of the file
            continue
        (size,) = struct.unpack("<I", raw)
        if size == 0 or size > bound:
            break  # padding, or another archive
        yield unpack_lz4_block(read_exactly(reader, at + 4, size), limit=_LEGACY_BLOCK_BYTES)
        at += 4 + size
    return at
