"""Names of file systems (UUID, label, device), and the readers of fstab, mount units of systemd and crypttab."""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from aliyun_import.disk.filesystems.registry import reads_names
from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.report import FstabEntry
from aliyun_import.disk.report import Partition

# Types of partitions without a file system: BIOS boot, Microsoft reserved, FreeBSD boot, PReP, extended. Partitions of
# other types with unknown content may have a file system that is not recognised.
WITHOUT_CONTENT = {
    "21686148-6449-6e6f-744e-656564454649",
    "e3c9e316-0b5c-4db8-817d-f92df00215ae",
    "83bd6b9d-7f41-11dc-be0b-001560b84f0f",
    "9e1a2d38-c612-4316-aa26-8b49521e5a8b",
    "0x05",
    "0x0f",
    "0x85",
    "0x41",
    "0xee",
}
_RAID_TYPES = {"0xfd", "a19d880f-05fc-4d3b-a006-743f0f84911e"}
_TAGS = ("uuid", "partuuid", "label", "partlabel")


@dataclass(frozen=True, slots=True)
class DiskNames:
    """The names of the file systems of a disk, in lower case except for labels.

    `complete`: these are all UUIDs on the disk; `all_labels` and `all_volumes`: the same for labels and for logical
    volumes. `mapped` are the names of encrypted devices in crypttab. `raid`: there may be a RAID array.
    """

    uuids: frozenset[str]
    part_uuids: frozenset[str]
    labels: frozenset[str]
    part_labels: frozenset[str]
    volumes: frozenset[str]
    complete: bool
    all_labels: bool
    all_volumes: bool
    raid: bool
    mapped: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, parts: Sequence[Partition], *, volumes: Mapping[str, Partition] | None = None, hidden: bool = False
    ) -> "DiskNames":
        """Return the names on partitions and logical volumes. `hidden`: some logical volumes were not read."""
        volumes = volumes or {}
        both = [*parts, *volumes.values()]
        # Whether the UUID, and the label, of each of them are read.
        read = [
            (True, True)
            if part.filesystem == "lvm" or (not part.filesystem and part.type_id in WITHOUT_CONTENT)
            else reads_names(part.filesystem, label=part.label)
            for part in parts
        ]
        read += [reads_names(volume.filesystem, label=volume.label) for volume in volumes.values()]
        complete = not hidden and all(uuid for uuid, _label in read)
        kinds = {part.filesystem for part in both}
        return cls(
            uuids=frozenset(part.uuid.lower() for part in both if part.uuid),
            part_uuids=frozenset(part.part_uuid.lower() for part in parts if part.part_uuid),
            labels=frozenset(part.label for part in both if part.label),
            part_labels=frozenset(part.name for part in parts if part.name),
            volumes=frozenset(volumes),
            complete=complete,
            all_labels=complete and all(label for _uuid, label in read),
            # Logical volumes may be on an encrypted device or an array.
            all_volumes=not hidden and not kinds & {"luks", "mdraid", "bcache"} and _known(parts),
            raid="mdraid" in kinds or any(part.type_id in _RAID_TYPES for part in parts),
        )

    def has(self, spec: str) -> bool | None:
        """Return whether the file system or device of `spec` is on the disk, or None if that is unknown."""
        spec = by_tag(spec)
        tag, equals, value = spec.partition("=")
        value = value.strip("\"'")
        if not equals:
            return self._has_device(spec)
        known = {
            "UUID": (value.lower(), self.uuids, self.complete),
            # "PARTUUID=.../PARTNROFF=1" is relative to a partition.
            "PARTUUID": (value.lower(), self.part_uuids, "/" not in value),
            "LABEL": (value, self.labels, self.all_labels),
            "PARTLABEL": (value, self.part_labels, True),
        }.get(tag.upper())
        if known is None:
            return None
        wanted, names, sure = known
        return True if wanted in names else False if sure else None

    def _has_device(self, spec: str) -> bool | None:
        if re.match(r"/dev/md(\d|/|_d)", spec):
            return None if self.raid else False
        name = volume_name(spec)
        mapped = spec.removeprefix("/dev/mapper/")
        if (name is None and mapped == spec) or mapped in self.mapped:
            return None
        if name in self.volumes:
            return True
        return False if self.all_volumes else None


def volume_name(path: str) -> str | None:
    """Return "vg/lv" for /dev/vg/lv and /dev/mapper/vg-lv, or None for other paths."""
    if path.startswith("/dev/mapper/"):
        # In mapper names, the dashes of both names are doubled.
        group, dash, volume = path.removeprefix("/dev/mapper/").replace("--", "\0").partition("-")
        return f"{group}/{volume}".replace("\0", "-") if dash else None
    parts = path.removeprefix("/dev/").split("/")
    special = {"disk", "block", "mapper", "md", "zvol", "shm", "cciss", "ida", "rd", "i2o", "loop", "bus", "vx"}
    return "/".join(parts) if path.startswith("/dev/") and len(parts) == 2 and parts[0] not in special else None


