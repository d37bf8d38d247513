"""Tests of the throttle of retry messages."""

from aliyun_import.cli.render.text import RETRY_INTERVAL_S, MessageThrottle
from aliyun_import.events import PartRetried

RETRY = PartRetried(disk="disk.raw", number=1, attempt=1, wait_s=1.0, reason="no line")


def test_a_storm_of_retries_is_one_line_in_a_while() -> None:
    """The first is written at once, the next after a while, with the number of those withheld."""
    now = [0.0]
    throttle = MessageThrottle(now=lambda: now[0])
    assert throttle.line(RETRY, "part 1 again") == "part 1 again"
    assert [throttle.line(RETRY, "part again") for _ in range(70)] == [None] * 70
    now[0] = RETRY_INTERVAL_S
    assert throttle.line(RETRY, "part 9 again") == "part 9 again (and 70 retries of disk.raw before it)"
