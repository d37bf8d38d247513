"""Tests of reading FAT file systems."""

import struct

import pytest

from aliyun_import.disk.filesystems.fat import FatTree, FatVolume
from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.reader import Bad, BytesReader, Missing
from tests.disk import build

FILES = {
    "EFI/BOOT/BOOTX64.EFI": bytes(range(256)) * 9,
    "EFI/debian/grubx64-with-a-very-long-name.efi": b"loader",
    "EFI/debian/empty.cfg": b"",
    "README.TXT": b"x" * 513,
}
SIZES = {12: build.MIB, 16: 8 * build.MIB, 32: 36 * build.MIB}


@pytest.mark.parametrize("bits", SIZES)
def test_files_read_back_as_they_were_written(bits: int) -> None:
    """FAT12, FAT16 and FAT32 give every file, by long and short names, across clusters."""
    volume = FatVolume(BytesReader(build.fat(FILES, size=SIZES[bits])))
    for path, data in FILES.items():
        assert volume.read(path) == data
        assert volume.read(path.lower()) == data


def test_a_directory_lists_its_names() -> None:
    """Long names come whole, "." and ".." and the label don't come at all."""
    volume = FatVolume(BytesReader(build.fat(FILES)))
    assert [(entry.name, entry.is_directory) for entry in volume.entries()] == [("EFI", True), ("README.TXT", False)]
    names = [entry.name for entry in volume.entries("EFI/debian")]
    assert names == ["grubx64-with-a-very-long-name.efi", "empty.cfg"]


def test_a_read_can_be_bounded() -> None:
    """The head of a large file costs no more than the head."""
    volume = FatVolume(BytesReader(build.fat(FILES)))
    assert volume.read("EFI/BOOT/BOOTX64.EFI", length=10) == bytes(range(10))


@pytest.mark.parametrize("path", ["EFI/NONE", "EFI", "README.TXT/x", "none/x"])
def test_what_is_not_there_is_missing(path: str) -> None:
    """A wrong name, a directory read as a file and a file used as a directory are Missing."""
    volume = FatVolume(BytesReader(build.fat(FILES)))
    with pytest.raises(Missing):
        volume.read(path)


def test_a_chain_that_runs_in_a_circle_ends() -> None:
    """A FAT whose links loop gives no more than the file's size, and a directory no more than its cap."""
    raw = bytearray(build.fat({"A.BIN": b"a" * 2000}, size=8 * build.MIB))
    struct.pack_into("<H", raw, 512 + 2 * 2, 2)
    assert len(FatVolume(BytesReader(bytes(raw))).read("A.BIN")) == 2000


def test_a_chain_that_ends_early_is_bad() -> None:
    """A file that is longer than its clusters is damage, not a short file."""
    raw = bytearray(build.fat({"A.BIN": b"a" * 2000}, size=8 * build.MIB))
    struct.pack_into("<H", raw, 512 + 2 * 2, 0xFFFF)
    with pytest.raises(Bad):
        FatVolume(BytesReader(bytes(raw))).read("A.BIN")


@pytest.mark.parametrize(("at", "value"), [(11, b"\x01\x02"), (13, b"\0"), (13, b"\x03"), (16, b"\0"), (510, b"\0\0")])
def test_a_senseless_boot_sector_is_bad(at: int, value: bytes) -> None:
    """Sizes that no FAT has are refused before anything is computed from them."""
    raw = bytearray(build.fat(FILES))
    raw[at : at + len(value)] = value
    with pytest.raises(Bad):
        FatVolume(BytesReader(bytes(raw)))


def test_a_directory_without_end_is_bad() -> None:
    """A part of its names would tell a wrong tale."""
    image = bytearray(build.fat(FILES, size=SIZES[16]))
    cluster = FatVolume(BytesReader(bytes(image))).entries()[0].cluster
    struct.pack_into("<H", image, 512 + 2 * cluster, cluster)
    with pytest.raises(Bad, match="no end"):
        FatVolume(BytesReader(bytes(image))).entries("EFI")


def test_a_large_file_is_read_from_any_offset_and_found_in_any_case() -> None:
    """A unified kernel image is larger than what is read in one piece, and firmware ignores the case of names."""
    data = bytes(range(256)) * 4096
    tree = Tree(FatTree(BytesReader(build.fat({"EFI/Linux/image.efi": data}, size=4 * build.MIB))))
    file = tree.open("/efi/LINUX/IMAGE.EFI")
    assert file.size == len(data)
    assert file.pread(1_000_000, 300) == data[1_000_000:1_000_300]
    assert file.pread(len(data) - 5, 300) == data[-5:]
