"""Completion of an upload, and proof that its object equals the disk.

The proof compares the CRC-64 of the whole disk, combined from those of the local bytes, with the one that OSS reports
for the object. If OSS reports none (as it may for copied parts), the proof rests on what the server reported about each
part. `proof_words` describes the proof.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from aliyun_import.disk.fingerprint import Comparison, Fingerprint
from aliyun_import.errors import AliyunImportError, DiskChanged, ObjectCorrupted, RefusedError, TransientError
from aliyun_import.events import Noted
from aliyun_import.model.objects import RemoteObject, RemotePart
from aliyun_import.retry import PATIENT, without_retries
from aliyun_import.upload.context import UploadContext
from aliyun_import.upload.crc64 import combine_all, crc64_of_zeros
from aliyun_import.upload.threads import thread_pool
from aliyun_import.upload.transfer.parts import DonePart
from aliyun_import.upload.transfer.worker import crc64_of_range

# Metadata of the object: the push that created it. It identifies the object after a lost response to complete.
TAG_NAME = "aliyun-import-upload"
# The strongest proof.
BY_OBJECT = "CRC-64 of the object"
# No proof.
BY_SIZE = "size of every part; OSS gave no checksum to compare with"
# Threads that read the disk to compare it; four keep a disk busy.
READERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """An upload with all its parts, and the expected object. `tag` is in the object's metadata."""

    key: str
    upload_id: str
    parts: tuple[RemotePart, ...]
    crc64: int
    tag: str
    overwrite: bool = False

    @property
    def size_bytes(self) -> int:
        """The size of the object."""
        return sum(part.size_bytes for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The object. `made_by_us` is False if another push completed the same one."""

    object: RemoteObject
    made_by_us: bool


def agree(done: Iterable[DonePart], remote: Iterable[RemotePart]) -> tuple[tuple[DonePart, ...], tuple[DonePart, ...]]:
    """Return the parts that agree with the server's list, in order, and the others. Pure.

    A part that is not listed, or has another size or CRC-64, does not agree.
    """
    listed = {part.number: part for part in remote}
    good: list[DonePart] = []
    bad: list[DonePart] = []
    for part in done:
        existing = listed.get(part.number)
        if existing is None or existing.size_bytes != part.length or existing.crc64 not in (None, part.crc64):
            bad.append(part)
        else:
            good.append(replace(part, etag=existing.etag, proof=part.proof if existing.crc64 is None else "crc64"))
    return tuple(sorted(good, key=lambda part: part.number)), tuple(bad)


def crc64_of_disk(done: Sequence[DonePart]) -> int:
    """Return the CRC-64 of the whole disk from parts that cover it in order. Pure."""
    position = 0
    for part in done:
        if part.start != position:
            raise ValueError(f"part {part.number} begins at {part.start}, not at {position}")
        position += part.length
    return combine_all((part.crc64, part.length) for part in done)


def completion_of(key: str, upload_id: str, done: Sequence[DonePart], *, tag: str) -> Completion:
    """Return the completion of an upload of these parts. Pure."""
    parts = tuple(
        RemotePart(number=part.number, size_bytes=part.length, etag=part.etag, crc64=part.crc64) for part in done
    )
    return Completion(key=key, upload_id=upload_id, parts=parts, crc64=crc64_of_disk(done), tag=tag)


def complete_upload(context: UploadContext, completion: Completion) -> Completed:
    """Make the object of its parts.

    After an error the object is read, because a response may have been lost; the parts are not sent again. Raises the
    errors of the store, UploadNotFound only if no object of this push exists.
    """
    store = context.store
    attempt = 1
    while True:
        try:
            made = store.complete(
                completion.key, completion.upload_id, completion.parts, overwrite=completion.overwrite
            )
            return Completed(object=made, made_by_us=True)
        except (TransientError, RefusedError) as error:
            existing = _head_once(context, completion.key)
            if existing and is_ours(existing, completion):
                made_by_us = existing.metadata.get(TAG_NAME) == completion.tag
                if not made_by_us:
                    store.abort(completion.key, completion.upload_id)  # its parts are billed and not needed
                return Completed(object=existing, made_by_us=made_by_us)
            wait_s = PATIENT.wait_s(error, attempt)
            if wait_s is None:
                raise
        context.sleep(wait_s)
        attempt += 1


def is_ours(existing: RemoteObject, completion: Completion) -> bool:
    """Return whether an object is that of this push, by its size, and by its CRC-64 or its tag. Pure."""
    if existing.size_bytes != completion.size_bytes or existing.crc64 not in (None, completion.crc64):
        return False
    return existing.crc64 is not None or existing.metadata.get(TAG_NAME) == completion.tag


def check_object(existing: RemoteObject, done: Sequence[DonePart]) -> str:
    """Prove the object and return the proof. Raises ObjectCorrupted if it differs from the disk. Pure."""
    size_bytes, crc = sum(part.length for part in done), crc64_of_disk(done)
    if existing.size_bytes != size_bytes or existing.crc64 not in (None, crc):
        raise ObjectCorrupted(
            f"The object {existing.key} differs from the disk, although each of its parts was correct.",
            code="object-corrupted",
            cause=f"OSS: {existing.size_bytes} bytes, CRC-64 {existing.crc64}; disk: {size_bytes} bytes, CRC-64 {crc}.",
            remedy="Run the same command again; it starts over.",
            details={"key": existing.key},
            resumable=True,
        )
    return proof_words(done, by_object=existing.crc64 is not None)


def proof_words(done: Iterable[DonePart], *, by_object: bool) -> str:
    """Return the proof of the object as text, that of its weakest part. Pure."""
    if by_object:
        return BY_OBJECT
    proofs = {part.proof for part in done}
    if not proofs or "" in proofs:
        return BY_SIZE
    sums = "CRC-64 or MD5" if {"crc64", "md5"} <= proofs else "MD5" if "md5" in proofs else "CRC-64"
    if "copy" not in proofs:
        return f"{sums} of every part"
    return f"{sums} of every part sent, source and range of every part copied"


def crc64_of_source(context: UploadContext) -> int:
    """Return the CRC-64 of the whole disk. Reads the data once, but not the holes."""
    context.source.forget_cached()
    pieces: list[tuple[int, int]] = []
    position = 0
    for extent in context.source.extents():
        gap, length = extent.start - position, extent.end - extent.start
        pieces += [(crc64_of_zeros(gap), gap), (crc64_of_part(context, extent.start, length), length)]
        position = extent.end
    rest = context.source.size_bytes - position
    return combine_all([*pieces, (crc64_of_zeros(rest), rest)])


def first_changed(context: UploadContext, done: Iterable[DonePart]) -> DonePart | None:
    """Read all parts again, and return the first that differs from the disk now, None if all are equal."""
    context.source.forget_cached()

    def changed(part: DonePart) -> DonePart | None:
        return part if crc64_of_part(context, part.start, part.length) != part.crc64 else None

    with thread_pool(READERS, name="prove") as pool:
        try:
            return next((part for part in pool.map(changed, done) if part), None)
        finally:
            pool.shutdown(cancel_futures=True)


def check_unchanged(context: UploadContext, fingerprint: Fingerprint, done: tuple[DonePart, ...]) -> None:
    """Raise DiskChanged unless the disk is the same as at the start of the push.

    A mix of two states is never completed. If the fingerprint can't decide, as for every block device, the disk is read
    again and compared with the sent parts.
    """
    match context.source.fingerprint().comparison(fingerprint):
        case Comparison.OTHER:
            raise changed_while_sent(
                context, "Its size, its modification time or its content is not the same as at the start of the push."
            )
        case Comparison.UNPROVEN:
            context.emit(Noted(message=f"Reading {context.disk} again, to check that it did not change."))
            part = first_changed(context, done)
            if part:
                raise changed_while_sent(
                    context,
                    f"The bytes from {part.start} to {part.start + part.length} differ from those that were sent.",
                )
        case Comparison.SAME:
            pass


def changed_while_sent(context: UploadContext, cause: str) -> DiskChanged:
    """Return the error of a disk that changed during its upload."""
    return DiskChanged(
        f"{context.disk} changed while it was sent.",
        code="disk-changed",
        cause=cause,
        remedy="Stop what writes to it (shut the virtual machine down, or push a snapshot of its disk), and run "
        "the same command again.",
    )


def crc64_of_part(context: UploadContext, start: int, length: int) -> int:
    """Return the CRC-64 of a range of the disk."""
    return crc64_of_range(context.source, start=start, length=length, on_chunk=lambda _: context.check_cancelled())


def _head_once(context: UploadContext, key: str) -> RemoteObject | None:
    try:
        return without_retries(context.store).head(key)
    except AliyunImportError:
        return None  # complete is repeated, and the object is read again afterwards
