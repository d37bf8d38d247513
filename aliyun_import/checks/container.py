"""Checks of disk image files and partition tables. aliyun_import/disk makes them, and reports problems by these ids."""

from collections.abc import Mapping

from aliyun_import.checks.registry import AppliesTo, Source, declare_check
from aliyun_import.disk.containers.interface import Upload
from aliyun_import.disk.containers.registry import FORMATS
from aliyun_import.model.finding import Severity

_BY_QEMU = [known.name.upper() for known in FORMATS if known.upload is Upload.BY_QEMU]
BLOCKS, WARNS, NOTE, UNKNOWN = Severity.BLOCKS, Severity.WARNS, Severity.NOTE, Severity.UNKNOWN

# Document -> id -> severity (or each possible severity with its condition), explanation.
_DECLARATIONS: Mapping[Source, Mapping[str, tuple[Severity | Mapping[Severity, str], str]]] = {
    Source.JUDGEMENT: {
        "disk-missing": (BLOCKS, "The file does not exist."),
        "disk-unreadable": (BLOCKS, "The file exists, but the user has no permission to read it."),
        "disk-kind": (BLOCKS, "The path is a directory, a character device, a pipe or a socket, and not a disk."),
        "disk-blank": (
            NOTE,
            "All sampled parts of the disk are zeros: there is no partition table, file system or container. A data "
            "disk may be empty on purpose; for a system disk, no-partition-table blocks.",
        ),
        "disk-too-small": (BLOCKS, "The file is smaller than any disk with a partition."),
        "disk-read-error": (BLOCKS, "Part of the disk could not be read because of an I/O error."),
        "raw-size-not-512": (
            BLOCKS,
            "The size of a RAW disk is a multiple of 512 bytes, one sector. Another size means that the copy was "
            "truncated, or that something was appended.",
        ),
        "not-a-disk": (BLOCKS, "The file is plain text: a checksum, a descriptor, or an error page."),
        "suffix-not-content": (
            BLOCKS,
            "The suffix and the content of the file are of different formats. The format is determined by the content, "
            "but often this is the wrong file.",
        ),
        "container-damaged": (BLOCKS, "The compressed file is damaged or truncated."),
        "not-whole": (
            BLOCKS,
            "An image that qemu-img converts (such as VMDK) refers to other files with its data or its parent. Such a "
            "reference may name any file of this machine, so it is never followed.",
        ),
        "conversion-failed": (
            BLOCKS,
            "qemu-img cannot open an image that it has to convert (such as VMDK). The finding has its message.",
        ),
        "table-unreadable": (UNKNOWN, "The kind of the partition table could not be determined."),
        "partition-unreadable": (UNKNOWN, "An entry of the partition table could not be read."),
    },
    Source.API: {
        "file-empty": (BLOCKS, "The file is empty. The service refuses it with InvalidOSSObject.Size."),
        "container-compressed": (
            {NOTE: "", BLOCKS: "if it is compressed twice"},
            "ECS does not import compressed files. A RAW disk that is compressed in blocks of at most 64 MiB (the "
            "output of `xz -T0`, or zstd frames with a size) is checked in place and unpacked while it is sent. "
            "Anything else is unpacked to a temporary file (--work-dir), and only then can its contents be checked.",
        ),
        "container-foreign": (
            {NOTE: "", BLOCKS: "without qemu-img"},
            "ECS does not import this container. Its disk is converted to RAW during the push, which requires qemu-img "
            f"for {', '.join(_BY_QEMU[:-1])} and {_BY_QEMU[-1]}. The service accepts VMDK from invited accounts only.",
        ),
        "container-tar": (BLOCKS, "The file is a tar archive, such as an .ova. The disk is a file in the archive."),
        "container-7z": (BLOCKS, "The file is a 7z archive, which ECS does not import and this tool does not unpack."),
        "container-lz4": (BLOCKS, "The file is lz4 data, which ECS does not import and this tool does not unpack."),
        "vhd-block-size": (
            WARNS,
            "Block sizes other than 2 MiB are rare. The service refuses some of them with InvalidBlockSize.NotSupport.",
        ),
    },
    Source.VHD: {
        "vhd-no-footer": (
            BLOCKS,
            "A VHD ends with a footer of 512 bytes. A file with the suffix .vhd and without a footer was truncated, or "
            "is a RAW disk with the wrong suffix.",
        ),
        "vhd-truncated": (BLOCKS, "The tables of the VHD point beyond the end of the file: the copy was truncated."),
        "vhd-footer-checksum": (BLOCKS, "The footer does not match its checksum: it is damaged."),
        "vhd-header-checksum": (BLOCKS, "The header of a dynamic VHD does not match its checksum."),
        "vhd-size-mismatch": (BLOCKS, "The size in the footer of a fixed VHD is not the size of its data."),
        "vhd-table-too-small": (
            BLOCKS,
            "The block table has too few entries for the disk. The service refuses it with "
            "InvalidVHDImage.IncorrectSize.",
        ),
        "vhd-differencing": (
            {BLOCKS: "", NOTE: "if its parent was found"},
            "A differencing VHD contains only the differences from its parent, which the service does not have. If the "
            "parent is in the same directory, with the name and the unique id that the disk records, the push merges "
            "the two. No other file is opened.",
        ),
        "vhd-parent-modified": (
            WARNS,
            "A differencing VHD records when its parent was last modified. If the parent was written to since then, "
            "the merged disk is corrupt, and no other check detects it. The finding also appears if the parent was "
            "copied without its time stamps.",
        ),
        "vhd-blocks-overlap": (
            BLOCKS,
            "Two entries of the block table refer to the same bytes of the file: it is damaged.",
        ),
        "vhd-damaged": (BLOCKS, "The VHD violates the specification of its format."),
    },
    Source.QEMU_IMG: {
        "vhd-chs-padded": (
            WARNS,
            "qemu-img and other tools round the size of a VHD up to a geometry of cylinders, heads and sectors. The "
            "image may become one GiB larger, and the backup of a GPT is no longer at the end. A push removes the "
            "padding by way of a temporary file. The option `-o force_size=on` of qemu-img avoids it.",
        ),
    },
    Source.AZURE: {
        "vhd-size-not-mib": (
            NOTE,
            "The size is not a multiple of 1 MiB. Some clouds require this; no document of Alibaba Cloud does.",
        ),
    },
    Source.QCOW2: {
        "qcow2-backing-file": (
            BLOCKS,
            "The QCOW2 contains only the differences from another file, which the service does not have. This tool "
            "does not open that file, because a header may name any file of this machine.",
        ),
        "qcow2-external-data": (BLOCKS, "The data of the QCOW2 is in another file, which the service does not have."),
        "qcow2-encrypted": (BLOCKS, "The QCOW2 is encrypted, and the service has no key."),
        "qcow2-truncated": (
            BLOCKS,
            "The tables of the QCOW2 point beyond the end of the file: the copy was truncated.",
        ),
        "qcow2-damaged": (BLOCKS, "The QCOW2 violates the specification of its format."),
        "qcow2-corrupt": (BLOCKS, "The corrupt bit of the QCOW2 is set. QEMU opens such a file for reading only."),
        "qcow2-dirty": (WARNS, "The QCOW2 was not closed cleanly. Its reference counts may be wrong."),
        "qcow2-unknown-feature": (WARNS, "The QCOW2 uses a feature that this tool does not know."),
        "qcow2-extended-l2": (WARNS, "The QCOW2 has extended L2 entries, which older software does not read."),
        "qcow2-zstd": (
            WARNS,
            "The QCOW2 is compressed with zstd. The pages of the service do not mention it, and older software reads "
            "zlib only.",
        ),
        "qcow2-snapshots": (NOTE, "The QCOW2 contains internal snapshots. They are uploaded and not imported."),
    },
    Source.GUIDE_2021: {
        "iso-image": (
            BLOCKS,
            "The file is an ISO image. The service imports installed systems, not installation media.",
        ),
        "mbr-damaged": (BLOCKS, "The partition table in the MBR has invalid entries."),
        "mbr-4096-byte-sectors": (
            BLOCKS,
            "The MBR was written for sectors of 4096 bytes: read like that, its partitions have file systems. The "
            "disks of ECS have sectors of 512 bytes, so the partitions are not found there.",
        ),
        "mbr-logical-damaged": (
            WARNS,
            "The list of logical partitions is damaged. The partitions after the damage are lost.",
        ),
        "partition-outside-disk": (
            BLOCKS,
            "A partition ends after the end of the disk: the file was truncated, or the disk was shrunk without its "
            "partitions.",
        ),
        "partitions-overlap": (WARNS, "Two partitions share bytes: writing to one destroys the other."),
    },
    Source.UEFI: {
        "gpt-no-protective-mbr": (BLOCKS, "The disk has a GPT without a protective MBR. Firmware ignores it."),
        "gpt-4096-byte-sectors": (
            BLOCKS,
            "The GPT was written for sectors of 4096 bytes. The disks of ECS have sectors of 512 bytes, so the table "
            "is not found there.",
        ),
        "gpt-primary-damaged": (BLOCKS, "The primary GPT does not match its checksum, but its backup does."),
        "gpt-backup-damaged": (WARNS, "The backup GPT does not match its checksum."),
        "gpt-backup-missing": (WARNS, "There is no backup GPT at the recorded position."),
        "gpt-backup-not-at-end": (
            NOTE,
            "The backup GPT is not at the end of the disk: the disk was enlarged after it was partitioned.",
        ),
        "gpt-damaged": (BLOCKS, "Neither the primary GPT nor its backup matches its checksum."),
    },
}
PROBLEMS = tuple(
    declare_check(code, severity, explanation, source=source, applies_to=AppliesTo.CONTAINER)
    for source, problems in _DECLARATIONS.items()
    for code, (severity, explanation) in problems.items()
)
