"""This file estimates a speed from counts that are told now and then."""

import time
from collections import deque
from collections.abc import Callable

# Long enough to be calm on a line that stutters, short enough to show that it got faster.
WINDOW_S = 15.0


class Rate:
    """A mean over the last seconds. `now` gives a time that never steps back, and is there for tests."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, total: int) -> float:
        """Take the count so far and give units a second, 0 until there is enough to tell."""
        at = self._now()
        self._seen.append((at, total))
        while len(self._seen) > 2 and at - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()
        first_at, first = self._seen[0]
        return max(0.0, (total - first) / (at - first_at)) if at - first_at >= 0.5 else 0.0
