"""File systems that the kernel writes in forms that are hard to read, for comparison with a reader."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aliyun_import.disk.filesystems.interface import FileSystem, Node
from aliyun_import.disk.filesystems.tree import Tree
from tests.disk.fixtures.make import write_tree
from tests.disk.trees import corner_tree

_NAMES, _EXTENTS, _STEP = 20_000, 12_000, 8192


@contextmanager
def mounted(image: Path, options: str = "rw") -> Iterator[Path]:
    """Mount an image. Skip the test, with the reason, if the kernel can't."""
    with tempfile.TemporaryDirectory() as name:
        done = subprocess.run(
            ["mount", "-o", f"loop,{options}", image, name], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"the kernel here can't mount it: {done.stderr.strip().splitlines()[-1]}")
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", name], check=True)


def write_everything(folder: Path) -> None:
    """Write the corner tree, a directory of 13,333 names with gaps, a file of 12,000 extents, and sparse files."""
    write_tree(corner_tree(), folder)
    many = folder / "gaps"
    many.mkdir()
    for number in range(_NAMES):
        (many / f"{'name' * (number % 20)}-{number}").touch()
    for number in range(0, _NAMES, 3):
        (many / f"{'name' * (number % 20)}-{number}").unlink()
    with (folder / "extents").open("wb") as file:
        for number in range(_EXTENTS):
            os.pwrite(file.fileno(), b"%08d" % number * 8, number * _STEP)
        os.fsync(file.fileno())
    with (folder / "sparse").open("wb") as file:
        os.pwrite(file.fileno(), b"the only bytes", 50 << 20)
        os.truncate(file.fileno(), 60 << 20)
    with (folder / "preallocated").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 3 << 20)
        os.pwrite(file.fileno(), b"written" * 1000, 1 << 20)


def assert_same_tree(files: FileSystem, folder: Path) -> None:
    """Compare all names, links and bytes below a directory of this machine with those of a reader."""
    tree = Tree(files)
    for place, folders, names in os.walk(folder):
        here = "/" + str(Path(place).relative_to(folder)).removeprefix(".")
        assert set(tree.names(here)) == {*folders, *names}, here
        for name in (*names, *folders):
            path, there = f"{here.rstrip('/')}/{name}", Path(place) / name
            if there.is_symlink():
                assert tree.link(path) == str(there.readlink()), path
            elif there.is_file():
                _assert_same_file(files, tree.node(path), there)


def _assert_same_file(files: FileSystem, node: Node, there: Path) -> None:
    step = 8 << 20
    with there.open("rb") as file:
        assert node.size_bytes == there.stat().st_size, there
        for offset in range(0, node.size_bytes, step):
            assert files.read(node.number, offset, step) == file.read(step), f"{there} at {offset}"
