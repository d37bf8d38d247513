"""Checks of booting: partition table, boot loaders for BIOS and UEFI, boot mode."""

import re
from collections.abc import Sequence

from aliyun_import.checks.infer import boot_mode_of, os_type_of
from aliyun_import.checks.registry import Found, GuestSubject, Source, SystemDiskSubject, check, places
from aliyun_import.checks.remedies import start_command
from aliyun_import.disk.report import DiskReport, Loader, Partition, TableKind
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import Architecture, OsType

# Feature of ext4 or XFS -> the first version of GRUB that reads it.
_GRUB_SINCE = {"metadata_csum_seed": (2, 12), "large_dir": (2, 12), "bigtime": (2, 6), "nrext64": (2, 12)}
_LINUX_LOADER = "Install a boot loader: grub-install for BIOS, or a loader at EFI/BOOT/BOOTX64.EFI of an ESP for UEFI."
_WINDOWS_LOADER = (
    "Start the source machine from a Windows installation medium, and write the boot loader: `bootrec /fixmbr` and "
    "`bootrec /fixboot` for BIOS, `bcdboot C:\\Windows /s S: /f UEFI` for UEFI, where S: is the ESP. Or push the disk "
    "that has the loader, if the machine has more than one."
)
_ESP_TYPES = {"c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "0xef"}


@check("no-partition-table", Severity.BLOCKS, source=Source.GUIDE_2021)
def no_partition_table(subject: SystemDiskSubject) -> Found | None:
    """Check that the system disk has a partition table (MBR or GPT)."""
    report = subject.report
    if report.table is not TableKind.NONE or report.partitions or subject.container_blocks:
        return None
    return Found(
        "The system disk has no partition table and no known file system: it cannot boot.",
        "Check that this is the right file, and that the copy of the disk was complete.",
        "bytes 0-512: no partition table",
    )


@check("no-partitions", Severity.BLOCKS, source=Source.GUIDE_2021)
def no_partitions(subject: SystemDiskSubject) -> Found | None:
    """Check that the partition table of the system disk is not empty."""
    report = subject.report
    if report.table in (TableKind.NONE, TableKind.UNREADABLE) or report.partitions:
        return None
    return Found(
        f"The partition table ({report.table}) of the system disk has no partition: the disk cannot boot.",
        "Check that this is the right file, and that the copy of the disk was complete.",
        "the partition table at byte 446" if report.table is TableKind.MBR else "the GPT at byte 512",
    )


@check("bare-file-system", {Severity.BLOCKS: "", Severity.WARNS: "if there is boot code"}, source=Source.GUIDE_2021)
def bare_file_system(subject: SystemDiskSubject) -> Found | None:
    """Check that the system disk is not a file system without a partition table.

    Such a disk is valid as a data disk, but an instance cannot boot from it.
    """
    report = subject.report
    if report.table is not TableKind.NONE or not report.partitions:
        return None
    kind = report.partitions[0].filesystem or "file system"
    bootable = bool(report.boot.bios)
    return Found(
        f"The file is a single {kind} without a partition table"
        + (": the import expects partitions." if bootable else " and without boot code: an instance could not boot."),
        "Copy it to a partition of a disk with a boot loader, or import it as a data disk (--data-disk).",
        "byte 0",
        Severity.WARNS if bootable else None,
    )


@check(
    "nothing-starts",
    {Severity.BLOCKS: "", Severity.UNKNOWN: "if boot code is unknown, or an EFI system partition was not read"},
    source=Source.BOOT_MODES,
)
def nothing_starts(subject: SystemDiskSubject) -> Found | None:
    """Check that BIOS or UEFI finds a boot loader on the system disk.

    BIOS needs code in the boot record and what that code loads: the next stage of GRUB, or an active partition with a
    boot sector. This tool knows the code of GRUB 2, GRUB legacy, LILO, SYSLINUX, the package mbr, Microsoft and parted.
    UEFI needs EFI/BOOT/BOOTX64.EFI (BOOTAA64.EFI on arm64) on an EFI system partition. The firmware of a new instance
    has no boot entries, so it tries no other path.
    """
    report, boot = subject.report, subject.report.boot
    if not _has_partitions(report) or boot.bios or boot.uefi:
        return None
    unread = _unread_esp(report)
    if unread:
        return Found(
            "BIOS finds no boot loader on the disk, and it is not known whether UEFI finds one: the EFI system "
            f"partition {unread.number} could not be read.",
            f"Check the partition with fsck.vfat on a copy of the disk, or start it: {start_command(report.path)}.",
            f"partition {unread.number}",
            Severity.UNKNOWN,
        )
    if boot.unknown_code:
        return Found(
            f"It is not known whether the disk starts: {boot.unknown_code}.",
            f"Start it: {start_command(report.path)}. Or install GRUB, whose boot code this tool knows.",
            "bytes 0-440",
            Severity.UNKNOWN,
        )
    loader = _best_loader(boot.loaders)
    os_type = os_type_of(report)
    windows = os_type is not None and os_type.value is OsType.WINDOWS
    remedy = _WINDOWS_LOADER if windows else _LINUX_LOADER
    if loader is not None:
        name = "BOOTAA64.EFI" if loader.architecture is Architecture.ARM64 else "BOOTX64.EFI"
        remedy = (
            f"Copy {loader.path} to EFI/BOOT/{name}{'' if windows else ' (grub-install --removable does so)'}: the "
            "firmware of a new instance has no boot entry, and tries that path only."
        )
    notes = f" ({'; '.join(boot.notes)})" if boot.notes else ""
    return Found(
        f"Neither BIOS nor UEFI would find a boot loader on the disk{notes}.",
        remedy,
        loader.path if loader else "byte 0, and the EFI system partitions",
    )


@check("loader-for-other-processor", Severity.BLOCKS, source=Source.BOOT_MODES)
def loader_for_other_processor(subject: GuestSubject) -> Found | None:
    """Check that a UEFI boot loader is for the architecture of the programs (/bin/sh).

    If all loaders that UEFI would start are for another architecture, the disk was combined from two systems.
    """
    boot, expected = subject.report.boot, subject.guest.architecture
    if boot.bios or not boot.uefi or expected not in (Architecture.X86_64, Architecture.ARM64):
        return None
    removable = [loader for loader in boot.loaders if loader.removable]
    if not removable or any(loader.architecture is expected for loader in removable):
        return None
    first = removable[0]
    return Found(
        f"The programs on the disk are for {expected}, and its only UEFI loader is for {first.machine}.",
        "Install the boot loader for the architecture of the system: grub-install --removable with its --target.",
        f"{first.path} on partition {first.partition}, and /bin/sh",
    )


@check(
    "grub-search-stale", {Severity.BLOCKS: "", Severity.WARNS: "if the disk boots with BIOS"}, source=Source.BOOT_MODES
)
def grub_search_stale(subject: GuestSubject) -> Found | None:
    """Check that GRUB on the EFI system partition finds the file system with its menu.

    The grub.cfg beside the loader has the UUID of that file system. If no file system has it, GRUB stops at its prompt.
    """
    stale, boot = subject.guest.stale_searches, subject.report.boot
    if not stale or not boot.uefi:
        return None
    return Found(
        f"GRUB on the EFI system partition searches for the file system {stale[0].what}, which is not on the disk: it "
        "would stop at its prompt.",
        "Install GRUB again on the source system: grub-install, or dpkg-reconfigure grub-efi-amd64, or dnf reinstall "
        "grub2-efi-x64 shim-x64 on Red Hat.",
        places(stale),
        Severity.WARNS if boot.bios else None,
    )


@check("grub-too-old", Severity.WARNS, source=Source.JUDGEMENT)
def grub_too_old(subject: GuestSubject) -> Found | None:
    """Check that the GRUB of the guest can read the file system with /boot.

    GRUB stops at its rescue prompt if the file system has a feature that it does not know. This happens when newer
    tools than those of the guest created it. The check uses the versions of upstream GRUB; some distributions added the
    features to older versions.
    """
    guest = subject.guest
    if guest.grub_version is None or not any(entry.loader in ("grub", "bls") for entry in guest.started):
        return None
    numbers = re.match(r"(\d+)\.(\d+)", guest.grub_version.what)
    version = (int(numbers[1]), int(numbers[2])) if numbers else (9, 0)
    feature = next((name for name in guest.boot_features if version < _GRUB_SINCE.get(name, (0, 0))), None)
    if feature is None:
        return None
    major, minor = _GRUB_SINCE[feature]
    return Found(
        f"The file system with /boot has the feature {feature}, which GRUB reads since {major}.{minor:02}, and the "
        f"guest has GRUB {guest.grub_version.what}: it may stop at its rescue prompt.",
        f"Start the disk: {start_command(subject.report.path)}. If it does not boot, create the file system without "
        f"{feature}.",
        guest.grub_version.where,
    )


@check("processor-not-offered", Severity.BLOCKS, source=Source.API)
def processor_not_offered(subject: GuestSubject) -> Found | None:
    """Check that ECS has instances for the architecture of the programs on the disk.

    Instances are i386, x86_64 or arm64.
    """
    guest = subject.guest
    if guest.architecture is not None or not guest.machine:
        return None
    return Found(
        f"The programs on the disk are for {guest.machine}; ECS has instances for x86_64, i386 and arm64 only.",
        "Use a disk that was installed for x86_64 or arm64.",
        "/bin/sh, ELF header",
    )


@check("no-removable-loader", Severity.NOTE, source=Source.BOOT_MODES)
def no_removable_loader(subject: SystemDiskSubject) -> Found | None:
    """Check that a disk that boots with BIOS can boot with UEFI, too, if it has a UEFI loader.

    The disk is imported with BIOS. It boots with UEFI only if a loader is at EFI/BOOT/BOOTX64.EFI.
    """
    boot = subject.report.boot
    loader = _best_loader(boot.loaders)
    if not boot.bios or boot.uefi or loader is None:
        return None
    return Found(
        f"The disk boots with BIOS and not with UEFI: {loader.path} needs a boot entry, which the firmware of a new "
        "instance does not have.",
        "For UEFI, install the loader at EFI/BOOT/BOOTX64.EFI: grub-install --removable.",
        f"{loader.path} on partition {loader.partition}",
    )


@check("both-boot-modes", Severity.NOTE, source=Source.BOOT_MODES)
def both_boot_modes(subject: SystemDiskSubject) -> Found | None:
    """Check that the disk boots with only one of BIOS and UEFI, or that --boot-mode is given.

    ImportImage accepts one boot mode. Its default is BIOS.
    """
    report, boot = subject.report, subject.report.boot
    chosen = boot_mode_of(report, report.architecture)
    if subject.request.boot_mode is not None or chosen is None or not (boot.bios and boot.uefi):
        return None
    return Found(
        f"The disk boots with BIOS and with UEFI; it is imported with {chosen.value}.",
        "Pass --boot-mode UEFI-Preferred to permit both, or UEFI or BIOS to choose.",
        "; ".join((*boot.bios[:1], *boot.uefi[:1])),
    )


def _best_loader(loaders: Sequence[Loader]) -> Loader | None:
    """Return the loader to copy to the removable path. Helpers (mm, fb, fwupd) start no system and come last."""
    others = [loader for loader in loaders if not loader.removable]
    order = ("shim", "grub", "systemd-boot", "bootmgfw", "refind", "limine")
    names = [loader.path.rsplit("/", 1)[-1].lower() for loader in others]
    ranked = [(order.index(start), at) for at, name in enumerate(names) for start in order if name.startswith(start)]
    return others[min(ranked)[1]] if ranked else others[0] if others else None


def _has_partitions(report: DiskReport) -> bool:
    return report.table not in (TableKind.NONE, TableKind.UNREADABLE) and bool(report.partitions)


def _unread_esp(report: DiskReport) -> Partition | None:
    """Return the first ESP with a FAT that could not be read."""
    for part in report.partitions:
        esp = part.type_id.lower() in _ESP_TYPES and part.filesystem.startswith(("vfat", "fat"))
        if esp and any(unknown.startswith(f"partition {part.number},") for unknown in report.unknowns):
            return part
    return None
