"""Rate limit and number of parallel uploads."""

import math
import sys
import threading

from aliyun_import.context import Context
from aliyun_import.limits import KIB, MIB

# After a stall the rate may exceed the limit to compensate for at most this delay.
BURST_S = 0.25
# A chunk is at most the bytes of this time, so that the rate over ten seconds is exact within 5 %.
CHUNK_S = 0.1
MIN_CHUNK_BYTES = 4 * KIB
# Initial and maximum number of workers without --jobs. Four connections fill a 10 Gbit/s link in the same region; with
# a long round trip each connection waits for responses, and more connections help.
FIRST_WORKERS = 4
MAX_WORKERS = 16
# Parts smaller than this on average (a fragmented disk) are dominated by the round trip, also in the same region, and
# get this many times the workers. 4,000 parts of 512 KiB with 30 ms per response: 8 s instead of 14 (tests/bench).
SMALL_PART_BYTES = 4 * MIB
SMALL_PART_FACTOR = 4
# Without --jobs the workers are doubled after this time, and stay doubled if the rate grew by a twentieth.
TRIAL_S = 1.5
MIN_GROWTH = 1.05
# Under a rate limit a few workers reach the limit; more workers only have more data in transfer, which a kill loses.
# One worker sends while others wait for an answer, for about this time.
ANSWER_S = 0.25
# Parts that take longer than this at the rate limit are split, into pieces of at least `PIECE_BYTES`.
PIECE_S = 2.0
# A part that timed out is split into pieces of this size, and so are all others. They are split at once, because pieces
# have no free numbers to be split again, and at such a rate the cost of one request per MiB does not matter.
PIECE_BYTES = 1 * MIB
# Throttling counts once in this time, because concurrent requests are throttled together.
THROTTLE_WINDOW_S = 1.0
# A worker is added after a round of successful parts. If throttling recurs, it takes four times as many rounds, at most
# this number, and half as many after each addition. On a network that carries only one part at a time, a second part
# makes both time out.
MAX_ROUNDS = 8


class RateLimiter:
    """Limit of bytes per second, shared by all threads that call it; None is no limit. Thread-safe.

    A chunk is due when all chunks before it have had their time at the given rate.
    """

    def __init__(self, rate_bytes_s: float | None, context: Context) -> None:
        self._rate = rate_bytes_s
        self._context = context
        self._lock = threading.Lock()
        self._due_s = 0.0

    def chunk_bytes(self, maximum: int) -> int:
        """Return the chunk size for this rate; chunks are smaller at a low rate, so that data is sent evenly."""
        return maximum if self._rate is None else max(MIN_CHUNK_BYTES, min(maximum, int(self._rate * CHUNK_S)))

    def take(self, count: int) -> None:
        """Wait until this many bytes may be sent. Raises Interrupted if the run is cancelled."""
        if self._rate is None:
            return
        with self._lock:
            now_s = self._context.clock.monotonic_s()
            self._due_s = max(self._due_s, now_s - BURST_S) + count / self._rate
            wait_s = self._due_s - now_s
        if wait_s > 0:
            self._context.sleep(wait_s)


def jobs_for(asked: int | None, max_readers: int | None) -> int | None:
    """Return the number of workers, None to adapt it; at most `max_readers` can read the disk in parallel."""
    if max_readers is None or (asked is None and max_readers >= MAX_WORKERS):
        return asked
    return min(asked or MAX_WORKERS, max_readers)


def piece_bytes_for(limit_rate_bytes_s: float | None) -> int:
    """Return the length above which parts are split under a rate limit; without one, no part is that long."""
    return sys.maxsize if limit_rate_bytes_s is None else max(PIECE_BYTES, int(limit_rate_bytes_s * PIECE_S))


class ConcurrencyController:
    """AIMD controller for the number of parallel uploads. Pure state, not thread-safe.

    Throttling halves the workers and success adds one at a time (additive increase, multiplicative decrease, as in
    TCP). Without `jobs` it also measures whether twice the workers are faster. Under a rate limit it starts with the
    number that should reach the limit, and adds none after that. `part_bytes` is the average part size.
    """

    def __init__(
        self,
        jobs: int | None,
        *,
        now_s: float,
        part_bytes: int = SMALL_PART_BYTES,
        limit_rate_bytes_s: float | None = None,
    ) -> None:
        times = SMALL_PART_FACTOR if part_bytes < SMALL_PART_BYTES else 1
        first = FIRST_WORKERS * times
        if limit_rate_bytes_s is not None:
            first = min(first, 1 + math.ceil(limit_rate_bytes_s * ANSWER_S / max(1, part_bytes)))
        self.maximum = jobs or MAX_WORKERS * times
        self.allowed = jobs or first
        self._limit_rate = limit_rate_bytes_s
        self._grows = jobs is None
        self._successes = 0
        self._throttled_s = now_s - THROTTLE_WINDOW_S
        self._was_throttled = False
        self._rounds = 1
        self._trial_s = now_s
        self._trial_bytes = 0
        self._rate_before = 0.0
        self._before = self.allowed

    def throttled(self, now_s: float) -> None:
        """Halve the workers, at most once per window."""
        if now_s - self._throttled_s < THROTTLE_WINDOW_S:
            return
        self._throttled_s = now_s
        self._rounds = min(MAX_ROUNDS, self._rounds * 4) if self._was_throttled else 1
        self._was_throttled = True
        self._grows = False
        self._successes = 0
        self.allowed = max(1, self.allowed // 2)

    def succeeded(self) -> None:
        """Count a successful part; enough of them without throttling add one worker."""
        if not self._was_throttled or self.allowed >= self.maximum:
            return
        self._successes += 1
        if self._successes >= self.allowed * self._rounds:
            self._successes = 0
            self._rounds = max(1, self._rounds // 2)
            self.allowed += 1

    def observe(self, sent_bytes: int, now_s: float) -> None:
        """Measure the rate, and double the workers while that increases it."""
        if sent_bytes == 0:
            self._trial_s = now_s  # the connections are being opened
        elapsed_s = now_s - self._trial_s
        if not self._grows or elapsed_s < TRIAL_S:
            return
        rate = (sent_bytes - self._trial_bytes) / elapsed_s
        if self._limit_rate is not None and rate * MIN_GROWTH >= self._limit_rate:
            self._grows = False
            return
        if rate < self._rate_before * MIN_GROWTH:
            self._grows = False
            self.allowed = self._before
            return
        self._rate_before, self._trial_s, self._trial_bytes = rate, now_s, sent_bytes
        self._before, self.allowed = self.allowed, min(self.maximum, self.allowed * 2)
        self._grows = self._before < self.allowed
