"""Values that describe an import request, with the spelling of ImportImage."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from aliyun_import.model.arguments import check_fields, refuse_argument
from aliyun_import.model.objects import object_url

# ImportImage, Platform, as of November 2026. New names are added, so an unlisted name is no error.
PLATFORMS = (
    "Aliyun", "AlmaLinux", "Anolis", "CentOS", "CentOS Stream", "CoreOS", "Customized Linux", "Debian", "Fedora",
    "Fedora CoreOS", "FreeBSD", "Gentoo", "Kylin", "OpenSUSE", "Other Windows", "Others Linux", "RedHat", "Rocky Linux",
    "SUSE", "UOS", "Ubuntu", "Windows Server 2003", "Windows Server 2008", "Windows Server 2012", "Windows Server 2016",
    "Windows Server 2019", "Windows Server 2022",
)  # fmt: skip


def near_platforms(name: str) -> list[str]:
    """Return up to three listed platforms with similar names, the most similar first."""
    from difflib import get_close_matches

    lower = {platform.lower(): platform for platform in PLATFORMS}
    return [lower[match] for match in get_close_matches(name.lower(), lower, n=3, cutoff=0.5)]


class DiskFormat(StrEnum):
    """Values of DiskDeviceMapping.N.Format of ImportImage."""

    RAW = "RAW"
    VHD = "VHD"
    QCOW2 = "QCOW2"
    VMDK = "VMDK"


class BootMode(StrEnum):
    """BootMode of an image. ImportImage accepts BIOS and UEFI, ModifyImageAttribute also UEFI-Preferred (both)."""

    BIOS = "BIOS"
    UEFI = "UEFI"
    UEFI_PREFERRED = "UEFI-Preferred"

    @property
    def imported_as(self) -> "BootMode":
        """Return the mode for ImportImage: an image with both is imported as BIOS and changed when it is usable."""
        return BootMode.BIOS if self is BootMode.UEFI_PREFERRED else self

    @property
    def started_as(self) -> "BootMode":
        """Return the mode in which an instance of a type with both modes starts."""
        return BootMode.UEFI if self is BootMode.UEFI_PREFERRED else self


class Architecture(StrEnum):
    """Values of Architecture of ImportImage."""

    I386 = "i386"
    X86_64 = "x86_64"
    ARM64 = "arm64"


class OsType(StrEnum):
    """Values of OSType of ImportImage."""

    LINUX = "linux"
    WINDOWS = "windows"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskRequest:
    """One requested disk of an image: a local file, or an existing object in OSS.

    Either `path` is set, or `bucket` and `key`. `format` and `size_gib` are None if they are to be inferred.
    Raises UsageError "argument-invalid".
    """

    path: Path | None = None
    bucket: str | None = None
    key: str | None = None
    format: DiskFormat | None = None
    size_gib: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        in_oss = (self.bucket is not None, self.key is not None)
        if in_oss != ((False, False) if self.path is not None else (True, True)):
            given = [name for name in ("path", "bucket", "key") if getattr(self, name) is not None]
            problem = f"has {', '.join(given) or 'neither path nor key'}"
            refuse_argument("disk", problem, "Pass path for a local file, or bucket and key for an object in OSS.")

    @property
    def url(self) -> str:
        """Return the oss:// URL of an object in OSS."""
        return object_url(self.bucket or "", self.key or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """Declaration of one parameter of ImportImage, from which options, request, checks and docs are derived.

    `name` is the field of ImportParameters, `api` the name in the request ("Features.NvmeSupport" for a member of a
    JSON object), `choices` the values that the service accepts (empty: any text). `inferred` is the source of the value
    if the user gives none; empty if it is not inferred. `off` is the choice that omits the parameter. `rare`: its
    option is in the last panel of the help. `plan_name` is its name in the plan of a dry run.
    """

    name: str
    api: str
    option: str
    help: str
    choices: tuple[str, ...]
    inferred: str
    metavar: str | None
    off: str
    rare: bool
    plan_name: str


def _declared(
    api: str,
    help_text: str,
    *,
    choices: tuple[str, ...] = (),
    inferred: str = "",
    metavar: str | None = None,
    off: str = "",
    rare: bool = False,
    plan_name: str = "",
) -> dict[str, Any]:
    """Return the metadata of a field of ImportParameters. Without `plan_name`: the name of the field."""
    return {
        "api": api, "help": help_text, "choices": choices, "inferred": inferred, "metavar": metavar, "off": off,
        "rare": rare, "plan_name": plan_name,
    }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportParameters:
    """Parameters of ImportImage, each declared once; None if neither given by the user nor inferred.

    Options, request, generic checks, dry run, JSON and docs are derived from the metadata of these fields.
    """

    description: str | None = field(
        default=None, metadata=_declared("Description", "Description of the image, 2-256 characters.")
    )
    architecture: Architecture | None = field(
        default=None,
        metadata=_declared(
            "Architecture",
            "CPU architecture of the guest.",
            choices=tuple(Architecture),
            inferred="the disk",
            plan_name="arch",
        ),
    )
    os_type: OsType | None = field(
        default=None,
        metadata=_declared(
            "OSType",
            "Operating system family of the guest.",
            choices=tuple(OsType),
            inferred="the disk",
            plan_name="os",
        ),
    )
    platform: str | None = field(
        default=None,
        metadata=_declared("Platform", 'Distribution of the guest, e.g. Debian or "Rocky Linux".', inferred="the disk"),
    )
    boot_mode: BootMode | None = field(
        default=None,
        metadata=_declared(
            "BootMode",
            "Firmware that starts the guest; UEFI-Preferred permits both.",
            choices=tuple(BootMode),
            inferred="the disk",
            plan_name="boot",
        ),
    )
    license_type: str | None = field(
        default=None,
        metadata=_declared(
            "LicenseType",
            "Windows license.",
            choices=("Auto", "Aliyun", "BYOL"),
            inferred="Aliyun for Windows",
            plan_name="license",
        ),
    )
    nvme_support: str | None = field(
        default=None,
        metadata=_declared(
            "Features.NvmeSupport",
            "Whether the guest can boot from NVMe disks.",
            choices=("supported", "unsupported"),
            inferred="the disk",
            plan_name="nvme",
        ),
    )
    imds_support: str | None = field(
        default=None,
        metadata=_declared(
            "Features.ImdsSupport", "Version of the instance metadata service.", choices=("v1", "v2"), rare=True
        ),
    )
    detection_strategy: str | None = field(
        default=None,
        metadata=_declared(
            "DetectionStrategy",
            "Free check of the image by the service after the import; none switches it off.",
            choices=("Standard", "none"),
            inferred="Standard where the service checks the platform",
            off="none",
            rare=True,
        ),
    )
    resource_group: str | None = field(
        default=None,
        metadata=_declared("ResourceGroupId", "Resource group of the image.", metavar="rg-...", rare=True),
    )
    storage_location_arn: str | None = field(
        default=None,
        metadata=_declared(
            "StorageLocationArn", "CloudBox that stores the disk.", metavar="arn:acs:cloudbox:...", rare=True
        ),
    )

    def __post_init__(self) -> None:
        check_fields(self)


def parameters() -> tuple[Parameter, ...]:
    """Return the declarations of all parameters, in the order of ImportParameters."""
    return tuple(_parameter(one.name, dict(one.metadata)) for one in fields(ImportParameters))


def _parameter(name: str, metadata: dict[str, Any]) -> Parameter:
    plan_name = metadata.pop("plan_name") or name
    return Parameter(name=name, option=f"--{name.replace('_', '-')}", plan_name=plan_name, **metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest(ImportParameters):
    """Request for an image. disks[0] is the system disk, the rest are data disks. Without `role_name`: the default.

    Without `name` the image is named after the file of the system disk. Text is converted to the Enum of its field;
    UsageError "argument-invalid" is raised for a value that is not of the type.
    """

    region: str
    disks: tuple[DiskRequest, ...]
    name: str = ""
    role_name: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    client_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskMapping:
    """DiskDeviceMapping.N: an object in OSS, its format and the size of the disk."""

    bucket: str
    key: str
    format: DiskFormat | None
    size_gib: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportCall:
    """One complete call of ImportImage: the request with the object of every disk. `dry_run` starts nothing."""

    request: ImportRequest
    mappings: tuple[DiskMapping, ...]
    client_token: str
    tags: Mapping[str, str]
    dry_run: bool = False
