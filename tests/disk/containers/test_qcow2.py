"""Tests of the QCOW2 reader."""

import struct

import pytest

from aliyun_import.disk.containers import qcow2
from aliyun_import.disk.reader import Bad, BytesReader, Unsupported
from tests.disk import build
from tests.disk.build import MIB
from tests.rows import each_row

BITS = 12
CLUSTER = 1 << BITS


def _disk() -> bytes:
    """Return a disk of compressible data and holes that ends within a cluster."""
    text = b"".join(b"%07d\n" % number for number in range(20_000))
    return text[: 20 * CLUSTER] + bytes(30 * CLUSTER) + text[: CLUSTER + 512]


def _reader(image: bytes | bytearray) -> qcow2.Qcow2Reader:
    file = BytesReader(bytes(image))
    header = qcow2.read_header(file)
    return qcow2.Qcow2Reader(file, header, qcow2.read_l1(file, header))


@each_row(("version", "compression"), [(2, ""), (2, "zlib"), (3, ""), (3, "zlib"), (3, "zstd")])
@each_row("bits", [9, BITS, 16])
def test_a_disk_reads_back(version: int, compression: str, bits: int) -> None:
    """Both versions, every compression and all cluster sizes return the bytes of the disk."""
    disk = _disk()
    reader = _reader(build.qcow2(disk, version=version, compression=compression, cluster_bits=bits))
    assert reader.size == len(disk)
    assert reader.pread(0, len(disk) + 5) == disk
    assert reader.pread(CLUSTER - 7, 3 * CLUSTER) == disk[CLUSTER - 7 : 4 * CLUSTER - 7]


def test_a_zero_cluster_with_an_offset_reads_as_zeros() -> None:
    """Bit 0 of the entry of an uncompressed cluster marks zeros."""
    image = build.qcow2(_disk(), cluster_bits=BITS)
    entry = 2 * CLUSTER
    image[entry + 7] |= 1
    assert _reader(image).pread(0, CLUSTER) == bytes(CLUSTER)


def test_bit_0_of_a_compressed_entry_is_part_of_its_offset() -> None:
    """Compressed clusters also start at odd bytes; half of them would read as zeros otherwise."""
    disk = _disk()
    image = build.qcow2(disk, cluster_bits=BITS, compression="zlib")
    entries = struct.unpack(">20Q", image[2 * CLUSTER : 2 * CLUSTER + 160])
    assert any(entry & 1 for entry in entries)
    assert _reader(image).pread(0, 20 * CLUSTER) == disk[: 20 * CLUSTER]


def test_an_internal_snapshot_changes_nothing() -> None:
    """The active disk is read, and the snapshots are only counted."""
    image = build.qcow2(_disk(), cluster_bits=BITS)
    struct.pack_into(">I", image, 60, 2)
    header = qcow2.read_header(BytesReader(bytes(image)))
    assert header.snapshots == 2
    assert _reader(image).pread(0, 100) == _disk()[:100]


def test_a_backing_file_is_named_and_never_opened() -> None:
    """The header may name any file of this machine."""
    image = build.qcow2(_disk(), cluster_bits=BITS)
    image[600:611] = b"/etc/shadow"
    struct.pack_into(">QI", image, 8, 600, 11)
    header = qcow2.read_header(BytesReader(bytes(image)))
    assert header.backing == "/etc/shadow"
    with pytest.raises(Unsupported):
        _reader(image)


def test_the_name_of_an_external_data_file_is_found() -> None:
    """The name is in a header extension after others."""
    image = build.qcow2(_disk(), cluster_bits=BITS)
    struct.pack_into(">II8s", image, 112, 0x6803F857, 5, b"names")
    struct.pack_into(">II8s", image, 128, 0x44415441, 8, b"data.raw")
    assert qcow2.read_header(BytesReader(bytes(image))).data_file == "data.raw"


@pytest.mark.parametrize("bit", [4, 1 << 40])
def test_features_that_change_the_layout_are_unsupported(bit: int) -> None:
    """External data and unknown feature bits raise Unsupported."""
    image = build.qcow2(_disk(), cluster_bits=BITS)
    struct.pack_into(">Q", image, 72, bit)
    with pytest.raises(Unsupported):
        _reader(image)


def test_extended_entries_have_a_bitmap_of_their_subclusters() -> None:
    """A cluster has 32 subclusters: allocated, zeros, or neither, which is zeros without a backing file."""
    cluster = 1 << 14
    image = bytearray(build.qcow2(b"x" * cluster, cluster_bits=14))
    struct.pack_into(">Q", image, 72, 16)
    (entry,) = struct.unpack_from(">Q", image, 2 * cluster)
    struct.pack_into(">QQ", image, 2 * cluster, entry, 0b10 << 32 | 0b111)
    size = cluster // 32
    read = _reader(image).pread(0, cluster)
    assert [read[at : at + 1] for at in range(0, 4 * size, size)] == [b"x", b"\0", b"x", b"\0"]
    assert read.count(b"x") == 2 * size


@each_row(
    ("at", "value"),
    [
        (20, struct.pack(">I", 60)),
        (20, struct.pack(">I", 8)),
        (24, struct.pack(">Q", 1 << 62)),
        (36, struct.pack(">I", 0)),
        (40, struct.pack(">Q", 1 << 62)),
        (100, struct.pack(">I", 9)),
    ],
)
def test_an_implausible_header_raises_bad(at: int, value: bytes) -> None:
    """Impossible sizes and offsets are refused before memory is allocated."""
    image = build.qcow2(_disk(), cluster_bits=BITS)
    image[at : at + len(value)] = value
    with pytest.raises(Bad):
        _reader(image)


def test_damaged_compressed_data_raises_bad() -> None:
    """Damaged data must not read as zeros."""
    image = build.qcow2(b"data" * CLUSTER, cluster_bits=BITS, compression="zlib")
    at, _ = qcow2._compressed_place(struct.unpack(">Q", image[2 * CLUSTER : 2 * CLUSTER + 8])[0], BITS)
    image[at : at + 8] = b"\xff" * 8
    with pytest.raises(Bad):
        _reader(image).pread(0, 10)


def test_a_cluster_outside_of_the_file_raises_bad() -> None:
    """The file is truncated."""
    with pytest.raises(Bad):
        _reader(build.qcow2(_disk(), cluster_bits=BITS)[: 10 * CLUSTER]).pread(0, MIB)
