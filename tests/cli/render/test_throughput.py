"""Tests of the estimate of a rate."""

from aliyun_import.cli.render.text import WINDOW_S, ThroughputEstimator


def test_the_rate_is_a_mean_over_the_window() -> None:
    """What was long ago does not count any more."""
    now = [0.0]
    rate = ThroughputEstimator(now=lambda: now[0])
    assert rate.add(0) == 0
    now[0] = 1.0
    assert rate.add(100) == 100
    now[0] = 1.0 + WINDOW_S + 1
    rate.add(100)
    now[0] += 10
    assert rate.add(1100) == 100


def test_a_count_that_steps_back_is_no_negative_rate() -> None:
    """A retry may take bytes back; the rate is never below zero."""
    now = [0.0]
    rate = ThroughputEstimator(now=lambda: now[0])
    rate.add(100)
    now[0] = 2.0
    assert rate.add(50) == 0
