"""Tests of the GPT reader with intact and damaged tables."""

import pytest

from aliyun_import.disk.partitions.gpt import Gpt, read_gpt
from aliyun_import.disk.reader import BytesReader
from aliyun_import.model.finding import Severity
from tests.disk import build
from tests.disk.build import MIB, Part

SIZE = 4 * MIB
LAST = SIZE // 512 - 1


def _read(disk: bytes | bytearray, *, protective: bool = True) -> Gpt:
    found = read_gpt(BytesReader(bytes(disk)), protective=protective)
    assert found is not None
    return found


def _disk() -> bytearray:
    return build.gpt(SIZE, [Part(2048, 1024, build.LINUX, attributes=4)])


def test_an_intact_table_has_no_problems() -> None:
    """Both copies are equal, and the legacy BIOS attribute is read."""
    found = _read(_disk())
    assert (found.problems, found.legacy_boot, len(found.partitions)) == ((), (1,), 1)


@pytest.mark.parametrize("at", [512 + 40, 1024 + 50])
def test_a_damaged_first_copy_blocks_and_the_backup_is_read(at: int) -> None:
    """Linux does not use the backup by itself, so the disk would not boot; the backup has the partitions."""
    disk = _disk()
    disk[at] ^= 0xFF
    found = _read(disk)
    assert build.codes(found.problems) == ["gpt-primary-damaged"]
    assert found.problems[0].severity is Severity.BLOCKS
    assert len(found.partitions) == 1


@pytest.mark.parametrize("at", [LAST * 512 + 40, (LAST - 32) * 512 + 50])
def test_a_damaged_backup_warns(at: int) -> None:
    """The disk boots without it."""
    disk = _disk()
    disk[at] ^= 0xFF
    found = _read(disk)
    assert build.codes(found.problems) == ["gpt-backup-damaged"]
    assert found.problems[0].severity is Severity.WARNS


def test_two_damaged_copies_are_unreadable() -> None:
    """Partitions are not guessed if no copy is intact."""
    disk = _disk()
    disk[512 + 40] ^= 0xFF
    disk[LAST * 512 + 40] ^= 0xFF
    found = _read(disk)
    assert (found.unreadable, build.codes(found.problems)) == (True, ["gpt-damaged"])


def test_an_enlarged_disk_is_a_note() -> None:
    """The backup is at the sector in the header, and not at the end of the disk."""
    found = _read(_disk() + bytes(MIB))
    assert build.codes(found.problems) == ["gpt-backup-not-at-end"]
    assert found.problems[0].severity is Severity.NOTE


def test_a_truncated_disk_is_found() -> None:
    """The sector of the backup in the header is beyond the end of the disk."""
    assert build.codes(_read(_disk()[: 3 * MIB]).problems) == ["gpt-backup-missing"]


def test_a_table_for_4096_byte_sectors_blocks_and_is_read() -> None:
    """Such a table is not found on a disk with 512-byte sectors, which ECS has."""
    found = _read(build.gpt(SIZE, [Part(256, 512, build.LINUX)], sector=4096))
    assert build.codes(found.problems) == ["gpt-4096-byte-sectors"]
    assert (found.sector_bytes, found.partitions[0].start_bytes) == (4096, MIB)


def test_a_missing_protective_mbr_blocks() -> None:
    """UEFI and Linux read a GPT only after a protective MBR."""
    assert build.codes(_read(_disk(), protective=False).problems) == ["gpt-no-protective-mbr"]


def test_a_disk_without_signature_and_protective_entry_has_no_gpt() -> None:
    """The result is None."""
    assert read_gpt(BytesReader(bytes(SIZE)), protective=False) is None
