"""Tests that adversarial disks are inspected within 256 MiB and some seconds."""

import array
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from aliyun_import.disk.inspect import inspect_disk
from aliyun_import.disk.isolated import Limits
from tests.disk import build
from tests.disk.build import MIB, Part
from tests.disk.fixtures import image

# The interpreter maps some 60 MiB.
LIMITS = Limits(memory_bytes=(256 + 96) * MIB, cpu_s=20)
MANY = 4 << 20


def _vhd_of_many_blocks(path: Path) -> None:
    """Write a VHD whose table has four million distinct blocks."""
    header = bytearray(1024)
    struct.pack_into(">8sQQIII", header, 0, b"cxsparse", (1 << 64) - 1, 1536, 0x10000, MANY, 512 << 10)
    struct.pack_into(">I", header, 36, ~sum(header) & 0xFFFFFFFF)
    footer = build.vhd_footer(MANY * (512 << 10), kind=3)
    table = array.array("I", range(40_000, 40_000 + MANY * 1000, 1000))
    table.byteswap()
    with path.open("wb") as file:
        file.write(footer + header + table.tobytes())
        file.seek((40_000 + MANY * 1000) * 512)
        file.write(footer)


def _qcow2_of_many_tables(path: Path) -> None:
    """Write a QCOW2 with four million L2 tables and clusters of 512 bytes."""
    _qcow2(path, bits=9, tables=range(64 * MIB, 64 * MIB + MANY * 512, 512), size=(64 * MIB) + (MANY + 1) * 512)


def _qcow2_of_many_clusters(path: Path) -> None:
    """Write a QCOW2 with eight million clusters of 2 MiB."""
    offsets = [(number + 2) << 21 for number in range(32)]
    _qcow2(path, bits=21, tables=offsets, size=1 << 43)
    with path.open("r+b") as file:
        for number, offset in enumerate(offsets):
            clusters = array.array("Q", (((number << 18) + index) % (1 << 21) << 21 for index in range(1 << 18)))
            clusters.byteswap()
            file.seek(offset)
            file.write(clusters.tobytes())


def _qcow2(path: Path, *, bits: int, tables: "range | list[int]", size: int) -> None:
    header = bytearray(104)
    virtual = len(tables) << (2 * bits - 3)
    struct.pack_into(">4sIQIIQIIQ", header, 0, b"QFI\xfb", 3, 0, 0, bits, virtual, 0, len(tables), 2 * MIB)
    struct.pack_into(">I", header, 100, 104)
    l1 = array.array("Q", tables)
    l1.byteswap()
    with path.open("wb") as file:
        file.write(header)
        file.seek(2 * MIB)
        file.write(l1.tobytes())
        file.truncate(size)


def _gpt_of_many_entries(path: Path) -> None:
    """Write a GPT whose headers, with valid checksums, have 2^32 entries."""
    disk = build.uefi_disk()
    for at in (512, len(disk) - 512):
        struct.pack_into("<I", disk, at + 80, 0xFFFFFFFF)
        disk[at + 16 : at + 20] = bytes(4)
        struct.pack_into("<I", disk, at + 16, zlib.crc32(disk[at : at + 92]))
    path.write_bytes(disk)


def _lvm_of_2_gib(path: Path) -> None:
    """Write a physical volume whose metadata text has 2 GiB."""
    volume = bytearray(image("lvm-head"))
    (at,) = (start for start in range(0, len(volume), 512) if volume[start + 4 : start + 20] == b" LVM2 x[5A%r0N*>")
    struct.pack_into("<Q", volume, at + 32, 4 << 30)
    struct.pack_into("<Q", volume, at + 48, 2 << 30)
    path.write_bytes(build.write_at(build.mbr(64 * MIB, [Part(2048, 126_976, 0x8E)]), MIB, bytes(volume)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [_vhd_of_many_blocks, _qcow2_of_many_tables, _qcow2_of_many_clusters, _gpt_of_many_entries, _lvm_of_2_gib],
)
def test_an_adversarial_disk_is_inspected_to_the_end(make: Callable[[Path], None], tmp_path: Path) -> None:
    """The child returns a report and does not exceed its limits."""
    path = tmp_path / "disk.img"
    make(path)
    report = inspect_disk(path, limits=LIMITS)
    assert not any("ended early" in unknown for unknown in report.unknowns), report.unknowns
    path.unlink()
