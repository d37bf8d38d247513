"""Checks of what the guest mounts: fstab, root=, and the state of the root file system."""

import re
from collections.abc import Sequence

from aliyun_import.checks.registry import Found, GuestSubject, Source, check
from aliyun_import.checks.remedies import regenerate_menu
from aliyun_import.disk.guest.report import BootEntry, FstabEntry
from aliyun_import.limits import MIB
from aliyun_import.model.finding import Severity

# Names that depend on the bus of a disk; on ECS it is /dev/vda, or /dev/nvme0n1 on newer instance types.
_ELSEWHERE = re.compile(
    r"/dev/((sd|hd|xvd|ubd|dasd)[a-z]+\d*|xvd\d+|(cciss|ida|rd|i2o)/\w+|mmcblk\d+(p\d+)?|nbd\d+\w*|pmem\d+\w*"
    r"|(sr|scd|fd)\d+|cdrom\w*|dvd\w*|floppy\w*|nfs|disk/by-(path|id)/(?!dm-|md-|lvm-).+)$"
    r"|(0x)?[0-9a-f]{3,4}$|\d+:\d+$"
)
_ON_ECS = re.compile(r"/dev/(vd[a-z]+\d*|nvme\d+n\d+(p\d+)?)$")
# With these the first boot does not wait, or continues without it.
_OPTIONAL = ("nofail", "x-systemd.automount", "_netdev")
# Folders that the old hypervisor shares with its guests.
_SHARED = ("vboxsf", "9p", "virtiofs", "vmhgfs", "fuse.vmhgfs-fuse", "prl_fs", "vmblock")
# Below these the first boot fails or nearly so: cloud-init, logs and the injected drivers need some tens of MiB.
_LEAST_FREE_BYTES = 100 * MIB
_LEAST_FREE_INODES = 1000


@check(
    "fstab-device-name",
    {Severity.BLOCKS: "", Severity.WARNS: "for swap, nofail, the root under systemd, and /dev/vda"},
    source=Source.LINUX_2026,
)
def fstab_device_name(subject: GuestSubject) -> Found | None:
    """Check that fstab does not refer to disks by device names.

    Disks are /dev/vda, or /dev/nvme0n1 on newer instance types. A line with /dev/sda, or another name that depends on
    the controller of the source machine (/dev/disk/by-path, /dev/disk/by-id, /dev/cciss, /dev/mmcblk0), makes the first
    boot wait for it and end in emergency mode. systemd mounts the root itself, whatever its line names. /dev/vda works
    on some instance types only. Lines with noauto are not read.
    """
    entries = _mounted(subject)
    elsewhere = [entry for entry in entries if _ELSEWHERE.match(entry.spec)]
    listed = elsewhere or [entry for entry in entries if _ON_ECS.match(entry.spec)]
    if not listed:
        return None
    waits = any(_is_required(entry) and not (entry.mount_point == "/" and subject.guest.systemd) for entry in elsewhere)
    return Found(
        f"{_file(listed)} refers to {_specs(listed)} by device name, and disks are /dev/vda or /dev/nvme0n1 on ECS"
        + (": the first boot would wait for a device that does not exist." if waits else "."),
        "Use UUID=... instead, with the UUID that `blkid` prints on the source system.",
        _lines(listed),
        None if waits else Severity.WARNS,
    )


@check(
    "fstab-missing",
    {
        Severity.BLOCKS: "",
        Severity.WARNS: "for swap, the root under systemd, and if a data disk may hold it",
        Severity.NOTE: "with nofail",
    },
    source=Source.CHECK_ITEMS,
)
def fstab_missing(subject: GuestSubject) -> Found | None:
    """Check that every file system in fstab is on the disk.

    The first boot waits for a UUID or label that no file system has, and ends in emergency mode. systemd mounts the
    root itself, and leaves it read-only if its line is wrong.
    """
    missing = [entry for entry in _mounted(subject) if entry.found is False]
    if not missing:
        return None
    is_systemd = subject.guest.systemd
    required = [entry for entry in missing if _is_required(entry) and not (entry.mount_point == "/" and is_systemd)]
    severity = Severity.NOTE
    if required:
        # A data disk of the same push may hold it.
        severity = Severity.BLOCKS if len(subject.request.disks) == 1 else Severity.WARNS
    elif any(not _is_optional(entry) for entry in missing):
        severity = Severity.WARNS
    return Found(
        f"{_file(missing)} mounts {_specs(required or missing)}, and no file system on the disk has that name"
        + (": the first boot would end in emergency mode." if severity is Severity.BLOCKS else "."),
        "Remove the line, add the option nofail, or use the UUID of the intended file system.",
        _lines(required or missing),
        severity,
    )


