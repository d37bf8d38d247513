"""Bytes of objects: sparse files on disk, and contents made of ranges of them.

A content is a sequence of segments, each a range of a file or a run of zeros. Cutting out a range and joining contents
copies no byte; server-side copies and the completion of a multipart upload use that. Runs of zeros are found while
bytes arrive; they take no space on disk and no reading for a checksum.

The CRC-64 of OSS is CRC-64/XZ: polynomial 0x42F0E1EBA9EA3693, bits reflected, register and result inverted. Because of
the inversion at both ends, the checksum of A followed by B is crc(A) * x^(8 * len(B)) + crc(B) in GF(2)[x] modulo the
polynomial: joining takes one multiplication and no bytes, and so does a run of zeros.
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

# Granularity of zero runs: the block size of most file systems; a smaller one would save no space.
BLOCK_BYTES = 4096
_ZERO_BLOCK = bytes(BLOCK_BYTES)
_ZERO_CHUNK = bytes(CHUNK_BYTES)


Runs = tuple[tuple[int, int], ...]  # (offset, length) of data in a file, ascending, not adjacent


class DataFile:
    """A file of received bytes and the runs that hold data. `drop` is called when nothing refers to it any more."""

    def __init__(self, path: Path, runs: Runs, *, drop: Callable[[Path], None]) -> None:
        self.path = path
        self.runs = runs
        self._run_ends = [offset + length for offset, length in runs]
        # At exit the files stay: the directory belongs to the one who started the sandbox.
        weakref.finalize(self, drop, path).atexit = False

    def read(self, offset: int, length: int) -> bytes:
        """Return a range. The file may be shorter: what lies beyond the last run is zeros."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            return os.pread(descriptor, length, offset).ljust(length, b"\0")
        finally:
            os.close(descriptor)

    def data_within(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """Yield the parts of the runs that lie in a range, as (offset, length) in the file."""
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
    """A range of a file, or (file None) a run of zeros."""

    file: DataFile | None
    offset: int
    length: int

    @property
    def end(self) -> int:
        """Return the offset in the file where it ends."""
        return self.offset + self.length


def _merged(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Yield the segments with adjacent ones merged; joined holes would accumulate otherwise."""
    last: Segment | None = None
    for each in segments:
        if last is not None and last.file is each.file and (each.file is None or last.end == each.offset):
            last = Segment(last.file, last.offset, last.length + each.length)
            continue
        if last is not None and last.length:
            yield last
        last = each
    if last is not None and last.length:
        yield last


class Content:
    """The bytes of an object or a part. Immutable, random access, thread-safe."""

    def __init__(self, segments: Iterable[Segment] = ()) -> None:
        self.segments = tuple(_merged(segments))
        self._starts = [0, *itertools.accumulate(segment.length for segment in self.segments)]

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return self._starts[-1]

    @classmethod
    def joined(cls, contents: Iterable["Content"]) -> "Content":
        """Return contents joined in order."""
        return cls(segment for content in contents for segment in content.segments)

    def to_json(self) -> list[tuple[str | None, int, int]]:
        """Return the segments as (name of the file or None, offset, length)."""
        return [(each.file.path.name if each.file else None, each.offset, each.length) for each in self.segments]

    def cut(self, offset: int, length: int) -> "Content":
        """Return a range as a content."""
        return Content(segment for _, segment in self._within(offset, length))

    def pread(self, offset: int, length: int) -> bytes:
        """Return a range, shorter at the end of the content."""
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
        """Yield what is not known to be zeros as (offset, length), ascending, adjacent ranges joined."""
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
        """Return the CRC-64; runs of zeros are not read."""
        crc, done = 0, 0
        for offset, length in self.data_extents():
            if offset > done:
                crc = crc64_combine(crc, crc64_zeros(offset - done), offset - done)
            for chunk in self.chunks(offset, length):
                crc = crc64_update(chunk, crc)
            done = offset + length
        return crc64_combine(crc, crc64_zeros(self.size - done), self.size - done) if done < self.size else crc

    def _within(self, offset: int, length: int) -> Iterator[tuple[int, Segment]]:
        """Yield the segments of a range, cut to it, each with its offset in the content."""
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
    """A received body and its checksums."""

    content: Content
    md5: bytes
    crc64: int


class BlobStore:
    """The directory of received bytes, readable by its owner alone. Thread-safe.

    `files` is the table of its files: name -> runs. If it is kept, the file of a removed object is removed once no kept
    record can need it (`dropped`, `remove`), and what a killed process left at the next start (`sweep`).
    """

    def __init__(self, directory: Path, *, files: Table[str, Runs]) -> None:
        self._directory = directory
        self._files = files
        self._kept = files.observer is not None
        self._known: weakref.WeakValueDictionary[str, DataFile] = weakref.WeakValueDictionary()
        self._dropped: deque[Path] = deque()  # appended by finalizers, which must take no lock
        # Names of this process: files of an earlier sandbox in the same directory are not touched.
        self._life = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)  # also where it existed already, as in a directory that was made with a wider umask

    def content(self, segments: Iterable[tuple[str | None, int, int]]) -> Content:
        """Return the content that `Content.to_json` described."""
        return Content(Segment(self._file(name) if name else None, offset, length) for name, offset, length in segments)

    def _file(self, name: str) -> DataFile:
        found = self._known.get(name)
        return self._data_file(self._directory / name, self._files[name]) if found is None else found

    def _data_file(self, path: Path, runs: Runs) -> DataFile:
        made = DataFile(path, runs, drop=self._dropped.append if self._kept else _remove)
        self._known[path.name] = made
        return made

    def dropped(self) -> list[Path]:
        """Return the files that nothing refers to since the last call, and remove them from the table."""
        paths = [self._dropped.popleft() for _ in range(len(self._dropped))]
        for path in paths:
            self._files.pop(path.name, None)
        return paths

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove files."""
        for path in paths:
            _remove(path)

    def sweep(self) -> None:
        """Remove every file that no content refers to: what was received when a process was killed."""
        for name in [name for name in self._files if name not in self._known]:
            del self._files[name]
        self.remove(path for path in self._directory.iterdir() if path.name not in self._known)

    def receive(self, chunks: Iterable[bytes]) -> Received:
        """Store a stream of bytes as a sparse file; after an error nothing is left."""
        path = self._directory / f"{self._life}-{next(self._numbers):08d}"
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
            if self._kept:
                self._files[path.name] = file.runs
        return Received(Content([Segment(file, 0, size)]), digest.digest(), crc)

    @contextmanager
    def _new(self, path: Path) -> Iterator[int]:
        """Open a new file to write; after an error it is removed."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            yield descriptor
            if self._kept:
                os.fdatasync(descriptor)  # before any record that refers to it
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
    """Yield the runs of blocks that are not all zeros, as (offset, length)."""
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


_POLYNOMIAL = 0xC96C5795D7870F42  # 0x42F0E1EBA9EA3693 with its bits reversed; the term x^64 is understood
_ONES = (1 << 64) - 1
_ONE = 1 << 63  # reflected: the highest bit is x^0
_X = 1 << 62


def crc64_update(data: bytes | memoryview, crc: int = 0) -> int:
    """Return the CRC-64 of the bytes with the CRC-64 `crc` followed by data."""
    return int(fast_crc64.xz(bytes(data) if isinstance(data, memoryview) else data, crc))


def crc64_combine(first: int, second: int, second_length: int) -> int:
    """Return the CRC-64 of two joined pieces from their CRC-64s and the length of the second."""
    return _multiply(first, _bytes_power(second_length)) ^ second


def crc64_zeros(length: int) -> int:
    """Return the CRC-64 of a run of zero bytes."""
    return _multiply(_ONES, _bytes_power(length)) ^ _ONES


def _multiply(a: int, b: int) -> int:
    """Return the product of two reflected polynomials modulo that of the CRC."""
    product = 0
    while b:
        if b & _ONE:
            product ^= a
        b = (b << 1) & _ONES
        a = (a >> 1) ^ (_POLYNOMIAL if a & 1 else 0)
    return product


@lru_cache(maxsize=1024)
def _bytes_power(length: int) -> int:
    """Return x^(8 * length); cached, because most parts of an upload have the same length."""
    power, square, exponent = _ONE, _X, 8 * length
    while exponent:
        if exponent & 1:
            power = _multiply(power, square)
        square = _multiply(square, square)
        exponent >>= 1
    return power
