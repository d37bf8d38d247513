"""System tools for tests that compare readers with them, and file systems that the kernel mounts."""

import os
import shutil
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


def need(*names: str) -> None:
    """Skip the test if a tool is not installed."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def run(*command: str | Path, stdin: str | None = None) -> str:
    """Run a tool that must succeed, and return its output."""
    done = subprocess.run(
        [str(argument) for argument in command], input=stdin, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@contextmanager
def mounted(image: Path, options: str = "rw") -> Iterator[Path]:
    """Mount an image. Skip the test if the kernel cannot."""
    with tempfile.TemporaryDirectory() as name:
        done = subprocess.run(
            ["mount", "-o", f"loop,{options}", image, name], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"the kernel cannot mount it: {done.stderr.strip().splitlines()[-1]}")
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
    """Assert that a reader returns every name, link and byte of a local directory."""
    tree = Tree(files)
    for directory, folders, names in os.walk(folder):
        inner = "/" + str(Path(directory).relative_to(folder)).removeprefix(".")
        assert set(tree.names(inner)) == {*folders, *names}, inner
        for name in (*names, *folders):
            path, local = f"{inner.rstrip('/')}/{name}", Path(directory) / name
            if local.is_symlink():
                assert tree.link(path) == str(local.readlink()), path
            elif local.is_file():
                _assert_same_file(files, tree.node(path), local)


def _assert_same_file(files: FileSystem, node: Node, local: Path) -> None:
    step = 8 << 20
    with local.open("rb") as file:
        assert node.size_bytes == local.stat().st_size, local
        for offset in range(0, node.size_bytes, step):
            assert files.read(node.number, offset, step) == file.read(step), f"{local} at {offset}"
