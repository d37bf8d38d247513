"""Tests of the partition table reader."""

import struct

import pytest

from aliyun_import.disk.partitions.table import read_partitions
from aliyun_import.disk.reader import BytesReader
from aliyun_import.disk.report import TableKind
from tests.disk import build
from tests.disk.build import MIB, Part
from tests.rows import each_row


def _numbers(disk: bytes | bytearray) -> list[int]:
    return [partition.number for partition in read_partitions(BytesReader(bytes(disk))).partitions]


def test_the_partitions_of_an_mbr_are_read_with_their_file_systems() -> None:
    """Number, offset, type, boot flag, file system, and the PARTUUID as Linux prints it are read."""
    table = read_partitions(BytesReader(bytes(build.bios_disk())))
    (root,) = table.partitions
    assert (table.kind, root.number, root.start_bytes, root.size_bytes) == (TableKind.MBR, 1, MIB, 3 * MIB)
    assert (root.type_id, root.type_name, root.active, root.filesystem) == ("0x83", "Linux", True, "ext4")
    assert (root.uuid, root.label, root.part_uuid) == (build.ROOT_UUID, "rootfs", "1badb002-01")
    assert table.problems == []


def test_logical_partitions_are_read() -> None:
    """Their numbers start at 5, and their offsets are relative to their records."""
    parts = [Part(2048, 100, 0x83), Part(4096, 2000, 5)]
    disk = build.mbr(4 * MIB, parts, logical=[Part(4160, 300, 0x83), Part(4600, 300, 0x82), Part(5000, 400, 0x83)])
    table = read_partitions(BytesReader(bytes(disk)))
    assert [(p.number, p.start_bytes // 512, p.size_bytes // 512) for p in table.partitions] == [
        (1, 2048, 100),
        (2, 4096, 2000),
        (5, 4160, 300),
        (6, 4600, 300),
        (7, 5000, 400),
    ]
    assert table.problems == []


def test_a_loop_in_the_chain_of_logical_partitions_is_damage() -> None:
    """The logical partitions are dropped, the primary ones are kept, and the problem is reported."""
    disk = build.mbr(4 * MIB, [Part(2048, 100, 0x83), Part(4096, 2000, 5)], logical=[Part(4160, 300, 0x83)])
    for record in (4096, 4097):
        struct.pack_into("<B3xB3xII", disk, record * 512 + 462, 0, 5, 1, 10)
        disk[record * 512 + 510 : record * 512 + 512] = b"\x55\xaa"
    table = read_partitions(BytesReader(bytes(disk)))
    assert [partition.number for partition in table.partitions] == [1, 2]
    assert build.codes(table.problems) == ["mbr-logical-damaged"]


def test_a_boot_record_without_entries_is_an_mbr_without_partitions() -> None:
    """55 AA without entries is an empty table."""
    table = read_partitions(BytesReader(bytes(build.mbr(MIB, []))))
    assert (table.kind, table.partitions) == (TableKind.MBR, [])


@pytest.mark.parametrize("volume", [build.ext4(), build.fat({"A": b"a"})])
def test_a_bare_file_system_is_partition_0_of_no_table(volume: bytes) -> None:
    """The boot sector of a FAT ends with 55 AA, but is not an MBR."""
    table = read_partitions(BytesReader(volume))
    assert table.kind is TableKind.NONE
    assert [(partition.number, partition.size_bytes) for partition in table.partitions] == [(0, len(volume))]


@each_row("disk", [bytes(MIB), bytes(100), b"", b"\xa5" * MIB])
def test_a_disk_without_a_table_has_none(disk: bytes) -> None:
    """Blank disks, tiny disks and disks with other data have no table and no problem."""
    table = read_partitions(BytesReader(disk))
    assert (table.kind, table.partitions, table.problems) == (TableKind.NONE, [], [])


def test_implausible_entries_are_an_unreadable_table() -> None:
    """Invalid boot flags before 55 AA are damage, and the message has the flag."""
    disk = build.mbr(MIB, [Part(2048, 10, 0x83)])
    disk[446] = 0x13
    table = read_partitions(BytesReader(bytes(disk)))
    assert table.kind is TableKind.UNREADABLE
    assert build.codes(table.problems) == ["mbr-damaged"]
    assert "0x13" in table.problems[0].message


def test_a_partition_past_the_end_of_the_disk_blocks() -> None:
    """It shows that the disk is truncated; the message has the size."""
    table = read_partitions(BytesReader(bytes(build.bios_disk())[: 2 * MIB]))
    assert build.codes(table.problems) == ["partition-outside-disk"]
    assert str(4 * MIB) in table.problems[0].message


def test_overlapping_partitions_are_found() -> None:
    """Two partitions that share a sector overlap."""
    disk = build.mbr(4 * MIB, [Part(2048, 1000, 0x83), Part(3047, 100, 0x83)])
    assert build.codes(read_partitions(BytesReader(bytes(disk))).problems) == ["partitions-overlap"]


def test_the_partitions_of_a_gpt_are_read() -> None:
    """Type, name, PARTUUID and file system are read, in the order of the entries."""
    table = read_partitions(BytesReader(bytes(build.uefi_disk())))
    esp, root = table.partitions
    assert (table.kind, table.problems) == (TableKind.GPT, [])
    assert (esp.type_name, esp.name, esp.filesystem) == ("EFI system", "ESP", "vfat")
    assert (root.number, root.type_name, root.filesystem) == (2, "Linux", "ext4")
    assert esp.part_uuid == "00000000-0000-0000-0000-000000000001"


def test_a_gpt_whose_mbr_has_partitions_is_hybrid() -> None:
    """The partitions are those of the GPT; the active entry of the MBR is kept."""
    disk = build.uefi_disk()
    struct.pack_into("<B3xB3xII", disk, 462, 0x80, 0x83, 4096, 1000)
    table = read_partitions(BytesReader(bytes(disk)))
    assert (table.kind, table.active) == (TableKind.HYBRID, ((2, 4096 * 512),))
    assert [partition.number for partition in table.partitions] == [1, 2]


def test_a_stale_gpt_behind_an_mbr_is_ignored() -> None:
    """Linux and UEFI ignore a GPT if the MBR has ordinary entries and no protective one."""
    disk = build.uefi_disk()
    disk[446:512] = build.bios_disk()[446:512]
    table = read_partitions(BytesReader(bytes(disk)))
    assert (table.kind, len(table.partitions)) == (TableKind.MBR, 1)


def test_an_entry_without_a_size_is_skipped() -> None:
    """Linux and fdisk skip such entries too, whatever their type."""
    disk = build.bios_disk()
    disk[446 + 48 + 4] = 0x83
    table = read_partitions(BytesReader(bytes(disk)))
    assert [partition.number for partition in table.partitions] == [1]
    assert table.problems == []


def test_a_table_for_4096_byte_sectors_is_found() -> None:
    """The file system is at eight times the offset in the table, and none is at the offset itself."""
    disk = build.mbr(20 * MIB, [Part(256, 256, 0x83)], code=build.grub_code())
    build.write_at(disk, MIB, build.ext4())
    table = read_partitions(BytesReader(bytes(disk)))
    assert build.codes(table.problems) == ["mbr-4096-byte-sectors"]
    assert "byte 1048576" in table.problems[0].message
