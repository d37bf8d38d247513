"""This file keeps what the sandbox was asked and what it answered, for tests and for the curious."""

import threading
from collections import deque
from dataclasses import dataclass

MAX_ENTRIES = 100_000  # ten pushes of 10,000 parts; older ones are dropped


@dataclass(frozen=True, kw_only=True)
class LoggedRequest:
    """One request, as it ended."""

    number: int
    at_s: float
    service: str
    operation: str
    method: str
    target: str
    """As on the wire; signatures and tokens in a query string are blotted out."""
    bucket: str
    key: str
    part: int | None
    status: int
    """0 when the connection was dropped without an answer."""
    code: str
    """The service's error code; empty for a success."""
    body_bytes: int
    answer_bytes: int
    fault: str
    """The effect of the fault that struck, or empty."""


class RequestLog:
    """The finished requests, oldest first. Safe on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[LoggedRequest] = deque(maxlen=MAX_ENTRIES)

    def add(self, entry: LoggedRequest) -> None:
        """Add one that has ended."""
        with self._lock:
            self._entries.append(entry)

    def entries(self, *operations: str) -> tuple[LoggedRequest, ...]:
        """Give all of them, or those of some operations."""
        with self._lock:
            return tuple(entry for entry in self._entries if not operations or entry.operation in operations)

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._entries.clear()
