"""State of ECS: images, import tasks, snapshots, used client tokens; regions and system images."""

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

# The vendor's API metadata of April 2026, products.json: the 39 regions of ECS. Only some names were to be had.
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
    """One disk of an image, and the object that it was read from."""

    bucket: str
    key: str
    format: str
    size_gib: int
    snapshot_id: str
    content: Content = field(default_factory=Content)
    """The bytes, which outlive the object."""
    encrypted: bool = False
    kms_key: str = ""
    """The key that it is encrypted with; empty for the key of the service."""

    @property
    def without_content(self) -> "ImageDisk":
        """Return it without its bytes, for what outlives the image: a task must not keep them."""
        return replace(self, content=Content())


@dataclass(frozen=True, kw_only=True)
class Copy:
    """The course of a copy of an image; a copy that waits has not started."""

    source_id: str
    source_region: str
    duration_s: float
    ending: str
    """finished, failed or stuck."""
    queued_s: float
    """Since when it waits: no slot was free before."""
    started_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """A parameter of ImportImage whose value the image keeps, and DescribeImages shows by the same name.

    `values` are those of ImportImage, `changes` those of ModifyImageAttribute; others are refused with `code`. Without
    values `rules` has a rule of its own; without changes it can't be changed. A copy of the image keeps the value if
    `copied`, else it has the default.
    """

    parameter: str
    values: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    code: str = "InvalidParameter"
    shown: bool = True
    copied: bool = True


def _kept(parameter: str, *, default: str = "", **attribute: Any) -> Any:  # noqa: ANN401 -- as dataclasses.field
    """Return the field of an attribute; an image without the parameter has the default."""
    return field(default=default, metadata={"attribute": Attribute(parameter=parameter, **attribute)})


@dataclass(frozen=True, kw_only=True)
class Image:
    """A custom image. Its status during an import or a copy is set by `engine.refresh`."""

    id: str
    account_id: str
    region: str
    name: str
    description: str = _kept("Description")
    architecture: str = _kept("Architecture")
    os_type: str = _kept("OSType")
    platform: str = _kept("Platform")
    boot_mode: str = _kept("BootMode", changes=("BIOS", "UEFI", "UEFI-Preferred"))
    license_type: str = _kept("LicenseType", changes=("BYOL",))
    resource_group: str = _kept("ResourceGroupId")
    # The error code of NvmeSupport is not published; this one follows that of ImdsSupport.
    nvme_support: str = _kept(
        "Features.NvmeSupport",
        values=("supported", "unsupported"),
        changes=("supported", "unsupported"),
        code="InvalidParameter.FeaturesNvmeSupport",
        default="unsupported",
        copied=False,
    )
    imds_support: str = _kept(
        "Features.ImdsSupport",
        values=("v1", "v2"),
        changes=("v1", "v2"),
        code="InvalidParameter.FeaturesImdsSupport",
        default="v1",
    )
    detection: str = _kept("DetectionStrategy", shown=False, copied=False)
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
    """When it became, or becomes, Available."""
    copy: Copy | None = None
    """How it was made, if it is a copy."""
    shared_with: Mapping[str, float] = field(default_factory=dict)
    """Account -> when the image was shared with it."""
    launch_permission: str = ""
    """LaunchPermission, which is by invitation only."""

    def usable(self, *, now_s: float, after_s: float) -> bool:
        """Return whether it can be started and copied: so long after it became Available."""
        return self.status in ("Available", "Deprecated") and now_s >= (self.ready_s or 0.0) + after_s


# Name of the field of Image -> its declaration.
ATTRIBUTES: Mapping[str, Attribute] = MappingProxyType(
    {one.name: one.metadata["attribute"] for one in fields(Image) if "attribute" in one.metadata}
)
# What a copy has in place of the values that it does not keep.
NOT_COPIED: Mapping[str, Any] = MappingProxyType(
    {one.name: one.default for one in fields(Image) if one.name in ATTRIBUTES and not ATTRIBUTES[one.name].copied}
)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The snapshot of one disk of an image."""

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
    """Until when it can't be deleted after its image was."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The course of an import, fixed when it starts."""

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
    """Where an export writes the disks of an image."""

    bucket: str
    prefix: str
    format: str = "RAW"


