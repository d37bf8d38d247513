"""Scan of a disk for the ranges that are not zero, and for the digests of its blocks.

The file system reports the holes. Elsewhere the first 4 KiB of each block are read, and the rest of the block only if
these are zero, so that 3 % of a dense disk is read. The ends of the ranges are trimmed to 4 KiB. The result depends on
the content only, not on its storage on this machine, so that every machine makes the same plan. With digests (for a
base) every block that is not zero is read completely.
"""

import hashlib
import itertools
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from aliyun_import.context import Context
from aliyun_import.disk.disk import Disk
from aliyun_import.disk.fingerprint import Extent
from aliyun_import.events import SurveyProgress, Warned
from aliyun_import.limits import KIB, MIB
from aliyun_import.upload.threads import thread_pool

# At least the minimum size of a part (100 KB), so that a gap of one block can be a part.
MIN_BLOCK_BYTES = 128 * KIB
MAX_BLOCK_BYTES = 1 * MIB
# Blocks grow with the disk up to about a million blocks: some seconds of reading, and 20 MB of digests.
BLOCKS_WANTED = 1024 * 1024
PROBE_BYTES = 4 * KIB
# SHA-256 truncated to 160 bits: blocks do not collide by accident, and a million take 20 MB. Faster than BLAKE2 if the
# processor has SHA instructions (1.7 against 0.6 GB/s on the machine of the bench).
DIGEST_BYTES = 20
# Enough parallel reads to keep a disk busy; hashing and comparing release the interpreter lock.
THREADS = 4
BLOCKS_PER_TASK = 256
RUNS_PER_TASK = 64
# Progress is emitted after two seconds, and then twice a second; most scans take less.
PROGRESS_FIRST_S, PROGRESS_EVERY_S = 2.0, 0.5

Range = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDigests:
    """Digests of the blocks that are not zero.

    `index[n]` is the position in `digests` of the digest of block n, -1 for a block of zeros.
    """

    size_bytes: int
    block_bytes: int
    index: "array[int]"
    digests: bytes

    def digest(self, block: int) -> bytes | None:
        """Return the digest of a block, None for zeros."""
        position = self.index[block]
        return self.digests[position * DIGEST_BYTES : (position + 1) * DIGEST_BYTES] if position >= 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataMap:
    """Ranges of a disk that are not zero, ascending, disjoint and aligned to 4 KiB; the digests if requested."""

    data: tuple[Range, ...]
    digests: BlockDigests | None = None


def block_bytes_for(size_bytes: int) -> int:
    """Return the block size for a disk of this size: a power of two."""
    block = MIN_BLOCK_BYTES
    while block < MAX_BLOCK_BYTES and size_bytes > block * BLOCKS_WANTED:
        block *= 2
    return block


