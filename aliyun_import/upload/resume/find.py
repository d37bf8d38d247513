"""This file looks for what earlier runs left of one disk in OSS: the finished object, or an unfinished upload.

What is found is believed by its CRC-64 against the local bytes, or where this machine's journal agrees with the
server; never by its name.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from aliyun_import.disk.fingerprint import Fingerprint, Likeness
from aliyun_import.errors import ObjectExists, RefusedError
from aliyun_import.events import Noted
from aliyun_import.model.objects import RemoteObject, RemotePart, UploadedObject
from aliyun_import.upload.complete import BY_OBJECT, TAG_NAME
from aliyun_import.upload.context import UploadContext
from aliyun_import.upload.crc64 import combine_all, crc64_of_zeros
from aliyun_import.upload.plan.plan import PartKind, PlannedPart, UploadPlan
from aliyun_import.upload.resume.reconcile import reconcile
from aliyun_import.upload.resume.record import UploadRecord
from aliyun_import.upload.transfer.body import CHUNK_BYTES, crc64_of_range
from aliyun_import.upload.transfer.parts import DonePart, PartSplitter

# Reading to prove: as many at once as keep a disk busy.
READERS = 4
# Unfinished uploads of one key to look into: more than one is the trace of a lost answer.
CANDIDATES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundUpload:
    """An unfinished upload, the parts of it that were proven, and in words how."""

    upload_id: str
    done: tuple[DonePart, ...]
    how: str


def crc64_of_source(context: UploadContext) -> int:
    """Read the disk's data once for the CRC-64 of the whole; holes are not read."""
    context.source.forget_cached()
    buffer = memoryview(bytearray(CHUNK_BYTES))
    pieces: list[tuple[int, int]] = []
    position = 0
    for extent in context.source.extents():
        gap, length = extent.start - position, extent.end - extent.start
        crc = crc64_of_range(context.source, buffer, start=extent.start, length=length, stop=context.stop)
        pieces += [(crc64_of_zeros(gap), gap), (crc, length)]
        position = extent.end
    rest = context.source.size_bytes - position
    return combine_all([*pieces, (crc64_of_zeros(rest), rest)])


def first_changed(context: UploadContext, done: Iterable[DonePart]) -> DonePart | None:
    """Read the disk once more, and give the first part that it does not hold any more as it was sent; None if all."""
    context.source.forget_cached()

    def changed(part: DonePart) -> DonePart | None:
        buffer = memoryview(bytearray(CHUNK_BYTES))
        crc = crc64_of_range(context.source, buffer, start=part.start, length=part.length, stop=context.stop)
        return part if crc != part.crc64 else None

    with ThreadPoolExecutor(READERS, thread_name_prefix="prove") as pool:
        try:
            return next((part for part in pool.map(changed, done) if part), None)
        finally:
            pool.shutdown(cancel_futures=True)


def find_upload(context: UploadContext, key: str, plan: UploadPlan, record: UploadRecord) -> FoundUpload | None:
    """Find the unfinished upload of this disk: the journal's, or one in OSS that has proven parts.

    Raises RefusedError "upload-vanished" when the server forgot the journal's.
    """
    if record.upload_id:
        parts = context.ask(lambda: context.store.list_parts(key, record.upload_id))
        return FoundUpload(
            upload_id=record.upload_id, done=_prove(context, plan, record, parts), how="journal and server agree"
        )
    uploads = [upload for upload in context.ask(lambda: context.store.list_uploads(key)) if upload.key == key]
    for upload in sorted(uploads, key=lambda upload: upload.initiated_s, reverse=True)[:CANDIDATES]:
        parts = context.ask(partial(context.store.list_parts, key, upload.upload_id))
        done = _prove(context, plan, UploadRecord(), parts)
        # One without parts is ours where the journal intended it: killed between its start and the line with its id.
        if done or (not parts and record.key == key):
            return FoundUpload(upload_id=upload.upload_id, done=done, how="found in OSS, proven against the disk")
    return None


