"""This file holds the rules about what the guest mounts: fstab, root=, and the state of the root file system."""

import re
from collections.abc import Sequence

from aliyun_import.checks.context import CHECK_ITEMS, COMPLIANCE, GUIDE_2021, LINUX_2026, Rule, RuleContext
from aliyun_import.disk.guest.report import BootEntry, FstabEntry
from aliyun_import.limits import MIB
from aliyun_import.model.finding import Finding, Severity

# Names that a disk has by the bus it hangs on; on ECS it is /dev/vda, or /dev/nvme0n1 on newer instance types.
_ELSEWHERE = re.compile(r"/dev/(sd[a-z]+|hd[a-z]+|xvd[a-z]+|ubd[a-z]+)\d*$")
_THERE = re.compile(r"/dev/(vd[a-z]+\d*|nvme\d+n\d+(p\d+)?)$")
# With these the first start does not wait, or goes on without it.
_OPTIONAL = ("nofail", "noauto", "x-systemd.automount", "_netdev")
# Below these the first start fails or nearly so: cloud-init, logs and the injected drivers want some tens of MiB.
_LEAST_FREE_BYTES = 100 * MIB
_LEAST_FREE_INODES = 1000


def fstab_device_name(subject: RuleContext) -> Finding | None:
    """Block lines of fstab that name a device as it is called elsewhere; warn of /dev/vda, which is not everywhere."""
    entries = _mounted(subject)
    elsewhere = [entry for entry in entries if _ELSEWHERE.match(entry.spec)]
    there = [entry for entry in entries if _THERE.match(entry.spec)]
    if not elsewhere and not there:
        return None
    waits = [entry for entry in elsewhere if not _is_optional(entry) and entry.type != "swap"]
    listed = elsewhere or there
    return subject.finding(
        "fstab-device-name",
        Severity.BLOCKS if waits else Severity.WARNS,
        f"/etc/fstab names {_specs(listed)} by device name, and disks are called /dev/vda or /dev/nvme0n1 on ECS"
        + (": the first start would wait for it in vain." if waits else "."),
        remedy="Write UUID=... instead, as `blkid` tells it on the source system.",
        where=_lines(listed),
        source=LINUX_2026,
    )


def fstab_missing(subject: RuleContext) -> Finding | None:
    """Block lines of fstab whose file system is not on the disk, unless the system starts without it."""
    missing = [entry for entry in _mounted(subject) if entry.found is False]
    if not missing:
        return None
    waits = [entry for entry in missing if not _is_optional(entry) and entry.type != "swap"]
    # A data disk of the same push may hold it.
    alone = len(subject.request.disks) == 1
    severity = Severity.NOTE
    if waits:
        severity = Severity.BLOCKS if alone else Severity.WARNS
    elif any(not _is_optional(entry) for entry in missing):
        severity = Severity.WARNS
    return subject.finding(
        "fstab-missing",
        severity,
        f"/etc/fstab mounts {_specs(waits or missing)}, and no file system of the disk has that name"
        + (": the first start would end in emergency mode." if severity is Severity.BLOCKS else "."),
        remedy="Remove the line, give it the option nofail, or write the UUID of the file system that is meant.",
        where=_lines(waits or missing),
        source=CHECK_ITEMS,
    )


def root_device_name(subject: RuleContext) -> Finding | None:
    """Block a boot loader that names the root by a device name of elsewhere; warn of /dev/vda."""
    entries = _boot_entries(subject)
    elsewhere = [entry for entry in entries if _ELSEWHERE.match(entry.root)]
    there = [entry for entry in entries if _THERE.match(entry.root)]
    if not elsewhere and not there:
        return None
    blocks = bool(elsewhere) and elsewhere[0] is entries[0]
    entry = (elsewhere or there)[0]
    return subject.finding(
        "root-device-name",
        Severity.BLOCKS if blocks else Severity.WARNS,
        f"The boot loader gives the kernel root={entry.root}, and disks are called /dev/vda or /dev/nvme0n1 on ECS.",
        remedy="Write root=UUID=...: remove GRUB_DISABLE_LINUX_UUID from /etc/default/grub and run update-grub or "
        "grub2-mkconfig, or grubby --update-kernel=ALL --args=root=UUID=...",
        where=entry.where,
        source=LINUX_2026,
    )


