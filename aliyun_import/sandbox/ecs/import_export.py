"""Operations ImportImage and ExportImage: their checks, and the start of the task.

Order of the checks of ImportImage: client token, parameters, name, quotas, role, objects, sizes, dry run. The order of
the service is not published. Only one point is known: without the role, the answer is NoSetRoletoECSServiceAcount for
every object.
"""

import re
from typing import Any

from aliyun_import.sandbox.auth.policies import allows, may, oss_resource, trusts_ecs
from aliyun_import.sandbox.core.rpc import RpcCall, Value
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.ecs import rules
from aliyun_import.sandbox.ecs.rules import DiskMapping, ImportRequest, region_of
from aliyun_import.sandbox.ecs.state import Ecs, Export, Image, ImageDisk, owned
from aliyun_import.sandbox.importer import engine, formats
from aliyun_import.sandbox.importer.engine import Problem
from aliyun_import.sandbox.importer.formats import DiskReading
from aliyun_import.sandbox.oss.state import ARCHIVED, Bucket, OssState, StoredObject
from aliyun_import.sandbox.ram.state import Ram, RoleView

CLOUD_BOX_ROLE = "AliyunECSCloudBoxImageImportDefaultRole"
EXPORT_ROLE = "AliyunECSImageExportDefaultRole"
MAX_EXPORTED_DATA_DISKS = 4
MAX_EXPORTED_GIB = 500  # of a data disk
_PREFIX = re.compile(r"[A-Za-z0-9]{1,30}")


@rules.idempotent
def import_image(call: RpcCall) -> dict[str, Value]:
    """ImportImage: start the task that creates an image from objects."""
    region = region_of(call)
    request = rules.import_request(call)
    if request.tags and not may(call.key, "ecs:TagResources", ((f"acs:ecs:{region}:{call.account_id}:image/*",),)):
        raise Refusal("Forbidden.RAM")
    engine.refresh(call.state)
    if region in call.state.settings.regions_without_import:
        raise Refusal("InvalidRegion.NotSupport")
    _check_name(call, request, region)
    rules.check_quotas(call, region, disks=len(request.disks))
    if request.storage_location:
        _refuse_cloud_box(call, request.storage_location, region)
    role = assumed_role(call, request.role_name, default=rules.DEFAULT_ROLE)
    found = [_object(call, disk, role=role, region=region) for disk in request.disks]
    readings = [_reading(call, disk, stored) for disk, stored in zip(request.disks, found, strict=True)]
    if call.state.settings.arrears:
        raise Refusal("Account.Arrearage")
    if call.state.settings.import_refused_with:
        raise Refusal(call.state.settings.import_refused_with)
    if call.flag("DryRun"):
        raise Refusal(call.state.settings.dry_run_code)
    image = _image(call, request, readings, found, region=region)
    task = engine.begin(call.state, image, found, problem=_problem(readings))
    return {"ImageId": image.id, "TaskId": task.id, "RegionId": region}


def _check_name(call: RpcCall, request: ImportRequest, region: str) -> None:
    for image in owned(call.state.part(Ecs).images, call.account_id, region):
        if request.name and image.name == request.name:
            raise Refusal("ImageIsImporting" if image.status == "Creating" else "InvalidImageName.Duplicated")


def assumed_role(call: RpcCall, name: str, *, default: str) -> RoleView:
    """Return the role that ECS assumes to access OSS, in its propagated version.

    Refuses with NoSetRoletoECSServiceAcount for a missing role, a role that does not trust ECS, or another role than
    the default one (unless `any_role_name` is set).
    """
    is_allowed = name == default or call.state.settings.any_role_name
    role = call.state.part(Ram).propagated_role(call.account_id, name) if is_allowed else None
    if role is None or not trusts_ecs(role.trust):
        raise Refusal("NoSetRoletoECSServiceAcount")
    return role


def _refuse_cloud_box(call: RpcCall, arn: str, region: str) -> None:
    """Refuse an import for a CloudBox, with the code of the first missing requirement."""
    form = rf"arn:acs:cloudbox:{region}:{call.account_id}:cloudbox/[A-Za-z0-9-]+"
    if not re.fullmatch(form, arn) or arn not in call.state.settings.cloud_boxes:
        raise Refusal("InvalidStorageLocation.NotFound", arn)
    role = call.state.part(Ram).propagated_role(call.account_id, CLOUD_BOX_ROLE)
    if role is None or not trusts_ecs(role.trust):
        raise Refusal("InvalidOperation.CloudBoxImageImportRoleRequired")
    raise Refusal("InvalidOperation.CloudBoxImageImportUnsupported")


def _object(call: RpcCall, disk: DiskMapping, *, role: RoleView, region: str) -> StoredObject:
    """Return the object of a disk. Refuses one that does not exist, or that ECS cannot read."""
    bucket = call.state.part(OssState).bucket(disk.bucket)
    if bucket is None or bucket.region != region:
        raise Refusal("InvalidOSSBucket.NotFound")
    if bucket.owner_id != call.account_id or not _may_read(role, bucket, disk.key):
        raise Refusal("InvalidOSS.NotAuthorized")
    stored = bucket.current(disk.key)
    # The page does not name the encryptions. According to reports, imports from buckets with AES256 work.
    encryption = {bucket.encryption, stored.encryption if stored is not None else ""}
    if encryption - {"", "AES256"}:
        raise Refusal("InvalidOSSBucket.EncryptUnsupported")
    if stored is None:
        raise Refusal("InvalidOSSObject.NotFound")
    if stored.storage_class in ARCHIVED:
        raise Refusal("InvalidOSSObject.NeedRestore")
    if stored.size == 0:
        raise Refusal("InvalidOSSObject.Size")
    return stored


