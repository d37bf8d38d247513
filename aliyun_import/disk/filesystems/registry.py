"""The known file systems, one per line, and the volumes of a disk: partitions and logical volumes."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from aliyun_import.disk.filesystems import ext, fat, xfs
from aliyun_import.disk.filesystems.fat import volume_serial
from aliyun_import.disk.filesystems.interface import (
    FileSystem,
    FileSystemFormat,
    Signature,
    label_of,
    uuid_of,
)
from aliyun_import.disk.partitions.lvm import read_volume_group
from aliyun_import.disk.reader import Reader, ReadProblem, Unsupported, Window
from aliyun_import.disk.report import Partition

_MAX_VOLUMES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A partition or a logical volume with content. `name` is "vg/lv", empty for a partition."""

    partition: int
    filesystem: str
    uuid: str
    label: str
    reader: Reader
    name: str = ""
    part_uuid: str = ""
    part_label: str = ""

    @property
    def title(self) -> str:
        """Return its name for messages."""
        if self.name:
            return f"the logical volume {self.name}"
        return f"partition {self.partition}" if self.partition else "the whole disk"


def find_volumes(disk: Reader, partitions: Sequence[Partition], unknowns: list[str]) -> tuple[Volume, ...]:
    """Return everything on the disk that may be a file system; what could not be read is added to `unknowns`."""
    found: list[Volume] = []
    for part in partitions[:_MAX_VOLUMES]:
        try:
            window = Window(disk, start=part.start_bytes, size=part.size_bytes)
            found += _logical(part, window) if part.filesystem == "lvm" else [_plain(part, window)]
        except ReadProblem as problem:
            unknowns.append(f"partition {part.number} ({part.filesystem or 'unknown'}): {problem.message}")
    if len(partitions) > _MAX_VOLUMES or len(found) > _MAX_VOLUMES:
        unknowns.append(f"only the first {_MAX_VOLUMES} partitions and volumes were inspected")
    return tuple(found[:_MAX_VOLUMES])


def open_volume(volume: Volume) -> FileSystem | None:
    """Open a file system; None where there are no files. Raises Unsupported for one that is not read here, or Bad."""
    known = _BY_NAME.get(volume.filesystem)
    if known is None:
        return None
    if known.open is not None:
        return known.open(volume.reader, Signature(volume.filesystem, label=volume.label, uuid=volume.uuid))
    if known.title:
        raise Unsupported(f"it contains {known.title}, which is not supported")
    return None


def _plain(part: Partition, window: Window) -> Volume:
    return Volume(
        partition=part.number,
        filesystem=part.filesystem,
        uuid=part.uuid,
        label=part.label,
        reader=window,
        part_uuid=part.part_uuid,
        part_label=part.name,
    )


def _logical(part: Partition, window: Window) -> Iterator[Volume]:
    """Open the logical volumes of a physical volume; one that can't be opened has its name only."""
    group = read_volume_group(window)
    for volume in group.volumes:
        name = f"{group.name}/{volume.name}"
        try:
            reader = volume.open(window)
            signature = probe_filesystem(reader)
        except Unsupported:
            yield Volume(
                partition=part.number,
                filesystem="",
                uuid="",
                label="",
                reader=Window(window, start=0, size=0),
                name=name,
            )
            continue
        yield Volume(
            partition=part.number,
            filesystem=signature.name if signature else "",
            uuid=signature.uuid if signature else "",
            label=signature.label if signature else "",
            reader=reader,
            name=name,
        )


# Every signature but one is in the first 68 KiB.
_HEAD_BYTES = 68 * 1024
_UFS2_AT = 65536 + 1372
_ZFS_UBERBLOCKS_AT = 128 * 1024
_SWAP_PAGE_SIZES = (4096, 8192, 16384, 65536)


