"""Tests of the estimate of the time left."""

import pytest

from aliyun_import.image.observe import STEPS, Sample, left_s, with_sample


def samples(*percentages: tuple[float, int | None]) -> tuple[Sample, ...]:
    """Return the samples of these times and percentages."""
    found: tuple[Sample, ...] = ()
    for at_s, percent in percentages:
        found = with_sample(found, at_s=at_s, percent=percent)
    return found


def test_one_percentage_gives_no_estimate() -> None:
    """Two different percentages are needed."""
    assert left_s(samples(), now_s=0) is None
    assert left_s(samples((0, 10), (10, 10), (20, None)), now_s=20) is None


def test_the_estimate_uses_the_recent_rate() -> None:
    """Ten percent in ten seconds leave 80 s for the other 80 percent."""
    assert left_s(samples((0, 10), (10, 20)), now_s=10) == pytest.approx(80)


def test_the_time_left_decreases_between_samples_down_to_zero() -> None:
    """Without a new percentage it decreases by the elapsed time."""
    known = samples((0, 10), (10, 20))
    assert left_s(known, now_s=30) == pytest.approx(60)
    assert left_s(known, now_s=500) == 0.0


def test_a_decreasing_percentage_starts_a_new_estimate() -> None:
    """A task that was queued again has another rate."""
    assert left_s(samples((0, 10), (10, 20), (20, 5)), now_s=20) is None


def test_only_the_last_samples_count() -> None:
    """The rate of earlier samples does not matter."""
    slow_then_fast = samples((0, 1), (1000, 2), *((1000 + step, 2 + step) for step in range(1, STEPS + 1)))
    assert len(slow_then_fast) == STEPS
    assert left_s(slow_then_fast, now_s=1000 + STEPS) == pytest.approx(98 - STEPS)


def test_no_time_is_left_at_100_percent() -> None:
    """At 100 % nothing is left."""
    assert left_s(samples((0, 50), (10, 100)), now_s=10) == 0.0
