"""Registry of the file systems, and the volumes of a disk: partitions and logical volumes.

The registry includes the signatures of contents that are recognised and not read: other file systems, encryption,
volume managers. The offsets of UUIDs and labels are those of libblkid (util-linux).
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from aliyun_import.disk.filesystems import ext, fat, xfs
from aliyun_import.disk.filesystems.fat import volume_serial
from aliyun_import.disk.filesystems.interface import FileSystem, FileSystemFormat, Signature, label_of, uuid_of
from aliyun_import.disk.partitions.lvm import read_volume_group
from aliyun_import.disk.reader import Reader, ReadProblem, Unsupported, Window
from aliyun_import.disk.report import Partition

_SWAP_PAGE_SIZES = (4096, 8192, 16384, 65536)
_SUSPENDED = (b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB000")


def _luks(head: bytes) -> Signature | None:
    if not head.startswith((b"LUKS\xba\xbe", b"SKUL\xba\xbe")):
        return None
    label = label_of(head[24:72]) if head[6:8] == b"\0\2" else ""  # LUKS1 has the cipher there
    return Signature("luks", label=label, uuid=label_of(head[168:208]))


def _lvm(head: bytes) -> Signature | None:
    for at in range(0, 2048, 512):
        if head[at : at + 8] == b"LABELONE" and head[at + 24 : at + 32] == b"LVM2 001":
            (offset,) = struct.unpack_from("<I", head, at + 20)
            raw = head[at + offset : at + offset + 32].decode("ascii", "replace") if offset <= 480 else ""
            cuts = (0, 6, 10, 14, 18, 22, 26, 32)
            return Signature("lvm", uuid="-".join(raw[a:b] for a, b in pairwise(cuts)) if raw else "")
    return None


def _swap(head: bytes) -> Signature | None:
    for page in _SWAP_PAGE_SIZES:
        magic = head[page - 10 : page]
        if magic in (b"SWAPSPACE2", b"SWAP-SPACE") or magic.startswith(_SUSPENDED):
            name = "swap-suspended" if magic.startswith(_SUSPENDED) else "swap"
            return Signature(name, label=label_of(head[0x41C:0x42C]), uuid=uuid_of(head[0x40C:0x41C]))
    return None


def _ntfs(head: bytes) -> Signature | None:
    if head[3:11] == b"NTFS    ":
        return Signature("ntfs", uuid=f"{int.from_bytes(head[0x48:0x50], 'little'):016X}")
    if head[3:11] == b"EXFAT   ":
        return Signature("exfat", uuid=volume_serial(head[100:104]))
    return None


def _iso9660(head: bytes) -> Signature | None:
    if head[32769:32774] != b"CD001":
        return None
    dates = [head[at : at + 16] for at in (32768 + 830, 32768 + 813)]  # of modification and creation
    date = next((raw.decode() for raw in dates if raw.isdigit() and raw.strip(b"0")), "")
    cuts = (0, 4, 6, 8, 10, 12, 14, 16)
    uuid = "-".join(date[a:b] for a, b in pairwise(cuts)) if date else ""
    return Signature("iso9660", label=label_of(head[32808:32840]), uuid=uuid)


def _at(
    name: str, at: int, magic: bytes, title: str = "", *, uuid_at: int = 0, label_at: int = 0, label_bytes: int = 16,
    utf16: bool = False, hides: bool = False,
) -> FileSystemFormat:  # fmt: skip
    """Return a format with magic bytes `at` an offset, and its UUID and label at others (0: not read)."""

    def probe(head: bytes) -> Signature | None:
        if head[at : at + len(magic)] != magic:
            return None
        raw = head[label_at : label_at + label_bytes] if label_at else b""
        label = raw.decode("utf-16-le", "replace").split("\0")[0] if utf16 else label_of(raw)
        return Signature(name, label=label, uuid=uuid_of(head[uuid_at : uuid_at + 16]) if uuid_at else "")

    return FileSystemFormat(names=(name,), probe=probe, title=title, hides=hides)


_CONTAINERS: tuple[FileSystemFormat, ...] = (
    FileSystemFormat(names=("luks",), probe=_luks, title="LUKS, which is encrypted", hides=True),
    _at("bitlocker", 3, b"-FVE-FS-", "BitLocker, which is encrypted", hides=True),
    FileSystemFormat(names=("lvm",), probe=_lvm),
    _at("mdraid", 4096, b"\xfc\x4e\x2b\xa9", "a Linux RAID member", hides=True),
    _at("mdraid", 0, b"\xfc\x4e\x2b\xa9", "a Linux RAID member", hides=True),
)
# Formats with a title may contain the root of a system.
_UNREAD: tuple[FileSystemFormat, ...] = (
    _at("btrfs", 0x10040, b"_BHRfS_M", "btrfs", uuid_at=0x10020, label_at=0x1012B, label_bytes=256),
    FileSystemFormat(names=("swap", "swap-suspended"), probe=_swap),
    FileSystemFormat(names=("ntfs", "exfat"), probe=_ntfs),
    _at("squashfs", 0, b"hsqs", "squashfs"),
    _at("f2fs", 1024, b"\x10\x20\xf5\xf2", "F2FS", uuid_at=1132, label_at=1148, label_bytes=1024, utf16=True),
    _at("reiserfs", 65588, b"ReIsEr", "ReiserFS", uuid_at=65620, label_at=65636),
    _at("jfs", 32768, b"JFS1", "JFS", uuid_at=32904, label_at=32920),
    _at("erofs", 1024, b"\xe2\xe1\xf5\xe0", "EROFS", uuid_at=1072, label_at=1088),
    _at("nilfs2", 1030, b"\x34\x34", "NILFS2", uuid_at=1176, label_at=1192, label_bytes=80),
    _at("bcachefs", 4120, bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef"), "bcachefs",
        uuid_at=4152, label_at=4168, label_bytes=32),
    _at("bcache", 4120, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81"), "bcache", hides=True),
    _at("ufs", 65536 + 1372, b"\x19\x01\x54\x19", "UFS", hides=True),
    _at("ufs", 8192 + 1372, b"\x54\x19\x01\x00", "UFS", hides=True),
    _at("hfsplus", 1024, b"H+", "HFS+", hides=True),
    _at("apfs", 32, b"NXSB", "APFS", hides=True),
    _at("romfs", 0, b"-rom1fs-", "romfs"),
    _at("cramfs", 0, b"\x45\x3d\xcd\x28", "cramfs"),
    FileSystemFormat(names=("iso9660",), probe=_iso9660),
    _at("udf", 32769, b"BEA01"),
    # Found by its uberblocks, which are after the first 68 KiB.
    FileSystemFormat(names=("zfs",), probe=lambda _head: None, title="ZFS", hides=True),
)  # fmt: skip
# Formats with a UUID, or a label, that is not read. An ISO 9660 image may have a second label (Joliet).
_NO_UUID = frozenset({"udf"})
_NO_LABEL = frozenset({"ntfs", "exfat", "iso9660", "udf"})


_MAX_VOLUMES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A partition or a logical volume with content. `name` is "vg/lv", empty for a partition.

    `part` is the partition. For a logical volume, it has the file system, the UUID and the label of the volume.
    """

    part: Partition
    reader: Reader
    name: str = ""

    @property
    def title(self) -> str:
        """The volume in messages."""
        if self.name:
            return f"the logical volume {self.name}"
        return f"partition {self.part.number}" if self.part.number else "the whole disk"


