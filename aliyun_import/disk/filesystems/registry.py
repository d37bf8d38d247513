"""The known file systems, one per line, and the volumes of a disk: partitions and logical volumes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aliyun_import.disk.filesystems import ext, fat, signatures, xfs
from aliyun_import.disk.filesystems.interface import FileSystem, FileSystemFormat, Signature
from aliyun_import.disk.filesystems.signatures import NO_LABEL, NO_UUID
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
            found += _logical(part, window, unknowns) if part.filesystem == "lvm" else [_plain(part, window)]
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


def _logical(part: Partition, window: Window, unknowns: list[str]) -> Iterator[Volume]:
    """Open the logical volumes of a physical volume; one that can't be opened has its name only."""
    group = read_volume_group(window)
    for volume in group.volumes:
        name = f"{group.name}/{volume.name}"
        try:
            reader = volume.open(window)
            signature = probe_filesystem(reader)
        except Unsupported as problem:
            unknowns.append(f"partition {part.number} (lvm): {problem.message}")
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
_ZFS_UBERBLOCKS_AT = 128 * 1024


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


def tells_names(filesystem: str, *, label: str) -> tuple[bool, bool]:
    """Return whether the UUID, and the label, of a file system with this name are read. Unknown content tells neither.

    `label` is what was read: FAT may have its label in the root directory only.
    """
    known = _BY_NAME.get(filesystem)
    if known is None or known.hides:
        return False, False
    return filesystem not in NO_UUID, filesystem not in NO_LABEL and (filesystem != "vfat" or bool(label))


# In the order of their probes.
FORMATS: tuple[FileSystemFormat, ...] = (*signatures.CONTAINERS, ext.EXT, xfs.XFS, fat.FAT, *signatures.UNREAD)
_BY_NAME = {name: known for known in FORMATS for name in known.names}
