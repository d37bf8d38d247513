"""What a Linux system mounts and unlocks at boot: fstab, units of systemd, and crypttab."""

import re
from collections.abc import Iterator

from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.disk_names import DiskNames
from aliyun_import.disk.guest.report import FstabEntry

_MAX_LINES = 20_000
_MAX_UNITS = 200
_UNITS = "/etc/systemd/system"
_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\043": "#", "\\134": "\\"}


def read_fstab(tree: Tree, names: DiskNames) -> tuple[FstabEntry, ...]:
    """Return the entries of fstab in order, without comments and invalid lines."""
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
    """Return what enabled .mount and .swap units of the administrator mount.

    One that is only wanted counts as nofail: the boot goes on without it.
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
        for number, line in enumerate((tree.text(path) or "").splitlines()[:_MAX_LINES], start=1):
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
    """Return the lines of crypttab: `mount_point` is the name of the device, `type` its key ("none": a passphrase)."""
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
    for number, line in enumerate((tree.text(path) or "").splitlines()[:_MAX_LINES], start=1):
        # A comment may follow the fields; a quoted label may have blanks.
        fields = re.findall(r'(?:"[^"]*"|[^\s"])+', re.sub(r"\s#.*$", "", line))
        if fields and not fields[0].startswith("#"):
            yield number, fields


def _plain(field: str) -> str:
    for escape, character in _ESCAPES.items():
        field = field.replace(escape, character)
    return field