def _prove(
    context: UploadContext, plan: UploadPlan, record: UploadRecord, remote: Iterable[RemotePart]
) -> tuple[DonePart, ...]:
    """Give the parts that count, reading the local bytes of those that the journal does not know."""
    cuts = PartSplitter(plan)
    seen = reconcile(cuts, record.parts, remote)

    def proven(guess: tuple[PlannedPart, RemotePart]) -> DonePart | None:
        place, there = guess
        if place.kind is PartKind.ZERO:
            crc = crc64_of_zeros(place.length)
        else:
            buffer = memoryview(bytearray(CHUNK_BYTES))
            crc = crc64_of_range(context.source, buffer, start=place.start, length=place.length, stop=context.stop)
        if crc != there.crc64:
            return None
        return DonePart(
            number=there.number, start=place.start, length=place.length, crc64=crc, etag=there.etag, proof="crc64"
        )

    with ThreadPoolExecutor(READERS, thread_name_prefix="prove") as pool:
        found = [part for part in pool.map(proven, seen.to_prove) if part]
    _, counted = cuts.still_to_do([*seen.counted, *found])
    return counted


# Enough of the content's digest that two disks of one name don't meet by accident: 48 bits.
DIGEST_CHARS = 12
# Builds that differ only where the sample does not look come to the same digest; they are counted.
NAMES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the object goes; and, when it is there and is the disk, what it is and whether this push made it."""

    key: str
    there: RemoteObject | None = None
    crc64: int = 0
    proof: str = ""
    made_by_us: bool = False


def candidate_keys(key_stem: str, *, sample: str, suffix: str) -> Iterator[str]:
    """Give the names that an object without --key may have, in the order in which they are tried."""
    stem = f"{key_stem}-{sample[:DIGEST_CHARS]}"
    yield f"{stem}{suffix}"
    for number in range(2, NAMES):
        yield f"{stem}-{number}{suffix}"


def zero_stem(key_stem: str, *, sample: str) -> str:
    """Name where this push keeps its zero object: below the staging prefix, apart from the disks."""
    return f"{key_stem.partition('/')[0]}/zeros-{sample[:DIGEST_CHARS]}"


def choose_target(
    context: UploadContext,
    record: UploadRecord,
    *,
    fingerprint: Fingerprint,
    named: str | None,
    candidates: Iterator[str],
) -> Target:
    """Find the key: the named one, or the first candidate where there is nothing, or this very disk.

    What the journal says of a finished object counts while the fingerprint tells that the disk is the same one. Where
    it can't tell, the disk is read, and its CRC-64 tells.

    Raises RefusedError "object-exists" when another object is at the key that the user named.
    """
    store = context.store
    crc: int | None = None
    for key in [named] if named else candidates:
        there = context.ask(partial(store.head, key))
        if there is None:
            return Target(key=key)
        likeness = fingerprint.likeness(record.fingerprint) if record.fingerprint else Likeness.OTHER
        before = _known(record.finished, key, there) if likeness is not Likeness.OTHER else None
        if before and likeness is Likeness.SAME:
            return _as_before(before, there)
        can_compare = there.crc64 is not None or before is not None
        if crc is None and can_compare and there.size_bytes == context.source.size_bytes:
            context.emit(
                Noted(message=f"The disk is compared with oss://{store.bucket}/{key}, which is there already.")
            )
            crc = crc64_of_source(context)
        if before and crc == before.crc64 and there.crc64 in (None, crc):
            return _as_before(before, there)
        if crc is not None and crc == there.crc64 and there.size_bytes == context.source.size_bytes:
            is_ours = bool(record.tag) and there.metadata.get(TAG_NAME) == record.tag
            return Target(key=key, there=there, crc64=crc, proof=BY_OBJECT, made_by_us=is_ours)
        if named:
            break
        context.emit(Noted(message=f"oss://{store.bucket}/{key} is another build of this disk, or can't be compared."))
    raise _exists(store.bucket, named or f"{context.disk}")


def _known(finished: UploadedObject | None, key: str, there: RemoteObject) -> UploadedObject | None:
    """Give what the journal knows of the object that is there, if it is that object still."""
    if finished is None:
        return None
    same = (finished.key, finished.etag, finished.size_bytes) == (key, there.etag, there.size_bytes)
    return finished if same else None


def _as_before(before: UploadedObject, there: RemoteObject) -> Target:
    return Target(key=before.key, there=there, crc64=before.crc64, proof=before.proof, made_by_us=before.made_by_us)


def _exists(bucket: str, key: str) -> RefusedError:
    where = f"oss://{bucket}/{key}"
    return ObjectExists(
        f"There is another object at {where} already.",
        code="object-exists",
        cause="It is not this disk: its size or its CRC-64 is another.",
        remedy=f"Remove {where}, or name another key with --key.",
        details={"bucket": bucket, "key": key},
    )
