"""Tests of opening and reading disks, their extents and their fingerprints."""

import errno
import os
import shutil
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aliyun_import.disk.disk import open_disk, sample_ranges
from aliyun_import.disk.fingerprint import Extent
from aliyun_import.errors import DiskError, Exit
from aliyun_import.limits import KIB, MIB, TIB


def write(path: Path, content: bytes) -> Path:
    """Write a disk, and return its path."""
    path.write_bytes(content)
    return path


def test_a_read_returns_exactly_the_requested_range(tmp_path: Path) -> None:
    """Offset and length are exact, for both kinds of read."""
    content = os.urandom(100_000)
    with open_disk(write(tmp_path / "disk", content)) as source:
        assert source.size_bytes == len(content)
        assert source.read(12_345, 54_321) == content[12_345 : 12_345 + 54_321]
        buffer = bytearray(1000)
        source.read_into(99_000, memoryview(buffer))
        assert buffer == content[99_000:]


def test_threads_can_share_a_source(tmp_path: Path) -> None:
    """Reads are independent, since there is no file position."""
    content = os.urandom(1 * MIB)
    with open_disk(write(tmp_path / "disk", content)) as source:
        wrong: list[int] = []

        def read(offset: int) -> None:
            wrong.extend(
                at for at in range(offset, 1 * MIB, 64 * KIB) if source.read(at, 100) != content[at : at + 100]
            )

        threads = [threading.Thread(target=read, args=(offset,)) for offset in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_extents_are_the_data_of_a_sparse_file(tmp_path: Path) -> None:
    """Holes at the beginning, in the middle and at the end are not in the extents."""
    path = tmp_path / "disk"
    with path.open("wb") as file:
        for offset in (1 * MIB, 8 * MIB):
            file.seek(offset)
            file.write(b"x" * 64 * KIB)
        file.truncate(32 * MIB)
    with open_disk(path) as source:
        covered = source.extents()
    assert sum(extent.end - extent.start for extent in covered) < 32 * MIB, "the file system has no holes"
    for offset in (1 * MIB, 8 * MIB):
        assert any(extent.start <= offset and offset + 64 * KIB <= extent.end for extent in covered)


def test_a_disk_of_holes_has_no_extents(tmp_path: Path) -> None:
    """The disk has one hole, which reads as zeros."""
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(4 * MIB)
    with open_disk(path) as source:
        assert source.extents() == ()
        assert source.read(1 * MIB, 4) == bytes(4)


def test_without_support_for_holes_the_disk_is_one_extent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that refuses SEEK_DATA with EINVAL has one extent, as block devices have."""

    def refuse(_descriptor: int, offset: int, whence: int) -> int:
        raise OSError(errno.EINVAL, f"lseek({offset}, {whence})")

    path = write(tmp_path / "disk", b"x" * 5000)
    with open_disk(path) as source:
        monkeypatch.setattr("aliyun_import.disk.fingerprint.os.lseek", refuse)
        assert source.extents() == (Extent(0, 5000),)
        monkeypatch.undo()


def test_a_read_past_the_end_is_disk_truncated_with_the_offset(tmp_path: Path) -> None:
    """A disk that became smaller has another error than one that cannot be read."""
    path = write(tmp_path / "disk", b"x" * 10_000)
    with open_disk(path) as source:
        os.truncate(path, 6_000)
        with pytest.raises(DiskError) as raised:
            source.read(5_000, 2_000)
    assert raised.value.code == "disk-truncated"
    assert raised.value.details["offset"] == "6000"


def test_a_read_error_has_the_offset_and_exit_code_3(tmp_path: Path) -> None:
    """An error of the system, as for a bad sector, is a DiskError."""
    source = open_disk(write(tmp_path / "disk", b"x" * 10_000))
    os.close(source._file._fd)
    source._file._fd = os.open(tmp_path, os.O_RDONLY)  # reading a directory is an error of the system: EISDIR
    with source, pytest.raises(DiskError) as raised:
        source.read(4_096, 10)
    assert raised.value.code == "disk-read"
    assert raised.value.exit_code is Exit.DISK
    assert raised.value.details["offset"] == "4096"


def test_an_error_of_a_converted_disk_has_its_source_too(tmp_path: Path) -> None:
    """The message names the file that the user gave, and the remedy is about the converted file."""
    path, source = write(tmp_path / "converted.raw", b"x" * 10_000), tmp_path / "disk.vmdk"
    with open_disk(path, name=source) as disk:
        os.truncate(path, 6_000)
        with pytest.raises(DiskError) as shorter:
            disk.read(5_000, 2_000)
        os.close(disk._file._fd)
        disk._file._fd = os.open(tmp_path, os.O_RDONLY)
        with pytest.raises(DiskError) as unreadable:
            disk.read(4_096, 10)
    for raised in (shorter, unreadable):
        assert f"The disk {path}, converted from {source}, " in raised.value.summary
    assert f"Remove {path}" in str(unreadable.value.remedy)


def test_a_path_that_is_not_a_disk_is_refused_with_its_kind(tmp_path: Path) -> None:
    """Each kind has its own message, and opening a pipe does not wait for a writer."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        found = {}
        for name in (".", "pipe", "socket", "/dev/null", "missing"):
            with pytest.raises(DiskError) as raised:
                open_disk(tmp_path / name)
            found[name] = (raised.value.code, raised.value.summary.removeprefix(str(tmp_path / name)).split(",")[0])
    assert found["."] == ("disk-kind", " is a directory")
    assert found["pipe"] == ("disk-kind", " is a pipe")
    assert found["socket"] == ("disk-kind", " is a socket")
    assert found["/dev/null"] == ("disk-kind", " is a character device")
    assert found["missing"][0] == "disk-missing"


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    """The error is disk-empty."""
    with open_disk(write(tmp_path / "disk", b"")) as source, pytest.raises(DiskError) as raised:
        source.fingerprint()
    assert raised.value.code == "disk-empty"


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every file")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    """The error is disk-unreadable."""
    path = write(tmp_path / "disk", b"x")
    path.chmod(0)
    with pytest.raises(DiskError) as raised:
        open_disk(path)
    assert raised.value.code == "disk-unreadable"


def test_a_link_is_followed(tmp_path: Path) -> None:
    """The paths in /dev/disk are links."""
    (tmp_path / "link").symlink_to(write(tmp_path / "disk", b"x" * 100))
    with open_disk(tmp_path / "link") as source:
        assert source.read(0, 100) == b"x" * 100


def test_the_fingerprint_changes_with_the_disk(tmp_path: Path) -> None:
    """Changes of a sampled range, of the modification time and of the size are found."""
    path = write(tmp_path / "disk", b"x" * 100_000)
    status = path.stat()
    with open_disk(path) as source:
        before = source.fingerprint()
        assert source.fingerprint() == before
        with path.open("r+b") as file:
            file.seek(50_000)
            file.write(b"y")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        changed = source.fingerprint()
        assert changed.mtime_ns == before.mtime_ns
        assert changed.sample != before.sample
        os.utime(path, ns=(1, 1))
        assert source.fingerprint() != changed
        with path.open("ab") as file:
            file.write(b"more")
        assert source.fingerprint().size_bytes == 100_004


def test_the_sample_is_the_same_on_every_machine(tmp_path: Path) -> None:
    """The sample depends on size and content, not on how or where the file is stored."""
    dense, sparse = tmp_path / "dense", tmp_path / "sparse"
    dense.write_bytes(b"boot" + bytes(8 * MIB) + b"end")
    with sparse.open("wb") as file:
        file.write(b"boot")
        file.seek(8 * MIB + 4)
        file.write(b"end")
    with open_disk(dense) as first, open_disk(sparse) as second:
        assert first.fingerprint().sample == second.fingerprint().sample
        assert first.fingerprint().inode != second.fingerprint().inode


@given(st.integers(1, 2 * TIB))
def test_the_sample_stays_inside_the_disk_and_is_small(size_bytes: int) -> None:
    """Ranges are ascending, disjoint, inside the disk, and 4 MiB together at most."""
    ranges = sample_ranges(size_bytes)
    position = 0
    for offset, length in ranges:
        assert offset >= position
        assert length > 0
        position = offset + length
    assert ranges[0][0] == 0
    assert position == size_bytes
    assert sum(length for _, length in ranges) <= 4 * MIB


@pytest.fixture
def loop_device(tmp_path: Path) -> Iterator[Path]:
    """Yield a block device of 4 MiB with data at 1 MiB."""
    if os.geteuid() != 0 or not shutil.which("losetup"):
        pytest.skip("needs root and losetup")
    path = write(tmp_path / "backing", bytes(1 * MIB) + b"disk" + bytes(3 * MIB - 4))
    attached = subprocess.run(["losetup", "--find", "--show", path], capture_output=True, text=True, check=False)
    if attached.returncode:
        pytest.skip(f"no loop device: {attached.stderr}")
    yield Path(attached.stdout.strip())
    subprocess.run(["losetup", "--detach", attached.stdout.strip()], check=True)


@pytest.mark.root
def test_a_block_device_is_a_disk(loop_device: Path) -> None:
    """Its size is that of the device, and it is read as a file."""
    with open_disk(loop_device) as source:
        assert stat.S_ISBLK(loop_device.stat().st_mode)
        assert source.size_bytes == 4 * MIB
        assert source.read(1 * MIB, 4) == b"disk"
        assert source.extents() == (Extent(0, 4 * MIB),)
