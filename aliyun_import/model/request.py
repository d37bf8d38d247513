"""Values that describe an import request, as ImportImage spells them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class DiskFormat(StrEnum):
    """DiskDeviceMapping.N.Format, as ImportImage spells it."""

    RAW = "RAW"
    VHD = "VHD"
    QCOW2 = "QCOW2"
    VMDK = "VMDK"


class BootMode(StrEnum):
    """BootMode, as ImportImage spells it."""

    BIOS = "BIOS"
    UEFI = "UEFI"


class Architecture(StrEnum):
    """Architecture, as ImportImage spells it."""

    I386 = "i386"
    X86_64 = "x86_64"
    ARM64 = "arm64"


class OsType(StrEnum):
    """OSType, as ImportImage spells it today (lower case)."""

    LINUX = "linux"
    WINDOWS = "windows"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskRequest:
    """One disk of the image as the user asked for it: a local file, or an object that is in OSS already.

    Exactly one of `path` and `key` is set. `format` and `size_gib` are None where the user left them to us.
    """

    path: Path | None = None
    bucket: str | None = None
    key: str | None = None
    format: DiskFormat | None = None
    size_gib: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """What the image shall be: every parameter of ImportImage, None where the user said nothing.

    disks[0] is the system disk, the rest are data disks.
    """

    region: str
    disks: tuple[DiskRequest, ...]
    name: str
    description: str | None = None
    architecture: Architecture | None = None
    os_type: OsType | None = None
    platform: str | None = None
    boot_mode: BootMode | None = None
    license_type: str | None = None
    role_name: str = "AliyunECSImageImportDefaultRole"
    resource_group: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    nvme_support: str | None = None
    imds_support: str | None = None
    detection_strategy: str | None = None
    storage_location_arn: str | None = None
    client_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskMapping:
    """DiskDeviceMapping.N: an object in OSS and what it is."""

    bucket: str
    key: str
    format: DiskFormat | None
    size_gib: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportCall:
    """One ImportImage call, whole: the request with every disk's place in OSS. `dry_run` asks without doing."""

    request: ImportRequest
    mappings: tuple[DiskMapping, ...]
    client_token: str
    tags: Mapping[str, str]
    dry_run: bool = False
