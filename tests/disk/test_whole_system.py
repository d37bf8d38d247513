"""Tests that all files of a system read back, through file systems, LVM and containers.

ALIYUN_IMPORT_TEST_IMAGES is a directory with rootfs/, such as a debootstrapped Debian.
"""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from aliyun_import.disk.containers.registry import open_container
from aliyun_import.disk.filesystems.ext import Ext
from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.filesystems.xfs import Xfs
from aliyun_import.disk.partitions.lvm import read_volume_group
from aliyun_import.disk.reader import FileReader, Reader
from tests.disk.fixtures.make import make_ext, write_tree
from tests.disk.tools import mounted
from tests.disk.trees import Link
from tests.disk.trees import Tree as Content

MIB = 1 << 20
SIZE_MIB = 1500
_CONTAINERS = {"raw": (), "vhd": ("vpc", "-o", "force_size"), "qcow2": ("qcow2", "-c")}


@pytest.fixture(scope="module")
def system() -> Content:
    """Return every regular file of a root file system."""
    directory = os.environ.get("ALIYUN_IMPORT_TEST_IMAGES")
    if not directory:
        pytest.skip("ALIYUN_IMPORT_TEST_IMAGES is not set")
    for tool in ("mkfs.ext4", "mkfs.xfs", "qemu-img"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    source = Path(directory) / "rootfs"
    tree: dict[str, bytes | Link] = {}
    for folder, _names, files in os.walk(source):
        for path in (Path(folder) / file for file in files):
            if path.is_file() and not path.is_symlink():
                tree["/" + str(path.relative_to(source))] = path.read_bytes()
    assert len(tree) > 1000
    return tree


@pytest.mark.root
@pytest.mark.parametrize("container", _CONTAINERS)
@pytest.mark.parametrize("kind", ["ext4", "xfs", "xfs on lvm"])
def test_every_file_of_a_system_is_identical(kind: str, container: str, system: Content, tmp_path: Path) -> None:
    """Ext4, XFS, and XFS on LVM are read, each in RAW, VHD and QCOW2."""
    image = tmp_path / "disk.raw"
    if kind == "ext4":
        make_ext(image, system, ["-N", "60000"], size_mib=SIZE_MIB)
    else:
        with image.open("wb") as file:
            file.truncate(SIZE_MIB * MIB)
        subprocess.run(["mkfs.xfs", "-q", image], check=True)
        with mounted(image) as folder:
            write_tree(system, folder)
    if kind == "xfs on lvm":
        image = _on_lvm(image, tmp_path / "lvm.raw")
    if container != "raw":
        converted = tmp_path / f"disk.{container}"
        command = ["qemu-img", "convert", "-f", "raw", "-O", *_CONTAINERS[container], str(image), str(converted)]
        subprocess.run(command, check=True)
        image = converted
    with FileReader(image) as file:
        opened = open_container(file, image)
        assert opened.disk is not None
        tree = Tree(Ext(opened.disk) if kind == "ext4" else Xfs(_volume(opened.disk) if "lvm" in kind else opened.disk))
        different = [path for path, content in system.items() if tree.read(path, limit=1 << 30) != content]
    assert different == []


def _volume(disk: Reader) -> Reader:
    return read_volume_group(disk).volumes[0].open(disk)


def _on_lvm(volume: Path, image: Path) -> Path:
    """Write a physical volume with the second half of a logical volume before its first half."""
    half = SIZE_MIB // 2
    segments = "".join(
        f'segment{number} {{\nstart_extent = {start}\nextent_count = {half}\ntype = "striped"\nstripe_count = 1\n'
        f'stripes = [\n"pv0", {place}\n]\n}}\n'
        for number, (start, place) in enumerate(((0, half), (half, 0)), start=1)
    )
    text = (
        'vg {\nid = "a"\nextent_size = 2048\nphysical_volumes {\npv0 {\nid = "'
        + "p" * 32
        + '"\npe_start = 2048\n}\n}\n'
        'logical_volumes {\nroot {\nstatus = ["READ", "WRITE", "VISIBLE"]\nsegment_count = 2\n' + segments + "}\n}\n}\n"
    ).encode()
    head = bytearray(MIB)
    struct.pack_into("<8sQII8s", head, 512, b"LABELONE", 1, 0, 32, b"LVM2 001")
    struct.pack_into("<32sQQQQQQQQQ", head, 544, b"p" * 32, 0, MIB, 0, 0, 0, 4096, MIB - 4096, 0, 0)
    struct.pack_into("<I16sIQQQQII", head, 4096, 0, b" LVM2 x[5A%r0N*>", 1, 4096, MIB - 4096, 512, len(text), 0, 0)
    head[4608 : 4608 + len(text)] = text
    with volume.open("rb") as source, image.open("wb") as target:
        target.write(head)
        for start in (half, 0):
            source.seek(start * MIB)
            for chunk in (source.read(MIB) for _ in range(half)):
                if any(chunk):
                    target.write(chunk)
                else:
                    target.seek(len(chunk), os.SEEK_CUR)
        target.truncate((SIZE_MIB + 1) * MIB)
    return image
