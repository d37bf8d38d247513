"""This file explains every problem that a container or a partition table can have, by its code.

For `check --explain CODE` and the documents: what is looked at, and why it matters. The sentences about one disk, with
its numbers, are in the reports.
"""

from collections.abc import Mapping

PROBLEMS: Mapping[str, str] = {
    "container-compressed": (
        "The file is gzip, xz, zstd, bzip2 or zip data. ECS imports none of these. A RAW disk in blocks that can be "
        "unpacked each by itself is sent as it is unpacked; all else is unpacked to a temporary file (--work-dir) "
        "before it is sent."
    ),
    "container-damaged": "The compressed file contradicts its format: it was cut short, or is damaged.",
    "container-foreign": (
        "The file is a disk of another hypervisor (VMDK, VHDX, VDI, QED, Parallels, QCOW 1). ECS imports RAW, VHD "
        "and QCOW2, so it is converted by qemu-img to a temporary file, and blocks where qemu-img is missing."
    ),
    "container-tar": "The file is a tar archive, such as an .ova: the disk is one of the files in it.",
    "container-7z": "The file is a 7z archive, which this tool does not unpack.",
    "container-lz4": "The file is lz4 data, which this tool does not unpack.",
    "conversion-failed": "The tools of QEMU can't open or convert the image; the reason is theirs.",
    "disk-blank": (
        "The first MiB, the end and places between hold only zeros. An empty data disk may be meant; a system "
        "disk is none without a system."
    ),
    "disk-read-error": "The medium that the disk is on does not give the bytes back (an I/O error).",
    "disk-too-small": "A disk begins with a partition table and, by custom of all tools, a free MiB; less is no disk.",
    "file-empty": "The file has no bytes.",
    "gpt-4096-byte-sectors": (
        "A GPT begins in the second sector. Written for 4096-byte sectors, it is not where a disk with 512-byte "
        "sectors, as on ECS, has it: firmware and kernel find no partitions."
    ),
    "gpt-backup-damaged": (
        "The second copy of the GPT does not match its checksums or the first copy. Systems start without it, and "
        "some tools refuse to change such a table."
    ),
    "gpt-backup-missing": "The GPT says that its second copy lies behind the end of the disk: the file was cut short.",
    "gpt-backup-not-at-end": "The disk was made larger after it was partitioned. Nothing is wrong with that.",
    "gpt-damaged": "Neither copy of the GPT matches its checksums: no partition can be told.",
    "gpt-no-protective-mbr": "UEFI and Linux take a GPT for one only behind an MBR with an entry of type 0xee.",
    "gpt-primary-damaged": (
        "The first copy of the GPT does not match its checksums. Linux goes by the second one only if told so on "
        "the kernel's command line (gpt), so the root file system is not found."
    ),
    "iso-image": "An ISO image is an installation medium; ECS imports disks that a system was installed on.",
    "mbr-damaged": "The first sector has the mark of a boot record, but its entries can't be partitions.",
    "mbr-logical-damaged": "Logical partitions are a chain of records, and one of them is damaged.",
    "not-a-disk": "The file is plain text: a checksum, a descriptor, or an error page saved as a disk.",
    "not-whole": (
        "The image names other files that hold its data or its parent. Since it may name any file of this "
        "machine, such references are never followed."
    ),
    "partition-outside-disk": (
        "A partition ends after the disk does: the file was cut short, or the disk was made smaller. File systems "
        "refuse to be mounted then."
    ),
    "partition-unreadable": "What lies on a partition could not be read.",
    "partitions-overlap": "Two partitions share sectors, so that one overwrites the other.",
    "qcow2-backing-file": "The file holds only what differs from another file; ECS takes one file for a disk.",
    "qcow2-corrupt": "QEMU marked the image as corrupt when it found damage.",
    "qcow2-damaged": "The header or the tables of the QCOW2 make no sense.",
    "qcow2-dirty": "The image was not closed: a machine is using it, or was killed. It may change while it is sent.",
    "qcow2-encrypted": "The content is encrypted with a key that ECS does not have.",
    "qcow2-extended-l2": "Subclusters came with QEMU 5.2; whether ECS reads them is not documented.",
    "qcow2-external-data": "The file holds only tables; the data is in another file.",
    "qcow2-snapshots": "Internal snapshots of a QCOW2 are sent with it and mean nothing to ECS.",
    "qcow2-truncated": "A table or a cluster lies behind the end of the file: the copy is not whole.",
    "qcow2-unknown-feature": "The image uses incompatible features that this tool does not know; ECS may not, either.",
    "raw-size-not-512": "A RAW disk is its sectors and nothing else, so its size is a multiple of 512.",
    "suffix-not-content": "The file's name promises a container that its content is not.",
    "table-unreadable": "The partition table could not be read.",
    "vhd-block-size": (
        "ECS refuses dynamic VHDs with some block sizes (InvalidBlockSize.NotSupport); 2 MiB and 512 KiB are what "
        "the common tools make."
    ),
    "vhd-blocks-overlap": "Two entries of the block allocation table name the same place of the file.",
    "vhd-chs-padded": (
        "Without force_size=on, qemu-img makes a VHD larger, up to the next geometry of cylinders, heads and "
        "sectors. The disk then may take a GiB more on ECS, and a GPT's backup is not at the end. It is cut back "
        "on the way."
    ),
    "vhd-damaged": "The footer or the second header of the VHD make no sense.",
    "vhd-differencing": (
        "The file holds only what differs from its parent; ECS takes one file for a disk. A parent in the same folder "
        "is read with it, and the two are made one disk on the way."
    ),
    "vhd-footer-checksum": "The last 512 bytes of a VHD describe it, with a checksum, which does not match.",
    "vhd-header-checksum": "The second header of a dynamic VHD has a checksum, which does not match.",
    "vhd-no-footer": "The file is named .vhd but has no footer in its last 512 bytes. Most often it was cut short.",
    "vhd-parent-modified": (
        "A differencing VHD remembers when its parent was modified last. A parent that was written to since does not "
        "fit any more: the disk of the two is spoiled, and nothing else shows it."
    ),
    "vhd-size-mismatch": "A fixed VHD is the disk and a footer of 512 bytes that tells its size, which is another one.",
    "vhd-size-not-mib": "Azure wants whole MiB; of ECS nothing is documented.",
    "vhd-table-too-small": (
        "The disk must fit MaxTableEntries * BlockSize; ECS answers InvalidVHDImage.IncorrectSize else."
    ),
    "vhd-truncated": "The footer, or a block that the table names, is not in the file: it was cut short.",
}
