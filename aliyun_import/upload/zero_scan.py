"""This file finds out which ranges of a disk are zero, and what the others are, before anything is planned.

Holes are known to the file system. In what is left, the first 4 KiB of each grain are read, and the rest of it only
where they are zero: a dense disk is read by 3 % here, not twice in all. The ends of the ranges found are trimmed to
4 KiB. The result depends on the content alone, not on how this machine stores it, so that every machine makes the
same plan. With digests (for a base) every grain that is not zero is read whole.
"""

import hashlib
import itertools
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from aliyun_import.disk.disk import Disk, Extent
from aliyun_import.errors import Interrupted
from aliyun_import.limits import KIB, MIB

# A grain is at least what a part must have (100 KB), so that a gap of one grain can be a part; and at most 1 MiB.
MIN_GRAIN_BYTES = 128 * KIB
MAX_GRAIN_BYTES = 1 * MIB
# Grains grow with the disk so that there are about a million: some seconds of probing, and 20 MB of digests.
GRAINS_WANTED = 1024 * 1024
PROBE_BYTES = 4 * KIB
# SHA-256 cut to 160 bits: no two grains will share one, and a million fit in 20 MB. Faster than BLAKE2 where the
# processor knows SHA (1.7 against 0.6 GB/s on the machine that the bench ran on).
DIGEST_BYTES = 20
# Enough reads in flight to keep a disk busy; hashing and comparing let other threads run.
THREADS = 4
GRAINS_A_TASK = 256
RUNS_A_TASK = 64

Range = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDigests:
    """A digest for each grain that is not zero, and where it stands.

    `index[n]` is the digest's place in `digests` for grain n of the disk, -1 for a grain of zeros.
    """

    size_bytes: int
    grain_bytes: int
    index: "array[int]"
    digests: bytes

    def digest(self, grain: int) -> bytes | None:
        """Give the digest of a grain, None for zeros."""
        place = self.index[grain]
        return self.digests[place * DIGEST_BYTES : (place + 1) * DIGEST_BYTES] if place >= 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataMap:
    """What a disk holds: `data` are the ranges that are not zero, ascending and apart, edges on 4 KiB."""

    grain_bytes: int
    data: tuple[Range, ...]
    digests: BlockDigests | None = None


def grain_bytes_for(size_bytes: int) -> int:
    """Choose the grain for a disk of this size: a power of two."""
    grain = MIN_GRAIN_BYTES
    while grain < MAX_GRAIN_BYTES and size_bytes > grain * GRAINS_WANTED:
        grain *= 2
    return grain


