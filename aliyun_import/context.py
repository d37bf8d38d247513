"""Context of a run: clock, event sink and cancellation."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from aliyun_import.errors import Interrupted
from aliyun_import.events import Emit, StageFinished, StageStarted, ignore


class Clock(Protocol):
    """Source of time; tests replace it."""

    def now_s(self) -> float:
        """Return the wall time in seconds since the epoch."""
        ...

    def monotonic_s(self) -> float:
        """Return a time in seconds that never decreases."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; raises Interrupted when the run is cancelled."""
        ...


class SystemClock:
    """System time. A wait ends with Interrupted as soon as `cancel` is set. Thread-safe."""

    def __init__(self, cancel: threading.Event) -> None:
        self._cancel = cancel

    def now_s(self) -> float:
        """Return the wall time in seconds since the epoch."""
        return time.time()

    def monotonic_s(self) -> float:
        """Return a time in seconds that never decreases."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait; raises Interrupted when the run is cancelled."""
        if self._cancel.wait(max(0.0, seconds)):
            raise interrupted()


@dataclass(slots=True)
class StageReport:
    """Result of a stage, for people; the stage sets it."""

    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Clock, event sink and cancellation of a run.

    `emit` is called from one thread only, the one that runs the push. `cancel` is the only channel of cancellation:
    once a signal handler or another thread sets it, the run ends at the next check or wait.
    """

    clock: Clock
    emit: Emit = ignore
    cancel: threading.Event = field(default_factory=threading.Event)

    def sleep(self, seconds: float) -> None:
        """Wait; raises Interrupted when the run is cancelled."""
        self.clock.sleep(seconds)

    def check_cancelled(self) -> None:
        """Raise Interrupted if the run is cancelled."""
        if self.cancel.is_set():
            raise interrupted()

    @contextmanager
    def stage(self, name: str, detail: str = "") -> Iterator[StageReport]:
        """Emit the start of a stage and, unless an error passes through, its end and its duration."""
        began_s = self.clock.monotonic_s()
        self.emit(StageStarted(stage=name, detail=detail))
        report = StageReport()
        yield report
        self.emit(StageFinished(stage=name, seconds=self.clock.monotonic_s() - began_s, detail=report.detail))


def system_context(*, emit: Emit = ignore, cancel: threading.Event | None = None) -> Context:
    """Return a context on system time."""
    event = cancel or threading.Event()
    return Context(clock=SystemClock(event), emit=emit, cancel=event)


def interrupted() -> Interrupted:
    """Return the error of a cancelled run."""
    return Interrupted("Stopped.", code="interrupted", remedy="Run the same command again to resume.", resumable=True)
