"""Readers: the layers of a disk, each with a size and `pread(offset, length)`.

A file, a container, a partition and a logical volume are Readers, and can be stacked to any depth. A Reader has no file
position.

Readers raise one of three exceptions for the content of a disk, all internal to this package:

    ReadProblem
    ├── Bad            the bytes contradict the format: damage, or an attack
    ├── Unsupported    the bytes may be valid, but this tool does not read this variant
    └── Missing        the requested object does not exist

An OSError is an I/O error of the file, and is not translated.
"""

import errno
import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Generic, Protocol, Self, TypeVar, runtime_checkable

V = TypeVar("V")
# The maximum length of one pread. The largest objects that are read in one piece are chunks of an initramfs.
MAX_READ_BYTES = 64 * 1024 * 1024
_PIECE_BYTES = 4 * 1024 * 1024


class ReadProblem(Exception):
    """A part of the disk can't be read. `offset` is its position in the layer that raises, or None."""

    def __init__(self, message: str, *, offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


class Bad(ReadProblem):
    """The bytes contradict the format."""


class Unsupported(ReadProblem):
    """The bytes are a variant of the format that this tool does not read. They may be valid."""


class Missing(ReadProblem):
    """The requested object does not exist."""


class Reader(Protocol):
    """A range of bytes with random access. Not thread-safe unless the class documents it."""

    @property
    def size(self) -> int:
        """Return the size in bytes."""
        ...

    def pread(self, offset: int, length: int) -> bytes:
        """Read `length` bytes at `offset`. Return fewer if the reader ends in the range, and none after its end.

        Raises Bad if the offset or the length is negative, or the length is over MAX_READ_BYTES, and the errors of the
        layer below.
        """
        ...


@runtime_checkable
class Sparse(Protocol):
    """A reader with known holes."""

    def next_data(self, offset: int) -> int:
        """Return the first offset from `offset` on that may have data, or the size or more if there is none."""
        ...


def next_data(reader: Reader, offset: int) -> int:
    """Return `next_data` of a Sparse reader, or `offset` for any other reader."""
    return reader.next_data(offset) if isinstance(reader, Sparse) else offset


def data_pieces(reader: Reader, size: int) -> Iterator[bytes | int]:
    """Yield the first `size` bytes of a reader in pieces: bytes, or the length of a hole, which is not read."""
    offset = 0
    while offset < size:
        start = min(next_data(reader, offset), size)
        yield start - offset
        yield reader.pread(start, min(_PIECE_BYTES, size - start))
        offset = min(start + _PIECE_BYTES, size)


def check_range(offset: int, length: int) -> None:
    """Raise Bad for a range that only a damaged table can contain."""
    if offset < 0 or not 0 <= length <= MAX_READ_BYTES:
        raise Bad(f"the range of {length} bytes at {offset} is impossible", offset=offset)


def read_exactly(reader: Reader, offset: int, length: int) -> bytes:
    """Read a whole range. Raises Bad if the reader ends in it."""
    data = reader.pread(offset, length)
    if len(data) != length:
        raise Bad(f"bytes {offset}-{offset + length} are not within its {reader.size} bytes", offset=offset)
    return data


class PiecewiseReader:
    """Base class of readers with content in pieces: clusters, blocks, segments, network requests."""

    def __init__(self, size: int) -> None:
        self.size = size

    def pread(self, offset: int, length: int) -> bytes:
        """Read a range piece by piece, as `Reader.pread`."""
        check_range(offset, length)
        end = min(offset + length, self.size)
        pieces = []
        while offset < end:
            piece = self._piece(offset, end - offset)
            if not piece:
                break
            pieces.append(piece)
            offset += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _piece(self, offset: int, length: int) -> bytes:
        """Read the beginning of a range: at least one byte and at most `length`, or none at the end of the content."""
        raise NotImplementedError


class FileReader:
    """A regular file or a block device, read through one descriptor. Thread-safe, and a context manager.

    `size` is the size at opening.
    """

    def __init__(self, file: Path | int, *, flags: int = 0) -> None:
        """Open the file for reading, with additional flags for `os.open`, or use an open descriptor. Raises OSError."""
        self._fd = file if isinstance(file, int) else os.open(file, os.O_RDONLY | os.O_CLOEXEC | flags)
        # A block device has st_size 0; seeking to the end works for both.
        self.size = os.lseek(self._fd, 0, os.SEEK_END)

    def fileno(self) -> int:
        """Return the descriptor, -1 if it is closed."""
        return self._fd

    def open(self) -> BinaryIO:
        """Return a file object at the beginning of the same file; its position is that of the descriptor."""
        file = os.fdopen(os.dup(self._fd), "rb")
        file.seek(0)
        return file

    def pread(self, offset: int, length: int) -> bytes:
        """Read a range. The result is short if the file was truncated after it was opened."""
        check_range(offset, length)
        length = max(min(length, self.size - offset), 0)
        data = b""  # no system call after the end: offsets from a damaged table may be too large for it
        while len(data) < length:
            more = os.pread(self._fd, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def next_data(self, offset: int) -> int:
        """Return the next data by SEEK_DATA of the file system, as `Sparse.next_data`."""
        try:
            return os.lseek(self._fd, offset, os.SEEK_DATA)
        except OSError as error:
            return max(offset, self.size) if error.errno == errno.ENXIO else offset

    def close(self) -> None:
        """Close the descriptor. A second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BytesReader:
    """A Reader of bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def pread(self, offset: int, length: int) -> bytes:
        """Read a range, as `Reader.pread`."""
        check_range(offset, length)
        return self._data[offset : offset + length]


class Window:
    """A part of another reader: a partition, or the payload of a container."""

    def __init__(self, reader: Reader, *, start: int, size: int) -> None:
        """Create a window of `size` bytes from `start` on. Raises Bad if it is negative or begins after the end.

        A window may end after the end of the reader (a partition of a truncated disk). Reads are short there.
        """
        if start < 0 or size < 0 or start > reader.size:
            raise Bad(f"a part of {size} bytes at {start} is not on a disk of {reader.size} bytes", offset=start)
        self._reader = reader
        self.start = start
        self.size = size

    def pread(self, offset: int, length: int) -> bytes:
        """Read a range, as `Reader.pread`."""
        check_range(offset, length)
        length = max(min(length, self.size - offset), 0)
        return self._reader.pread(self.start + offset, length) if length else b""

    def next_data(self, offset: int) -> int:
        """Return the next data of the reader below, as `Sparse.next_data`."""
        return next_data(self._reader, self.start + offset) - self.start


class Recent(Generic[V]):
    """A cache of the values that were used last. It bounds the memory that a disk can make a reader use.

    The weight of a value is one plus the number of its parts. The sum of the weights is at most `limit`, except that
    the last value always stays.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._weight = 0
        self._values: OrderedDict[int, tuple[V, int]] = OrderedDict()

    def get(self, key: int) -> V | None:
        """Return the cached value, or None."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def keep(self, key: int, value: V, *, parts: int = 0) -> V:
        """Cache a new value and return it. The least recently used values are dropped."""
        self._values[key] = (value, 1 + parts)
        self._weight += 1 + parts
        while self._weight > self._limit and len(self._values) > 1:
            self._weight -= self._values.popitem(last=False)[1][1]
        return value
