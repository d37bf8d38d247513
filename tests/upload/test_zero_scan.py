"""Tests of the scan for zeros: few reads, and the same result on every machine."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aliyun_import.context import Context
from aliyun_import.disk.disk import Disk, open_disk
from aliyun_import.disk.fingerprint import Extent
from aliyun_import.disk.reader import FileReader
from aliyun_import.errors import Interrupted
from aliyun_import.events import Event, SurveyProgress
from aliyun_import.limits import GIB, KIB, MIB, TIB
from aliyun_import.upload.zero_scan import DIGEST_BYTES, MIN_BLOCK_BYTES, DataMap, block_bytes_for, scan_zeros
from tests.clocks import SteeredClock
from tests.rows import each_row

BLOCK = 4 * KIB
BLOCK_BYTES = MIN_BLOCK_BYTES


def scan_of(path: Path, *, with_digests: bool = False) -> DataMap:
    """Scan a file."""
    with open_disk(path) as source:
        return scan_zeros(source, Context(clock=SteeredClock()), with_digests=with_digests)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 150), st.integers(1, 80)), max_size=6), st.integers(0, BLOCK - 1))
def test_bytes_outside_the_data_are_zero(tmp_path: Path, runs: list[tuple[int, int]], tail: int) -> None:
    """Each range of data begins and ends with a block that is not zero."""
    content = bytearray(150 * BLOCK + tail)
    for start, length in runs:
        stop = min((start + length) * BLOCK, len(content))
        content[start * BLOCK : stop] = b"\x01" * (stop - start * BLOCK)
    path = tmp_path / "disk"
    path.write_bytes(bytes(content))
    scanned = scan_of(path)
    left = bytearray(content)
    position = 0
    for start, end in scanned.data:
        assert start >= position
        position = end
        assert any(content[start : start + BLOCK])
        assert any(content[(end - 1) // BLOCK * BLOCK : end])
        left[start:end] = bytes(end - start)
    assert left == bytes(len(left))


def test_holes_and_written_zeros_give_the_same_result(tmp_path: Path) -> None:
    """Two machines with different copies of a disk make the same plan."""
    content = b"a" * 200_000 + bytes(3 * MIB) + b"b" * 200_000 + bytes(2 * MIB)
    dense, sparse = tmp_path / "dense", tmp_path / "sparse"
    dense.write_bytes(content)
    with sparse.open("wb") as file:
        file.write(content[:200_000])
        file.seek(200_000 + 3 * MIB)
        file.write(b"b" * 200_000)
        file.truncate(len(content))
    assert scan_of(dense, with_digests=True) == scan_of(sparse, with_digests=True)


class CountingDisk(Disk):
    """A disk that counts the bytes that are read."""

    read_bytes = 0

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Read and count."""
        type(self).read_bytes += len(buffer)
        super().read_into(offset, buffer)


class DenseDisk(Disk):
    """A disk without known holes, such as a compressed one."""

    def extents(self) -> tuple[Extent, ...]:
        """Return one extent, the whole disk."""
        return (Extent(0, self.size_bytes),)


def test_a_dense_disk_is_not_read_completely(tmp_path: Path) -> None:
    """The first 4 KiB of each block show that it is data."""
    path = tmp_path / "disk"
    path.write_bytes(b"x" * 16 * MIB)
    with CountingDisk(path, FileReader(path)) as source:
        scanned = scan_zeros(source, Context(clock=SteeredClock()))
    assert scanned.data == ((0, 16 * MIB),)
    assert CountingDisk.read_bytes <= 16 * MIB // 32 + 2 * BLOCK_BYTES


def test_digests_are_those_of_the_blocks(tmp_path: Path) -> None:
    """Each block that is not zero has one; the last block may be shorter."""
    path = tmp_path / "disk"
    path.write_bytes(b"a" * BLOCK_BYTES + bytes(BLOCK_BYTES) + b"b" * 1000)
    digests = scan_of(path, with_digests=True).digests
    assert digests is not None
    assert digests.digest(0) == hashlib.sha256(b"a" * BLOCK_BYTES).digest()[:DIGEST_BYTES]
    assert digests.digest(1) is None
    assert digests.digest(2) == hashlib.sha256(b"b" * 1000).digest()[:DIGEST_BYTES]


def test_a_cancelled_scan_stops(tmp_path: Path) -> None:
    """The scan of a large disk takes long."""
    path = tmp_path / "disk"
    path.write_bytes(b"x" * MIB)
    context = Context(clock=SteeredClock())
    context.cancel.set()
    with open_disk(path) as source, pytest.raises(Interrupted):
        scan_zeros(source, context)


class SlowClock(SteeredClock):
    """A clock that advances by a second each time it is read."""

    def monotonic_s(self) -> float:
        """Advance by a second, and return the time."""
        self.sleep(1)
        return super().monotonic_s()


def test_a_long_scan_emits_progress(tmp_path: Path) -> None:
    """Events start after two seconds and go on to the end; a short scan emits none."""
    path = tmp_path / "disk"
    path.write_bytes(b"x")
    os.truncate(path, 112 * MIB)
    emitted: list[Event] = []
    with DenseDisk(path, FileReader(path)) as source:
        for clock in (SteeredClock(), SlowClock()):
            scan_zeros(source, Context(clock=clock, emit=emitted.append))
    progress = [(event.done_bytes, event.total_bytes) for event in emitted if isinstance(event, SurveyProgress)]
    assert progress == [(done * MIB, 112 * MIB) for done in (64, 96, 112)]


@each_row(("size_bytes", "block"), [(1, 128 * KIB), (128 * GIB, 128 * KIB), (200 * GIB, 256 * KIB), (2 * TIB, 1 * MIB)])
def test_the_block_size_grows_with_the_disk(size_bytes: int, block: int) -> None:
    """There are about a million blocks, each of at most 1 MiB and at least the minimum part size."""
    assert block_bytes_for(size_bytes) == block


def test_a_larger_block_finds_fewer_zeros(tmp_path: Path) -> None:
    """A base determines the block size; a gap that is shorter than a block is data."""
    path = tmp_path / "disk"
    path.write_bytes((b"a" * 256 * KIB + bytes(256 * KIB) + b"b" * 256 * KIB).ljust(8 * MIB, b"\0"))
    with open_disk(path) as source:
        fine, coarse = (
            scan_zeros(source, Context(clock=SteeredClock()), block_bytes=size) for size in (128 * KIB, 1 * MIB)
        )
    assert sum(end - start for start, end in coarse.data) > sum(end - start for start, end in fine.data)
