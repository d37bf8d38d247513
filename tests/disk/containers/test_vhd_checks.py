"""Tests of the checks of VHDs."""

import struct

import pytest

from aliyun_import.disk.containers.interface import OpenedContainer
from aliyun_import.disk.containers.vhd import find_footer
from aliyun_import.disk.containers.vhd_checks import open_vhd
from aliyun_import.disk.reader import BytesReader
from aliyun_import.limits import GIB
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskFormat
from tests.disk import build
from tests.disk.build import MIB

DISK = bytes(MIB) + b"data" + bytes(4 * MIB - 4)


def _open(image: bytes | bytearray) -> OpenedContainer:
    file = BytesReader(bytes(image))
    found = find_footer(file)
    assert found is not None
    return open_vhd(file, found[0], at=found[1])


def _update_checksum(image: bytearray, at: int, length: int, checksum_at: int) -> None:
    image[checksum_at : checksum_at + 4] = bytes(4)
    struct.pack_into(">I", image, checksum_at, ~sum(image[at : at + length]) & 0xFFFFFFFF)


@pytest.mark.parametrize("image", [build.vhd_fixed(DISK), build.vhd_dynamic(DISK)], ids=["fixed", "dynamic"])
def test_an_intact_vhd_has_no_problems_and_reads_back(image: bytes) -> None:
    """The disk that is read is the disk that was written."""
    opened = _open(image)
    assert (opened.format, opened.problems, opened.virtual_bytes) == (DiskFormat.VHD, (), len(DISK))
    assert opened.disk is not None
    assert opened.disk.pread(0, len(DISK)) == DISK


def test_a_wrong_footer_checksum_blocks() -> None:
    """The problem has the offset of the checksum."""
    image = bytearray(build.vhd_fixed(DISK))
    image[-512 + 70] ^= 1
    opened = _open(image)
    assert build.codes(opened.problems) == ["vhd-footer-checksum"]
    assert opened.problems[0].severity is Severity.BLOCKS
    assert str(len(DISK) + 64) in opened.problems[0].where


def test_a_fixed_vhd_whose_size_differs_from_its_footer_blocks() -> None:
    """The message has both sizes."""
    opened = _open(DISK[: 2 * MIB] + build.vhd_footer(len(DISK)))
    assert build.codes(opened.problems) == ["vhd-size-mismatch"]
    assert str(len(DISK)) in opened.problems[0].message
    assert str(2 * MIB) in opened.problems[0].message


def test_a_dynamic_vhd_without_its_footer_is_truncated() -> None:
    """The footer's copy at the beginning identifies the VHD, and there is only one problem."""
    opened = _open(build.vhd_dynamic(DISK)[:-MIB])
    assert (opened.container.name, build.codes(opened.problems)) == ("vhd-dynamic", ["vhd-truncated"])


def test_a_block_outside_of_the_file_is_found() -> None:
    """An entry of the table is beyond the end of the file, though the footer is there."""
    image = build.vhd_dynamic(DISK)
    opened = _open(image[: -MIB - 512] + image[-512:])
    assert build.codes(opened.problems) == ["vhd-truncated"]
    assert "block table" in opened.problems[0].message


def test_overlapping_blocks_are_found() -> None:
    """One of two blocks at the same offset was overwritten."""
    image = bytearray(build.vhd_dynamic(b"\x01" * (4 * MIB)))
    image[1540:1544] = image[1536:1540]
    assert build.codes(_open(image).problems) == ["vhd-blocks-overlap"]


def test_a_wrong_header_checksum_blocks() -> None:
    """The dynamic header has its own checksum."""
    image = bytearray(build.vhd_dynamic(DISK))
    image[512 + 900] ^= 1
    assert build.codes(_open(image).problems) == ["vhd-header-checksum"]


def test_a_table_too_small_for_the_disk_blocks() -> None:
    """ECS refuses a size over MaxTableEntries * BlockSize."""
    opened = _open(build.vhd_dynamic(DISK, size=len(DISK) + 8 * MIB))
    assert build.codes(opened.problems) == ["vhd-table-too-small"]


def test_an_unusual_block_size_warns() -> None:
    """ECS may not support it."""
    assert build.codes(_open(build.vhd_dynamic(DISK, block=65536)).problems) == ["vhd-block-size"]


def test_a_differencing_vhd_is_refused_with_the_name_of_its_parent() -> None:
    """It is not a complete disk, and is not read as one."""
    opened = _open(build.vhd_dynamic(DISK, kind=4, parent="base.vhd"))
    assert (opened.container.name, opened.format, opened.disk) == ("vhd-differencing", None, None)
    assert build.codes(opened.problems) == ["vhd-differencing"]
    assert "base.vhd" in opened.problems[0].message


def test_a_vhd_padded_to_a_geometry_can_be_converted() -> None:
    """`qemu-img convert -O vpc` without force_size pads; creator and geometry show it."""
    size = 123 * 4 * 17 * 512
    footer = build.vhd_footer(size, creator=b"qemu", geometry=(123, 4, 17))
    opened = _open(bytes(size) + footer)
    assert build.codes(opened.problems) == ["vhd-chs-padded"]
    assert opened.problems[0].convertible
    assert opened.problems[0].severity is Severity.WARNS


def test_an_unaligned_size_of_another_creator_is_a_note() -> None:
    """Only qemu-img pads, so another creator's disk has its original size."""
    opened = _open(build.vhd_fixed(bytes(MIB + 512), creator=b"win "))
    assert build.codes(opened.problems) == ["vhd-size-not-mib"]
    assert opened.problems[0].severity is Severity.NOTE


def test_an_unknown_type_is_damage() -> None:
    """Type 9 is not defined."""
    opened = _open(build.vhd_fixed(DISK, kind=9))
    assert build.codes(opened.problems) == ["vhd-damaged"]
    assert opened.disk is None


def test_a_damaged_header_is_found_and_the_disk_not_read() -> None:
    """The footer is valid, but there is no header at its offset."""
    image = bytearray(build.vhd_dynamic(DISK))
    image[512:520] = b"nothing."
    opened = _open(image)
    assert (build.codes(opened.problems), opened.disk) == (["vhd-damaged"], None)


def test_a_huge_table_is_unknown() -> None:
    """A table larger than any tool writes is not read, and is not reported as damage."""
    image = bytearray(build.vhd_dynamic(DISK, size=16 * GIB))
    struct.pack_into(">I", image, 512 + 28, 1 << 30)
    _update_checksum(image, 512, 1024, 512 + 36)
    opened = _open(image)
    assert (opened.problems, opened.disk) == ((), None)
    assert "entries" in opened.unknowns[0]