@check(
    "root-device-name",
    {Severity.BLOCKS: "", Severity.WARNS: "for entries that are not the first, and /dev/vda"},
    source=Source.LINUX_2026,
)
def root_device_name(subject: GuestSubject) -> Found | None:
    """Check that the boot loader does not pass the root by its device name.

    root=/dev/sda1, or another name that depends on the controller of the source machine, does not exist on ECS.
    """
    entries, started = subject.guest.boot_entries, subject.guest.started
    elsewhere = [entry for entry in (*started, *entries) if _ELSEWHERE.match(entry.root)]
    listed = elsewhere or [entry for entry in (*started, *entries) if _ON_ECS.match(entry.root)]
    if not listed:
        return None
    blocks = bool(elsewhere) and all(entry in elsewhere for entry in started)
    return Found(
        f"The boot loader passes root={listed[0].root} to the kernel, and disks are /dev/vda or /dev/nvme0n1 on ECS.",
        f"Use root=UUID=... with the UUID {_uuid(subject)}: {_root_command(subject, listed[0])}",
        listed[0].where,
        None if blocks else Severity.WARNS,
    )


@check(
    "root-missing",
    {Severity.BLOCKS: "", Severity.WARNS: "for entries that are not the first"},
    source=Source.CHECK_ITEMS,
)
def root_missing(subject: GuestSubject) -> Found | None:
    """Check that the root that the boot loader passes is on the disk.

    The kernel cannot boot with a root= that no file system on the disk has.
    """
    entries, started = subject.guest.boot_entries, subject.guest.started
    wrong = [entry for entry in (*started, *entries) if entry.root_found is False and not _ELSEWHERE.match(entry.root)]
    if not wrong:
        return None
    return Found(
        f"The boot loader passes root={wrong[0].root} to the kernel, and no file system on the disk has that name.",
        f"Regenerate the boot loader's configuration on the source system: {regenerate_menu(subject.guest)}.",
        wrong[0].where,
        None if all(entry in wrong for entry in started) else Severity.WARNS,
    )


@check("shared-folder", {Severity.BLOCKS: "", Severity.WARNS: "with nofail"}, source=Source.JUDGEMENT)
def shared_folder(subject: GuestSubject) -> Found | None:
    """Check that fstab mounts no folder that the old hypervisor shared.

    vboxsf, vmhgfs, 9p and virtiofs have nothing to mount on ECS. The first boot ends in emergency mode without nofail.
    """
    entries = [entry for entry in _mounted(subject) if entry.type in _SHARED]
    if not entries:
        return None
    return Found(
        f"{_file(entries)} mounts {_specs(entries)}, a folder that the old hypervisor shared ({entries[0].type}).",
        "Remove the line, or add the option nofail.",
        _lines(entries),
        None if any(_is_required(entry) for entry in entries) else Severity.WARNS,
    )


@check("crypttab", Severity.WARNS, source=Source.JUDGEMENT)
def crypttab(subject: GuestSubject) -> Found | None:
    """Check that crypttab unlocks devices of this disk without a passphrase.

    The boot waits for a device that is not there, and for a passphrase that nobody enters.
    """
    entries = [entry for entry in subject.guest.crypttab if "noauto" not in entry.options]
    gone = [entry for entry in entries if entry.found is False or _ELSEWHERE.match(entry.spec)]
    asked = [entry for entry in entries if entry.type in ("none", "-")]
    if not gone and not asked:
        return None
    first = (gone or asked)[0]
    reason = f"{first.spec}, which is not on the disk" if gone else f"{first.spec} with a passphrase"
    return Found(
        f"/etc/crypttab unlocks {reason}: the first boot waits for it.",
        "Remove the line and the mount that needs it, or add noauto (and a key file) on the source system.",
        first.where,
    )


@check("file-system-unclean", Severity.WARNS, source=Source.GUIDE_2021)
def file_system_unclean(subject: GuestSubject) -> Found | None:
    """Check that the root was unmounted cleanly and has no errors.

    The import mounts the root to change it, and fsck may run at the first boot. The state is a flag of ext2, ext3 and
    ext4, and the last record of the log of XFS.
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
    """Return what is mounted at boot. A bind mount, or a file as swap, names a path."""
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
    """Return how to change the root that a boot loader passes."""
    guest = subject.guest
    if entry.loader == "grub" and "grubby" not in guest.tools:
        return f"remove GRUB_DISABLE_LINUX_UUID from /etc/default/grub, and run {regenerate_menu(guest)}."
    if entry.loader in ("grub", "bls") and "grubby" in guest.tools:
        return f"grubby --update-kernel=ALL --args=root=UUID={_uuid(subject)}"
    return f"change it in {entry.where.rsplit(':', 1)[0]}."
