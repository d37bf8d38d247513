"""This file reads /etc/fstab, and tells whether what a line or a root= names is on the disk."""

from collections.abc import Iterable
from dataclasses import dataclass

from aliyun_import.disk.guest.report import FstabEntry
from aliyun_import.disk.report import Partition

_MAX_LINES = 10_000
_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


# Partitions in which more may hide than their first bytes tell.
_HIDING = {"luks", "bitlocker", "mdraid", "bcache", "zfs", "drbd"}
# A partition in which nothing is recognised and that is larger than those of boot loaders may hold anything.
_UNKNOWN_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class DiskNames:
    """The names by which the file systems of a disk can be called, in lower case except for labels.

    `complete`: nothing on the disk can have a UUID that is not here; `all_labels` the same of labels.
    """

    uuids: frozenset[str]
    part_uuids: frozenset[str]
    labels: frozenset[str]
    part_labels: frozenset[str]
    volumes: frozenset[str]
    complete: bool
    all_labels: bool

    @classmethod
    def of(
        cls, partitions: Iterable[Partition], *, volumes: Iterable[tuple[str, str, str]] = (), hidden: bool = False
    ) -> "DiskNames":
        """Collect the names; `volumes` are (vg/lv, uuid, label), `hidden` says that not all of them could be read."""
        parts, logical = list(partitions), list(volumes)
        complete = not hidden and not any(_may_hide(part) for part in parts)
        # FAT may have its label in the root directory only.
        all_labels = complete and not any(part.filesystem == "vfat" and not part.label for part in parts)
        return cls(
            uuids=frozenset(part.uuid.lower() for part in parts if part.uuid)
            | frozenset(uuid.lower() for _name, uuid, _label in logical if uuid),
            part_uuids=frozenset(part.part_uuid.lower() for part in parts if part.part_uuid),
            labels=frozenset(part.label for part in parts if part.label)
            | frozenset(label for _name, _uuid, label in logical if label),
            part_labels=frozenset(part.name for part in parts if part.name),
            volumes=frozenset(name for name, _uuid, _label in logical),
            complete=complete,
            all_labels=all_labels,
        )

    def has(self, spec: str) -> bool | None:
        """Tell whether what `spec` names is on the disk; None where that cannot be told from here."""
        spec = _by_symlink(spec)
        tag, equals, value = spec.partition("=")
        value = value.strip("\"'")
        if not equals:
            return self._has_volume(spec)
        known = {
            "UUID": (value.lower(), self.uuids, self.complete),
            # "PARTUUID=.../PARTNROFF=1" counts on from a partition.
            "PARTUUID": (value.lower(), self.part_uuids, "/" not in value),
            "LABEL": (value, self.labels, self.all_labels),
            "PARTLABEL": (value, self.part_labels, True),
        }.get(tag.upper())
        if known is None:
            return None
        wanted, names, sure = known
        return True if wanted in names else False if sure else None

    def _has_volume(self, spec: str) -> bool | None:
        name = volume_name(spec)
        return True if name is not None and name in self.volumes else None


def volume_name(path: str) -> str | None:
    """Give "vg/lv" for /dev/vg/lv and /dev/mapper/vg-lv, None for other paths."""
    if path.startswith("/dev/mapper/"):
        # In mapper names a dash of the name itself is doubled.
        group, dash, volume = path.removeprefix("/dev/mapper/").replace("--", "\0").partition("-")
        return f"{group}/{volume}".replace("\0", "-") if dash else None
    parts = path.removeprefix("/dev/").split("/")
    special = {"disk", "block", "mapper", "md", "zvol", "shm"}
    return "/".join(parts) if path.startswith("/dev/") and len(parts) == 2 and parts[0] not in special else None


def read_fstab(text: str, names: DiskNames) -> tuple[FstabEntry, ...]:
    """Read the lines of fstab, in order; comments and lines that are none are left out."""
    entries = []
    for number, line in enumerate(text.splitlines()[:_MAX_LINES], start=1):
        fields = line.split()
        if len(fields) < 3 or fields[0].startswith("#"):
            continue
        spec, mount_point = _plain(fields[0]), _plain(fields[1])
        options = tuple(fields[3].split(",")) if len(fields) > 3 else ()
        entries.append(
            FstabEntry(
                line=number,
                spec=spec,
                mount_point=mount_point.rstrip("/") or "/" if mount_point.startswith("/") else mount_point,
                type=fields[2],
                options=options,
                found=names.has(spec),
            )
        )
    return tuple(entries)


def _may_hide(part: Partition) -> bool:
    return part.filesystem in _HIDING or (not part.filesystem and part.size_bytes > _UNKNOWN_BYTES)


def _by_symlink(spec: str) -> str:
    """Turn /dev/disk/by-uuid/X into UUID=X, and its three siblings likewise."""
    for tag in ("uuid", "partuuid", "label", "partlabel"):
        if spec.startswith(f"/dev/disk/by-{tag}/"):
            return f"{tag.upper()}={spec.removeprefix(f'/dev/disk/by-{tag}/')}"
    return spec


def _plain(field: str) -> str:
    for escape, character in _ESCAPES.items():
        field = field.replace(escape, character)
    return field
