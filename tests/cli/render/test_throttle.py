"""Tests of the throttle of retry messages."""

from aliyun_import.cli.render.text import RETRY_INTERVAL_S, MessageThrottle


def test_many_retries_are_one_line_per_interval() -> None:
    """The first line is written at once, the next one after the interval, with the number of suppressed lines."""
    now = [0.0]
    throttle = MessageThrottle(now=lambda: now[0])
    assert throttle.line("part 1 again") == "part 1 again"
    assert [throttle.line("part again") for _ in range(70)] == [None] * 70
    now[0] = RETRY_INTERVAL_S
    assert throttle.line("part 9 again") == "part 9 again (and 70 retries before it)"
