"""This file keeps the sandbox's time, which tests steer."""

import threading
import time


class Clock:
    """The cloud's time: it runs with the machine's, or stands still, and `advance` moves it on.

    There are two readings, because clients sign their requests with their own clock: `now_s` is the time in which
    tasks proceed, tokens expire and lifecycle rules fall due; `wall_s` is what signed dates are held against. `advance`
    moves the first alone, so that an hour can pass in the cloud without making every client's clock look wrong;
    `set_skew` moves the second alone. Safe on any thread.
    """

    def __init__(self, *, start_s: float | None = None, running: bool = True) -> None:
        self._lock = threading.Lock()
        self._running = running
        self._start_s = time.time() if start_s is None else start_s
        self._began_s = time.monotonic()
        self._advanced_s = 0.0
        self._skew_s = 0.0

    def now_s(self) -> float:
        """Give the cloud's time in seconds since the epoch."""
        with self._lock:
            passed = time.monotonic() - self._began_s if self._running else 0.0
            return self._start_s + passed + self._advanced_s

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass at once; never backwards."""
        if seconds < 0:
            raise ValueError("the sandbox's clock goes forward only")
        with self._lock:
            self._advanced_s += seconds

    def wall_s(self) -> float:
        """Give the time that signed dates are held against: the machine's, plus the skew."""
        with self._lock:
            return time.time() + self._skew_s

    def set_skew(self, seconds: float) -> None:
        """Let the service's idea of the wall time differ from the machine's by so many seconds."""
        with self._lock:
            self._skew_s = seconds

    def set_wall(self, at_s: float) -> None:
        """Let the service believe that it is a given moment now, as when replaying captured requests."""
        self.set_skew(at_s - time.time())
