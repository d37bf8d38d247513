"""ECS: its table of operations, ImportImage, tasks and regions.

The order of the checks of ImportImage: parameters, client token, names, quotas, role, objects, sizes, dry run. The
service's order is not published, except that a call without the role ends in NoSetRoletoECSServiceAcount whatever the
objects are.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from aliyun_import.sandbox.core.http_types import Operation
from aliyun_import.sandbox.core.rpc import (
    PER_SENDING,
    RpcCall,
    RpcOperation,
    RpcService,
    Value,
    utc_minutes,
    utc_seconds,
)
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.ecs import images, rules
from aliyun_import.sandbox.ecs.rules import DiskOrder, ImportOrder, region_of
from aliyun_import.sandbox.ecs.state import REGIONS, Ecs, Image, ImageDisk, Task
from aliyun_import.sandbox.importer import engine, formats
from aliyun_import.sandbox.importer.engine import Problem
from aliyun_import.sandbox.importer.formats import DiskReading
from aliyun_import.sandbox.oss.state import ARCHIVED, Bucket, OssState, StoredObject
from aliyun_import.sandbox.ram.state import Ram, RoleView, allows, trusts

CLOUD_BOX_ROLE = "AliyunECSCloudBoxImageImportDefaultRole"
_SERVICE = "ecs.aliyuncs.com"


def import_image(call: RpcCall) -> dict[str, Value]:
    """ImportImage: start an import, or repeat the answer to the same call with the same ClientToken."""
    region = region_of(call)
    token = rules.client_token(call)
    order = rules.read_order(call)
    engine.settle(call.state)
    ecs = call.state.part(Ecs)
    sent = {name: value for name, value in call.parameters.items() if name not in PER_SENDING}
    if token:
        before = ecs.tokens.get((call.account_id, token))
        if before is not None:
            return _repeated_answer(before, sent)
    _check_region(call, region)
    _check_names_and_quotas(call, order, region)
    role = _role(call, order, region)
    found = [_object(call, disk, role=role, region=region) for disk in order.disks]
    readings = [_reading(call, disk, stored) for disk, stored in zip(order.disks, found, strict=True)]
    if call.state.settings.import_refused_with:
        raise Refusal(call.state.settings.import_refused_with)
    if call.flag("DryRun"):
        raise Refusal(call.state.settings.dry_run_code)
    image = _image(call, order, readings, region=region)
    task = engine.begin(call.state, image, found, problem=_problem(readings))
    answer: dict[str, Value] = {"ImageId": image.id, "TaskId": task.id, "RegionId": region}
    if token:
        ecs.tokens[call.account_id, token] = (sent, answer)
    return answer


def _repeated_answer(before: tuple[Mapping[str, str], dict[str, Value]], sent: Mapping[str, str]) -> dict[str, Value]:
    if before[0] != sent:
        raise Refusal("IdempotentParameterMismatch")
    return before[1]


def _check_region(call: RpcCall, region: str) -> None:
    if region in call.state.settings.regions_without_import:
        raise Refusal("InvalidRegion.NotSupport")


def _check_names_and_quotas(call: RpcCall, order: ImportOrder, region: str) -> None:
    ecs, settings = call.state.part(Ecs), call.state.settings
    mine = list(ecs.images_of(call.account_id, region))
    for image in mine:
        if order.name and image.name == order.name:
            raise Refusal("ImageIsImporting" if image.status == "Creating" else "InvalidImageName.Duplicated")
    if len(mine) >= settings.images_per_region:
        raise Refusal("QuotaExceed.Image")
    if ecs.count_snapshots(call.account_id, region) + len(order.disks) > settings.snapshots_per_region:
        raise Refusal("QuotaExceed.Snapshot")


def _role(call: RpcCall, order: ImportOrder, region: str) -> RoleView:
    """Return the role that ECS assumes to read OSS, as ECS knows it now."""
    if order.storage_location:
        _refuse_cloud_box(call, order.storage_location, region)
    named = order.role_name == rules.DEFAULT_ROLE or call.state.settings.any_role_name
    role = call.state.part(Ram).propagated_role(call.account_id, order.role_name) if named else None
    if role is None or not trusts(role.trust, _SERVICE):
        raise Refusal("NoSetRoletoECSServiceAcount")
    return role


def _refuse_cloud_box(call: RpcCall, arn: str, region: str) -> None:
    """Refuse an import for a CloudBox, with the first of the service's reasons that applies."""
    form = rf"arn:acs:cloudbox:{region}:{call.account_id}:cloudbox/[A-Za-z0-9-]+"
    if not re.fullmatch(form, arn) or arn not in call.state.settings.cloud_boxes:
        raise Refusal("InvalidStorageLocation.NotFound", arn)
    role = call.state.part(Ram).propagated_role(call.account_id, CLOUD_BOX_ROLE)
    if role is None or not trusts(role.trust, _SERVICE):
        raise Refusal("InvalidOperation.CloudBoxImageImportRoleRequired")
    raise Refusal("InvalidOperation.CloudBoxImageImportUnsupported")


