"""This file tests that retries don't fill the screen."""

from aliyun_import.cli.render.throttle import EVERY_S, MessageThrottle
from aliyun_import.events import PartRetried

RETRY = PartRetried(disk="disk.raw", number=1, attempt=1, wait_s=1.0, reason="no line")


def test_a_storm_of_retries_is_one_line_in_a_while() -> None:
    """The first is said at once, the next after a while, with the number of those kept back."""
    now = [0.0]
    calm = MessageThrottle(now=lambda: now[0])
    assert calm.words(RETRY, "part 1 again") == "part 1 again"
    assert [calm.words(RETRY, "part again") for _ in range(70)] == [None] * 70
    now[0] = EVERY_S
    assert calm.words(RETRY, "part 9 again") == "part 9 again (and 70 retries of disk.raw before it)"
