"""Requests, answers, XML elements and rows of operation tables, independent of sockets."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import unquote_plus
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from aliyun_import.sandbox.core.faults import Fault

CHUNK_BYTES = 1 << 20  # size of reads and writes; bounds the memory of a transfer
FORM_TYPE = "application/x-www-form-urlencoded"
MAX_FORM_BYTES = 1 << 20

C = TypeVar("C")
R = TypeVar("R")


class ConnectionCutError(Exception):
    """The connection is lost, or must be dropped without an answer."""


class BodyTooLargeError(Exception):
    """A body that is read into memory (XML, a form) is larger than allowed."""


class Headers:
    """Headers of a request. Names are case-insensitive; a repeated name has its last value."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._values = {name.lower(): value.strip() for name, value in pairs}

    def get(self, name: str, default: str = "") -> str:
        """Return the value of a header without leading and trailing blanks."""
        return self._values.get(name.lower(), default)

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._values

    def names(self) -> Iterable[str]:
        """Return the distinct names in lower case."""
        return self._values.keys()

    def items(self) -> Iterable[tuple[str, str]]:
        """Return the distinct names in lower case, with their stripped values."""
        return self._values.items()


class Body:
    """Body of a request: a stream that is read once, in chunks of bounded size.

    `length` is the announced number of bytes, None for a chunked body. `announced` is False if the request has neither
    Content-Length nor Transfer-Encoding.
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

    @property
    def finished(self) -> bool:
        """Return whether the body was read completely."""
        return self._read is None or self.received == self.length

    def chunks(self, size: int = CHUNK_BYTES) -> Iterator[bytes]:
        """Yield the rest of the body. Raises ConnectionCutError if the client stops before the announced length."""
        while not self.finished:
            if self.cut_after is not None:
                size = min(size, self.cut_after - self.received)
                if size <= 0:
                    raise ConnectionCutError("a fault cut the connection within the body")
            next_bytes = size if self.length is None else min(size, self.length - self.received)
            chunk = self._read(next_bytes) if self._read else b""
            if not chunk:
                if self.length is None:
                    self._read = None
                    return
                raise ConnectionCutError(f"the client sent {self.received} of {self.length} bytes")
            self.received += len(chunk)
            yield chunk

    def drain(self, max_bytes: int) -> None:
        """Read and discard at most `max_bytes` of the rest. Do nothing if more are announced."""
        if self.length is not None and self.length - self.received > max_bytes:
            return
        for chunk in self.chunks():
            max_bytes -= len(chunk)
            if max_bytes < 0:
                return

    def whole(self, *, max_bytes: int = MAX_FORM_BYTES) -> bytes:
        """Return a small body, read into memory. Further calls return it again. Raises BodyTooLargeError."""
        if self._whole is None:
            if (self.length or 0) > max_bytes:
                raise BodyTooLargeError(f"{self.length} bytes where at most {max_bytes} are allowed")
            received = bytearray()
            for chunk in self.chunks():
                received += chunk
                if len(received) > max_bytes:
                    raise BodyTooLargeError(f"more than {max_bytes} bytes")
            self._whole = bytes(received)
        return self._whole


def parse_pairs(text: str) -> tuple[tuple[str, str], ...]:
    """Return the decoded pairs of a query string or form, in order, with blank values. `+` is a space."""
    fields = [part.partition("=") for part in text.split("&") if part]
    return tuple((unquote_plus(name), unquote_plus(value)) for name, _, value in fields)


@dataclass(eq=False)
class Request:
    """Request. `target` is the target of the request line, not decoded. The router sets `id`, `call` and `fault`."""

    method: str
    target: str
    headers: Headers = field(default_factory=Headers)
    body: Body = field(default_factory=Body)
    id: str = "SANDBOX-0000000000000000"
    call: "Call | None" = None
    fault: "Fault | None" = None

    @cached_property
    def path(self) -> str:
        """Return the percent-encoded path, without the scheme and host of an absolute target (as sent to a proxy)."""
        return re.sub(r"^[a-z]+://[^/?]*", "", self.target.partition("?")[0]) or "/"

    @cached_property
    def query(self) -> tuple[tuple[str, str], ...]:
        """Return the decoded pairs of the query string, in order, with blank values."""
        return parse_pairs(self.target.partition("?")[2])

    @cached_property
    def form(self) -> tuple[tuple[str, str], ...]:
        """Return the decoded pairs of a form; empty if the body is not a form. Raises BodyTooLargeError."""
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
    """Answer. An iterable body is streamed, and requires `content_length`.

    For HEAD, `content_length` is the length of the body of a GET, and `body` is empty. `code` and `reason` are for the
    log of requests: the error code of the service, and its message without secrets.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | Iterable[bytes] = b""
    content_length: int | None = None
    code: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Call:
    """Operation of a request and its object. Faults match it, and the log contains it."""

    service: str
    operation: str
    bucket: str = ""
    key: str = ""
    part: int | None = None


@dataclass(frozen=True, kw_only=True)
class Operation(Generic[C, R]):
    """Row of the table of a service: an operation and the function that carries it out.

    A request with a parameter that is not in the row is answered 501 by name. Ignoring it would look like support.
    """

    name: str
    action: str
    """RAM action that the caller needs; empty if it needs none."""
    anonymous: bool = False
    """Whether it is called without a key and a signature."""
    params: tuple[str, ...] = ()
    """Parameters; a name that ends in * is a prefix."""
    do: Callable[[C], R]


def xml_element(name: str, value: object) -> str:
    """Return an XML element. A mapping contains children in order, a list repeats the element, None is omitted."""
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
