"""Problems of disk image files and partition tables, which disk/ reports by their codes."""

from collections.abc import Mapping

from aliyun_import.checks.registry import AppliesTo, Source, declared
from aliyun_import.model.finding import Severity

BLOCKS, WARNS, NOTE, UNKNOWN = Severity.BLOCKS, Severity.WARNS, Severity.NOTE, Severity.UNKNOWN

# By the document, then by the code: the severity (or each with its condition) and the explanation.
_DECLARATIONS: Mapping[Source, Mapping[str, tuple[Severity | Mapping[Severity, str], str]]] = {
    Source.JUDGEMENT: {
        "disk-missing": (BLOCKS, "There is no file of that name."),
        "disk-unreadable": (BLOCKS, "The file exists, but this user may not open it."),
        "disk-kind": (BLOCKS, "A directory, a character device, a pipe or a socket is not a disk."),
        "disk-blank": (
            NOTE,
            "Only zeros were found where a partition table, a file system or a container would be. A data disk may "
            "be empty on purpose; a system disk is refused by no-partition-table.",
        ),
        "disk-too-small": (BLOCKS, "The file is smaller than any disk with a partition."),
        "disk-read-error": (BLOCKS, "Part of the disk could not be read: the medium fails."),
        "raw-size-not-512": (
            BLOCKS,
            "A RAW disk consists of sectors of 512 bytes. Any other size means that the copy was cut short, or that "
            "something was appended to it.",
        ),
        "not-a-disk": (BLOCKS, "The file is plain text: a checksum, a descriptor, or an error page."),
        "suffix-not-content": (
            BLOCKS,
            "The name and the content of the file indicate different containers. The content decides, but such a "
            "file is rarely what its owner believes it to be.",
        ),
        "container-damaged": (BLOCKS, "The compressed file violates its own format: it is damaged or cut short."),
        "not-whole": (
            BLOCKS,
            "The image of another hypervisor refers to other files that hold its data or its parent. Such a "
            "reference may name any file of this machine, so it is never followed.",
        ),
        "conversion-failed": (
            BLOCKS,
            "qemu-img cannot open the image of another hypervisor. The reason is the message of qemu-img.",
        ),
        "table-unreadable": (UNKNOWN, "The kind of the partition table could not be determined."),
        "partition-unreadable": (UNKNOWN, "An entry of the partition table could not be read."),
    },
    Source.API: {
        "file-empty": (BLOCKS, "The file is empty. The service answers InvalidOSSObject.Size."),
        "container-compressed": (
            {NOTE: "", BLOCKS: "if it is compressed twice"},
            "ECS does not import compressed files. A RAW disk that is compressed in blocks of at most 64 MiB (the "
            "output of `xz -T0`, or zstd frames with a size) is checked in place and unpacked while it is sent. "
            "Anything else is unpacked to a temporary file (--work-dir), and only then can its contents be checked.",
        ),
        "container-foreign": (
            {NOTE: "", BLOCKS: "without qemu-img"},
            "VMDK, VHDX and VDI are converted by qemu-img during the push, if it is installed. The service accepts "
            "VMDK itself by invitation only.",
        ),
        "container-tar": (BLOCKS, "The file is a tar archive, such as an .ova. The disk is a file in it."),
        "container-7z": (BLOCKS, "The file is a 7z archive, which ECS does not import and this tool does not unpack."),
        "container-lz4": (BLOCKS, "The file is lz4 data, which ECS does not import and this tool does not unpack."),
        "vhd-block-size": (
            WARNS,
            "Block sizes other than 2 MiB are rare, and the service rejects some of them: InvalidBlockSize.NotSupport.",
        ),
    },
    Source.VHD: {
        "vhd-no-footer": (
            BLOCKS,
            "A VHD ends with a footer of 512 bytes. A file named .vhd without one was cut short, or is a RAW disk "
            "with the wrong suffix.",
        ),
        "vhd-truncated": (BLOCKS, "The tables of the VHD point beyond the end of the file: the copy was cut short."),
        "vhd-footer-checksum": (BLOCKS, "The footer does not match its checksum: it is damaged."),
        "vhd-header-checksum": (BLOCKS, "The header of a dynamic VHD does not match its checksum."),
        "vhd-size-mismatch": (BLOCKS, "The size in the footer of a fixed VHD is not the size of its data."),
        "vhd-table-too-small": (
            BLOCKS,
            "The block table has too few entries for the disk. The service answers InvalidVHDImage.IncorrectSize.",
        ),
        "vhd-differencing": (
            {BLOCKS: "", NOTE: "if its parent was found"},
            "A differencing VHD holds only the differences from its parent, which the service does not have. A "
            "parent in the same folder, with the name and the unique id that the disk records, is read with it, and "
            "the push merges the two. No other file is opened.",
        ),
        "vhd-parent-modified": (
            WARNS,
            "A differencing VHD records when its parent was last modified. A parent that was written to since then "
            "corrupts the disk, and nothing else reveals it. A parent that was copied without its times looks the "
            "same.",
        ),
        "vhd-blocks-overlap": (
            BLOCKS,
            "Two entries of the block table refer to the same bytes of the file: it is damaged.",
        ),
        "vhd-damaged": (BLOCKS, "The VHD violates its own format."),
    },
    Source.QEMU_IMG: {
        "vhd-chs-padded": (
            WARNS,
            "qemu-img and other tools round the size of a VHD up to a geometry of cylinders, heads and sectors. The "
            "image may become a GiB larger, and the backup of a GPT is no longer at the end. A push removes the "
            "padding with a temporary file; `-o force_size=on` avoids it.",
        ),
    },
    Source.AZURE: {
        "vhd-size-not-mib": (NOTE, "Some clouds require whole MiB. No document of Alibaba Cloud does."),
    },
    Source.QCOW2: {
        "qcow2-backing-file": (
            BLOCKS,
            "The QCOW2 holds only the differences from another file, which the service does not have. That file is "
            "never opened here either: a header may name any file of this machine.",
        ),
        "qcow2-external-data": (BLOCKS, "The data of the QCOW2 is in another file, which the service does not have."),
        "qcow2-encrypted": (BLOCKS, "The QCOW2 is encrypted, and the service has no key."),
        "qcow2-truncated": (
            BLOCKS,
            "The tables of the QCOW2 point beyond the end of the file: the copy was cut short.",
        ),
        "qcow2-damaged": (BLOCKS, "The QCOW2 violates its own format."),
        "qcow2-corrupt": (BLOCKS, "The corrupt bit of the QCOW2 is set. QEMU opens such a file for reading only."),
        "qcow2-dirty": (WARNS, "The QCOW2 was not closed cleanly. Its reference counts may be wrong."),
        "qcow2-unknown-feature": (WARNS, "The QCOW2 uses a feature that this tool does not know."),
        "qcow2-extended-l2": (WARNS, "The QCOW2 has extended L2 entries, which older software does not read."),
        "qcow2-zstd": (
            WARNS,
            "The compressed clusters of the QCOW2 use zstd. The service's pages do not name it, and older software "
            "reads zlib only.",
        ),
        "qcow2-snapshots": (NOTE, "The QCOW2 contains internal snapshots. They are sent with it and not imported."),
    },
    Source.GUIDE_2021: {
        "iso-image": (BLOCKS, "The file is an installation CD. The service imports installed systems, not ISO images."),
        "mbr-damaged": (BLOCKS, "The partition table of the boot record has impossible entries."),
        "mbr-4096-byte-sectors": (
            BLOCKS,
            "An MBR that was written for disks with 4096-byte sectors places its partitions elsewhere on a cloud disk, "
            "which has 512. A file system is where such a table has it, and none where this one is read.",
        ),
        "mbr-logical-damaged": (WARNS, "The chain of logical partitions is broken. Those after the break are lost."),
        "partition-outside-disk": (
            BLOCKS,
            "A partition ends after the end of the disk: the file was cut short, or the disk was shrunk without its "
            "partitions.",
        ),
        "partitions-overlap": (WARNS, "Two partitions share bytes: writing to one destroys the other."),
    },
    Source.UEFI: {
        "gpt-no-protective-mbr": (BLOCKS, "Firmware ignores a GPT without the protective MBR."),
        "gpt-4096-byte-sectors": (
            BLOCKS,
            "The GPT was made for sectors of 4096 bytes. The disks of ECS have sectors of 512 bytes, so the table is "
            "not found there.",
        ),
        "gpt-primary-damaged": (BLOCKS, "The GPT at the beginning does not match its checksum; only its backup does."),
        "gpt-backup-damaged": (WARNS, "The backup of the GPT at the end does not match its checksum."),
        "gpt-backup-missing": (WARNS, "There is no backup of the GPT at the recorded position."),
        "gpt-backup-not-at-end": (
            NOTE,
            "The disk grew after it was partitioned: the backup of the GPT is not at its end.",
        ),
        "gpt-damaged": (BLOCKS, "Neither the GPT nor its backup matches its checksum."),
    },
}
PROBLEMS = tuple(
    declared(code, severity, explanation, source=source, applies_to=AppliesTo.CONTAINER)
    for source, problems in _DECLARATIONS.items()
    for code, (severity, explanation) in problems.items()
)
