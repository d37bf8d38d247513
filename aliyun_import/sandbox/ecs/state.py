"""State of ECS: images, tasks, snapshots, instances, used client tokens; regions and system images."""

import itertools
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, TypeVar

from aliyun_import.sandbox.core.blob_store import Content
from aliyun_import.sandbox.core.records import Table
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.state import State

# The 39 regions of ECS in products.json of the vendor's API metadata, April 2026.
REGIONS = (
    "ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3",
    "ap-southeast-5", "ap-southeast-6", "ap-southeast-7", "cn-beijing", "cn-beijing-finance-1", "cn-chengdu",
    "cn-fuzhou", "cn-guangzhou", "cn-hangzhou", "cn-hangzhou-finance", "cn-heyuan", "cn-heyuan-acdr-1", "cn-hongkong",
    "cn-huhehaote", "cn-nanjing", "cn-qingdao", "cn-shanghai", "cn-shanghai-finance-1", "cn-shenzhen",
    "cn-shenzhen-finance-1", "cn-wuhan-lr", "cn-wulanchabu", "cn-zhangjiakou", "cn-zhengzhou-jva", "cn-zhongwei",
    "eu-central-1", "eu-west-1", "me-central-1", "me-east-1", "na-south-1", "us-east-1", "us-southeast-1", "us-west-1",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ImageDisk:
    """Disk of an image, and the object from which it was read."""

    bucket: str
    key: str
    format: str
    size_gib: int
    snapshot_id: str
    content: Content = field(default_factory=Content)
    """Bytes of the object. They stay available after its removal."""
    encrypted: bool = False
    kms_key: str = ""
    """KMS key of the encryption; empty for the key of the service."""

    @property
    def without_content(self) -> "ImageDisk":
        """Return the disk without its bytes. A task outlives its image and must not keep them."""
        return replace(self, content=Content())


@dataclass(frozen=True, kw_only=True)
class Copy:
    """Progress of a copy of an image."""

    source_id: str
    source_region: str
    duration_s: float
    ending: str
    """finished, failed or stuck."""
    queued_s: float
    """Start of its wait: no slot was free before."""
    started_s: float | None = None
    """Start of the copy; None while it waits."""


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """Parameter of ImportImage that is stored in the image. DescribeImages returns it by the same name if `shown`.

    `values` are the allowed values of ImportImage; without them, `rules` has a function for the parameter. `changes`
    are the allowed values of ModifyImageAttribute; without them, it cannot be changed. Other values are refused with
    `code`, which has a row in `rpc_errors.REFUSALS`; the default serves a parameter whose code is not published. A copy
    of the image has the same value if `copied`, otherwise the default.
    """

    parameter: str
    values: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    code: str = "InvalidParameter"
    shown: bool = True
    copied: bool = True


def _attribute(parameter: str, *, default: str = "", **attribute: Any) -> Any:  # noqa: ANN401 -- as dataclasses.field
    """Return the dataclass field of an attribute. The default is for an image without the parameter."""
    return field(default=default, metadata={"attribute": Attribute(parameter=parameter, **attribute)})


@dataclass(frozen=True, kw_only=True)
class Image:
    """Custom image. `engine.refresh` updates its status during an import or a copy."""

    id: str
    account_id: str
    region: str
    name: str
    description: str = _attribute("Description")
    architecture: str = _attribute("Architecture")
    os_type: str = _attribute("OSType")
    platform: str = _attribute("Platform")
    boot_mode: str = _attribute("BootMode", changes=("BIOS", "UEFI", "UEFI-Preferred"))
    license_type: str = _attribute("LicenseType", changes=("BYOL",))
    resource_group: str = _attribute("ResourceGroupId")
    # The error code of NvmeSupport is not published; this one is named like that of ImdsSupport.
    nvme_support: str = _attribute(
        "Features.NvmeSupport",
        values=("supported", "unsupported"),
        changes=("supported", "unsupported"),
        code="InvalidParameter.FeaturesNvmeSupport",
        default="unsupported",
        copied=False,
    )
    imds_support: str = _attribute(
        "Features.ImdsSupport",
        values=("v1", "v2"),
        changes=("v1", "v2"),
        code="InvalidParameter.FeaturesImdsSupport",
        default="v1",
    )
    detection: str = _attribute("DetectionStrategy", shown=False, copied=False)
    disks: tuple[ImageDisk, ...]
    created_s: float
    tags: Mapping[str, str] = field(default_factory=dict)
    family: str = ""
    owner_alias: str = "self"
    status: str = "Creating"
    percent: int = 0
    remain_s: int = 0
    """Remaining time of its import or copy."""
    ready_s: float | None = None
    """Time at which it became, or becomes, Available."""
    copy: Copy | None = None
    """Progress of the copy; None if the image is not a copy."""
    shared_with: Mapping[str, float] = field(default_factory=dict)
    """Account -> time at which the image was shared with it."""
    launch_permission: str = ""
    """LaunchPermission, which the service allows by invitation only."""

    def usable(self, *, now_s: float, after_s: float) -> bool:
        """Return whether it can be started and copied: `after_s` seconds after it became Available."""
        return self.status in ("Available", "Deprecated") and now_s >= (self.ready_s or 0.0) + after_s


# Name of the field of Image -> its declaration.
ATTRIBUTES: Mapping[str, Attribute] = MappingProxyType(
    {one.name: one.metadata["attribute"] for one in fields(Image) if "attribute" in one.metadata}
)
# Defaults of the attributes that are not copied.
NOT_COPIED: Mapping[str, Any] = MappingProxyType(
    {one.name: one.default for one in fields(Image) if one.name in ATTRIBUTES and not ATTRIBUTES[one.name].copied}
)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Snapshot of a disk of an image."""

    id: str
    account_id: str
    region: str
    name: str
    image_id: str
    size_gib: int
    system: bool
    encrypted: bool
    created_s: float
    tags: Mapping[str, str] = field(default_factory=dict)
    held_until_s: float = 0.0
    """After the deletion of its image, time until which it cannot be deleted."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Times and end of an import or an export, fixed at its start."""

    begins_s: float
    ends_s: float
    ready_after_s: float
    ending: str
    """finished, failed, paused, stuck or unavailable."""
    stops_at_percent: int
    error_code: str
    error_message: str


@dataclass(frozen=True, kw_only=True)
class Export:
    """Destination and format of an export."""

    bucket: str
    prefix: str
    format: str = "RAW"


@dataclass(frozen=True, kw_only=True)
class Task:
    """Task of an import or an export. `engine.refresh` updates its status."""

    id: str
    account_id: str
    region: str
    image_id: str
    created_s: float
    visible_s: float
    outcome: Outcome
    disks: tuple[ImageDisk, ...]
    export: Export | None = None
    """None for an import."""
    status: str = "Waiting"
    percent: int = 0
    finished_s: float | None = None
    error_code: str = ""
    error_message: str = ""

    @property
    def action(self) -> str:
        """Return the TaskAction."""
        return "ExportImage" if self.export else "ImportImage"

    @property
    def running(self) -> bool:
        """Return whether the task can still be cancelled."""
        return self.status in ("Waiting", "Processing")


@dataclass(frozen=True, kw_only=True)
class Instance:
    """Instance. It is removed by DeleteInstance or at its AutoReleaseTime."""

    id: str
    account_id: str
    region: str
    zone: str
    image_id: str
    instance_type: str
    vswitch_id: str
    security_group_id: str
    name: str
    os_type: str
    disk_category: str
    disk_gib: int
    spot_strategy: str
    resource_group: str
    created_s: float
    auto_release_s: float | None
    console: str
    """Console, fixed at the start: guest, or the name of a scripted console."""
    no_guest: str = ""
    """Reason why a requested guest is not possible."""
    image: Image | None = None
    """Image of its guest. The bytes stay available after the deletion of the image."""
    user_data: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    screenshot_s: float | None = None
    """Time of its last screenshot."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """Tags of an account on a vSwitch or a security group of the catalogue."""

    id: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class UsedToken:
    """Used client token: the parameters of the call, and its answer."""

    parameters: Mapping[str, str]
    answer: Mapping[str, Any]


Regional = TypeVar("Regional", Image, Task, Snapshot, Instance)


def owned(table: Mapping[str, Regional], account_id: str, region: str) -> tuple[Regional, ...]:
    """Return the rows of an account in a region, newest first (tables are in the order of insertion)."""
    return tuple(reversed([each for each in table.values() if (each.account_id, each.region) == (account_id, region)]))


class Ecs:
    """State of ECS for all accounts and regions. Callers hold the lock of the state."""

    def __init__(self, state: State) -> None:
        self.images = state.table("images", Table[str, Image])
        self.tasks = state.table("tasks", Table[str, Task])
        self.snapshots = state.table("snapshots", Table[str, Snapshot])
        self.instances = state.table("instances", Table[str, Instance])
        self.networks = state.table("networks", Table[tuple[str, str], Network])
        """(account id, network id) -> its tags, if it was tagged."""
        self.tokens = state.table("tokens", Table[tuple[str, str], UsedToken])
        """(account id, client token) -> its use."""
        # Random, so that ids are unique among all sandboxes: an id in a journal of an earlier sandbox must not match
        # another image.
        self._run_id = secrets.token_hex(8)
        self._numbers = itertools.count(1)

    def new_id(self, kind: str) -> str:
        """Return a new id of a kind (m, t, s, i), unique among all sandboxes and recognisably not real."""
        return f"{kind}-sandbox{self._run_id}{next(self._numbers):06d}"

    def image(self, account_id: str, region: str, image_id: str) -> Image:
        """Return an image of an account. Refuses with InvalidImageId.NotFound."""
        found = self.images.get(image_id)
        if found is None or (found.account_id, found.region) != (account_id, region):
            raise Refusal("InvalidImageId.NotFound")
        return found

    def usable_image(self, account_id: str, region: str, image_id: str) -> Image:
        """Return an own, shared or system image. Refuses with InvalidImageId.NotFound."""
        known = {each.id: each for each in (*self.shared_images(account_id, region), *system_images(region))}
        return known.get(image_id) or self.image(account_id, region, image_id)

    def shared_images(self, account_id: str, region: str) -> tuple[Image, ...]:
        """Return the images that other accounts share with an account, newest first, without private attributes."""
        found = [each for each in self.images.values() if each.region == region and account_id in each.shared_with]
        return tuple(replace(each, owner_alias="others", resource_group="", tags={}) for each in reversed(found))

    def newest_of_family(self, account_id: str, region: str, family: str) -> Image | None:
        """Return the newest Available image of a family, or None.

        The name acs:OWNER:NAME selects the family of another account, of which only shared images are visible.
        """
        known: Iterable[Image] = owned(self.images, account_id, region)
        if family.startswith("acs:"):
            _, owner, family = family.split(":", 2) if family.count(":") > 1 else ("", "", family)
            known = (each for each in self.shared_images(account_id, region) if each.account_id == owner)
        found = [each for each in known if (each.family, each.status) == (family, "Available")]
        return max(found, key=lambda each: each.created_s, default=None)

    def network(self, account_id: str, network_id: str) -> Network:
        """Return the tags of an account on a vSwitch or a security group."""
        return self.networks.get((account_id, network_id)) or Network(id=network_id)

    def add_snapshots(self, image: Image) -> None:
        """Add the snapshots of the disks of a new image."""
        for number, disk in enumerate(image.disks):
            self.snapshots[disk.snapshot_id] = Snapshot(
                id=disk.snapshot_id,
                account_id=image.account_id,
                region=image.region,
                name=f"SnapshotForImage-{image.name}",
                image_id=image.id,
                size_gib=disk.size_gib,
                system=number == 0,
                encrypted=disk.encrypted,
                created_s=image.created_s,
            )


_SYSTEM_IMAGES_CREATED_S = 1_704_067_200.0  # 2024-01-01T00:00:00Z
_SYSTEM_IMAGES = (
    ("aliyun_3_x64_20G_sandbox.vhd", "Aliyun", "x86_64", "BIOS"),
    ("debian_12_arm64_20G_sandbox.vhd", "Debian", "arm64", "UEFI"),
)


def system_images(region: str) -> tuple[Image, ...]:
    """Return the system images of a region. DescribeImages returns them unless ImageOwnerAlias is `self`."""
    return tuple(
        Image(
            id=name,
            account_id="9000000000000000",
            region=region,
            name=name,
            architecture=architecture,
            os_type="linux",
            platform=platform,
            boot_mode=boot_mode,
            nvme_support="supported",
            disks=(ImageDisk(bucket="", key="", format="", size_gib=20, snapshot_id=""),),
            created_s=_SYSTEM_IMAGES_CREATED_S,
            owner_alias="system",
            status="Available",
            percent=100,
        )
        for name, platform, architecture, boot_mode in _SYSTEM_IMAGES
    )
