"""Tests of disk formats: detection by content, virtual size and damage."""

import struct

import pytest

from aliyun_import.sandbox.importer.formats import DiskReading, detect, read_disk
from tests.rows import each_row
from tests.sandbox.disks import MIB, BytesReader, checksummed, dynamic_vhd, fixed_vhd, qcow2, vhd_footer

DISK = bytes(MIB)


def _read(data: bytes, declared: str = "") -> DiskReading:
    return read_disk(BytesReader(data), declared=declared)


@each_row(
    ("data", "name"),
    [
        (DISK, "RAW"),
        (b"x", "RAW"),
        (b"x" * 700, "RAW"),
        (fixed_vhd(DISK), "VHD"),
        (dynamic_vhd(MIB), "VHD"),
        (dynamic_vhd(MIB)[:-512], "VHD"),
        (qcow2(), "QCOW2"),
        (b"KDMV" + bytes(508), "VMDK"),
        (b"# Disk DescriptorFile\n", "VMDK"),
        (b"vhdxfile" + bytes(600), "VHDX"),
        (b"<<< Oracle VM VirtualBox Disk Image >>>\n".ljust(64, b"\0") + b"\x7f\x10\xda\xbe" + bytes(600), "VDI"),
    ],
)
def test_the_format_is_detected_by_content(data: bytes, name: str) -> None:
    """Magic numbers at both ends determine the format; other content is RAW."""
    assert detect(BytesReader(data)) == name


@each_row(
    ("data", "name", "size"),
    [
        (DISK + b"odd", "RAW", MIB + 3),
        (fixed_vhd(DISK), "VHD", MIB),
        (dynamic_vhd(4 * MIB), "VHD", 4 * MIB),
        (dynamic_vhd(4 * MIB, table=(4,)), "VHD", 4 * MIB),
        (dynamic_vhd(MIB, block_bytes=MIB // 2), "VHD", MIB),
        (qcow2(), "QCOW2", 10 * MIB),
        (qcow2(version=2), "QCOW2", 10 * MIB),
        (qcow2(l2_offset=0), "QCOW2", 10 * MIB),
        (qcow2(data_entry=(1 << 62) + 100), "QCOW2", 10 * MIB),
        (b"KDMV" + struct.pack("<IIQ", 1, 3, 2048) + bytes(492), "VMDK", MIB),
    ],
)
def test_an_intact_disk_has_its_virtual_size(data: bytes, name: str, size: int) -> None:
    """The virtual size is that of the disk, not of the object."""
    assert _read(data) == DiskReading(format=name, virtual_bytes=size)
    assert _read(data, name) == _read(data)


def test_sizes_are_rounded_up_to_whole_gib() -> None:
    """A size of one byte is 1 GiB."""
    assert DiskReading(format="RAW", virtual_bytes=1).size_gib == 1
    assert DiskReading(format="RAW", virtual_bytes=1 << 30).size_gib == 1
    assert DiskReading(format="RAW", virtual_bytes=(1 << 30) + 1).size_gib == 2


@each_row(
    ("data", "declared", "reason"),
    [
        (DISK, "VHD", "declared as VHD, but its content is RAW"),
        (qcow2(), "RAW", "declared as RAW, but its content is QCOW2"),
        (b"vhdxfile" + bytes(600), "", "VHDX can't be imported"),
        (b"# Disk DescriptorFile\n", "", "only a descriptor"),
        # VHD
        (dynamic_vhd(MIB)[:-512], "", "no VHD footer: the object is truncated"),
        (b"conectix", "", "too short for a VHD footer"),
        (DISK + vhd_footer(MIB)[:70] + b"x" + vhd_footer(MIB)[71:], "", "checksum of the VHD's footer"),
        (DISK + vhd_footer(MIB, version=0x20000), "", "version 2.0"),
        (DISK + vhd_footer(MIB + 512), "", "has 1049088 bytes, the object 1048576"),
        (DISK + vhd_footer(0), "", "is not a number of sectors"),
        (DISK + vhd_footer(MIB + 1), "", "is not a number of sectors"),
        (DISK + vhd_footer(MIB, kind=4), "", "differencing"),
        (DISK + vhd_footer(MIB, kind=5), "", "disk type is 5"),
        (DISK + vhd_footer(MIB, kind=3, data_offset=MIB), "", "header lies outside"),
        (DISK + vhd_footer(MIB, kind=3, data_offset=512), "", "no dynamic header"),
        (dynamic_vhd(MIB)[:530] + b"x" + dynamic_vhd(MIB)[531:], "", "checksum of the VHD's dynamic header"),
        (dynamic_vhd(4 * MIB, table=(5,)), "", "at sector 5, ends outside"),
        # QCOW2
        (b"QFI\xfb", "", "too short for a QCOW2 header"),
        (qcow2(version=4), "", "version 4"),
        (qcow2(backing=200), "", "backing file"),
        (qcow2(crypt=2), "", "encrypted"),
        (qcow2(cluster_bits=30), "", "2^30"),
        (qcow2(size=0), "", "no bytes"),
        (qcow2(features=2), "", "corrupt"),
        (qcow2(features=4), "", "another file"),
        (qcow2(l1_entries=0), "", "first table"),
        (qcow2(size=1 << 40), "", "first table"),
        (qcow2(l1_offset=1 << 30), "", "first table"),
        (qcow2(l2_offset=4 << 16), "", "a table of the QCOW2 image lies outside"),
        (qcow2()[: 3 << 16], "", "data of the QCOW2 image, at 196608, lies outside"),
    ],
)
def test_a_damaged_disk_has_its_reason(data: bytes, declared: str, reason: str) -> None:
    """The task of its import fails with this reason."""
    reading = _read(data, declared)
    assert reason in reading.problem
    assert reading.refusal is None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (dynamic_vhd(5 * MIB), "InvalidVHDImage.IncorrectSize"),
        (dynamic_vhd(4 * MIB, block_bytes=3 * MIB), "InvalidBlockSize.NotSupport"),
    ],
)
def test_two_faults_of_a_vhd_are_refused_at_once(data: bytes, code: str) -> None:
    """ImportImage has its own codes for them."""
    refusal = _read(data).refusal
    assert refusal is not None
    assert refusal.code == code


def test_a_block_table_outside_of_the_object_is_found() -> None:
    """The header has more entries than the object can contain."""
    header = struct.pack(">8sQQIII", b"cxsparse", 0xFFFFFFFFFFFFFFFF, 1536, 0x10000, 1000, 2 * MIB)
    footer = vhd_footer(MIB, kind=3, data_offset=512)
    data = footer + checksummed(header.ljust(1024, b"\0"), at=36) + footer
    assert "block table lies outside" in _read(data).problem