def by_tag(spec: str) -> str:
    """Return UUID=X for /dev/disk/by-uuid/X, the same for three similar links, and the path of a mapper link."""
    for tag in _TAGS:
        if spec.startswith(f"/dev/disk/by-{tag}/"):
            # udev escapes characters that are not allowed in names: \x20.
            name = spec.removeprefix(f"/dev/disk/by-{tag}/")
            raw = re.sub(r"\\x([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), name)
            with contextlib.suppress(UnicodeError):
                raw = raw.encode("latin-1").decode()
            return f"{tag.upper()}={raw}"
    return re.sub(r"^/dev/disk/by-id/dm-name-", "/dev/mapper/", spec)


def _known(partitions: Iterable[Partition]) -> bool:
    """Return whether the content of all partitions is known. Unknown content may be a part of a volume group."""
    return all(part.filesystem or part.type_id in WITHOUT_CONTENT for part in partitions)


_MAX_UNITS = 200
_UNITS = "/etc/systemd/system"
_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\043": "#", "\\134": "\\"}


def read_fstab(tree: Tree, names: DiskNames) -> tuple[FstabEntry, ...]:
    """Return the entries of fstab in their order, without comments and invalid lines."""
    entries = []
    for number, fields in _fields(tree, "/etc/fstab"):
        if len(fields) < 3:
            continue
        mount_point = _plain(fields[1])
        spec = _plain(fields[0])
        entries.append(
            FstabEntry(
                line=number,
                where=f"/etc/fstab:{number}",
                spec=spec,
                mount_point=mount_point.rstrip("/") or "/" if mount_point.startswith("/") else mount_point,
                type=fields[2],
                options=tuple(fields[3].split(",")) if len(fields) > 3 else (),
                found=names.has(spec),
            )
        )
    return tuple(entries)


def read_units(tree: Tree, names: DiskNames) -> tuple[FstabEntry, ...]:
    """Return the entries of enabled .mount and .swap units in /etc.

    A unit in .wants gets the option nofail, because the boot continues without it.
    """
    enabled: dict[str, bool] = {}
    for directory in tree.names(_UNITS):
        if directory.endswith((".wants", ".requires")):
            for name in tree.names(f"{_UNITS}/{directory}"):
                enabled[name] = enabled.get(name, False) or directory.endswith(".requires")
    found = []
    units = [name for name in enabled if name.endswith((".mount", ".swap")) and tree.exists(f"{_UNITS}/{name}")]
    for name in units[:_MAX_UNITS]:
        path, values, lines = f"{_UNITS}/{name}", dict[str, str](), dict[str, int]()
        for number, line in tree.lines(path):
            key, equals, value = (part.strip() for part in line.partition("="))
            if equals:
                values[key], lines[key] = value, number
        spec = values.get("What", "")
        is_swap = name.endswith(".swap")
        options = tuple(option for option in values.get("Options", "").split(",") if option)
        if spec:
            found.append(
                FstabEntry(
                    line=lines["What"],
                    where=f"{path}:{lines['What']}",
                    spec=spec,
                    mount_point="none" if is_swap else values.get("Where", ""),
                    type="swap" if is_swap else values.get("Type", "auto"),
                    options=options if enabled[name] else (*options, "nofail"),
                    found=names.has(spec),
                )
            )
    return tuple(found)


def read_crypttab(tree: Tree, names: DiskNames) -> tuple[FstabEntry, ...]:
    """Return the lines of crypttab. `mount_point` is the name of the device, `type` its key ("none": passphrase)."""
    return tuple(
        FstabEntry(
            line=number,
            where=f"/etc/crypttab:{number}",
            spec=fields[1],
            mount_point=fields[0],
            type=fields[2] if len(fields) > 2 else "none",
            options=tuple(fields[3].split(",")) if len(fields) > 3 else (),
            found=names.has(fields[1]),
        )
        for number, fields in _fields(tree, "/etc/crypttab")
        if len(fields) > 1
    )


def _fields(tree: Tree, path: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in tree.lines(path):
        # A comment may follow the fields. A quoted label may have blanks.
        fields = re.findall(r'(?:"[^"]*"|[^\s"])+', re.sub(r"\s#.*$", "", line))
        if fields and not fields[0].startswith("#"):
            yield number, fields


def _plain(field: str) -> str:
    for escape, character in _ESCAPES.items():
        field = field.replace(escape, character)
    return field