def _object(call: RpcCall, disk: DiskOrder, *, role: RoleView, region: str) -> StoredObject:
    bucket = call.state.part(OssState).bucket(disk.bucket)
    if bucket is None or bucket.region != region:
        raise Refusal("InvalidOSSBucket.NotFound")
    if bucket.owner_id != call.account_id or not _may_read(role, bucket, disk.key):
        raise Refusal("InvalidOSS.NotAuthorized")
    stored = bucket.current(disk.key)
    if bucket.encryption or (stored is not None and stored.encryption):
        raise Refusal("InvalidOSSBucket.EncryptUnsupported")
    if stored is None:
        raise Refusal("InvalidOSSObject.NotFound")
    if stored.storage_class in ARCHIVED:
        raise Refusal("InvalidOSSObject.NeedRestore")
    if stored.size == 0:
        raise Refusal("InvalidOSSObject.Size")
    return stored


def _may_read(role: RoleView, bucket: Bucket, key: str) -> bool:
    # OSS writes regions in resources with and without its prefix.
    regions = (bucket.region, f"oss-{bucket.region}")
    on_bucket = tuple(f"acs:oss:{region}:{bucket.owner_id}:{bucket.name}" for region in regions)
    on_object = tuple(f"{name}/{key}" for name in on_bucket)
    return (
        allows(role.policies, "oss:GetBucketInfo", resources=on_bucket)
        and allows(role.policies, "oss:GetBucketLocation", resources=on_bucket)
        and allows(role.policies, "oss:GetObject", resources=on_object)
    )


def _reading(call: RpcCall, disk: DiskOrder, stored: StoredObject) -> DiskReading:
    """Return the reading of a disk; refuses a size that the service or the request does not allow."""
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
    for number, reading in enumerate(readings, start=1):
        if reading.problem:
            message = f"DiskDeviceMapping.{number}: {reading.problem}."
            return Problem(code="InvalidImageFormat.Malformed", message=message)
    return None


def _image(call: RpcCall, order: ImportOrder, readings: list[DiskReading], *, region: str) -> Image:
    ecs = call.state.part(Ecs)
    image_id = ecs.new_id("m")
    disks = tuple(
        ImageDisk(
            bucket=disk.bucket,
            key=disk.key,
            format=reading.format,
            size_gib=disk.size_gib or reading.size_gib,
            snapshot_id=ecs.new_id("s"),
        )
        for disk, reading in zip(order.disks, readings, strict=True)
    )
    return Image(
        id=image_id,
        account_id=call.account_id,
        region=region,
        name=order.name or image_id,
        description=order.description,
        architecture=order.architecture,
        os_type=order.os_type,
        platform=order.platform,
        boot_mode=order.boot_mode,
        license_type=order.license_type,
        resource_group=order.resource_group,
        nvme_support=order.nvme_support,
        imds_support=order.imds_support,
        detection=order.detection,
        disks=disks,
        created_s=call.state.clock.now_s(),
        tags=dict(order.tags),
    )


