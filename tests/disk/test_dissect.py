"""Tests that the readers and dissect return the same for the same image.

dissect is AGPL, so it is only in the extra `oracles`. Its known errors are not compared: sizes of GPT partitions (a
sector short), and names in directories whose blocks are not those of the file system.
"""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from aliyun_import.disk.containers.registry import open_container
from aliyun_import.disk.filesystems.ext import Ext
from aliyun_import.disk.filesystems.fat import Fat
from aliyun_import.disk.filesystems.interface import FileSystem, Kind
from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.filesystems.xfs import Xfs
from aliyun_import.disk.partitions.lvm import read_volume_group
from aliyun_import.disk.partitions.table import EXTENDED, read_partitions
from aliyun_import.disk.reader import BytesReader
from tests.disk import build
from tests.disk.build import MIB, Part
from tests.disk.fixtures import image

pytestmark = pytest.mark.root
_FILES = {f"EFI/vendor {number}/a long name {number}.efi": bytes([number]) * 999 * number for number in range(20)}


def _library(name: str) -> Any:
    """Import a module of dissect. Skip the test if the extra is not installed."""
    return pytest.importorskip(f"dissect.{name}", reason="the extra `oracles` is not installed")


def test_a_gpt_has_the_partitions_that_dissect_reads() -> None:
    """Numbers, offsets, types, names and PARTUUIDs are equal."""
    parts = [Part(2048, 2048, build.ESP, name="ESP"), Part(4096, 1000, build.LINUX, name="rööt")]
    disk = bytes(build.gpt(8 * MIB, parts))
    expected = _library("volume.disk").Disk(BytesIO(disk)).partitions
    assert [(p.number, p.start_bytes, p.type_id, p.name, p.part_uuid) for p in _partitions(disk)] == [
        (p.number, p.offset, str(p.type), p.name, str(p.guid)) for p in expected
    ]


def test_an_mbr_has_the_partitions_that_dissect_reads() -> None:
    """Offsets, sizes and types are equal, for logical partitions too."""
    parts = [Part(2048, 1000, 0x83, active=True), Part(4096, 8000, 5)]
    disk = bytes(build.mbr(8 * MIB, parts, logical=[Part(4160, 300, 0x82), Part(5000, 700, 0x83)]))
    expected = _library("volume.disk").Disk(BytesIO(disk)).partitions
    assert [(p.start_bytes, p.size_bytes, int(p.type_id, 16)) for p in _partitions(disk)] == [
        (p.offset, p.size, p.type) for p in expected if p.type != 5
    ]


def test_a_logical_volume_reads_as_dissect_reads_it() -> None:
    """Names, sizes and bytes are equal, for a volume of two segments too."""
    raw = image("lvm-head") + b"".join(bytes([number]) * MIB for number in range(31))
    group = read_volume_group(BytesReader(raw))
    expected = _library("volume.lvm").LVM2(BytesIO(raw)).volume_group
    assert {volume.name for volume in group.volumes} == set(expected.logical_volumes)
    for volume in group.volumes:
        content = expected.logical_volumes[volume.name].open().read()
        assert volume.open(BytesReader(raw)).pread(0, volume.size_bytes) == content
        assert volume.size_bytes == len(content)


@pytest.mark.parametrize("name", ["ext4", "ext4-meta-bg", "ext3", "ext2"])
def test_an_ext_reads_as_dissect_reads_it(name: str) -> None:
    """Every name, link and byte is equal."""
    files = _library("extfs").ExtFS(BytesIO(image(name)))
    assert _read_tree_by_dissect(files.root, lambda node: node.link) == _read_tree(Ext(BytesReader(image(name))))


@pytest.mark.parametrize("name", ["xfs-v5", "xfs-v4"])
def test_an_xfs_reads_as_dissect_reads_it(name: str) -> None:
    """Every name, link and byte is equal."""
    files = _library("xfs").XFS(BytesIO(image(name)))
    assert _read_tree_by_dissect(files.get(files.root.inum), lambda node: node.link) == _read_tree(
        Xfs(BytesReader(image(name)))
    )


@pytest.mark.parametrize("size", [MIB, 8 * MIB, 40 * MIB], ids=["fat12", "fat16", "fat32"])
def test_a_fat_reads_as_dissect_reads_it(size: int) -> None:
    """Every file is equal, by its long name."""
    raw = build.fat(_FILES, size=size)
    tree, expected = Tree(Fat(BytesReader(raw))), _library("fat").FATFS(BytesIO(raw))
    for path, data in _FILES.items():
        assert tree.read(path) == data == expected.get(path).open().read()
        folder = path.rpartition("/")[0]
        names = {entry.name for entry in expected.get(folder).iterdir()} - {".", ".."}
        assert set(tree.names(folder)) == names


@pytest.mark.parametrize("compression", ["", "zlib", "zstd"])
def test_a_qcow2_reads_as_dissect_reads_it(compression: str) -> None:
    """Every byte is equal, with every compression."""
    raw = bytes(build.qcow2(build.uefi_disk(), compression=compression))
    expected = _library("hypervisor.disk.qcow2").QCow2(BytesIO(raw)).open()
    assert _disk_bytes(raw) == expected.read()


@pytest.mark.parametrize("make", [build.vhd_fixed, build.vhd_dynamic])
def test_a_vhd_reads_as_dissect_reads_it(make: Any) -> None:
    """Every byte is equal."""
    raw = make(build.uefi_disk())
    expected = _library("hypervisor.disk.vhd").VHD(BytesIO(raw))
    assert _disk_bytes(raw) == expected.read()


def _partitions(disk: bytes) -> list[Any]:
    return [part for part in read_partitions(BytesReader(disk)).partitions if part.type_name != EXTENDED]


def _disk_bytes(raw: bytes) -> bytes:
    disk = open_container(BytesReader(raw), Path("disk.img")).disk
    assert disk is not None
    return disk.pread(0, disk.size)


def _read_tree(files: FileSystem) -> dict[str, object]:
    """Return path -> bytes of a file, target of a link, or None for a directory."""
    found: dict[str, object] = {}
    pending = [("", files.root)]
    while pending:
        folder, number = pending.pop()
        for name, child in files.entries(number):
            path, node = f"{folder}/{name}", files.node(child)
            found[path] = None
            if node.kind is Kind.DIRECTORY:
                pending.append((path, child))
            elif node.kind is Kind.LINK:
                found[path] = files.target(child)
            else:
                found[path] = files.read(child, 0, node.size_bytes)
    return found


def _read_tree_by_dissect(root: Any, link: Any) -> dict[str, object]:
    return dict(_walk(root, "", link))


def _walk(folder: Any, prefix: str, link: Any) -> Iterator[tuple[str, object]]:
    for name, node in folder.listdir().items():
        if name in (".", ".."):
            continue
        path = f"{prefix}/{name}"
        if node.filetype == 0o040000:
            yield path, None
            yield from _walk(node, path, link)
        else:
            yield path, link(node) if node.filetype == 0o120000 else node.open().read()
