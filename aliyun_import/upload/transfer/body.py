"""This file is the body of a part on its way: a range of the disk, read in chunks and checksummed as it goes.

Memory is one chunk a worker, whatever the part's length. A chunk's buffer is used again for the next chunk, so that
whoever iterates must be done with one before asking for the next, as a socket's sendall is.
"""

import threading
from collections.abc import Callable, Iterator

from aliyun_import.disk.disk import Disk
from aliyun_import.errors import Interrupted
from aliyun_import.limits import KIB
from aliyun_import.upload.crc64 import crc64

# Read, checksum and send each go over a chunk while it is in the processor's cache; measured in tests/bench.
CHUNK_BYTES = 256 * KIB


class RangeBody:
    """A PartBody over a range of the disk. `crc64` is that of the bytes of the last iteration that ran to its end.

    Iterating raises DiskError where the disk can't be read, and Interrupted at the next chunk after `stop` is set.
    `on_chunk` is called with the length of each chunk before it is handed over, and may wait (it paces the worker).
    """

    def __init__(
        self,
        source: Disk,
        buffer: memoryview,
        *,
        start: int,
        length: int,
        stop: threading.Event,
        on_chunk: Callable[[int], None],
    ) -> None:
        self._source = source
        self._buffer = buffer
        self._start = start
        self._length = length
        self._stop = stop
        self._on_chunk = on_chunk
        self.crc64: int | None = None

    def __len__(self) -> int:
        """Give the exact number of bytes that iterating yields."""
        return self._length

    def __iter__(self) -> Iterator[memoryview]:
        """Read the range from its first byte."""
        self.crc64 = None
        crc = 0
        position, end = self._start, self._start + self._length
        while position < end:
            if self._stop.is_set():
                raise Interrupted("Stopped.", code="interrupted", remedy=None, resumable=True)
            chunk = self._buffer[: min(len(self._buffer), end - position)]
            self._source.read_into(position, chunk)
            crc = crc64(chunk, crc)
            self._on_chunk(len(chunk))
            yield chunk
            position += len(chunk)
        self.crc64 = crc


def crc64_of_range(source: Disk, buffer: memoryview, *, start: int, length: int, stop: threading.Event) -> int:
    """Give the CRC-64 of a range of the disk; raises as iterating a RangeBody does."""
    body = RangeBody(source, buffer, start=start, length=length, stop=stop, on_chunk=_at_once)
    for _ in body:
        pass
    return body.crc64 or 0


def _at_once(length: int) -> None:
    """Let a chunk pass without a wait."""
    del length
