"""Tests of the reader of linear LVM: the metadata text, and volumes of several segments."""

import tracemalloc

import pytest

from aliyun_import.disk.partitions.lvm import LogicalVolume, parse_metadata, read_volume_group
from aliyun_import.disk.reader import Bad, BytesReader, Missing, Unsupported
from tests.disk.fixtures import image
from tests.rows import each_row

MIB = 1 << 20


def physical_volume(size_mib: int = 64) -> bytearray:
    """Return the physical volume of fixtures/, with each extent of 1 MiB filled with its number."""
    raw = bytearray(image("lvm-head"))
    for extent in range(size_mib - 1):
        raw += bytes([extent]) * MIB
    return raw


def root_of(raw: bytes | bytearray) -> LogicalVolume:
    """Return the logical volume root."""
    return next(volume for volume in read_volume_group(BytesReader(bytes(raw))).volumes if volume.name == "root")


def test_the_volumes_of_a_group_are_listed() -> None:
    """Names and sizes are those that lvcreate made."""
    group = read_volume_group(BytesReader(image("lvm-head")))
    assert group.name == "rl"
    assert {volume.name: volume.size_bytes // MIB for volume in group.volumes} == {"swap": 4, "root": 16, "home": 3}


def test_a_volume_of_two_segments_reads_as_one() -> None:
    """The volume root has the extents 4-9 and, after home, 13-22."""
    raw = physical_volume()
    reader = root_of(raw).open(BytesReader(bytes(raw)))
    assert reader.size == 16 * MIB
    assert [reader.pread(extent * MIB, 1)[0] for extent in range(16)] == [*range(4, 10), *range(13, 23)]
    assert reader.pread(6 * MIB - 2, 4) == bytes([9, 9, 13, 13])
    assert reader.pread(16 * MIB - 1, 10) == bytes([22])
    assert reader.pread(17 * MIB, 10) == b""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'type = "striped"', b'type = "thin"   ', "thin"),
        (b"stripe_count = 1", b"stripe_count = 2", "striped"),
        (b'"pv0", 13', b'"pv1", 13', "another physical volume"),
    ],
)
def test_volumes_that_are_not_linear_are_refused(old: bytes, new: bytes, message: str) -> None:
    """The error has the reason, and the other volumes of the group are not affected."""
    raw = physical_volume(2)
    at = raw.rindex(b"root {")
    raw[at:] = raw[at:].replace(old, new)
    with pytest.raises(Unsupported, match=message):
        root_of(raw).open(BytesReader(bytes(raw)))


def test_the_text_format_is_parsed() -> None:
    """Sections, numbers, strings, lists and comments are parsed."""
    text = 'vg { # a comment\n id = "a-b" n = -3 f = 1.5 l = ["x", 4] empty = [] sub { a = 1 } }\nversion = 1'
    assert parse_metadata(text) == {
        "vg": {"id": "a-b", "n": -3, "f": 1.5, "l": ["x", 4], "empty": [], "sub": {"a": 1}},
        "version": 1,
    }


@each_row("text", ["a {", "}", "a = ", "a [", "a = [1, 2", "a b", 'a = "open', "a = ?", "a { " * 20, "a = word"])
def test_a_damaged_text_raises_bad(text: str) -> None:
    """Every syntax error raises Bad."""
    with pytest.raises(Bad):
        parse_metadata(text)


def test_a_disk_without_a_physical_volume_raises_missing() -> None:
    """The first four sectors have no label."""
    with pytest.raises(Missing):
        read_volume_group(BytesReader(bytes(MIB)))


@pytest.mark.parametrize("piece", ["x", "\\\\", "\\x"])
def test_a_long_string_needs_memory_proportional_to_its_size(piece: str) -> None:
    """The metadata may be one string of 4 MiB."""
    text = f'a = "{piece * (MIB // len(piece))}"'
    tracemalloc.start()
    parsed = parse_metadata(text)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert parsed == {"a": text[5:-1]}
    assert peak < 8 * MIB
