"""Operations on instances: start, list, console, screenshot, delete.

An instance is Pending, Starting, then Running, by the clock of the sandbox. Its guest runs in QEMU (`guests`), or its
console is scripted (`consoles`). RunInstances has the checks of the service: boot mode, architecture and disk interface
of the image, stock, networks, disk size.
"""

import base64
import binascii
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from aliyun_import.sandbox.core.rpc import RpcCall, Value, utc_minutes
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.state import GUEST, State
from aliyun_import.sandbox.ecs import catalog, rules
from aliyun_import.sandbox.ecs.catalog import DISK_CATEGORIES, InstanceType
from aliyun_import.sandbox.ecs.consoles import SCREEN, console
from aliyun_import.sandbox.ecs.rules import region_of
from aliyun_import.sandbox.ecs.state import Ecs, Image, Instance, owned
from aliyun_import.sandbox.guests import host
from aliyun_import.sandbox.guests.host import Host
from aliyun_import.sandbox.importer import engine

MIN_LIFE_S = 1800  # "RunInstances", AutoReleaseTime: at least 30 minutes, at most three years from now
MAX_LIFE_S = 3 * 365 * 86_400
MAX_USER_DATA_BYTES = 32 << 10
MIN_DISK_GIB = 20
MAX_AMOUNT = 100
SCREENSHOT_INTERVAL_S = 10.0
STATUSES = ("Pending", "Starting", "Running", "Stopping", "Stopped")
# "GetInstanceConsoleOutput": LastUpdateTime is in Beijing time.
_BEIJING = timezone(timedelta(hours=8))


@rules.idempotent
def run_instances(call: RpcCall) -> dict[str, Value]:
    """RunInstances: start instances of an image."""
    region = region_of(call)
    refresh(call.state)
    image = _image(call, region)
    kind = catalog.instance_type(call.required("InstanceType"))
    life_s = _auto_release(call)
    amount = _checked_form(call)
    _check_network(call, region)
    if not image.usable(now_s=call.state.clock.now_s(), after_s=call.state.settings.image_usable_s):
        raise Refusal("OperationDenied.ImageNotValid", "The specified image is not available.")
    catalog.check_compatible(image, kind)
    disk_gib = _disk_gib(call, image)
    _check_stock(call, kind, region, amount=amount)
    no_guest = _no_guest(call, image, kind, amount=amount)
    call.end_dry_run()
    made = [
        _start(call, region, image, kind, disk_gib=disk_gib, auto_release_s=life_s, no_guest=no_guest)
        for _ in range(amount)
    ]
    return {"InstanceIdSets": {"InstanceIdSet": [each.id for each in made]}, "OrderId": "", "TradePrice": 0}


def _image(call: RpcCall, region: str) -> Image:
    ecs, family = call.state.part(Ecs), call.get("ImageFamily")
    if call.get("ImageId") or not family:
        return ecs.usable_image(call.account_id, region, call.required("ImageId"))
    newest = ecs.newest_of_family(call.account_id, region, family)
    if newest is None:
        raise Refusal("InvalidImageId.NotFound")
    return newest


def _checked_form(call: RpcCall) -> int:
    """Refuse malformed parameters, and return the number of instances to start."""
    rules.tags_of(call, duplicate="Duplicate.TagKey")
    rules.resource_group(call)
    call.flag("PasswordInherit")
    call.choice("SystemDisk.PerformanceLevel", ("PL0", "PL1", "PL2", "PL3"), "InvalidParameter")
    call.choice("SystemDisk.Category", tuple(DISK_CATEGORIES), "InvalidSystemDiskCategory.ValueNotSupported")
    call.choice("SecurityEnhancementStrategy", ("Active", "Deactive"), "InvalidParameter")
    call.choice("IoOptimized", ("optimized",), "IoOptimized.NotSupported")
    call.choice("SpotStrategy", ("NoSpot", "SpotAsPriceGo"), "InvalidSpotStrategy")
    call.choice("SpotDuration", ("0", "1"), "InvalidSpotDuration")
    for name, only in (("InstanceChargeType", "PostPaid"), ("InternetMaxBandwidthOut", "0")):
        if call.get(name, only) != only:
            raise Refusal("NotImplementedBySandbox", f"{name}={call.get(name)} of ecs:RunInstances")
    try:
        user_data = base64.b64decode(call.get("UserData"), validate=True)
    except binascii.Error as error:
        raise Refusal("InvalidParameter", "UserData") from error
    if len(user_data) > MAX_USER_DATA_BYTES:
        raise Refusal("InvalidUserData.SizeExceeded")
    return call.number("Amount", default=1, high=MAX_AMOUNT)


