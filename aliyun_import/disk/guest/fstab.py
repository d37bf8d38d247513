"""This file reads /etc/fstab, and tells whether what a line or a root= names is on the disk."""

from collections.abc import Iterable
from dataclasses import dataclass

from aliyun_import.disk.guest_report import FstabEntry
from aliyun_import.disk.report import Partition

_MAX_LINES = 10_000
_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


@dataclass(frozen=True, slots=True)
class DiskNames:
    """The names by which the file systems of a disk can be called, in lower case except for labels."""

    uuids: frozenset[str]
    part_uuids: frozenset[str]
    labels: frozenset[str]
    part_labels: frozenset[str]
    volumes: frozenset[str]
    complete: bool

    @classmethod
    def of(cls, partitions: Iterable[Partition], *, volumes: Iterable[tuple[str, str, str]]) -> "DiskNames":
        """Collect the names; `volumes` are (vg/lv, uuid, label) of logical volumes.

        A partition whose contents are not known (encrypted, a RAID member) may hide more: then `complete` is False.
        """
        parts, logical = list(partitions), list(volumes)
        hidden = {"luks", "mdraid", "bcache", "zfs", "drbd"}
        return cls(
            uuids=frozenset(part.uuid.lower() for part in parts if part.uuid)
            | frozenset(uuid.lower() for _name, uuid, _label in logical if uuid),
            part_uuids=frozenset(part.part_uuid.lower() for part in parts if part.part_uuid),
            labels=frozenset(part.label for part in parts if part.label)
            | frozenset(label for _name, _uuid, label in logical if label),
            part_labels=frozenset(part.name for part in parts if part.name),
            volumes=frozenset(name for name, _uuid, _label in logical),
            complete=not any(part.filesystem in hidden for part in parts),
        )

    def has(self, spec: str) -> bool | None:
        """Tell whether what `spec` names is on the disk; None where that cannot be told from here."""
        spec = _by_symlink(spec)
        tag, equals, value = spec.partition("=")
        value = value.strip("\"'")
        if not equals:
            return self._has_volume(spec)
        known = {
            "UUID": (value.lower(), self.uuids),
            "PARTUUID": (value.lower().split("/")[0], self.part_uuids),
            "LABEL": (value, self.labels),
            "PARTLABEL": (value, self.part_labels),
        }.get(tag.upper())
        if known is None:
            return None
        found = known[0] in known[1]
        return found or (False if self.complete else None)

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