MAX_PAGE_SIZE = 100
# DescribeTasks filters by these three; every other value filters nothing.
_FILTERED = frozenset({"Finished", "Processing", "Failed"})
_OPERATION_STATUS = {"Finished": "Success", "Failed": "Failed"}


def describe_tasks(call: RpcCall) -> dict[str, Value]:
    """DescribeTasks: an account's tasks in a region, newest first, in pages."""
    region = region_of(call)
    number = call.number("PageNumber", default=1)
    size = call.number("PageSize", default=10, high=MAX_PAGE_SIZE)
    found = [task for task in _visible(call, region) if _is_requested(call, task)]
    page = found[(number - 1) * size : number * size]
    return {
        "PageNumber": number,
        "PageSize": size,
        "TotalCount": len(found),
        "RegionId": region,
        "TaskSet": {"Task": [_summary(task) for task in page]},
    }


def describe_task_attribute(call: RpcCall) -> dict[str, Value]:
    """DescribeTaskAttribute: the progress of one task, and the reason of a failure."""
    region = region_of(call)
    task = _task(call, region)
    # The items of a running import are not published; these are those of the one published sample.
    system_disk = task.disks[0]
    items: list[Value] = [
        {"Name": "OSSBucket", "Value": system_disk.bucket},
        {"Name": "OSSObject", "Value": system_disk.key},
        {"Name": "ImageFormat", "Value": system_disk.format.lower()},
    ]
    progress: dict[str, Value] = {
        "OperationStatus": _OPERATION_STATUS.get(task.status, ""),
        "ErrorCode": task.error_code,
        "ErrorMsg": task.error_message,
        "RelatedItemSet": {"RelatedItem": items},
    }
    return {
        "RegionId": region,
        "TaskId": task.id,
        "TaskAction": "ImportImage",
        "TaskStatus": task.status,
        "TaskProcess": f"{task.percent}%",
        "SupportCancel": task.running,
        "CreationTime": utc_minutes(task.created_s),
        "FinishedTime": _finished(task),
        "TotalCount": 1,
        "SuccessCount": int(task.status == "Finished"),
        "FailedCount": int(task.status == "Failed"),
        "OperationProgressSet": {"OperationProgress": [progress]},
    }


def cancel_task(call: RpcCall) -> dict[str, Value]:
    """CancelTask: cancel a running task and remove its image."""
    task = _task(call, region_of(call))
    if not task.running:
        raise Refusal("InvalidTaskId.IncorrectTaskStatus")
    engine.cancel(call.state, task)
    return {}


def _visible(call: RpcCall, region: str) -> list[Task]:
    engine.settle(call.state)
    now_s = call.state.clock.now_s()
    return [task for task in call.state.part(Ecs).tasks_of(call.account_id, region) if task.visible_s <= now_s]


def _task(call: RpcCall, region: str) -> Task:
    task_id = call.required("TaskId")
    for task in _visible(call, region):
        if task.id == task_id:
            return task
    raise Refusal("InvalidTaskId.NotFound")


def _is_requested(call: RpcCall, task: Task) -> bool:
    ids = call.listed("TaskIds")
    if len(ids) > MAX_PAGE_SIZE:
        raise Refusal("InvalidParameter", "TaskIds")
    image_ids = call.numbered("ResourceIds").values()
    status = call.get("TaskStatus")
    start, end = _moment(call, "StartTime"), _moment(call, "EndTime")
    created = utc_seconds(task.created_s)
    return (
        (not ids or task.id in ids)
        and (not image_ids or task.image_id in image_ids)
        and call.get("TaskAction", "ImportImage") == "ImportImage"
        and (status not in _FILTERED or task.status == status)
        and (not start or created >= start)
        and (not end or created <= end)
    )


