"""Choice of the instance of a boot test: the smallest one that starts the image and that ECS would start now."""

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from aliyun_import.boot.run import DEFAULT_TIMEOUT_S
from aliyun_import.context import Context
from aliyun_import.errors import InstanceTypeUnavailable, RefusedError
from aliyun_import.model.arguments import check_fields, require_positive
from aliyun_import.model.boot import BOOT_TEST_TAG, InstanceCall, InstanceType, SecurityGroup, SystemDisk, VSwitch
from aliyun_import.model.image import Image
from aliyun_import.services import ImageService, InstanceService

# AutoReleaseTime is at least 30 minutes from now, and its seconds are cut off; the rest is for starting and deleting.
_MIN_DURATION_S = 45 * 60.0
_MARGIN_S = 20 * 60.0
_MAX_TYPES = 3
# Local disks, GPUs and bare metal cost much and boot slowly.
_AVOIDED_FAMILIES = ("ecs.ebm", "ecs.gn", "ecs.vgn", "ecs.sgn", "ecs.ga", "ecs.f", "ecs.i", "ecs.d", "ecs.scc")
_CATEGORIES = ("cloud_essd", "cloud_auto", "cloud_essd_entry", "cloud_efficiency", "cloud_ssd")
_TIME_FORMAT = "%Y-%m-%dT%H:%M:00Z"
# RAM decides about a call before ECS looks for its image, so that a dry run with none shows whether instances may be
# started at all. (Not proven on a real account: if ECS looked first, the dry run would show nothing.)
_NO_IMAGE = "m-00000000000000000000"
Network = TypeVar("Network", VSwitch, SecurityGroup)


@dataclass(frozen=True, slots=True)
class _NetworkResource:
    """Names and commands of a kind of network resource, for messages."""

    name: str
    plural: str
    option: str
    tag_command: str


