"""Log of requests, without keys, tokens and signatures."""

import re
import threading
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_plus

MAX_ENTRIES = 20_000  # about 10 MB; older entries are dropped
MAX_TEXT_CHARS = 2000  # of a request target: a key has at most 1023 bytes, which is three times as long when encoded

_SECRET = re.compile(r"signature|securitytoken|credential|accesskey|secret|password|ststoken|oidctoken|userdata")
_HARMLESS = re.compile(r"signature(method|version|nonce|type)")  # what says how it was signed


@dataclass(frozen=True, kw_only=True)
class LoggedRequest:
    """One finished request."""

    number: int
    at_s: float
    service: str
    operation: str
    method: str
    target: str
    """As on the wire; the values of keys, signatures and tokens in a query string are concealed."""
    bucket: str
    key: str
    part: int | None
    status: int
    """0 when the connection was dropped without an answer."""
    code: str
    """The service's error code; empty for a success."""
    reason: str
    """Why it was refused: the message of the error, and what it is about."""
    body_bytes: int
    answer_bytes: int
    fault: str
    """The effect of the fault that struck it, or empty."""


class RequestLog:
    """The finished requests, oldest first. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[LoggedRequest] = deque(maxlen=MAX_ENTRIES)

    def add(self, entry: LoggedRequest) -> None:
        """Add a finished request."""
        with self._lock:
            self._entries.append(entry)

    def entries(self, *operations: str) -> tuple[LoggedRequest, ...]:
        """Return all entries, or those of the given operations."""
        with self._lock:
            return tuple(entry for entry in self._entries if not operations or entry.operation in operations)

    def clear(self) -> None:
        """Remove all entries."""
        with self._lock:
            self._entries.clear()


def redacted_target(target: str) -> str:
    """Return a request target with *** for every value that proves who sent it, however its name is written."""
    path, mark, query = target.partition("?")
    path = re.sub(r"^([A-Za-z]+://)[^/]*@", r"\1***@", path)
    fields = (name + equals + ("***" if value and _is_secret(name) else value) for name, equals, value in _pairs(query))
    return f"{path}{mark}{'&'.join(fields)}"[:MAX_TEXT_CHARS]


def _pairs(query: str) -> list[tuple[str, str, str]]:
    return [field.partition("=") for field in query.split("&")]


@lru_cache(1024)
def _is_secret(name: str) -> bool:
    plain = re.sub(r"[^a-z0-9]", "", unquote_plus(name).lower())
    return _SECRET.search(plain) is not None and _HARMLESS.search(plain) is None
