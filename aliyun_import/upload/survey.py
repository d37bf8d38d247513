"""This file finds out which ranges of a disk are zero, and what the others are, before anything is planned.

Holes are known to the file system. In what is left, the first 4 KiB of each grain are read, and the rest of it only
where they are zero: a dense disk is read by 3 % here, not twice in all. The ends of the ranges found are trimmed to
4 KiB. The result depends on the content alone, not on how this machine stores it, so that every machine makes the
same plan. With digests (for a base) every grain that is not zero is read whole.
"""

import hashlib
import threading
from array import array
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from aliyun_import.disk.source import DiskSource
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

Range = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class GrainDigests:
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
class Survey:
    """What a disk holds: `data` are the ranges that are not zero, ascending and apart, edges on 4 KiB."""

    grain_bytes: int
    data: tuple[Range, ...]
    digests: GrainDigests | None = None


def grain_bytes_for(size_bytes: int) -> int:
    """Choose the grain for a disk of this size: a power of two."""
    grain = MIN_GRAIN_BYTES
    while grain < MAX_GRAIN_BYTES and size_bytes > grain * GRAINS_WANTED:
        grain *= 2
    return grain


def survey(
    source: DiskSource, *, stop: threading.Event, grain_bytes: int | None = None, with_digests: bool = False
) -> Survey:
    """Read as much of the disk as is needed to know its data ranges, and the digests if they are wanted.

    Raises DiskError for what can't be read, and Interrupted soon after `stop` is set.
    """
    grain = grain_bytes or grain_bytes_for(source.size_bytes)
    look = _Look(source, grain, stop, with_digests=with_digests)
    grains = -(-source.size_bytes // grain)
    index = array("i", [-1]) * grains
    digests: list[bytes] = []
    count = 0
    with ThreadPoolExecutor(THREADS, thread_name_prefix="survey") as pool:
        for first, found in pool.map(look.at_grains, _tasks(source, grain)):
            for grain_number, digest in enumerate(found, start=first):
                if digest is not None:
                    index[grain_number] = count
                    count += 1
            if with_digests:
                digests.append(b"".join(digest for digest in found if digest is not None))
        # A range is empty only where the disk changed meanwhile, which is noticed before complete.
        data = tuple((start, end) for start, end in pool.map(look.trim, _runs(index)) if start < end)
    kept = GrainDigests(size_bytes=source.size_bytes, grain_bytes=grain, index=index, digests=b"".join(digests))
    return Survey(grain_bytes=grain, data=data, digests=kept if with_digests else None)


def _tasks(source: DiskSource, grain: int) -> Iterator[Range]:
    """Cut the grains that touch an extent into tasks of [first, end) grains."""
    done = 0
    for extent in source.extents():
        first, end = max(done, extent.start // grain), -(-extent.end // grain)
        for start in range(first, end, GRAINS_A_TASK):
            yield start, min(end, start + GRAINS_A_TASK)
        done = max(done, end)


def _runs(index: Iterable[int]) -> Iterator[Range]:
    """Give the runs [first, end) of grains that are not zero."""
    first = None
    number = -1
    for number, place in enumerate(index):
        if place < 0 and first is not None:
            yield first, number
            first = None
        elif place >= 0 and first is None:
            first = number
    if first is not None:
        yield first, number + 1


class _Look:
    """The reads of a survey; its methods run on the pool's threads."""

    def __init__(self, source: DiskSource, grain: int, stop: threading.Event, *, with_digests: bool) -> None:
        self._source = source
        self._grain = grain
        self._stop = stop
        self._with_digests = with_digests
        self._zeros = bytes(grain)
        self._zero_probe = bytes(PROBE_BYTES)

    def at_grains(self, task: Range) -> tuple[int, list[bytes | None]]:
        """Give the digest of each grain of the task (empty where none is wanted), None for one of zeros."""
        if self._stop.is_set():
            raise Interrupted("Stopped.", code="interrupted", remedy="Run the same command again.", resumable=True)
        first, end = task
        buffer = bytearray(self._grain)
        probe = bytearray(PROBE_BYTES)
        return first, [self._at_grain(number * self._grain, buffer, probe) for number in range(first, end)]

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

    def trim(self, run: Range) -> Range:
        """Cut the zeros off both ends of a run of grains, in steps of 4 KiB, and give it in bytes."""
        start, end = run[0] * self._grain, min(run[1] * self._grain, self._source.size_bytes)
        head = self._source.read(start, min(self._grain, end - start))
        while not self._is_data(head, start - run[0] * self._grain):
            start += PROBE_BYTES
        tail_start = (run[1] - 1) * self._grain
        tail = head if run[1] - run[0] == 1 else self._source.read(tail_start, end - tail_start)
        while not self._is_data(tail, _block_before(end) - tail_start):
            end = _block_before(end)
        return start, end

    def _is_data(self, content: bytes, offset: int) -> bool:
        block = content[offset : offset + PROBE_BYTES]
        return block != self._zero_probe[: len(block)] or not block


def _block_before(end: int) -> int:
    return (end - 1) // PROBE_BYTES * PROBE_BYTES
