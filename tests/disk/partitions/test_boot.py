"""Tests of the evidence for BIOS and UEFI boot."""

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
    """The evidence has both sectors, and there is none for UEFI."""
    found, _ = _evidence(build.bios_disk())
    assert found.bios == ("GRUB is in the boot record, and its next stage in sector 1",)
    assert (found.uefi, found.loaders) == ((), ())


def test_grub_without_its_next_stage_is_not_bios() -> None:
    """GRUB cannot boot without its next stage, and the note has the sector."""
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
    build.write_at(disk, MIB + 510, b"\x55\xaa")
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
    ("part", "text"),
    [
        (Part(2048, 64, build.LINUX, attributes=4), "legacy BIOS attribute"),
        (Part(2048, 64, "83bd6b9d-7f41-11dc-be0b-001560b84f0f"), "FreeBSD boot partition"),
    ],
)
def test_other_code_before_a_gpt_needs_a_partition_that_it_boots(part: Part, text: str) -> None:
    """SYSLINUX uses the legacy BIOS attribute, and FreeBSD its partition type."""
    found, _ = _evidence(build.gpt(4 * MIB, [part], code=b"\xfa\x31\xc0"))
    assert text in found.bios[0]


def test_grub_legacy_has_the_sector_of_its_next_stage_at_another_offset() -> None:
    """Its version 3.2 is at 0x3E; at 0x5C, where GRUB 2 has the sector, it has code."""
    code = bytearray(build.grub_code(0xA0FB2000BCD08ED8))
    code[0x3E:0x40], code[0x44] = b"\3\2", 1
    disk = build.write_at(build.mbr(4 * MIB, [Part(2048, 64, 0x83)], code=bytes(code)), 512, b"\x52\x56stage 1.5")
    assert _evidence(disk)[0].bios == ("GRUB legacy is in the boot record, and its next stage in sector 1",)


@each_row("overwriting", [b"EFI PART", b"\xeb\x58\x90mkfs.fat", b"XFSB", b"LUKS"])
def test_a_leftover_grub_is_not_bios(overwriting: bytes) -> None:
    """GRUB cannot boot after a partitioner or mkfs overwrote its next stage."""
    disk = build.bios_disk()
    build.write_at(disk, 512, overwriting.ljust(100, b"\1"))
    found, _ = _evidence(disk)
    assert (found.bios, found.unknown_code) == ((), "")
    assert "earlier installation" in found.notes[0]


def test_unknown_boot_code_is_not_evidence_against_bios() -> None:
    """Unknown code may select its partition itself."""
    disk = build.mbr(4 * MIB, [Part(2048, 64, 0x83)], code=b"\xea\x05\x00\xc0\x07\x90")
    assert "unknown code" in _evidence(disk)[0].unknown_code
    disk[512:516] = b"\x31\xc0\x31\xdb"
    disk[:440] = build.grub_code(1)
    assert "unknown code" in _evidence(disk)[0].unknown_code
    disk[:440] = b"\x33\xc0Invalid partition table".ljust(440, b"\0")
    assert _evidence(disk)[0].unknown_code == ""


def test_the_active_entry_of_a_hybrid_mbr_is_evidence() -> None:
    """Boot code for BIOS reads only the MBR, not the GPT."""
    disk = build.uefi_disk()
    disk[:440] = b"\x33\xc0Multiple active partitions".ljust(440, b"\0")
    struct.pack_into("<B3xB3xII", disk, 462, 0x80, 0x83, 4096, 100)
    build.write_at(disk, 2 * MIB + 510, b"\x55\xaa")
    assert "is active and has a boot sector" in _evidence(disk)[0].bios[0]


@pytest.mark.parametrize("text", [b"This is not a bootable disk", b"This disk is not bootable"])
def test_the_boot_sector_of_mkfs_is_not_bios(text: bytes) -> None:
    """Its boot sector ends with 55 AA, but only prints a message."""
    disk = build.mbr(4 * MIB, [Part(2048, 1000, 0x0C, active=True)], code=b"\x33\xc0Invalid partition table")
    build.write_at(disk, MIB, b"\xeb\x58\x90" + text)
    build.write_at(disk, MIB + 510, b"\x55\xaa")
    found, _ = _evidence(disk)
    assert found.bios == ()
    assert "only prints" in found.notes[0]


