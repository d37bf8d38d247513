"""This file holds the faults that somebody ordered: which calls they strike, and what they do there.

A fault is data: a match and an effect. The effects:

    answer          the service answers `status`, `code`, `message`, `headers` instead of doing anything
    delay           nothing but waiting `delay_s` of real time first (`delay_s` goes with any other effect, too)
    cut-before      the connection is dropped before the body is read
    cut-body        the connection is dropped once `after_bytes` of the body were read
    lose-answer     the call takes effect, then the connection is dropped instead of an answer
    cut-answer      the connection is dropped after `after_bytes` of the answer's body
    wrong-crc       the answer carries a CRC-64 that is not that of the bytes
    no-crc          the answer carries no CRC-64
    wrong-etag      the answer carries an ETag that is not that of the part or object
    forget-upload   the multipart upload named in the request vanishes, then the call proceeds
    expire-token    the security token of the caller expires, then the call proceeds
    corrupt         the bytes of the body are stored with one bit turned, and every answer tells the stored bytes' CRC
"""

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

from aliyun_import.sandbox.core.http_types import Call

EFFECTS = frozenset({
    "answer", "delay", "cut-before", "cut-body", "lose-answer", "cut-answer", "wrong-crc", "no-crc", "wrong-etag",
    "forget-upload", "expire-token", "corrupt",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault. It strikes the `nth` call that matches and the ones after it, `count` of them (None: for ever)."""

    operation: str = "*"
    """The operation's name, such as UploadPart or ImportImage; a pattern with * is fine."""
    key: str = ""
    """A piece of the object's key."""
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
            raise ValueError(f"no such effect: {self.effect}; there are {', '.join(sorted(EFFECTS))}")
        if self.nth < 1 or (self.count is not None and self.count < 1):
            raise ValueError("nth and count begin at 1")

    def matches(self, call: Call) -> bool:
        """Tell whether a call is one that this fault is about."""
        return (
            fnmatchcase(call.operation, self.operation)
            and self.key in call.key
            and (self.part is None or self.part == call.part)
        )

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Fault":
        """Read a fault from a JSON object; raises ValueError naming what is not known."""
        unknown = set(document) - {item.name for item in fields(cls)}
        if unknown:
            raise ValueError(f"a fault has no {', '.join(sorted(unknown))}")
        return cls(**document)

    def to_json(self) -> dict[str, Any]:
        """Write the fault as a JSON object that from_json reads."""
        return asdict(self)


@dataclass(eq=False)
class _Order:
    """A fault in force: how many calls matched it, and how many it struck."""

    fault: Fault
    seen: int = 0
    strikes: int = 0


class Faults:
    """The faults in force, in the order in which they were ordered. Safe on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: list[_Order] = []

    def add(self, fault: Fault) -> Fault:
        """Put a fault in force."""
        with self._lock:
            self._orders.append(_Order(fault))
        return fault

    def clear(self) -> None:
        """Lift all faults."""
        with self._lock:
            self._orders.clear()

    def active(self) -> tuple[Fault, ...]:
        """List the faults that have not been used up."""
        with self._lock:
            return tuple(order.fault for order in self._orders)

    def strike(self, call: Call) -> Fault | None:
        """Count a call, and give the first fault that strikes it; every matching fault counts it."""
        with self._lock:
            struck: _Order | None = None
            for order in self._orders:
                if order.fault.matches(call):
                    order.seen += 1
                    if struck is None and order.seen >= order.fault.nth:
                        struck = order
            if struck is None:
                return None
            struck.strikes += 1
            if struck.strikes == struck.fault.count:
                self._orders.remove(struck)
            return struck.fault
