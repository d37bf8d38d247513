"""This file tells whether the disks of a push are still those of which an earlier run made an object, or an image.

What it says is said to people who are about to destroy the disk. So what a fingerprint can't tell, the CRC-64 of the
disk as it is sent tells: the conversion is made again where there is one, and a differencing VHD is read with its
parents. An object in OSS is known by its size, CRC-64 and ETag.
"""

from collections.abc import Sequence

from aliyun_import.account.check import AccountState
from aliyun_import.disk.convert import fingerprints_of
from aliyun_import.disk.disk import open_disk
from aliyun_import.disk.fingerprint import Likeness, decoded, least
from aliyun_import.disk.report import DiskReport
from aliyun_import.model.objects import RemoteObject, UploadedObject
from aliyun_import.model.request import DiskRequest, ImportRequest
from aliyun_import.push.context import PushContext
from aliyun_import.push.upload_stage import digest_of
from aliyun_import.upload.context import UploadContext
from aliyun_import.upload.resume.find import crc64_of_source


def seen(disk: DiskRequest, report: DiskReport | None, there: RemoteObject | None) -> str:
    """Say what a disk is now, for the journal: the fingerprints of its files, or what OSS tells of its object."""
    if disk.path is None or report is None:
        url = f"oss://{disk.bucket}/{disk.key}"
        return f"{url} {there.size_bytes}:{there.crc64}:{there.etag}" if there else url
    return " ".join(one.encoded() for one in fingerprints_of(disk.path, report))


def likeness_of(before: Sequence[str], now: Sequence[str]) -> Likeness:
    """Hold the disks as they are now against what the journal says of them. Pure."""
    if len(before) != len(now):
        return Likeness.OTHER
    return least(map(_likeness, before, now))


def are_of(
    run: PushContext, request: ImportRequest, ready: AccountState, *, objects: Sequence[UploadedObject], tag: str
) -> bool:
    """Tell whether the disks are those of which these objects were made, by size and CRC-64. Reads all of them.

    `request` has the disks as they are sent. Where the objects are not known, since the import was found again without
    its journal, `tag` is the digest that its image carries.
    """
    for disk, there, one in zip(request.disks, ready.objects, objects, strict=False):
        if disk.path is None and (there is None or (there.size_bytes, there.etag) != (one.size_bytes, one.etag)):
            return False
    if objects:
        tag = digest_of((one.size_bytes, one.crc64) for one in objects)
    return tag == digest_of_disks(run, request, ready)


def digest_of_disks(run: PushContext, request: ImportRequest, ready: AccountState) -> str:
    """Make the digest that an image of these disks carries in its tags, of the disks as they are now."""
    return digest_of(_size_and_crc(run, request, ready, index) for index in range(len(request.disks)))


def _likeness(before: str, now: str) -> Likeness:
    words_before, words_now = before.split(" "), now.split(" ")
    if now.startswith("oss://"):
        if before == now:
            return Likeness.SAME if len(words_now) > 1 else Likeness.UNPROVEN
        # An earlier version wrote the URL alone.
        return Likeness.UNPROVEN if before == words_now[0] else Likeness.OTHER
    if len(words_before) != len(words_now) or before.startswith("oss://"):
        return Likeness.OTHER
    return least(decoded(new).likeness(decoded(old)) for old, new in zip(words_before, words_now, strict=True))


def _size_and_crc(run: PushContext, request: ImportRequest, ready: AccountState, index: int) -> tuple[int, int]:
    """Give what the digest is made of: an object's as OSS tells it, a local disk's as it is now."""
    disk, there = request.disks[index], ready.objects[index]
    if there is not None or disk.path is None:
        return (there.size_bytes, there.crc64 or 0) if there else (0, 0)
    with open_disk(disk.path) as source:
        setting = UploadContext(
            source=source, store=run.cloud.store(ready.bucket), clock=run.clock, emit=run.emit, stop=run.stop
        )
        return source.size_bytes, crc64_of_source(setting)
