"""The interface of every layer of a disk: a size, and `pread(offset, length)`.

A file, a container, a partition and a logical volume are all Readers and stack to any depth. A Reader has no file
position, and so no state that two callers could disturb.

Everything that a disk can do to its readers is raised as one of three exceptions, all internal to this package:

    ReadProblem
    ├── Bad            the bytes contradict the format: damage, or an attack
    ├── Unsupported    the bytes may be right, but this tool does not read that variant
    └── Missing        the requested object does not exist

An OSError is a failure of the medium and passes unchanged.
"""

import errno
import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Generic, Protocol, Self, TypeVar, runtime_checkable

V = TypeVar("V")
# The longest single pread: the largest object read in one piece is an initramfs chunk or a GPT array (16 KiB).
MAX_READ_BYTES = 64 * 1024 * 1024
_PIECE_BYTES = 4 * 1024 * 1024


class ReadProblem(Exception):
    """A part of the disk that can't be read. `offset` is its position in the layer that raises, None if it has none."""

    def __init__(self, message: str, *, offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


class Bad(ReadProblem):
    """The bytes contradict the format."""


class Unsupported(ReadProblem):
    """A variant of the format that this tool does not read; nothing is known to be wrong with it."""


class Missing(ReadProblem):
    """The requested object does not exist."""


class Reader(Protocol):
    """A range of bytes with random access. Safe to use from one thread at a time, unless the class says otherwise."""

    @property
    def size(self) -> int:
        """Return the size in bytes."""
        ...

    def pread(self, offset: int, length: int) -> bytes:
        """Read `length` bytes at `offset`; fewer only where the reader ends, none at or after its end.

        Raises Bad for a negative offset or length or more than MAX_READ_BYTES, else what the layer below raises.
        """
        ...


@runtime_checkable
class Sparse(Protocol):
    """A reader that knows its holes."""

    def next_data(self, offset: int) -> int:
        """Return the first offset from `offset` on that may hold data; the reader's size or more if there is none."""
        ...


def next_data(reader: Reader, offset: int) -> int:
    """Return `next_data` of a Sparse reader, and `offset` itself for a reader that does not know its holes."""
    return reader.next_data(offset) if isinstance(reader, Sparse) else offset


def data_pieces(reader: Reader, size: int) -> Iterator[bytes | int]:
    """Yield the first `size` bytes of a reader in pieces. A number stands for that many zeros: holes are not read."""
    offset = 0
    while offset < size:
        start = min(next_data(reader, offset), size)
        yield start - offset
        yield reader.pread(start, min(_PIECE_BYTES, size - start))
        offset = min(start + _PIECE_BYTES, size)


def check_range(offset: int, length: int) -> None:
    """Raise Bad for a range that only a damaged table can contain."""
    if offset < 0 or not 0 <= length <= MAX_READ_BYTES:
        raise Bad(f"a read of {length} bytes at {offset} makes no sense", offset=offset)


def read_exactly(reader: Reader, offset: int, length: int) -> bytes:
    """Read all of a range; Bad where the reader ends before."""
    data = reader.pread(offset, length)
    if len(data) != length:
        raise Bad(f"bytes {offset}-{offset + length} are outside of the {reader.size} bytes there are", offset=offset)
    return data


class PiecewiseReader:
    """Base of readers whose content is stored in pieces: clusters, blocks, segments, network requests."""

    def __init__(self, size: int) -> None:
        self.size = size

    def pread(self, offset: int, length: int) -> bytes:
        """Read, piece by piece; short where the content ends."""
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
        """Read the beginning of a range, at least one byte and at most `length`; nothing where the content ends."""
        raise NotImplementedError


class FileReader:
    """A regular file or a block device, read through one descriptor. A context manager; safe to use from any thread.

    `size` is that of the file when it was opened.
    """

    def __init__(self, file: Path | int, *, flags: int = 0) -> None:
        """Open the file for reading, with more flags for `os.open`, or take an open descriptor. Raises OSError."""
        self._fd = file if isinstance(file, int) else os.open(file, os.O_RDONLY | os.O_CLOEXEC | flags)
        # A block device has st_size 0; seeking to the end works for both.
        self.size = os.lseek(self._fd, 0, os.SEEK_END)

    def fileno(self) -> int:
        """Return the descriptor, -1 when it is closed."""
        return self._fd

    def open(self) -> BinaryIO:
        """Return a file object at the beginning of the same file; its position is that of the descriptor."""
        file = os.fdopen(os.dup(self._fd), "rb")
        file.seek(0)
        return file

    def pread(self, offset: int, length: int) -> bytes:
        """Read; short in a file that has shrunk, which is Bad for a caller that needs the bytes."""
        check_range(offset, length)
        length = max(min(length, self.size - offset), 0)
        data = b""  # past the end the system is not called: some offsets of a damaged table are out of its range
        while len(data) < length:
            more = os.pread(self._fd, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def next_data(self, offset: int) -> int:
        """Return the next data that the file system knows, as `Sparse` defines it."""
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
    """Bytes in memory as a Reader."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def pread(self, offset: int, length: int) -> bytes:
        """Read."""
        check_range(offset, length)
        return self._data[offset : offset + length]


class Window:
    """A part of another reader: a partition, or the payload of a container."""

    def __init__(self, reader: Reader, *, start: int, size: int) -> None:
        """Create a window of `size` bytes from `start` on. Bad when that is negative or begins after the reader's end.

        A window may reach past the end (a partition of a disk that was cut short): there it reads short.
        """
        if start < 0 or size < 0 or start > reader.size:
            raise Bad(f"a part of {size} bytes at {start} is not on a disk of {reader.size} bytes", offset=start)
        self._reader = reader
        self.start = start
        self.size = size

    def pread(self, offset: int, length: int) -> bytes:
        """Read."""
        check_range(offset, length)
        length = max(min(length, self.size - offset), 0)
        return self._reader.pread(self.start + offset, length) if length else b""

    def next_data(self, offset: int) -> int:
        """Return the next data of the reader below, as `Sparse` defines it."""
        return next_data(self._reader, self.start + offset) - self.start


class Recent(Generic[V]):
    """A cache of the values used last, so that memory stays bounded whatever a disk contains.

    A value weighs one plus its parts, all of them together `limit` at most; the last one stays whatever it weighs.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._weight = 0
        self._values: OrderedDict[int, tuple[V, int]] = OrderedDict()

    def get(self, key: int) -> V | None:
        """Return the cached value, None when there is none."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def keep(self, key: int, value: V, *, parts: int = 0) -> V:
        """Cache a new value and return it; the least recently used ones are dropped."""
        self._values[key] = (value, 1 + parts)
        self._weight += 1 + parts
        while self._weight > self._limit and len(self._values) > 1:
            self._weight -= self._values.popitem(last=False)[1][1]
        return value