def test_boot_records_with_the_number_of_a_partition() -> None:
    """SYSLINUX's altmbr.bin has the number in its last byte, the package mbr in the low bits of another byte."""
    altmbr = bytes.fromhex("33c0fa8ed88ed0bc007c89e606578ec0fbfcbf0006b90001f3a5ea1f0600005252b441")
    package = bytearray(440)
    package[0x18C:0x190], package[0x1AF], package[0] = b"MBR ", 0xC1, 0xFC
    for code in (altmbr.ljust(439, b"\x90") + b"\2", bytes(package)):
        disk = build.mbr(4 * MIB, [Part(2048, 64, 0x83), Part(4096, 64, 0x83)], code=code)
        build.write_at(disk, 2 * MIB + 510, b"\x55\xaa")
        assert "partition 2 is active" in _evidence(disk)[0].bios[0]


def test_lilo_needs_no_active_partition() -> None:
    """LILO stores a list of sectors, as GRUB does."""
    found, _ = _evidence(build.mbr(4 * MIB, [Part(2048, 64, 0x83)], code=b"\xfa\xeb\x21\x01\xb4\x01LILO"))
    assert found.bios == ("LILO is in the boot record",)


def test_a_boot_record_without_code_is_not_bios() -> None:
    """A boot record of zeros cannot boot."""
    found, _ = _evidence(build.mbr(4 * MIB, [Part(2048, 1000, 0x83, active=True)]))
    assert found.bios == ()
    assert "zeros" in found.notes[0]


def test_grub_on_a_gpt_uses_the_bios_boot_partition() -> None:
    """This is the usual configuration for BIOS on GPT."""
    disk = build.gpt(4 * MIB, [Part(2048, 64, build.BIOS_BOOT)], code=build.grub_code(2048))
    build.write_at(disk, MIB, b"\x52\x56GRUB core")
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
    """It needs no boot entry, and has the architecture."""
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
def test_a_loader_that_firmware_does_not_find_is_a_note(path: str, machine: int) -> None:
    """It is in a vendor's directory, has another machine's name, or is for 32-bit firmware, which ECS does not have."""
    found, _ = _evidence(build.uefi_disk(machine=machine, path=path))
    assert found.uefi == ()
    assert path in found.notes[-1]


def test_a_loader_on_a_fat_of_another_type_is_uefi() -> None:
    """Firmware reads such partitions too; the evidence has the type."""
    disk = build.write_at(
        build.mbr(4 * MIB, [Part(2048, 2048, 0x0C)]),
        MIB,
        build.fat({"EFI/BOOT/BOOTAA64.EFI": build.pe_program(build.ARM64)}),
    )
    found, _ = _evidence(disk)
    assert "of type FAT32" in found.uefi[0]
    assert found.architectures == (Architecture.ARM64,)


def test_an_esp_without_a_loader_is_a_note() -> None:
    """An empty ESP cannot boot."""
    disk = build.uefi_disk()
    build.write_at(disk, MIB, build.fat({"README": b""}))
    found, unknowns = _evidence(disk)
    assert (found.uefi, unknowns) == ((), ())
    assert "without a loader" in found.notes[-1]


def test_an_esp_that_cannot_be_read_is_unknown() -> None:
    """A damaged FAT may contain a loader."""
    disk = build.uefi_disk()
    disk[MIB + 13] = 3
    found, unknowns = _evidence(disk)
    assert found.uefi == ()
    assert "partition 1" in unknowns[0]


def test_the_number_of_fat_partitions_that_are_read_is_limited() -> None:
    """Each could be the same partition with thousands of names."""
    parts = [Part(2048, 2048, build.ESP) for _ in range(9)]
    disk = build.write_at(build.gpt(4 * build.MIB, parts), build.MIB, build.fat({"EFI/BOOT/BOOTX64.EFI": b"MZ"}))
    found, unknowns = _evidence(disk)
    assert len(found.loaders) == 8
    assert "of 9 FAT partitions" in unknowns[0]
