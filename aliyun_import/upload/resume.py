"""What earlier runs left of one disk in OSS: the finished object, or an unfinished upload.

It counts by its CRC-64 against the local bytes, or where this machine's journal agrees with the server; never by its
name alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from aliyun_import.disk.fingerprint import Fingerprint, Likeness
from aliyun_import.errors import AccessError, ObjectExists
from aliyun_import.events import Noted
from aliyun_import.model.objects import RemoteObject, RemotePart, UploadedObject
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

# Unfinished uploads of one key to examine: more than one is the trace of a lost response.
CANDIDATES = 3
# Characters of the content's digest in a key: two disks of one name do not meet by accident (48 bits).
DIGEST_CHARS = 12
# Builds that differ only where the sample does not read have the same digest; they are numbered.
NAMES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundUpload:
    """An unfinished upload, the parts of it that were proven, and in words how."""

    upload_id: str
    done: tuple[DonePart, ...]
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """Parts that count, and candidates (range of the disk, part in OSS) that the local bytes must prove."""

    counted: tuple[DonePart, ...]
    to_prove: tuple[tuple[PlannedPart, RemotePart], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The key of the object; and, where the object exists and is the disk, its properties and whether we made it."""

    key: str
    there: RemoteObject | None = None
    crc64: int = 0
    proof: str = ""
    made_by_us: bool = False


def reconcile(splitter: PartSplitter, known: Mapping[int, DonePart], remote: Iterable[RemotePart]) -> Reconciled:
    """Compare the journal's parts with the server's. Pure.

    A part counts when both agree. One that the server has and the journal does not know has to be proven; everything
    else is sent again.
    """
    counted: list[DonePart] = []
    to_prove: list[tuple[PlannedPart, RemotePart]] = []
    for there in remote:
        part = known.get(there.number)
        if part and _agrees(part, there):
            counted.append(part)
        elif there.crc64 is not None:
            to_prove.extend((range_, there) for range_ in splitter.candidates(there.number, there.size_bytes))
    return Reconciled(counted=tuple(counted), to_prove=tuple(to_prove))


def _agrees(part: DonePart, there: RemotePart) -> bool:
    """Return whether the server has what the journal says; without a CRC-64 there, the ETag must be the same."""
    if part.length != there.size_bytes:
        return False
    return there.crc64 == part.crc64 if there.crc64 is not None else there.etag == part.etag


def find_upload(context: UploadContext, key: str, plan: UploadPlan, record: UploadRecord) -> FoundUpload | None:
    """Return the unfinished upload of this disk: the journal's, or one in OSS that has proven parts.

    Raises UploadNotFound when the server has forgotten the journal's.
    """
    if record.upload_id:
        parts = context.store.list_parts(key, record.upload_id)
        done = _prove(context, plan, record.parts, parts)
        return FoundUpload(upload_id=record.upload_id, done=done, how="journal and server agree")
    try:
        uploads = [upload for upload in context.store.list_uploads(key) if upload.key == key]
    except AccessError as error:
        context.emit(Noted(message=f"No unfinished upload was searched. {error.summary}"))
        return None
    for upload in sorted(uploads, key=lambda upload: upload.initiated_s, reverse=True)[:CANDIDATES]:
        parts = context.store.list_parts(key, upload.upload_id)
        done = _prove(context, plan, {}, parts)
        # One without parts is ours where the journal intended it: killed between its start and the entry with its id.
        if done or (not parts and record.key == key):
            return FoundUpload(upload_id=upload.upload_id, done=done, how="found in OSS, proven against the disk")
    return None


def _prove(
    context: UploadContext, plan: UploadPlan, known: Mapping[int, DonePart], remote: Iterable[RemotePart]
) -> tuple[DonePart, ...]:
    """Return the parts that count, reading the local bytes of those that the journal does not know."""
    splitter = PartSplitter(plan)
    reconciled = reconcile(splitter, known, remote)

    def proven(candidate: tuple[PlannedPart, RemotePart]) -> DonePart | None:
        part, there = candidate
        is_zero = part.kind is PartKind.ZERO
        crc = crc64_of_zeros(part.length) if is_zero else crc64_of_part(context, part.start, part.length)
        if crc != there.crc64:
            return None
        return DonePart(
            number=there.number, start=part.start, length=part.length, crc64=crc, etag=there.etag, proof="crc64"
        )

    with thread_pool(READERS, name="prove") as pool:
        found = [part for part in pool.map(proven, reconciled.to_prove) if part]
    return splitter.still_to_do([*reconciled.counted, *found])[1]


