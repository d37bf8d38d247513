"""Tests of disks that are compressed in blocks: random access, checks, and upload without a temporary file."""

import bz2
import dataclasses
import gzip
import lzma
import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from aliyun_import.disk.containers.blocks import MAX_BLOCK_BYTES, Block, BlockReader, unpack_xz, xz_blocks
from aliyun_import.disk.containers.compressed import open_blocks
from aliyun_import.disk.containers.registry import format_named
from aliyun_import.disk.convert import needs_preparing
from aliyun_import.disk.disk import open_disk
from aliyun_import.disk.inspect import inspect_disk
from aliyun_import.disk.reader import Bad, BytesReader, Reader, Unsupported
from aliyun_import.errors import DiskError
from aliyun_import.model.finding import Severity
from aliyun_import.push.inspect_stage import summary
from tests.disk import build
from tests.disk.build import MIB
from tests.rows import each_row

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DISK = bytes(build.write_at(build.bios_disk(), 2 * MIB, b"".join(b"%09d\n" % number for number in range(50_000))))
BLOCK = 300_000
PACKINGS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "blocks": ("xz", lambda: build.xz(DISK, block=BLOCK)),
    "CRC32": ("xz", lambda: build.xz(DISK, block=BLOCK, check=lzma.CHECK_CRC32)),
    "SHA-256": ("xz", lambda: build.xz(DISK, block=BLOCK, check=lzma.CHECK_SHA256)),
    "one block": ("xz", lambda: lzma.compress(DISK, preset=0)),
    "streams": (
        "xz",
        lambda: lzma.compress(DISK[:BLOCK], preset=0) + bytes(8) + build.xz(DISK[BLOCK:], block=BLOCK) + bytes(4),
    ),
    "BCJ": (
        "xz",
        lambda: lzma.compress(DISK, filters=[{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 1}]),
    ),
    "frames": ("zstd", lambda: build.zstd_frames(DISK, frame=BLOCK)),
    "one frame": ("zstd", lambda: zstd.compress(DISK)),
    "seek table": ("zstd", lambda: build.zstd_frames(DISK, frame=BLOCK, table=True)),
    "skippable": ("zstd", lambda: b"\x50\x2a\x4d\x18\x03\0\0\0abc" + build.zstd_frames(DISK, frame=BLOCK) + bytes(3)),
}


@cache
def packed_as(packing: str) -> bytes:
    """Return the compressed disk, cached for all tests."""
    return PACKINGS[packing][1]()


@each_row("packing", PACKINGS)
def test_any_range_of_a_compressed_disk_can_be_read(packing: str) -> None:
    """Ranges at the beginning, across blocks and past the end have the bytes of the disk."""
    container, packed = PACKINGS[packing][0], packed_as(packing)
    disk = open_blocks(BytesReader(packed), format_named(container))
    assert disk.size == len(DISK)
    for offset, length in ((0, len(DISK)), (BLOCK - 1, 2), (BLOCK, BLOCK), (len(DISK) - 5, 100), (len(DISK), 1)):
        assert disk.pread(offset, length) == DISK[offset : offset + length]


@pytest.mark.parametrize("packing", ["blocks", "frames", "seek table"])
def test_the_report_of_a_compressed_disk_is_that_of_the_raw_disk(tmp_path: Path, packing: str) -> None:
    """Only the container differs, and one note has that it is compressed and needs no temporary file."""
    raw, packed = tmp_path / "disk.raw", tmp_path / "disk.raw.packed"
    raw.write_bytes(DISK)
    packed.write_bytes(packed_as(packing))
    report, expected = inspect_disk(packed), inspect_disk(raw)
    (note,) = report.container_problems
    assert (note.code, note.severity, needs_preparing(report)) == ("container-compressed", Severity.NOTE, False)
    assert summary(report).startswith(f"{report.container}, unpacked as it is sent, ")
    own = ("path", "container", "file_bytes", "container_problems")
    assert dataclasses.replace(report, **{name: getattr(expected, name) for name in own}) == expected


