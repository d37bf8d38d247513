"""Tests of the estimate of the time left."""

import pytest

from aliyun_import.image.observe import STEPS, Sample, left_s, with_sample


def samples(*told: tuple[float, int | None]) -> tuple[Sample, ...]:
    """Add these percentages one after the other."""
    found: tuple[Sample, ...] = ()
    for at_s, percent in told:
        found = with_sample(found, at_s=at_s, percent=percent)
    return found


def test_one_percent_is_no_estimate() -> None:
    """Two different percents are needed."""
    assert left_s(samples(), now_s=0) is None
    assert left_s(samples((0, 10), (10, 10), (20, None)), now_s=20) is None


def test_the_estimate_uses_the_recent_rate() -> None:
    """Ten percent in ten seconds leave eighty for eighty."""
    assert left_s(samples((0, 10), (10, 20)), now_s=10) == pytest.approx(80)


def test_it_counts_down_between_steps_and_never_below_nothing() -> None:
    """Without news the time left shrinks by the time passed."""
    known = samples((0, 10), (10, 20))
    assert left_s(known, now_s=30) == pytest.approx(60)
    assert left_s(known, now_s=500) == 0.0


def test_a_step_back_starts_anew() -> None:
    """A percent that falls (a task that was queued again) makes the old pace worthless."""
    assert left_s(samples((0, 10), (10, 20), (20, 5)), now_s=20) is None


def test_only_the_last_steps_count() -> None:
    """The pace of long ago does not matter."""
    slow_then_fast = samples((0, 1), (1000, 2), *((1000 + step, 2 + step) for step in range(1, STEPS + 1)))
    assert len(slow_then_fast) == STEPS
    assert left_s(slow_then_fast, now_s=1000 + STEPS) == pytest.approx(98 - STEPS)


def test_it_is_nothing_at_the_end() -> None:
    """At 100 % nothing is left."""
    assert left_s(samples((0, 50), (10, 100)), now_s=10) == 0.0
