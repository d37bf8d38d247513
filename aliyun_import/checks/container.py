"""Problems of disk image files and partition tables, which disk/ reports by their codes."""

from collections.abc import Mapping

from aliyun_import.checks.registry import API, GUIDE_2021, JUDGEMENT, AppliesTo, Check, declared
from aliyun_import.model.finding import Severity

_VHD = "Virtual Hard Disk Image Format Specification 1.0, and ImportImage's InvalidVHDImage errors"
_QCOW2 = "QEMU, docs/interop/qcow2.txt"
_UEFI = "UEFI specification 2.10, chapter 5 (GPT)"
_QEMU_IMG = "behaviour of qemu-img"
_AZURE = "Azure documentation"

BLOCKS, WARNS, NOTE, UNKNOWN = Severity.BLOCKS, Severity.WARNS, Severity.NOTE, Severity.UNKNOWN


def _problem(
    code: str, severity: Severity | Mapping[Severity, str], explanation: str, *, source: str = JUDGEMENT
) -> Check:
    return declared(code, severity, explanation, source=source, applies_to=AppliesTo.CONTAINER)


PROBLEMS: tuple[Check, ...] = (
    _problem("disk-missing", BLOCKS, "There is no file of that name."),
    _problem("disk-unreadable", BLOCKS, "The file exists, but this user may not open it."),
    _problem("disk-kind", BLOCKS, "A directory, a character device, a pipe or a socket is not a disk."),
    _problem("file-empty", BLOCKS, "The file is empty. The service answers InvalidOSSObject.Size.", source=API),
    _problem(
        "disk-blank",
        NOTE,
        "Only zeros were found where a partition table, a file system or a container would be. A data disk may be "
        "empty on purpose; a system disk is refused by no-partition-table.",
    ),
    _problem("disk-too-small", BLOCKS, "The file is smaller than any disk with a partition."),
    _problem("disk-read-error", BLOCKS, "Part of the disk could not be read: the medium fails."),
    _problem(
        "raw-size-not-512",
        BLOCKS,
        "A RAW disk consists of sectors of 512 bytes. Any other size means that the copy was cut short, or that "
        "something was appended to it.",
    ),
    _problem(
        "iso-image",
        BLOCKS,
        "The file is an installation CD. The service imports installed systems, not ISO images.",
        source=GUIDE_2021,
    ),
    _problem("not-a-disk", BLOCKS, "The file is plain text: a checksum, a descriptor, or an error page."),
    _problem(
        "suffix-not-content",
        BLOCKS,
        "The name and the content of the file indicate different containers. The content decides, but such a file is "
        "rarely what its owner believes it to be.",
    ),
    _problem(
        "container-compressed",
        {NOTE: "", BLOCKS: "if it is compressed twice"},
        "ECS does not import compressed files. A RAW disk that is compressed in blocks of at most 64 MiB (the output "
        "of `xz -T0`, or zstd frames with a size) is checked in place and unpacked while it is sent. Anything else is "
        "unpacked to a temporary file (--work-dir), and only then can its contents be checked.",
        source=API,
    ),
    _problem("container-damaged", BLOCKS, "The compressed file violates its own format: it is damaged or cut short."),
    _problem(
        "container-foreign",
        {NOTE: "", BLOCKS: "without qemu-img"},
        "VMDK, VHDX and VDI are converted by qemu-img during the push, if it is installed. The service accepts VMDK "
        "itself by invitation only.",
        source=API,
    ),
    _problem(
        "container-tar", BLOCKS, "The file is a tar archive, such as an .ova. The disk is a file in it.", source=API
    ),
    _problem(
        "container-7z",
        BLOCKS,
        "The file is a 7z archive, which ECS does not import and this tool does not unpack.",
        source=API,
    ),
    _problem(
        "container-lz4",
        BLOCKS,
        "The file is lz4 data, which ECS does not import and this tool does not unpack.",
        source=API,
    ),
    _problem(
        "not-whole",
        BLOCKS,
        "The image of another hypervisor refers to other files that hold its data or its parent. Such a reference may "
        "name any file of this machine, so it is never followed.",
    ),
    _problem(
        "conversion-failed",
        BLOCKS,
        "qemu-img cannot open the image of another hypervisor. The reason is the message of qemu-img.",
    ),
    _problem(
        "vhd-no-footer",
        BLOCKS,
        "A VHD ends with a footer of 512 bytes. A file named .vhd without one was cut short, or is a RAW disk with the "
        "wrong suffix.",
        source=_VHD,
    ),
    _problem(
        "vhd-truncated",
        BLOCKS,
        "The tables of the VHD point beyond the end of the file: the copy was cut short.",
        source=_VHD,
    ),
    _problem("vhd-footer-checksum", BLOCKS, "The footer does not match its checksum: it is damaged.", source=_VHD),
    _problem("vhd-header-checksum", BLOCKS, "The header of a dynamic VHD does not match its checksum.", source=_VHD),
    _problem(
        "vhd-size-mismatch",
        BLOCKS,
        "The size in the footer of a fixed VHD is not the size of its data.",
        source=_VHD,
    ),
    _problem(
        "vhd-table-too-small",
        BLOCKS,
        "The block table has too few entries for the disk. The service answers InvalidVHDImage.IncorrectSize.",
        source=_VHD,
    ),
    _problem(
        "vhd-differencing",
        {BLOCKS: "", NOTE: "if its parent was found"},
        "A differencing VHD holds only the differences from its parent, which the service does not have. A parent in "
        "the same folder, with the name and the unique id that the disk records, is read with it, and the push merges "
        "the two. No other file is opened.",
        source=_VHD,
    ),
    _problem(
        "vhd-parent-modified",
        WARNS,
        "A differencing VHD records when its parent was last modified. A parent that was written to since then "
        "corrupts the disk, and nothing else reveals it. A parent that was copied without its times looks the same.",
        source=_VHD,
    ),
    _problem(
        "vhd-chs-padded",
        WARNS,
        "qemu-img and other tools round the size of a VHD up to a geometry of cylinders, heads and sectors. The image "
        "may become a GiB larger, and the backup of a GPT is no longer at the end. A push removes the padding with "
        "a temporary file; `-o force_size=on` avoids it.",
        source=_QEMU_IMG,
    ),
    _problem(
        "vhd-size-not-mib",
        NOTE,
        "Some clouds require whole MiB. No document of Alibaba Cloud does.",
        source=_AZURE,
    ),
    _problem(
        "vhd-blocks-overlap",
        BLOCKS,
        "Two entries of the block table refer to the same bytes of the file: it is damaged.",
        source=_VHD,
    ),
    _problem(
        "vhd-block-size",
        WARNS,
        "Block sizes other than 2 MiB are rare, and the service rejects some of them: InvalidBlockSize.NotSupport.",
        source=API,
    ),
    _problem("vhd-damaged", BLOCKS, "The VHD violates its own format.", source=_VHD),
    _problem(
        "qcow2-backing-file",
        BLOCKS,
        "The QCOW2 holds only the differences from another file, which the service does not have. That file is never "
        "opened here either: a header may name any file of this machine.",
        source=_QCOW2,
    ),
    _problem(
        "qcow2-external-data",
        BLOCKS,
        "The data of the QCOW2 is in another file, which the service does not have.",
        source=_QCOW2,
    ),
    _problem("qcow2-encrypted", BLOCKS, "The QCOW2 is encrypted, and the service has no key.", source=_QCOW2),
    _problem(
        "qcow2-truncated",
        BLOCKS,
        "The tables of the QCOW2 point beyond the end of the file: the copy was cut short.",
        source=_QCOW2,
    ),
    _problem("qcow2-damaged", BLOCKS, "The QCOW2 violates its own format.", source=_QCOW2),
    _problem(
        "qcow2-corrupt",
        BLOCKS,
        "The corrupt bit of the QCOW2 is set. QEMU opens such a file for reading only.",
        source=_QCOW2,
    ),
    _problem(
        "qcow2-dirty",
        WARNS,
        "The QCOW2 was not closed cleanly. Its reference counts may be wrong.",
        source=_QCOW2,
    ),
    _problem("qcow2-unknown-feature", WARNS, "The QCOW2 uses a feature that this tool does not know.", source=_QCOW2),
    _problem(
        "qcow2-extended-l2",
        WARNS,
        "The QCOW2 has extended L2 entries, which older software does not read.",
        source=_QCOW2,
    ),
    _problem(
        "qcow2-snapshots",
        NOTE,
        "The QCOW2 contains internal snapshots. They are sent with it and not imported.",
        source=_QCOW2,
    ),
    _problem(
        "mbr-damaged", BLOCKS, "The partition table of the boot record has impossible entries.", source=GUIDE_2021
    ),
    _problem(
        "mbr-logical-damaged",
        WARNS,
        "The chain of logical partitions is broken. Those after the break are lost.",
        source=GUIDE_2021,
    ),
    _problem("table-unreadable", UNKNOWN, "The kind of the partition table could not be determined."),
    _problem("partition-unreadable", UNKNOWN, "An entry of the partition table could not be read."),
    _problem(
        "partition-outside-disk",
        BLOCKS,
        "A partition ends after the end of the disk: the file was cut short, or the disk was shrunk without its "
        "partitions.",
        source=GUIDE_2021,
    ),
    _problem(
        "partitions-overlap",
        WARNS,
        "Two partitions share bytes: writing to one destroys the other.",
        source=GUIDE_2021,
    ),
    _problem(
        "gpt-no-protective-mbr",
        BLOCKS,
        "Firmware ignores a GPT without the protective MBR.",
        source=_UEFI,
    ),
    _problem(
        "gpt-4096-byte-sectors",
        BLOCKS,
        "The GPT was made for sectors of 4096 bytes. The disks of ECS have sectors of 512 bytes, so the table is not "
        "found there.",
        source=_UEFI,
    ),
    _problem(
        "gpt-primary-damaged",
        BLOCKS,
        "The GPT at the beginning does not match its checksum; only its backup does.",
        source=_UEFI,
    ),
    _problem(
        "gpt-backup-damaged",
        WARNS,
        "The backup of the GPT at the end does not match its checksum.",
        source=_UEFI,
    ),
    _problem("gpt-backup-missing", WARNS, "There is no backup of the GPT at the recorded position.", source=_UEFI),
    _problem(
        "gpt-backup-not-at-end",
        NOTE,
        "The disk grew after it was partitioned: the backup of the GPT is not at its end.",
        source=_UEFI,
    ),
    _problem("gpt-damaged", BLOCKS, "Neither the GPT nor its backup matches its checksum.", source=_UEFI),
)
