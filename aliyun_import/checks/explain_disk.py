"""This file holds the texts about the rules of containers, partitions and starting: class, reason, document."""

from aliyun_import.checks.context import API, BOOT_MODES, CHECK_ITEMS, GUIDE_2021, JUDGEMENT, LINUX_2026, Text

_VHD = "Virtual Hard Disk Image Format Specification 1.0, and ImportImage's InvalidVHDImage errors"
_QCOW2 = "QEMU, docs/interop/qcow2.txt"
_UEFI = "UEFI specification 2.10, chapter 5 (GPT)"

CONTAINER_TEXTS: dict[str, Text] = {
    "disk-missing": ("blocks", "There is no file of that name.", JUDGEMENT),
    "disk-unreadable": ("blocks", "The file is there, and this user may not open it.", JUDGEMENT),
    "disk-kind": ("blocks", "A directory, a character device, a pipe or a socket is no disk.", JUDGEMENT),
    "file-empty": ("blocks", "The file has no bytes: the service answers InvalidOSSObject.Size.", API),
    "disk-blank": (
        "note",
        "Nothing but zeros was found where a partition table, a file system or a container would be. A data disk may "
        "be empty on purpose; a system disk is refused by no-partition-table.",
        JUDGEMENT,
    ),
    "disk-too-small": ("blocks", "The file is smaller than any disk with a partition in it.", JUDGEMENT),
    "disk-read-error": ("blocks", "The disk could not be read at some place: the medium itself fails.", JUDGEMENT),
    "raw-size-not-512": (
        "blocks",
        "A RAW disk consists of sectors of 512 bytes. Another size means that the copy was cut short, or that "
        "something was appended to it.",
        JUDGEMENT,
    ),
    "iso-image": (
        "blocks",
        "The file is an installation CD. The service imports installed systems, not ISO.",
        GUIDE_2021,
    ),
    "not-a-disk": ("blocks", "The file is plain text: a checksum, a descriptor, or an error page.", JUDGEMENT),
    "suffix-not-content": (
        "blocks",
        "The name says one container and the bytes say another. The bytes win; but such a file is usually not what "
        "its owner believes it to be.",
        JUDGEMENT,
    ),
    "container-compressed": (
        "note, or blocks when it is compressed twice",
        "ECS imports no compressed files. A RAW disk that is packed in blocks of 64 MiB at most (what `xz -T0` writes, "
        "or zstd frames that tell their size) is checked in its place and sent as it is unpacked. Anything else is "
        "unpacked to a temporary file (--work-dir), and what is in it can only be checked then.",
        API,
    ),
    "container-damaged": (
        "blocks",
        "The compressed file contradicts its own format: it was cut short, or is damaged.",
        JUDGEMENT,
    ),
    "container-foreign": (
        "note, or blocks without qemu-img",
        "VMDK, VHDX and VDI are converted by qemu-img on the way to ECS, where it is installed; VMDK itself is taken "
        "by invitation only.",
        API,
    ),
    "container-tar": ("blocks", "The file is a tar archive, such as an .ova: the disk is one of the files in it.", API),
    "container-7z": (
        "blocks",
        "The file is a 7z archive, which ECS does not import and this tool does not unpack.",
        API,
    ),
    "container-lz4": ("blocks", "The file is lz4 data, which ECS does not import and this tool does not unpack.", API),
    "not-whole": (
        "blocks",
        "The image of another hypervisor names other files that hold its data or its parent. Since it may name any "
        "file of this machine, such references are never followed.",
        JUDGEMENT,
    ),
    "conversion-failed": (
        "blocks",
        "qemu-img can't open the image of another hypervisor; the reason is its own.",
        JUDGEMENT,
    ),
    "vhd-no-footer": (
        "blocks",
        "A VHD ends in a footer of 512 bytes. A file named .vhd without one was cut short, or is RAW under a wrong "
        "name.",
        _VHD,
    ),
    "vhd-truncated": ("blocks", "The VHD's tables point behind the end of the file: the copy was cut short.", _VHD),
    "vhd-footer-checksum": ("blocks", "The footer does not match its checksum: it is damaged.", _VHD),
    "vhd-header-checksum": ("blocks", "The header of a dynamic VHD does not match its checksum.", _VHD),
    "vhd-size-mismatch": ("blocks", "The size in the footer of a fixed VHD is not the size of its data.", _VHD),
    "vhd-table-too-small": (
        "blocks",
        "The block table has not enough entries for the disk: the service answers InvalidVHDImage.IncorrectSize.",
        _VHD,
    ),
    "vhd-differencing": (
        "blocks, or a note when its parent was found",
        "A differencing VHD holds only what changed against its parent, which the service does not have. A parent in "
        "the same folder, with the name and the unique id that the disk names, is read with it, and the two are made "
        "one disk on the way; no other file is opened.",
        _VHD,
    ),
    "vhd-parent-modified": (
        "warns",
        "A differencing VHD remembers when its parent was modified last. A parent that was written to since spoils the "
        "disk, and nothing else shows it; but one that was copied without its times looks the same.",
        _VHD,
    ),
    "vhd-chs-padded": (
        "warns",
        "qemu-img and others round the size of a VHD up to a geometry of cylinders, heads and sectors. The image may "
        "become a GiB larger, and a GPT's backup no longer lies at the end. A push cuts it back, by way of a temporary "
        "file; -o force_size=on avoids it.",
        "general knowledge of qemu-img",
    ),
    "vhd-size-not-mib": (
        "note",
        "Some clouds ask for whole MiB; no document of this one does.",
        "Azure's documentation",
    ),
    "vhd-blocks-overlap": ("blocks", "Two blocks of the table lie on the same bytes of the file: it is damaged.", _VHD),
    "vhd-block-size": (
        "warns",
        "Blocks of another size than 2 MiB are rare, and the service has an error for some: "
        "InvalidBlockSize.NotSupport.",
        API,
    ),
    "vhd-damaged": ("blocks", "The VHD contradicts its own format.", _VHD),
    "qcow2-backing-file": (
        "blocks",
        "The QCOW2 holds only what changed against another file, which the service does not have. That file is never "
        "opened here either: a header may name any file of this machine.",
        _QCOW2,
    ),
    "qcow2-external-data": ("blocks", "The QCOW2's data lie in another file, which the service does not have.", _QCOW2),
    "qcow2-encrypted": ("blocks", "The QCOW2 is encrypted, and the service has no key.", _QCOW2),
    "qcow2-truncated": (
        "blocks",
        "The QCOW2's tables point behind the end of the file: the copy was cut short.",
        _QCOW2,
    ),
    "qcow2-damaged": ("blocks", "The QCOW2 contradicts its own format.", _QCOW2),
    "qcow2-corrupt": (
        "blocks",
        "The QCOW2 has its corrupt bit set, with which QEMU opens it for reading only.",
        _QCOW2,
    ),
    "qcow2-dirty": ("warns", "The QCOW2 was not closed cleanly; its reference counts may be wrong.", _QCOW2),
    "qcow2-unknown-feature": ("warns", "The QCOW2 uses a feature that is not known here.", _QCOW2),
    "qcow2-extended-l2": ("warns", "The QCOW2 has extended L2 entries, which older software does not read.", _QCOW2),
    "qcow2-snapshots": ("note", "The QCOW2 carries internal snapshots; they are sent along and not imported.", _QCOW2),
    "mbr-damaged": ("blocks", "The partition table of the boot record has impossible entries.", GUIDE_2021),
    "mbr-logical-damaged": (
        "warns",
        "The chain of logical partitions is broken; those behind the break are lost.",
        GUIDE_2021,
    ),
    "table-unreadable": ("unknown", "What kind of partition table the disk has could not be told.", JUDGEMENT),
    "partition-unreadable": ("unknown", "An entry of the partition table could not be read.", JUDGEMENT),
    "partition-outside-disk": (
        "blocks",
        "A partition ends behind the disk: the file was cut short, or the disk was made smaller without its "
        "partitions.",
        GUIDE_2021,
    ),
    "partitions-overlap": ("warns", "Two partitions share bytes: one of them will destroy the other.", GUIDE_2021),
    "gpt-no-protective-mbr": ("blocks", "A GPT without the protective MBR is not taken for one by firmware.", _UEFI),
    "gpt-4096-byte-sectors": (
        "blocks",
        "The GPT was made for sectors of 4096 bytes; the disks of ECS have 512, where it is not found.",
        _UEFI,
    ),
    "gpt-primary-damaged": ("blocks", "The GPT at the beginning fails its checksum; only its backup is good.", _UEFI),
    "gpt-backup-damaged": ("warns", "The GPT's backup at the end fails its checksum.", _UEFI),
    "gpt-backup-missing": ("warns", "There is no backup of the GPT where the table says that it is.", _UEFI),
    "gpt-backup-not-at-end": (
        "note",
        "The disk grew after it was partitioned: the backup of the GPT does not lie at its end.",
        _UEFI,
    ),
    "gpt-damaged": ("blocks", "Neither the GPT nor its backup passes its checksum.", _UEFI),
}
DISK_TEXTS: dict[str, Text] = {
    "disk-too-large": ("blocks", "ImportImage takes disks of 1 to 2048 GiB, by their virtual size.", API),
    "requested-size-too-small": (
        "blocks",
        "DiskImageSize must not be less than the virtual size; the service answers InvalidImageSize.",
        API,
    ),
    "requested-format-differs": ("blocks", "The Format that was asked for is not what the bytes of the file are.", API),
    "inspection-incomplete": (
        "unknown",
        "Something of the disk could not be read: it is damaged, of an unknown kind, or the inspection met its limits.",
        JUDGEMENT,
    ),
    "device-in-use": (
        "blocks, or warns when it is only mounted read-only",
        "A block device that is mounted, or that swap, LVM, RAID or another program holds, is written to while it is "
        "read: what arrives is a mix of what it was at the beginning and at the end, and the push ends with exit 9.",
        JUDGEMENT,
    ),
    "no-partition-table": ("blocks", "A system disk needs a partition table (MBR or GPT); there is none.", GUIDE_2021),
    "no-partitions": ("blocks", "The partition table of the system disk is empty.", GUIDE_2021),
    "bare-file-system": (
        "blocks, or warns when there is boot code",
        "A file system without a partition table around it is fine for a data disk. An instance can't start from it.",
        GUIDE_2021,
    ),
    "nothing-starts": (
        "blocks, or unknown when an EFI system partition could not be read",
        "BIOS needs code in the boot record and what that code starts: GRUB's next stage, or an active partition with "
        "a boot sector. UEFI needs EFI/BOOT/BOOTX64.EFI (BOOTAA64.EFI on arm64) on an EFI system partition: a new "
        "instance has no boot entries in its firmware, so no other path is tried.",
        BOOT_MODES,
    ),
    "loader-for-other-processor": (
        "blocks",
        "/bin/sh is for one processor and the only loader that UEFI would start for another: a disk put together from "
        "two systems.",
        BOOT_MODES,
    ),
    "processor-not-offered": (
        "blocks",
        "Architecture is i386, x86_64 or arm64; programs for other processors run on no instance.",
        API,
    ),
    "no-removable-loader": (
        "note",
        "The disk starts by BIOS and is imported so. Its UEFI loader does not lie at EFI/BOOT/BOOTX64.EFI, so that it "
        "could not be used with UEFI.",
        BOOT_MODES,
    ),
    "both-boot-modes": (
        "note",
        "The disk starts by BIOS and by UEFI. ImportImage takes one of them, and its default is BIOS.",
        BOOT_MODES,
    ),
    "boot-mode-contradicts": (
        "blocks",
        "The service does not look at the disk: a UEFI disk imported as BIOS imports fine and never starts.",
        BOOT_MODES,
    ),
    "architecture-contradicts": (
        "blocks, or warns between i386 and x86_64",
        "The programs and boot loaders of the disk are for another processor than was asked for.",
        API,
    ),
    "os-type-contradicts": ("blocks", "Windows was asked for and the disk holds Linux, or the other way round.", API),
    "root-encrypted": (
        "blocks, or a note when there is another root",
        "An encrypted root waits for a passphrase at the first start, and the import can't put anything into it.",
        JUDGEMENT,
    ),
    "root-larger-than-partition": (
        "blocks",
        "The root file system is larger than its partition: the kernel refuses to mount it. The partition was shrunk "
        "without the file system.",
        CHECK_ITEMS,
    ),
    "root-not-last": ("warns", "The root can only grow on a larger disk when it is the last partition.", LINUX_2026),
    "root-on-lvm": (
        "warns",
        "The image requirements ask for a root without LVM; online resize does not work.",
        LINUX_2026,
    ),
    "swap-partition": ("warns", "The image requirements ask for a system disk without a swap partition.", LINUX_2026),
    "root-file-system": (
        "warns",
        "The image requirements have ext3, ext4 and XFS for the root (ext2 and UFS are tolerated). btrfs, F2FS, "
        "ReiserFS and ZFS are not read here, and the import does not change what lies on them.",
        LINUX_2026,
    ),
    "several-mounts": (
        "note",
        "fstab mounts more than a root, /boot and an ESP from this disk. The guide of 2021 asks for a single root "
        "partition; newer pages only for the root to be the last.",
        GUIDE_2021,
    ),
    "disk-small": (
        "note, or warns for Windows",
        "20 GiB are recommended for Linux and 40 for Windows. A system disk below 5 GiB is imported as 5 GiB, which "
        "older documents ask for.",
        LINUX_2026,
    ),
}
