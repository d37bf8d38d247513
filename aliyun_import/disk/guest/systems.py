"""Linux systems on a disk: root file system, distribution, architecture of the programs, init program."""

import re
import shlex
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from aliyun_import.disk.filesystems.interface import FileSystem, Kind
from aliyun_import.disk.filesystems.registry import Volume
from aliyun_import.disk.filesystems.tree import Tree, TreeFile
from aliyun_import.disk.guest.mounts import DiskNames
from aliyun_import.disk.guest.report import OsRelease
from aliyun_import.disk.reader import Missing, ReadProblem
from aliyun_import.model.request import Architecture

_OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
# Predecessors of os-release. Those of derivatives come before those of their parents.
_OLD = (
    "/etc/lsb-release",
    "/etc/oracle-release",
    "/etc/enterprise-release",
    "/etc/centos-release",
    "/etc/fedora-release",
    "/etc/system-release",
    "/etc/redhat-release",
    "/etc/SuSE-release",
    "/etc/gentoo-release",
    "/etc/slackware-version",
    "/etc/alpine-release",
    "/etc/arch-release",
    "/etc/debian_version",
)
RELEASE_FILES = (*_OS_RELEASE, *_OLD)
# The beginning of their first line in lower case, and the ID in os-release for the system.
_NAMES = (
    ("red hat enterprise", "rhel"),
    ("oracle", "ol"),
    ("enterprise linux enterprise linux", "ol"),
    ("amazon", "amzn"),
    ("suse linux enterprise", "sles"),
    ("opensuse", "opensuse"),
)
# Files with a version only.
_BARE = {"/etc/alpine-release": "Alpine Linux", "/etc/arch-release": "Arch Linux", "/etc/debian_version": "Debian"}
# All systems have one of these programs. The first one determines the architecture.
_PROGRAMS = (
    "/bin/sh",
    "/usr/bin/env",
    "/sbin/init",
    "/usr/bin/bash",
    "/usr/lib/systemd/systemd",
    "/lib/systemd/systemd",
    "/bin/busybox",
)
# The paths at which the kernel and the initramfs search for the first program.
_INITS = ("/sbin/init", "/etc/init", "/bin/init", "/usr/lib/systemd/systemd", "/lib/systemd/systemd")
_PT_INTERP = 3
_MAX_PROGRAM_HEADERS, _MAX_PATH_BYTES = 64, 4096
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
    """Return os-release, or its predecessor on older systems, or None."""
    for place in _OS_RELEASE:
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
    return next((found for found in (_old_release(tree, place) for place in _OLD) if found), None)


def parse_os_release(text: str) -> dict[str, str]:
    """Return the assignments in an os-release file, unquoted as in a shell."""
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


def _old_release(tree: Tree, place: str) -> OsRelease | None:
    """Read one of the older files: "CentOS release 6.10 (Final)", or the assignments of lsb-release."""
    text = tree.text(place)
    if text is None:
        return None
    if place == "/etc/lsb-release":
        fields = parse_os_release(text)
        name = fields.get("DISTRIB_ID", "")
        pretty, version = fields.get("DISTRIB_DESCRIPTION", name), fields.get("DISTRIB_RELEASE", "")
        return _named(name, pretty, version, place) if name else None
    first = text.strip().splitlines()[0].strip() if text.strip() else ""
    bare = _BARE.get(place)
    if bare is not None:
        return _named(bare, f"{bare} {first}".strip(), (re.match(r"[\d.]+", first) or [""])[0], place)
    match = re.match(r"(?P<name>.+?)(?: linux)?(?: release)? (?P<version>\d[\d.]*)", first, re.IGNORECASE)
    return _named(match["name"], first, match["version"], place) if match else None


def _named(name: str, pretty: str, version: str, where: str) -> OsRelease:
    lower = name.lower()
    known = next((identity for start, identity in _NAMES if lower.startswith(start)), re.split(r"\W", lower)[0])
    return OsRelease(id=known, name=name, pretty_name=pretty, version_id=version.strip("."), where=where)


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine of the programs: its name, empty if unknown, and its architecture in ECS (None: there is none)."""

    name: str = ""
    architecture: Architecture | None = None


def read_machine(tree: Tree) -> Machine:
    """Return the machine in the ELF header of the shell, or of another program in _PROGRAMS."""
    for path in _PROGRAMS:
        try:
            head = tree.open(path).pread(0, 20)
        except Missing:
            continue
        if len(head) == 20 and head[:4] == b"\x7fELF":
            (number,) = struct.unpack_from("<H" if head[5] == 1 else ">H", head, 18)
            return Machine(_MACHINES.get(number, f"ELF machine {number}"), _ARCHITECTURES.get(number))
    return Machine()


_DEPLOYMENTS = "/ostree/deploy"
_MAX_DEPLOYMENTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A system: the volume of its root, that of /usr if it is another one, the directory of an ostree deployment."""

    volume: Volume
    usr: Volume | None = None
    deployment: int | None = None


