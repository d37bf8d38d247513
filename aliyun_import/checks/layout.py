"""This file holds the rules about how the system disk is divided: where the root lies, and what lies beside it."""

from aliyun_import.checks.context import CHECK_ITEMS, GUIDE_2021, LINUX_2026, Rule, RuleContext
from aliyun_import.disk.report import Partition
from aliyun_import.model.finding import Finding, Severity

_ENCRYPTED = {"luks": "LUKS", "bitlocker": "BitLocker"}
# Kinds that may be a root; ext2 and UFS are tolerated.
_NOT_IN_THE_REQUIREMENTS = ("btrfs", "f2fs", "reiserfs", "zfs")


def root_encrypted(subject: RuleContext) -> Finding | None:
    """Block an encrypted partition with no readable root beside it."""
    report, guest = subject.report, subject.guest
    locked = next((part for part in report.partitions if part.filesystem in _ENCRYPTED), None)
    if locked is None:
        return None
    kind = _ENCRYPTED[locked.filesystem]
    if guest is not None and guest.root is not None:
        return subject.finding(
            "root-encrypted",
            Severity.NOTE,
            f"Partition {locked.number} is encrypted with {kind}; what is in it was not looked at.",
            remedy=None,
            where=f"partition {locked.number}, byte {locked.start_bytes}",
        )
    return subject.finding(
        "root-encrypted",
        Severity.BLOCKS,
        f"Partition {locked.number} is encrypted with {kind} and there is no other root: the first start would wait "
        "for a passphrase, and the import can put neither drivers nor a password into it.",
        remedy="Decrypt the disk first, and encrypt the disk on ECS instead; or --skip-check root-encrypted.",
        where=f"partition {locked.number}, byte {locked.start_bytes}",
    )


def root_larger_than_partition(subject: RuleContext) -> Finding | None:
    """Block a root file system that is larger than its partition: a copy cut short, or shrunk too far."""
    guest, partition = subject.guest, _root_partition(subject)
    if guest is None or guest.root is None or partition is None or guest.root.volume:
        return None
    if guest.root.size_bytes <= partition.size_bytes:
        return None
    return subject.finding(
        "root-larger-than-partition",
        Severity.BLOCKS,
        f"The {guest.root.type} file system has {guest.root.size_bytes} bytes in a partition of "
        f"{partition.size_bytes}: the kernel refuses to mount it.",
        remedy="Make the partition as large as it was"
        + (", or shrink the file system with resize2fs." if guest.root.type.startswith("ext") else "."),
        where=f"partition {partition.number}, byte {partition.start_bytes}",
        source=CHECK_ITEMS,
    )


def root_not_last(subject: RuleContext) -> Finding | None:
    """Warn of partitions behind the root, which then cannot grow."""
    root = _root_partition(subject)
    if root is None:
        return None
    after = [part for part in subject.report.partitions if part.start_bytes > root.start_bytes]
    if not after:
        return None
    names = ", ".join(f"{part.number} ({part.filesystem or part.type_name})" for part in after)
    return subject.finding(
        "root-not-last",
        Severity.WARNS,
        f"The root (partition {root.number}) is not the last on the disk: {names} follow, so it cannot grow.",
        remedy="Move the root to the end of the disk, or live with the size that it has.",
        where=f"partition {root.number}, byte {root.start_bytes}",
        source=LINUX_2026,
    )


def root_on_lvm(subject: RuleContext) -> Finding | None:
    """Warn of a root that is a logical volume."""
    guest = subject.guest
    if guest is None or guest.root is None or not guest.root.volume:
        return None
    return subject.finding(
        "root-on-lvm",
        Severity.WARNS,
        f"The root is the logical volume {guest.root.volume}, which the image requirements advise against: neither the "
        "import nor the online resize works on it.",
        remedy="Put the root on a partition of its own, or accept that the service does not change the system.",
        where=f"partition {guest.root.partition}",
        source=LINUX_2026,
    )


def swap_partition(subject: RuleContext) -> Finding | None:
    """Warn of a swap partition on the system disk."""
    swap = next((part for part in subject.report.partitions if part.filesystem == "swap"), None)
    if swap is None:
        return None
    return subject.finding(
        "swap-partition",
        Severity.WARNS,
        f"Partition {swap.number} is swap space, which the image requirements advise against.",
        remedy="Remove it and its line in /etc/fstab; use a swap file or a disk of its own on the instance.",
        where=f"partition {swap.number}, byte {swap.start_bytes}",
        source=LINUX_2026,
    )


def root_file_system(subject: RuleContext) -> Finding | None:
    """Warn of a root on a file system that the image requirements do not have."""
    guest, parts = subject.guest, subject.report.partitions
    if guest is None or guest.root is not None:
        return None  # what can be read here is what the requirements have
    odd = next((part for part in parts if part.filesystem in _NOT_IN_THE_REQUIREMENTS), None)
    if odd is None or any(part.filesystem == "ntfs" for part in parts):
        return None
    return subject.finding(
        "root-file-system",
        Severity.WARNS,
        f"The root seems to lie on {odd.filesystem} (partition {odd.number}); the image requirements have ext3, ext4 "
        "and XFS, and the import changes nothing on others.",
        remedy="See to it that the drivers (virtio, nvme), DHCP and cloud-init are there: it is not read here either.",
        where=f"partition {odd.number}, byte {odd.start_bytes}",
        source=LINUX_2026,
    )


def several_mounts(subject: RuleContext) -> Finding | None:
    """Say that the system is spread over more partitions than a root, a /boot and an ESP."""
    guest = subject.guest
    further = [entry for entry in guest.fstab if entry.found and _is_further(entry.mount_point)] if guest else []
    if not further or guest is None or (guest.root is not None and guest.root.volume):
        return None
    return subject.finding(
        "several-mounts",
        Severity.NOTE,
        f"The system mounts {', '.join(entry.mount_point for entry in further[:4])} from partitions of its own; the "
        "guide of 2021 asks for a single root, and only the last partition can grow.",
        remedy=None,
        where=", ".join(f"/etc/fstab:{entry.line}" for entry in further[:4]),
        source=GUIDE_2021,
    )


def _is_further(mount_point: str) -> bool:
    return mount_point.startswith("/") and mount_point not in ("/", "/boot", "/boot/efi", "/efi")


def _root_partition(subject: RuleContext) -> Partition | None:
    guest = subject.guest
    if guest is None or guest.root is None:
        return None
    number = guest.root.partition
    return next((part for part in subject.report.partitions if part.number == number), None)


LAYOUT_RULES: dict[str, Rule] = {
    "root-encrypted": root_encrypted,
    "root-larger-than-partition": root_larger_than_partition,
    "root-not-last": root_not_last,
    "root-on-lvm": root_on_lvm,
    "swap-partition": swap_partition,
    "root-file-system": root_file_system,
    "several-mounts": several_mounts,
}
