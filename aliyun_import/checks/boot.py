"""This file holds the rules about starting: whether BIOS or UEFI would find anything on the disk to start."""

from aliyun_import.checks.context import API, BOOT_MODES, GUIDE_2021, Rule, RuleContext
from aliyun_import.checks.infer import boot_mode_of
from aliyun_import.disk.report import DiskReport, Partition, TableKind
from aliyun_import.model.finding import Finding, Severity
from aliyun_import.model.request import Architecture

_ESP_TYPES = {"c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "0xef"}


def no_partition_table(subject: RuleContext) -> Finding | None:
    """Block a system disk with no partition table and no file system."""
    report = subject.report
    if report.table is not TableKind.NONE or report.partitions or subject.container_blocks:
        return None
    return subject.finding(
        "no-partition-table",
        Severity.BLOCKS,
        "There is no partition table and no known file system on the system disk: nothing on it can start.",
        remedy="Check that this is the right file, and that the copy of the disk was finished.",
        where="bytes 0-512: no partition table",
        source=GUIDE_2021,
    )


def no_partitions(subject: RuleContext) -> Finding | None:
    """Block a system disk whose partition table is empty."""
    report = subject.report
    if report.table in (TableKind.NONE, TableKind.UNREADABLE) or report.partitions:
        return None
    return subject.finding(
        "no-partitions",
        Severity.BLOCKS,
        f"The partition table ({report.table}) of the system disk names no partition: nothing on the disk can start.",
        remedy="Check that this is the right file, and that the copy of the disk was finished.",
        where="the partition table at byte 446" if report.table is TableKind.MBR else "the GPT at byte 512",
        source=GUIDE_2021,
    )


def bare_file_system(subject: RuleContext) -> Finding | None:
    """Block a file system that lies on the whole system disk, without a partition table."""
    report = subject.report
    if report.table is not TableKind.NONE or not report.partitions:
        return None
    kind = report.partitions[0].filesystem or "file system"
    starts = bool(report.boot.bios)
    return subject.finding(
        "bare-file-system",
        Severity.WARNS if starts else Severity.BLOCKS,
        f"The file is one {kind} without a partition table"
        + (": the import expects partitions." if starts else " and without boot code: an instance could not start."),
        remedy="Put it into a partition of a disk with a boot loader, or import it as a data disk (--data-disk).",
        where="byte 0",
        source=GUIDE_2021,
    )


def nothing_starts(subject: RuleContext) -> Finding | None:
    """Block a system disk on which neither BIOS nor UEFI would find anything to start."""
    report = subject.report
    boot = report.boot
    if not _has_partitions(report) or boot.bios or boot.uefi:
        return None
    unread = _unread_esp(report)
    if unread:
        return subject.finding(
            "nothing-starts",
            Severity.UNKNOWN,
            f"Partition {unread.number} is an EFI system partition that could not be read, and BIOS finds nothing to "
            "start.",
            remedy="Check the partition with fsck.vfat on a copy of the disk.",
            where=f"partition {unread.number}",
            source=BOOT_MODES,
        )
    loader = next((loader for loader in boot.loaders if not loader.removable), None)
    remedy = "Install a boot loader: grub-install for BIOS, or a loader at EFI/BOOT/BOOTX64.EFI of an ESP for UEFI."
    if loader is not None:
        name = "BOOTAA64.EFI" if loader.architecture is Architecture.ARM64 else "BOOTX64.EFI"
        remedy = (
            f"Copy {loader.path} to EFI/BOOT/{name} (grub-install --removable does it): a new instance has no boot "
            "entry in its firmware, so only that path is tried."
        )
    notes = f" ({'; '.join(boot.notes)})" if boot.notes else ""
    return subject.finding(
        "nothing-starts",
        Severity.BLOCKS,
        f"Neither BIOS nor UEFI would find anything to start on the disk{notes}.",
        remedy=remedy,
        where=loader.path if loader else "byte 0, and the EFI system partitions",
        source=BOOT_MODES,
    )


def loader_for_other_processor(subject: RuleContext) -> Finding | None:
    """Block a disk whose only way to start is a UEFI loader for another processor than its programs."""
    boot, found = subject.report.boot, subject.report.guest
    wanted = found.architecture if found is not None else None
    if boot.bios or not boot.uefi or wanted not in (Architecture.X86_64, Architecture.ARM64):
        return None
    removable = [loader for loader in boot.loaders if loader.removable]
    if not removable or any(loader.architecture is wanted for loader in removable):
        return None
    first = removable[0]
    return subject.finding(
        "loader-for-other-processor",
        Severity.BLOCKS,
        f"The programs of the disk are for {wanted}, and its only UEFI loader is for {first.machine}.",
        remedy="Install the boot loader for the processor of the system: grub-install --removable with its --target.",
        where=f"{first.path} on partition {first.partition}, and /bin/sh",
        source=BOOT_MODES,
    )


def processor_not_offered(subject: RuleContext) -> Finding | None:
    """Block a system for a processor that ECS does not have."""
    guest = subject.guest
    if guest is None or guest.architecture is not None or not guest.machine:
        return None
    return subject.finding(
        "processor-not-offered",
        Severity.BLOCKS,
        f"The programs of the disk are for {guest.machine}; instances have x86_64 (i386 too) or arm64 processors.",
        remedy="Take a disk that was installed for x86_64 or arm64.",
        where="/bin/sh, ELF header",
        source=API,
    )


def no_removable_loader(subject: RuleContext) -> Finding | None:
    """Say that a disk which BIOS starts has a UEFI loader that no new instance would find."""
    boot = subject.report.boot
    loader = next((loader for loader in boot.loaders if not loader.removable), None)
    if not boot.bios or boot.uefi or loader is None:
        return None
    return subject.finding(
        "no-removable-loader",
        Severity.NOTE,
        f"The disk starts by BIOS. By UEFI it would not: {loader.path} is started by a boot entry only, which a new "
        "instance does not have.",
        remedy="For UEFI, put the loader at EFI/BOOT/BOOTX64.EFI: grub-install --removable.",
        where=f"{loader.path} on partition {loader.partition}",
        source=BOOT_MODES,
    )


def both_boot_modes(subject: RuleContext) -> Finding | None:
    """Say which boot mode was chosen for a disk that starts either way."""
    boot = subject.report.boot
    if subject.request.boot_mode is not None or not (boot.bios and boot.uefi):
        return None
    chosen, _ = boot_mode_of(subject.report, subject.report.architecture)
    return subject.finding(
        "both-boot-modes",
        Severity.NOTE,
        f"The disk starts by BIOS and by UEFI; it is imported with {chosen}.",
        remedy="Give --boot-mode UEFI or --boot-mode BIOS to choose.",
        where="; ".join((*boot.bios[:1], *boot.uefi[:1])),
        source=BOOT_MODES,
    )


def _has_partitions(report: DiskReport) -> bool:
    return report.table not in (TableKind.NONE, TableKind.UNREADABLE) and bool(report.partitions)


def _unread_esp(report: DiskReport) -> Partition | None:
    """Find an ESP that holds a FAT and of which nothing could be read: what is on it is then not known."""
    for part in report.partitions:
        esp = part.type_id.lower() in _ESP_TYPES and part.filesystem.startswith(("vfat", "fat"))
        if esp and any(unknown.startswith(f"partition {part.number},") for unknown in report.unknowns):
            return part
    return None


BOOT_RULES: dict[str, Rule] = {
    "no-partition-table": no_partition_table,
    "no-partitions": no_partitions,
    "bare-file-system": bare_file_system,
    "nothing-starts": nothing_starts,
    "loader-for-other-processor": loader_for_other_processor,
    "processor-not-offered": processor_not_offered,
    "no-removable-loader": no_removable_loader,
    "both-boot-modes": both_boot_modes,
}