@each_row(
    ("make", "why"),
    [
        (lambda: gzip.compress(DISK), "from its beginning"),
        (lambda: bz2.compress(DISK), "from its beginning"),
        (lambda: lzma.compress(bytes(MAX_BLOCK_BYTES + 1), preset=0), "it has a block of 64"),
        (lambda: zstd.compress(bytes(MAX_BLOCK_BYTES + 1)), "it has a block of 64"),
        (lambda: build.xz(build.qcow2(DISK), block=BLOCK), "it contains qcow2"),
        (lambda: build.xz(build.vhd_fixed(DISK), block=BLOCK), "it contains vhd-fixed"),
    ],
    ids=["gzip", "bzip2", "large block", "large frame", "QCOW2", "VHD"],
)
def test_the_problem_of_a_file_that_needs_a_temporary_file_has_the_reason(
    tmp_path: Path, make: Callable[[], bytes], why: str
) -> None:
    """The remedy has the command that compresses the disk so that none is needed."""
    path = tmp_path / "disk"
    path.write_bytes(make())
    report = inspect_disk(path)
    problem = next(problem for problem in report.container_problems if problem.code == "container-compressed")
    assert needs_preparing(report)
    assert why in problem.message
    assert summary(report).startswith(f"{report.container}, unpacked to a temporary file")
    if why.startswith("it contains"):
        assert problem.remedy is None
    else:
        assert "-dc disk | xz -T0 --block-size=16MiB > disk.blocks.xz" in (problem.remedy or "")


def test_frames_without_their_size_need_a_temporary_file() -> None:
    """A zstd that reads from a pipe writes such frames."""
    stream = zstd.ZstdCompressor()
    packed = stream.compress(DISK) + stream.flush()
    with pytest.raises(Unsupported, match="do not contain their size"):
        open_blocks(BytesReader(packed), format_named("zstd"))


@each_row(
    ("inner", "code"),
    [
        (b"only a text\n" * 1000, "not-a-disk"),
        (DISK + b"more", "raw-size-not-512"),
        (gzip.compress(os.urandom(1000)), "container-compressed"),
        (build.qcow2(DISK)[:-65536], "qcow2-truncated"),
    ],
    ids=["text", "odd size", "twice", "truncated"],
)
def test_contents_that_cannot_be_imported_block_before_they_are_unpacked(
    tmp_path: Path, inner: bytes, code: str
) -> None:
    """The inspection reports the problem, so that the push does not unpack the disk first."""
    path = tmp_path / "disk.xz"
    path.write_bytes(build.xz(inner, block=BLOCK))
    blocking = [one.code for one in inspect_disk(path).container_problems if one.severity is Severity.BLOCKS]
    assert blocking == [code]


def test_the_suffix_before_the_compression_suffix_is_checked(tmp_path: Path) -> None:
    """A disk.vhd.xz without a VHD was truncated before it was compressed."""
    path = tmp_path / "disk.vhd.xz"
    path.write_bytes(build.xz(DISK, block=BLOCK))
    assert "vhd-no-footer" in build.codes(inspect_disk(path).container_problems)


def _reindexed(packed: bytes, change: Callable[[bytearray], None]) -> bytes:
    """Change the index of an .xz file, and recompute its checksums."""
    index_bytes = (int.from_bytes(packed[-8:-4], "little") + 1) * 4
    index = bytearray(packed[-12 - index_bytes : -16])
    change(index)
    return build.xz_sealed(packed[: -12 - index_bytes], bytes(index))


def _more_blocks(index: bytearray) -> None:
    index[1:2] = b"\xff\xff\x7f"
    index += bytes(-len(index) % 4)


@each_row(
    ("container", "make", "error"),
    [
        ("xz", lambda: packed_as("blocks")[:-1000], Bad),
        ("xz", lambda: packed_as("blocks") + b"more", Bad),
        ("xz", lambda: packed_as("blocks")[1000:], Bad),
        ("xz", lambda: _reindexed(packed_as("blocks"), lambda index: index.__setitem__(2, index[2] ^ 1)), Bad),
        ("xz", lambda: _reindexed(packed_as("blocks"), _more_blocks), Unsupported),
        ("zstd", lambda: packed_as("frames")[:-5], Bad),
        ("zstd", lambda: packed_as("frames") + b"more", Bad),
        ("zstd", lambda: packed_as("seek table")[5:], Bad),
        ("zstd", lambda: b"\x28\xb5\x2f\xfd", Bad),
    ],
    ids=["cut", "appended", "no header", "index", "blocks", "cut frame", "appended frame", "table", "no frame"],
)
def test_an_inconsistent_file_is_refused_when_it_is_opened(
    container: str, make: Callable[[], bytes], error: type[Exception]
) -> None:
    """The index shows it, so nothing is unpacked."""
    packed = BytesReader(make())
    with pytest.raises(error):
        open_blocks(packed, format_named(container))


def test_a_truncated_file_is_refused_with_the_offset(tmp_path: Path) -> None:
    """The problem has the code container-damaged and the byte in the file."""
    path = tmp_path / "disk.raw.xz"
    path.write_bytes(packed_as("blocks")[:-1000])
    (problem,) = inspect_disk(path).container_problems
    assert (problem.code, problem.severity) == ("container-damaged", Severity.BLOCKS)
    assert problem.where.startswith("byte ")


