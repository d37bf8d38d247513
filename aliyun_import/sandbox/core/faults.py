"""Faults: the calls that they match, and their effects.

answer          the service answers `status`, `code`, `message`, `headers` and does nothing else
delay           the call first waits `delay_s` seconds of real time; `delay_s` combines with every other effect
cut-before      the connection is dropped before the body is read
cut-body        the connection is dropped after `after_bytes` bytes of the body
lose-answer     the call takes effect, then the connection is dropped without an answer
cut-answer      the connection is dropped after `after_bytes` bytes of the body of the answer
wrong-crc       the answer has a wrong CRC-64
no-crc          the answer has no CRC-64
wrong-etag      the answer has a wrong ETag
forget-upload   the multipart upload of the request is removed, then the call proceeds
expire-token    the security token of the caller expires, then the call proceeds
corrupt         the body is stored with one bit flipped, and every answer has the CRC-64 of the stored bytes
"""

import itertools
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from aliyun_import.sandbox.core.http_types import Call
from aliyun_import.sandbox.core.records import Table

EFFECTS = frozenset({
    "answer", "delay", "cut-before", "cut-body", "lose-answer", "cut-answer", "wrong-crc", "no-crc", "wrong-etag",
    "forget-upload", "expire-token", "corrupt",
})  # fmt: skip


# Effects on stored bytes, checksums and uploads. They apply to operations of OSS only.
STORAGE_EFFECTS = frozenset({"wrong-crc", "no-crc", "wrong-etag", "forget-upload", "corrupt"})


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault. It applies to `count` matching calls (None: to all of them), starting with the `nth`."""

    operation: str = "*"
    """Name of the operation, such as UploadPart or ImportImage, or a pattern with *."""
    key: str = ""
    """Substring of the key of the object."""
    part: int | None = None
    """Part number; None matches every call."""
    nth: int = 1
    count: int | None = 1

    effect: str = "answer"
    status: int = 503
    code: str = "ServiceUnavailable"
    message: str = "Thread pool is almost full, please retry later."
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    after_bytes: int = 0

    def __post_init__(self) -> None:
        if self.effect not in EFFECTS:
            raise ValueError(f"effect takes one of {', '.join(sorted(EFFECTS))}, not {self.effect}")
        if self.nth < 1 or (self.count is not None and self.count < 1):
            raise ValueError("nth and count begin at 1")
        if not 200 <= self.status <= 599:
            raise ValueError(f"status takes a number from 200 to 599, not {self.status}")
        if not 0 <= self.delay_s < math.inf or self.after_bytes < 0:
            raise ValueError("delay_s and after_bytes begin at 0")
        if any(mark in text for pair in self.headers.items() for text in pair for mark in "\r\n"):
            raise ValueError("headers take one line each")

    def matches(self, call: Call) -> bool:
        """Return whether the fault matches a call."""
        return (
            fnmatchcase(call.operation, self.operation)
            and self.key in call.key
            and (self.part is None or self.part == call.part)
        )


@dataclass(frozen=True, kw_only=True)
class ActiveFault:
    """Active fault."""

    fault: Fault
    seen: int = 0
    """Number of calls that it matched."""
    strikes: int = 0
    """Number of calls that it was applied to."""


class Faults:
    """Active faults, in the order in which they were added. Thread-safe."""

    def __init__(self, table: Table[int, ActiveFault]) -> None:
        self._lock = threading.Lock()
        self._table = table
        self._numbers = itertools.count(max(table, default=0) + 1)

    def add(self, fault: Fault) -> Fault:
        """Add a fault."""
        with self._lock:
            self._table[next(self._numbers)] = ActiveFault(fault=fault)
        return fault

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._table.clear()

    def remove(self, number: int) -> None:
        """Remove a fault by its number. Do nothing if it is not active any more."""
        with self._lock:
            self._table.pop(number, None)

    def numbered(self) -> tuple[tuple[int, ActiveFault], ...]:
        """Return the active faults with their numbers and counts."""
        with self._lock:
            return tuple(self._table.items())

    def active(self) -> tuple[Fault, ...]:
        """Return the active faults."""
        with self._lock:
            return tuple(active.fault for active in self._table.values())

    def match(self, call: Call) -> Fault | None:
        """Count a call in every fault that matches it, and return the first fault that applies to it."""
        with self._lock:
            applied: Fault | None = None
            for number, active in list(self._table.items()):
                if not active.fault.matches(call):
                    continue
                counted = replace(active, seen=active.seen + 1)
                if applied is None and counted.seen >= counted.fault.nth:
                    applied = counted.fault
                    counted = replace(counted, strikes=counted.strikes + 1)
                self._table[number] = counted
                if counted.strikes == counted.fault.count:
                    del self._table[number]
            return applied