def scan_zeros(
    source: Disk,
    *,
    stop: threading.Event,
    grain_bytes: int | None = None,
    with_digests: bool = False,
    told: Callable[[int, int], None] = lambda _done_bytes, _total_bytes: None,
) -> DataMap:
    """Read as much of the disk as is needed to know its data ranges, and the digests if they are wanted.

    `told` is called on this thread with the bytes that were looked at, and all that will be. Raises DiskError for what
    can't be read, and Interrupted soon after `stop` is set.
    """
    grain = grain_bytes or grain_bytes_for(source.size_bytes)
    extents = source.extents()
    look = _Look(source, extents, grain, stop, with_digests=with_digests)
    index = array("i", [-1]) * (-(-source.size_bytes // grain) if with_digests else 0)
    digests: list[bytes] = []
    runs: list[Range] = []
    tasks = list(_tasks(extents, grain))
    ends = list(itertools.accumulate(sum(map(len, task)) * grain for task in tasks))
    with ThreadPoolExecutor(THREADS, thread_name_prefix="survey") as pool:
        for found, done_bytes in zip(pool.map(look.at_grains, tasks), ends, strict=True):
            for number, digest in found:
                if with_digests:
                    index[number] = len(digests)
                    digests.append(digest)
                if runs and runs[-1][1] == number:
                    runs[-1] = (runs[-1][0], number + 1)
                else:
                    runs.append((number, number + 1))
            told(done_bytes, ends[-1])
        trims = (runs[first : first + RUNS_A_TASK] for first in range(0, len(runs), RUNS_A_TASK))
        data = tuple(itertools.chain.from_iterable(pool.map(look.trim_all, trims)))
    kept = BlockDigests(size_bytes=source.size_bytes, grain_bytes=grain, index=index, digests=b"".join(digests))
    return DataMap(grain_bytes=grain, data=data, digests=kept if with_digests else None)


def _tasks(extents: Iterable[Extent], grain: int) -> Iterator[list[range]]:
    """Cut the grains that touch an extent into tasks of a worker, each some ranges of grains."""
    task: list[range] = []
    room = GRAINS_A_TASK
    done = 0
    for extent in extents:
        first, end = max(done, extent.start // grain), -(-extent.end // grain)
        while first < end:
            task.append(range(first, min(end, first + room)))
            first, room = task[-1].stop, room - len(task[-1])
            if not room:
                yield task
                task, room = [], GRAINS_A_TASK
        done = max(done, end)
    if task:
        yield task


class _Look:
    """The reads of a survey; its methods run on the pool's threads."""

    def __init__(
        self, source: Disk, extents: Sequence[Extent], grain: int, stop: threading.Event, *, with_digests: bool
    ) -> None:
        self._source = source
        self._starts = [extent.start for extent in extents]
        self._ends = [extent.end for extent in extents]
        self._grain = grain
        self._stop = stop
        self._with_digests = with_digests
        self._zeros = bytes(grain)
        self._zero_probe = bytes(PROBE_BYTES)

    def at_grains(self, task: Iterable[range]) -> list[tuple[int, bytes]]:
        """Give the grains of the task that are not zero, each with its digest (empty where none is wanted)."""
        if self._stop.is_set():
            raise Interrupted("Stopped.", code="interrupted", remedy="Run the same command again.", resumable=True)
        buffer = bytearray(self._grain)
        probe = bytearray(PROBE_BYTES)
        found = ((number, self._at_grain(number * self._grain, buffer, probe)) for grains in task for number in grains)
        return [(number, digest) for number, digest in found if digest is not None]

    def _at_grain(self, start: int, buffer: bytearray, probe: bytearray) -> bytes | None:
        length = min(self._grain, self._source.size_bytes - start)
        if not self._with_digests and length > PROBE_BYTES:
            self._source.read_into(start, memoryview(probe))
            if probe != self._zero_probe:
                return b""
        self._source.read_into(start, memoryview(buffer)[:length])
        # bytearray == bytes compares by memcmp; a memoryview would compare item by item, thirty times slower.
        content = buffer if length == self._grain else buffer[:length]
        if content == (self._zeros if length == self._grain else self._zeros[:length]):
            return None
        return hashlib.sha256(content).digest()[:DIGEST_BYTES] if self._with_digests else b""

    def trim_all(self, runs: Iterable[Range]) -> list[Range]:
        """Trim runs of grains; one is empty only where the disk changed meanwhile, which is noticed before complete."""
        return [(start, end) for start, end in map(self._trim, runs) if start < end]

    def _trim(self, run: Range) -> Range:
        """Cut the zeros off both ends of a run of grains, in steps of 4 KiB, and give it in bytes.

        What lies outside the extents is zeros without a look, so that mostly one block is read at each end.
        """
        start, end = run[0] * self._grain, min(run[1] * self._grain, self._source.size_bytes)
        start = max(start, _block_of(self._starts[bisect_right(self._ends, start)]))
        last_end = self._ends[bisect_left(self._starts, end) - 1]
        end = min(end, _block_of(last_end - 1) + PROBE_BYTES)
        while start < end and self._is_zero(start, end):
            start += PROBE_BYTES
        while start < end and self._is_zero(_block_of(end - 1), end):
            end = _block_of(end - 1)
        return start, end

    def _is_zero(self, start: int, end: int) -> bool:
        block = self._source.read(start, min(PROBE_BYTES, end - start))
        return block == self._zero_probe[: len(block)]


def _block_of(offset: int) -> int:
    return offset // PROBE_BYTES * PROBE_BYTES
