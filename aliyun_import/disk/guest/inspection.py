"""The inspection of the operating system on a disk: its root file system, and every fact about it.

It runs in the isolated child process. What can't be read becomes a sentence in the report's `unknowns`.
"""

import re
import shlex
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from aliyun_import.disk.filesystems.interface import FileSystem, Tree
from aliyun_import.disk.filesystems.registry import Volume, find_volumes, open_volume
from aliyun_import.disk.guest.boot_config import DiskNames, read_boot_entries, read_fstab
from aliyun_import.disk.guest.kernels import find_kernels
from aliyun_import.disk.guest.network import read_network
from aliyun_import.disk.guest.report import GuestReport, OsRelease, RootFileSystem
from aliyun_import.disk.guest.services import (
    read_absolute_lib_links,
    read_accounts,
    read_cloud_init,
    read_firewall,
    read_guest_agent,
    read_issue,
    read_local_clock,
    read_machine_id,
    read_selinux,
    read_sshd,
)
from aliyun_import.disk.guest.windows import inspect_windows
from aliyun_import.disk.reader import Missing, Reader, ReadProblem
from aliyun_import.disk.report import Partition
from aliyun_import.model.request import Architecture, OsType

T = TypeVar("T")
_RELEASES = (
    "/etc/os-release",
    "/usr/lib/os-release",
    "/etc/redhat-release",
    "/etc/SuSE-release",
    "/etc/debian_version",
)
# Mount points of interest: each may be a file system of its own.
_MOUNT_POINTS = ("/boot", "/boot/efi", "/efi", "/usr", "/var", "/etc")


def inspect_guest(disk: Reader, partitions: Sequence[Partition]) -> GuestReport:
    """Inspect the operating system on the partitions of a disk. Raises OSError only, as the disk does."""
    unknowns: list[str] = []
    volumes = find_volumes(disk, partitions, unknowns)
    opened = _open_all(volumes, unknowns)
    root = next((volume for volume in opened if _is_root(volume, opened[volume], unknowns)), None)
    if root is None:
        windows = [volume for volume in volumes if volume.filesystem == "ntfs"]
        if windows:
            esps = [files for volume, files in opened.items() if volume.filesystem == "vfat"]
            return inspect_windows(windows, esps, unknowns)
        return GuestReport(unknowns=(*unknowns, *_why_nothing(volumes)))
    return inspect_linux(root, opened, disk_names(partitions, volumes), unknowns)


def disk_names(partitions: Sequence[Partition], volumes: Sequence[Volume]) -> DiskNames:
    """Return the names of everything on the disk. A physical volume whose volumes are not all known hides some."""
    logical = [volume for volume in volumes if volume.name]
    unread = {part.number for part in partitions if part.filesystem == "lvm"} - {volume.partition for volume in logical}
    hidden = bool(unread) or any(not volume.filesystem for volume in logical)
    return DiskNames.of(
        partitions, volumes=[(volume.name, volume.uuid, volume.label) for volume in logical], hidden=hidden
    )


def inspect_linux(
    root: Volume, opened: Mapping[Volume, FileSystem], names: DiskNames, unknowns: Sequence[str] = ()
) -> GuestReport:
    """Inspect the Linux whose root is opened[root]; the other volumes may be mounted below it."""
    return _Inspection(root, opened, names, list(unknowns)).report()


