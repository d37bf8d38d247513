"""ExportImage: its checks, and the start of the export."""

import re

from aliyun_import.sandbox.auth.policies import allows, oss_resource
from aliyun_import.sandbox.core.rpc import RpcCall, Value
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.ecs.import_image import assumed_role
from aliyun_import.sandbox.ecs.rules import region_of
from aliyun_import.sandbox.ecs.state import Ecs, Export, Image
from aliyun_import.sandbox.importer import conversion, engine
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.ram.state import RoleView

DEFAULT_ROLE = "AliyunECSImageExportDefaultRole"
MAX_DATA_DISKS = 4
MAX_DATA_GIB = 500
_PREFIX = re.compile(r"[A-Za-z0-9]{1,30}")


def export_image(call: RpcCall) -> dict[str, Value]:
    """ExportImage: start the task that writes the disks of an image into a bucket of the same region."""
    region = region_of(call)
    image_id, bucket = call.required("ImageId"), call.required("OSSBucket")
    prefix = call.get("OSSPrefix")
    if prefix and not _PREFIX.fullmatch(prefix):
        raise Refusal("InvalidOSSPrefix.Malformed")
    wanted = call.get("ImageFormat", "raw").upper()
    if wanted not in conversion.DRIVERS:
        raise Refusal("InvalidImageFormat.Malformed")
    if region in call.state.settings.regions_without_import:
        raise Refusal("InvalidRegion.NotSupport")
    engine.settle(call.state)
    image = call.state.part(Ecs).image(call.account_id, region, image_id)
    _check_image(call, image, wanted)
    role = assumed_role(call, call.get("RoleName", DEFAULT_ROLE), default=DEFAULT_ROLE)
    _check_bucket(call, role, bucket, region)
    call.end_dry_run()
    task = engine.begin_export(call.state, image, Export(bucket=bucket, prefix=prefix, format=wanted))
    return {"RegionId": region, "TaskId": task.id}


def _check_image(call: RpcCall, image: Image, wanted: str) -> None:
    if image.status != "Available":
        raise Refusal("IncorrectImageStatus")
    if any(disk.encrypted for disk in image.disks):
        raise Refusal("ImageNotSupported")
    data = image.disks[1:]
    if len(data) > MAX_DATA_DISKS or any(disk.size_gib > MAX_DATA_GIB for disk in data):
        raise Refusal("InvalidImage.DiskAmountOrSize", "The image has too many or too large data disks.")
    if is_exported(call.state.part(Ecs), image):
        raise Refusal("ImageIsExporting")
    for disk in image.disks:
        why = conversion.obstacle(disk.format, wanted)
        if why:
            raise Refusal("NotImplementedBySandbox", f"the export of a {disk.format} disk as {wanted}: {why}")


def _check_bucket(call: RpcCall, role: RoleView, name: str, region: str) -> None:
    bucket = call.state.part(OssState).bucket(name)
    if bucket is None or bucket.region != region or bucket.owner_id != call.account_id:
        raise Refusal("InvalidOSSBucket.NotFound")
    objects = oss_resource(region, bucket.owner_id, name, "x")
    if not allows(role.policies, "oss:PutObject", resources=objects):
        raise Refusal("InvalidOSS.NotAuthorized")


def is_exported(ecs: Ecs, image: Image) -> bool:
    """Return whether an export of an image runs."""
    return any(task.export and task.running and task.image_id == image.id for task in ecs.tasks.values())