def _auto_release(call: RpcCall) -> float | None:
    """Return AutoReleaseTime, rounded down to minutes. Refuses with InvalidAutoReleaseTime.Malformed."""
    text = call.get("AutoReleaseTime")
    if not text:
        return None
    try:
        at_s = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise Refusal("InvalidAutoReleaseTime.Malformed") from error
    now_s = call.state.clock.now_s()
    if not now_s + MIN_LIFE_S <= at_s <= now_s + MAX_LIFE_S:
        raise Refusal("InvalidAutoReleaseTime.Malformed")
    return math.floor(at_s / 60) * 60.0


def _check_network(call: RpcCall, region: str) -> None:
    group = call.required("SecurityGroupId")
    vswitch = catalog.vswitch(region, call.required("VSwitchId"))
    groups = catalog.security_groups(region)
    if group not in groups:
        raise Refusal("InvalidSecurityGroupId.NotFound", "The specified security group does not exist.")
    if groups[group] != vswitch.vpc_id:
        raise Refusal(
            "InvalidParameter.Mismatch", "Specified security group and virtual switch are not in the same VPC."
        )
    if call.get("ZoneId", vswitch.zone) != vswitch.zone:
        raise Refusal("InvalidParameter.Mismatch", "Specified virtual switch is not in the specified zone.")


def _disk_gib(call: RpcCall, image: Image) -> int:
    smallest = max(MIN_DISK_GIB, image.disks[0].size_gib)
    text = call.get("SystemDisk.Size")
    if not text:
        return max(40, smallest)
    if not text.isdecimal() or int(text) > DISK_CATEGORIES[call.get("SystemDisk.Category", "cloud_efficiency")][1]:
        raise Refusal("InvalidSystemDiskSize.ValueNotSupported")
    if int(text) < image.disks[0].size_gib:
        raise Refusal("InvalidSystemDiskSize.LessThanImageSize")
    if int(text) < MIN_DISK_GIB:
        raise Refusal("InvalidSystemDiskSize.LessThanMinSize")
    return int(text)


def _check_stock(call: RpcCall, kind: InstanceType, region: str, *, amount: int) -> None:
    settings = call.state.settings
    if kind.id in settings.instance_types_sold_out:
        raise Refusal("OperationDenied.NoStock")
    if len(owned(call.state.part(Ecs).instances, call.account_id, region)) + amount > settings.instances_per_region:
        raise Refusal("QuotaExceed.ElasticQuota")


def _no_guest(call: RpcCall, image: Image, kind: InstanceType, *, amount: int) -> str | None:
    """Return the reason why an instance has no guest, an empty string if none is requested, None if it has one.

    Refuses with OperationDenied.NoStock if `guests_at_once` guests run.
    """
    if call.state.settings.instance_console != GUEST:
        return ""
    reason = host.unsupported_reason(image, kind)
    if not reason and call.state.part(Host).running + amount > call.state.settings.guests_at_once:
        limit = call.state.settings.guests_at_once
        raise Refusal("OperationDenied.NoStock", f"The sandbox runs {limit} guests at once (guests_at_once).")
    return reason or None


def _start(
    call: RpcCall,
    region: str,
    image: Image,
    kind: InstanceType,
    *,
    disk_gib: int,
    auto_release_s: float | None,
    no_guest: str | None,
) -> Instance:
    ecs = call.state.part(Ecs)
    instance_id = ecs.new_id("i")
    scripted = "boots" if no_guest else call.state.settings.instance_console
    made = Instance(
        id=instance_id,
        account_id=call.account_id,
        region=region,
        zone=catalog.vswitch(region, call.get("VSwitchId")).zone,
        image_id=image.id,
        instance_type=kind.id,
        vswitch_id=call.get("VSwitchId"),
        security_group_id=call.get("SecurityGroupId"),
        name=call.get("InstanceName", instance_id),
        os_type=image.os_type,
        disk_category=call.get("SystemDisk.Category", "cloud_efficiency"),
        disk_gib=disk_gib,
        spot_strategy=call.get("SpotStrategy", "NoSpot"),
        resource_group=call.get("ResourceGroupId"),
        created_s=call.state.clock.now_s(),
        auto_release_s=auto_release_s,
        console=scripted,
        no_guest=no_guest or "",
        image=image if no_guest is None else None,
        user_data=call.get("UserData"),
        tags=rules.tags_of(call, duplicate="Duplicate.TagKey"),
    )
    ecs.instances[made.id] = made
    call.state.part(Host).guest_of(made)
    return made


