"""Tests of the holes of a file, and of the checks that they contain no data."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aliyun_import.disk.disk import open_disk
from aliyun_import.disk.fingerprint import Extent, find_extents, holes_of, reason_to_distrust, spots_in
from aliyun_import.limits import KIB, MIB

SIZE = 16 * MIB


@pytest.fixture
def sparse(tmp_path: Path) -> Iterator[int]:
    """Open a file with data between two holes."""
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(SIZE)
        file.seek(8 * MIB)
        file.write(b"data" * KIB)
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def _judged(descriptor: int, extents: tuple[Extent, ...], *, kind: str = "ext4", allocated_bytes: int = 4 * KIB) -> str:
    return reason_to_distrust(descriptor, SIZE, extents, kinds=frozenset({kind}), allocated_bytes=allocated_bytes)


def test_holes_of_zeros_are_believed(sparse: int) -> None:
    """On a local file system and on another one."""
    extents = find_extents(sparse, SIZE)
    assert extents
    assert _judged(sparse, extents) == _judged(sparse, extents, kind="nfs") == ""


def test_data_in_a_hole_is_a_contradiction(sparse: int) -> None:
    """A file system that reports only a hole, as ZFS can, is not trusted."""
    assert "byte 8388608" in _judged(sparse, (Extent(0, 8 * MIB), Extent(9 * MIB, SIZE)))


def test_more_allocated_than_data_is_a_contradiction_elsewhere(sparse: int) -> None:
    """This applies to file systems of servers. On ext4 and XFS, reserved space is a hole."""
    extents = find_extents(sparse, SIZE)
    for kind in ("nfs", "nfs4", "zfs", "fuse.sshfs", "cifs"):
        assert "allocated" in _judged(sparse, extents, kind=kind, allocated_bytes=4 * MIB)
    assert _judged(sparse, extents, allocated_bytes=4 * MIB) == ""


def test_holes_are_between_the_extents_and_tried_at_both_ends() -> None:
    """Each hole is tested at both ends and in the middle. Of many holes, some are tested."""
    holes = holes_of(100 * KIB, (Extent(0, 10 * KIB), Extent(20 * KIB, 60 * KIB)))
    assert holes == [Extent(10 * KIB, 20 * KIB), Extent(60 * KIB, 100 * KIB)]
    assert list(spots_in(holes[:1])) == [(10 * KIB, 4096), (13 * KIB, 4096), (16 * KIB, 4096)]
    assert len(list(spots_in([Extent(at * MIB, at * MIB + 512) for at in range(10_000)]))) <= 128


def test_a_disk_whose_holes_are_not_believed_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is recorded, and all later extents are the whole disk."""
    path = tmp_path / "disk"
    path.write_bytes(b"x" * MIB)
    monkeypatch.setattr("aliyun_import.disk.disk.find_extents", lambda *_: ())
    with open_disk(path) as disk:
        assert disk.extents() == (Extent(0, MIB),)
        assert "byte 0" in disk.distrust
        assert disk.unread_bytes == 0
