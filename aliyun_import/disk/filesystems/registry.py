"""This file opens the file systems of a disk: those on partitions, and those on logical volumes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aliyun_import.disk.filesystems.ext import Ext
from aliyun_import.disk.filesystems.fat import FatTree
from aliyun_import.disk.filesystems.interface import FileSystem
from aliyun_import.disk.filesystems.probe import probe_filesystem
from aliyun_import.disk.filesystems.xfs import Xfs
from aliyun_import.disk.io.reader import Reader, ReadProblem, Unsupported, Window
from aliyun_import.disk.partitions.lvm import read_volume_group
from aliyun_import.disk.report import Partition

_MAX_VOLUMES = 64
# Kinds that can be a system's root and are not read here, by their usual names.
_NOT_READ = {
    "btrfs": "btrfs",
    "f2fs": "F2FS",
    "reiserfs": "ReiserFS",
    "zfs": "ZFS",
    "ufs": "UFS",
    "luks": "LUKS, which is encrypted",
    "bitlocker": "BitLocker, which is encrypted",
    "mdraid": "a Linux RAID member",
    "squashfs": "squashfs",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A partition or a logical volume with something on it. `name` is "vg/lv", empty for a partition."""

    partition: int
    filesystem: str
    uuid: str
    label: str
    reader: Reader
    name: str = ""
    part_uuid: str = ""
    part_label: str = ""

    @property
    def words(self) -> str:
        """Name it for people."""
        if self.name:
            return f"the logical volume {self.name}"
        return f"partition {self.partition}" if self.partition else "the whole disk"


def find_volumes(disk: Reader, partitions: Sequence[Partition], unknowns: list[str]) -> tuple[Volume, ...]:
    """List everything on the disk that may be a file system; what could not be read is added to `unknowns`."""
    found: list[Volume] = []
    for part in partitions[:_MAX_VOLUMES]:
        try:
            window = Window(disk, start=part.start_bytes, size=part.size_bytes)
            found += _logical(part, window) if part.filesystem == "lvm" else [_plain(part, window)]
        except ReadProblem as problem:
            unknowns.append(f"partition {part.number} ({part.filesystem or 'unknown'}): {problem.message}")
    if len(partitions) > _MAX_VOLUMES or len(found) > _MAX_VOLUMES:
        unknowns.append(f"only the first {_MAX_VOLUMES} partitions and volumes were looked into")
    return tuple(found[:_MAX_VOLUMES])


def open_volume(volume: Volume) -> FileSystem | None:
    """Open a file system; None for what holds none. Raises Unsupported for one that we do not read, or Bad."""
    if volume.filesystem in ("ext2", "ext3", "ext4"):
        return Ext(volume.reader)
    if volume.filesystem == "xfs":
        return Xfs(volume.reader)
    if volume.filesystem == "vfat":
        return FatTree(volume.reader, label=volume.label, uuid=volume.uuid)
    if volume.filesystem in _NOT_READ:
        raise Unsupported(f"it holds {_NOT_READ[volume.filesystem]}, and that is not read")
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
    """Open the logical volumes of a physical volume; one that cannot be opened is there with its name only."""
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
