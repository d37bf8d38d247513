"""Inference of the parameters of ImportImage from a disk.

Values that the user gave are kept. A parameter that neither the user nor the disk determines stays None, and the
service uses its default.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Generic, TypeVar

from aliyun_import.checks.platform import OTHER_WINDOWS, UNCHECKED_PLATFORMS, is_windows, platform_of
from aliyun_import.disk.containers.interface import Upload
from aliyun_import.disk.containers.registry import format_named
from aliyun_import.disk.guest.report import DriverPlace
from aliyun_import.disk.report import DiskReport
from aliyun_import.limits import GIB, MIN_DISK_GIB, MIN_SYSTEM_GIB
from aliyun_import.model.request import Architecture, BootMode, DiskFormat, ImportRequest, OsType, parameters
from aliyun_import.sizes import exact_size

T = TypeVar("T")

_LINUX_FILE_SYSTEMS = {"ext2", "ext3", "ext4", "xfs", "btrfs", "lvm", "luks", "f2fs"}


class Origin(StrEnum):
    """Who determined the value of a parameter."""

    USER = "user"
    DISK = "disk"
    SERVICE = "service"  # its default


@dataclass(frozen=True, slots=True)
class Value(Generic[T]):
    """A value with its origin. `evidence` is the reason for an inferred value, else empty."""

    value: T
    evidence: str = ""
    origin: Origin = Origin.DISK


@dataclass(frozen=True, slots=True, kw_only=True)
class InferredParameters:
    """The parameters of request.disks[index], and for the system disk (index 0) those of the image.

    `values` maps the fields of DiskRequest and ImportParameters that are known to their values.
    """

    index: int = 0
    values: Mapping[str, Value[Any]]

    @property
    def parameters(self) -> dict[str, Any]:
        """The known values by name."""
        return {name: value.value for name, value in self.values.items()}

    @property
    def evidence(self) -> tuple[str, ...]:
        """One line for each inferred value: "boot_mode=UEFI: EFI/BOOT/BOOTX64.EFI on partition 1"."""
        return tuple(f"{name}={one.value}: {one.evidence}" for name, one in self.values.items() if one.evidence)

    @property
    def evidence_on_disk(self) -> tuple[str, ...]:
        """The lines of `evidence` for values that the disk determined."""
        of_disk = {name: one for name, one in self.values.items() if one.origin is Origin.DISK}
        return replace(self, values=of_disk).evidence

    def merged_into(self, request: ImportRequest) -> ImportRequest:
        """Return the request with these values."""
        known = self.parameters
        of_disk = {name: known.pop(name) for name in ("format", "size_gib") if name in known}
        disks = list(request.disks)
        disks[self.index] = replace(disks[self.index], **of_disk)
        return replace(request, disks=tuple(disks), **known)


def infer_parameters(report: DiskReport, request: ImportRequest, *, index: int = 0) -> InferredParameters:
    """Return the parameters of request.disks[index]. A data disk (index > 0) has only a format and a size."""
    disk = request.disks[index]
    values: dict[str, Value[Any] | None] = {
        "format": _given(disk.format) or _format(report),
        "size_gib": _given(disk.size_gib) or _size_gib(report, is_system=index == 0),
    }
    if index == 0:
        known = request
        for name in dict.fromkeys((*INFERENCES, *(parameter.name for parameter in parameters()))):
            value = _given(getattr(known, name))
            if value is None and name in INFERENCES:
                value = INFERENCES[name](report, known)
            if value is not None:
                known = replace(known, **{name: value.value})
            values[name] = value
    return InferredParameters(index=index, values={name: value for name, value in values.items() if value is not None})


def boot_mode_of(report: DiskReport, architecture: Architecture | None) -> Value[BootMode] | None:
    """Return the boot mode of the disk, or None if neither BIOS nor UEFI finds a boot loader."""
    bios, uefi = report.boot.bios, report.boot.uefi
    if architecture is Architecture.ARM64:
        return Value(BootMode.UEFI, uefi[0] if uefi else "arm64 boots with UEFI only")
    if bios and uefi:
        # The service accepts one of the two: BIOS is its default, and all x86 instance types support it.
        return Value(BootMode.BIOS, f"both modes work, and BIOS is the service's default ({bios[0]})")
    if uefi:
        return Value(BootMode.UEFI, uefi[0])
    return Value(BootMode.BIOS, bios[0]) if bios else None


def architecture_of(report: DiskReport) -> Value[Architecture] | None:
    """Return the architecture of the guest's programs, or else of the UEFI loaders."""
    guest = report.guest
    if guest is not None and guest.architecture is not None:
        source = "the registry has" if guest.windows is not None else "/bin/sh is for"
        return Value(guest.architecture, f"{source} {guest.machine or guest.architecture}")
    if report.architecture is None:
        return None
    loader = next((loader for loader in report.boot.loaders if loader.architecture), None)
    if loader is None:
        return Value(report.architecture, "read from the disk")
    return Value(report.architecture, f"{loader.path} on partition {loader.partition} is for {loader.machine}")


