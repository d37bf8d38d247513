"""Bytes of objects: sparse files on disk, and contents that consist of ranges of them.

A content is a sequence of segments. A segment is a range of a file or a run of zeros. Cutting and joining contents
copies no bytes; server-side copies and the completion of a multipart upload use it. Runs of zeros are detected when
the bytes are received. They use no disk space, and are not read for a checksum.

The CRC-64 of OSS is CRC-64/XZ: polynomial 0x42F0E1EBA9EA3693, bits reflected, register and result inverted. Because
both are inverted, the CRC-64 of A followed by B is crc(A) * x^(8 * len(B)) + crc(B) in GF(2)[x] modulo the polynomial.
So the CRC-64 of joined contents, or of a run of zeros, takes one multiplication and no reading.
"""

import bisect
import hashlib
import itertools
import os
import secrets
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from fastcrc import crc64 as fast_crc64

from aliyun_import.sandbox.core.http_types import CHUNK_BYTES
from aliyun_import.sandbox.core.records import Table

# Granularity of runs of zeros: the block size of most file systems. A smaller one would save no space.
BLOCK_BYTES = 4096
_ZERO_BLOCK = bytes(BLOCK_BYTES)
_ZERO_CHUNK = bytes(CHUNK_BYTES)


Runs = tuple[tuple[int, int], ...]  # (offset, length) of the data in a file, ascending, not adjacent


class DataFile:
    """File of received bytes, with its runs of data. `drop` is called after the last reference to it is gone."""

    def __init__(self, path: Path, runs: Runs, *, drop: Callable[[Path], None]) -> None:
        self.path = path
        self.runs = runs
        self._run_ends = [offset + length for offset, length in runs]
        # The files are not removed at exit: the directory belongs to the caller.
        weakref.finalize(self, drop, path).atexit = False

    def read(self, offset: int, length: int) -> bytes:
        """Return a range. The file may be shorter: all bytes after the last run are zeros."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            return os.pread(descriptor, length, offset).ljust(length, b"\0")
        finally:
            os.close(descriptor)

    def data_within(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """Yield the intersections of the runs with a range, as (offset, length) in the file."""
        end = offset + length
        for start, run_length in itertools.islice(self.runs, bisect.bisect_right(self._run_ends, offset), None):
            if start >= end:
                return
            low, high = max(start, offset), min(start + run_length, end)
            yield low, high - low


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


@dataclass(frozen=True)
class Segment:
    """Range of a file, or (`file` is None) run of zeros."""

    file: DataFile | None
    offset: int
    length: int

    @property
    def end(self) -> int:
        """Return the offset of its end in the file."""
        return self.offset + self.length


def _merged(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Yield the segments, and merge adjacent ones: otherwise each join would add segments of zeros."""
    last: Segment | None = None
    for segment in segments:
        if last is not None and last.file is segment.file and (segment.file is None or last.end == segment.offset):
            last = Segment(last.file, last.offset, last.length + segment.length)
            continue
        if last is not None and last.length:
            yield last
        last = segment
    if last is not None and last.length:
        yield last


