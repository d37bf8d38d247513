"""Tests of fingerprints: which equal fingerprints prove equal content."""

import os
from dataclasses import replace
from pathlib import Path

from aliyun_import.disk.disk import open_disk
from aliyun_import.disk.fingerprint import (
    Comparison,
    Fingerprint,
    decoded,
    held_by,
    holder_of,
    keeps_ctime,
    least,
    parse_mounts,
)
from tests.rows import each_row

FILE = Fingerprint(size_bytes=1 << 30, mtime_ns=1, device=2, inode=3, sample="ab" * 32, ctime_ns=4)
BLOCK = replace(FILE, ctime_ns=None, is_block=True)
MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 7:1 / /mnt/my\\040disk ro,relatime - ext4 /dev/loop0p1 ro
31 22 0:50 / /mnt/tree rw,relatime - btrfs /dev/sdb rw
32 22 8:33 / /mnt/stick rw,relatime - exfat /dev/sdc1 rw
33 22 0:60 / /mnt/remote rw,relatime - fuse.sshfs host: rw
not a mount
"""


def test_a_file_is_the_same_only_with_its_ctime() -> None:
    """All other fields can be equal after cp -p, touch -d, or a build with a fixed time."""
    assert FILE.comparison(FILE) is Comparison.SAME
    assert replace(FILE, ctime_ns=5).comparison(FILE) is Comparison.UNPROVEN
    for change in ({"mtime_ns": 9}, {"inode": 9}, {"device": 9}, {"size_bytes": 9}, {"sample": "cd" * 32}):
        assert replace(FILE, **change).comparison(FILE) is Comparison.OTHER


def test_an_unknown_ctime_is_unproven() -> None:
    """A journal of an earlier version has no ctime."""
    assert FILE.comparison(replace(FILE, ctime_ns=None)) is Comparison.UNPROVEN
    assert replace(FILE, ctime_ns=None).comparison(replace(FILE, ctime_ns=None)) is Comparison.UNPROVEN


def test_a_block_device_is_never_proven_the_same() -> None:
    """The times and numbers of its node are no evidence; only its sample can show another disk."""
    assert BLOCK.comparison(BLOCK) is Comparison.UNPROVEN
    assert replace(BLOCK, mtime_ns=9, device=9, inode=9).comparison(BLOCK) is Comparison.UNPROVEN
    assert replace(BLOCK, sample="cd" * 32).comparison(BLOCK) is Comparison.OTHER


def test_an_encoded_fingerprint_can_be_decoded() -> None:
    """The encoding of versions without the ctime can be decoded too."""
    for one in (FILE, BLOCK, replace(FILE, ctime_ns=None)):
        assert decoded(one.encoded()) == one
    assert decoded(f"{1 << 30}:1:2:3:{'ab' * 32}") == replace(FILE, ctime_ns=None)


def test_several_disks_are_as_alike_as_the_least_alike() -> None:
    """One other disk makes the result "other"."""
    assert least([]) is Comparison.SAME
    assert least([Comparison.SAME, Comparison.UNPROVEN]) is Comparison.UNPROVEN
    assert least([Comparison.UNPROVEN, Comparison.OTHER, Comparison.SAME]) is Comparison.OTHER


def test_a_restored_modification_time_is_found_by_the_ctime(tmp_path: Path) -> None:
    """The write is in place, outside of the sample."""
    path = tmp_path / "disk"
    path.write_bytes(bytes(16 << 20))
    status = path.stat()
    with open_disk(path) as source:
        before = source.fingerprint()
        with path.open("r+b") as file:
            file.seek((5 << 20) + 4096 * 3)
            file.write(b"x")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert source.fingerprint().comparison(before) is Comparison.UNPROVEN


@each_row(("device", "stored"), [("254:0", True), ("8:33", False), ("0:60", False), ("1:1", True)])
def test_file_systems_without_a_reliable_ctime_are_known(device: str, stored: bool) -> None:
    """FAT and network file systems do not store the ctime."""
    assert keeps_ctime(device, parse_mounts(MOUNTS)) is stored


def test_the_user_of_a_device_is_found() -> None:
    """Mounts are found by device number, or by name if the number differs; device-mapper devices are found too."""
    mounts = parse_mounts(MOUNTS)
    read_only = held_by({"7:0": "loop0", "7:1": "loop0p1"}, mounts)
    assert (read_only.by, read_only.read_only) == (("/dev/loop0p1 is mounted at /mnt/my disk, read-only",), True)
    tree = held_by({"8:16": "sdb"}, mounts)
    assert (tree.by, tree.read_only) == (("/dev/sdb is mounted at /mnt/tree",), False)
    assert "dm-0" in held_by({"8:48": "sdd", "253:0": "dm-0"}, mounts).by[0]
    assert not held_by({"8:48": "sdd"}, mounts).read_only


def test_a_file_has_no_user(tmp_path: Path) -> None:
    """A missing path has none either."""
    path = tmp_path / "disk"
    path.write_bytes(b"x")
    assert holder_of(path) is None
    assert holder_of(tmp_path / "missing") is None
