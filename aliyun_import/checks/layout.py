"""Checks of the layout of the system disk: position, size and kind of the root, and the other partitions."""

from aliyun_import.checks.registry import Found, GuestSubject, Source, SystemDiskSubject, check
from aliyun_import.checks.remedies import start_command
from aliyun_import.disk.report import Partition
from aliyun_import.model.finding import Severity

_ENCRYPTED = {"luks": "LUKS", "bitlocker": "BitLocker"}
# File systems that may hold a root and are not in the image requirements.
_NOT_IN_REQUIREMENTS = ("btrfs", "f2fs", "reiserfs", "zfs", "jfs", "nilfs2", "bcachefs", "erofs", "squashfs")


@check(
    "root-encrypted",
    {
        Severity.BLOCKS: "",
        Severity.NOTE: "if there is another root",
        Severity.UNKNOWN: "if the root may be on another volume, which is not read",
    },
    source=Source.JUDGEMENT,
)
def root_encrypted(subject: SystemDiskSubject) -> Found | None:
    """Check that the root is not encrypted.

    A system with an encrypted root waits for a passphrase at the first boot, and the import cannot change the root.
    """
    guest = subject.report.guest
    locked = next((one for one in guest.unread if one.what in _ENCRYPTED), None) if guest is not None else None
    if guest is None or locked is None:
        return None
    kind, title = _ENCRYPTED[locked.what], locked.where[0].upper() + locked.where[1:]
    if guest.root is not None or guest.windows is not None:
        message = f"{title} is encrypted with {kind}; its contents were not inspected."
        return Found(message, None, locked.where, Severity.NOTE)
    other = next((one for one in guest.unread if one.what not in _ENCRYPTED), None)
    if other is not None:
        return Found(
            f"{title} is encrypted with {kind}. It is not known whether the root is on it, or on {other.where} "
            f"({other.what}), which is not read.",
            f"Start it: {start_command(subject.report.path)}. If the root is encrypted, decrypt it first.",
            locked.where,
            Severity.UNKNOWN,
        )
    return Found(
        f"{title} is encrypted with {kind}, and there is no other root: the first boot would wait for a passphrase, "
        "and the import can add neither drivers nor a password.",
        "Decrypt the disk first, and use disk encryption of ECS instead; or pass --skip-check root-encrypted.",
        locked.where,
    )


@check("root-larger-than-partition", Severity.BLOCKS, source=Source.CHECK_ITEMS)
def root_larger_than_partition(subject: GuestSubject) -> Found | None:
    """Check that the root file system is not larger than its partition.

    The kernel refuses to mount such a file system. It results from shrinking the partition without the file system.
    """
    root, partition = subject.guest.root, _root_partition(subject)
    if root is None or partition is None or root.volume or root.size_bytes <= partition.size_bytes:
        return None
    return Found(
        f"The {root.type} file system has {root.size_bytes} bytes in a partition of {partition.size_bytes}: the kernel "
        "refuses to mount it.",
        "Restore the size of the partition"
        + (", or shrink the file system with resize2fs." if root.type.startswith("ext") else "."),
        _place(partition),
    )


@check("root-not-last", Severity.WARNS, source=Source.LINUX_2026)
def root_not_last(subject: GuestSubject) -> Found | None:
    """Check that the root is the last partition.

    Only the last partition can grow on a larger disk.
    """
    root = _root_partition(subject)
    after = [part for part in subject.report.partitions if root and part.start_bytes > root.start_bytes]
    if root is None or not after:
        return None
    names = ", ".join(f"{part.number} ({part.filesystem or part.type_name})" for part in after)
    return Found(
        f"The root (partition {root.number}) is not the last partition, so it cannot grow. After it: {names}.",
        "Move the root to the end of the disk, or accept its size.",
        _place(root),
    )


