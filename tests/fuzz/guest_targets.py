"""Fuzz targets: file systems, logical volumes, guests and initramfs archives."""

import gzip
import lzma
from contextlib import suppress

from aliyun_import.disk.filesystems.ext import Ext
from aliyun_import.disk.filesystems.interface import FileSystem, Kind
from aliyun_import.disk.filesystems.registry import probe_filesystem
from aliyun_import.disk.filesystems.tree import Tree, TreeFile
from aliyun_import.disk.filesystems.xfs import Xfs
from aliyun_import.disk.guest.initramfs import modules_in
from aliyun_import.disk.guest.inspection import inspect_guest
from aliyun_import.disk.partitions.lvm import read_volume_group
from aliyun_import.disk.reader import BytesReader, Reader, ReadProblem
from aliyun_import.disk.report import Partition
from tests.disk.fixtures import image
from tests.disk.guest.test_kernels import ZSTD, lz4_frame, lz4_legacy
from tests.disk.trees import DRIVERS, cpio
from tests.fuzz.target import Target

_CHUNK = 1 << 20
_MAX_NODES = 600
# The large directory of the tree has 700 similar names; the first 40 cover the same code.
_MAX_NAMES = 40
# The tree is 31 directories deep; damage can make a directory its own descendant.
_MAX_DEPTH = 35


def walk(files: FileSystem) -> None:
    """Read all directories, files and links of a tree that can be read, and resolve some paths through links."""
    pending = [(files.root, 0)]
    visited = 0
    while pending and visited < _MAX_NODES:
        folder, depth = pending.pop()
        names: list[tuple[str, int]] = []
        with suppress(ReadProblem):
            names = list(files.entries(folder))
        for _name, number in names[:_MAX_NAMES]:
            visited += 1
            with suppress(ReadProblem):
                node = files.node(number)
                if node.kind is Kind.LINK:
                    files.target(number)
                elif node.kind is Kind.FILE:
                    file = TreeFile(files, node)
                    for offset in range(0, min(file.size, 8 * _CHUNK), _CHUNK):
                        file.pread(offset, _CHUNK)
                elif node.kind is Kind.DIRECTORY and depth < _MAX_DEPTH:
                    pending.append((number, depth + 1))
    tree = Tree(files)
    for path in ("/links/absolute", "/links/outside", "/links/a", "/links/directory/down/down", "/many/x"):
        with suppress(ReadProblem):
            tree.exists(path)


def _read_ext(reader: Reader) -> None:
    with suppress(ReadProblem):
        walk(Ext(reader))


def _read_xfs(reader: Reader) -> None:
    with suppress(ReadProblem):
        walk(Xfs(reader))


def _read_lvm(reader: Reader) -> None:
    with suppress(ReadProblem):
        for volume in read_volume_group(reader).volumes:
            with suppress(ReadProblem):
                opened = volume.open(reader)
                for offset in range(0, min(opened.size, 16 * _CHUNK), _CHUNK):
                    opened.pread(offset, _CHUNK)


def _read_guest(reader: Reader) -> None:
    """Inspect a file system as the one partition of a disk."""
    try:
        signature = probe_filesystem(reader)
    except ReadProblem:
        return
    part = Partition(
        number=1,
        start_bytes=0,
        size_bytes=reader.size,
        type_name="Linux",
        type_id="0x83",
        filesystem=signature.name if signature else "",
        uuid=signature.uuid if signature else "",
    )
    inspect_guest(reader, [part])


def _read_initramfs(reader: Reader) -> None:
    with suppress(ReadProblem):
        modules_in(reader, DRIVERS)


def _read_packed(reader: Reader) -> None:
    """Read a damaged archive in valid compression, so that the damage is beyond the decompressor."""
    archive = reader.pread(0, reader.size)
    for packed in (gzip.compress(archive, 1), lz4_legacy(archive), ZSTD.compress(archive, 1)):
        _read_initramfs(BytesReader(packed))


def _modules() -> bytes:
    return cpio(f"usr/lib/modules/6.1/kernel/drivers/net/module-{number}.ko" for number in range(300))


def _initramfs() -> bytes:
    return cpio(["kernel/x86/microcode/GenuineIntel.bin"]) + gzip.compress(_modules(), mtime=0) + bytes(512)


def _lvm() -> bytes:
    return image("lvm-head") + bytes(24 << 20)


def _packed(pack: str) -> Target:
    packers = {"xz": lzma.compress, "zstd": ZSTD.compress, "lz4": lz4_legacy, "lz4-frame": lz4_frame}
    return Target(lambda: packers[pack](_modules()), _read_initramfs, metadata_bytes=_CHUNK)


GUEST_TARGETS: dict[str, Target] = {
    "ext4": Target(lambda: image("ext4"), _read_ext),
    "ext4-inline": Target(lambda: image("ext4-inline"), _read_ext),
    "ext4-meta-bg": Target(lambda: image("ext4-meta-bg"), _read_ext),
    "ext3": Target(lambda: image("ext3"), _read_ext),
    "xfs-v5": Target(lambda: image("xfs-v5"), _read_xfs),
    "xfs-v4": Target(lambda: image("xfs-v4"), _read_xfs),
    "xfs-1k": Target(lambda: image("xfs-1k"), _read_xfs),
    "lvm": Target(_lvm, _read_lvm),
    "guest-ext4": Target(lambda: image("guest-debian"), _read_guest),
    "guest-xfs": Target(lambda: image("guest-rhel-root"), _read_guest),
    "windows": Target(lambda: image("guest-windows"), _read_guest, metadata_bytes=65536, needs="pyfsntfs"),
    "cpio": Target(lambda: cpio(["early"]) + bytes(512) + _modules(), _read_initramfs, metadata_bytes=_CHUNK),
    "cpio-packed": Target(_modules, _read_packed, metadata_bytes=_CHUNK),
    "initramfs": Target(_initramfs, _read_initramfs, metadata_bytes=_CHUNK),
    **{f"initramfs-{pack}": _packed(pack) for pack in ("xz", "zstd", "lz4", "lz4-frame")},
}