def refresh(state: State) -> None:
    """Update images and tasks to the present time, and release instances after their AutoReleaseTime."""
    engine.refresh(state)
    instances, now_s = state.part(Ecs).instances, state.clock.now_s()
    for instance in list(instances.values()):
        if instance.auto_release_s is not None and instance.auto_release_s <= now_s:
            del instances[instance.id]


def status_of(state: State, instance: Instance) -> str:
    """Return the status of an instance at the present time."""
    age_s, settings = state.clock.now_s() - instance.created_s, state.settings
    if age_s < settings.instance_pending_s:
        return "Pending"
    if age_s < settings.instance_pending_s + settings.instance_start_s:
        return "Starting"
    guest = state.part(Host).guest_of(instance)
    return "Stopped" if guest is not None and guest.ended.is_set() else "Running"


def describe_instances(call: RpcCall) -> dict[str, Value]:
    """DescribeInstances: the instances of an account in a region, newest first."""
    region = region_of(call)
    refresh(call.state)
    ids, tags = rules.json_ids(call, "InstanceIds", "InvalidParameter"), rules.tag_filter(call)
    status = call.choice("Status", STATUSES, "InvalidStatus.NotFound")
    equal = {"image_id": "ImageId", "zone": "ZoneId", "vswitch_id": "VSwitchId", "instance_type": "InstanceType"}
    required = {field: call.get(name) for field, name in equal.items() if call.get(name)}
    name = call.get("InstanceName")
    found = [
        each
        for each in owned(call.state.part(Ecs).instances, call.account_id, region)
        if (not ids or each.id in ids)
        and (not status or status_of(call.state, each) == status)
        and (not name or (name.strip("*") in each.name if "*" in name else name == each.name))
        and all(getattr(each, field) == value for field, value in required.items())
        and rules.has_tags(each.tags, tags)
    ]
    call.end_dry_run()
    return rules.paged(call, "Instances", "Instance", found, lambda each: _shown(call.state, each))


def _shown(state: State, each: Instance) -> Value:
    kind = catalog.instance_type(each.instance_type)
    released = "" if each.auto_release_s is None else utc_minutes(each.auto_release_s)
    vpc_id = catalog.vswitch(each.region, each.vswitch_id).vpc_id
    network: dict[str, Value] = {
        "VpcId": vpc_id,
        "VSwitchId": each.vswitch_id,
        "PrivateIpAddress": {"IpAddress": ["192.0.2.10"]},
        "NatIpAddress": "",
    }
    return {
        "InstanceId": each.id,
        "InstanceName": each.name,
        "HostName": each.id,
        "Description": "",
        "ImageId": each.image_id,
        "RegionId": each.region,
        "ZoneId": each.zone,
        "InstanceType": each.instance_type,
        "InstanceTypeFamily": kind.family,
        "Cpu": kind.cores,
        "CPU": kind.cores,
        "Memory": kind.memory_gib * 1024,
        "Status": status_of(state, each),
        "OSType": each.os_type,
        "CreationTime": utc_minutes(each.created_s),
        "StartTime": utc_minutes(each.created_s),
        "AutoReleaseTime": released,
        "ExpiredTime": "2099-12-31T15:59Z",
        "InstanceChargeType": "PostPaid",
        "SpotStrategy": each.spot_strategy,
        "InstanceNetworkType": "vpc",
        "InternetMaxBandwidthOut": 0,
        "IoOptimized": True,
        "DeletionProtection": False,
        "ResourceGroupId": each.resource_group,
        "SecurityGroupIds": {"SecurityGroupId": [each.security_group_id]},
        "VpcAttributes": network,
        "PublicIpAddress": {"IpAddress": []},
        "OperationLocks": {"LockReason": []},
        "Tags": rules.shown_tags(each.tags),
    }


