"""Tests of the readers of ext and XFS against the kernel, debugfs and xfs_db, for every variant."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from aliyun_import.disk.filesystems.ext import Ext
from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.filesystems.xfs import Xfs
from aliyun_import.disk.reader import FileReader
from tests.disk.fixtures.make import make_xfs, write_tree
from tests.disk.tools import assert_same_tree, mounted, need, run, write_everything
from tests.disk.trees import corner_tree

pytestmark = pytest.mark.root

EXT = {
    "ext4": "mkfs.ext4",
    "ext4, blocks of 1 KiB": "mkfs.ext4 -b 1024",
    "ext4, blocks of 1 KiB, extents of a block": "mkfs.ext4 -b 1024 -O ^flex_bg",
    "ext4 without 64bit": "mkfs.ext4 -O ^64bit",
    "ext4 with meta_bg": "mkfs.ext4 -b 1024 -O meta_bg,^resize_inode",
    "ext4 with inline_data": "mkfs.ext4 -O inline_data -I 256",
    "ext4 with inline_data, inodes of 1 KiB": "mkfs.ext4 -O inline_data -I 1024",
    "ext4 with bigalloc": "mkfs.ext4 -O bigalloc -C 16384",
    "ext4 without checksums": "mkfs.ext4 -O ^metadata_csum,uninit_bg",
    "ext4 with sparse_super2": "mkfs.ext4 -O sparse_super2",
    "ext4 with large_dir and ea_inode": "mkfs.ext4 -O large_dir,ea_inode",
    "ext4 with casefold": "mkfs.ext4 -O casefold",
    "ext4 with inodes of 128 bytes": "mkfs.ext4 -I 128",
    "ext3": "mkfs.ext3",
    "ext3, blocks of 1 KiB": "mkfs.ext3 -b 1024",
    "ext2": "mkfs.ext2",
    "ext2, blocks of 1 KiB": "mkfs.ext2 -b 1024",
    "ext2 of the first revision": "mkfs.ext2 -r 0",
}
XFS = {
    "xfs": "",
    "xfs, blocks of 1 KiB": "-b size=1024",
    "xfs, directory blocks of 16 KiB": "-n size=16384",
    "xfs, inodes of 2 KiB": "-i size=2048",
    "xfs with nrext64": "-i nrext64=1",
    "xfs without sparse inodes and bigtime": "-i sparse=0 -m bigtime=0",
    "xfs with rmapbt": "-m rmapbt=1,reflink=1",
}


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Path]:
    """Yield the path of a sparse image of 600 MiB."""
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.truncate(600 << 20)
    yield path
    path.unlink()


@pytest.mark.parametrize("variant", EXT)
def test_an_ext_of_any_variant_reads_as_the_kernel_and_debugfs_read_it(variant: str, image: Path) -> None:
    """Every name, link and byte of an image is the same for all three."""
    program, *options = EXT[variant].split()
    need(program, "debugfs")
    run(program, "-q", "-F", "-N", "40000", *options, image)
    dumped = image.parent / "dumped"
    dumped.mkdir()
    with mounted(image) as folder:
        write_everything(folder)
    with mounted(image, "ro") as folder, FileReader(image) as reader:
        assert_same_tree(Ext(reader), folder)
    run("debugfs", "-R", f"rdump / {dumped}", image)
    with FileReader(image) as reader:
        files = Ext(reader)
        assert (files.facts.type, files.facts.unclean) == (variant[:4], "")
        # debugfs 1.47 fills a file that lies in its inode up to 60 bytes; the kernel does not.
        if "inline_data" not in variant:
            assert_same_tree(files, dumped)


@pytest.mark.parametrize("variant", XFS)
def test_an_xfs_of_any_variant_reads_as_the_kernel_and_xfs_db_read_it(variant: str, image: Path) -> None:
    """Every name, link and byte is the same, and the blocks that xfs_db prints for some files."""
    need("mkfs.xfs", "xfs_db")
    run("mkfs.xfs", "-q", "-f", *XFS[variant].split(), image)
    with mounted(image) as folder:
        write_everything(folder)
    with mounted(image, "ro") as folder, FileReader(image) as reader:
        assert_same_tree(Xfs(reader), folder)
    _assert_as_xfs_db(image, ("/extents", "/sparse", "/preallocated", "/large", "/block", "/tiny"))


@pytest.mark.parametrize(
    "options", ["-m crc=0", "-m crc=0 -n ftype=0", "-b size=512 -m crc=0", "-m crc=0 -n version=ci"]
)
def test_an_xfs_that_kernels_no_longer_mount_reads_as_xfs_db_reads_it(
    options: str, image: Path, tmp_path: Path
) -> None:
    """Images of version 4 are written by mkfs."""
    need("mkfs.xfs", "xfs_db")
    make_xfs(image, corner_tree(), options.split(), size_mib=320)
    write_tree(corner_tree(), tmp_path / "tree")
    with FileReader(image) as reader:
        assert_same_tree(Xfs(reader), tmp_path / "tree")
    _assert_as_xfs_db(image, ("/large", "/block", "/tiny", "/empty"))


def _assert_as_xfs_db(image: Path, paths: Sequence[str]) -> None:
    with FileReader(image) as reader:
        files = Xfs(reader)
        for path in paths:
            node = Tree(files).node(path)
            assert files.read(node.number, 0, node.size_bytes) == _read_by_xfs_db(image, path), path


def _read_by_xfs_db(image: Path, path: str) -> bytes:
    """Read a file by the block map that xfs_db prints."""
    printed = run(
        "xfs_db", "-r", "-f", "-c", "sb 0", "-c", "print blocksize agblocks", "-c", f"path {path}",
        "-c", "print core.size", "-c", "bmap", image,
    )  # fmt: skip
    numbers = {name: int(value) for name, value in re.findall(r"^([\w.]+) = (\d+)$", printed, re.MULTILINE)}
    block = numbers["blocksize"]
    content = bytearray(numbers["core.size"])
    with image.open("rb") as file:
        for found in re.finditer(r"data offset (\d+) startblock \d+ \((\d+)/(\d+)\) count (\d+) flag (\d)", printed):
            offset, group, index, count, unwritten = map(int, found.groups())
            if not unwritten:
                file.seek((group * numbers["agblocks"] + index) * block)
                content[offset * block : (offset + count) * block] = file.read(count * block)
    return bytes(content[: numbers["core.size"]])
