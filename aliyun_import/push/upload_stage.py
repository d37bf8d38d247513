"""This file is the upload stage: each disk of the request to its object in OSS, and the end of staging objects."""

import hashlib
from collections.abc import Iterable
from functools import partial

from aliyun_import.account.check import AccountState
from aliyun_import.account.staging_bucket import PREFIX
from aliyun_import.cleanup import remove_object
from aliyun_import.context import Context
from aliyun_import.errors import AliyunImportError
from aliyun_import.events import Noted, Warned
from aliyun_import.journal import Journal
from aliyun_import.model.objects import RemoteObject, UploadedObject
from aliyun_import.model.request import DiskFormat, DiskRequest, ImportRequest
from aliyun_import.push.context import PushContext, PushOptions
from aliyun_import.push.rate import Meter, remember
from aliyun_import.push.stage import stage
from aliyun_import.retry import with_retries
from aliyun_import.services.interface import ObjectStore
from aliyun_import.upload.context import UploadRequest
from aliyun_import.upload.manifest import SUFFIX
from aliyun_import.upload.upload import upload_disk


def upload_all(
    run: PushContext, request: ImportRequest, ready: AccountState, *, journal: Journal
) -> tuple[UploadedObject, ...]:
    """Upload every local disk, one after the other; disks that are in OSS already are taken as they are."""
    return tuple(
        _existing(disk, ready.objects[index])
        if disk.key
        else _deliver(run, request, index, bucket=ready.bucket, journal=journal)
        for index, disk in enumerate(request.disks)
    )


def delivery_of(request: ImportRequest, options: PushOptions, index: int) -> UploadRequest:
    """Say what to upload and where: the key that --key names is the system disk's."""
    disk = request.disks[index]
    assert disk.path is not None  # noqa: S101 -- the caller has a local disk
    role = "system" if index == 0 else f"data-{index}"
    return UploadRequest(
        path=disk.path,
        disk_index=index,
        region=request.region,
        key=options.key if index == 0 else None,
        key_stem=f"{PREFIX}{request.name}/{role}",
        suffix=f".{(disk.format or DiskFormat.RAW).lower()}",
        base_key=options.base_key if index == 0 else None,
    )


def _deliver(run: PushContext, request: ImportRequest, index: int, *, bucket: str, journal: Journal) -> UploadedObject:
    disk, options = request.disks[index], run.options
    meter = Meter(run.emit, run.clock)
    with stage("upload", emit=run.emit, clock=run.clock, doing=f"{disk.path}") as words:
        try:
            uploaded = upload_disk(
                delivery_of(request, options, index),
                Context(clock=run.clock, emit=meter, cancel=run.stop),
                store=run.cloud.store(bucket),
                journal=journal,
                options=options.transfer,
            )
        finally:
            limit = options.transfer.limit_rate_bytes_s
            remember(options.state_dir, run.cloud.oss_endpoint, meter.measured, limit_bytes_s=limit)
        words.detail = f"oss://{uploaded.bucket}/{uploaded.key} is the disk, by {uploaded.proof}"
        return uploaded


def _existing(disk: DiskRequest, there: RemoteObject | None) -> UploadedObject:
    """Take an object that the user put into OSS, as the look found it; it is never removed."""
    assert disk.bucket is not None and there is not None  # noqa: S101, PT018 -- the look gave one for each such disk
    return UploadedObject(
        bucket=disk.bucket,
        key=there.key,
        size_bytes=there.size_bytes,
        crc64=there.crc64 or 0,
        etag=there.etag,
        proof="taken as it was in OSS",
        made_by_us=False,
    )


def digest_of(disks: Iterable[tuple[int, int]]) -> str:
    """Make the digest that names these disks in a tag, of the size and the CRC-64 of each, in their order."""
    text = ",".join(f"{size_bytes}:{crc64:016x}" for size_bytes, crc64 in disks)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def found_staging(run: PushContext, request: ImportRequest, store: ObjectStore | None) -> tuple[str, ...]:
    """Look for the objects of a push whose journal is lost, so that they can be named; gives oss:// URLs.

    They are not removed: nothing tells whether they were to be kept.
    """
    found: list[str] = []
    for index, disk in enumerate(request.disks):
        if disk.path is None or store is None:
            continue
        delivery = delivery_of(request, run.options, index)
        try:
            there = with_retries(partial(store.list_objects, delivery.key or f"{delivery.key_stem}-"), clock=run.clock)
        except AliyunImportError:  # the image is there, and that is what counts
            continue
        found += [
            f"oss://{store.bucket}/{one.key}"
            for one in there
            if delivery.key in (None, one.key) and not one.key.endswith(SUFFIX)
        ]
    return tuple(found)


def remove_staging(
    run: PushContext,
    store: ObjectStore | None,
    objects: tuple[UploadedObject, ...],
    journal: Journal,
    removed: frozenset[str],
) -> tuple[str, ...]:
    """Remove the objects that this push made, unless they are to be kept; give those that stay, as oss:// URLs.

    An object that can't be removed is a warning with the command to do it: the image is there, and that is what counts.
    """
    stays: list[str] = []
    for one in objects:
        url = f"oss://{one.bucket}/{one.key}"
        stays += [f"oss://{one.bucket}/{key}" for key in one.left_over]
        if not one.made_by_us or run.options.transfer.keep_object:
            stays.append(url)
        elif one.key in removed:
            continue
        elif store is not None and _removed(run, store, one):
            journal.write("object-removed", key=one.key)
        else:
            stays.append(url)
    return tuple(stays)


def _removed(run: PushContext, store: ObjectStore, uploaded: UploadedObject) -> bool:
    try:
        with_retries(lambda: remove_object(store, uploaded.key), clock=run.clock)
    except AliyunImportError as error:
        run.emit(
            Warned(
                code="object-not-removed",
                message=f"The staging object oss://{uploaded.bucket}/{uploaded.key} was not removed: {error.summary}",
                remedy=f"It costs storage until you remove it: aliyun oss rm oss://{uploaded.bucket}/{uploaded.key}",
            )
        )
        return False
    run.emit(Noted(message=f"removed the staging object oss://{uploaded.bucket}/{uploaded.key}"))
    return True
