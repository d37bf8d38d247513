"""The end of an export: the disks of the image as objects in the bucket."""

import logging
import secrets
from dataclasses import replace

from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.state import State
from aliyun_import.sandbox.ecs.state import Export, Task
from aliyun_import.sandbox.importer.conversion import ConversionError, converted
from aliyun_import.sandbox.oss.state import NULL_VERSION, OssState, StoredObject

log = logging.getLogger(__name__)


def keys(export: Export, image_id: str, disks: int) -> list[str]:
    """Return the keys of the objects: <prefix>_<image>_system.raw, and _data_1.raw and so on for data disks."""
    stem, suffix = f"{export.prefix}_{image_id}" if export.prefix else image_id, export.format.lower()
    return [f"{stem}_{'system' if number == 0 else f'data_{number}'}.{suffix}" for number in range(disks)]


def ended(state: State, task: Task) -> Task:
    """Return an export that ended, without the bytes; a finished one has written its objects."""
    done = _written(state, task) if task.status == "Finished" else task
    return replace(done, disks=tuple(disk.bare for disk in done.disks))


def _written(state: State, task: Task) -> Task:
    """Write the objects of an export, and return the task: it fails if the bucket is gone or qemu-img fails."""
    oss, export = state.part(OssState), task.export
    bucket = oss.bucket(export.bucket) if export else None
    if bucket is None or export is None or bucket.owner_id != task.account_id:
        message = "The specified OSS bucket does not exist in this region."
        return replace(task, status="Failed", error_code="InvalidOSSBucket.NotFound", error_message=message)
    try:
        contents = [
            converted(disk.content, state.shelf, source=disk.format, wanted=export.format) for disk in task.disks
        ]
    except ConversionError as error:
        log.error("the export of %s as %s failed: %s", task.image_id, export.format, error)  # noqa: TRY400
        refused = Refusal("ExportImageFailed")
        return replace(task, status="Failed", error_code=refused.code, error_message=refused.message)
    for key, content in zip(keys(export, task.image_id, len(contents)), contents, strict=True):
        version = oss.new_version_id() if bucket.versioning == "Enabled" else NULL_VERSION
        stored = StoredObject(
            key=key,
            content=content,
            etag=f"{secrets.token_hex(16).upper()}-1",
            crc64=content.crc64,
            kind="Multipart",
            headers={"content-type": "application/octet-stream"},
            modified_s=task.outcome.ends_s,
            version_id=version,
        )
        oss.put(bucket, stored)
    return task
