"""Checks of the size of a disk, options that contradict the disk, and parts that could not be read."""

from aliyun_import.checks.infer import architecture_of, boot_mode_of, os_type_of
from aliyun_import.checks.registry import DiskSubject, Found, GuestSubject, Source, SystemDiskSubject, check
from aliyun_import.checks.remedies import start_command
from aliyun_import.limits import GIB, MAX_DISK_GIB, MIN_SYSTEM_GIB
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import Architecture, BootMode, OsType
from aliyun_import.sizes import exact_size

_RECOMMENDED_GIB = {OsType.LINUX: 20, OsType.WINDOWS: 40}


@check("disk-too-large", Severity.BLOCKS, source=Source.API)
def disk_too_large(subject: DiskSubject) -> Found | None:
    """Check that the virtual size is at most 2048 GiB, the limit of ImportImage."""
    size_bytes = subject.report.virtual_bytes
    if size_bytes is None or size_bytes <= MAX_DISK_GIB * GIB:
        return None
    return Found(
        f"The disk has {exact_size(size_bytes)}; ImportImage accepts 1-{MAX_DISK_GIB} GiB.",
        "Shrink the file system, the partition and the disk, or move part of the data to a data disk.",
        f"virtual size {size_bytes} bytes",
    )


@check("requested-size-too-small", Severity.BLOCKS, source=Source.API)
def requested_size_too_small(subject: DiskSubject) -> Found | None:
    """Check that the requested size is not less than the virtual size.

    The service refuses a smaller DiskImageSize with InvalidImageSize.
    """
    size_bytes, requested_gib = subject.report.virtual_bytes, subject.disk.size_gib
    if size_bytes is None or requested_gib is None or requested_gib * GIB >= size_bytes:
        return None
    return Found(
        f"The requested size is {requested_gib} GiB, and the disk has {exact_size(size_bytes)}: the service would "
        "refuse it with InvalidImageSize.",
        f"Pass --disk-size {-(-size_bytes // GIB)} or more, or omit it: the size is then read from the disk.",
        f"virtual size {size_bytes} bytes",
    )


@check("requested-format-differs", Severity.BLOCKS, source=Source.API)
def requested_format_differs(subject: DiskSubject) -> Found | None:
    """Check that the requested format is the format of the file's content."""
    requested, actual = subject.disk.format, subject.report.format
    if requested is None or actual is None or requested is actual:
        return None
    return Found(
        f"--format {requested} was given, and the file is {actual} by its content ({subject.report.container}).",
        f"Omit --format, or pass --format {actual}.",
        f"container {subject.report.container}",
    )


@check("inspection-incomplete", Severity.UNKNOWN, source=Source.JUDGEMENT)
def inspection_incomplete(subject: DiskSubject) -> Found | None:
    """Check that all structures of the disk could be read.

    A part is not read if it is damaged, if its kind is unknown, or if the inspection reached one of its limits.
    """
    unknowns = subject.report.unknowns
    if not unknowns:
        return None
    remedy = "Check these parts on the source machine, with fsck, or sgdisk --verify for the partition table."
    if any(one.code == "container-compressed" for one in subject.report.container_problems):
        remedy = "Unpack the file and check the result; a push checks it after unpacking it, before a byte is sent."
    return Found(
        f"Part of the disk could not be read, and whether it has faults is not known: {'; '.join(unknowns[:6])}.",
        remedy,
        "the disk",
    )


@check(
    "device-in-use", {Severity.BLOCKS: "", Severity.WARNS: "if it is only mounted read-only"}, source=Source.JUDGEMENT
)
def device_in_use(subject: DiskSubject) -> Found | None:
    """Check that nothing can write to a block device while it is sent.

    A device may change while it is read if it is mounted, or used by swap, LVM, RAID or another program. The object
    would then be a mixture of two states, and the push ends with exit 9.
    """
    held = subject.report.held
    if held is None:
        return None
    message, path = f"The device is in use: {'; '.join(held.by)}.", str(subject.report.path)
    if held.read_only:
        return Found(message, None, path, Severity.WARNS)
    return Found(
        f"{message} If it changes while it is read, the object is a mixture of two states.",
        "Unmount it (swapoff, vgchange -an), or push a snapshot of it. With --force it is sent, and compared once more "
        "at the end.",
        path,
    )


@check("boot-mode-contradicts", Severity.BLOCKS, source=Source.BOOT_MODES)
def boot_mode_contradicts(subject: SystemDiskSubject) -> Found | None:
    """Check that the disk boots with the requested boot mode.

    The service does not check this. A UEFI disk that is imported with BIOS is imported without an error and never
    boots.
    """
    requested, boot = subject.request.boot_mode, subject.report.boot
    actual = boot_mode_of(subject.report, subject.report.architecture)
    if requested is None or actual is None or requested is actual.value:
        return None
    if all(boot.bios if mode is BootMode.BIOS else boot.uefi for mode in (requested.imported_as, requested.started_as)):
        return None
    return Found(
        f"--boot-mode {requested} was given, and the disk boots with {actual.value} only: the image would never boot.",
        f"Omit --boot-mode, or pass --boot-mode {actual.value}.",
        actual.evidence,
    )


