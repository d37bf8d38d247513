"""Clocks whose waits take no real time, so that a whole push runs without waiting.

In one process:

    context = steered_context(sandbox)              # sandbox.state.configure(import_s=3600.0) costs no time
    push(request, options, cloud, context)

Another process uses SandboxClock.over_http(url), which advances the sandbox through its control plane.
"""

import json
import threading
import time
import urllib.request
from collections.abc import Callable

from aliyun_import.context import Context, interrupted
from aliyun_import.sandbox.core.request_log import LoggedRequest
from aliyun_import.sandbox.server import Sandbox


class SteeredClock:
    """A Clock on which time passes only by sleeping. Thread-safe.

    `slept` has the waits; `advance` is called with each, for example to advance the clock of a sandbox. The wait that
    reaches `interrupt_at_s` raises Interrupted.
    """

    def __init__(
        self, advance: Callable[[float], object] | None = None, *, interrupt_at_s: float | None = None
    ) -> None:
        self.slept: list[float] = []
        self.elapsed_s = 0.0
        self._advance = advance
        self._interrupt_at_s = interrupt_at_s
        self._lock = threading.Lock()

    def now_s(self) -> float:
        """Return the steered wall time in seconds since the epoch."""
        return 1_800_000_000.0 + self.elapsed_s

    def monotonic_s(self) -> float:
        """Return the seconds slept so far."""
        return self.elapsed_s

    def sleep(self, seconds: float) -> None:
        """Advance the time at once. Raise Interrupted at `interrupt_at_s`."""
        with self._lock:
            self.slept.append(seconds)
            self.elapsed_s += max(0.0, seconds)
        if self._advance is not None:
            self._advance(seconds)
        if self._interrupt_at_s is not None and self.elapsed_s >= self._interrupt_at_s:
            raise interrupted()


class SandboxClock:
    """A Clock that advances a sandbox instead of waiting. Thread-safe.

    Its times are those of the machine plus the slept time, like those of the sandbox. A wait takes one millisecond of
    real time, so that a thread that polls yields to the others.
    """

    def __init__(self, advance: Callable[[float], None], *, cancel: threading.Event | None = None) -> None:
        self._advance = advance
        self._cancel = cancel or threading.Event()
        self._lock = threading.Lock()
        self.slept_s = 0.0

    @classmethod
    def over_http(cls, url: str) -> "SandboxClock":
        """Return the clock of a sandbox in another process; `url` is its endpoint."""

        def advance(seconds: float) -> None:
            body = json.dumps({"advance_s": seconds}).encode()
            request = urllib.request.Request(f"{url}/_sandbox/clock", data=body, method="POST")
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=30) as answer:
                answer.read()

        return cls(advance)

    def now_s(self) -> float:
        """Return the wall time in seconds since the epoch."""
        return time.time() + self.slept_s

    def monotonic_s(self) -> float:
        """Return a time in seconds that never decreases."""
        return time.monotonic() + self.slept_s

    def sleep(self, seconds: float) -> None:
        """Advance the sandbox. Raise Interrupted when the run is cancelled."""
        if self._cancel.is_set():
            raise interrupted()
        with self._lock:
            self.slept_s += max(0.0, seconds)
        self._advance(max(0.0, seconds))
        if self._cancel.wait(0.001):
            raise interrupted()


def steered_context(sandbox: Sandbox, *, cancel: threading.Event | None = None) -> Context:
    """Return a context whose waits advance a sandbox in this process."""
    event = cancel or threading.Event()
    return Context(clock=SandboxClock(sandbox.clock.advance, cancel=event), cancel=event)


def import_calls(sandbox: Sandbox) -> list[LoggedRequest]:
    """Return the calls of ImportImage without the dry run before the upload."""
    return [entry for entry in sandbox.requests.entries("ImportImage") if "DryRun=true" not in entry.target]
