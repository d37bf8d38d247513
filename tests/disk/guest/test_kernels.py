"""Tests of reading an initramfs: archives, compressions, damage, and limits."""

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
    """Compress as `lz4 -l`, with literals only."""
    return b"\x02\x21\x4c\x18" + b"".join(_block(data[at : at + 8 * MIB]) for at in range(0, len(data), 8 * MIB))


def _block(data: bytes) -> bytes:
    packed = _literals(data)
    return struct.pack("<I", len(packed)) + packed


def _literals(data: bytes) -> bytes:
    left, extra = len(data) - 15, b""
    while left >= 0:
        extra += bytes([min(left, 255)])
        left -= 255
        if extra[-1] != 255:
            break
    return bytes([min(len(data), 15) << 4]) + extra + data


def lz4_frame(data: bytes) -> bytes:
    """Compress as `lz4`, in independent blocks."""
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
    """With and without an early archive. Modules that are not in it are not found."""
    archive = cpio(["init", *module_paths(["virtio_blk", "virtio_pci"], suffix=".ko.xz")])
    packed = early + PACKERS[packer](archive)
    assert modules_in(BytesReader(packed), DRIVERS).modules == {"virtio_blk", "virtio_pci"}


def test_modules_are_found_in_every_part() -> None:
    """A plain archive, padding and two compressed parts are one initramfs."""
    parts = [cpio(["a/virtio_blk.ko"]), bytes(1024), gzip.compress(cpio(["b/virtio_pci.ko.zst"])), bytes(512)]
    parts += [gzip.compress(cpio(["c/nvme.ko"]) + cpio(["d/virtio_net.ko"]))]
    assert modules_in(BytesReader(b"".join(parts)), DRIVERS).modules == set(DRIVERS)