def _moment(call: RpcCall, name: str) -> str:
    """Return a time filter; such texts sort in the order of time."""
    text = call.get(name)
    if text and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text):
        raise Refusal("InvalidParameter", name)
    return text


def _summary(task: Task) -> Value:
    return {
        "TaskId": task.id,
        "TaskAction": "ImportImage",
        "TaskStatus": task.status,
        "SupportCancel": task.running,
        "CreationTime": utc_minutes(task.created_s),
        "FinishedTime": _finished(task),
        "ResourceId": task.image_id,
    }


def _finished(task: Task) -> str:
    return "" if task.finished_s is None else utc_minutes(task.finished_s)


_NAMES: Mapping[str, str] = MappingProxyType({
    "ap-northeast-1": "Japan (Tokyo)", "ap-northeast-2": "South Korea (Seoul)", "ap-southeast-1": "Singapore",
    "ap-southeast-3": "Malaysia (Kuala Lumpur)", "ap-southeast-5": "Indonesia (Jakarta)",
    "ap-southeast-6": "Philippines (Manila)", "ap-southeast-7": "Thailand (Bangkok)",
    "me-central-1": "Saudi Arabia (Riyadh)", "me-east-1": "UAE (Dubai)", "na-south-1": "Mexico",
    "us-southeast-1": "US (Atlanta)",
})  # fmt: skip
# Announced as closed: DescribeRegions omits them, other calls accept them.
_CLOSED = frozenset({"ap-south-1", "ap-southeast-2"})


def describe_regions(call: RpcCall) -> dict[str, Value]:
    """DescribeRegions: the regions open to the account, in every region."""
    del call
    regions: list[Value] = [
        {
            "RegionId": region,
            "RegionEndpoint": f"ecs.{region}.sandbox.invalid",
            "LocalName": _NAMES.get(region, region),
            "Status": "available",
        }
        for region in REGIONS
        if region not in _CLOSED
    ]
    return {"Regions": {"Region": regions}}


_FEATURES = ("Features.NvmeSupport", "Features.ImdsSupport")


def _row(name: str, do: Callable[[RpcCall], dict[str, Value]], *params: str) -> RpcOperation:
    return Operation(name=name, action=f"ecs:{name}", params=params, do=do)


ECS = RpcService(
    name="ecs",
    version="2014-05-26",
    no_permission="Forbidden.RAM",
    operations=(
        _row("ImportImage", import_image, "ImageName", "Description", "Architecture", "OSType", "Platform", "BootMode",
             "LicenseType", "RoleName", "ResourceGroupId", "DetectionStrategy", *_FEATURES, "StorageLocationArn",
             "DiskDeviceMapping.*", "Tag.*", "ClientToken", "DryRun"),
        _row("DescribeTasks", describe_tasks, "TaskIds", "ResourceIds.*", "TaskAction", "TaskStatus", "StartTime",
             "EndTime", "PageNumber", "PageSize"),
        _row("DescribeTaskAttribute", describe_task_attribute, "TaskId"),
        _row("CancelTask", cancel_task, "TaskId"),
        _row("DescribeImages", images.describe_images, "Status", "Usable", "ImageId", "ImageName", "ImageFamily",
             "ResourceGroupId", "Architecture", "OSType", "ImageOwnerAlias", "IsPublic", "SnapshotId", "Usage", "Tag.*",
             "Filter.*", "PageNumber", "PageSize", "DryRun"),
        _row("ModifyImageAttribute", images.modify_image_attribute, "ImageId", "ImageName", "Description", "Status",
             "BootMode", "LicenseType", "ImageFamily", *_FEATURES, "DryRun"),
        # Force deletes an image in use by instances, of which the sandbox has none.
        _row("DeleteImage", images.delete_image, "ImageId", "Force", "DryRun"),
        _row("TagResources", images.tag_resources, "ResourceType", "ResourceId.*", "Tag.*"),
        _row("DescribeRegions", describe_regions, "AcceptLanguage"),
    ),
)  # fmt: skip
