"""Checks of mounts: fstab, crypttab, root=, and the state of the root file system."""

import re
from collections.abc import Sequence

from aliyun_import.checks.registry import Found, GuestSubject, Source, check
from aliyun_import.checks.remedies import regenerate_menu
from aliyun_import.disk.guest.report import BootEntry, FstabEntry
from aliyun_import.limits import MIB
from aliyun_import.model.finding import Severity

# Device names that depend on the bus of the disk. On ECS it is /dev/vda, or /dev/nvme0n1 on newer instance types.
_NOT_ON_ECS = re.compile(
    r"/dev/((sd|hd|xvd|ubd|dasd)[a-z]+\d*|xvd\d+|(cciss|ida|rd|i2o)/\w+|mmcblk\d+(p\d+)?|nbd\d+\w*|pmem\d+\w*"
    r"|(sr|scd|fd)\d+|cdrom\w*|dvd\w*|floppy\w*|nfs|disk/by-(path|id)/(?!dm-|md-|lvm-).+)$"
    r"|(0x)?[0-9a-f]{3,4}$|\d+:\d+$"
)
_ON_ECS = re.compile(r"/dev/(vd[a-z]+\d*|nvme\d+n\d+(p\d+)?)$")
# Options with which the boot does not wait for a mount, or continues without it.
_OPTIONAL = ("nofail", "x-systemd.automount", "_netdev")
# File system types of folders that a hypervisor shares with its guests.
_SHARED = ("vboxsf", "9p", "virtiofs", "vmhgfs", "fuse.vmhgfs-fuse", "prl_fs", "vmblock")
# With less, the first boot may fail: cloud-init, logs and the injected drivers need some tens of MiB.
_LEAST_FREE_BYTES = 100 * MIB
_LEAST_FREE_INODES = 1000


@check(
    "fstab-device-name",
    {Severity.BLOCKS: "", Severity.WARNS: "for swap, nofail, /dev/vda, and the root of a system with systemd"},
    source=Source.LINUX_2026,
)
def fstab_device_name(subject: GuestSubject) -> Found | None:
    """Check that fstab does not refer to disks by device names.

    On ECS the disk is /dev/vda, or /dev/nvme0n1 on newer instance types. Names such as /dev/sda, /dev/disk/by-path,
    /dev/disk/by-id, /dev/cciss and /dev/mmcblk0 depend on the controller of the source machine. The first boot waits
    for such a device, and ends in emergency mode. systemd mounts the root regardless of its line. /dev/vda works on
    some instance types only. Lines with noauto are ignored.
    """
    entries = _mounted(subject)
    elsewhere = [entry for entry in entries if _NOT_ON_ECS.match(entry.spec)]
    listed = elsewhere or [entry for entry in entries if _ON_ECS.match(entry.spec)]
    if not listed:
        return None
    waits = any(_is_required(entry) and not (entry.mount_point == "/" and subject.guest.systemd) for entry in elsewhere)
    return Found(
        f"{_file(listed)} refers to {_specs(listed)} by device name. On ECS the disk is /dev/vda or /dev/nvme0n1"
        + (": the first boot would wait for a device that does not exist." if waits else "."),
        "Use UUID=... instead, with the UUID that `blkid` prints on the source system.",
        _lines(listed),
        None if waits else Severity.WARNS,
    )


@check(
    "fstab-missing",
    {
        Severity.BLOCKS: "",
        Severity.WARNS: "for swap, the root of a system with systemd, and if it may be on a data disk",
        Severity.NOTE: "with nofail",
    },
    source=Source.CHECK_ITEMS,
)
def fstab_missing(subject: GuestSubject) -> Found | None:
    """Check that every file system in fstab is on the disk.

    If no file system has the UUID or label of a line, the first boot waits for it and ends in emergency mode. systemd
    mounts the root regardless of its line, but leaves it read-only if the line is wrong.
    """
    missing = [entry for entry in _mounted(subject) if entry.found is False]
    if not missing:
        return None
    is_systemd = subject.guest.systemd
    required = [entry for entry in missing if _is_required(entry) and not (entry.mount_point == "/" and is_systemd)]
    severity = Severity.NOTE
    if required:
        # It may be on a data disk of the same push.
        severity = Severity.BLOCKS if len(subject.request.disks) == 1 else Severity.WARNS
    elif any(not _is_optional(entry) for entry in missing):
        severity = Severity.WARNS
    return Found(
        f"{_file(missing)} mounts {_specs(required or missing)}, and the disk has no such file system"
        + (": the first boot would end in emergency mode." if severity is Severity.BLOCKS else "."),
        "Remove the line, add the option nofail, or use the UUID of the intended file system.",
        _lines(required or missing),
        severity,
    )


