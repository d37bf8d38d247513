"""Tests of the evidence for BIOS and UEFI."""

import struct

import pytest

from aliyun_import.disk.partitions.boot import read_boot
from aliyun_import.disk.partitions.table import read_partitions
from aliyun_import.disk.reader import BytesReader
from aliyun_import.disk.report import BootEvidence
from aliyun_import.model.request import Architecture
from tests.disk import build
from tests.disk.build import MIB, Part
from tests.rows import each_row


def _evidence(disk: bytes | bytearray) -> tuple[BootEvidence, tuple[str, ...]]:
    reader = BytesReader(bytes(disk))
    return read_boot(reader, read_partitions(reader))


def test_grub_with_its_next_stage_is_bios() -> None:
    """The evidence names both sectors, and there is none for UEFI."""
    found, _ = _evidence(build.bios_disk())
    assert found.bios == ("GRUB is in the boot record, and its next stage in sector 1",)
    assert (found.uefi, found.loaders) == ((), ())


def test_grub_without_its_next_stage_is_not_bios() -> None:
    """The note names the sector of the missing stage."""
    disk = build.bios_disk()
    disk[512:1024] = bytes(512)
    found, _ = _evidence(disk)
    assert found.bios == ()
    assert "sector 1" in found.notes[0]


def test_other_code_needs_an_active_partition_with_a_boot_sector() -> None:
    """A standard boot record starts the first sector of the active partition."""
    parts = [Part(2048, 1000, 0x07, active=True)]
    disk = build.mbr(4 * MIB, parts, code=b"\x33\xc0\x8e\xd0")
    assert _evidence(disk)[0].bios == ()
    build.place(disk, MIB + 510, b"\x55\xaa")
    assert "partition 1 is active" in _evidence(disk)[0].bios[0]
    disk[446] = 0
    assert _evidence(disk)[0].bios == ()


def test_the_code_on_a_windows_gpt_disk_is_not_bios() -> None:
    """Windows writes boot code before every GPT, and cannot boot from it."""
    disk = build.uefi_disk()
    disk[:4] = b"\x33\xc0\x8e\xd0"
    found, _ = _evidence(disk)
    assert found.bios == ()
    assert len(found.uefi) == 1


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (Part(2048, 64, build.LINUX, attributes=4), "legacy BIOS attribute"),
        (Part(2048, 64, "83bd6b9d-7f41-11dc-be0b-001560b84f0f"), "FreeBSD boot partition"),
    ],
)
def test_other_code_before_a_gpt_needs_a_partition_that_it_starts(part: Part, words: str) -> None:
    """SYSLINUX and FreeBSD mark the partition in different ways."""
    found, _ = _evidence(build.gpt(4 * MIB, [part], code=b"\xfa\x31\xc0"))
    assert words in found.bios[0]


def test_grub_legacy_has_its_next_stage_elsewhere() -> None:
    """It has version 3.2 at 0x3E, and code at 0x5C, where GRUB 2 has the number of a sector."""
    code = bytearray(build.grub_code(0xA0FB2000BCD08ED8))
    code[0x3E:0x40], code[0x44] = b"\3\2", 1
    disk = build.place(build.mbr(4 * MIB, [Part(2048, 64, 0x83)], code=bytes(code)), 512, b"\x52\x56stage 1.5")
    assert _evidence(disk)[0].bios == ("GRUB legacy is in the boot record, and its next stage in sector 1",)


@each_row("left", [b"EFI PART", b"\xeb\x58\x90mkfs.fat", b"XFSB", b"LUKS"])
def test_grub_that_was_left_is_not_bios(left: bytes) -> None:
    """A partitioner or mkfs overwrote the next stage: a GPT disk for UEFI does not boot with BIOS."""
    disk = build.bios_disk()
    build.place(disk, 512, left.ljust(100, b"\1"))
    found, _ = _evidence(disk)
    assert (found.bios, found.unknown_code) == ((), "")
    assert "earlier installation" in found.notes[0]


def test_code_that_is_not_known_is_no_evidence_against_bios() -> None:
    """It may select a partition itself."""
    disk = build.mbr(4 * MIB, [Part(2048, 64, 0x83)], code=b"\xea\x05\x00\xc0\x07\x90")
    assert "unknown code" in _evidence(disk)[0].unknown_code
    disk[512:516] = b"\x31\xc0\x31\xdb"
    disk[:440] = build.grub_code(1)
    assert "unknown code" in _evidence(disk)[0].unknown_code
    disk[:440] = b"\x33\xc0Invalid partition table".ljust(440, b"\0")
    assert _evidence(disk)[0].unknown_code == ""


def test_an_active_entry_of_a_hybrid_is_started() -> None:
    """BIOS does not use the GPT: the boot code starts the active entry of the MBR."""
    disk = build.uefi_disk()
    disk[:440] = b"\x33\xc0Multiple active partitions".ljust(440, b"\0")
    struct.pack_into("<B3xB3xII", disk, 462, 0x80, 0x83, 4096, 100)
    build.place(disk, 2 * MIB + 510, b"\x55\xaa")
    assert "is active and has a boot sector" in _evidence(disk)[0].bios[0]


