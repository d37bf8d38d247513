"""This file sends requests to OSS over connections that it keeps, with as little as possible around each.

A fragmented disk is uploaded by thousands of small requests. On each of them `requests`, urllib3 and http.client spend
most of a millisecond of the interpreter's time, in which no other thread runs: such a push waited for Python and not
for the line (`python -m tests.bench.upload sparse`). Here a request is a head, a body and an answer, and nothing else
of HTTP: no redirects, no proxies (`oss_session` leaves these to requests), no compression.
"""

import socket
import ssl
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urlencode, urlsplit

import requests
from urllib3.util import wait_for_read

from aliyun_import.cloud.transport.config import ca_bundle
from aliyun_import.limits import KIB
from aliyun_import.services.interface import PartBody

# How much of a body that is at hand as a whole goes in one call, and so in one time-out.
SLICE_BYTES = 256 * KIB
# A server that refuses a body closes soon after it answered; for an answer that it sent before, this is long.
EARLY_ANSWER_S = 5.0
# A connection that rested for longer is not used again. Some servers close after five seconds, and a request that meets
# the good-bye on its way is lost; a router that forgot the connection says nothing at all, for a whole time-out.
MOST_REST_S = 4.0
# http.client's own bounds, against a server that never comes to the end of a head.
MAX_LINE_BYTES = 64 * KIB
MAX_HEADERS = 100


@dataclass(slots=True, kw_only=True)
class Request:
    """A request with what oss2 looks at when it signs (which adds headers), and what its own session wants to know."""

    method: str
    url: str
    params: Mapping[str, str]
    headers: dict[str, str]
    data: bytes | PartBody | None
    region: str
    product: str = "oss"
    cloudbox_id: None = None
    proxies: None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with the face of oss2.http.Response: names of headers in lower case, and the whole of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def request_id(self) -> str:
        """OSS's name of the request."""
        return self.headers.get("x-oss-request-id", "")

    def read(self, amount: int | None = None) -> bytes:
        """Give the body, or its beginning; oss2 asks once."""
        return self.body if amount is None else self.body[:amount]