def test_reading_stops_when_everything_was_seen() -> None:
    """The part after the last wanted module is not unpacked."""
    whole = gzip.compress(cpio([*module_paths(DRIVERS), *(f"firmware/{number}" for number in range(3000))]))
    assert modules_in(BytesReader(whole[: len(whole) * 3 // 4]), DRIVERS).modules == set(DRIVERS)


@each_row("packer", PACKERS)
def test_an_initramfs_that_was_cut_short_is_bad(packer: str) -> None:
    """A module is reported as absent only if the initramfs was read to its end."""
    whole = PACKERS[packer](cpio(f"lib/firmware/{number:x}{number * 7919:x}" for number in range(3000)))
    with pytest.raises(Bad):
        modules_in(BytesReader(whole[: len(whole) // 2]), DRIVERS)


@each_row("packer", [name for name in PACKERS if name not in ("plain", "lz4 legacy", "lz4 frame")])
def test_a_damaged_stream_is_bad(packer: str) -> None:
    """For every exception of the library."""
    whole = bytearray(PACKERS[packer](cpio(f"lib/firmware/{number * 7919:x}" for number in range(3000))))
    middle = len(whole) // 2
    whole[middle : middle + 400] = bytes(400)
    with pytest.raises(Bad):
        modules_in(BytesReader(bytes(whole)), DRIVERS)


@pytest.mark.parametrize(
    "data", [b"\x89LZO\x00\r\n\x1a\n" + bytes(100), b"MZ" + bytes(100)], ids=["lzo", "no archive at all"]
)
def test_what_is_not_known_is_unsupported(data: bytes) -> None:
    """An unknown compression is not damage."""
    with pytest.raises(Unsupported):
        modules_in(BytesReader(data), DRIVERS)


@each_row(
    "archive",
    [
        pytest.param(cpio(["init"])[:50] + b"zzzzzzzz" + cpio(["init"])[58:], id="a size that is no number"),
        pytest.param(cpio(["init"])[:54] + b"-0000070" + cpio(["init"])[62:], id="a negative size"),
        pytest.param(cpio(["init"])[:94] + b"00010000" + cpio(["init"])[102:], id="a name of 64 KiB"),
        pytest.param(cpio(["init"])[:54] + b"ffffffff" + cpio(["init"])[62:], id="a file of 4 GiB"),
    ],
)
def test_damaged_archives_are_bad(archive: bytes) -> None:
    """Impossible numbers of an archive are refused."""
    with pytest.raises(Bad):
        modules_in(BytesReader(archive), DRIVERS)


@pytest.mark.parametrize("packer", ["gzip", "zstd", "xz"])
def test_a_bomb_is_bounded_in_size_and_memory(packer: str) -> None:
    """Unpacking stops at the limit, with some MiB of memory."""
    bomb = PACKERS[packer](bytes(20 * MIB))
    assert len(bomb) < MIB
    tracemalloc.start()
    with pytest.raises(Bad, match="more than 16 MiB"):
        for _chunk in Unpacker(BytesReader(bomb), 0, limit_bytes=16 * MIB):
            pass
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 * MIB


def test_the_limit_is_for_all_parts_together() -> None:
    """Otherwise 64 parts could unpack to 48 GiB."""
    part = gzip.compress(cpio(["init"]) + bytes(MIB))
    assert modules_in(BytesReader(part * 2), DRIVERS, limit_bytes=3 * MIB).modules == frozenset()
    with pytest.raises(Bad, match="more than"):
        modules_in(BytesReader(part * 3), DRIVERS, limit_bytes=3 * MIB)


def test_a_stream_of_empty_blocks_ends() -> None:
    """Four bytes of an LZ4 frame may be an empty block: a million of them take a fraction of a second."""
    empty = lz4_frame(b"")
    began = time.process_time()
    assert b"".join(Unpacker(BytesReader(empty[:-4] + struct.pack("<I", 1 << 31) * 1_000_000 + bytes(4)), 0)) == b""
    assert time.process_time() - began < 3


def test_small_members_in_a_large_chunk_take_no_longer_than_others() -> None:
    """20,000 names in one LZ4 block take a tenth of a second, in linear time."""
    archive = lz4_legacy(cpio(f"lib/firmware/{number}" for number in range(20_000)))
    began = time.process_time()
    assert modules_in(BytesReader(archive), DRIVERS).modules == frozenset()
    assert time.process_time() - began < 3


@each_row("packer", ["lz4 legacy", "lz4 frame"])
@each_row("following", ["plain", "zstd", "xz", "lz4 legacy", "lz4 frame"])
def test_what_follows_an_lz4_stream_is_read(packer: str, following: str) -> None:
    """Another archive, plain or compressed. Other data is not skipped."""
    first, second = PACKERS[packer](cpio(["a/virtio_blk.ko"])), PACKERS[following](cpio(["b/nvme.ko"]))
    assert modules_in(BytesReader(first + second), DRIVERS).modules == {"virtio_blk", "nvme"}
    with pytest.raises(Unsupported):
        modules_in(BytesReader(first + b"\xff" * 100), DRIVERS)


@each_row("pack", [bytes, gzip.compress])
def test_padding_without_end_is_no_end(pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules are not reported as absent, with or without compression."""
    monkeypatch.setattr("aliyun_import.disk.guest.initramfs._MAX_PADDING_BYTES", MIB)
    with pytest.raises(Bad, match="padding"):
        modules_in(BytesReader(pack(cpio(["init"]) + bytes(2 * MIB) + cpio(["nvme.ko"]))), DRIVERS)


@each_row(("zeros", "is_good"), [(0, True), (4, True), (MIB, True), (1, False), (4099, False)])
def test_padding_in_a_compressed_part_is_of_whole_words(zeros: int, is_good: bool) -> None:
    """As the kernel has it; it takes no time, however much there is."""
    archive = gzip.compress(cpio(["init"]) + bytes(zeros) + cpio(["nvme.ko"]))
    if is_good:
        assert modules_in(BytesReader(archive), ["nvme"]).modules == {"nvme"}
    else:
        with pytest.raises(Bad):
            modules_in(BytesReader(archive), ["nvme"])


def test_names_without_end_are_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    """An initramfs has some thousands of members. The limit is 300,000."""
    monkeypatch.setattr("aliyun_import.disk.guest.initramfs._MAX_MEMBERS", 100)
    with pytest.raises(Bad, match="more than 100 members"):
        modules_in(BytesReader(cpio(str(number) for number in range(102))), DRIVERS)


def test_the_limit_is_what_the_page_says() -> None:
    """docs/disks.md has 768 MiB."""
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
def test_a_module_is_told_by_its_path(path: str, name: str | None) -> None:
    """Dashes and underscores are the same, and the compression of the module does not matter."""
    assert module_name(path) == name


@pytest.mark.parametrize("linked", [True, False])
def test_lz4_blocks_may_refer_to_those_before(linked: bool) -> None:
    """A frame of many blocks by the tool lz4 is unpacked, with linked and with independent blocks."""
    data = b"".join(b"%d and again " % (number % 500) for number in range(30_000))
    frame = lz4.frame.compress(data, block_linked=linked, block_size=lz4.frame.BLOCKSIZE_MAX64KB)
    assert b"".join(Unpacker(BytesReader(frame), 0)) == data


@each_row("block", [b"\x10a\x05\x00", b"\xf0", b"\x10a\x00\x00\x10b", b"\x50ab", b"\x1fa\x01\x00\xff\xff\xff\x00"])
def test_a_damaged_lz4_block_is_bad(block: bytes) -> None:
    """Matches before the beginning, lengths after the end, more than the limit."""
    with pytest.raises(Bad):
        unpack_lz4_block(block, limit=100)


def test_a_damaged_lz4_frame_is_bad() -> None:
    """In its header, in a block, and truncated."""
    frame = lz4_frame(random.Random(1).randbytes(200_000))
    for damaged in (frame[:5] + b"\xff" + frame[6:], frame[:20] + b"\xff" * 4 + frame[24:-4], frame[:-1000]):
        with pytest.raises(Bad):
            list(Unpacker(BytesReader(damaged), 0))


def test_the_first_bytes_tell_the_compression() -> None:
    """The names are the usual ones."""
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


def test_the_helper_makes_what_it_promises() -> None:
    """The initramfs of the small guests begins with microcode."""
    made = initramfs(DRIVERS, version="6.1")
    assert made.startswith(b"070701")
    assert modules_in(BytesReader(made), DRIVERS).modules == set(DRIVERS)