def candidate_keys(request: UploadRequest, *, sample: str) -> Iterator[str]:
    """Yield the keys that the object may have, in the order in which they are tried: the named one alone, if any."""
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
    """Return the key: the named one, or the first candidate where there is no object, or this very disk.

    The journal's entry about a finished object counts while the fingerprint shows that the disk is the same one. Where
    the fingerprint can't decide, the disk is read, and its CRC-64 decides. An object that carries the tag of this push
    and has its size was made by it, although the entry is missing: killed between the last request and the entry.

    Raises ObjectExists when another object has the key that the user named.
    """
    likeness = fingerprint.likeness(record.fingerprint) if record.fingerprint else Likeness.OTHER
    crc: int | None = None
    for key in candidate_keys(request, sample=fingerprint.sample):
        there = context.store.head(key)
        if there is None:
            return Target(key=key)
        before = finished_as(record.finished, key, there) if likeness is not Likeness.OTHER else None
        if before is None and likeness is not Likeness.OTHER:
            before = _tagged(context.store.bucket, record, key, there)
        if before and likeness is Likeness.SAME:
            return _as_before(before, there)
        can_compare = there.crc64 is not None or before is not None
        if crc is None and can_compare and there.size_bytes == context.source.size_bytes:
            url = f"oss://{context.store.bucket}/{key}"
            context.emit(Noted(message=f"Comparing the disk with {url}, which exists already."))
            crc = crc64_of_source(context)
        if before and crc == before.crc64 and there.crc64 in (None, crc):
            return _as_before(before, there)
        if crc is not None and crc == there.crc64 and there.size_bytes == context.source.size_bytes:
            is_ours = bool(record.tag) and there.metadata.get(TAG_NAME) == record.tag
            return Target(key=key, there=there, crc64=crc, proof=BY_OBJECT, made_by_us=is_ours)
        if request.key is None:
            url = f"oss://{context.store.bucket}/{key}"
            context.emit(Noted(message=f"{url} is another build of this disk, or can't be compared."))
    raise _exists(context, request)


def finished_as(finished: UploadedObject | None, key: str, there: RemoteObject) -> UploadedObject | None:
    """Return the journal's entry about the object, if it is that object still. Pure.

    A CRC-64 that OSS reports must be the entry's: a journal is a file that others may have written to.
    """
    if finished is None or there.crc64 not in (None, finished.crc64):
        return None
    same = (finished.key, finished.etag, finished.size_bytes) == (key, there.etag, there.size_bytes)
    return finished if same else None


def _tagged(bucket: str, record: UploadRecord, key: str, there: RemoteObject) -> UploadedObject | None:
    """Return the object of the journal's unfinished upload if it was completed: by its tag, its size and its parts.

    For a store that reports no CRC-64 of the object; complete was called with these parts once all were proven. The
    result's `crc64` is that of the parts.
    """
    if there.crc64 is not None or not record.tag or there.metadata.get(TAG_NAME) != record.tag or record.plan is None:
        return None
    left, done = PartSplitter(record.plan).still_to_do(record.parts.values())
    if left or key != record.key or there.size_bytes != record.plan.size_bytes:
        return None
    return UploadedObject(
        bucket=bucket,
        key=key,
        size_bytes=there.size_bytes,
        crc64=crc64_of_disk(done),
        etag=there.etag,
        proof=proof_words(done, by_object=False),
        made_by_us=True,
    )


def _as_before(before: UploadedObject, there: RemoteObject) -> Target:
    return Target(key=before.key, there=there, crc64=before.crc64, proof=before.proof, made_by_us=before.made_by_us)


def _exists(context: UploadContext, request: UploadRequest) -> ObjectExists:
    bucket = context.store.bucket
    if request.key is None:
        return ObjectExists(
            f"{NAMES - 1} other objects have the names that {context.disk} may have.",
            code="object-exists",
            cause=f"None of them is this disk; their names begin with oss://{bucket}/{request.key_stem}-.",
            remedy="Remove those that are not needed, or name a key with --key.",
            details={"bucket": bucket, "key": f"{request.key_stem}-"},
        )
    url = f"oss://{bucket}/{request.key}"
    return ObjectExists(
        f"Another object exists at {url}.",
        code="object-exists",
        cause="It is not this disk: its size or its CRC-64 is another.",
        remedy=f"Remove {url}, or name another key with --key.",
        details={"bucket": bucket, "key": request.key},
    )
