"""This file is real time, and the two ways in which a person or a signal ends a run."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from aliyun_import.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class SystemClock:
    """Wall time whose waits end when `stop` is set: the Clock of the real run. Safe from several threads."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def now_s(self) -> float:
        """Give the wall time in seconds since the epoch."""
        return time.time()

    def monotonic_s(self) -> float:
        """Give a time that never steps back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait; raises Interrupted as soon as the run is being stopped."""
        if self._stop.wait(max(0.0, seconds)):
            raise Interrupted("Stopped.", code="interrupted", remedy="Run the same command again to go on.")


@contextmanager
def stop_on_signals(stop: threading.Event) -> Iterator[None]:
    """Make the first SIGINT or SIGTERM set `stop`, and a second one leave at once with 130.

    The first lets the engine come to a point where it can say what is safe and how to go on; the second is for a
    person who does not want to wait for that. What is journalled is on the disk already, so leaving is safe.
    """

    def stopping(number: int, frame: FrameType | None) -> None:
        del number, frame
        if stop.is_set():
            os._exit(130)
        stop.set()

    before = {number: signal.signal(number, stopping) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