@check("root-on-lvm", Severity.WARNS, source=Source.LINUX_2026)
def root_on_lvm(subject: GuestSubject) -> Found | None:
    """Check that the root is not a logical volume.

    The image requirements ask for a root without LVM. On LVM, neither the changes by the import nor online resizing
    work.
    """
    root = subject.guest.root
    if root is None or not root.volume:
        return None
    return Found(
        f"The root is the logical volume {root.volume}, which the image requirements advise against: neither the "
        "changes by the import nor online resizing work.",
        "Move the root to a partition, or accept that the service does not change the system.",
        f"partition {root.partition}",
    )


@check("swap-partition", Severity.WARNS, source=Source.LINUX_2026)
def swap_partition(subject: SystemDiskSubject) -> Found | None:
    """Check that the system disk has no swap partition.

    The image requirements advise against one.
    """
    swap = next((part for part in subject.report.partitions if part.filesystem == "swap"), None)
    if swap is None:
        return None
    return Found(
        f"Partition {swap.number} is swap space, which the image requirements advise against.",
        "Remove it and its line in /etc/fstab; use a swap file or a separate disk on the instance.",
        _place(swap),
    )


@check("hibernated", Severity.WARNS, source=Source.JUDGEMENT)
def hibernated(subject: SystemDiskSubject) -> Found | None:
    """Check that the system was shut down and not hibernated.

    If a swap partition has a saved session, the first boot resumes it on other hardware.
    """
    swap = next((part for part in subject.report.partitions if part.filesystem == "swap-suspended"), None)
    if swap is None:
        return None
    return Found(
        f"Partition {swap.number} contains a hibernated session: the first boot resumes it on other hardware, and may "
        "damage the root file system.",
        "Start the source system, shut it down, and copy the disk again.",
        _place(swap),
    )


@check("root-file-system", Severity.WARNS, source=Source.LINUX_2026)
def root_file_system(subject: GuestSubject) -> Found | None:
    """Check that the file system of the root is in the image requirements.

    The requirements name ext3, ext4 and XFS; ext2 and UFS are tolerated. This tool does not read btrfs, F2FS, ReiserFS,
    ZFS, JFS, NILFS2, bcachefs, EROFS and squashfs, and the import does not change their contents.
    """
    parts = subject.report.partitions
    if subject.guest.root is not None:
        return None  # the file systems that this tool reads are in the requirements, or tolerated
    other = next((part for part in parts if part.filesystem in _NOT_IN_REQUIREMENTS), None)
    if other is None or any(part.filesystem == "ntfs" for part in parts):
        return None
    return Found(
        f"The root seems to be on {other.filesystem} (partition {other.number}). The image requirements name ext3, "
        "ext4 and XFS, and the import does not change other file systems.",
        "Make sure that the drivers (virtio, nvme), DHCP and cloud-init are installed: this tool cannot check them.",
        _place(other),
    )


@check("several-mounts", Severity.NOTE, source=Source.GUIDE_2021)
def several_mounts(subject: GuestSubject) -> Found | None:
    """Check that fstab mounts no more than a root, /boot and an ESP from this disk.

    The guide of 2021 asks for a single partition with the root. Newer pages only ask that the root is the last one.
    """
    further = [entry for entry in subject.guest.fstab if entry.found and _is_further(entry.mount_point)]
    if not further or (subject.guest.root is not None and subject.guest.root.volume):
        return None
    return Found(
        f"The system mounts {', '.join(entry.mount_point for entry in further[:4])} from separate partitions; the "
        "guide of 2021 asks for a single root, and only the last partition can grow.",
        None,
        ", ".join(f"/etc/fstab:{entry.line}" for entry in further[:4]),
    )


def _is_further(mount_point: str) -> bool:
    return mount_point.startswith("/") and mount_point not in ("/", "/boot", "/boot/efi", "/efi")


def _place(partition: Partition) -> str:
    return f"partition {partition.number}, byte {partition.start_bytes}"


def _root_partition(subject: GuestSubject) -> Partition | None:
    root = subject.guest.root
    return next((part for part in subject.report.partitions if root and part.number == root.partition), None)
