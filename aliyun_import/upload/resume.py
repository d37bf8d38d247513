"""Search for what earlier runs left of one disk in OSS: the finished object, or an unfinished upload.

It counts if its CRC-64 equals that of the local bytes, or if this machine's journal agrees with the server, but never
by its name alone.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from aliyun_import.disk.fingerprint import Comparison, Fingerprint
from aliyun_import.errors import AccessError, ObjectExists
from aliyun_import.events import Noted
from aliyun_import.model.objects import RemoteObject, RemotePart, UploadedObject, object_url
from aliyun_import.upload.complete import (
    BY_OBJECT,
    READERS,
    TAG_NAME,
    crc64_of_disk,
    crc64_of_part,
    crc64_of_source,
    proof_words,
)
from aliyun_import.upload.context import UploadContext, UploadRequest
from aliyun_import.upload.crc64 import crc64_of_zeros
from aliyun_import.upload.plan import PartKind, PlannedPart, UploadPlan
from aliyun_import.upload.session import UploadRecord
from aliyun_import.upload.threads import thread_pool
from aliyun_import.upload.transfer.parts import DonePart, PartSplitter
from aliyun_import.upload.zero_object import DIGEST_CHARS

# Unfinished uploads of one key to examine. A lost response can leave more than one.
CANDIDATES = 3
# Builds that differ only outside the sample have the same digest; their keys are numbered up to this.
NAMES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundUpload:
    """An unfinished upload, its proven parts, and how they were proven."""

    upload_id: str
    done: tuple[DonePart, ...]
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """Parts that count, and candidates (range of the disk, part in OSS) to compare with the local bytes."""

    counted: tuple[DonePart, ...]
    to_prove: tuple[tuple[PlannedPart, RemotePart], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The key of the object; if the object exists and equals the disk, its properties and whether we made it."""

    key: str
    existing: RemoteObject | None = None
    crc64: int = 0
    proof: str = ""
    made_by_us: bool = False


def reconcile(splitter: PartSplitter, known: Mapping[int, DonePart], remote: Iterable[RemotePart]) -> Reconciled:
    """Compare the journal's parts with the server's. Pure.

    A part counts if both agree. A part that only the server has must be proven; everything else is sent again.
    """
    counted: list[DonePart] = []
    to_prove: list[tuple[PlannedPart, RemotePart]] = []
    for existing in remote:
        part = known.get(existing.number)
        if part and _agrees(part, existing):
            counted.append(part)
        elif existing.crc64 is not None:
            to_prove.extend((range_, existing) for range_ in splitter.candidates(existing.number, existing.size_bytes))
    return Reconciled(counted=tuple(counted), to_prove=tuple(to_prove))


def _agrees(part: DonePart, existing: RemotePart) -> bool:
    """Return whether journal and server agree on a part, by its length and CRC-64, or its ETag without a CRC-64."""
    if part.length != existing.size_bytes:
        return False
    return existing.crc64 == part.crc64 if existing.crc64 is not None else existing.etag == part.etag


def find_upload(context: UploadContext, key: str, plan: UploadPlan, record: UploadRecord) -> FoundUpload | None:
    """Return the unfinished upload of this disk: that of the journal, or one in OSS that has proven parts.

    Raises UploadNotFound if OSS does not have the upload of the journal.
    """
    if record.upload_id:
        parts = context.store.list_parts(key, record.upload_id)
        done = _prove(context, plan, record.parts, parts)
        return FoundUpload(upload_id=record.upload_id, done=done, how="journal and server agree")
    try:
        uploads = [upload for upload in context.store.list_uploads(key) if upload.key == key]
    except AccessError as error:
        context.emit(Noted(message=f"Unfinished uploads could not be searched. {error.summary}"))
        return None
    for upload in sorted(uploads, key=lambda upload: upload.initiated_s, reverse=True)[:CANDIDATES]:
        parts = context.store.list_parts(key, upload.upload_id)
        done = _prove(context, plan, {}, parts)
        # An upload without parts is ours if the journal intended it: a push was killed before the entry with its id.
        if done or (not parts and record.key == key):
            return FoundUpload(upload_id=upload.upload_id, done=done, how="found in OSS, proven against the disk")
    return None


def _prove(
    context: UploadContext, plan: UploadPlan, known: Mapping[int, DonePart], remote: Iterable[RemotePart]
) -> tuple[DonePart, ...]:
    """Return the parts that count; read the local bytes of those that are not in the journal."""
    splitter = PartSplitter(plan)
    reconciled = reconcile(splitter, known, remote)

    def proven(candidate: tuple[PlannedPart, RemotePart]) -> DonePart | None:
        part, existing = candidate
        is_zero = part.kind is PartKind.ZERO
        crc = crc64_of_zeros(part.length) if is_zero else crc64_of_part(context, part.start, part.length)
        if crc != existing.crc64:
            return None
        return DonePart(
            number=existing.number, start=part.start, length=part.length, crc64=crc, etag=existing.etag, proof="crc64"
        )

    with thread_pool(READERS, name="prove") as pool:
        found = [part for part in pool.map(proven, reconciled.to_prove) if part]
    return splitter.remaining([*reconciled.counted, *found])[1]