class Content:
    """Bytes of an object or a part. Immutable, with random access, thread-safe."""

    def __init__(self, segments: Iterable[Segment] = ()) -> None:
        self.segments = tuple(_merged(segments))
        self._starts = [0, *itertools.accumulate(segment.length for segment in self.segments)]

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return self._starts[-1]

    @classmethod
    def joined(cls, contents: Iterable["Content"]) -> "Content":
        """Return the concatenation of contents."""
        return cls(segment for content in contents for segment in content.segments)

    def to_json(self) -> list[tuple[str | None, int, int]]:
        """Return the segments as (file name or None, offset, length)."""
        return [(each.file.path.name if each.file else None, each.offset, each.length) for each in self.segments]

    def cut(self, offset: int, length: int) -> "Content":
        """Return a range as a content."""
        return Content(segment for _, segment in self._within(offset, length))

    def pread(self, offset: int, length: int) -> bytes:
        """Return the bytes of a range; fewer at the end of the content."""
        return b"".join(
            segment.file.read(segment.offset, segment.length) if segment.file else bytes(segment.length)
            for _, segment in self._within(offset, length)
        )

    def chunks(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield a range in chunks of at most CHUNK_BYTES."""
        end = min(offset + length, self.size)
        for start in range(offset, end, CHUNK_BYTES):
            yield self.pread(start, min(CHUNK_BYTES, end - start))

    def data_extents(self) -> Iterator[tuple[int, int]]:
        """Yield the ranges that may hold data as (offset, length), ascending, not adjacent."""
        begin = end = 0
        for at, segment in self._within(0, self.size):
            if segment.file is None:
                continue
            for offset, length in segment.file.data_within(segment.offset, segment.length):
                start = at + offset - segment.offset
                if start != end and end > begin:
                    yield begin, end - begin
                if start != end:
                    begin = start
                end = start + length
        if end > begin:
            yield begin, end - begin

    @cached_property
    def crc64(self) -> int:
        """Return the CRC-64. Runs of zeros are not read."""
        crc, done = 0, 0
        for offset, length in self.data_extents():
            if offset > done:
                crc = crc64_combine(crc, crc64_zeros(offset - done), offset - done)
            for chunk in self.chunks(offset, length):
                crc = crc64_update(chunk, crc)
            done = offset + length
        return crc64_combine(crc, crc64_zeros(self.size - done), self.size - done) if done < self.size else crc

    def _within(self, offset: int, length: int) -> Iterator[tuple[int, Segment]]:
        """Yield the segments of a range, cut to the range, as (offset in the content, segment)."""
        end = min(offset + length, self.size)
        index = bisect.bisect_right(self._starts, offset) - 1
        while offset < end:
            segment, start = self.segments[index], self._starts[index]
            skip = offset - start
            taken = min(segment.length - skip, end - offset)
            yield offset, Segment(segment.file, segment.offset + skip, taken)
            offset += taken
            index += 1


@dataclass(frozen=True)
class Received:
    """Received body and its checksums."""

    content: Content
    md5: bytes
    crc64: int


class BlobStore:
    """Directory of received bytes, readable by its owner only. Thread-safe.

    `files` is the table of its files: name -> runs. If the table is persistent, a file is removed after no stored
    record refers to it (`dropped`, `remove`), and the files that a killed process left are removed at the next start
    (`sweep`).
    """

    def __init__(self, directory: Path, *, files: Table[str, Runs]) -> None:
        self._directory = directory
        self._files = files
        self._persistent = files.observer is not None
        self._known: weakref.WeakValueDictionary[str, DataFile] = weakref.WeakValueDictionary()
        self._dropped: deque[Path] = deque()  # finalizers append to it, and must not take a lock
        # A prefix of file names: files of an earlier sandbox in the same directory are not overwritten.
        self._run_id = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)  # also changes an existing directory, created perhaps with another umask

    def content(self, segments: Iterable[tuple[str | None, int, int]]) -> Content:
        """Return a content from the result of `Content.to_json`."""
        return Content(Segment(self._file(name) if name else None, offset, length) for name, offset, length in segments)

    def _file(self, name: str) -> DataFile:
        found = self._known.get(name)
        return self._data_file(self._directory / name, self._files[name]) if found is None else found

    def _data_file(self, path: Path, runs: Runs) -> DataFile:
        file = DataFile(path, runs, drop=self._dropped.append if self._persistent else _remove)
        self._known[path.name] = file
        return file

    def dropped(self) -> list[Path]:
        """Return the files that lost their last reference since the last call, and remove them from the table."""
        paths = [self._dropped.popleft() for _ in range(len(self._dropped))]
        for path in paths:
            self._files.pop(path.name, None)
        return paths

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove files."""
        for path in paths:
            _remove(path)

    def sweep(self) -> None:
        """Remove every file without a reference: a killed process had not stored the record of it."""
        for name in [name for name in self._files if name not in self._known]:
            del self._files[name]
        self.remove(path for path in self._directory.iterdir() if path.name not in self._known)

    def receive(self, chunks: Iterable[bytes]) -> Received:
        """Store a stream of bytes as a sparse file. After an error, the file is removed."""
        path = self._directory / f"{self._run_id}-{next(self._numbers):08d}"
        digest, crc, size = hashlib.md5(usedforsecurity=False), 0, 0
        runs: list[tuple[int, int]] = []
        with ExitStack() as opened:
            descriptor = -1
            for chunk in chunks:
                digest.update(chunk)
                crc = crc64_update(chunk, crc)
                for start, length in _data_runs(chunk):
                    if descriptor < 0:
                        descriptor = opened.enter_context(self._new(path))
                    _write(descriptor, memoryview(chunk)[start : start + length], size + start)
                    if runs and sum(runs[-1]) == size + start:
                        runs[-1] = (runs[-1][0], runs[-1][1] + length)
                    else:
                        runs.append((size + start, length))
                size += len(chunk)
        file = None
        if runs:
            file = self._data_file(path, tuple(runs))
            if self._persistent:
                self._files[path.name] = file.runs
        return Received(Content([Segment(file, 0, size)]), digest.digest(), crc)

    @contextmanager
    def _new(self, path: Path) -> Iterator[int]:
        """Create a file, and yield its descriptor. After an error, the file is removed."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            yield descriptor
            if self._persistent:
                os.fdatasync(descriptor)  # before a record that refers to the file is stored
        except BaseException:
            _remove(path)
            raise
        finally:
            os.close(descriptor)


def _write(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _data_runs(chunk: bytes) -> Iterator[tuple[int, int]]:
    """Yield the runs of blocks with data, as (offset, length)."""
    if chunk == _ZERO_CHUNK[: len(chunk)]:
        return
    view = memoryview(chunk)
    begin = -1
    for start in range(0, len(chunk), BLOCK_BYTES):
        block = view[start : start + BLOCK_BYTES]
        if block == _ZERO_BLOCK[: len(block)]:
            if begin >= 0:
                yield begin, start - begin
            begin = -1
        elif begin < 0:
            begin = start
    if begin >= 0:
        yield begin, len(chunk) - begin


_POLYNOMIAL = 0xC96C5795D7870F42  # 0x42F0E1EBA9EA3693 with its bits reversed, without the term x^64
_ONES = (1 << 64) - 1
_ONE = 1 << 63  # reflected: the highest bit is x^0
_X = 1 << 62


def crc64_update(data: bytes, crc: int = 0) -> int:
    """Return the CRC-64 of bytes with the CRC-64 `crc`, followed by `data`."""
    return int(fast_crc64.xz(data, crc))


def crc64_combine(first: int, second: int, second_length: int) -> int:
    """Return the CRC-64 of two joined pieces from their CRC-64s and the length of the second piece."""
    return _multiply(first, _bytes_power(second_length)) ^ second


def crc64_zeros(length: int) -> int:
    """Return the CRC-64 of a run of zero bytes."""
    return _multiply(_ONES, _bytes_power(length)) ^ _ONES


def _multiply(a: int, b: int) -> int:
    """Return the product of two reflected polynomials modulo the polynomial of the CRC."""
    product = 0
    while b:
        if b & _ONE:
            product ^= a
        b = (b << 1) & _ONES
        a = (a >> 1) ^ (_POLYNOMIAL if a & 1 else 0)
    return product


@lru_cache(maxsize=1024)
def _bytes_power(length: int) -> int:
    """Return x^(8 * length). Cached, because most parts of an upload have the same length."""
    power, square, exponent = _ONE, _X, 8 * length
    while exponent:
        if exponent & 1:
            power = _multiply(power, square)
        square = _multiply(square, square)
        exponent >>= 1
    return power
