"""This file fills in what the user would have had to know, from what the disk says.

What the user said always wins; what neither the user nor the disk says stays None and is left to the service.
"""

from dataclasses import dataclass

from aliyun_import.checks.context import gib
from aliyun_import.checks.platforms import platform_of
from aliyun_import.disk.containers.interface import Upload
from aliyun_import.disk.containers.registry import format_named
from aliyun_import.disk.guest.report import DriverPlace, GuestReport
from aliyun_import.disk.report import DiskReport
from aliyun_import.limits import GIB, MIN_DISK_GIB
from aliyun_import.model.request import Architecture, BootMode, DiskFormat, ImportRequest, OsType

# ECS, ImportImage until 2021: a system disk has 5 GiB or more. Today's page says 1, so 5 suits both.
MIN_SYSTEM_GIB = 5
_LINUX_FILE_SYSTEMS = {"ext2", "ext3", "ext4", "xfs", "btrfs", "lvm", "luks", "f2fs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class InferredParameters:
    """The parameters of ImportImage that belong to a disk, and for the system disk to the image.

    `evidence` has a line for each that was read from the disk: "boot_mode=UEFI: EFI/BOOT/BOOTX64.EFI on partition 1".
    """

    format: DiskFormat | None
    size_gib: int | None
    boot_mode: BootMode | None = None
    architecture: Architecture | None = None
    os_type: OsType | None = None
    platform: str | None = None
    nvme_support: str | None = None
    imds_support: str | None = None
    license_type: str | None = None
    evidence: tuple[str, ...] = ()


def infer_parameters(report: DiskReport, request: ImportRequest, *, index: int = 0) -> InferredParameters:
    """Fill in the parameters for request.disks[index] from its report; a data disk (index > 0) has two only."""
    disk = request.disks[index]
    told = _size_gib(report, is_system=index == 0) if disk.size_gib is None else None
    evidence: list[str] = []
    if disk.format is None and report.format is not None:
        evidence.append(f"format={report.format}: {_format_line(report)}")
    if told is not None:
        least = ", and a system disk 5 at least" if told * GIB - (report.virtual_bytes or 0) >= GIB else ""
        evidence.append(f"size_gib={told}: the disk has {gib(report.virtual_bytes or 0)}{least}")
    format_, size = disk.format or report.format, disk.size_gib if told is None else told
    if index > 0:
        return InferredParameters(format=format_, size_gib=size, evidence=tuple(evidence))
    guest = report.guest if isinstance(report.guest, GuestReport) else None
    boot_mode, boot_line = boot_mode_of(report, request.architecture or report.architecture)
    architecture, architecture_line = architecture_of(report)
    os_type, os_line = os_type_of(report)
    platform, platform_line = _platform(guest)
    nvme, nvme_line = _nvme_support(guest)
    os_type = request.os_type or _os_type_of_platform(request.platform) or os_type
    filled = {
        "boot_mode": (request.boot_mode, boot_mode, boot_line),
        "architecture": (request.architecture, architecture, architecture_line),
        "os_type": (request.os_type, os_type, os_line),
        "platform": (request.platform, platform, platform_line),
        "nvme_support": (request.nvme_support, nvme, nvme_line),
    }
    evidence += [f"{name}={seen}: {line}" for name, (said, seen, line) in filled.items() if said is None and seen]
    license_type = request.license_type
    if license_type is None and os_type is OsType.WINDOWS:
        # The service's own default, which it wants to be named with Windows.
        license_type = "Aliyun"
        evidence.append("license_type=Aliyun: the system is Windows, and this is the service's default")
    return InferredParameters(
        format=format_,
        size_gib=size,
        boot_mode=request.boot_mode or boot_mode,
        architecture=request.architecture or architecture,
        os_type=os_type,
        platform=request.platform or platform,
        nvme_support=request.nvme_support or nvme,
        imds_support=request.imds_support,
        license_type=license_type,
        evidence=tuple(evidence),
    )


def boot_mode_of(report: DiskReport, architecture: Architecture | None) -> tuple[BootMode | None, str]:
    """Tell how the disk starts, with the line that says so; None when nothing speaks for either way."""
    bios, uefi = report.boot.bios, report.boot.uefi
    if architecture is Architecture.ARM64:
        return BootMode.UEFI, uefi[0] if uefi else "arm64 starts by UEFI only"
    if bios and uefi:
        # Both would work, and the service takes one of the two: BIOS is its default and every x86 type starts it.
        return BootMode.BIOS, f"both ways work, and BIOS is the service's default ({bios[0]})"
    if uefi:
        return BootMode.UEFI, uefi[0]
    return (BootMode.BIOS, bios[0]) if bios else (None, "")


def architecture_of(report: DiskReport) -> tuple[Architecture | None, str]:
    """Tell the processor that the disk is for: the guest's own programs first, then the UEFI loaders."""
    guest = report.guest if isinstance(report.guest, GuestReport) else None
    if guest is not None and guest.architecture is not None:
        told = "the registry says" if guest.windows is not None else "/bin/sh is for"
        return guest.architecture, f"{told} {guest.machine or guest.architecture}"
    loader = next((loader for loader in report.boot.loaders if loader.architecture), None)
    if report.architecture is not None:
        line = (
            f"{loader.path} on partition {loader.partition} is for {loader.machine}" if loader else "read from the disk"
        )
        return report.architecture, line
    return None, ""


def os_type_of(report: DiskReport) -> tuple[OsType | None, str]:
    """Tell Linux from Windows: by the guest, else by the file systems."""
    guest = report.guest if isinstance(report.guest, GuestReport) else None
    if guest is not None and guest.os_type is not None:
        return guest.os_type, guest.name or f"a {guest.os_type} system is on it"
    kinds = {partition.filesystem for partition in report.partitions}
    if kinds & _LINUX_FILE_SYSTEMS:
        return OsType.LINUX, f"it holds {', '.join(sorted(kinds & _LINUX_FILE_SYSTEMS))}"
    if kinds & {"ntfs", "bitlocker"}:
        return OsType.WINDOWS, "it holds NTFS, and no file system of Linux"
    return None, ""


def _format_line(report: DiskReport) -> str:
    taken = format_named(report.container).upload is Upload.AS_IS
    return (
        f"the file is {report.container} by its content{'' if taken else ', and is converted or unpacked on the way'}"
    )


def _size_gib(report: DiskReport, *, is_system: bool) -> int | None:
    if not report.virtual_bytes:
        return None
    return max(-(-report.virtual_bytes // GIB), MIN_SYSTEM_GIB if is_system else MIN_DISK_GIB)


def _platform(guest: GuestReport | None) -> tuple[str | None, str]:
    platform = platform_of(guest) if guest is not None else None
    if guest is None or platform is None:
        return None, ""
    if guest.os_release is not None:
        return platform, f"{guest.os_release.where} says ID={guest.os_release.id}"
    product = guest.windows.product if guest.windows else ""
    return platform, f"the registry says {product or 'so'}"


def _os_type_of_platform(platform: str | None) -> OsType | None:
    return OsType.WINDOWS if platform is not None and "windows" in platform.lower() else None


def _nvme_support(guest: GuestReport | None) -> tuple[str | None, str]:
    kernels = guest.kernels if guest is not None else ()
    ready = {DriverPlace.BUILT_IN, DriverPlace.INITRAMFS}
    started = [kernel for kernel in kernels if kernel.default] or list(kernels)
    if started and all(kernel.place("nvme") in ready for kernel in started):
        return "supported", f"the kernel {started[0].version} has the nvme driver {started[0].place('nvme')}"
    return None, ""
