"""The configuration of the boot loader (grub.cfg, BLS entries, extlinux) and of mounts (/etc/fstab).

The configurations are read as lists of lines, not run: GRUB's is a program, of which only `linux`, `initrd`, `set` and
`menuentry` matter here. A value with a variable in it counts as not known, unless grubenv or a `set` gives it.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aliyun_import.disk.filesystems.interface import Tree
from aliyun_import.disk.guest.report import BootEntry, FstabEntry
from aliyun_import.disk.report import Partition

_GRUB_PLACES = (
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/boot/efi/EFI/{vendor}/grub.cfg",
    "/boot/grub/menu.lst",
    "/boot/grub/grub.conf",
)
_ENVIRONMENTS = ("/boot/grub2/grubenv", "/boot/grub/grubenv", "/boot/efi/EFI/{vendor}/grubenv")
_BLS_DIRECTORIES = ("/boot/loader/entries", "/boot/efi/loader/entries", "/efi/loader/entries")
_EXTLINUX = (
    "/boot/extlinux/extlinux.conf",
    "/boot/extlinux.conf",
    "/boot/syslinux/syslinux.cfg",
    "/extlinux.conf",
    "/syslinux.cfg",
)

_MAX_LINES = 20_000
_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


# Partitions that may contain more than their first bytes show.
_HIDING = {"luks", "bitlocker", "mdraid", "bcache", "zfs", "drbd"}
# An unknown partition that is larger than those of boot loaders may contain anything.
_UNKNOWN_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class DiskNames:
    """The names of the file systems of a disk, in lower case except for labels.

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
        """Create it from partitions; `volumes` are (vg/lv, uuid, label), `hidden`: not all of them could be read."""
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
        """Return whether what `spec` names is on the disk; None where that is unknown."""
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
    """Return "vg/lv" for /dev/vg/lv and /dev/mapper/vg-lv, None for other paths."""
    if path.startswith("/dev/mapper/"):
        # In mapper names a dash of the name itself is doubled.
        group, dash, volume = path.removeprefix("/dev/mapper/").replace("--", "\0").partition("-")
        return f"{group}/{volume}".replace("\0", "-") if dash else None
    parts = path.removeprefix("/dev/").split("/")
    special = {"disk", "block", "mapper", "md", "zvol", "shm"}
    return "/".join(parts) if path.startswith("/dev/") and len(parts) == 2 and parts[0] not in special else None


def read_fstab(text: str, names: DiskNames) -> tuple[FstabEntry, ...]:
    """Return the entries of fstab in order, without comments and invalid lines."""
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
    """Convert /dev/disk/by-uuid/X to UUID=X, and the three similar ones."""
    for tag in ("uuid", "partuuid", "label", "partlabel"):
        if spec.startswith(f"/dev/disk/by-{tag}/"):
            return f"{tag.upper()}={spec.removeprefix(f'/dev/disk/by-{tag}/')}"
    return spec


def _plain(field: str) -> str:
    for escape, character in _ESCAPES.items():
        field = field.replace(escape, character)
    return field


_MAX_ENTRIES = 100
# The commands of GRUB 2 that load a kernel and its initramfs, and those of GRUB 1 (menu.lst).
_LINUX = {"linux", "linux16", "linuxefi", "kernel"}
_INITRD = {"initrd", "initrd16", "initrdefi"}


def read_boot_entries(tree: Tree, names: DiskNames, *, separate_boot: bool) -> tuple[BootEntry, ...]:
    """Return all entries of all loaders, each checked against the disk.

    `separate_boot`: /boot is a file system of its own, so that its paths begin below it.
    """
    vendors = [name for name in tree.names("/boot/efi/EFI") if name.upper() != "BOOT"][:8]
    variables = _grub_variables(tree, vendors)
    raw = [*_grub(tree, vendors, variables), *_bls(tree, variables), *_extlinux(tree)]
    return tuple(_checked(tree, names, entry, separate_boot=separate_boot) for entry in raw[:_MAX_ENTRIES])


def version_key(version: str) -> list[tuple[int, int, str]]:
    """Return a sort key of a version: numbers by value, 10 after 9."""
    return [
        (1, int(part), "") if part.isdigit() and len(part) < 19 else (0, 0, part)
        for part in re.split(r"(\d+)", version)
        if part
    ]


def root_of(arguments: str) -> str:
    """Return the value of root= in a kernel command line; empty when there is none, or it has a variable."""
    value = ""
    for word in arguments.split():
        if word.startswith("root="):
            value = word.removeprefix("root=").strip("\"'")
    return "" if "$" in value else value


def _checked(tree: Tree, names: DiskNames, entry: BootEntry, *, separate_boot: bool) -> BootEntry:
    return BootEntry(
        loader=entry.loader,
        where=entry.where,
        kernel=entry.kernel,
        initramfs=entry.initramfs,
        root=entry.root,
        kernel_found=_file_found(tree, entry.kernel, separate_boot=separate_boot),
        initramfs_found=_file_found(tree, entry.initramfs, separate_boot=separate_boot),
        root_found=names.has(entry.root) if entry.root else None,
    )


def boot_path(tree: Tree, path: str, *, separate_boot: bool) -> str | None:
    """Return the path in the tree of a file that a boot loader names; None when it is missing."""
    # "(hd0,1)/vmlinuz" and "/@/boot/vmlinuz" (a btrfs subvolume) are GRUB's own ways to write a path.
    plain = "/" + re.sub(r"^\([^)]*\)", "", path).lstrip("/")
    places = (
        (f"/boot{plain}", plain, f"/boot/efi{plain}")
        if separate_boot
        else (plain, f"/boot{plain}", f"/boot/efi{plain}")
    )
    return next((place for place in places if tree.exists(place)), None)


