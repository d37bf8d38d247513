"""This file makes one part in OSS, in one attempt: sends its bytes or has the server copy them, and proves it.

What runs here runs on a worker's thread. Nothing is retried here, and nothing is said: the coordinator does both.
"""

import hashlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass

from aliyun_import.disk.disk import DiskSource
from aliyun_import.errors import PartCorrupted, TransientError
from aliyun_import.model.objects import RemotePart
from aliyun_import.services.interface import ObjectStore
from aliyun_import.upload.crc64 import crc64_of_zeros
from aliyun_import.upload.plan.plan import BaseObject, PartKind, PlannedPart
from aliyun_import.upload.transfer.body import RangeBody, crc64_of_range
from aliyun_import.upload.transfer.parts import DonePart
from aliyun_import.upload.zero_object import ZeroObject

_MD5 = re.compile(r"[0-9A-Fa-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """What all workers of one upload share."""

    store: ObjectStore
    source: DiskSource
    key: str
    upload_id: str
    zero: ZeroObject | None
    base: BaseObject | None
    halt: threading.Event


def make_part(
    place: WorkerContext, part: PlannedPart, *, buffer: memoryview, on_chunk: Callable[[int], None]
) -> DonePart:
    """Make one part. Raises what the store and the disk raise, and TransientError "part-corrupted"."""
    match part.kind:
        case PartKind.SEND:
            return _send(place, part, buffer=buffer, on_chunk=on_chunk)
        case PartKind.ZERO:
            if place.zero is None:
                raise ValueError("a zero part without a zero object")
            crc = crc64_of_zeros(part.length)
            return _copy(place, part, source=BaseObject(key=place.zero.key, etag=place.zero.etag), start=0, crc=crc)
        case PartKind.BASE:
            if place.base is None:
                raise ValueError("a base part without a base")
            crc = crc64_of_range(place.source, buffer, start=part.start, length=part.length, stop=place.halt)
            return _copy(place, part, source=place.base, start=part.start, crc=crc)


def _send(place: WorkerContext, part: PlannedPart, *, buffer: memoryview, on_chunk: Callable[[int], None]) -> DonePart:
    body = RangeBody(place.source, buffer, start=part.start, length=part.length, stop=place.halt, on_chunk=on_chunk)
    remote = place.store.send_part(place.key, place.upload_id, number=part.number, body=body)
    if body.crc64 is None:  # the store answered before it took the whole body
        raise _corrupted(part, "It was answered before all of it was sent.")
    proof = "crc64"
    if remote.crc64 is None:
        proof = _prove_by_md5(place, part, remote, buffer)
    elif remote.crc64 != body.crc64:
        raise _corrupted(part, f"OSS has CRC-64 {remote.crc64:016x}, the disk {body.crc64:016x}.")
    return _done(part, body.crc64, remote, proof)


def _copy(place: WorkerContext, part: PlannedPart, *, source: BaseObject, start: int, crc: int) -> DonePart:
    remote = place.store.copy_part(
        place.key,
        place.upload_id,
        number=part.number,
        source_key=source.key,
        start=start,
        length=part.length,
        if_match=source.etag,
    )
    if remote.crc64 is not None and remote.crc64 != crc:
        raise _corrupted(part, f"OSS has CRC-64 {remote.crc64:016x} for the copy, the disk {crc:016x}.")
    return _done(part, crc, remote, "copy" if remote.crc64 is None else "crc64")


def _prove_by_md5(place: WorkerContext, part: PlannedPart, remote: RemotePart, buffer: memoryview) -> str:
    """Compare with the ETag, which is a sent part's MD5, where the store gives no CRC-64; reads the range again."""
    if not _MD5.fullmatch(remote.etag):
        return ""
    digest = hashlib.md5(usedforsecurity=False)
    position = part.start
    while position < part.end:
        chunk = buffer[: min(len(buffer), part.end - position)]
        place.source.read_into(position, chunk)
        digest.update(chunk)
        position += len(chunk)
    return "md5" if digest.hexdigest() == remote.etag.lower() else ""


def _done(part: PlannedPart, crc: int, remote: RemotePart, proof: str) -> DonePart:
    return DonePart(number=part.number, start=part.start, length=part.length, crc64=crc, etag=remote.etag, proof=proof)


def _corrupted(part: PlannedPart, cause: str) -> TransientError:
    return PartCorrupted(
        f"Part {part.number} arrived in OSS with other bytes than it was sent with.",
        code="part-corrupted",
        cause=cause,
        remedy="Run the same command again. If it comes back, test this machine's memory and network.",
        details={"part": str(part.number), "offset": str(part.start)},
        resumable=True,
    )