def probe_filesystem(reader: Reader) -> Signature | None:
    """Recognise a file system, volume manager or encryption by its first bytes; None for unknown content.

    A signature is no proof of a sound file system. Raises OSError or Bad when the disk can't be read there.
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


def _luks(head: bytes) -> Signature | None:
    if head.startswith((b"LUKS\xba\xbe", b"SKUL\xba\xbe")):
        return Signature("luks", uuid=label_of(head[168:208]))
    return None


def _bitlocker(head: bytes) -> Signature | None:
    return Signature("bitlocker") if head[3:11] == b"-FVE-FS-" else None


def _lvm(head: bytes) -> Signature | None:
    for at in range(0, 2048, 512):
        if head[at : at + 8] == b"LABELONE" and head[at + 24 : at + 32] == b"LVM2 001":
            (offset,) = struct.unpack_from("<I", head, at + 20)
            raw = head[at + offset : at + offset + 32].decode("ascii", "replace") if offset <= 480 else ""
            cuts = (0, 6, 10, 14, 18, 22, 26, 32)
            return Signature("lvm", uuid="-".join(raw[a:b] for a, b in pairwise(cuts)) if raw else "")
    return None


def _mdraid(head: bytes) -> Signature | None:
    return Signature("mdraid") if b"\xfc\x4e\x2b\xa9" in (head[4096:4100], head[0:4]) else None


def _btrfs(head: bytes) -> Signature | None:
    if head[0x10040:0x10048] != b"_BHRfS_M":
        return None
    return Signature("btrfs", label=label_of(head[0x1012B:0x1022B]), uuid=uuid_of(head[0x10020:0x10030]))


def _swap(head: bytes) -> Signature | None:
    for page in _SWAP_PAGE_SIZES:
        if head[page - 10 : page] in (b"SWAPSPACE2", b"SWAP-SPACE"):
            return Signature("swap", label=label_of(head[0x41C:0x42C]), uuid=uuid_of(head[0x40C:0x41C]))
        if head[page - 10 : page - 1] == b"S1SUSPEND":
            return Signature("swap-suspended")
    return None


def _ntfs(head: bytes) -> Signature | None:
    if head[3:11] == b"NTFS    ":
        return Signature("ntfs", uuid=f"{int.from_bytes(head[0x48:0x50], 'little'):016X}")
    if head[3:11] == b"EXFAT   ":
        return Signature("exfat", uuid=volume_serial(head[100:104]))
    return None


def _magic(name: str, at: int, magic: bytes, title: str = "") -> FileSystemFormat:
    """Return a format that is recognised by its magic bytes alone, and not read here."""
    return FileSystemFormat(
        names=(name,),
        probe=lambda head: Signature(name) if head[at : at + len(magic)] == magic else None,
        title=title,
    )


# In the order of their probes. A title marks what may be the root of a system and is not read here.
FORMATS: tuple[FileSystemFormat, ...] = (
    FileSystemFormat(names=("luks",), probe=_luks, title="LUKS, which is encrypted"),
    FileSystemFormat(names=("bitlocker",), probe=_bitlocker, title="BitLocker, which is encrypted"),
    FileSystemFormat(names=("lvm",), probe=_lvm),
    FileSystemFormat(names=("mdraid",), probe=_mdraid, title="a Linux RAID member"),
    ext.EXT,
    xfs.XFS,
    FileSystemFormat(names=("btrfs",), probe=_btrfs, title="btrfs"),
    FileSystemFormat(names=("swap", "swap-suspended"), probe=_swap),
    FileSystemFormat(names=("ntfs", "exfat"), probe=_ntfs),
    fat.FAT,
    _magic("squashfs", 0, b"hsqs", "squashfs"),
    _magic("f2fs", 1024, b"\x10\x20\xf5\xf2", "F2FS"),
    _magic("reiserfs", 65536 + 52, b"ReIsEr", "ReiserFS"),
    _magic("ufs", _UFS2_AT, b"\x19\x01\x54\x19", "UFS"),
    _magic("iso9660", 32769, b"CD001"),
    _magic("udf", 32769, b"BEA01"),
    # Found by its uberblocks, behind the head.
    FileSystemFormat(names=("zfs",), probe=lambda _head: None, title="ZFS"),
)
_BY_NAME = {name: known for known in FORMATS for name in known.names}
