"""This file gives every layer of a disk one face: a size, and `pread(offset, length)`.

A container, a partition and a logical volume are all Readers, so that they stack without anyone knowing how deep. There
is no file position, and so no state that two readers could fight over.

Whatever a disk does to those who read it comes out as one of three exceptions, all internal to this room:

    ReadProblem
    ├── Bad            the bytes contradict the format: damage, or an attack
    ├── Unsupported    the bytes may be fine, but this tool does not read that variant
    └── Missing        what was asked for is not there

An OSError is the medium's own failure and passes through unchanged.
"""

import errno
import os
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

# One pread never gives more: the largest thing read in one piece is an initramfs chunk or a GPT array (16 KiB).
MAX_READ_BYTES = 64 * 1024 * 1024


class ReadProblem(Exception):
    """Something on the disk can't be read. `offset` is where it stands in the layer that says so, None if nowhere."""

    def __init__(self, message: str, *, offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


class Bad(ReadProblem):
    """The bytes contradict the format."""


class Unsupported(ReadProblem):
    """A variant of the format that this tool does not read; nothing is known to be wrong with it."""


class Missing(ReadProblem):
    """What was asked for is not there."""


class Reader(Protocol):
    """A run of bytes that can be read at any place. Safe to use from one thread at a time."""

    @property
    def size(self) -> int:
        """Give the size in bytes."""
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
        """Give the first offset from `offset` on that may hold data; the reader's size or more where none does."""
        ...


def next_data(reader: Reader, offset: int) -> int:
    """Ask a reader for what `Sparse` tells; `offset` itself where it does not know its holes."""
    return reader.next_data(offset) if isinstance(reader, Sparse) else offset


def check_range(offset: int, length: int) -> None:
    """Refuse a range that no caller can mean: such numbers come from damaged tables."""
    if offset < 0 or not 0 <= length <= MAX_READ_BYTES:
        raise Bad(f"a read of {length} bytes at {offset} makes no sense", offset=offset)


def read_exactly(reader: Reader, offset: int, length: int) -> bytes:
    """Read all of a range; Bad where the reader ends before it does."""
    data = reader.pread(offset, length)
    if len(data) != length:
        raise Bad(f"bytes {offset}-{offset + length} lie outside of the {reader.size} bytes there are", offset=offset)
    return data


class FileReader:
    """A regular file or a block device, read through one descriptor. A context manager that closes it."""

    def __init__(self, path: Path, *, flags: int = 0) -> None:
        """Open for reading, with more flags for `os.open` if there are any; OSError as that raises it."""
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
        # A block device has st_size 0; seeking to the end works for both.
        self._size = os.lseek(self._fd, 0, os.SEEK_END)

    @property
    def size(self) -> int:
        """Give the size in bytes, as it was when the file was opened."""
        return self._size

    def pread(self, offset: int, length: int) -> bytes:
        """Read; a file that shrank meanwhile reads short, which is Bad to whoever needed the bytes."""
        check_range(offset, length)
        length = max(min(length, self._size - offset), 0)
        data = b""  # past the end the system is not asked: to it some offsets of a damaged table are no numbers at all
        while len(data) < length:
            more = os.pread(self._fd, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def next_data(self, offset: int) -> int:
        """Ask the file system, as `Sparse` has it."""
        try:
            return os.lseek(self._fd, offset, os.SEEK_DATA)
        except OSError as error:
            return max(offset, self._size) if error.errno == errno.ENXIO else offset

    def close(self) -> None:
        """Close the descriptor; fine twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class BytesReader:
    """Bytes in memory as a Reader."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """Give the number of bytes."""
        return len(self._data)

    def pread(self, offset: int, length: int) -> bytes:
        """Read."""
        check_range(offset, length)
        return self._data[offset : offset + length]


class Window:
    """A part of another reader: a partition, or a container's payload."""

    def __init__(self, reader: Reader, *, start: int, size: int) -> None:
        """Look at `size` bytes from `start` on. Bad when that is negative or begins after the reader's end.

        A window may reach past the end (a partition of a disk that was cut short): there it reads short.
        """
        if start < 0 or size < 0 or start > reader.size:
            raise Bad(f"a part of {size} bytes at {start} is not on a disk of {reader.size} bytes", offset=start)
        self._reader = reader
        self.start = start
        self._size = size

    @property
    def size(self) -> int:
        """Give the size in bytes."""
        return self._size

    def pread(self, offset: int, length: int) -> bytes:
        """Read."""
        check_range(offset, length)
        length = max(min(length, self._size - offset), 0)
        return self._reader.pread(self.start + offset, length) if length else b""

    def next_data(self, offset: int) -> int:
        """Ask the reader below, as `Sparse` has it."""
        return next_data(self._reader, self.start + offset) - self.start
