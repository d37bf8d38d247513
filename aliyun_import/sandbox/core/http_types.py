"""Requests, answers, XML bodies and operation tables, apart from sockets."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import unquote_plus
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from aliyun_import.sandbox.core.faults import Fault

CHUNK_BYTES = 1 << 20  # what is read, hashed and written at once: bounds the memory that a body takes
FORM_TYPE = "application/x-www-form-urlencoded"
MAX_FORM_BYTES = 1 << 20

C = TypeVar("C")
R = TypeVar("R")


class ConnectionCutError(Exception):
    """The connection is lost, or must be dropped now without an answer."""


class BodyTooLargeError(Exception):
    """A body that is read whole (XML, a form) is larger than allowed."""


class Headers:
    """Headers of a request: names in any case; a repeated name has its last value."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.pairs = tuple(pairs)
        self._values = {name.lower(): value.strip() for name, value in self.pairs}

    def get(self, name: str, default: str = "") -> str:
        """Return the value of a header without surrounding blanks."""
        return self._values.get(name.lower(), default)

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._values

    def names(self) -> Iterable[str]:
        """Return the names in lower case, each once."""
        return self._values.keys()

    def items(self) -> Iterable[tuple[str, str]]:
        """Return pairs of lower-case name and stripped value, each name once."""
        return self._values.items()


class Body:
    """Body of a request: a stream that is read once, in chunks of bounded size.

    `length` is the announced number of bytes, None for a chunked body. `announced` is False when the request carried
    neither Content-Length nor Transfer-Encoding.
    """

    def __init__(
        self, read: Callable[[int], bytes] | None = None, *, length: int | None = 0, announced: bool = True
    ) -> None:
        self._read = read
        self._whole: bytes | None = None
        self.length = length
        self.announced = announced
        self.received = 0
        self.cut_after: int | None = None  # set by a fault: drop the connection after this many bytes

    @classmethod
    def of(cls, data: bytes) -> "Body":
        """Return a body that does not come from a socket."""
        rest = memoryview(data)

        def read(size: int) -> bytes:
            nonlocal rest
            chunk, rest = bytes(rest[:size]), rest[size:]
            return chunk

        return cls(read, length=len(data))

    @property
    def finished(self) -> bool:
        """Return whether nothing is left to read from the connection."""
        return self._read is None or self.received == self.length

    def chunks(self, size: int = CHUNK_BYTES) -> Iterator[bytes]:
        """Yield what is left; raises ConnectionCutError when the client stops before the announced length."""
        while not self.finished:
            if self.cut_after is not None:
                size = min(size, self.cut_after - self.received)
                if size <= 0:
                    raise ConnectionCutError("a fault cut the connection within the body")
            wanted = size if self.length is None else min(size, self.length - self.received)
            chunk = self._read(wanted) if self._read else b""
            if not chunk:
                if self.length is None:
                    self._read = None
                    return
                raise ConnectionCutError(f"the client sent {self.received} of {self.length} bytes")
            self.received += len(chunk)
            yield chunk

    def drain(self, max_bytes: int) -> None:
        """Read and discard what is left, unless more than `max_bytes` are announced."""
        if self.length is not None and self.length - self.received > max_bytes:
            return
        for chunk in self.chunks():
            max_bytes -= len(chunk)
            if max_bytes < 0:
                return

    def whole(self, *, max_bytes: int = MAX_FORM_BYTES) -> bytes:
        """Return a small body, read into memory; may be called again. Raises BodyTooLargeError."""
        if self._whole is None:
            if (self.length or 0) > max_bytes:
                raise BodyTooLargeError(f"{self.length} bytes where at most {max_bytes} are allowed")
            gathered = bytearray()
            for chunk in self.chunks():
                gathered += chunk
                if len(gathered) > max_bytes:
                    raise BodyTooLargeError(f"more than {max_bytes} bytes")
            self._whole = bytes(gathered)
        return self._whole


def parse_pairs(text: str) -> tuple[tuple[str, str], ...]:
    """Return the pairs of a query string or form in order; blank values stay, `+` is a space (requests sends it so)."""
    fields = [part.partition("=") for part in text.split("&") if part]
    return tuple((unquote_plus(name), unquote_plus(value)) for name, _, value in fields)


@dataclass(eq=False)
class Request:
    """One request. `target` is that of the request line, undecoded.

    The router sets `id`, `call` (what the request asks for) and `fault` (the fault that applies to it).
    """

    method: str
    target: str
    headers: Headers = field(default_factory=Headers)
    body: Body = field(default_factory=Body)
    id: str = "SANDBOX-0000000000000000"
    call: "Call | None" = None
    fault: "Fault | None" = None

    @cached_property
    def path(self) -> str:
        """Return the path, still percent-encoded; an absolute target (as sent to a proxy) loses its scheme and host."""
        return re.sub(r"^[a-z]+://[^/?]*", "", self.target.partition("?")[0]) or "/"

    @cached_property
    def query(self) -> tuple[tuple[str, str], ...]:
        """Return the decoded pairs of the query string, in order, blank values kept."""
        return parse_pairs(self.target.partition("?")[2])

    @cached_property
    def form(self) -> tuple[tuple[str, str], ...]:
        """Return the decoded pairs of a form body (read into memory, at most 1 MiB); empty if it is not a form."""
        if self.headers.get("content-type").partition(";")[0].strip().lower() != FORM_TYPE:
            return ()
        return parse_pairs(self.body.whole().decode("utf-8", "replace"))

    def has(self, name: str) -> bool:
        """Return whether the query string has a parameter, with or without a value."""
        return any(given == name for given, _ in self.query)

    def param(self, name: str, default: str = "") -> str:
        """Return the first value of a parameter of the query string."""
        return next((value for given, value in self.query if given == name), default)


@dataclass(frozen=True, eq=False)
class Answer:
    """One answer. An iterable body is streamed, and needs `content_length`.

    For HEAD, `content_length` is what a GET would send and `body` is empty. `code` is the error code of the service and
    `reason` its message without anything secret, both for the log of requests.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | Iterable[bytes] = b""
    content_length: int | None = None
    code: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Call:
    """What a request asks for according to its first line: faults match on it, and the log shows it."""

    service: str
    operation: str
    bucket: str = ""
    key: str = ""
    part: int | None = None


@dataclass(frozen=True, kw_only=True)
class Operation(Generic[C, R]):
    """One row of a service's table: an operation and the function that carries it out.

    What a request asks beyond its row is answered 501 by name, so that nobody takes silence for support.
    """

    name: str
    action: str
    """The RAM action that the caller needs; empty if it needs none."""
    anonymous: bool = False
    """Whether it is called without a key and a signature."""
    params: tuple[str, ...] = ()
    """The parameters that it takes; a name that ends in * stands for all that begin so."""
    do: Callable[[C], R]


def xml_element(name: str, value: object) -> str:
    """Return an element: a mapping holds children in order, a list repeats its element, None is omitted."""
    match value:
        case None:
            return ""
        case list():
            return "".join(xml_element(name, item) for item in value)
        case Mapping():
            inner = "".join(xml_element(child, item) for child, item in value.items())
        case bool():
            inner = "true" if value else "false"
        case _:
            inner = escape(str(value))
    return f"<{name}>{inner}</{name}>"
