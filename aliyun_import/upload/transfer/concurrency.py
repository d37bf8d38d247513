"""This file decides how fast: the rate limit that all workers share, and how many of them there are.

`Limit` is a token bucket without a store: a chunk is due when all before it have had their time at the given rate.
`Crew` is a pure state: throttling halves the workers, success adds one now and then (additive increase,
multiplicative decrease, as TCP does), and without --jobs it also tries whether more of them are faster.
"""

import threading

from aliyun_import.context import Clock
from aliyun_import.limits import KIB, MIB

# How far behind schedule the limit forgives: after a stall the line may catch up by so much, not more.
BURST_S = 0.25
# What goes at once is at most so much of a second, so that ten seconds are exact within 5 % however slow the line.
LUMP_S = 0.1
LEAST_CHUNK_BYTES = 4 * KIB
# Without --jobs: where it begins, and where it ends. Four fill a 10 Gbit/s line next door; on a long line each
# connection waits for answers for a while, and more of them help.
FIRST_WORKERS = 4
MOST_WORKERS = 16
# Parts of less than this on the average (a fragmented disk) wait for answers more than they travel, also next door:
# so many times as many workers. 4,000 parts of 512 KiB with 30 ms an answer: 8 s instead of 14 (tests/bench).
SMALL_PART_BYTES = 4 * MIB
SMALL_PART_TIMES = 4
# Without --jobs, twice as many workers are tried after so many seconds, and kept if the rate grew by a twentieth.
TRIAL_S = 1.5
WORTH_IT = 1.05
# One throttled answer says as much as the ten that were in flight with it.
CALM_S = 1.0
# A worker comes back after a round of parts that went well; after four times as many rounds when there was throttling
# again, up to so many, and half as many once it is back. On a line that carries one part at a time, a second one costs
# both a time-out.
MOST_ROUNDS = 8


class RateLimiter:
    """At most so many bytes a second, over all threads that ask. None is no limit."""

    def __init__(self, rate_bytes_s: float | None, clock: Clock) -> None:
        self._rate = rate_bytes_s
        self._clock = clock
        self._lock = threading.Lock()
        self._due_s = 0.0

    def chunk_bytes(self, most: int) -> int:
        """Tell how much a worker may hand over at once, so that a slow line flows and does not come in lumps."""
        return most if self._rate is None else max(LEAST_CHUNK_BYTES, min(most, int(self._rate * LUMP_S)))

    def take(self, count: int) -> None:
        """Wait until so many bytes may go; raises Interrupted from the clock."""
        if self._rate is None:
            return
        with self._lock:
            now = self._clock.monotonic_s()
            self._due_s = max(self._due_s, now - BURST_S) + count / self._rate
            wait_s = self._due_s - now
        if wait_s > 0:
            self._clock.sleep(wait_s)


def jobs_for(asked: int | None, most_readers: int | None) -> int | None:
    """Give the number of workers, None to find it out: no more than the disk can be read by."""
    if most_readers is None or (asked is None and most_readers >= MOST_WORKERS):
        return asked
    return min(asked or MOST_WORKERS, most_readers)


class ConcurrencyController:
    """How many workers may be busy, for parts of `part_bytes` on the average. One thread's: the coordinator's."""

    def __init__(self, jobs: int | None, *, now_s: float, part_bytes: int = SMALL_PART_BYTES) -> None:
        times = SMALL_PART_TIMES if part_bytes < SMALL_PART_BYTES else 1
        self.most = jobs or MOST_WORKERS * times
        self.allowed = jobs or FIRST_WORKERS * times
        self._grows = jobs is None
        self._successes = 0
        self._throttled_s = now_s - CALM_S
        self._was_throttled = False
        self._rounds = 1
        self._trial_s = now_s
        self._trial_bytes = 0
        self._rate_before = 0.0
        self._before = self.allowed

    def throttled(self, now_s: float) -> None:
        """Take back: the service asked for less."""
        if now_s - self._throttled_s < CALM_S:
            return
        self._throttled_s = now_s
        self._rounds = min(MOST_ROUNDS, self._rounds * 4) if self._was_throttled else 1
        self._was_throttled = True
        self._grows = False
        self._successes = 0
        self.allowed = max(1, self.allowed // 2)

    def succeeded(self) -> None:
        """Count a part that went well: some rounds of them without throttling bring one worker back."""
        if not self._was_throttled or self.allowed >= self.most:
            return
        self._successes += 1
        if self._successes >= self.allowed * self._rounds:
            self._successes = 0
            self._rounds = max(1, self._rounds // 2)
            self.allowed += 1

    def observe(self, sent_bytes: int, now_s: float) -> None:
        """Look at the rate, and try twice as many workers while that makes it faster."""
        elapsed = now_s - self._trial_s
        if not self._grows or elapsed < TRIAL_S:
            return
        rate = (sent_bytes - self._trial_bytes) / elapsed
        if rate < self._rate_before * WORTH_IT:
            self._grows = False
            self.allowed = self._before
            return
        self._rate_before, self._trial_s, self._trial_bytes = rate, now_s, sent_bytes
        self._before, self.allowed = self.allowed, min(self.most, self.allowed * 2)
        self._grows = self._before < self.allowed
