"""This file keeps the bytes of objects: sparse files on disk, and contents that are made of ranges of them.

A content is a row of segments, each a range of a file or a run of zeros. Ranges can be cut out and contents joined
without a byte being copied, which is what a server-side copy and the completion of a multipart upload do. Runs of
zeros are told apart while bytes arrive; they take no room on the disk and need no reading for a checksum.
"""

import bisect
import hashlib
import itertools
import os
import secrets
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from aliyun_import.sandbox.core import crc64
from aliyun_import.sandbox.core.http_types import CHUNK_BYTES

# The grain of zero runs: the block of most file systems, so that nothing smaller would save room.
BLOCK_BYTES = 4096
_ZERO_BLOCK = bytes(BLOCK_BYTES)
_ZERO_CHUNK = bytes(CHUNK_BYTES)


class DataFile:
    """A file of received bytes with the runs of it that hold data; it is removed once nothing refers to it."""

    def __init__(self, path: Path, runs: tuple[tuple[int, int], ...]) -> None:
        self.path = path
        self.runs = runs  # (offset, length), ascending, apart from each other
        self._run_ends = [offset + length for offset, length in runs]
        # At exit the files stay: the directory belongs to whoever started the sandbox.
        weakref.finalize(self, _remove, path).atexit = False

    def read(self, offset: int, length: int) -> bytes:
        """Read a range; what lies beyond the last run is zeros that the file may be too short for."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            return os.pread(descriptor, length, offset).ljust(length, b"\0")
        finally:
            os.close(descriptor)

    def data_within(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """Give the parts of the runs that lie in a range, as (offset, length) in the file."""
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
        """Give the place in the file where it ends."""
        return self.offset + self.length


def _merged(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Make one of neighbours that go on where the one before ended: joined holes would pile up otherwise."""
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
    """The bytes of an object or a part; immutable, readable at any place from any thread."""

    def __init__(self, segments: Iterable[Segment] = ()) -> None:
        self.segments = tuple(_merged(segments))
        self._starts = [0, *itertools.accumulate(segment.length for segment in self.segments)]

    @property
    def size(self) -> int:
        """Give the number of bytes."""
        return self._starts[-1]

    @classmethod
    def joined(cls, contents: Iterable["Content"]) -> "Content":
        """Join contents one after the other."""
        return cls(segment for content in contents for segment in content.segments)

    def cut(self, offset: int, length: int) -> "Content":
        """Give a range as a content of its own."""
        return Content(segment for _, segment in self._within(offset, length))

    def pread(self, offset: int, length: int) -> bytes:
        """Read a range into memory; shorter at the end."""
        return b"".join(
            segment.file.read(segment.offset, segment.length) if segment.file else bytes(segment.length)
            for _, segment in self._within(offset, length)
        )

    def chunks(self, offset: int, length: int) -> Iterator[bytes]:
        """Read a range chunk by chunk."""
        end = min(offset + length, self.size)
        for start in range(offset, end, CHUNK_BYTES):
            yield self.pread(start, min(CHUNK_BYTES, end - start))

    def data_extents(self) -> Iterator[tuple[int, int]]:
        """Give what is not known to be zeros as (offset, length), ascending; neighbours are joined."""
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
        """Give the CRC-64, reading nothing but data."""
        crc, done = 0, 0
        for offset, length in self.data_extents():
            if offset > done:
                crc = crc64.combine(crc, crc64.zeros(offset - done), offset - done)
            for chunk in self.chunks(offset, length):
                crc = crc64.update(chunk, crc)
            done = offset + length
        return crc64.combine(crc, crc64.zeros(self.size - done), self.size - done) if done < self.size else crc

    def _within(self, offset: int, length: int) -> Iterator[tuple[int, Segment]]:
        """Give the segments of a range, cut to it, each with its place in the content."""
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
    """What arrived: the bytes, and the checksums computed on the way."""

    content: Content
    md5: bytes
    crc64: int


class Shelf:
    """The directory that received bytes are kept in. Safe on any thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # Names of one life: the files of an earlier sandbox may lie in the same directory, and are not touched.
        self._life = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        directory.mkdir(parents=True, exist_ok=True)

    def receive(self, chunks: Iterable[bytes]) -> Received:
        """Write a stream of bytes down, holes kept; on any error nothing is left behind."""
        path = self._directory / f"{self._life}-{next(self._numbers):08d}"
        digest, crc, size = hashlib.md5(usedforsecurity=False), 0, 0
        runs: list[tuple[int, int]] = []
        descriptor = -1
        try:
            for chunk in chunks:
                digest.update(chunk)
                crc = crc64.update(chunk, crc)
                for start, length in _data_runs(chunk):
                    if descriptor < 0:
                        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                    _write(descriptor, memoryview(chunk)[start : start + length], size + start)
                    if runs and sum(runs[-1]) == size + start:
                        runs[-1] = (runs[-1][0], runs[-1][1] + length)
                    else:
                        runs.append((size + start, length))
                size += len(chunk)
        except BaseException:
            if descriptor >= 0:
                _remove(path)
            raise
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        file = DataFile(path, tuple(runs)) if runs else None
        return Received(Content([Segment(file, 0, size)]), digest.digest(), crc)


def _write(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _data_runs(chunk: bytes) -> Iterator[tuple[int, int]]:
    """Give the runs of blocks that are not all zeros, as (offset, length)."""
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
