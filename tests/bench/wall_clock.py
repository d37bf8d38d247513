"""This file is real time, for benchmarks that run the engine without its command line."""

import time


class WallClock:
    """ports.Clock over the machine's own."""

    def now_s(self) -> float:
        """Give the wall time in seconds since the epoch."""
        return time.time()

    def monotonic_s(self) -> float:
        """Give a time that never steps back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(max(0.0, seconds))