@check(
    "root-device-name",
    {Severity.BLOCKS: "", Severity.WARNS: "for /dev/vda, and for menu entries that are not the default"},
    source=Source.LINUX_2026,
)
def root_device_name(subject: GuestSubject) -> Found | None:
    """Check that the boot loader does not pass root= with a device name.

    Names such as /dev/sda1 depend on the controller of the source machine, and do not exist on ECS.
    """
    entries, started = subject.guest.boot_entries, subject.guest.started
    elsewhere = [entry for entry in (*started, *entries) if _NOT_ON_ECS.match(entry.root)]
    listed = elsewhere or [entry for entry in (*started, *entries) if _ON_ECS.match(entry.root)]
    if not listed:
        return None
    blocks = bool(elsewhere) and all(entry in elsewhere for entry in started)
    return Found(
        f"The boot loader passes root={listed[0].root} to the kernel. On ECS the disk is /dev/vda or /dev/nvme0n1.",
        f"Use root=UUID=... with the UUID {_uuid(subject)}: {_root_command(subject, listed[0])}",
        listed[0].where,
        None if blocks else Severity.WARNS,
    )


@check(
    "root-missing",
    {Severity.BLOCKS: "", Severity.WARNS: "for menu entries that are not the default"},
    source=Source.CHECK_ITEMS,
)
def root_missing(subject: GuestSubject) -> Found | None:
    """Check that the file system in root= of the boot loader is on the disk.

    Without it the kernel cannot mount the root.
    """
    entries, started = subject.guest.boot_entries, subject.guest.started
    wrong = [entry for entry in (*started, *entries) if entry.root_found is False and not _NOT_ON_ECS.match(entry.root)]
    if not wrong:
        return None
    return Found(
        f"The boot loader passes root={wrong[0].root} to the kernel, and the disk has no such file system.",
        f"Regenerate the boot loader's configuration on the source system: {regenerate_menu(subject.guest)}.",
        wrong[0].where,
        None if all(entry in wrong for entry in started) else Severity.WARNS,
    )


@check("shared-folder", {Severity.BLOCKS: "", Severity.WARNS: "with nofail"}, source=Source.JUDGEMENT)
def shared_folder(subject: GuestSubject) -> Found | None:
    """Check that fstab mounts no shared folder of the old hypervisor.

    The types vboxsf, vmhgfs, 9p and virtiofs cannot be mounted on ECS. Without nofail, the first boot ends in emergency
    mode.
    """
    entries = [entry for entry in _mounted(subject) if entry.type in _SHARED]
    if not entries:
        return None
    return Found(
        f"{_file(entries)} mounts {_specs(entries)}, a shared folder of the old hypervisor ({entries[0].type}).",
        "Remove the line, or add the option nofail.",
        _lines(entries),
        None if any(_is_required(entry) for entry in entries) else Severity.WARNS,
    )


@check("crypttab", Severity.WARNS, source=Source.JUDGEMENT)
def crypttab(subject: GuestSubject) -> Found | None:
    """Check that crypttab unlocks only devices of this disk, and without a passphrase.

    The boot waits for a device that is missing, and for a passphrase.
    """
    entries = [entry for entry in subject.guest.crypttab if "noauto" not in entry.options]
    missing = [entry for entry in entries if entry.found is False or _NOT_ON_ECS.match(entry.spec)]
    with_passphrase = [entry for entry in entries if entry.type in ("none", "-")]
    if not missing and not with_passphrase:
        return None
    first = (missing or with_passphrase)[0]
    reason = f"{first.spec}, which is not on the disk" if missing else f"{first.spec} with a passphrase"
    return Found(
        f"/etc/crypttab unlocks {reason}: the first boot waits for it.",
        "Remove the line and the mount that needs it, or add noauto (and a key file) on the source system.",
        first.where,
    )