_VSWITCH = _NetworkResource(
    "vSwitch",
    "vSwitches",
    "--vswitch",
    "aliyun vpc TagResources --ResourceType VSWITCH --ResourceId.1 VSWITCH_ID",
)
_GROUP = _NetworkResource(
    "security group",
    "security groups",
    "--security-group",
    "aliyun ecs TagResources --ResourceType securitygroup --ResourceId.1 SECURITY_GROUP_ID",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudBootOptions:
    """Options of the boot test of an image: network of the instance, timeout and files.

    Without a vSwitch, or a security group, it is the one with the tag `import-boot-test`, if there is only one. The
    vSwitch decides on the zone. `log` is a file for the console, `screen` one for a picture of the screen (JPEG).
    """

    vswitch_id: str | None = None
    security_group_id: str | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S
    log: Path | None = None
    screen: Path | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        require_positive("timeout_s", self.timeout_s)

    @property
    def longest_life_s(self) -> float:
        """Return how long the instance may exist at most: ECS releases it then."""
        return max(_MIN_DURATION_S, self.timeout_s + _MARGIN_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceOffer:
    """The instance that a boot test is about to start, at the cost of the account.

    `image_id` is empty before the import: the type is then the one that is expected.
    """

    image_id: str
    instance_type: InstanceType
    zone: str
    disk: SystemDisk
    disk_gib: int
    longest_life_s: float
    vswitch_id: str
    security_group_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """Services of a boot test. `deleting`, with its context, deletes the instance and is never cancelled."""

    images: ImageService
    instances: InstanceService
    context: Context
    deleting: InstanceService
    deleting_context: Context
    region: str


Confirm = Callable[[InstanceOffer], None]


def choose_instance(image_id: str, options: CloudBootOptions, cloud: Cloud, confirm: Confirm) -> InstanceCall:
    """Return the call for the smallest instance that the image can start on, which ECS would accept now."""
    image = _startable(cloud.images.image(image_id), image_id)
    network = network_of(options, cloud)
    offers = _offers(options, cloud, network, cloud.instances.instance_types(image_id), size_gib=image.size_gib)
    none = _none_in_stock(network[0].zone, f"the image {image_id}")
    offer = replace(_accepted(offers, image_id, cloud, none=none), image_id=image_id)
    confirm(offer)
    cloud.context.check_cancelled()
    # The user may have taken long to answer, so the release time is set again.
    return _call(offer, cloud)


def expected_offer(
    options: CloudBootOptions, cloud: Cloud, *, architecture: str, has_nvme: bool, size_gib: int | None
) -> InstanceOffer:
    """Return the instance that an image is expected to be tested with, before the image exists.

    Raises what ECS and VPC refuse already: the network, the stock, the right to start instances. Which types start an
    image, by its boot mode for example, is known once it exists.
    """
    network = network_of(options, cloud)
    types = tuple(one for one in cloud.instances.small_types(architecture) if has_nvme or not one.needs_nvme)
    offers = _offers(options, cloud, network, types, size_gib=size_gib)
    return _accepted(offers, _NO_IMAGE, cloud, none=_none_in_stock(network[0].zone, f"an image for {architecture}"))


def _accepted(
    offers: Iterable[InstanceOffer], image_id: str, cloud: Cloud, *, none: InstanceTypeUnavailable
) -> InstanceOffer:
    """Return the first instance that ECS would start now with an image, by dry runs.

    Raises what ECS refuses: for each of them, the last refusal; `none` where there is nothing to ask about.
    """
    refused = none
    for offer in offers:
        call = _call(replace(offer, image_id=image_id), cloud)
        try:
            cloud.instances.run_instance(replace(call, dry_run=True))
        except InstanceTypeUnavailable as error:
            refused = error
            continue
        except RefusedError as error:
            if image_id != _NO_IMAGE or error.code != "image-missing":
                raise
        return offer
    raise refused


def _offers(
    options: CloudBootOptions,
    cloud: Cloud,
    network: tuple[VSwitch, SecurityGroup],
    types: tuple[InstanceType, ...],
    *,
    size_gib: int | None,
) -> Iterator[InstanceOffer]:
    """Yield the instances that could be started, of the smallest types in stock, the smallest first."""
    vswitch, group = network
    in_stock = cloud.instances.types_in_stock(vswitch.zone)
    for kind in smallest(types, in_stock)[:_MAX_TYPES]:
        disk = system_disk(cloud.instances.system_disks(kind.name, zone=vswitch.zone), size_gib=size_gib or 0)
        if disk is not None:
            yield InstanceOffer(
                image_id="",
                instance_type=kind,
                zone=vswitch.zone,
                disk=disk,
                disk_gib=max(disk.min_gib, size_gib or 0),
                longest_life_s=options.longest_life_s,
                vswitch_id=vswitch.id,
                security_group_id=group.id,
            )


def network_of(options: CloudBootOptions, cloud: Cloud) -> tuple[VSwitch, SecurityGroup]:
    """Return the vSwitch and the security group of an instance: the given ones, or those with the tag of boot tests."""
    vswitches = cloud.instances.vswitches(options.vswitch_id)
    groups = cloud.instances.security_groups(options.security_group_id)
    given = {_VSWITCH: options.vswitch_id, _GROUP: options.security_group_id}
    found = {_VSWITCH: vswitches, _GROUP: groups}
    untagged = [kind for kind in found if not found[kind] and given[kind] is None]
    if untagged:
        raise _none_tagged(untagged, cloud.region)
    vswitch = _only(_VSWITCH, _of_same_vpc(vswitches, groups), options.vswitch_id, region=cloud.region)
    group = _only(_GROUP, _of_same_vpc(groups, vswitches), options.security_group_id, region=cloud.region)
    if vswitch.vpc_id != group.vpc_id:
        raise RefusedError(
            f"The vSwitch {vswitch.id} is in {vswitch.vpc_id}, the security group {group.id} in {group.vpc_id}.",
            code="request-invalid",
            remedy="Pass --vswitch and --security-group of one VPC.",
        )
    return vswitch, group


def _of_same_vpc(found: tuple[Network, ...], others: Iterable[VSwitch | SecurityGroup]) -> tuple[Network, ...]:
    """Return those in a VPC of the others; all of them if none is."""
    vpcs = {one.vpc_id for one in others}
    return tuple(one for one in found if one.vpc_id in vpcs) or found


def _only(kind: _NetworkResource, found: tuple[Network, ...], given: str | None, *, region: str) -> Network:
    if len(found) == 1:
        return found[0]
    if given is not None:
        raise RefusedError(
            f"There is no {kind.name} {given} in {region}.",
            code="request-invalid",
            remedy=f"Pass {kind.option} with the id of a {kind.name} of the region of --region.",
        )
    raise RefusedError(
        f"Several {kind.plural} in {region} have the tag {BOOT_TEST_TAG}: {', '.join(one.id for one in found)}.",
        code="boot-network-missing",
        cause=f"Without {kind.option} a boot test takes the only {kind.name} with this tag.",
        remedy=f"Pass {kind.option}, or leave the tag on one alone.",
    )


def _none_tagged(kinds: list[_NetworkResource], region: str) -> RefusedError:
    names, options = " and no ".join(one.name for one in kinds), " and ".join(one.option for one in kinds)
    tags = " and ".join(f"`{one.tag_command} --Tag.1.Key {BOOT_TEST_TAG} --RegionId {region}`" for one in kinds)
    return RefusedError(
        f"No {names} in {region} has the tag {BOOT_TEST_TAG}.",
        code="boot-network-missing",
        cause=f"Without {options} a boot test takes what has this tag.",
        remedy=f"Pass {options}, or tag one of yours: {tags}.",
    )


def _none_in_stock(zone: str, what: str) -> InstanceTypeUnavailable:
    return InstanceTypeUnavailable(
        f"No instance type that is in stock in {zone} can start {what}.",
        code="instance-type-unavailable",
        remedy="Pass --vswitch with a vSwitch of another zone.",
    )


def _call(offer: InstanceOffer, cloud: Cloud) -> InstanceCall:
    return InstanceCall(
        image_id=offer.image_id,
        instance_type=offer.instance_type.name,
        vswitch_id=offer.vswitch_id,
        security_group_id=offer.security_group_id,
        disk_category=offer.disk.category,
        disk_gib=offer.disk_gib,
        released=_time_of(cloud.context.clock.now_s() + offer.longest_life_s),
        client_token=str(uuid.uuid4()),
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