def scan_zeros(
    source: Disk, context: Context, *, block_bytes: int | None = None, with_digests: bool = False
) -> DataMap:
    """Return the data ranges of the disk; with digests, read all of its data.

    Emits SurveyProgress in a long scan. Raises DiskError for a range that can't be read, and Interrupted soon after the
    run is cancelled.
    """
    block = block_bytes or block_bytes_for(source.size_bytes)
    extents = source.extents()
    if source.distrust:
        context.emit(
            Warned(
                code="holes-not-believed",
                message=f"The file system contradicts itself about the holes of {source.described}: "
                f"{source.distrust}. The whole disk is read.",
            )
        )
    reads = _Reads(source, context, extents, block, with_digests=with_digests)
    index = array("i", [-1]) * (-(-source.size_bytes // block) if with_digests else 0)
    digests: list[bytes] = []
    runs: list[Range] = []
    tasks = list(_tasks(extents, block))
    ends = list(itertools.accumulate(sum(map(len, task)) * block for task in tasks))
    next_s = context.clock.monotonic_s() + PROGRESS_FIRST_S
    with thread_pool(THREADS, name="scan") as pool:
        for found, done_bytes in zip(pool.map(reads.data_blocks, tasks), ends, strict=True):
            for number, digest in found:
                if with_digests:
                    index[number] = len(digests)
                    digests.append(digest)
                if runs and runs[-1][1] == number:
                    runs[-1] = (runs[-1][0], number + 1)
                else:
                    runs.append((number, number + 1))
            if (now_s := context.clock.monotonic_s()) >= next_s:
                next_s = now_s + PROGRESS_EVERY_S
                context.emit(SurveyProgress(disk=str(source.name), done_bytes=done_bytes, total_bytes=ends[-1]))
        trims = (runs[first : first + RUNS_PER_TASK] for first in range(0, len(runs), RUNS_PER_TASK))
        data = tuple(itertools.chain.from_iterable(pool.map(reads.trim_all, trims)))
    if not with_digests:
        return DataMap(data=data)
    kept = BlockDigests(size_bytes=source.size_bytes, block_bytes=block, index=index, digests=b"".join(digests))
    return DataMap(data=data, digests=kept)


def unchanged_ranges(digests: BlockDigests, base: BlockDigests) -> tuple[Range, ...]:
    """Return the ranges of the disk that equal the same range of the base, also zeros; ascending, disjoint.

    Both have the same block size. A block that is incomplete in one of them is not compared.
    """
    block = digests.block_bytes
    whole = min(digests.size_bytes, base.size_bytes) // block
    if digests.size_bytes == base.size_bytes:
        whole = len(digests.index)
    ranges: list[Range] = []
    number = 0
    for is_same, run in itertools.groupby(range(whole), key=lambda at: digests.digest(at) == base.digest(at)):
        count = sum(1 for _ in run)
        if is_same:
            ranges.append((number * block, min((number + count) * block, digests.size_bytes)))
        number += count
    return tuple(ranges)


def _tasks(extents: Iterable[Extent], block: int) -> Iterator[list[range]]:
    """Yield the blocks that touch an extent, as tasks of some ranges of blocks each."""
    task: list[range] = []
    free = BLOCKS_PER_TASK
    done = 0
    for extent in extents:
        first, end = max(done, extent.start // block), -(-extent.end // block)
        while first < end:
            task.append(range(first, min(end, first + free)))
            first, free = task[-1].stop, free - len(task[-1])
            if not free:
                yield task
                task, free = [], BLOCKS_PER_TASK
        done = max(done, end)
    if task:
        yield task


class _Reads:
    """Reads of a scan; its methods run on the pool's threads."""

    def __init__(
        self, source: Disk, context: Context, extents: Sequence[Extent], block: int, *, with_digests: bool
    ) -> None:
        self._source = source
        self._context = context
        self._starts = [extent.start for extent in extents]
        self._ends = [extent.end for extent in extents]
        self._block = block
        self._with_digests = with_digests
        self._zeros = bytes(block)
        self._zero_probe = bytes(PROBE_BYTES)

    def data_blocks(self, task: Iterable[range]) -> list[tuple[int, bytes]]:
        """Return the blocks of the task that are not zero, each with its digest (empty if not requested)."""
        self._context.check_cancelled()
        buffer = bytearray(self._block)
        probe = bytearray(PROBE_BYTES)
        found = ((number, self._digest(number * self._block, buffer, probe)) for blocks in task for number in blocks)
        return [(number, digest) for number, digest in found if digest is not None]

    def _digest(self, start: int, buffer: bytearray, probe: bytearray) -> bytes | None:
        """Return the digest of a block, b"" if not requested, None for zeros."""
        length = min(self._block, self._source.size_bytes - start)
        if not self._with_digests and length > PROBE_BYTES:
            self._source.read_into(start, memoryview(probe))
            if probe != self._zero_probe:
                return b""
        self._source.read_into(start, memoryview(buffer)[:length])
        # bytearray == bytes compares by memcmp; a memoryview compares item by item, thirty times slower.
        content = buffer if length == self._block else buffer[:length]
        if content == (self._zeros if length == self._block else self._zeros[:length]):
            return None
        return hashlib.sha256(content).digest()[:DIGEST_BYTES] if self._with_digests else b""

    def trim_all(self, runs: Iterable[Range]) -> list[Range]:
        """Trim runs of blocks. A run is empty only if the disk changed meanwhile, which is detected before complete."""
        return [(start, end) for start, end in map(self._trim, runs) if start < end]

    def _trim(self, run: Range) -> Range:
        """Return the range of a run of blocks, without the zeros at both ends, in steps of 4 KiB.

        Bytes outside the extents are zeros and are not read, so that usually 4 KiB are read at each end.
        """
        start, end = run[0] * self._block, min(run[1] * self._block, self._source.size_bytes)
        start = max(start, _aligned(self._starts[bisect_right(self._ends, start)]))
        last_end = self._ends[bisect_left(self._starts, end) - 1]
        end = min(end, _aligned(last_end - 1) + PROBE_BYTES)
        while start < end and self._is_zero(start, end):
            start += PROBE_BYTES
        while start < end and self._is_zero(_aligned(end - 1), end):
            end = _aligned(end - 1)
        return start, end

    def _is_zero(self, start: int, end: int) -> bool:
        piece = self._source.read(start, min(PROBE_BYTES, end - start))
        return piece == self._zero_probe[: len(piece)]


def _aligned(offset: int) -> int:
    return offset // PROBE_BYTES * PROBE_BYTES
