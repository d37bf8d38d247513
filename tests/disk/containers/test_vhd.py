"""Tests of the VHD reader."""

import struct

import pytest

from aliyun_import.disk.containers import vhd
from aliyun_import.disk.reader import Bad, BytesReader, Unsupported
from tests.disk import build
from tests.disk.build import MIB
from tests.rows import each_row

BLOCK = 4096 * 16


def _disk() -> bytes:
    """Return three blocks: data, a hole, and half a block of data."""
    return bytes(range(256)) * 256 + bytes(BLOCK) + b"end" + bytes(BLOCK // 2 - 3)


def _reader(image: bytes) -> vhd.DynamicReader:
    file = BytesReader(image)
    footer = vhd.parse_footer(image[-512:])
    assert footer is not None
    header = vhd.read_header(file, footer)
    return vhd.DynamicReader(file, size=footer.current_bytes, header=header, table=vhd.read_table(file, header))


def test_next_data_skips_holes() -> None:
    """An allocated block is data from any of its bytes; after the last block the offset is past the end."""
    disk = _reader(build.vhd_dynamic(_disk() + bytes(2 * BLOCK), block=BLOCK))
    offsets = (0, 5, BLOCK, 2 * BLOCK - 1, 2 * BLOCK + 9)
    assert [disk.next_data(offset) for offset in offsets] == [0, 5, 2 * BLOCK, 2 * BLOCK, 2 * BLOCK + 9]
    assert disk.next_data(3 * BLOCK) >= disk.size


def test_a_footer_is_read_with_its_checksum() -> None:
    """Sizes, type, creator and geometry are read. One changed byte makes the checksum wrong."""
    raw = build.vhd_footer(MIB, creator=b"win ", geometry=(4, 2, 8))
    footer = vhd.parse_footer(raw)
    assert footer is not None
    assert (footer.current_bytes, footer.type, footer.creator, footer.checksum_right) == (MIB, vhd.FIXED, "win", True)
    assert footer.geometry_bytes == 4 * 2 * 8 * 512
    damaged = vhd.parse_footer(raw[:20] + b"\x01" + raw[21:])
    assert damaged is not None
    assert not damaged.checksum_right


@each_row("raw", [b"", bytes(512), b"conectix", b"x" + build.vhd_footer(MIB)])
def test_bytes_that_are_not_a_footer_are_none(raw: bytes) -> None:
    """Short data and data without the cookie are not a footer."""
    assert vhd.parse_footer(raw) is None


def test_a_written_footer_is_that_of_a_fixed_vhd() -> None:
    """The footer is valid for the reader, and has the same bytes for the same size."""
    raw = vhd.fixed_footer(5 * MIB)
    footer = vhd.parse_footer(raw)
    assert footer is not None
    assert (footer.current_bytes, footer.type, footer.checksum_right) == (5 * MIB, vhd.FIXED, True)
    assert (len(raw), raw) == (512, vhd.fixed_footer(5 * MIB))


def test_a_dynamic_disk_reads_back() -> None:
    """Blocks and holes have the bytes of the disk, and nothing is returned past the end."""
    disk = _disk()
    reader = _reader(build.vhd_dynamic(disk, block=BLOCK))
    assert reader.size == len(disk)
    assert reader.pread(0, len(disk) + 100) == disk
    assert reader.pread(BLOCK - 3, 6) == disk[BLOCK - 3 : BLOCK + 3]


def test_a_read_beyond_the_table_raises_bad() -> None:
    """A block without an entry must not read as zeros."""
    reader = _reader(build.vhd_dynamic(_disk(), block=BLOCK, size=4 * BLOCK))
    with pytest.raises(Bad):
        reader.pread(3 * BLOCK, 1)


@each_row(
    ("at", "value", "error"),
    [
        (512, b"cxsparsf", Bad),
        (512 + 32, struct.pack(">I", 3000), Bad),
        (512 + 32, struct.pack(">I", 0), Bad),
        (512 + 28, struct.pack(">I", 0xFFFFFFFF), Unsupported),
        (512 + 16, struct.pack(">Q", 1 << 60), Bad),
    ],
)
def test_an_implausible_header_is_refused(at: int, value: bytes, error: type[Exception]) -> None:
    """The cookie, the block size, and the size and offset of the table are checked."""
    image = bytearray(build.vhd_dynamic(_disk(), block=BLOCK))
    image[at : at + len(value)] = value
    with pytest.raises(error):
        _reader(bytes(image))
