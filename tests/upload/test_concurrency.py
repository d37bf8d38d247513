"""Tests of the shared rate limit and of the number of workers."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aliyun_import.context import Context
from aliyun_import.limits import KIB, MIB
from aliyun_import.upload.transfer.concurrency import (
    FIRST_WORKERS,
    SMALL_PART_FACTOR,
    TRIAL_S,
    ConcurrencyController,
    RateLimiter,
)
from tests.clocks import SteeredClock


@given(st.integers(1_000, 10**9), st.lists(st.integers(1, 300_000), min_size=1, max_size=200))
def test_a_rate_limit_permits_exactly_its_rate(rate: int, chunks: list[int]) -> None:
    """After every chunk, as much time has passed as all chunks need at that rate."""
    clock = SteeredClock()
    limit = RateLimiter(rate, Context(clock=clock))
    started_s = clock.monotonic_s()
    for count, chunk in enumerate(chunks, start=1):
        limit.take(chunk)
        needed = sum(chunks[:count]) / rate
        elapsed_s = clock.monotonic_s() - started_s
        assert needed - 0.25 - 1e-6 <= elapsed_s <= needed + 1e-6


def test_a_rate_limit_is_shared_by_threads() -> None:
    """Ten seconds' worth of bytes, taken by eight threads, takes ten seconds within 5 %."""
    clock = SteeredClock()
    limit = RateLimiter(1_000_000, Context(clock=clock))
    started_s = clock.monotonic_s()

    def send() -> None:
        for _ in range(125):
            limit.take(10_000)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.monotonic_s() - started_s >= 9.5


@given(st.integers(10_000, 10**10))
def test_chunks_under_a_low_limit_are_small(rate: int) -> None:
    """A chunk is at most 0.1 s of the rate, or 4 KiB; without a limit it is a whole buffer."""
    limit = RateLimiter(rate, Context(clock=SteeredClock()))
    assert 4096 <= limit.chunk_bytes(256 * 1024) <= max(4096, rate * 0.1)
    assert RateLimiter(None, Context(clock=SteeredClock())).chunk_bytes(256 * 1024) == 256 * 1024


def test_no_limit_means_no_wait() -> None:
    """Without a rate limit, no call sleeps."""
    clock = SteeredClock()
    RateLimiter(None, Context(clock=clock)).take(10**12)
    assert clock.slept == []


def test_throttling_halves_the_workers_and_success_adds_one_per_round() -> None:
    """The number is never below one and never above the requested number."""
    controller = ConcurrencyController(8, now_s=0.0)
    controller.throttled(10.0)
    assert controller.allowed == 4
    for _ in range(4):
        controller.succeeded()
    assert controller.allowed == 5
    for second in range(20, 40, 2):
        controller.throttled(float(second))
    assert controller.allowed == 1
    for _ in range(200):
        controller.succeeded()
    assert controller.allowed == 8


def test_a_worker_added_too_early_is_added_later_the_next_time() -> None:
    """On a network with the bandwidth of one worker, the second one is tried less and less often."""
    controller = ConcurrencyController(2, now_s=0.0)
    waits = []
    for second in range(10, 100, 10):
        controller.throttled(float(second))
        waits.append(0)
        while controller.allowed < 2:
            controller.succeeded()
            waits[-1] += 1
    assert waits[0] == 1
    assert waits[-1] == 8


def test_throttled_answers_within_one_second_count_once() -> None:
    """Ten throttled answers in one second halve the workers once."""
    controller = ConcurrencyController(8, now_s=0.0)
    for index in range(10):
        controller.throttled(10.0 + index / 20)
    assert controller.allowed == 4


def test_without_jobs_workers_are_added_while_throughput_grows() -> None:
    """Workers are added on a network with a share per connection, and not on a saturated one."""
    controller = ConcurrencyController(None, now_s=0.0)
    assert controller.allowed == FIRST_WORKERS
    sent, now = 0, 0.0
    for _ in range(20):
        sent += controller.allowed * 1_000_000
        now += TRIAL_S
        controller.observe(sent, now)
    assert controller.allowed == controller.maximum
    saturated = ConcurrencyController(None, now_s=0.0)
    for round_ in range(1, 20):
        saturated.observe(round_ * 1_000_000, round_ * TRIAL_S)
    assert saturated.allowed == FIRST_WORKERS


def test_small_parts_get_more_workers() -> None:
    """Uploads of small parts mostly wait for answers."""
    small, large = (ConcurrencyController(None, now_s=0.0, part_bytes=mib * MIB) for mib in (1, 16))
    assert (small.allowed, large.allowed) == (FIRST_WORKERS * SMALL_PART_FACTOR, FIRST_WORKERS)
    assert small.maximum > large.maximum


@pytest.mark.parametrize(
    ("rate", "part_bytes", "first"), [(8_000_000, 8 * MIB, 2), (50_000_000, 8 * MIB, 3), (8_000_000, 256 * KIB, 9)]
)
def test_under_a_rate_limit_there_are_only_as_many_workers_as_reach_it(rate: int, part_bytes: int, first: int) -> None:
    """More workers would have more bytes in flight, which a kill loses; they are added where each gets only a share."""
    limited, shared = (
        ConcurrencyController(None, now_s=0.0, part_bytes=part_bytes, limit_rate_bytes_s=rate) for _ in range(2)
    )
    assert limited.allowed == first
    sent, now = 0.0, 0.0
    for _ in range(20):
        limited.observe(int(rate * now), now)
        shared.observe(int(sent), now)
        sent += min(rate, shared.allowed * rate / first / 2) * TRIAL_S
        now += TRIAL_S
    assert limited.allowed == first
    assert shared.allowed == 2 * first


def test_with_jobs_the_number_of_workers_is_constant() -> None:
    """The number that the user requested is not exceeded."""
    controller = ConcurrencyController(3, now_s=0.0)
    for round_ in range(1, 20):
        controller.observe(round_**3 * 1_000_000, round_ * TRIAL_S)
    assert controller.allowed == 3
