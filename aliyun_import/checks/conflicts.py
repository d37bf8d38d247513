"""This file holds the rules about flags that contradict the disk: such an import would fail, or never start."""

from aliyun_import.checks.context import API, BOOT_MODES, Rule, RuleContext, gib
from aliyun_import.checks.infer import architecture_of, boot_mode_of, os_type_of
from aliyun_import.limits import GIB
from aliyun_import.model.finding import Finding, Severity
from aliyun_import.model.request import Architecture, BootMode


def requested_size_too_small(subject: RuleContext) -> Finding | None:
    """Block a size asked for that is less than the disk has."""
    size, asked = subject.report.virtual_bytes, subject.disk.size_gib
    if size is None or asked is None or asked * GIB >= size:
        return None
    needed = -(-size // GIB)
    return subject.finding(
        "requested-size-too-small",
        Severity.BLOCKS,
        f"{asked} GiB were asked for, and the disk has {gib(size)}: the service answers InvalidImageSize.",
        remedy=f"Give --disk-size {needed} or more, or leave the size out: it is then read from the disk.",
        where=f"virtual size {size} bytes",
        source=API,
    )


def requested_format_differs(subject: RuleContext) -> Finding | None:
    """Block a format asked for that is not what the file is."""
    asked, is_ = subject.disk.format, subject.report.format
    if asked is None or is_ is None or asked is is_:
        return None
    return subject.finding(
        "requested-format-differs",
        Severity.BLOCKS,
        f"--format {asked} was given, and the file is {is_} by its content ({subject.report.container}).",
        remedy=f"Leave --format out, or give --format {is_}.",
        where=f"container {subject.report.container}",
        source=API,
    )


def boot_mode_contradicts(subject: RuleContext) -> Finding | None:
    """Block a boot mode asked for by which the disk does not start."""
    asked = subject.request.boot_mode
    found, line = boot_mode_of(subject.report, subject.report.architecture)
    if asked is None or found is None or asked is found:
        return None
    boot = subject.report.boot
    if (asked is BootMode.BIOS and boot.bios) or (asked is BootMode.UEFI and boot.uefi):
        return None
    return subject.finding(
        "boot-mode-contradicts",
        Severity.BLOCKS,
        f"--boot-mode {asked} was given, and the disk starts by {found} only: it would import and never start.",
        remedy=f"Leave --boot-mode out, or give --boot-mode {found}.",
        where=line,
        source=BOOT_MODES,
    )


def architecture_contradicts(subject: RuleContext) -> Finding | None:
    """Block an architecture asked for that is not that of the programs on the disk."""
    asked = subject.request.architecture
    found, line = architecture_of(subject.report)
    if asked is None or found is None or asked is found:
        return None
    # A system of 32-bit programs may well run a 64-bit kernel, so between those two nothing is certain.
    certain = Architecture.ARM64 in (asked, found)
    return subject.finding(
        "architecture-contradicts",
        Severity.BLOCKS if certain else Severity.WARNS,
        f"--architecture {asked} was given, and the disk is {found}.",
        remedy=f"Leave --architecture out, or give --architecture {found}.",
        where=line,
        source=API,
    )


def os_type_contradicts(subject: RuleContext) -> Finding | None:
    """Block a type of system asked for that is not the one on the disk."""
    asked = subject.request.os_type
    found, line = os_type_of(subject.report)
    if asked is None or found is None or asked is found:
        return None
    return subject.finding(
        "os-type-contradicts",
        Severity.BLOCKS,
        f"--os-type {asked} was given, and the disk holds {found}.",
        remedy=f"Leave --os-type out, or give --os-type {found}.",
        where=line,
        source=API,
    )


# Of any disk, and of the system disk only.
FORMAT_RULES: dict[str, Rule] = {
    "requested-size-too-small": requested_size_too_small,
    "requested-format-differs": requested_format_differs,
}
CONTRADICTION_RULES: dict[str, Rule] = {
    "boot-mode-contradicts": boot_mode_contradicts,
    "architecture-contradicts": architecture_contradicts,
    "os-type-contradicts": os_type_contradicts,
}