@check("architecture-contradicts", {Severity.BLOCKS: "", Severity.WARNS: "between i386 and x86_64"}, source=Source.API)
def architecture_contradicts(subject: SystemDiskSubject) -> Found | None:
    """Check that the programs and boot loaders on the disk are for the requested architecture.

    A mismatch of i386 and x86_64 is only a warning, because 32-bit programs may run on a 64-bit kernel.
    """
    requested, actual = subject.request.architecture, architecture_of(subject.report)
    if requested is None or actual is None or requested is actual.value:
        return None
    return Found(
        f"--architecture {requested} was given, and the disk is {actual.value}.",
        f"Omit --architecture, or pass --architecture {actual.value}.",
        actual.evidence,
        Severity.BLOCKS if Architecture.ARM64 in (requested, actual.value) else Severity.WARNS,
    )


@check("os-type-contradicts", Severity.BLOCKS, source=Source.API)
def os_type_contradicts(subject: SystemDiskSubject) -> Found | None:
    """Check that the requested OS type (linux or windows) is the type of the system on the disk."""
    requested, actual = subject.request.os_type, os_type_of(subject.report)
    if requested is None or actual is None or requested is actual.value:
        return None
    return Found(
        f"--os-type {requested} was given, and the disk holds {actual.value}.",
        f"Omit --os-type, or pass --os-type {actual.value}.",
        actual.evidence,
    )


@check(
    "disk-small", {Severity.NOTE: "", Severity.WARNS: "for Windows"}, source=f"{Source.LINUX_2026}; {Source.GUIDE_2021}"
)
def disk_small(subject: SystemDiskSubject) -> Found | None:
    """Check that the system disk has the recommended size.

    The recommended minimum is 20 GiB for Linux and 40 GiB for Windows. A system disk below 5 GiB, the minimum of older
    documents, is imported with 5 GiB.
    """
    size_bytes = subject.report.virtual_bytes
    if size_bytes is None or subject.container_blocks or not subject.report.partitions:
        return None
    found = os_type_of(subject.report)
    os_type = found.value if found else OsType.LINUX
    requested_bytes = max(size_bytes, (subject.disk.size_gib or 0) * GIB)
    least = _RECOMMENDED_GIB[os_type]
    if requested_bytes >= least * GIB:
        return None
    raised = f" It is imported as {MIN_SYSTEM_GIB} GiB." if requested_bytes < MIN_SYSTEM_GIB * GIB else ""
    return Found(
        f"The system disk has {exact_size(requested_bytes)}; {least} GiB or more are recommended for "
        f"{os_type.capitalize()}.{raised}",
        f"Pass --disk-size {least} to import it to a larger disk, and grow the root on the instance.",
        f"virtual size {size_bytes} bytes",
        Severity.WARNS if os_type is OsType.WINDOWS else None,
    )


@check("no-system", Severity.UNKNOWN, source=Source.JUDGEMENT)
def no_system(subject: GuestSubject) -> Found | None:
    """Check that an operating system was recognised on the system disk.

    Otherwise nothing is known about the first boot. The root may be on a file system that is not read, or this may be
    the wrong disk.
    """
    report, guest = subject.report, subject.guest
    if guest.os_type is not None or not report.partitions or subject.container_blocks:
        return None
    parts = [f"{part.number} ({part.filesystem or part.type_name})" for part in report.partitions]
    unread = ", ".join(f"{one.where} has {one.what}" for one in guest.unread[:4])
    reason = f"{unread}, which is not read" if unread else "no partition contains the root of a system"
    return Found(
        f"No operating system was recognised on the disk: {reason}. Nothing is known about its first boot. Partitions: "
        f"{', '.join(parts[:8])}.",
        f"Check that this is the system disk, and start it: {start_command(report.path)}.",
        "the partitions",
    )


@check("system-uncertain", Severity.UNKNOWN, source=Source.JUDGEMENT)
def system_uncertain(subject: GuestSubject) -> Found | None:
    """Check that the inspected system is the one that starts.

    If a disk has several systems, the default entry of the boot loader determines which one starts. If that is not
    certain, findings that would block are reported as unknown.
    """
    guest = subject.guest
    if not guest.uncertain:
        return None
    place = guest.root.partition if guest.root is not None else "?"
    return Found(
        f"It is not known whether {guest.name or 'this system'} (partition {place}) starts: {guest.uncertain}.",
        "Make the system to be imported the default of the boot loader on the source machine.",
        guest.boot_entries[0].where if guest.boot_entries else "the partitions",
    )


@check("guest-unread", Severity.UNKNOWN, source=Source.JUDGEMENT)
def guest_unread(subject: GuestSubject) -> Found | None:
    """Check that the system on the disk could be read.

    The following are not read: btrfs, ZFS, F2FS and other file systems, LUKS, LVM volumes that are not linear, NTFS
    without the extra [windows], and damaged files.
    """
    unknowns = subject.guest.unknowns
    if not unknowns:
        return None
    windows_extra = any("aliyun-import[windows]" in unknown for unknown in unknowns)
    return Found(
        f"Part of the disk was not inspected, and whether it has faults is not known: {'; '.join(unknowns[:6])}.",
        "Run pip install 'aliyun-import[windows]' and check again."
        if windows_extra
        else f"Start it: {start_command(subject.report.path)}.",
        "the partitions",
    )
