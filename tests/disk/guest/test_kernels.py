"""Tests of the search for modules in an initramfs: archives, compressions, damage and decompression bombs."""

import bz2
import gzip
import importlib
import lzma
import random
import struct
import sys
import time
import tracemalloc
from collections.abc import Callable

import lz4.frame
import pytest

from aliyun_import.disk.decompress import MAX_UNPACKED_BYTES, Unpacker, codec_at, unpack_lz4_block
from aliyun_import.disk.guest.initramfs import module_name, modules_in
from aliyun_import.disk.reader import Bad, BytesReader, Unsupported
from tests.disk.trees import DRIVERS, cpio, initramfs, module_paths
from tests.rows import each_row

MIB = 1 << 20
ZSTD = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


def lz4_legacy(data: bytes) -> bytes:
    """Return the legacy format of `lz4 -l`, with literals only."""
    return b"\x02\x21\x4c\x18" + b"".join(_block(data[at : at + 8 * MIB]) for at in range(0, len(data), 8 * MIB))


def _block(data: bytes) -> bytes:
    packed = _literals(data)
    return struct.pack("<I", len(packed)) + packed


def _literals(data: bytes) -> bytes:
    remaining, extra = len(data) - 15, b""
    while remaining >= 0:
        extra += bytes([min(remaining, 255)])
        remaining -= 255
        if extra[-1] != 255:
            break
    return bytes([min(len(data), 15) << 4]) + extra + data


def lz4_frame(data: bytes) -> bytes:
    """Return an LZ4 frame of independent blocks."""
    return bytes(lz4.frame.compress(data, block_linked=False, block_size=lz4.frame.BLOCKSIZE_MAX64KB))


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "xz": lambda data: lzma.compress(data, check=lzma.CHECK_CRC32, preset=0),
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE, preset=0),
    "bzip2": bz2.compress,
    "zstd": ZSTD.compress,
    "lz4 legacy": lz4_legacy,
    "lz4 frame": lz4_frame,
}


@each_row("packer", PACKERS)
@each_row("early", [b"", cpio(["kernel/x86/microcode/GenuineIntel.bin"])], ids=["alone", "microcode"])
def test_modules_are_found_in_every_compression(packer: str, early: bytes) -> None:
    """Modules are found with and without an early archive, and no others."""
    archive = cpio(["init", *module_paths(["virtio_blk", "virtio_pci"], suffix=".ko.xz")])
    packed = early + PACKERS[packer](archive)
    assert modules_in(BytesReader(packed), DRIVERS).modules == {"virtio_blk", "virtio_pci"}


def test_modules_are_found_in_all_concatenated_archives() -> None:
    """An uncompressed archive, padding and two compressed archives are one initramfs."""
    parts = [cpio(["a/virtio_blk.ko"]), bytes(1024), gzip.compress(cpio(["b/virtio_pci.ko.zst"])), bytes(512)]
    parts += [gzip.compress(cpio(["c/nvme.ko"]) + cpio(["d/virtio_net.ko"]))]
    assert modules_in(BytesReader(b"".join(parts)), DRIVERS).modules == set(DRIVERS)


