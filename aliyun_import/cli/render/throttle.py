"""This file keeps repetitions from filling a screen or a log: a line that drops makes every part fail at once."""

import time
from collections.abc import Callable

from aliyun_import.events import PartRetried

# Often enough to see that it still tries, seldom enough to read.
EVERY_S = 10.0


class MessageThrottle:
    """Lets the first retry through, then one in a while with the number of those kept back. `now` is for tests."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._said_s: float | None = None
        self._kept_back = 0

    def words(self, event: PartRetried, line: str) -> str | None:
        """Give what to say of a retry whose own line this is; None when it is to be kept back."""
        now_s = self._now()
        if self._said_s is not None and now_s - self._said_s < EVERY_S:
            self._kept_back += 1
            return None
        others, self._kept_back, self._said_s = self._kept_back, 0, now_s
        return f"{line} (and {others:,} retries of {event.disk} before it)" if others else line