def root_missing(subject: RuleContext) -> Finding | None:
    """Block a boot loader whose root= is not on the disk; warn when only further entries are so."""
    entries = _boot_entries(subject)
    wrong = [entry for entry in entries if entry.root_found is False]
    if not wrong:
        return None
    blocks = wrong[0] is entries[0]
    return subject.finding(
        "root-missing",
        Severity.BLOCKS if blocks else Severity.WARNS,
        f"The boot loader gives the kernel root={wrong[0].root}, and no file system of the disk has that name.",
        remedy="Write the boot loader's configuration anew on the source system: update-grub, or grub2-mkconfig.",
        where=wrong[0].where,
        source=CHECK_ITEMS,
    )


def file_system_unclean(subject: RuleContext) -> Finding | None:
    """Warn that the root was not unmounted cleanly: what was read may be older than what was meant."""
    guest = subject.guest
    if guest is None or guest.root is None or not guest.root.unclean:
        return None
    return subject.finding(
        "file-system-unclean",
        Severity.WARNS,
        f"The root file system ({guest.root.type}) is not clean: {guest.root.unclean}.",
        remedy="Shut the source system down before the disk is copied, or have a copy of the disk repaired: "
        + ("mount and unmount it once." if guest.root.type == "xfs" else "fsck -f."),
        where=f"partition {guest.root.partition}, {'log' if guest.root.type == 'xfs' else 'superblock'}",
        source=GUIDE_2021,
    )


def root_full(subject: RuleContext) -> Finding | None:
    """Warn of a root with hardly any space or inodes left."""
    guest = subject.guest
    if guest is None or guest.root is None:
        return None
    root = guest.root
    if root.free_bytes >= _LEAST_FREE_BYTES and root.free_inodes >= _LEAST_FREE_INODES:
        return None
    return subject.finding(
        "root-full",
        Severity.WARNS,
        f"The root file system has {root.free_bytes // MIB} MiB and {root.free_inodes} inodes free; the first start "
        "writes keys, logs and cloud-init's state.",
        remedy="Free some space on the source system, or have a larger disk (--disk-size) grown at the first start.",
        where=f"partition {root.partition}, superblock",
        source=COMPLIANCE,
    )


def project_and_quota(subject: RuleContext) -> Finding | None:
    """Warn of ext4 with the features project and quota together."""
    guest = subject.guest
    if guest is None or guest.root is None or not {"project", "quota"} <= set(guest.root.features):
        return None
    return subject.finding(
        "project-and-quota",
        Severity.WARNS,
        "The root file system has the ext4 features project and quota together, which the image requirements exclude.",
        remedy="Switch one off on a copy of the disk: tune2fs -O ^project or tune2fs -O ^quota.",
        where=f"partition {guest.root.partition}, superblock",
        source=GUIDE_2021,
    )


def ext4_64bit(subject: RuleContext) -> Finding | None:
    """Say that the root has ext4's 64bit feature, which old rules excluded."""
    guest = subject.guest
    if guest is None or guest.root is None or guest.root.type != "ext4" or "64bit" not in guest.root.features:
        return None
    return subject.finding(
        "ext4-64bit",
        Severity.NOTE,
        "The root has ext4's feature 64bit, which mkfs sets by default; rules of 2021 excluded it, newer ones do not.",
        remedy=None,
        where=f"partition {guest.root.partition}, superblock",
        source=GUIDE_2021,
    )


def _mounted(subject: RuleContext) -> Sequence[FstabEntry]:
    guest = subject.guest
    entries = guest.fstab if guest is not None else ()
    return [entry for entry in entries if entry.mount_point.startswith("/") or entry.type == "swap"]


def _boot_entries(subject: RuleContext) -> Sequence[BootEntry]:
    guest = subject.guest
    return guest.boot_entries if guest is not None else ()


def _is_optional(entry: FstabEntry) -> bool:
    return any(option in _OPTIONAL for option in entry.options)


def _specs(entries: Sequence[FstabEntry]) -> str:
    return ", ".join(f"{entry.spec} ({entry.mount_point})" for entry in entries[:4])


def _lines(entries: Sequence[FstabEntry]) -> str:
    return ", ".join(f"/etc/fstab:{entry.line}" for entry in entries[:4])


MOUNT_RULES: dict[str, Rule] = {
    "fstab-device-name": fstab_device_name,
    "fstab-missing": fstab_missing,
    "root-device-name": root_device_name,
    "root-missing": root_missing,
    "file-system-unclean": file_system_unclean,
    "root-full": root_full,
    "project-and-quota": project_and_quota,
    "ext4-64bit": ext4_64bit,
}