def find_volumes(disk: Reader, partitions: Sequence[Partition], unknowns: list[str]) -> tuple[Volume, ...]:
    """Return all volumes that may have a file system. Clauses about unreadable volumes are added to `unknowns`."""
    found: list[Volume] = []
    for part in partitions[:_MAX_VOLUMES]:
        try:
            window = Window(disk, start=part.start_bytes, size=part.size_bytes)
            plain = [Volume(part=part, reader=window)]
            found += _logical(part, window, unknowns) if part.filesystem == "lvm" else plain
        except ReadProblem as problem:
            unknowns.append(f"partition {part.number} ({part.filesystem or 'unknown'}): {problem.message}")
    if len(partitions) > _MAX_VOLUMES or len(found) > _MAX_VOLUMES:
        unknowns.append(f"only the first {_MAX_VOLUMES} partitions and volumes were inspected")
    return tuple(found[:_MAX_VOLUMES])


def open_volume(volume: Volume) -> FileSystem | None:
    """Open the file system of a volume, None if it has no files. Raises Bad, and Unsupported if it is not read."""
    part = volume.part
    known = _BY_NAME.get(part.filesystem)
    if known is None:
        return None
    if known.open is not None:
        return known.open(volume.reader, Signature(part.filesystem, label=part.label, uuid=part.uuid))
    if known.title:
        raise Unsupported(f"it contains {known.title}, which is not supported")
    return None


def _logical(part: Partition, window: Window, unknowns: list[str]) -> Iterator[Volume]:
    """Yield the logical volumes of a physical volume. A volume that can't be opened has only a name."""
    group = read_volume_group(window)
    for volume in group.volumes:
        reader: Reader = Window(window, start=0, size=0)
        found = None
        try:
            reader = volume.open(window)
            found = probe_filesystem(reader)
        except Unsupported as problem:
            unknowns.append(f"partition {part.number} (lvm): {problem.message}")
        found = found or Signature("")
        own = replace(part, filesystem=found.name, uuid=found.uuid, label=found.label, part_uuid="", name="")
        yield Volume(part=own, reader=reader, name=f"{group.name}/{volume.name}")


# All signatures except that of ZFS are in the first 68 KiB.
_HEAD_BYTES = 68 * 1024
_ZFS_UBERBLOCKS_AT = 128 * 1024


def probe_filesystem(reader: Reader) -> Signature | None:
    """Recognise a file system, a volume manager or encryption by the first bytes. Return None for unknown content.

    A signature does not prove that the file system is intact. Raises the errors of reading the disk.
    """
    head = reader.pread(0, _HEAD_BYTES)
    head += bytes(_HEAD_BYTES - len(head))
    for known in FORMATS:
        found = known.probe(head)
        if found is not None:
            return found
    uberblocks = reader.pread(_ZFS_UBERBLOCKS_AT, 128 * 1024)
    for at in range(0, len(uberblocks), 1024):
        if uberblocks[at : at + 8] in (b"\x0c\xb1\xba\0\0\0\0\0", b"\0\0\0\0\0\xba\xb1\x0c"):
            return Signature("zfs")
    return None


def reads_names(filesystem: str, *, label: str) -> tuple[bool, bool]:
    """Return whether the UUID, and the label, of a file system are read. For unknown content, neither is.

    `label` is the label that was read: FAT may have its label in the root directory only.
    """
    known = _BY_NAME.get(filesystem)
    if known is None or known.hides:
        return False, False
    return filesystem not in _NO_UUID, filesystem not in _NO_LABEL and (filesystem != "vfat" or bool(label))


# In the order in which they are tried.
FORMATS: tuple[FileSystemFormat, ...] = (*_CONTAINERS, ext.EXT, xfs.XFS, fat.FAT, *_UNREAD)
_BY_NAME = {name: known for known in FORMATS for name in known.names}
