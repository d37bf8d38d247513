"""Faults: which calls they strike, and what they do there.

A fault is data: a match and an effect. The effects:

    answer          the service answers `status`, `code`, `message`, `headers` and does nothing else
    delay           the call waits `delay_s` of real time first (`delay_s` combines with every other effect)
    cut-before      the connection is dropped before the body is read
    cut-body        the connection is dropped once `after_bytes` of the body were read
    lose-answer     the call takes effect, then the connection is dropped without an answer
    cut-answer      the connection is dropped after `after_bytes` of the answer's body
    wrong-crc       the answer carries a CRC-64 that is not that of the bytes
    no-crc          the answer carries no CRC-64
    wrong-etag      the answer carries an ETag that is not that of the part or object
    forget-upload   the multipart upload named in the request vanishes, then the call proceeds
    expire-token    the security token of the caller expires, then the call proceeds
    corrupt         the body is stored with one bit flipped, and every answer carries the CRC of the stored bytes
"""

import itertools
import math
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from aliyun_import.sandbox.core.http_types import Call
from aliyun_import.sandbox.core.records import Table

EFFECTS = frozenset({
    "answer", "delay", "cut-before", "cut-body", "lose-answer", "cut-answer", "wrong-crc", "no-crc", "wrong-etag",
    "forget-upload", "expire-token", "corrupt",
})  # fmt: skip


# Effects on stored bytes, checksums and uploads, which the operations of OSS alone have.
STORAGE_EFFECTS = frozenset({"wrong-crc", "no-crc", "wrong-etag", "forget-upload", "corrupt"})


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault. It strikes `count` matching calls (None: all of them), beginning with the `nth`."""

    operation: str = "*"
    """Name of the operation, such as UploadPart or ImportImage, or a pattern with *."""
    key: str = ""
    """Part of the object's key."""
    part: int | None = None
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
            raise ValueError(f"unknown effect {self.effect}; known are {', '.join(sorted(EFFECTS))}")
        if self.nth < 1 or (self.count is not None and self.count < 1):
            raise ValueError("nth and count begin at 1")
        if not 200 <= self.status <= 599:
            raise ValueError(f"status takes a number from 200 to 599, not {self.status}")
        if not 0 <= self.delay_s < math.inf or self.after_bytes < 0:
            raise ValueError("delay_s and after_bytes begin at 0")
        if any(mark in text for pair in self.headers.items() for text in pair for mark in "\r\n"):
            raise ValueError("headers take one line each")

    def matches(self, call: Call) -> bool:
        """Return whether the fault applies to a call."""
        return (
            fnmatchcase(call.operation, self.operation)
            and self.key in call.key
            and (self.part is None or self.part == call.part)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fault as a JSON object."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ActiveFault:
    """An active fault, with the numbers of calls that it matched and struck."""

    fault: Fault
    seen: int = 0
    strikes: int = 0


class Faults:
    """The active faults, in the order of their addition. Thread-safe."""

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
        """Remove one fault by its number; one that is used up is gone already."""
        with self._lock:
            self._table.pop(number, None)

    def numbered(self) -> tuple[tuple[int, ActiveFault], ...]:
        """Return the active faults with their numbers, and with what they struck."""
        with self._lock:
            return tuple(self._table.items())

    def active(self) -> tuple[Fault, ...]:
        """Return the faults that are not used up."""
        with self._lock:
            return tuple(active.fault for active in self._table.values())

    def match(self, call: Call) -> Fault | None:
        """Count a call, and return the first fault that strikes it; every matching fault counts the call."""
        with self._lock:
            struck: Fault | None = None
            for number, active in list(self._table.items()):
                if not active.fault.matches(call):
                    continue
                seen = replace(active, seen=active.seen + 1)
                if struck is None and seen.seen >= seen.fault.nth:
                    struck = seen.fault
                    seen = replace(seen, strikes=seen.strikes + 1)
                self._table[number] = seen
                if seen.strikes == seen.fault.count:
                    del self._table[number]
            return struck