class _Inspection:
    """The inspection of a Linux system, one fact at a time: one bad file affects one fact."""

    def __init__(
        self,
        root: Volume,
        opened: Mapping[Volume, FileSystem],
        names: DiskNames,
        unknowns: list[str],
    ) -> None:
        self._root, self._files, self._opened = root, opened[root], opened
        self._unknowns, self._names = unknowns, names
        self._tree = Tree(self._files)

    def report(self) -> GuestReport:
        """Return all facts."""
        tree = self._tree
        fstab = self._read("/etc/fstab", lambda: read_fstab(tree.text("/etc/fstab") or "", self._names)) or ()
        mounts = self._mounts({entry.mount_point: entry.spec for entry in fstab})
        tree = self._tree = Tree(self._files, mounts={point: self._opened[volume] for point, volume in mounts.items()})
        separate = "/boot" in mounts
        entries = self._read(
            "the boot loader's configuration", lambda: read_boot_entries(tree, self._names, separate_boot=separate)
        )
        entries = entries or ()
        machine = self._read("/bin/sh", lambda: read_machine(tree)) or Machine()
        return GuestReport(
            os_type=OsType.LINUX,
            os_release=self._read("os-release", lambda: read_os_release(tree)),
            architecture=machine.architecture,
            machine=machine.name,
            root=self._root_facts(),
            boot_partition=mounts["/boot"].partition if separate else None,
            kernels=self._read("the kernels", lambda: find_kernels(tree, entries, separate_boot=separate)) or (),
            fstab=fstab,
            boot_entries=entries,
            network=self._read("the network's configuration", lambda: read_network(tree)),
            cloud_init=self._read("cloud-init", lambda: read_cloud_init(tree)),
            sshd=self._read("the SSH server", lambda: read_sshd(tree)),
            accounts=self._read("the accounts", lambda: read_accounts(tree)),
            firewall=self._read("the firewall", lambda: read_firewall(tree)) or (),
            selinux=self._read("SELinux", lambda: read_selinux(tree)),
            guest_agent=self._read("QEMU's guest agent", lambda: read_guest_agent(tree)),
            absolute_lib_links=self._read("/lib", lambda: read_absolute_lib_links(tree)) or (),
            local_clock=self._read("/etc/adjtime", lambda: read_local_clock(tree)),
            machine_id=self._read("/etc/machine-id", lambda: read_machine_id(tree)),
            issue=self._read("/etc/issue", lambda: read_issue(tree)),
            custom_image_directory=self._read("the first partition", self._has_custom_image_directory),
            unknowns=tuple(self._unknowns),
        )

    def _read(self, what: str, read: Callable[[], T]) -> T | None:
        """Read a fact; None, and a sentence in the unknowns, when it can't be read."""
        try:
            return read()
        except ReadProblem as problem:
            self._unknowns.append(f"{what} could not be read: {problem.message}")
            return None

    def _mounts(self, specs: dict[str, str]) -> dict[str, Volume]:
        """Return the file systems that fstab mounts on the mount points of interest."""
        found = {}
        for point in _MOUNT_POINTS:
            volume = _named(specs[point], self._opened) if point in specs else None
            if volume is not None and volume != self._root:
                found[point] = volume
            elif point in specs and volume is None and point in ("/boot", "/usr"):
                self._unknowns.append(f"{point} is a file system of its own ({specs[point]}) that could not be opened")
        return found

    def _has_custom_image_directory(self) -> bool | None:
        """Return whether there is the directory to which ECS writes the settings of a "Customized Linux" instance."""
        first = min((volume for volume in self._opened if not volume.name), key=lambda one: one.partition, default=None)
        return None if first is None else Tree(self._opened[first]).has_name("/aliyun_custom_image")

    def _root_facts(self) -> RootFileSystem:
        facts = self._files.facts
        return RootFileSystem(
            partition=self._root.partition,
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


def _is_root(volume: Volume, files: FileSystem, unknowns: list[str]) -> bool:
    """Return whether a file system is the root of a system: it names its distribution, and has /etc."""
    if volume.filesystem == "vfat":
        return False
    tree = Tree(files)
    try:
        return bool(tree.names("/etc")) and any(tree.has_name(path) for path in _RELEASES)
    except ReadProblem as problem:
        unknowns.append(f"{volume.title} ({volume.filesystem}): {problem.message}")
        return False


def _named(spec: str, opened: Mapping[Volume, FileSystem]) -> Volume | None:
    """Return the volume that a line of fstab names."""
    for volume in opened:
        part = Partition(
            number=volume.partition,
            start_bytes=0,
            size_bytes=0,
            type_name="",
            type_id="",
            name=volume.part_label,
            filesystem=volume.filesystem,
            label=volume.label,
            uuid=volume.uuid,
            part_uuid=volume.part_uuid,
        )
        own = [(volume.name, volume.uuid, volume.label)] if volume.name else []
        if DiskNames.of([part], volumes=own).has(spec):
            return volume
    return None


def _why_nothing(volumes: Sequence[Volume]) -> tuple[str, ...]:
    readable = [volume for volume in volumes if volume.filesystem in ("ext2", "ext3", "ext4", "xfs")]
    if not readable:
        return ()
    names = ", ".join(f"{volume.title} ({volume.filesystem})" for volume in readable)
    return (f"no system was found on {names}",)


_PLACES = ("/etc/os-release", "/usr/lib/os-release")
# Systems from before os-release: CentOS and Red Hat 6, SUSE 11, Debian 6. File, pattern of its first line, ID.
_OLD = (
    ("/etc/centos-release", r"CentOS.* release (?P<version>[\d.]+)", "centos"),
    ("/etc/redhat-release", r"CentOS.* release (?P<version>[\d.]+)", "centos"),
    ("/etc/redhat-release", r"Red Hat.* release (?P<version>[\d.]+)", "rhel"),
    ("/etc/SuSE-release", r"openSUSE (?P<version>[\d.]+)", "opensuse"),
    ("/etc/SuSE-release", r"SUSE Linux Enterprise.* (?P<version>\d+)", "sles"),
    ("/etc/debian_version", r"(?P<version>\d+)", "debian"),
)
# Every system has one of these programs; the first one names the processor.
_PROGRAMS = ("/bin/sh", "/usr/bin/env", "/sbin/init", "/usr/lib/systemd/systemd", "/bin/busybox")
# e_machine of the ELF header.
_MACHINES = {
    3: "i386",
    62: "x86-64",
    183: "aarch64",
    40: "arm",
    21: "ppc64",
    22: "s390x",
    243: "riscv",
    258: "loongarch",
}
_ARCHITECTURES = {3: Architecture.I386, 62: Architecture.X86_64, 183: Architecture.ARM64}


def read_os_release(tree: Tree) -> OsRelease | None:
    """Return os-release, or its predecessor on older systems; None when there is neither."""
    for place in _PLACES:
        text = tree.text(place)
        fields = parse_os_release(text) if text is not None else {}
        if fields.get("ID") or fields.get("NAME"):
            return OsRelease(
                id=fields.get("ID", "").lower(),
                id_like=tuple(fields.get("ID_LIKE", "").lower().split()),
                name=fields.get("NAME", ""),
                version_id=fields.get("VERSION_ID", ""),
                pretty_name=fields.get("PRETTY_NAME", ""),
                variant_id=fields.get("VARIANT_ID", ""),
                where=place,
            )
    return _old_release(tree)


def parse_os_release(text: str) -> dict[str, str]:
    """Return the assignments of an os-release file, unquoted as a shell would."""
    fields = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if not equals or name.startswith("#"):
            continue
        try:
            fields[name] = " ".join(shlex.split(value))
        except ValueError:  # a quote that is not closed
            fields[name] = value.strip("\"'")
    return fields


@dataclass(frozen=True, slots=True)
class Machine:
    """The processor of the programs: its usual name, and ECS's (None: it has none). Empty: not known."""

    name: str = ""
    architecture: Architecture | None = None


def read_machine(tree: Tree) -> Machine:
    """Return the machine in the ELF header of the shell, or of another program that every system has."""
    for path in _PROGRAMS:
        try:
            head = tree.open(path).pread(0, 20)
        except Missing:
            continue
        if len(head) == 20 and head[:4] == b"\x7fELF":
            (number,) = struct.unpack_from("<H" if head[5] == 1 else ">H", head, 18)
            return Machine(_MACHINES.get(number, f"ELF machine {number}"), _ARCHITECTURES.get(number))
    return Machine()


def _old_release(tree: Tree) -> OsRelease | None:
    for place, pattern, name in _OLD:
        text = tree.text(place)
        match = re.match(pattern, text) if text else None
        if text and match:
            first = text.splitlines()[0]
            return OsRelease(id=name, name=first, pretty_name=first, version_id=match["version"], where=place)
    return None