def find_systems(opened: Mapping[Volume, FileSystem], unknowns: list[str]) -> list[System]:
    """Return the Linux systems on the volumes, in the order of the volumes."""
    usr = [volume for volume, files in opened.items() if _read(_is_usr, volume, files, unknowns)]
    found = []
    for volume, files in opened.items():
        if volume.part.filesystem == "vfat" or volume in usr:
            continue
        if _read(_is_root, volume, files, unknowns):
            own = usr[0] if usr and not _read(_has_usr, volume, files, unknowns) else None
            found.append(System(volume=volume, usr=own))
        elif deployment := _read(_deployment, volume, files, unknowns):
            found.append(System(volume=volume, deployment=deployment))
    if not found and usr:
        # Before the first boot of an image-based system, the root is empty and everything is in /usr.
        roots = [volume for volume in opened if "root" in (volume.part.label.lower(), volume.part.name.lower())]
        found = [System(volume=roots[0], usr=usr[0])] if roots else []
    return found


def named_volume(spec: str, volumes: Sequence[Volume]) -> Volume | None:
    """Return the volume to which fstab or a boot loader refers by `spec`, or None."""
    for volume in volumes:
        names = DiskNames.of([], volumes={volume.name: volume.part}) if volume.name else DiskNames.of([volume.part])
        if names.has(spec):
            return volume
    return None


def _read(test: Callable[[FileSystem], int], volume: Volume, files: FileSystem, unknowns: list[str]) -> int:
    """Return the result of a test of a volume, or 0 and add a clause to the unknowns if it can't be read."""
    try:
        return test(files)
    except ReadProblem as problem:
        unknown = f"{volume.title} ({volume.part.filesystem}): {problem.message}"
        unknowns += [unknown] if unknown not in unknowns else []
        return 0


def _is_root(files: FileSystem) -> bool:
    """Return whether a file system is a root: it has /etc, and a release file or accounts and an init program."""
    tree = Tree(files)
    if not tree.names("/etc"):
        return False
    is_named = any(tree.has_name(path) for path in RELEASE_FILES)
    return is_named or (tree.exists("/etc/passwd") and any(tree.has_name(path) for path in ("/sbin/init", "/bin/sh")))


def _has_usr(files: FileSystem) -> bool:
    """Return whether /usr of a root is not empty."""
    return bool(Tree(files).names("/usr/lib"))


def _is_usr(files: FileSystem) -> bool:
    """Return whether a file system is the /usr of an image-based system."""
    tree = Tree(files)
    return tree.has_name("/lib/os-release") and tree.has_name("/bin") and not tree.has_name("/etc")


def _deployment(files: FileSystem) -> int:
    """Return the inode of the directory of the ostree deployment that is started, or 0 if there is none."""
    tree = Tree(files)
    roots = [
        f"{_DEPLOYMENTS}/{system}/deploy/{name}"
        for system in tree.names(_DEPLOYMENTS)[:_MAX_DEPLOYMENTS]
        for name in tree.names(f"{_DEPLOYMENTS}/{system}/deploy")[:_MAX_DEPLOYMENTS]
    ]
    # /ostree/boot.N/SYSTEM/CHECKSUM/0 are links to the deployments in the menu, the current one first.
    targets = [(tree.link(path) or "").rstrip("/").rsplit("/", 1)[-1] for path in _boot_links(tree)]
    roots.sort(key=lambda root: root.rsplit("/", 1)[-1] not in targets[:1])
    for root in roots:
        try:
            node = tree.node(root)
        except Missing:
            continue
        if node.kind is Kind.DIRECTORY and tree.exists(f"{root}/usr/lib/os-release"):
            return node.number
    return 0


def _boot_links(tree: Tree) -> Iterator[str]:
    for boot in tree.names("/ostree"):
        if re.fullmatch(r"boot\.\d", boot):
            for system in tree.names(f"/ostree/{boot}"):
                for checksum in tree.names(f"/ostree/{boot}/{system}"):
                    yield f"/ostree/{boot}/{system}/{checksum}/0"


def read_init_problem(tree: Tree, arguments: str) -> str:
    """Return a clause with the reason why the first program of the system can't be started, empty if none is known.

    Nothing is checked if the `arguments` of the kernel have init=, because that program may be on a volume that the
    initramfs mounts (NixOS). An init that is a script or statically linked is not examined.
    """
    if re.search(r"(?:^|\s)init=", arguments):
        return ""
    init = next((path for path in _INITS if tree.exists(path)), None)
    if init is None:
        return f"there is no {_INITS[0]}"
    interpreter = _interpreter(tree.open(init))
    return f"{init} needs {interpreter}, which is missing" if interpreter and not tree.exists(interpreter) else ""


def _interpreter(file: TreeFile) -> str:
    """Return the interpreter of a 64-bit ELF program (PT_INTERP), empty if it has none."""
    head = file.pread(0, 64)
    if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
        return ""
    (table_at,) = struct.unpack_from("<Q", head, 0x20)
    entry_bytes, count = struct.unpack_from("<HH", head, 0x36)
    for number in range(min(count, _MAX_PROGRAM_HEADERS)):
        entry = file.pread(table_at + number * entry_bytes, 56)
        if len(entry) == 56 and struct.unpack_from("<I", entry)[0] == _PT_INTERP:
            at, size = struct.unpack_from("<Q", entry, 8)[0], struct.unpack_from("<Q", entry, 32)[0]
            return file.pread(at, min(size, _MAX_PATH_BYTES)).split(b"\0")[0].decode("utf-8", "replace")
    return ""
