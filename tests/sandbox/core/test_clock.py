"""Tests of the clock of the sandbox."""

import time

import pytest

from aliyun_import.sandbox.core.state import Clock


def test_a_stopped_clock_changes_only_by_advance() -> None:
    """Real time has no effect, and the clock cannot be set back."""
    clock = Clock(start_s=1000.0, running=False)
    assert clock.now_s() == 1000.0
    clock.advance(60)
    assert clock.now_s() == 1060.0
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1)


def test_the_wall_time_is_independent_of_the_time_of_the_cloud() -> None:
    """`advance` does not change the wall time, and `set_skew` changes only the wall time."""
    clock = Clock(start_s=1000.0, running=False)
    clock.advance(3600)
    assert abs(clock.wall_s() - time.time()) < 60
    clock.set_wall(5000.0)
    assert abs(clock.wall_s() - 5000.0) < 60
    assert clock.now_s() == 4600.0
