"""The systems on a disk: which file systems are the root of one, and which of them is started."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from aliyun_import.disk.filesystems.interface import FileSystem, Kind
from aliyun_import.disk.filesystems.registry import Volume
from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.disk_names import DiskNames
from aliyun_import.disk.guest.release import RELEASE_FILES
from aliyun_import.disk.reader import Missing, ReadProblem
from aliyun_import.disk.report import Partition

_DEPLOYMENTS = "/ostree/deploy"
_MAX_DEPLOYMENTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A system: its volume, its /usr if that is another volume, and its root directory if it is one of ostree."""

    volume: Volume
    usr: Volume | None = None
    deployment: int | None = None


def find_systems(opened: Mapping[Volume, FileSystem], unknowns: list[str]) -> list[System]:
    """Return the Linux systems on the volumes, in the order of the volumes."""
    usr = [volume for volume, files in opened.items() if _read(_is_usr, volume, files, unknowns)]
    found = []
    for volume, files in opened.items():
        if volume.filesystem == "vfat" or volume in usr:
            continue
        if _read(_is_root, volume, files, unknowns):
            own = usr[0] if usr and not _read(_has_usr, volume, files, unknowns) else None
            found.append(System(volume=volume, usr=own))
        elif deployment := _read(_deployment, volume, files, unknowns):
            found.append(System(volume=volume, deployment=deployment))
    if not found and usr:
        # An image-based system before its first start: /usr has everything, and the root is empty.
        roots = [volume for volume in opened if "root" in (volume.label.lower(), volume.part_label.lower())]
        found = [System(volume=roots[0], usr=usr[0])] if roots else []
    return found


def named_volume(spec: str, volumes: Sequence[Volume]) -> Volume | None:
    """Return the volume that fstab or a boot loader refers to."""
    for volume in volumes:
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
        own = [(volume.name, volume.filesystem, volume.uuid, volume.label)] if volume.name else []
        if DiskNames.of([part], volumes=own).has(spec):
            return volume
    return None


def _read(test: Callable[[FileSystem], int], volume: Volume, files: FileSystem, unknowns: list[str]) -> int:
    """Call a test on a volume; 0, and a sentence in the unknowns, when it can't be read."""
    try:
        return test(files)
    except ReadProblem as problem:
        sentence = f"{volume.title} ({volume.filesystem}): {problem.message}"
        unknowns += [sentence] if sentence not in unknowns else []
        return 0


def _is_root(files: FileSystem) -> bool:
    """Return whether a file system is the root of a system: it has /etc, and names its distribution or has accounts."""
    tree = Tree(files)
    if not tree.names("/etc"):
        return False
    is_named = any(tree.has_name(path) for path in RELEASE_FILES)
    return is_named or (tree.exists("/etc/passwd") and any(tree.has_name(path) for path in ("/sbin/init", "/bin/sh")))


def _has_usr(files: FileSystem) -> bool:
    """Return whether /usr of a root has contents."""
    return bool(Tree(files).names("/usr/lib"))


def _is_usr(files: FileSystem) -> bool:
    """Return whether a file system is the /usr of an image-based system."""
    tree = Tree(files)
    return tree.has_name("/lib/os-release") and tree.has_name("/bin") and not tree.has_name("/etc")


def _deployment(files: FileSystem) -> int:
    """Return the directory of the ostree deployment in a file system that is started; 0 when there is none."""
    tree = Tree(files)
    roots = [
        f"{_DEPLOYMENTS}/{system}/deploy/{name}"
        for system in tree.names(_DEPLOYMENTS)[:_MAX_DEPLOYMENTS]
        for name in tree.names(f"{_DEPLOYMENTS}/{system}/deploy")[:_MAX_DEPLOYMENTS]
    ]
    # /ostree/boot.N/SYSTEM/CHECKSUM/0 are links to the deployments of the menu, the current one first.
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