@pytest.mark.parametrize("words", [b"This is not a bootable disk", b"This disk is not bootable"])
def test_the_boot_sector_of_mkfs_is_not_bios(words: bytes) -> None:
    """It ends in 55 AA, and only prints a message."""
    disk = build.mbr(4 * MIB, [Part(2048, 1000, 0x0C, active=True)], code=b"\x33\xc0Invalid partition table")
    build.place(disk, MIB, b"\xeb\x58\x90" + words)
    build.place(disk, MIB + 510, b"\x55\xaa")
    found, _ = _evidence(disk)
    assert found.bios == ()
    assert "only prints" in found.notes[0]


def test_boot_records_that_choose_the_partition_themselves() -> None:
    """altmbr.bin of SYSLINUX has the number in its last byte, the package mbr in the low bits of another byte."""
    altmbr = bytes.fromhex("33c0fa8ed88ed0bc007c89e606578ec0fbfcbf0006b90001f3a5ea1f0600005252b441")
    package = bytearray(440)
    package[0x18C:0x190], package[0x1AF], package[0] = b"MBR ", 0xC1, 0xFC
    for code in (altmbr.ljust(439, b"\x90") + b"\2", bytes(package)):
        disk = build.mbr(4 * MIB, [Part(2048, 64, 0x83), Part(4096, 64, 0x83)], code=code)
        build.place(disk, 2 * MIB + 510, b"\x55\xaa")
        assert "partition 2 is active" in _evidence(disk)[0].bios[0]


def test_lilo_needs_no_active_partition() -> None:
    """It has a list of sectors, like GRUB."""
    found, _ = _evidence(build.mbr(4 * MIB, [Part(2048, 64, 0x83)], code=b"\xfa\xeb\x21\x01\xb4\x01LILO"))
    assert found.bios == ("LILO is in the boot record",)


def test_no_code_is_no_bios() -> None:
    """A boot record of zeros has no code."""
    found, _ = _evidence(build.mbr(4 * MIB, [Part(2048, 1000, 0x83, active=True)]))
    assert found.bios == ()
    assert "zeros" in found.notes[0]


def test_grub_on_a_gpt_names_its_bios_boot_partition() -> None:
    """This is the usual way to boot a GPT disk with BIOS."""
    disk = build.gpt(4 * MIB, [Part(2048, 64, build.BIOS_BOOT)], code=build.grub_code(2048))
    build.place(disk, MIB, b"\x52\x56GRUB core")
    found, _ = _evidence(disk)
    assert found.bios == (
        "GRUB is in the boot record, and its next stage in sector 2048",
        "partition 1 is a BIOS boot partition",
    )


@pytest.mark.parametrize(
    ("path", "machine", "architecture"),
    [
        ("EFI/BOOT/BOOTX64.EFI", build.X86_64, Architecture.X86_64),
        ("EFI/BOOT/BOOTAA64.EFI", build.ARM64, Architecture.ARM64),
    ],
)
def test_a_loader_in_the_removable_path_is_uefi(path: str, machine: int, architecture: Architecture) -> None:
    """It starts without a boot entry, and determines the architecture."""
    found, unknowns = _evidence(build.uefi_disk(machine=machine, path=path))
    assert len(found.uefi) == 1
    assert path in found.uefi[0]
    assert found.architectures == (architecture,)
    assert (found.loaders[0].removable, unknowns) == (True, ())


@pytest.mark.parametrize(
    ("path", "machine"),
    [
        ("EFI/debian/grubx64.efi", build.X86_64),
        ("EFI/BOOT/BOOTX64.EFI", build.ARM64),
        ("EFI/boot/bootia32.efi", build.I386),
    ],
)
def test_a_loader_that_firmware_does_not_find_is_only_noted(path: str, machine: int) -> None:
    """In the directory of a vendor, with the name for another machine, or for 32-bit firmware."""
    found, _ = _evidence(build.uefi_disk(machine=machine, path=path))
    assert found.uefi == ()
    assert path in found.notes[-1]


def test_a_loader_on_a_fat_of_another_type_is_uefi() -> None:
    """Firmware may start it, too. The evidence has the type of the partition."""
    disk = build.place(
        build.mbr(4 * MIB, [Part(2048, 2048, 0x0C)]),
        MIB,
        build.fat({"EFI/BOOT/BOOTAA64.EFI": build.pe_program(build.ARM64)}),
    )
    found, _ = _evidence(disk)
    assert "of type FAT32" in found.uefi[0]
    assert found.architectures == (Architecture.ARM64,)


def test_an_esp_without_a_loader_is_noted() -> None:
    """An empty ESP starts nothing."""
    disk = build.uefi_disk()
    build.place(disk, MIB, build.fat({"README": b""}))
    found, unknowns = _evidence(disk)
    assert (found.uefi, unknowns) == ((), ())
    assert "without a loader" in found.notes[-1]


def test_an_esp_that_can_not_be_read_is_unknown() -> None:
    """A damaged FAT does not prove that it is empty."""
    disk = build.uefi_disk()
    disk[MIB + 13] = 3
    found, unknowns = _evidence(disk)
    assert found.uefi == ()
    assert "partition 1" in unknowns[0]


def test_more_fat_partitions_than_any_disk_has_are_not_all_looked_into() -> None:
    """All may be the same one, with thousands of names."""
    parts = [Part(2048, 2048, build.ESP) for _ in range(9)]
    disk = build.place(build.gpt(4 * build.MIB, parts), build.MIB, build.fat({"EFI/BOOT/BOOTX64.EFI": b"MZ"}))
    found, unknowns = _evidence(disk)
    assert len(found.loaders) == 8
    assert "of 9 FAT partitions" in unknowns[0]