def _file_found(tree: Tree, path: str, *, separate_boot: bool) -> bool | None:
    if not path or "$" in path:
        return None
    return boot_path(tree, path, separate_boot=separate_boot) is not None


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.splitlines()[:_MAX_LINES], start=1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield number, words


def _grub_variables(tree: Tree, vendors: list[str]) -> dict[str, str]:
    """Return the variables in grubenv; RHEL keeps the kernel's arguments in "kernelopts" there."""
    variables: dict[str, str] = {}
    for place in _expand(_ENVIRONMENTS, vendors):
        for line in (tree.text(place) or "").splitlines()[:1000]:
            name, equals, value = line.partition("=")
            if equals and not name.startswith("#"):
                variables.setdefault(name, value)
    return variables


def _expand(places: tuple[str, ...], vendors: list[str]) -> Iterator[str]:
    for place in places:
        if "{vendor}" in place:
            yield from (place.format(vendor=vendor) for vendor in vendors)
        else:
            yield place


def _grub(tree: Tree, vendors: list[str], variables: dict[str, str]) -> Iterator[BootEntry]:
    for place in _expand(_GRUB_PLACES, vendors):
        entry: BootEntry | None = None
        settings = dict(variables)
        for number, words in _lines(tree.text(place) or ""):
            command = words[0]
            if command == "set" and len(words) == 2 and "=" in words[1]:
                name, _, value = words[1].partition("=")
                settings[name] = value.strip("\"'")
            elif command in _LINUX and len(words) > 1:
                if entry is not None:
                    yield entry
                arguments = _substitute(" ".join(words[2:]), settings)
                entry = BootEntry(
                    loader="grub", where=f"{place}:{number}", kernel=_path(words[1], settings), root=root_of(arguments)
                )
            elif command in _INITRD and len(words) > 1 and entry is not None:
                yield _with_initramfs(entry, _path(words[-1], settings))
                entry = None
        if entry is not None:
            yield entry


def _bls(tree: Tree, variables: dict[str, str]) -> Iterator[BootEntry]:
    """Yield BLS entries in the order of the menu: the chosen one, then the newest first."""
    for directory in _BLS_DIRECTORIES:
        stems = [name.removesuffix(".conf") for name in tree.names(directory) if name.endswith(".conf")]
        stems.sort(key=lambda stem: (stem == variables.get("saved_entry"), version_key(stem)), reverse=True)
        for stem in stems[:_MAX_ENTRIES]:
            entry = _bls_entry(f"{directory}/{stem}.conf", tree.text(f"{directory}/{stem}.conf") or "", variables)
            if entry is not None:
                yield entry


def _bls_entry(place: str, text: str, variables: dict[str, str]) -> BootEntry | None:
    keys: dict[str, tuple[int, str]] = {}
    for number, words in _lines(text):
        keys.setdefault(words[0], (number, " ".join(words[1:])))
    kernel = keys.get("linux", (0, ""))[1]
    if not kernel:
        return None
    number, arguments = keys.get("options", (keys["linux"][0], ""))
    initramfs = keys.get("initrd", (0, ""))[1].split()
    return BootEntry(
        loader="bls",
        where=f"{place}:{number}",
        kernel=_path(kernel, variables),
        initramfs=_path(initramfs[0], variables) if initramfs else "",
        root=root_of(_substitute(arguments, variables)),
    )


def _extlinux(tree: Tree) -> Iterator[BootEntry]:
    """Yield syslinux's labels; its own modules (menu.c32), which KERNEL names, too, are no kernels."""
    for place in _EXTLINUX:
        directory = place.rsplit("/", 1)[0]
        entry: BootEntry | None = None
        for number, words in _lines(tree.text(place) or ""):
            command = words[0].lower()
            if command in ("kernel", "linux") and len(words) > 1 and not words[1].endswith((".c32", ".com", ".bin")):
                if entry is not None:
                    yield entry
                entry = BootEntry(loader="extlinux", where=f"{place}:{number}", kernel=_beside(directory, words[1]))
            elif command == "initrd" and len(words) > 1 and entry is not None:
                entry = _with_initramfs(entry, _beside(directory, words[1]))
            elif command == "append" and entry is not None:
                arguments = " ".join(words[1:])
                initrd = next((word[7:] for word in words if word.startswith("initrd=")), "")
                entry = BootEntry(
                    loader=entry.loader,
                    where=f"{place}:{number}",
                    kernel=entry.kernel,
                    initramfs=_beside(directory, initrd) if initrd else entry.initramfs,
                    root=root_of(arguments),
                )
        if entry is not None:
            yield entry


def _with_initramfs(entry: BootEntry, path: str) -> BootEntry:
    return BootEntry(loader=entry.loader, where=entry.where, kernel=entry.kernel, initramfs=path, root=entry.root)


def _beside(directory: str, path: str) -> str:
    return path if path.startswith("/") else f"{directory}/{path}"


def _path(path: str, variables: dict[str, str]) -> str:
    """Return a path with its variables replaced; "($root)/vmlinuz" is "/vmlinuz" on the loader's root."""
    return _substitute(re.sub(r"^\((\$root|\$\{root\})\)", "", path.strip("\"'")), variables)


def _substitute(text: str, variables: dict[str, str]) -> str:
    return re.sub(
        r"\$(?:\{(\w+)\}|(\w+))",
        lambda match: variables.get(match[1] or match[2], "" if _is_extra(match) else match[0]),
        text,
    )


def _is_extra(match: re.Match[str]) -> bool:
    """Return the variables that distributions append to arguments and that are empty when unset."""
    return (match[1] or match[2]) in {
        "tuned_params",
        "tuned_initrd",
        "extra_cmdline",
        "grub_linux_append",
        "vt_handoff",
    }