def os_type_of(report: DiskReport) -> Value[OsType] | None:
    """Return the OS type of the guest, or else the one that the file systems indicate."""
    guest = report.guest
    if guest is not None and guest.os_type is not None:
        return Value(guest.os_type, guest.name or f"the disk holds a {guest.os_type} system")
    kinds = {partition.filesystem for partition in report.partitions}
    if kinds & _LINUX_FILE_SYSTEMS:
        return Value(OsType.LINUX, f"the disk holds {', '.join(sorted(kinds & _LINUX_FILE_SYSTEMS))}")
    if kinds & {"ntfs", "bitlocker"}:
        return Value(OsType.WINDOWS, "the disk holds NTFS, and no file system of Linux")
    return None


def _given(value: T | None) -> Value[T] | None:
    return None if value is None else Value(value, origin=Origin.USER)


def _format(report: DiskReport) -> Value[DiskFormat] | None:
    if report.format is None:
        return None
    is_accepted = format_named(report.container).upload is Upload.AS_IS
    rest = "" if is_accepted else ", and is converted or unpacked during the push"
    return Value(report.format, f"the file is {report.container} by its content{rest}")


def _size_gib(report: DiskReport, *, is_system: bool) -> Value[int] | None:
    if not report.virtual_bytes:
        return None
    rounded = -(-report.virtual_bytes // GIB)
    least = MIN_SYSTEM_GIB if is_system else MIN_DISK_GIB
    rest = f", and a system disk needs {least} GiB" if rounded < least else ""
    return Value(max(rounded, least), f"the disk has {exact_size(report.virtual_bytes)}{rest}")


def _os_type(report: DiskReport, known: ImportRequest) -> Value[OsType] | None:
    if known.platform is not None and "windows" in known.platform.lower():
        return Value(OsType.WINDOWS, f"the platform is {known.platform}", Origin.USER)
    return os_type_of(report)


def _platform(report: DiskReport, _known: ImportRequest) -> Value[str] | None:
    guest = report.guest
    platform = platform_of(guest) if guest is not None else None
    if guest is None or platform is None:
        return None
    if guest.os_release is not None:
        return Value(platform, f"{guest.os_release.where} has ID={guest.os_release.id}")
    product = guest.windows.product if guest.windows else ""
    return Value(platform, f"the product in the registry is {product}" if product else "read from the registry")


def _nvme_support(report: DiskReport, _known: ImportRequest) -> Value[str] | None:
    guest = report.guest
    kernels = guest.default_kernels if guest is not None else ()
    ready = {DriverPlace.BUILT_IN, DriverPlace.INITRAMFS}
    if guest is None or not kernels or any(kernel.place("nvme") not in ready for kernel in kernels):
        return None
    # With NVMe the disk is /dev/nvme0n1: a system that refers to /dev/vda boots from virtio disks only.
    names = [entry.root for entry in guest.started]
    names += [entry.spec for entry in guest.fstab if not {"nofail", "noauto"} & set(entry.options)]
    if any(re.match(r"/dev/(sd|vd|hd|xvd)[a-z]", name) for name in names):
        return None
    return Value("supported", f"the kernel {kernels[0].version} has the nvme driver {kernels[0].place('nvme')}")


def _license_type(_report: DiskReport, known: ImportRequest) -> Value[str] | None:
    if known.os_type is not OsType.WINDOWS:
        return None
    if known.platform == OTHER_WINDOWS:
        # The service refuses other licenses (InvalidLicenseType.BYOLOnly): Alibaba Cloud sells none for client Windows.
        return Value("BYOL", "the service sells licenses for Windows Server only", Origin.SERVICE)
    # This is the service's default, but it requires an explicit value for Windows.
    return Value("Aliyun", "the system is Windows, and this is the service's default", Origin.SERVICE)


def _detection_strategy(_report: DiskReport, known: ImportRequest) -> Value[str] | None:
    # The pages disagree about Windows, and ECS would refuse a check that it does not offer.
    if known.platform in UNCHECKED_PLATFORMS or is_windows(known):
        return None
    return Value("Standard", "the image check is free and does not fail an import; none omits it", Origin.SERVICE)


# Field of ImportParameters -> function. Its second argument is the request with the values inferred before it.
INFERENCES: dict[str, Callable[[DiskReport, ImportRequest], Value[Any] | None]] = {
    "boot_mode": lambda report, known: boot_mode_of(report, known.architecture or report.architecture),
    "architecture": lambda report, _known: architecture_of(report),
    "os_type": _os_type,
    "platform": _platform,
    "nvme_support": _nvme_support,
    "license_type": _license_type,
    "detection_strategy": _detection_strategy,
}