@check("file-system-unclean", Severity.WARNS, source=Source.GUIDE_2021)
def file_system_unclean(subject: GuestSubject) -> Found | None:
    """Check that the root was unmounted cleanly and has no errors.

    The import mounts the root to change it, and fsck may run at the first boot. The state is read from a flag of ext2,
    ext3 and ext4, and from the last record of the log of XFS.
    """
    root = subject.guest.root
    if root is None or not root.unclean:
        return None
    xfs = root.type == "xfs"
    return Found(
        f"The root file system ({root.type}) is not clean: {root.unclean}.",
        "Shut the source system down before the disk is copied, or repair a copy of the disk: "
        + ("mount and unmount it once." if xfs else "fsck -f."),
        f"partition {root.partition}, {'log' if xfs else 'superblock'}",
    )


@check("root-full", Severity.WARNS, source=Source.COMPLIANCE)
def root_full(subject: GuestSubject) -> Found | None:
    """Check that the root has at least 100 MiB and 1000 inodes free.

    The import and the first boot write to it.
    """
    root = subject.guest.root
    if root is None or (root.free_bytes >= _LEAST_FREE_BYTES and root.free_inodes >= _LEAST_FREE_INODES):
        return None
    return Found(
        f"The root file system has {root.free_bytes // MIB} MiB and {root.free_inodes} inodes free; the first boot "
        "writes keys, logs and the state of cloud-init.",
        "Free some space on the source system, or pass a larger --disk-size and grow the root at the first boot.",
        f"partition {root.partition}, superblock",
    )


@check("project-and-quota", Severity.WARNS, source=Source.GUIDE_2021)
def project_and_quota(subject: GuestSubject) -> Found | None:
    """Check that the root does not have the ext4 features project and quota together.

    The image requirements exclude the combination.
    """
    root = subject.guest.root
    if root is None or not {"project", "quota"} <= set(root.features):
        return None
    return Found(
        "The root file system has the ext4 features project and quota together, which the image requirements exclude.",
        "Disable one of them on a copy of the disk: tune2fs -O ^project or tune2fs -O ^quota.",
        f"partition {root.partition}, superblock",
    )


def _mounted(subject: GuestSubject) -> Sequence[FstabEntry]:
    """Return the lines of fstab that are mounted or used as swap at boot."""
    return [
        entry
        for entry in subject.guest.fstab
        if (entry.mount_point.startswith("/") or entry.type == "swap") and "noauto" not in entry.options
    ]


def _is_optional(entry: FstabEntry) -> bool:
    return any(option in _OPTIONAL for option in entry.options)


def _is_required(entry: FstabEntry) -> bool:
    return not _is_optional(entry) and entry.type != "swap"


def _specs(entries: Sequence[FstabEntry]) -> str:
    return ", ".join(f"{entry.spec} ({entry.mount_point})" for entry in entries[:4])


def _lines(entries: Sequence[FstabEntry]) -> str:
    return ", ".join(entry.where or f"/etc/fstab:{entry.line}" for entry in entries[:4])


def _file(entries: Sequence[FstabEntry]) -> str:
    return entries[0].where.rsplit(":", 1)[0] or "/etc/fstab"


def _uuid(subject: GuestSubject) -> str:
    root = subject.guest.root
    return (root.uuid if root is not None else "") or "that `blkid` prints on the source system"


def _root_command(subject: GuestSubject, entry: BootEntry) -> str:
    """Return the command or the instruction that changes root= of a boot loader."""
    guest = subject.guest
    if entry.loader == "grub" and "grubby" not in guest.tools:
        return f"remove GRUB_DISABLE_LINUX_UUID from /etc/default/grub, and run {regenerate_menu(guest)}."
    if entry.loader in ("grub", "bls") and "grubby" in guest.tools:
        return f"grubby --update-kernel=ALL --args=root=UUID={_uuid(subject)}"
    return f"change it in {entry.where.rsplit(':', 1)[0]}."
