"""Tests that files to which an image refers are never opened, since it may name any local file."""

import ctypes
import os
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aliyun_import.disk.inspect import inspect_disk
from tests.disk import build
from tests.disk.tools import need, run
from tests.rows import each_row

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports each open of a file (inotify)")

_IN_OPEN = 0x20


@contextmanager
def _watch_opens(path: Path) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether the file was opened since."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(handle, os.fsencode(path), _IN_OPEN) >= 0

    def opened() -> bool:
        try:
            return bool(os.read(handle, 4096))
        except BlockingIOError:
            return False

    try:
        yield opened
    finally:
        os.close(handle)


def _qcow2(name: bytes) -> bytes:
    image = build.qcow2(build.uefi_disk())
    struct.pack_into(">QI", image, 8, 600, len(name))
    image[600 : 600 + len(name)] = name
    return bytes(image)


def _qcow2_with_data_file(name: bytes) -> bytes:
    image = build.qcow2(build.uefi_disk())
    struct.pack_into(">Q", image, 72, 4)
    struct.pack_into(">II", image, 112, 0x44415441, len(name))
    image[120 : 120 + len(name)] = name
    return bytes(image)


def _vmdk(name: bytes) -> bytes:
    head = b'# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
    return head + b'RW 2048 FLAT "%s" 0\n' % name


def _sparse_vmdk(name: bytes) -> bytes:
    """Return a sparse extent without sectors that contains the descriptor, which qemu-img reads too."""
    return struct.pack("<4sIIQQQQI", b"KDMV", 1, 3, 0, 128, 1, 20, 512).ljust(512, b"\0") + _vmdk(name).ljust(
        10240, b"\0"
    )


@each_row(
    ("make", "code"),
    [
        pytest.param(_qcow2, "qcow2-backing-file", id="the backing file of a qcow2"),
        pytest.param(_qcow2_with_data_file, "qcow2-external-data", id="the data file of a qcow2"),
        pytest.param(
            lambda name: build.vhd_dynamic(build.uefi_disk(), kind=4, parent=name.decode()),
            "vhd-differencing",
            id="the parent of a vhd",
        ),
        pytest.param(_vmdk, "container-foreign", id="the extent of a vmdk"),
        pytest.param(_sparse_vmdk, "container-foreign", id="the extent of a vmdk in a header"),
    ],
)
def test_a_file_that_a_header_names_is_not_opened(tmp_path: Path, make: Callable[[bytes], bytes], code: str) -> None:
    """The problem is reported, and the file is not opened."""
    secret, image = tmp_path / "private" / "secret", tmp_path / "disk.img"
    secret.parent.mkdir(exist_ok=True)
    secret.write_bytes(bytes(4 << 20))
    image.write_bytes(make(os.fsencode(secret)))
    with _watch_opens(secret) as opened:
        report = inspect_disk(image)
        assert code in build.codes(report.container_problems)
        assert not opened()
        secret.read_bytes()
        assert opened()


@pytest.mark.root
@pytest.mark.parametrize(
    "options",
    ["-f qcow2 -F raw", "-f qed -F raw", "-f vmdk -F vmdk", "-f qcow -F raw"],
)
def test_a_backing_file_that_qemu_img_wrote_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    """This includes the formats that qemu-img and qemu-nbd read."""
    need("qemu-img", "qemu-nbd")
    monkeypatch.chdir(tmp_path)
    run("qemu-img", "create", "-q", "-f", "vmdk" if "vmdk" in options else "raw", "parent", "10M")
    run("qemu-img", "create", "-q", *options.split(), "-b", "parent", "child.img")
    with _watch_opens(tmp_path / "parent") as opened:
        report = inspect_disk(tmp_path / "child.img")
        assert {"qcow2-backing-file", "not-whole"} & set(build.codes(report.container_problems))
        assert not opened()
