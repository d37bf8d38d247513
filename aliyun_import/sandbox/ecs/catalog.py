"""Catalogue of a region: zones, instance types and their stock, networks; compatibility of images with instance types.

The catalogue is small. Each type has one property that a client must respect. Names and sizes are those of real types,
but the boot modes and disk interfaces of real types can differ. Each account has a VPC with a vSwitch in each zone and
a security group, and a second VPC with another security group, because the sandbox does not create networks. Of VPC,
the sandbox supports only lists and tags of vSwitches.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from aliyun_import.sandbox.core.rpc import RpcCall, Value
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.ecs.rules import has_tags, paged, region_of, shown_tags, tag_filter
from aliyun_import.sandbox.ecs.state import REGIONS, Ecs, Image
from aliyun_import.sandbox.importer import engine

MAX_CORES = 1024
ZONES = ("a", "b")
VPC_VERSION = "2016-04-28"
# Category -> smallest and largest system disk in GiB.
DISK_CATEGORIES = {"cloud_efficiency": (20, 2048), "cloud_essd": (20, 2048), "cloud_auto": (20, 2048)}
LANGUAGES = ("zh-CN", "en-US", "ja")
# Regions that the vendor announced to be closed: DescribeRegions omits them, other calls accept them.
_CLOSED = frozenset({"ap-south-1", "ap-southeast-2"})
# Region -> name in Chinese, the default, and in English. The name of other regions is the id. No source for Japanese
# names was found: `ja` returns the English names.
_NAMES: Mapping[str, tuple[str, str]] = MappingProxyType({
    "cn-qingdao": ("华北1（青岛）", "China (Qingdao)"),
    "cn-beijing": ("华北2（北京）", "China (Beijing)"),
    "cn-zhangjiakou": ("华北3（张家口）", "China (Zhangjiakou)"),
    "cn-huhehaote": ("华北5（呼和浩特）", "China (Hohhot)"),
    "cn-wulanchabu": ("华北6（乌兰察布）", "China (Ulanqab)"),
    "cn-hangzhou": ("华东1（杭州）", "China (Hangzhou)"),
    "cn-shanghai": ("华东2（上海）", "China (Shanghai)"),
    "cn-shenzhen": ("华南1（深圳）", "China (Shenzhen)"),
    "cn-heyuan": ("华南2（河源）", "China (Heyuan)"),
    "cn-guangzhou": ("华南3（广州）", "China (Guangzhou)"),
    "cn-chengdu": ("西南1（成都）", "China (Chengdu)"),
    "cn-hongkong": ("中国香港", "China (Hong Kong)"),
    "ap-northeast-1": ("日本（东京）", "Japan (Tokyo)"),
    "ap-northeast-2": ("韩国（首尔）", "South Korea (Seoul)"),
    "ap-southeast-1": ("新加坡", "Singapore"),
    "ap-southeast-3": ("马来西亚（吉隆坡）", "Malaysia (Kuala Lumpur)"),
    "ap-southeast-5": ("印度尼西亚（雅加达）", "Indonesia (Jakarta)"),
    "ap-southeast-6": ("菲律宾（马尼拉）", "Philippines (Manila)"),
    "ap-southeast-7": ("泰国（曼谷）", "Thailand (Bangkok)"),
    "eu-central-1": ("德国（法兰克福）", "Germany (Frankfurt)"),
    "eu-west-1": ("英国（伦敦）", "UK (London)"),
    "me-central-1": ("沙特（利雅得）", "Saudi Arabia (Riyadh)"),
    "me-east-1": ("阿联酋（迪拜）", "UAE (Dubai)"),
    "na-south-1": ("墨西哥", "Mexico"),
    "us-east-1": ("美国（弗吉尼亚）", "US (Virginia)"),
    "us-southeast-1": ("美国（亚特兰大）", "US (Atlanta)"),
    "us-west-1": ("美国（硅谷）", "US (Silicon Valley)"),
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class InstanceType:
    """Instance type, and its requirements for images."""

    id: str
    cores: int
    memory_gib: int
    architecture: str = "x86_64"
    boot_modes: tuple[str, ...] = ("BIOS", "UEFI")
    nvme: str = "supported"
    """required, supported or unsupported."""
    console: bool = True
    """Whether console output and screenshots are supported."""

    @property
    def family(self) -> str:
        """Return the family: ecs.g6 of ecs.g6.large."""
        return self.id.rpartition(".")[0]


INSTANCE_TYPES = (
    InstanceType(id="ecs.t6-c1m1.large", cores=2, memory_gib=2, boot_modes=("BIOS",), nvme="unsupported"),
    InstanceType(id="ecs.g6.large", cores=2, memory_gib=8, boot_modes=("BIOS",), nvme="unsupported"),
    InstanceType(id="ecs.g7.large", cores=2, memory_gib=8),
    InstanceType(id="ecs.g9i.large", cores=2, memory_gib=8, nvme="required"),
    InstanceType(id="ecs.g8y.large", cores=2, memory_gib=8, architecture="arm64", boot_modes=("UEFI",)),
    InstanceType(id="ecs.ebmg7.32xlarge", cores=128, memory_gib=512, console=False),
)


@dataclass(frozen=True, kw_only=True)
class VSwitch:
    """vSwitch of the catalogue."""

    id: str
    vpc_id: str
    zone: str


def zones(region: str) -> tuple[str, ...]:
    """Return the zones of a region."""
    return tuple(f"{region}-{zone}" for zone in ZONES)


def vswitches(region: str) -> tuple[VSwitch, ...]:
    """Return the vSwitches of every account: one per zone, and one of the second VPC."""
    here = zones(region)
    return (
        *(VSwitch(id=f"vsw-sandbox-{zone}", vpc_id=f"vpc-sandbox-{region}", zone=zone) for zone in here),
        VSwitch(id=f"vsw-sandbox2-{here[0]}", vpc_id=f"vpc-sandbox2-{region}", zone=here[0]),
    )


def security_groups(region: str) -> dict[str, str]:
    """Return the security groups of every account, with their VPCs."""
    return {f"sg-sandbox-{region}": f"vpc-sandbox-{region}", f"sg-sandbox2-{region}": f"vpc-sandbox2-{region}"}


def instance_type(name: str) -> InstanceType:
    """Return an instance type. Refuses with InvalidInstanceType.ValueNotSupported."""
    for known in INSTANCE_TYPES:
        if known.id == name:
            return known
    raise Refusal("InvalidInstanceType.ValueNotSupported")


def check_compatible(image: Image, kind: InstanceType) -> None:
    """Refuse an instance type on which the image cannot start."""
    modes = ("BIOS", "UEFI") if image.boot_mode == "UEFI-Preferred" else (image.boot_mode,)
    if kind.architecture != image.architecture.replace("i386", "x86_64") or not set(modes) & set(kind.boot_modes):
        raise Refusal("ImageNotSupportInstanceType")
    if kind.nvme == "required" and image.nvme_support != "supported":
        raise Refusal("InvalidParameter.NotMatch", f"{kind.id} requires NVMe but the image does not support NVMe.")


def starts(image: Image, kind: InstanceType) -> bool:
    """Return whether an image can start on a type."""
    try:
        check_compatible(image, kind)
    except Refusal:
        return False
    return True


def describe_zones(call: RpcCall) -> dict[str, Value]:
    """DescribeZones: the zones of a region, with their resources."""
    region = region_of(call)
    types: list[Value] = [kind.id for kind in INSTANCE_TYPES]
    found: list[Value] = [
        {
            "ZoneId": zone,
            "LocalName": zone,
            "ZoneType": "AvailabilityZone",
            "AvailableInstanceTypes": {"InstanceTypes": types},
            "AvailableDiskCategories": {"DiskCategories": list(DISK_CATEGORIES)},
            "AvailableResourceCreation": {"ResourceTypes": ["VSwitch", "IoOptimized", "Instance", "Disk"]},
        }
        for zone in zones(region)
    ]
    return {"Zones": {"Zone": found}}


def describe_instance_types(call: RpcCall) -> dict[str, Value]:
    """DescribeInstanceTypes: the instance types of the catalogue that match the filters."""
    ids, family = call.numbered("InstanceTypes").values(), call.get("InstanceTypeFamily")
    architecture = call.choice("CpuArchitecture", ("X86", "ARM"), "InvalidParameter")
    nvme = call.choice("NvmeSupport", ("required", "supported", "unsupported"), "InvalidParameter")
    most = call.number("MaximumCpuCoreCount", default=MAX_CORES)
    call.number("MaxResults", default=100, high=100)  # checked only: the catalogue fits on one page
    found: list[Value] = [
        _shown(kind)
        for kind in INSTANCE_TYPES
        if (not ids or kind.id in ids)
        and family in ("", kind.family)
        and architecture in ("", _processor(kind))
        and nvme in ("", kind.nvme)
        and kind.cores <= most
    ]
    return {"InstanceTypes": {"InstanceType": found}, "NextToken": ""}


def _processor(kind: InstanceType) -> str:
    return "ARM" if kind.architecture == "arm64" else "X86"


def _shown(kind: InstanceType) -> dict[str, Value]:
    return {
        "InstanceTypeId": kind.id,
        "InstanceTypeFamily": kind.family,
        "CpuCoreCount": kind.cores,
        "MemorySize": kind.memory_gib,
        "CpuArchitecture": _processor(kind),
        "NvmeSupport": kind.nvme,
        "GPUAmount": 0,
        "GPUSpec": "",
        "InstanceCategory": "General-purpose",
        "SupportedBootModes": {"SupportedBootMode": list(kind.boot_modes)},
    }


def describe_image_support_instance_types(call: RpcCall) -> dict[str, Value]:
    """DescribeImageSupportInstanceTypes: the instance types on which an image can start."""
    region = region_of(call)
    call.choice("ActionType", ("CreateEcs", "ChangeOS"), "InvalidParamter")
    engine.refresh(call.state)
    image = call.state.part(Ecs).usable_image(call.account_id, region, call.required("ImageId"))
    brief = ("InstanceTypeId", "InstanceTypeFamily", "CpuCoreCount", "MemorySize")
    found: list[Value] = [
        {name: _shown(kind)[name] for name in brief} for kind in INSTANCE_TYPES if starts(image, kind)
    ]
    return {"RegionId": region, "ImageId": image.id, "InstanceTypes": {"InstanceType": found}}


def describe_available_resource(call: RpcCall) -> dict[str, Value]:
    """DescribeAvailableResource: the stock of instance types, or the system disks of an instance type, by zone."""
    region = region_of(call)
    resource = call.get("DestinationResource")
    if resource not in ("InstanceType", "SystemDisk"):
        raise Refusal("Invalid.Param" if not resource else "NotImplementedBySandbox", f"DestinationResource={resource}")
    if call.get("InstanceChargeType", "PostPaid") != "PostPaid":
        raise Refusal("NotImplementedBySandbox", "InstanceChargeType of DescribeAvailableResource but PostPaid")
    call.choice("NetworkCategory", ("vpc",), "Invalid.NetworkCategory")
    call.choice("IoOptimized", ("optimized",), "Invalid.IoOptimized")
    sold_out = call.state.settings.instance_types_sold_out
    cores, memory = call.number("Cores", default=0), call.number("Memory", default=0)
    kinds = [
        kind
        for kind in INSTANCE_TYPES
        if call.get("InstanceType", kind.id) == kind.id and cores in (0, kind.cores) and memory in (0, kind.memory_gib)
    ]
    resources = (
        _stock((kind.id, kind.id not in sold_out) for kind in kinds)
        if resource == "InstanceType"
        else _disks(bool(call.get("InstanceType")), [kind for kind in kinds if kind.id not in sold_out])
    )
    found: list[Value] = [
        {
            "RegionId": region,
            "ZoneId": zone,
            "Status": "Available",
            "StatusCategory": "WithStock",
            "AvailableResources": {
                "AvailableResource": [{"Type": resource, "SupportedResources": {"SupportedResource": resources}}]
            },
        }
        for zone in zones(region)
        if call.get("ZoneId", zone) == zone
    ]
    return {"AvailableZones": {"AvailableZone": found}}


def _stock(types: Iterable[tuple[str, bool]]) -> list[Value]:
    return [
        {
            "Value": name,
            "Status": "Available" if in_stock else "SoldOut",
            "StatusCategory": "WithStock" if in_stock else "WithoutStock",
        }
        for name, in_stock in types
    ]


def _disks(named: bool, kinds: list[InstanceType]) -> list[Value]:
    if not named:
        raise Refusal("Invalid.Param", "InstanceType")
    return [
        {"Value": name, "Status": "Available", "StatusCategory": "WithStock", "Min": low, "Max": high, "Unit": "GiB"}
        for name, (low, high) in DISK_CATEGORIES.items()
        if kinds
    ]


def describe_vswitches(call: RpcCall) -> dict[str, Value]:
    """DescribeVSwitches of ECS and of VPC, which adds the tags: the vSwitches of every account."""
    region, tags, ecs = region_of(call), tag_filter(call), call.state.part(Ecs)
    found = [
        each
        for each in vswitches(region)
        if call.get("VSwitchId", each.id) == each.id
        and call.get("VpcId", each.vpc_id) == each.vpc_id
        and call.get("ZoneId", each.zone) == each.zone
        and has_tags(ecs.network(call.account_id, each.id).tags, tags)
    ]

    def shown(each: VSwitch) -> Value:
        in_vpc: dict[str, Value] = {"Tags": shown_tags(ecs.network(call.account_id, each.id).tags)}
        return {**_shown_vswitch(each), **(in_vpc if call.get("Version") == VPC_VERSION else {})}

    return paged(call, "VSwitches", "VSwitch", found, shown, high=50)


def _shown_vswitch(each: VSwitch) -> dict[str, Value]:
    return {
        "VSwitchId": each.id,
        "VpcId": each.vpc_id,
        "ZoneId": each.zone,
        "Status": "Available",
        "CidrBlock": "192.0.2.0/24",
        "AvailableIpAddressCount": 250,
        "VSwitchName": each.id,
        "Description": "",
        "IsDefault": False,
    }


def describe_security_groups(call: RpcCall) -> dict[str, Value]:
    """DescribeSecurityGroups: the security groups of every account, which have no rules for inbound traffic."""
    region, tags, ecs = region_of(call), tag_filter(call), call.state.part(Ecs)
    found = [
        (group, vpc_id)
        for group, vpc_id in security_groups(region).items()
        if call.get("SecurityGroupId", group) == group
        and call.get("VpcId", vpc_id) == vpc_id
        and has_tags(ecs.network(call.account_id, group).tags, tags)
    ]

    def shown(each: tuple[str, str]) -> Value:
        return {
            "SecurityGroupId": each[0],
            "SecurityGroupName": each[0],
            "SecurityGroupType": "normal",
            "VpcId": each[1],
            "Description": "",
            "CreationTime": "2024-01-01T00:00:00Z",
            "Tags": shown_tags(ecs.network(call.account_id, each[0]).tags),
        }

    return paged(call, "SecurityGroups", "SecurityGroup", found, shown) | {"RegionId": region}


def vswitch(region: str, vswitch_id: str) -> VSwitch:
    """Return a vSwitch. Refuses with InvalidVSwitchId.NotFound."""
    for each in vswitches(region):
        if each.id == vswitch_id:
            return each
    raise Refusal("InvalidVSwitchId.NotFound")


def describe_regions(call: RpcCall) -> dict[str, Value]:
    """DescribeRegions: the regions that the account can use. The answer is the same in every region."""
    language = call.get("AcceptLanguage", "zh-CN")
    if language not in LANGUAGES:
        raise Refusal("InvalidAcceptLanguage.NotFound")
    closed = _CLOSED | set(call.state.settings.closed_regions)
    regions: list[Value] = [
        {
            "RegionId": region,
            "RegionEndpoint": _endpoint(call.host, region),
            "LocalName": _NAMES.get(region, (region, region))[language != "zh-CN"],
            "Status": "available",
        }
        for region in REGIONS
        if region not in closed
    ]
    return {"Regions": {"Region": regions}}


def _endpoint(host: str, region: str) -> str:
    """Return the endpoint of a region: the host of the call, so that a client that uses it stays in the sandbox.

    If the host is a name of the service, a hosts file or a proxy redirects it, and the names of other regions too.
    """
    return f"ecs.{region}.aliyuncs.com" if re.search(r"\.aliyuncs\.com(?::\d+)?$", host) else host