@each_row("packing", ["blocks", "CRC32", "SHA-256", "frames"])
def test_no_byte_of_a_damaged_block_is_returned(tmp_path: Path, packing: str) -> None:
    """The error has the offset in the file; the other blocks can be read."""
    container, packed = PACKINGS[packing][0], packed_as(packing)
    if container == "zstd":  # a frame has a checksum only if the option is set
        pieces = [DISK[at : at + BLOCK] for at in range(0, len(DISK), BLOCK)]
        packed = b"".join(
            zstd.compress(piece, options={zstd.CompressionParameter.checksum_flag: 1}) for piece in pieces
        )
    path = tmp_path / "disk"
    path.write_bytes(packed)
    with open_disk(path) as opened:
        source = opened.as_sent()
        disk = open_blocks(BytesReader(packed), format_named(container))
        block = disk._blocks[2 * MIB // BLOCK]
        with path.open("r+b") as file:
            file.seek(block.at + block.packed // 2)
            file.write(b"damaged")
        for _ in range(2):
            with pytest.raises(DiskError) as caught:
                source.read(block.start, 1)
            assert (caught.value.code, caught.value.details["offset"]) == ("unpack-failed", str(block.at))
        assert source.read(0, BLOCK) == DISK[:BLOCK]


def test_the_source_of_a_compressed_disk_is_the_raw_disk(tmp_path: Path) -> None:
    """Size and content are those of the RAW disk; a change of the compressed file changes the fingerprint."""
    packed = tmp_path / "disk.raw.xz"
    packed.write_bytes(packed_as("blocks"))
    with open_disk(packed) as opened:
        source = opened.as_sent()
        before = source.fingerprint()
        assert before.size_bytes == len(DISK)
        assert source.read(0, len(DISK)) == DISK
        assert [(extent.start, extent.end) for extent in source.extents()] == [(0, len(DISK))]
        os.utime(packed, ns=(1, 1))
        assert source.fingerprint() != before


def test_the_source_of_an_uncompressed_disk_is_its_file(tmp_path: Path) -> None:
    """A VHD footer takes precedence over the signature of xz in the first bytes."""
    image = build.vhd_fixed(b"\xfd7zXZ\0" + bytes(MIB - 6))
    (tmp_path / "disk.vhd").write_bytes(image)
    with open_disk(tmp_path / "disk.vhd") as opened:
        source = opened.as_sent()
        assert (source.size_bytes, source.max_readers) == (len(image), None)


def test_a_block_that_several_threads_read_is_unpacked_once() -> None:
    """The other threads wait for the first, and the cache of blocks is bounded."""
    started, release, count = threading.Event(), threading.Event(), [0]

    def unpack(file: Reader, block: Block) -> mmap.mmap:
        del file
        count[0] += 1
        started.set()
        release.wait(10)
        return mmap.mmap(-1, block.size)

    large = MAX_BLOCK_BYTES
    blocks = [Block(number * large, large, 0, MIB) for number in range(6)]
    disk = BlockReader(BytesReader(b""), blocks, unpack, kept_bytes=4 * large)
    with ThreadPoolExecutor(4) as pool:
        reads = [pool.submit(disk.pread, 5, 5) for _ in range(4)]
        assert started.wait(10)
        release.set()
        assert {read.result() for read in reads} == {bytes(5)}
    assert (count, disk.max_kept) == ([1], 4)
    for number in (*range(1, 5), 0):  # the fifth evicted the first
        disk.pread(number * large, 1)
    assert count == [6]


def test_zeros_are_unpacked_once() -> None:
    """Blocks with equal compressed bytes are unpacked once, since most of a disk is zeros."""
    disk = bytes(10 * BLOCK) + b"data" + bytes(2 * BLOCK)
    packed = build.xz(disk, block=BLOCK)
    count = [0]

    def unpack(file: Reader, block: Block) -> mmap.mmap:
        count[0] += 1
        return unpack_xz(file, block)

    reader = BlockReader(BytesReader(packed), xz_blocks(BytesReader(packed)), unpack)
    assert reader.pread(0, len(disk)) == disk
    assert count == [3]


@pytest.mark.root
@pytest.mark.parametrize(
    "options", [["--block-size=300000"], ["--block-list=1MiB,65536,0"], ["-T2", "--block-size=1MiB"]]
)
def test_output_of_the_xz_tool_is_read(options: list[str]) -> None:
    """The blocks that xz writes with several options have the bytes of the disk."""
    packed = subprocess.run(["xz", "-c", "-1", *options], input=DISK, capture_output=True, check=True).stdout
    disk = open_blocks(BytesReader(packed), format_named("xz"))
    assert disk.blocks > 1
    assert disk.pread(0, len(DISK)) == DISK
