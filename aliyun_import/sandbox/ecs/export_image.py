"""ExportImage: its checks, and the start of the export."""

import re

from aliyun_import.sandbox.auth.policies import allows, trusts
from aliyun_import.sandbox.core.rpc import RpcCall, Value
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.ecs.import_image import SERVICE
from aliyun_import.sandbox.ecs.rules import region_of
from aliyun_import.sandbox.ecs.state import Ecs, Export, Image, Task
from aliyun_import.sandbox.importer import conversion, engine
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.ram.state import Ram, RoleView

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
    _check_bucket(call, _role(call), bucket, region)
    call.end_dry_run()
    return {"RegionId": region, "TaskId": _begin(call, image, Export(bucket=bucket, prefix=prefix, format=wanted)).id}


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


def _role(call: RpcCall) -> RoleView:
    name = call.get("RoleName", DEFAULT_ROLE)
    named = name == DEFAULT_ROLE or call.state.settings.any_role_name
    role = call.state.part(Ram).propagated_role(call.account_id, name) if named else None
    if role is None or not trusts(role.trust, SERVICE):
        raise Refusal("NoSetRoletoECSServiceAcount")
    return role


def _check_bucket(call: RpcCall, role: RoleView, name: str, region: str) -> None:
    bucket = call.state.part(OssState).bucket(name)
    if bucket is None or bucket.region != region or bucket.owner_id != call.account_id:
        raise Refusal("InvalidOSSBucket.NotFound")
    objects = tuple(f"acs:oss:{where}:{bucket.owner_id}:{name}/x" for where in (region, f"oss-{region}"))
    if not allows(role.policies, "oss:PutObject", resources=objects):
        raise Refusal("InvalidOSS.NotAuthorized")


def _begin(call: RpcCall, image: Image, export: Export) -> Task:
    ecs, now_s = call.state.part(Ecs), call.state.clock.now_s()
    task = Task(
        id=ecs.new_id("t"),
        account_id=image.account_id,
        region=image.region,
        image_id=image.id,
        created_s=now_s,
        visible_s=now_s + call.state.settings.task_hidden_s,
        outcome=engine.outcome_of(call.state, now_s=now_s),
        disks=image.disks,
        export=export,
    )
    ecs.tasks[task.id] = task
    engine.settle(call.state)
    return task


def is_exported(ecs: Ecs, image: Image) -> bool:
    """Return whether an export of an image runs."""
    return any(task.export and task.running and task.image_id == image.id for task in ecs.tasks.values())
