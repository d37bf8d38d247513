"""One attempt to make one part of an upload.

Runs on a worker thread. Nothing is retried and no event is emitted here; the scheduler decides on the result.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from aliyun_import.disk.disk import Disk
from aliyun_import.errors import AliyunImportError, BaseChanged, PartCorrupted
from aliyun_import.limits import KIB
from aliyun_import.model.objects import RemotePart
from aliyun_import.services import ObjectStore
from aliyun_import.upload.crc64 import crc64, crc64_of_zeros
from aliyun_import.upload.plan import BaseObject, PartKind, PlannedPart
from aliyun_import.upload.transfer.parts import DonePart

# A chunk stays in the processor's cache for read, checksum and send; measured in tests/bench.
CHUNK_BYTES = 256 * KIB
# Attempts to copy a range of zeros whose source disappears.
ZERO_ATTEMPTS = 5
_MD5 = re.compile(r"[0-9A-Fa-f]{32}")

OnChunk = Callable[[int], None]


class RangeBody:
    """A PartBody over a range of the disk, read in chunks, with a CRC-64 of the chunks.

    Uses the memory of one chunk: each chunk overwrites the previous one, so the consumer must have used a chunk before
    it takes the next. `on_chunk` is called with the length of each chunk before it is yielded; it may wait (rate limit)
    and may raise (cancellation). `crc64` is that of the last complete iteration. Iterating raises DiskError if the disk
    can't be read.
    """

    def __init__(self, source: Disk, buffer: memoryview, *, start: int, length: int, on_chunk: OnChunk) -> None:
        self._source = source
        self._buffer = buffer
        self._start = start
        self._length = length
        self._on_chunk = on_chunk
        self.crc64: int | None = None

    def __len__(self) -> int:
        """Return the exact number of bytes that iterating yields."""
        return self._length

    def __iter__(self) -> Iterator[memoryview]:
        """Yield the chunks of the range from its first byte."""
        self.crc64 = None
        crc = 0
        position, end = self._start, self._start + self._length
        while position < end:
            chunk = self._buffer[: min(len(self._buffer), end - position)]
            self._source.read_into(position, chunk)
            crc = crc64(chunk, crc)
            self._on_chunk(len(chunk))
            yield chunk
            position += len(chunk)
        self.crc64 = crc


def crc64_of_range(
    source: Disk, *, start: int, length: int, on_chunk: OnChunk, buffer: memoryview | None = None
) -> int:
    """Return the CRC-64 of a range of the disk. Raises the errors of iterating a RangeBody."""
    body = RangeBody(
        source, buffer or memoryview(bytearray(CHUNK_BYTES)), start=start, length=length, on_chunk=on_chunk
    )
    for _ in body:
        pass
    return body.crc64 or 0


class ZeroSource(Protocol):
    """The zero object of a push. Thread-safe."""

    @property
    def source(self) -> BaseObject:
        """The present object; raises ValueError if there is none."""
        ...

    def renewed(self, error: AliyunImportError) -> BaseObject:
        """Create the object again after it disappeared; raises `error` if that was tried too often."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PartMaker:
    """Maker of one upload's parts. Shared by all worker threads.

    `zeros` is the source of ranges of zeros, `base` that of unchanged ranges.
    """

    store: ObjectStore
    source: Disk
    key: str
    upload_id: str
    zeros: ZeroSource
    base: BaseObject | None

    def make(self, part: PlannedPart, *, buffer: memoryview, on_chunk: OnChunk, on_read: OnChunk) -> DonePart:
        """Make one part and prove it.

        `on_chunk` is called for each chunk that is sent, `on_read` for each that is only read; both may raise to stop.
        Raises the errors of the store and the disk, and PartCorrupted.
        """
        match part.kind:
            case PartKind.SEND:
                return self._send(part, buffer=buffer, on_chunk=on_chunk)
            case PartKind.ZERO:
                return self._copy_zeros(part)
            case PartKind.BASE:
                if self.base is None:
                    raise ValueError("a base part without a base")
                crc = crc64_of_range(self.source, start=part.start, length=part.length, on_chunk=on_read, buffer=buffer)
                return self._copy(part, source=self.base, start=part.start, crc=crc)

    def _send(self, part: PlannedPart, *, buffer: memoryview, on_chunk: OnChunk) -> DonePart:
        body = RangeBody(self.source, buffer, start=part.start, length=part.length, on_chunk=on_chunk)
        remote = self.store.send_part(self.key, self.upload_id, number=part.number, body=body)
        if body.crc64 is None:  # the store responded before it read the whole body
            raise _corrupted(part, "The response arrived before the whole part was sent.")
        proof = "crc64"
        if remote.crc64 is None:
            proof = self._prove_by_md5(part, remote, buffer)
        elif remote.crc64 != body.crc64:
            raise _corrupted(part, f"OSS has CRC-64 {remote.crc64:016x}, the disk {body.crc64:016x}.")
        return _done(part, body.crc64, remote, proof)

    def _copy_zeros(self, part: PlannedPart) -> DonePart:
        crc, source = crc64_of_zeros(part.length), self.zeros.source
        for _ in range(ZERO_ATTEMPTS - 1):
            try:
                return self._copy(part, source=source, start=0, crc=crc)
            except BaseChanged as error:
                source = self.zeros.renewed(error)
        return self._copy(part, source=source, start=0, crc=crc)

    def _copy(self, part: PlannedPart, *, source: BaseObject, start: int, crc: int) -> DonePart:
        remote = self.store.copy_part(
            self.key,
            self.upload_id,
            number=part.number,
            source_key=source.key,
            start=start,
            length=part.length,
            if_match=source.etag,
        )
        if remote.crc64 is not None and remote.crc64 != crc:
            raise _corrupted(part, f"OSS has CRC-64 {remote.crc64:016x} for the copy, the disk {crc:016x}.")
        return _done(part, crc, remote, "copy" if remote.crc64 is None else "crc64")

    def _prove_by_md5(self, part: PlannedPart, remote: RemotePart, buffer: memoryview) -> str:
        """Compare the ETag, which is the MD5 of a sent part, if OSS reports no CRC-64. Reads the range again."""
        if not _MD5.fullmatch(remote.etag):
            return ""
        digest = hashlib.md5(usedforsecurity=False)
        position = part.start
        while position < part.end:
            chunk = buffer[: min(len(buffer), part.end - position)]
            self.source.read_into(position, chunk)
            digest.update(chunk)
            position += len(chunk)
        return "md5" if digest.hexdigest() == remote.etag.lower() else ""


def _done(part: PlannedPart, crc: int, remote: RemotePart, proof: str) -> DonePart:
    return DonePart(number=part.number, start=part.start, length=part.length, crc64=crc, etag=remote.etag, proof=proof)


def _corrupted(part: PlannedPart, cause: str) -> PartCorrupted:
    return PartCorrupted(
        f"Part {part.number} in OSS differs from the bytes of the disk.",
        code="part-corrupted",
        cause=cause,
        remedy="Run the same command again. If it happens again, test this machine's memory and network.",
        details={"part": str(part.number), "offset": str(part.start)},
        resumable=True,
    )
