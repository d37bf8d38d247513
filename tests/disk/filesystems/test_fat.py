"""Tests of the FAT reader."""

import struct

import pytest

from aliyun_import.disk.filesystems.fat import Fat
from aliyun_import.disk.filesystems.interface import Kind
from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.reader import Bad, BytesReader, Missing
from tests.disk import build
from tests.rows import each_row

FILES = {
    "EFI/BOOT/BOOTX64.EFI": bytes(range(256)) * 9,
    "EFI/debian/grubx64-with-a-very-long-name.efi": b"loader",
    "EFI/debian/empty.cfg": b"",
    "README.TXT": b"x" * 513,
}
SIZES = {12: build.MIB, 16: 8 * build.MIB, 32: 36 * build.MIB}


def _tree(image: bytes | bytearray) -> Tree:
    return Tree(Fat(BytesReader(bytes(image))))


def _read(image: bytes | bytearray, path: str) -> bytes:
    return _tree(image).read(path)


@pytest.mark.parametrize("bits", SIZES)
def test_files_read_back_as_they_were_written(bits: int) -> None:
    """FAT12, FAT16 and FAT32 return every file, by long and short names, across clusters."""
    image = build.fat(FILES, size=SIZES[bits])
    for path, data in FILES.items():
        assert _read(image, path) == data
        assert _read(image, path.lower()) == data


def test_a_directory_lists_its_names() -> None:
    """Long names are complete, in the order on disk; ".", ".." and the label are not listed."""
    files = Fat(BytesReader(build.fat(FILES)))
    assert [(name, files.node(number).kind) for name, number in files.entries(0)] == [
        ("EFI", Kind.DIRECTORY),
        ("README.TXT", Kind.FILE),
    ]
    names = [name for name, _number in files.entries(Tree(files).node("EFI/debian").number)]
    assert names == ["grubx64-with-a-very-long-name.efi", "empty.cfg"]


def test_a_read_follows_no_more_of_the_chain_than_it_needs() -> None:
    """The beginning of a file can be read even if its chain is damaged after it."""
    raw = bytearray(build.fat({"A.BIN": bytes(range(256)) * 512}, size=8 * build.MIB))
    fat_at = 512 + 2 * 2
    for cluster in range(40):
        if cluster > 35:
            struct.pack_into("<H", raw, fat_at + 2 * cluster, 0xFFFF)
    assert _tree(raw).open("A.BIN").pread(0, 10) == bytes(range(10))
    with pytest.raises(Bad):
        _read(raw, "A.BIN")


@each_row("path", ["EFI/NONE", "EFI", "README.TXT/x", "none/x"])
def test_paths_that_do_not_exist_raise_missing(path: str) -> None:
    """A wrong name, a directory read as a file and a file used as a directory raise Missing."""
    with pytest.raises(Missing):
        _read(build.fat(FILES), path)


def test_a_loop_in_a_chain_ends() -> None:
    """A chain with a loop returns no more than the size of the file."""
    raw = bytearray(build.fat({"A.BIN": b"a" * 2000}, size=8 * build.MIB))
    struct.pack_into("<H", raw, 512 + 2 * 2, 2)
    assert len(_read(raw, "A.BIN")) == 2000


def test_a_chain_that_ends_early_raises_bad() -> None:
    """A file that is larger than its clusters is damage and not a short file."""
    raw = bytearray(build.fat({"A.BIN": b"a" * 2000}, size=8 * build.MIB))
    struct.pack_into("<H", raw, 512 + 2 * 2, 0xFFFF)
    with pytest.raises(Bad):
        _read(raw, "A.BIN")


@each_row(("at", "value"), [(11, b"\x01\x02"), (13, b"\0"), (13, b"\x03"), (16, b"\0"), (510, b"\0\0")])
def test_an_implausible_boot_sector_raises_bad(at: int, value: bytes) -> None:
    """Impossible sizes are refused before anything is computed from them."""
    raw = bytearray(build.fat(FILES))
    raw[at : at + len(value)] = value
    with pytest.raises(Bad):
        Fat(BytesReader(bytes(raw)))


def test_a_directory_without_end_raises_bad() -> None:
    """An incomplete list of names would be wrong."""
    image = bytearray(build.fat(FILES, size=SIZES[16]))
    files = Fat(BytesReader(bytes(image)))
    (number,) = (number for name, number in files.entries(0) if name == "EFI")
    cluster = files._nodes[number].cluster
    struct.pack_into("<H", image, 512 + 2 * cluster, cluster)
    with pytest.raises(Bad, match="no end"):
        _tree(image).names("EFI")


def test_a_large_file_is_read_from_any_offset_and_found_in_any_case() -> None:
    """A unified kernel image is larger than one read, and firmware ignores the case of names."""
    data = bytes(range(256)) * 4096
    tree = Tree(Fat(BytesReader(build.fat({"EFI/Linux/image.efi": data}, size=4 * build.MIB))))
    file = tree.open("/efi/LINUX/IMAGE.EFI")
    assert file.size == len(data)
    assert file.pread(1_000_000, 300) == data[1_000_000:1_000_300]
    assert file.pread(len(data) - 5, 300) == data[-5:]