@dataclass(frozen=True, kw_only=True)
class Task:
    """The task of an import or an export. Its status is set by `engine.refresh`."""

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
    """An instance. It is removed when it is deleted, or when its AutoReleaseTime is past."""

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
    """The console that it shows, fixed when it starts: guest, or the name of a scripted one."""
    no_guest: str = ""
    """Why it has no guest though one was asked for."""
    image: Image | None = None
    """The image that its guest runs, whose bytes outlive the image."""
    user_data: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    screenshot_s: float | None = None
    """When its last screenshot was taken."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """What an account has of a vSwitch or a security group: its tags; the rest is the catalogue's."""

    id: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class UsedToken:
    """A client token that was used: the parameters, and the answer to them."""

    parameters: Mapping[str, str]
    answer: Mapping[str, Any]


Regional = TypeVar("Regional", Image, Task, Snapshot, Instance)


def owned(table: Mapping[str, Regional], account_id: str, region: str) -> tuple[Regional, ...]:
    """Return the rows of an account in a region, newest first: a table keeps the order of insertion."""
    return tuple(reversed([each for each in table.values() if (each.account_id, each.region) == (account_id, region)]))


class Ecs:
    """The images and tasks of all accounts and regions. Every use holds the state's lock."""

    def __init__(self, state: State) -> None:
        self.images = state.table("images", Table[str, Image])
        self.tasks = state.table("tasks", Table[str, Task])
        self.snapshots = state.table("snapshots", Table[str, Snapshot])
        self.instances = state.table("instances", Table[str, Instance])
        self.networks = state.table("networks", Table[tuple[str, str], Network])
        """By account and id: the tagged ones."""
        self.tokens = state.table("tokens", Table[tuple[str, str], UsedToken])
        """By account and client token."""
        # Random, so that no id of one sandbox is ever one of another: a client that keeps ids (a journal) must not find
        # a different image under an id that it knows.
        self._run = secrets.token_hex(8)
        self._numbers = itertools.count(1)

    def new_id(self, kind: str) -> str:
        """Return a new id of a kind (m, t, s), unique among all sandboxes and recognisable as not real."""
        return f"{kind}-sandbox{self._run}{next(self._numbers):06d}"

    def image(self, account_id: str, region: str, image_id: str) -> Image:
        """Return an image; refuses with InvalidImageId.NotFound."""
        found = self.images.get(image_id)
        if found is None or (found.account_id, found.region) != (account_id, region):
            raise Refusal("InvalidImageId.NotFound")
        return found

    def usable_image(self, account_id: str, region: str, image_id: str) -> Image:
        """Return an image that an account can start: its own, a shared one or the system's; refuses like `image`."""
        known = {each.id: each for each in (*self.shared_images(account_id, region), *system_images(region))}
        return known.get(image_id) or self.image(account_id, region, image_id)

    def shared_images(self, account_id: str, region: str) -> tuple[Image, ...]:
        """Return the images that other accounts share with an account, as it sees them."""
        found = [each for each in self.images.values() if each.region == region and account_id in each.shared_with]
        return tuple(replace(each, owner_alias="others", resource_group="", tags={}) for each in reversed(found))

    def newest_of_family(self, account_id: str, region: str, family: str) -> Image | None:
        """Return the newest Available image of a family, which stands for it.

        That of another account is acs:OWNER:NAME, and has its shared images alone.
        """
        known: Iterable[Image] = owned(self.images, account_id, region)
        if family.startswith("acs:"):
            _, owner, family = family.split(":", 2) if family.count(":") > 1 else ("", "", family)
            known = (each for each in self.shared_images(account_id, region) if each.account_id == owner)
        found = [each for each in known if (each.family, each.status) == (family, "Available")]
        return max(found, key=lambda each: each.created_s, default=None)

    def network(self, account_id: str, network_id: str) -> Network:
        """Return a vSwitch or a security group of an account, with its tags."""
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
    """Return the system images of a region. A client that does not ask for its own images alone gets them, too."""
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