def describe_instance_status(call: RpcCall) -> dict[str, Value]:
    """DescribeInstanceStatus."""
    region = region_of(call)
    refresh(call.state)
    ids = call.numbered("InstanceId").values()
    found = [
        each
        for each in owned(call.state.part(Ecs).instances, call.account_id, region)
        if (not ids or each.id in ids) and call.get("ZoneId", each.zone) == each.zone
    ]
    return rules.paged(
        call,
        "InstanceStatuses",
        "InstanceStatus",
        found,
        lambda each: {"InstanceId": each.id, "Status": status_of(call.state, each)},
        high=50,
    )


def get_instance_console_output(call: RpcCall) -> dict[str, Value]:
    """GetInstanceConsoleOutput: the output of the guest, or a scripted console; empty until the instance runs."""
    each = _instance_with_console(call)
    is_plain = call.flag("RemoveSymbols")
    if each.os_type == "windows":
        raise Refusal("NotSupported", "Console output of Windows instances is not supported.")
    settings, now_s = call.state.settings, call.state.clock.now_s()
    ready_s = each.created_s + settings.instance_pending_s + settings.instance_start_s
    guest = call.state.part(Host).guest_of(each)
    if now_s < ready_s + settings.console_lag_s:
        output, updated_s = b"", each.created_s
    elif guest is None:
        output, updated_s = console(each.console, reason=each.no_guest).encode(), ready_s
    else:
        output, updated_s = guest.console(now_s=now_s, lag_s=settings.console_lag_s, is_plain=is_plain)
    return {
        "InstanceId": each.id,
        "ConsoleOutput": base64.b64encode(output).decode(),
        "LastUpdateTime": datetime.fromtimestamp(updated_s, _BEIJING).strftime("%Y-%m-%d %H:%M:%S"),
    }


def get_instance_screenshot(call: RpcCall) -> dict[str, Value]:
    """GetInstanceScreenshot: the screen of the guest, or a picture with a notice; once in ten seconds."""
    each = _instance_with_console(call)
    call.flag("WakeUp")
    if status_of(call.state, each) != "Running":
        raise Refusal("IncorrectInstanceStatus", "The instance is not running.", status=405)
    now_s = call.state.clock.now_s()
    if each.screenshot_s is not None and now_s - each.screenshot_s < SCREENSHOT_INTERVAL_S:
        raise Refusal("Throttling", status=429)
    guest = call.state.part(Host).guest_of(each)
    picture = None if guest is None else guest.screenshot()
    if guest is not None and picture is None:
        raise Refusal("IncorrectInstanceStatus", "The guest has no screen yet.", status=405)
    call.state.part(Ecs).instances[each.id] = replace(each, screenshot_s=now_s)
    return {"InstanceId": each.id, "Screenshot": base64.b64encode(picture).decode() if picture else SCREEN}


def _instance_with_console(call: RpcCall) -> Instance:
    """Return the instance of a call for a console or a screenshot. Refuses a type without them, and dry runs."""
    region, instance_id = region_of(call), call.required("InstanceId")
    refresh(call.state)
    mine = owned(call.state.part(Ecs).instances, call.account_id, region)
    each = next((each for each in mine if each.id == instance_id), None)
    if each is None:
        raise Refusal("InvalidParameter", "InstanceId", status=404)
    if not catalog.instance_type(each.instance_type).console:
        raise Refusal("NotSupported", "The instance type does not support this operation.")
    call.end_dry_run()
    return each


def delete_instance(call: RpcCall) -> dict[str, Value]:
    """DeleteInstance: delete an instance with its disk and its guest. A running instance needs Force."""
    # The region is optional in this call, because the id is unique.
    refresh(call.state)
    each = call.state.part(Ecs).instances.get(call.required("InstanceId"))
    force = call.flag("Force")
    call.flag("ForceStop")
    if each is None or each.account_id != call.account_id or call.get("RegionId", each.region) != each.region:
        raise Refusal("InvalidInstanceId.NotFound")
    status = status_of(call.state, each)
    if status == "Pending":
        raise Refusal("IncorrectInstanceStatus.Initializing")
    if not force and status != "Stopped":
        raise Refusal("IncorrectInstanceStatus", "The current status of the resource does not support this operation.")
    call.end_dry_run()
    del call.state.part(Ecs).instances[each.id]
    return {}
