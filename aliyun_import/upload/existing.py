"""This file looks for what earlier runs left of one disk in OSS: the finished object, or an unfinished upload.

What is found is believed by its CRC-64 against the local bytes, or where this machine's journal agrees with the
server; never by its name.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from aliyun_import.model import RemotePart
from aliyun_import.upload.body import CHUNK_BYTES, crc64_of_range
from aliyun_import.upload.checksum import combine_all, crc64_of_zeros
from aliyun_import.upload.parts import Cuts, DonePart
from aliyun_import.upload.plan import PartKind, PlannedPart, UploadPlan
from aliyun_import.upload.reconcile import reconcile
from aliyun_import.upload.record import UploadRecord
from aliyun_import.upload.setting import Setting

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


def crc64_of_source(setting: Setting) -> int:
    """Read the disk's data once for the CRC-64 of the whole; holes are not read."""
    setting.source.forget_cached()
    buffer = memoryview(bytearray(CHUNK_BYTES))
    pieces: list[tuple[int, int]] = []
    position = 0
    for extent in setting.source.extents():
        gap, length = extent.start - position, extent.end - extent.start
        crc = crc64_of_range(setting.source, buffer, start=extent.start, length=length, stop=setting.stop)
        pieces += [(crc64_of_zeros(gap), gap), (crc, length)]
        position = extent.end
    rest = setting.source.size_bytes - position
    return combine_all([*pieces, (crc64_of_zeros(rest), rest)])


def first_changed(setting: Setting, done: Iterable[DonePart]) -> DonePart | None:
    """Read the disk once more, and give the first part that it does not hold any more as it was sent; None if all."""
    setting.source.forget_cached()

    def changed(part: DonePart) -> DonePart | None:
        buffer = memoryview(bytearray(CHUNK_BYTES))
        crc = crc64_of_range(setting.source, buffer, start=part.start, length=part.length, stop=setting.stop)
        return part if crc != part.crc64 else None

    with ThreadPoolExecutor(READERS, thread_name_prefix="prove") as pool:
        try:
            return next((part for part in pool.map(changed, done) if part), None)
        finally:
            pool.shutdown(cancel_futures=True)


def find_upload(setting: Setting, key: str, plan: UploadPlan, record: UploadRecord) -> FoundUpload | None:
    """Find the unfinished upload of this disk: the journal's, or one in OSS that has proven parts.

    Raises RefusedError "upload-vanished" when the server forgot the journal's.
    """
    if record.upload_id:
        parts = setting.ask(lambda: setting.store.list_parts(key, record.upload_id))
        return FoundUpload(
            upload_id=record.upload_id, done=_prove(setting, plan, record, parts), how="journal and server agree"
        )
    uploads = [upload for upload in setting.ask(lambda: setting.store.list_uploads(key)) if upload.key == key]
    for upload in sorted(uploads, key=lambda upload: upload.initiated_s, reverse=True)[:CANDIDATES]:
        parts = setting.ask(partial(setting.store.list_parts, key, upload.upload_id))
        done = _prove(setting, plan, UploadRecord(), parts)
        # One without parts is ours where the journal intended it: killed between its start and the line with its id.
        if done or (not parts and record.key == key):
            return FoundUpload(upload_id=upload.upload_id, done=done, how="found in OSS, proven against the disk")
    return None


def _prove(
    setting: Setting, plan: UploadPlan, record: UploadRecord, remote: Iterable[RemotePart]
) -> tuple[DonePart, ...]:
    """Give the parts that count, reading the local bytes of those that the journal does not know."""
    cuts = Cuts(plan)
    seen = reconcile(cuts, record.parts, remote)

    def proven(guess: tuple[PlannedPart, RemotePart]) -> DonePart | None:
        place, there = guess
        if place.kind is PartKind.ZERO:
            crc = crc64_of_zeros(place.length)
        else:
            buffer = memoryview(bytearray(CHUNK_BYTES))
            crc = crc64_of_range(setting.source, buffer, start=place.start, length=place.length, stop=setting.stop)
        if crc != there.crc64:
            return None
        return DonePart(
            number=there.number, start=place.start, length=place.length, crc64=crc, etag=there.etag, proof="crc64"
        )

    with ThreadPoolExecutor(READERS, thread_name_prefix="prove") as pool:
        found = [part for part in pool.map(proven, seen.to_prove) if part]
    _, counted = cuts.still_to_do([*seen.counted, *found])
    return counted
