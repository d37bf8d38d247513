"""SIGINT and SIGTERM handling."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