class Line:
    """Stands in for oss2.Session, for one endpoint. Safe on any thread; each connection in use at once is kept."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._is_tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._is_tls else 80)
        self._tls: ssl.SSLContext | None = None
        # The last one that came back is the first to be taken: the others rest, and the server may close them.
        self._idle: deque[_Connection] = deque()
        weakref.finalize(self, _close_all, self._idle)

    def do_request(self, request: Request, timeout: tuple[float, float]) -> Answer:
        """Send a request and read its answer, whatever its status. `timeout`: for connecting, for each wait after it.

        Raises OSError for all that the network and the server do, and what the body raises as it is.
        """
        connect_s, wait_s = timeout
        parts = urlsplit(request.url)
        target = parts.path + (f"?{urlencode(request.params, quote_via=quote)}" if request.params else "")
        connection = self._idle_connection() or self._connect(parts.hostname or "", connect_s)
        try:
            answer, is_kept = connection.exchange(request, target, host=parts.netloc, wait_s=wait_s)
        except ValueError as error:
            connection.close()
            raise ConnectionError(f"not an answer of HTTP ({error})") from error
        except BaseException:
            connection.close()
            raise
        if is_kept:
            self._idle.append(connection)
        else:
            connection.close()
        if 300 <= answer.status < 400 and "location" in answer.headers:
            # OSS answers 403 where others redirect; a redirect comes from something that stands in between.
            raise requests.TooManyRedirects(answer.headers["location"])
        return answer

    def _idle_connection(self) -> "_Connection | None":
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.is_open():
                return connection
            connection.close()

    def _connect(self, host: str, connect_s: float) -> "_Connection":
        try:
            plain = socket.create_connection((host, self._port), timeout=connect_s)
            try:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return _Connection(self._wrapped(plain, host) if self._is_tls else plain)
            except BaseException:
                plain.close()
                raise
        except TimeoutError as error:  # of TCP, or of TLS: nothing of a request was sent
            raise requests.ConnectTimeout(f"no connection in {connect_s:g} s") from error

    def _wrapped(self, plain: socket.socket, host: str) -> ssl.SSLSocket:
        if self._tls is None:  # two threads at once make two, of which one stays
            trusted = ca_bundle() or requests.utils.DEFAULT_CA_BUNDLE_PATH
            # Whom requests trusts, and nobody else: without a bundle, ssl would take the system's, too.
            is_file = Path(trusted).is_file()
            self._tls = ssl.create_default_context(
                cafile=trusted if is_file else None, capath=None if is_file else trusted
            )
        return self._tls.wrap_socket(plain, server_hostname=host)


class _Connection:
    """One connection, used by one thread at a time."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self._reader: BinaryIO = opened.makefile("rb")
        self._used_s = time.monotonic()

    def is_open(self) -> bool:
        """Tell whether it can be used again: what is readable now is the server's good-bye."""
        return time.monotonic() - self._used_s < MOST_REST_S and not wait_for_read(self._socket, timeout=0)

    def close(self) -> None:
        self._reader.close()
        self._socket.close()

    def exchange(self, request: Request, target: str, *, host: str, wait_s: float) -> tuple[Answer, bool]:
        """Send a request and read the answer; tells also whether the connection can be kept."""
        body = request.data or b""
        self._socket.settimeout(wait_s)
        try:
            self._socket.sendall(_head(request, target, host=host, length=len(body)))
            for chunk in _chunks(body):
                self._socket.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError) as error:
            # It closed while it was sent a body, maybe after an answer: the token has expired, please send less.
            return self._early_answer(request.method, error), False
        return self._answer(request.method)

    def _early_answer(self, method: str, closed: OSError) -> Answer:
        self._socket.settimeout(EARLY_ANSWER_S)
        try:
            return self._answer(method)[0]
        except OSError:
            raise closed from None

    def _answer(self, method: str) -> tuple[Answer, bool]:
        status, headers = self._read_head()
        while status < 200:  # 100 Continue, which nobody asked for
            status, headers = self._read_head()
        is_kept = headers.get("connection", "").lower() != "close"
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            body = b"".join(self._read_chunks())
        elif "content-length" in headers:
            body = self._read(int(headers["content-length"]))
        else:  # as much as comes until the server closes
            body, is_kept = self._reader.read(), False
        self._used_s = time.monotonic()
        return Answer(status, headers, body), is_kept

    def _read_head(self) -> tuple[int, dict[str, str]]:
        version, _, rest = self._read_line().partition(" ")
        if not version.startswith("HTTP/1."):
            raise ValueError(f"it begins with {version[:40]!r}")
        status = int(rest[:3])
        headers = {"connection": "close"} if version == "HTTP/1.0" else {}
        for _ in range(MAX_HEADERS + 1):
            line = self._read_line()
            if not line:
                return status, headers
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        raise ValueError("its head has no end")

    def _read_line(self) -> str:
        line = self._reader.readline(MAX_LINE_BYTES)
        if not line.endswith(b"\n"):
            raise ConnectionError("the server closed the connection" if not line else "the answer breaks off")
        return line.rstrip(b"\r\n").decode("latin-1")

    def _read(self, length: int) -> bytes:
        body = self._reader.read(length)
        if len(body) < length:
            raise ConnectionError(f"the answer breaks off after {len(body)} of {length} bytes")
        return body

    def _read_chunks(self) -> Iterator[bytes]:
        while size := int(self._read_line().partition(";")[0], 16):
            yield self._read(size)
            self._read_line()
        while self._read_line():  # trailers
            pass


def _head(request: Request, target: str, *, host: str, length: int) -> bytes:
    fields = [f"{name}: {value}" for name, value in request.headers.items()]
    lines = [
        f"{request.method} {target} HTTP/1.1",
        f"Host: {host}",
        f"Content-Length: {length}",
        *fields,
    ]
    if any("\r" in line or "\n" in line for line in lines):
        raise AssertionError("a header with a line break in it")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _chunks(body: bytes | PartBody) -> Iterable[bytes | memoryview]:
    if isinstance(body, bytes):
        whole = memoryview(body)
        return (whole[start : start + SLICE_BYTES] for start in range(0, len(whole), SLICE_BYTES))
    return body


def _close_all(connections: "deque[_Connection]") -> None:
    while connections:
        connections.pop().close()