def _may_read(role: RoleView, bucket: Bucket, key: str) -> bool:
    on_bucket = oss_resource(bucket.region, bucket.owner_id, bucket.name)
    on_object = oss_resource(bucket.region, bucket.owner_id, bucket.name, key)
    return (
        allows(role.policies, "oss:GetBucketInfo", resource=on_bucket)
        and allows(role.policies, "oss:GetBucketLocation", resource=on_bucket)
        and allows(role.policies, "oss:GetObject", resource=on_object)
    )


def _reading(call: RpcCall, disk: DiskMapping, stored: StoredObject) -> DiskReading:
    """Read a disk. Refuses a format or a size that the service or the request does not allow."""
    settings = call.state.settings
    reading = formats.read_disk(stored.content, declared=disk.format)
    if reading.refusal is not None:
        raise reading.refusal
    if reading.format in settings.formats_refused:
        raise Refusal("InvalidImageFormat.RegionNotSupported")
    if reading.format == "VMDK" and not settings.vmdk_allowed:
        raise Refusal("UserNotInTheWhiteList")
    if reading.size_gib not in rules.SIZES_GIB:
        raise rules.out_of_range(disk.number)
    if disk.size_gib is not None and disk.size_gib < reading.size_gib:
        raise Refusal(
            "InvalidImageSize",
            f'The specified "DiskDeviceMapping.{disk.number}.DiskImageSize" should be not less than '
            f"{'system device' if disk.number == 1 else 'the disk'} size.",
        )
    return reading


def _problem(readings: list[DiskReading]) -> Problem | None:
    """Return the first problem for which the task will fail."""
    for number, reading in enumerate(readings, start=1):
        if reading.problem:
            message = f"DiskDeviceMapping.{number}: {reading.problem}."
            return Problem(code="InvalidImageFormat.Malformed", message=message)
    return None


def _image(
    call: RpcCall, request: ImportRequest, readings: list[DiskReading], found: list[StoredObject], *, region: str
) -> Image:
    ecs = call.state.part(Ecs)
    image_id = ecs.new_id("m")
    attributes: dict[str, Any] = dict(request.attributes)
    disks = tuple(
        ImageDisk(
            bucket=disk.bucket,
            key=disk.key,
            format=reading.format,
            size_gib=disk.size_gib or reading.size_gib,
            snapshot_id=ecs.new_id("s"),
            content=stored.content,
        )
        for disk, reading, stored in zip(request.disks, readings, found, strict=True)
    )
    return Image(
        id=image_id,
        account_id=call.account_id,
        region=region,
        name=request.name or image_id,
        disks=disks,
        created_s=call.state.clock.now_s(),
        tags=dict(request.tags),
        **attributes,
    )


def export_image(call: RpcCall) -> dict[str, Value]:
    """ExportImage: start the task that writes the disks of an image to a bucket in the same region."""
    region = region_of(call)
    image_id, bucket = call.required("ImageId"), call.required("OSSBucket")
    prefix = call.get("OSSPrefix")
    if prefix and not _PREFIX.fullmatch(prefix):
        raise Refusal("InvalidOSSPrefix.Malformed")
    target = call.get("ImageFormat", "raw").upper()
    if target not in formats.DRIVERS:
        raise Refusal("InvalidImageFormat.Malformed")
    if region in call.state.settings.regions_without_import:
        raise Refusal("InvalidRegion.NotSupport")
    engine.refresh(call.state)
    image = call.state.part(Ecs).image(call.account_id, region, image_id)
    _check_export(call, image, target)
    role = assumed_role(call, call.get("RoleName", EXPORT_ROLE), default=EXPORT_ROLE)
    _check_bucket(call, role, bucket, region)
    call.end_dry_run()
    task = engine.begin_export(call.state, image, Export(bucket=bucket, prefix=prefix, format=target))
    return {"RegionId": region, "TaskId": task.id}


def _check_export(call: RpcCall, image: Image, target: str) -> None:
    if image.status != "Available":
        raise Refusal("IncorrectImageStatus")
    if any(disk.encrypted for disk in image.disks):
        raise Refusal("ImageNotSupported")
    data = image.disks[1:]
    if len(data) > MAX_EXPORTED_DATA_DISKS or any(disk.size_gib > MAX_EXPORTED_GIB for disk in data):
        raise Refusal("InvalidImage.DiskAmountOrSize", "The image has too many or too large data disks.")
    if is_exported(call.state.part(Ecs), image):
        raise Refusal("ImageIsExporting")
    for disk in image.disks:
        reason = formats.unsupported_reason(disk.format, target)
        if reason:
            raise Refusal("NotImplementedBySandbox", f"the export of a {disk.format} disk as {target}: {reason}")


def _check_bucket(call: RpcCall, role: RoleView, name: str, region: str) -> None:
    bucket = call.state.part(OssState).bucket(name)
    if bucket is None or bucket.region != region or bucket.owner_id != call.account_id:
        raise Refusal("InvalidOSSBucket.NotFound")
    if not allows(role.policies, "oss:PutObject", resource=oss_resource(region, bucket.owner_id, name, "x")):
        raise Refusal("InvalidOSS.NotAuthorized")


def is_exported(ecs: Ecs, image: Image) -> bool:
    """Return whether an image is being exported."""
    return any(task.export and task.running and task.image_id == image.id for task in ecs.tasks.values())