def key_pattern(stem: str, *, ending: str = "") -> re.Pattern[str]:
    """Return the pattern of the keys that `candidate_keys` makes of a stem, with `ending` after them."""
    return re.compile(rf"{re.escape(stem)}-[0-9a-f]{{{DIGEST_CHARS}}}(-\d+)?\.[a-z0-9]+{re.escape(ending)}")


def candidate_keys(request: UploadRequest, *, sample: str) -> Iterator[str]:
    """Yield the keys that the object may have, in the order of trial; only the named key, if there is one."""
    if request.key:
        yield request.key
        return
    stem = f"{request.key_stem}-{sample[:DIGEST_CHARS]}"
    yield f"{stem}{request.suffix}"
    for number in range(2, NAMES):
        yield f"{stem}-{number}{request.suffix}"


def choose_target(
    context: UploadContext, request: UploadRequest, record: UploadRecord, *, fingerprint: Fingerprint
) -> Target:
    """Return the key: the named one, or the first candidate without an object or with the object of this disk.

    The journal's entry about a finished object counts if the fingerprint shows that the disk is the same. If the
    fingerprint can't decide, the disk is read, and its CRC-64 decides. Without such an entry, an object with the tag
    and the size of this push counts: the push was killed between its last request and the entry.

    Raises ObjectExists if another object has the key that the user named.
    """
    comparison = fingerprint.comparison(record.fingerprint) if record.fingerprint else Comparison.OTHER
    crc: int | None = None
    for key in candidate_keys(request, sample=fingerprint.sample):
        existing = context.store.head(key)
        if existing is None:
            return Target(key=key)
        before = finished_as(record.finished, key, existing) if comparison is not Comparison.OTHER else None
        if before is None and comparison is not Comparison.OTHER:
            before = _tagged(context.store.bucket, record, key, existing)
        if before and comparison is Comparison.SAME:
            return _as_before(before, existing)
        can_compare = existing.crc64 is not None or before is not None
        if crc is None and can_compare and existing.size_bytes == context.source.size_bytes:
            url = object_url(context.store.bucket, key)
            context.emit(Noted(message=f"Comparing the disk with {url}, which already exists."))
            crc = crc64_of_source(context)
        if before and crc == before.crc64 and existing.crc64 in (None, crc):
            return _as_before(before, existing)
        if crc is not None and crc == existing.crc64 and existing.size_bytes == context.source.size_bytes:
            is_ours = bool(record.tag) and existing.metadata.get(TAG_NAME) == record.tag
            return Target(key=key, existing=existing, crc64=crc, proof=BY_OBJECT, made_by_us=is_ours)
        if request.key is None:
            url = object_url(context.store.bucket, key)
            context.emit(Noted(message=f"{url} is another build of this disk, or can't be compared."))
    raise _exists(context, request)


def finished_as(finished: UploadedObject | None, key: str, existing: RemoteObject) -> UploadedObject | None:
    """Return the journal's entry about the object, if the object is the same. Pure.

    A CRC-64 that OSS reports must equal that of the entry, because other users may have written to the journal.
    """
    if finished is None or existing.crc64 not in (None, finished.crc64):
        return None
    same = (finished.key, finished.etag, finished.size_bytes) == (key, existing.etag, existing.size_bytes)
    return finished if same else None


def _tagged(bucket: str, record: UploadRecord, key: str, existing: RemoteObject) -> UploadedObject | None:
    """Return the object of the journal's upload if it was completed, by its tag, size and parts.

    For a store that reports no CRC-64 of the object; complete was called when all these parts were proven. The result's
    `crc64` is that of the parts.
    """
    if (
        existing.crc64 is not None
        or not record.tag
        or existing.metadata.get(TAG_NAME) != record.tag
        or record.plan is None
    ):
        return None
    left, done = PartSplitter(record.plan).remaining(record.parts.values())
    if left or key != record.key or existing.size_bytes != record.plan.size_bytes:
        return None
    return UploadedObject(
        bucket=bucket,
        key=key,
        size_bytes=existing.size_bytes,
        crc64=crc64_of_disk(done),
        etag=existing.etag,
        proof=proof_words(done, by_object=False),
        made_by_us=True,
    )


def _as_before(before: UploadedObject, existing: RemoteObject) -> Target:
    return Target(
        key=before.key, existing=existing, crc64=before.crc64, proof=before.proof, made_by_us=before.made_by_us
    )


def _exists(context: UploadContext, request: UploadRequest) -> ObjectExists:
    bucket = context.store.bucket
    if request.key is None:
        return ObjectExists(
            f"All {NAMES - 1} possible keys of {context.disk} belong to other objects.",
            code="object-exists",
            cause=f"None of them equals this disk; their URLs begin with {object_url(bucket, request.key_stem)}-.",
            remedy="Remove those that are not needed, or pass --key.",
            details={"bucket": bucket, "key": f"{request.key_stem}-"},
        )
    url = object_url(bucket, request.key)
    return ObjectExists(
        f"Another object exists at {url}.",
        code="object-exists",
        cause="It is not this disk: its size or its CRC-64 differs.",
        remedy=f"Remove {url}, or pass another --key.",
        details={"bucket": bucket, "key": request.key},
    )
