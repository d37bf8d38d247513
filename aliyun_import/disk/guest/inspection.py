"""Inspection of the operating system on a disk.

It runs in the isolated child process. A fact that can't be read becomes a clause in `unknowns` of the report.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from aliyun_import.disk.filesystems.interface import FileSystem
from aliyun_import.disk.filesystems.registry import Volume, find_volumes, open_volume
from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.boot_files import BootFiles
from aliyun_import.disk.guest.cloud_init import read_cloud_init
from aliyun_import.disk.guest.grub import read_grub_version, read_stale_searches
from aliyun_import.disk.guest.kernels import find_kernels
from aliyun_import.disk.guest.loaders import read_boot_entries
from aliyun_import.disk.guest.mounts import WITHOUT_CONTENT, DiskNames, read_crypttab, read_fstab, read_units
from aliyun_import.disk.guest.network.configuration import read_network
from aliyun_import.disk.guest.report import BootEntry, Evidence, GuestReport, RootFileSystem, SourceTie
from aliyun_import.disk.guest.services import FACTS, enabled_units, read_selinux
from aliyun_import.disk.guest.source_ties import read_source_ties
from aliyun_import.disk.guest.systems import (
    Machine,
    System,
    find_systems,
    named_volume,
    read_init_problem,
    read_machine,
    read_os_release,
)
from aliyun_import.disk.guest.windows import inspect_windows
from aliyun_import.disk.reader import Reader, ReadProblem
from aliyun_import.disk.report import Partition
from aliyun_import.model.request import OsType

T = TypeVar("T")
# Mount points that the inspection reads, and that may be separate file systems.
_MOUNT_POINTS = ("/boot", "/boot/efi", "/efi", "/usr", "/var", "/etc")
# Programs that create an initramfs or the configuration of a boot loader. Remedies use those that are installed.
_TOOLS = ("dracut", "update-initramfs", "mkinitcpio", "mkinitfs", "mkinitrd", "genkernel", "booster", "nixos-rebuild",
          "update-grub", "grub-mkconfig", "grub2-mkconfig", "grubby", "bootctl", "lilo")  # fmt: skip
_PROGRAM_DIRECTORIES = ("/usr/bin", "/usr/sbin", "/bin", "/sbin")
# Contents without files.
_WITHOUT_FILES = ("swap", "swap-suspended", "jbd")


def inspect_guest(disk: Reader, partitions: Sequence[Partition]) -> GuestReport:
    """Inspect the operating system on the partitions of a disk. Raises OSError only."""
    unknowns: list[str] = []
    volumes = find_volumes(disk, partitions, unknowns)
    return inspect_volumes(volumes, _open_all(volumes, unknowns), partitions, unknowns)


def inspect_volumes(
    volumes: Sequence[Volume],
    opened: Mapping[Volume, FileSystem],
    partitions: Sequence[Partition],
    unknowns: list[str],
) -> GuestReport:
    """Inspect the operating system on the volumes of a disk. `opened` are those that could be opened.

    Raises OSError only.
    """
    unread = tuple(
        Evidence(what=volume.part.filesystem or "a file system of unknown type", where=volume.title)
        for volume in volumes
        if volume not in opened and _may_have_files(volume)
    )
    systems = find_systems(opened, unknowns)
    if systems:
        names = disk_names(partitions, volumes)
        guest = inspect_systems(systems, opened, names, unknowns=unknowns, complete=not unread)
        return replace(guest, unread=unread)
    windows = [volume for volume in volumes if volume.part.filesystem == "ntfs"]
    if windows:
        esps = [files for volume, files in opened.items() if volume.part.filesystem == "vfat"]
        return replace(inspect_windows(windows, esps, unknowns), unread=unread)
    return GuestReport(unknowns=(*unknowns, *_why_nothing(volumes)), unread=unread)


def _may_have_files(volume: Volume) -> bool:
    """Return whether a volume may have files that a system or a boot loader reads."""
    if volume.part.filesystem or volume.name:
        return volume.part.filesystem not in _WITHOUT_FILES
    return volume.part.type_id not in WITHOUT_CONTENT


def disk_names(partitions: Sequence[Partition], volumes: Sequence[Volume]) -> DiskNames:
    """Return the names of all file systems on the disk. A physical volume that was not read may hide some."""
    logical = [volume for volume in volumes if volume.name]
    read = {volume.part.number for volume in logical}
    unread = {part.number for part in partitions if part.filesystem == "lvm"} - read
    return DiskNames.of(
        partitions,
        volumes={volume.name: volume.part for volume in logical},
        hidden=bool(unread),
    )


def inspect_systems(
    systems: Sequence[System],
    opened: Mapping[Volume, FileSystem],
    names: DiskNames,
    *,
    unknowns: Sequence[str] = (),
    complete: bool = True,
) -> GuestReport:
    """Inspect the system that the boot loader starts. It may mount the other volumes.

    `complete`: all volumes with files were opened.
    """
    first = _Inspection(systems[0], opened, names, list(unknowns), complete=complete)
    volumes = [system.volume for system in systems]
    roots = [named_volume(entry.root, list(opened)) for entry in first.entries if entry.default]
    named = dict.fromkeys(root for root in roots if root in volumes)
    chosen, uncertain = systems[0], ""
    if len(named) == 1 and (len(systems) > 1 or None not in roots):
        chosen = systems[volumes.index(next(iter(named)))]
    elif len(systems) > 1:
        titles = ", ".join(volume.title for volume in volumes)
        uncertain = f"there are systems on {titles}, and it is not known which of them starts"
    if not named and roots and all(root is not None for root in roots):
        uncertain = f"the boot loader starts a system on {next(root.title for root in roots if root)}"
    if not named and first.entries and first.entries[0].default and not first.entries[0].kernel:
        uncertain = f"the boot loader starts {first.entries[0].title or 'another system'} by default"
    inspection = (
        first if chosen is systems[0] else _Inspection(chosen, opened, names, first.unknowns, complete=complete)
    )
    return replace(inspection.report(others=[one for one in volumes if one != chosen.volume]), uncertain=uncertain)


class _Inspection:
    """The inspection of a Linux system. A file that can't be read affects one fact only."""

    def __init__(
        self,
        system: System,
        opened: Mapping[Volume, FileSystem],
        names: DiskNames,
        unknowns: list[str],
        *,
        complete: bool,
    ) -> None:
        self._system, self._root, self._opened = system, system.volume, opened
        self._files, self.unknowns = opened[system.volume], unknowns
        tree = Tree(self._files, directory=system.deployment)
        crypttab = self._read("/etc/crypttab", lambda: read_crypttab(tree, names)) or ()
        self._names = names = replace(names, mapped=frozenset(entry.mount_point for entry in crypttab))
        self._crypttab = crypttab
        self._fstab = self._read("/etc/fstab", lambda: read_fstab(tree, names)) or ()
        self._mounts = self._read_mounts({entry.mount_point: entry.spec for entry in self._fstab})
        rest = [volume for volume in opened if volume not in (*self._mounts.values(), self._root)]
        places = {f"/{volume.name.replace('/', '-') or volume.title}": volume for volume in rest}
        mounted = {**self._mounts, **places}
        order: tuple[str, ...] = ("/boot", "") if "/boot" in self._mounts else ("", "/boot")
        if system.deployment is not None:  # ostree: the boot loader reads the whole file system
            mounted["/sysroot"] = self._root
            order = (*order, "/sysroot", "/sysroot/boot")
        mounts = {point: opened[volume] for point, volume in mounted.items()}
        tree = self._tree = Tree(self._files, mounts=mounts, directory=system.deployment)
        self._boot_files = files = BootFiles(tree=tree, bases=(*order, "/boot/efi", "/efi", *places), complete=complete)
        self.entries = self._read("the boot loader's configuration", lambda: read_boot_entries(files, names)) or ()

    def report(self, *, others: Sequence[Volume] = ()) -> GuestReport:
        """Return all facts. Boot entries of a system on one of the other roots are omitted."""
        tree, files = self._tree, self._boot_files
        entries = tuple(
            entry for entry in self.entries if not entry.root or named_volume(entry.root, list(others)) is None
        )
        machine = self._read("/bin/sh", lambda: read_machine(tree)) or Machine()
        units = self._read("the mount units", lambda: read_units(tree, self._names)) or ()
        cloud_init = self._read("cloud-init", lambda: read_cloud_init(tree))
        arguments = next((entry.arguments for entry in entries if entry.default), "")
        kernels = (
            self._read("the kernels", lambda: find_kernels(files, entries, architecture=machine.architecture)) or ()
        )
        return GuestReport(
            os_type=OsType.LINUX,
            os_release=self._read("os-release", lambda: read_os_release(tree)),
            architecture=machine.architecture,
            machine=machine.name,
            root=self._root_facts(),
            boot_partition=self._mounts["/boot"].part.number if "/boot" in self._mounts else None,
            kernels=kernels,
            fstab=(*self._fstab, *units),
            crypttab=self._crypttab,
            boot_entries=entries,
            network=self._read("the network configuration", lambda: read_network(tree, cloud_init, arguments)),
            cloud_init=cloud_init,
            selinux=self._read("SELinux", lambda: read_selinux(tree, arguments)),
            custom_image_directory=self._read("the first partition", self._has_custom_image_directory),
            source_ties=self._read("settings for the source environment", lambda: self._ties(entries)) or (),
            tools=self._read("the tools", self._tools) or (),
            grub_version=self._read("the modules of GRUB", lambda: read_grub_version(files)),
            boot_features=self._opened[self._mounts.get("/boot", self._root)].facts.features,
            stale_searches=self._read("GRUB on the ESP", lambda: read_stale_searches(files, self._names)) or (),
            image_based=self._system.usr is not None or self._system.deployment is not None,
            init_problem=self._read("the init program", lambda: read_init_problem(tree, arguments)) or "",
            **self._facts(),
            unknowns=tuple(dict.fromkeys(self.unknowns)),
        )

    def _facts(self) -> dict[str, Any]:
        """Return the facts that the files of the system have. A fact that is None keeps the default of its field."""
        read = {name: self._read(what, partial(function, self._tree)) for name, (what, function) in FACTS.items()}
        return {name: fact for name, fact in read.items() if fact is not None}

    def _ties(self, entries: Sequence[BootEntry]) -> tuple[SourceTie, ...]:
        return read_source_ties(self._tree, entries, self._names, enabled_units(self._tree))

    def _tools(self) -> tuple[str, ...]:
        tree = self._tree
        return tuple(
            name for name in _TOOLS if any(tree.has_name(f"{directory}/{name}") for directory in _PROGRAM_DIRECTORIES)
        )

    def _read(self, what: str, read: Callable[[], T]) -> T | None:
        """Return a fact, or None and add a clause to the unknowns if it can't be read."""
        try:
            return read()
        except ReadProblem as problem:
            self.unknowns.append(f"{what} could not be read: {problem.message}")
            return None

    def _read_mounts(self, specs: dict[str, str]) -> dict[str, Volume]:
        """Return the volumes of the mount points in _MOUNT_POINTS, by fstab."""
        mounts = {}
        for point in _MOUNT_POINTS:
            spec = specs.get(point)
            volume = named_volume(spec, list(self._opened)) if spec else None
            if volume is not None and volume != self._root:
                mounts[point] = volume
            elif spec and volume is None and point in ("/boot", "/usr", "/etc"):
                self.unknowns.append(f"{point} ({spec}) was not found on this disk; its contents are not known")
        if self._system.usr is not None:
            mounts.setdefault("/usr", self._system.usr)
        return mounts

    def _has_custom_image_directory(self) -> bool | None:
        """Return whether the first partition has the directory for the settings of a "Customized Linux" instance."""
        plain = [volume for volume in self._opened if not volume.name]
        first = min(plain, key=lambda volume: volume.part.number, default=None)
        return None if first is None else Tree(self._opened[first]).has_name("/aliyun_custom_image")

    def _root_facts(self) -> RootFileSystem:
        facts = self._files.facts
        return RootFileSystem(
            partition=self._root.part.number,
            type=facts.type,
            uuid=facts.uuid,
            size_bytes=facts.size_bytes,
            free_bytes=facts.free_bytes,
            inodes=facts.inodes,
            free_inodes=facts.free_inodes,
            volume=self._root.name,
            unclean=facts.unclean,
            errors=facts.errors,
            features=facts.features,
        )


def _open_all(volumes: Sequence[Volume], unknowns: list[str]) -> dict[Volume, FileSystem]:
    opened = {}
    for volume in volumes:
        try:
            files = open_volume(volume)
        except ReadProblem as problem:
            unknowns.append(f"{volume.title}: {problem.message}")
            continue
        if files is not None:
            opened[volume] = files
    return opened


def _why_nothing(volumes: Sequence[Volume]) -> tuple[str, ...]:
    readable = [volume for volume in volumes if volume.part.filesystem in ("ext2", "ext3", "ext4", "xfs")]
    if not readable:
        return ()
    names = ", ".join(f"{volume.title} ({volume.part.filesystem})" for volume in readable)
    return (f"no system was found on {names}",)
