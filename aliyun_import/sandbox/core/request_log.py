"""Log of requests, without keys, tokens and signatures."""

import re
import threading
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_plus

MAX_ENTRIES = 20_000  # about 10 MB; older entries are dropped
MAX_TARGET_CHARS = 2000  # longer targets are cut: a percent-encoded key has up to 3069 characters

_SECRET = re.compile(r"signature|securitytoken|credential|accesskey|secret|password|ststoken|oidctoken|userdata")
_PUBLIC = re.compile(r"signature(method|version|nonce|type)")  # parameters about the signature, not the signature


@dataclass(frozen=True, kw_only=True)
class LoggedRequest:
    """One finished request."""

    number: int
    at_s: float
    service: str
    operation: str
    method: str
    target: str
    """As sent, with *** for the values of keys, signatures and tokens in the query string."""
    bucket: str
    key: str
    part: int | None
    status: int
    """0 if the connection was dropped without an answer."""
    code: str
    """Error code of the service; empty for a success."""
    reason: str
    """Message of the error with its details; empty for a success."""
    body_bytes: int
    answer_bytes: int
    fault: str
    """Effect of the fault that was applied to it, or an empty string."""


class RequestLog:
    """Finished requests, oldest first. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[LoggedRequest] = deque(maxlen=MAX_ENTRIES)

    def add(self, entry: LoggedRequest) -> None:
        """Add a finished request."""
        with self._lock:
            self._entries.append(entry)

    def entries(self, *operations: str) -> tuple[LoggedRequest, ...]:
        """Return the entries of the given operations, by default all entries."""
        with self._lock:
            return tuple(entry for entry in self._entries if not operations or entry.operation in operations)

    def clear(self) -> None:
        """Remove all entries."""
        with self._lock:
            self._entries.clear()


def redacted_target(target: str) -> str:
    """Return a request target with *** for the value of every parameter that authenticates the sender."""
    path, mark, query = target.partition("?")
    path = re.sub(r"^([A-Za-z]+://)[^/]*@", r"\1***@", path)
    pairs = (field.partition("=") for field in query.split("&"))
    fields = (name + equals + ("***" if value and _is_secret(name) else value) for name, equals, value in pairs)
    return f"{path}{mark}{'&'.join(fields)}"[:MAX_TARGET_CHARS]


@lru_cache(1024)
def _is_secret(name: str) -> bool:
    """Return whether a parameter is secret, with its name in any spelling (case, percent-encoding, punctuation)."""
    plain = re.sub(r"[^a-z0-9]", "", unquote_plus(name).lower())
    return _SECRET.search(plain) is not None and _PUBLIC.search(plain) is None
