"""Choice of the instance of a boot test: the smallest on which the image starts, and which ECS would start now."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from aliyun_import.boot.run import DEFAULT_TIMEOUT_S
from aliyun_import.context import Context
from aliyun_import.errors import InstanceTypeUnavailable, RefusedError
from aliyun_import.model.boot import InstanceCall, InstanceType, SystemDisk
from aliyun_import.model.image import Image
from aliyun_import.services.interface import ImageService, InstanceService

# AutoReleaseTime is at least 30 minutes from now, and its seconds are cut off; the rest is for starting and deleting.
_MIN_LIFE_S = 45 * 60.0
_MARGIN_S = 20 * 60.0
_MAX_TYPES = 3
# Local disks, GPUs and bare metal cost much and boot slowly.
_AVOIDED_FAMILIES = ("ecs.ebm", "ecs.gn", "ecs.vgn", "ecs.sgn", "ecs.ga", "ecs.f", "ecs.i", "ecs.d", "ecs.scc")
_CATEGORIES = ("cloud_essd", "cloud_auto", "cloud_essd_entry", "cloud_efficiency", "cloud_ssd")
_TIME_FORMAT = "%Y-%m-%dT%H:%M:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudBootOptions:
    """How an image is tested: the network of the instance, and the longest time of the boot.

    The vSwitch decides on the zone. `log` is a file for the console, `screen` one for a picture of the screen (JPEG).
    """

    vswitch_id: str
    security_group_id: str
    timeout_s: float = DEFAULT_TIMEOUT_S
    log: Path | None = None
    screen: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceOffer:
    """The instance that a boot test is about to start, at the cost of the account."""

    image_id: str
    instance_type: InstanceType
    zone: str
    disk: SystemDisk
    disk_gib: int
    longest_life_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """What a boot test works with. `ending` and its context delete the instance, and are not cancelled."""

    images: ImageService
    instances: InstanceService
    context: Context
    ending: InstanceService
    ending_context: Context


Confirm = Callable[[InstanceOffer], None]


def choose(image_id: str, options: CloudBootOptions, cloud: Cloud, confirm: Confirm) -> InstanceCall:
    """Return the call for the smallest instance that the image can start on, which ECS would accept now."""
    image = _startable(cloud.images.image(image_id), image_id)
    zone = cloud.instances.zone_of(options.vswitch_id)
    if zone is None:
        raise RefusedError(
            f"There is no vSwitch {options.vswitch_id} in this region.",
            code="request-invalid",
            remedy="Pass --vswitch with the id of a vSwitch of the region of --region.",
        )
    in_stock = cloud.instances.types_in_stock(zone)
    types = smallest(cloud.instances.instance_types(image_id), in_stock)
    life_s = max(_MIN_LIFE_S, options.timeout_s + _MARGIN_S)
    refused: InstanceTypeUnavailable | None = None
    for kind in types[:_MAX_TYPES]:
        disk = system_disk(cloud.instances.system_disks(kind.name, zone=zone), size_gib=image.size_gib or 0)
        if disk is None:
            continue
        call = InstanceCall(
            image_id=image_id,
            instance_type=kind.name,
            vswitch_id=options.vswitch_id,
            security_group_id=options.security_group_id,
            disk_category=disk.category,
            disk_gib=max(disk.min_gib, image.size_gib or 0),
            released=_time_of(cloud.context.clock.now_s() + life_s),
            client_token=str(uuid.uuid4()),
        )
        try:
            cloud.instances.run_instance(replace(call, dry_run=True))
        except InstanceTypeUnavailable as error:
            refused = error
            continue
        confirm(
            InstanceOffer(
                image_id=image_id,
                instance_type=kind,
                zone=zone,
                disk=disk,
                disk_gib=call.disk_gib,
                longest_life_s=life_s,
            )
        )
        cloud.context.check_cancelled()
        # An answer may have taken long: the life begins now.
        return replace(call, released=_time_of(cloud.context.clock.now_s() + life_s))
    raise refused or InstanceTypeUnavailable(
        f"No instance type that is in stock in {zone} can start the image {image_id}.",
        code="instance-type-unavailable",
        remedy="Pass --vswitch with a vSwitch of another zone.",
    )


def _startable(image: Image | None, image_id: str) -> Image:
    if image is None:
        raise RefusedError(
            f"The image {image_id} does not exist in this region.",
            code="image-missing",
            remedy="Check the id and --region.",
        )
    if not image.status.usable:
        raise RefusedError(
            f"The image {image_id} is {image.status}, and can't be started.",
            code="image-state",
            remedy="Wait until the image is Available, then run the same command again.",
        )
    return image


def smallest(types: tuple[InstanceType, ...], in_stock: frozenset[str]) -> list[InstanceType]:
    """Return the types that are in stock, the smallest first. Families of special hardware are left out."""
    found = [one for one in types if one.name in in_stock and not one.name.startswith(_AVOIDED_FAMILIES)]
    return sorted(found, key=lambda one: (one.processors, one.memory_gib, one.name))


def system_disk(disks: tuple[SystemDisk, ...], *, size_gib: int) -> SystemDisk | None:
    """Return the category of system disk for a size, None if there is none."""
    fitting = {one.category: one for one in disks if one.max_gib >= size_gib}
    known = next((fitting[category] for category in _CATEGORIES if category in fitting), None)
    return known or next(iter(fitting.values()), None)


def _time_of(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime(_TIME_FORMAT)
