"""Tests of the holes of a file, and of the checks whether they are zeros."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aliyun_import.disk.disk import open_disk
from aliyun_import.disk.fingerprint import Extent, find_extents, holes_of, reason_to_distrust, sample_ranges
from aliyun_import.limits import KIB, MIB

SIZE = 16 * MIB


@pytest.fixture
def sparse(tmp_path: Path) -> Iterator[int]:
    """Yield the descriptor of a file with a hole before and after its data."""
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(SIZE)
        file.seek(8 * MIB)
        file.write(b"data" * KIB)
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def _distrust(
    descriptor: int, extents: tuple[Extent, ...], *, kind: str = "ext4", allocated_bytes: int = 4 * KIB
) -> str:
    return reason_to_distrust(descriptor, SIZE, extents, kinds=frozenset({kind}), allocated_bytes=allocated_bytes)


def test_holes_of_zeros_are_accepted(sparse: int) -> None:
    """Local and network file systems are treated alike."""
    extents = find_extents(sparse, SIZE)
    assert extents
    assert _distrust(sparse, extents) == _distrust(sparse, extents, kind="nfs") == ""


def test_data_in_a_hole_is_found(sparse: int) -> None:
    """A file system may report data as a hole, as ZFS can."""
    assert "byte 8388608" in _distrust(sparse, (Extent(0, 8 * MIB), Extent(9 * MIB, SIZE)))


def test_more_allocated_bytes_than_extents_are_found_except_on_local_file_systems(sparse: int) -> None:
    """The check is for network file systems and ZFS; on ext4 and XFS, preallocated space is a hole."""
    extents = find_extents(sparse, SIZE)
    for kind in ("nfs", "nfs4", "zfs", "fuse.sshfs", "cifs"):
        assert "allocated" in _distrust(sparse, extents, kind=kind, allocated_bytes=4 * MIB)
    assert _distrust(sparse, extents, allocated_bytes=4 * MIB) == ""


def test_holes_are_between_the_extents_and_are_sampled() -> None:
    """Both ends and the middle of a hole are sampled; of many holes only some are."""
    holes = holes_of(100 * KIB, (Extent(0, 10 * KIB), Extent(20 * KIB, 60 * KIB)))
    assert holes == [Extent(10 * KIB, 20 * KIB), Extent(60 * KIB, 100 * KIB)]
    assert list(sample_ranges(holes[:1])) == [(10 * KIB, 4096), (13 * KIB, 4096), (16 * KIB, 4096)]
    assert len(list(sample_ranges([Extent(at * MIB, at * MIB + 512) for at in range(10_000)]))) <= 128


def test_a_disk_with_data_in_a_hole_is_read_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is one extent, with the reason, and no byte is left unread."""
    path = tmp_path / "disk"
    path.write_bytes(b"x" * MIB)
    monkeypatch.setattr("aliyun_import.disk.disk.find_extents", lambda *_: ())
    with open_disk(path) as disk:
        assert disk.extents() == (Extent(0, MIB),)
        assert "byte 0" in disk.distrust
        assert disk.unread_bytes == 0