def test_reading_stops_after_the_last_module() -> None:
    """Data after the last wanted module is not unpacked."""
    whole = gzip.compress(cpio([*module_paths(DRIVERS), *(f"firmware/{number}" for number in range(3000))]))
    assert modules_in(BytesReader(whole[: len(whole) * 3 // 4]), DRIVERS).modules == set(DRIVERS)


@each_row("packer", PACKERS)
def test_a_truncated_initramfs_raises_bad(packer: str) -> None:
    """A module is absent only if the archive was read to its end."""
    whole = PACKERS[packer](cpio(f"lib/firmware/{number:x}{number * 7919:x}" for number in range(3000)))
    with pytest.raises(Bad):
        modules_in(BytesReader(whole[: len(whole) // 2]), DRIVERS)


@each_row("packer", [name for name in PACKERS if name not in ("plain", "lz4 legacy", "lz4 frame")])
def test_a_damaged_stream_raises_bad(packer: str) -> None:
    """The errors of all compression libraries are converted."""
    whole = bytearray(PACKERS[packer](cpio(f"lib/firmware/{number * 7919:x}" for number in range(3000))))
    middle = len(whole) // 2
    whole[middle : middle + 400] = bytes(400)
    with pytest.raises(Bad):
        modules_in(BytesReader(bytes(whole)), DRIVERS)


@pytest.mark.parametrize(
    "data", [b"\x89LZO\x00\r\n\x1a\n" + bytes(100), b"MZ" + bytes(100)], ids=["lzo", "not an archive"]
)
def test_unknown_data_is_unsupported(data: bytes) -> None:
    """An unsupported compression is not reported as damage."""
    with pytest.raises(Unsupported):
        modules_in(BytesReader(data), DRIVERS)


@each_row(
    "archive",
    [
        pytest.param(cpio(["init"])[:50] + b"zzzzzzzz" + cpio(["init"])[58:], id="a size that is not a number"),
        pytest.param(cpio(["init"])[:54] + b"-0000070" + cpio(["init"])[62:], id="a negative size"),
        pytest.param(cpio(["init"])[:94] + b"00010000" + cpio(["init"])[102:], id="a name of 64 KiB"),
        pytest.param(cpio(["init"])[:54] + b"ffffffff" + cpio(["init"])[62:], id="a file of 4 GiB"),
    ],
)
def test_damaged_archives_raise_bad(archive: bytes) -> None:
    """Impossible numbers in an archive are refused."""
    with pytest.raises(Bad):
        modules_in(BytesReader(archive), DRIVERS)


@pytest.mark.parametrize("packer", ["gzip", "zstd", "xz"])
def test_a_decompression_bomb_is_bounded_in_size_and_memory(packer: str) -> None:
    """Unpacking stops at the limit, and needs only some MiB of memory."""
    packed = PACKERS[packer](bytes(20 * MIB))
    assert len(packed) < MIB
    tracemalloc.start()
    with pytest.raises(Bad, match="more than 16 MiB"):
        for _chunk in Unpacker(BytesReader(packed), 0, limit_bytes=16 * MIB):
            pass
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 * MIB


def test_the_limit_applies_to_all_archives_together() -> None:
    """A limit for each would allow 64 bombs with 48 GiB together."""
    part = gzip.compress(cpio(["init"]) + bytes(MIB))
    assert modules_in(BytesReader(part * 2), DRIVERS, limit_bytes=3 * MIB).modules == frozenset()
    with pytest.raises(Bad, match="more than"):
        modules_in(BytesReader(part * 3), DRIVERS, limit_bytes=3 * MIB)


def test_a_stream_of_empty_blocks_is_read_in_linear_time() -> None:
    """Four bytes of an LZ4 frame may be an empty block; a million of them take a fraction of a second."""
    empty = lz4_frame(b"")
    started = time.process_time()
    assert b"".join(Unpacker(BytesReader(empty[:-4] + struct.pack("<I", 1 << 31) * 1_000_000 + bytes(4)), 0)) == b""
    assert time.process_time() - started < 3


def test_many_small_members_in_one_block_are_read_in_linear_time() -> None:
    """20,000 names in one LZ4 block take a tenth of a second; quadratic time would exceed the limit."""
    archive = lz4_legacy(cpio(f"lib/firmware/{number}" for number in range(20_000)))
    started = time.process_time()
    assert modules_in(BytesReader(archive), DRIVERS).modules == frozenset()
    assert time.process_time() - started < 3


@each_row("packer", ["lz4 legacy", "lz4 frame"])
@each_row("following", ["plain", "zstd", "xz", "lz4 legacy", "lz4 frame"])
def test_data_after_an_lz4_stream_is_read(packer: str, following: str) -> None:
    """Another archive is read, compressed or not; other data is not skipped."""
    first, second = PACKERS[packer](cpio(["a/virtio_blk.ko"])), PACKERS[following](cpio(["b/nvme.ko"]))
    assert modules_in(BytesReader(first + second), DRIVERS).modules == {"virtio_blk", "nvme"}
    with pytest.raises(Unsupported):
        modules_in(BytesReader(first + b"\xff" * 100), DRIVERS)


@each_row("pack", [bytes, gzip.compress])
def test_the_length_of_padding_is_limited(pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """A module may follow the padding, so it is not reported as absent."""
    monkeypatch.setattr("aliyun_import.disk.guest.initramfs._MAX_PADDING_BYTES", MIB)
    with pytest.raises(Bad, match="padding"):
        modules_in(BytesReader(pack(cpio(["init"]) + bytes(2 * MIB) + cpio(["nvme.ko"]))), DRIVERS)


@each_row(("zeros", "is_good"), [(0, True), (4, True), (MIB, True), (1, False), (4099, False)])
def test_padding_in_a_compressed_archive_is_a_multiple_of_four_bytes(zeros: int, is_good: bool) -> None:
    """The kernel requires it; any amount up to the limit is valid."""
    archive = gzip.compress(cpio(["init"]) + bytes(zeros) + cpio(["nvme.ko"]))
    if is_good:
        assert modules_in(BytesReader(archive), ["nvme"]).modules == {"nvme"}
    else:
        with pytest.raises(Bad):
            modules_in(BytesReader(archive), ["nvme"])


def test_the_number_of_members_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """An initramfs has some thousands of members; the limit is 300,000."""
    monkeypatch.setattr("aliyun_import.disk.guest.initramfs._MAX_MEMBERS", 100)
    with pytest.raises(Bad, match="more than 100 members"):
        modules_in(BytesReader(cpio(str(number) for number in range(102))), DRIVERS)


def test_the_limit_is_the_documented_one() -> None:
    """The page docs/disks.md has 768 MiB."""
    assert MAX_UNPACKED_BYTES == 768 * MIB


@each_row(
    ("path", "name"),
    [
        ("usr/lib/modules/6.1/kernel/drivers/block/virtio_blk.ko", "virtio_blk"),
        ("lib/virtio-pci.ko.zst", "virtio_pci"),
        ("virtio_net.ko.xz", "virtio_net"),
        ("usr/bin/nvme", None),
        ("nvme.conf", None),
    ],
)
def test_a_module_is_identified_by_its_path(path: str, name: str | None) -> None:
    """Dashes and underscores are equal, and the compression suffix of the module is ignored."""
    assert module_name(path) == name


@pytest.mark.parametrize("linked", [True, False])
def test_linked_and_independent_lz4_blocks_are_unpacked(linked: bool) -> None:
    """A frame of many blocks has the original data, whether blocks refer to earlier ones or not."""
    data = b"".join(b"%d and again " % (number % 500) for number in range(30_000))
    frame = lz4.frame.compress(data, block_linked=linked, block_size=lz4.frame.BLOCKSIZE_MAX64KB)
    assert b"".join(Unpacker(BytesReader(frame), 0)) == data


@each_row("block", [b"\x10a\x05\x00", b"\xf0", b"\x10a\x00\x00\x10b", b"\x50ab", b"\x1fa\x01\x00\xff\xff\xff\x00"])
def test_a_damaged_lz4_block_raises_bad(block: bytes) -> None:
    """Matches before the beginning, lengths past the end, and output over the limit are refused."""
    with pytest.raises(Bad):
        unpack_lz4_block(block, limit=100)


def test_a_damaged_lz4_frame_raises_bad() -> None:
    """Damage in the header, damage in a block, and truncation are found."""
    frame = lz4_frame(random.Random(1).randbytes(200_000))
    for damaged in (frame[:5] + b"\xff" + frame[6:], frame[:20] + b"\xff" * 4 + frame[24:-4], frame[:-1000]):
        with pytest.raises(Bad):
            list(Unpacker(BytesReader(damaged), 0))


def test_the_compression_is_detected_by_the_first_bytes() -> None:
    """The names are those of the command-line tools."""
    assert {name: codec_at(pack(b"x" * 100)[:6]) for name, pack in PACKERS.items()} == {
        "plain": None,
        "gzip": "gzip",
        "xz": "xz",
        "lzma": "lzma",
        "bzip2": "bzip2",
        "zstd": "zstd",
        "lz4 legacy": "lz4",
        "lz4 frame": "lz4",
    }


def test_the_builder_of_initramfs_archives_is_correct() -> None:
    """The initramfs of the test guests has microcode first and the modules after it."""
    archive = initramfs(DRIVERS, version="6.1")
    assert archive.startswith(b"070701")
    assert modules_in(BytesReader(archive), DRIVERS).modules == set(DRIVERS)
