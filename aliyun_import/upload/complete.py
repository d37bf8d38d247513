"""This file makes the object of its parts, and proves that it is the disk.

The proof is the CRC-64 of the whole disk, combined from those of the local bytes, against the one that OSS reports
for the object. Where OSS reports none (it may not, for an object made by copies), the parts stand for it, each by
what the server said of it. `proof_words` says which it was.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aliyun_import.context import Clock
from aliyun_import.errors import AliyunImportError, RefusedError, TransientError
from aliyun_import.model.objects import RemoteObject, RemotePart
from aliyun_import.retry import PATIENT_ATTEMPTS, wait_before_retry
from aliyun_import.services.interface import ObjectStore
from aliyun_import.upload.crc64 import combine_all
from aliyun_import.upload.transfer.parts import DonePart

# The object's metadata that names the push that made it; settles a complete whose answer was lost.
TAG_NAME = "aliyun-import-upload"
# The strongest proof, in words.
BY_OBJECT = "CRC-64 of the object"
# The weakest, which is none.
BY_SIZE = "size of every part; OSS gave no checksum to compare with"


def agree(done: Iterable[DonePart], remote: Iterable[RemotePart]) -> tuple[tuple[DonePart, ...], tuple[DonePart, ...]]:
    """Hold the parts against what the server lists: those that agree, by what they do, and those that don't.

    Pure. A part that is not listed, or with another size or CRC-64, does not agree.
    """
    listed = {part.number: part for part in remote}
    good: list[DonePart] = []
    bad: list[DonePart] = []
    for part in done:
        there = listed.get(part.number)
        if there is None or there.size_bytes != part.length or there.crc64 not in (None, part.crc64):
            bad.append(part)
            continue
        proof = part.proof if there.crc64 is None else "crc64"
        good.append(
            DonePart(
                number=part.number,
                start=part.start,
                length=part.length,
                crc64=part.crc64,
                etag=there.etag,
                proof=proof,
            )
        )
    return tuple(sorted(good, key=lambda part: part.number)), tuple(bad)


def crc64_of_disk(done: Sequence[DonePart]) -> int:
    """Combine the CRC-64 of the whole disk; the parts cover it in order. Pure."""
    position = 0
    for part in done:
        if part.start != position:
            raise ValueError(f"part {part.number} begins at {part.start}, not at {position}")
        position += part.length
    return combine_all((part.crc64, part.length) for part in done)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """An upload that has all its parts, and what its object will be. `tag` stands in the object's metadata."""

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
    """The object. `made_by_us` is False where it turned out to be there, the same, by somebody else's hand."""

    object: RemoteObject
    made_by_us: bool


def completion_of(key: str, upload_id: str, done: Sequence[DonePart], *, tag: str) -> Completion:
    """Give what completes an upload of these parts. Pure."""
    parts = tuple(
        RemotePart(number=part.number, size_bytes=part.length, etag=part.etag, crc64=part.crc64) for part in done
    )
    return Completion(key=key, upload_id=upload_id, parts=parts, crc64=crc64_of_disk(done), tag=tag)


def complete_upload(store: ObjectStore, completion: Completion, *, clock: Clock) -> Completed:
    """Make the object of its parts. An answer that was lost is settled by a look at the object, not by sending again.

    Raises what the store raises; RefusedError "upload-vanished" only when no object of this push is there.
    """
    attempt = 1
    while True:
        try:
            made = store.complete(
                completion.key, completion.upload_id, completion.parts, overwrite=completion.overwrite
            )
            return Completed(object=made, made_by_us=True)
        except (TransientError, RefusedError) as error:
            there = _look(store, completion.key)
            if there and is_ours(there, completion):
                return Completed(object=there, made_by_us=there.metadata.get(TAG_NAME) == completion.tag)
            wait_s = wait_before_retry(error, attempt, attempts=PATIENT_ATTEMPTS)
            if wait_s is None:
                raise
        clock.sleep(wait_s)
        attempt += 1


def is_ours(there: RemoteObject, completion: Completion) -> bool:
    """Tell whether an object is the one that this push makes: same size, same CRC-64 or else our tag. Pure."""
    if there.size_bytes != completion.size_bytes or there.crc64 not in (None, completion.crc64):
        return False
    return there.crc64 is not None or there.metadata.get(TAG_NAME) == completion.tag


def check_object(there: RemoteObject, done: Sequence[DonePart]) -> str:
    """Prove the object and say how; raises TransientError "object-corrupted" when it is not the disk. Pure."""
    size_bytes, crc = sum(part.length for part in done), crc64_of_disk(done)
    if there.size_bytes != size_bytes or there.crc64 not in (None, crc):
        raise TransientError(
            f"The object {there.key} is not the disk, although each of its parts was.",
            code="object-corrupted",
            cause=f"OSS has {there.size_bytes} bytes with CRC-64 {there.crc64}, the disk {size_bytes} with {crc}.",
            remedy="Run the same command again; it starts afresh.",
            details={"key": there.key},
            resumable=True,
        )
    return proof_words(done, by_object=there.crc64 is not None)


def proof_words(done: Iterable[DonePart], *, by_object: bool) -> str:
    """Say how the object was proven, by the weakest of its parts. Pure."""
    if by_object:
        return BY_OBJECT
    proofs = {part.proof for part in done}
    if "" in proofs:
        return BY_SIZE
    sums = "CRC-64 or MD5" if {"crc64", "md5"} <= proofs else "MD5" if "md5" in proofs else "CRC-64"
    if "copy" not in proofs:
        return f"{sums} of every part"
    return f"{sums} of every part sent, source and range of every part copied"


def _look(store: ObjectStore, key: str) -> RemoteObject | None:
    try:
        return store.head(key)
    except AliyunImportError:
        return None  # no answer now either: complete is tried again, and then looked at again
