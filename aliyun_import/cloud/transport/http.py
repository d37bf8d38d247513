"""HTTP requests to the services over urllib3, with and without a proxy.

urllib3 keeps the connections, and handles TLS (always with SNI) and proxies. This module adds what an upload of hours
over bad networks requires: an early answer is read even if the server closed the connection during the body; every
answer is bounded in size and time; a connection in an uncertain state is not used again; a cancelled run ends a wait.
Nothing is retried, redirected or decompressed here.
"""

import io
import re
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError

from aliyun_import.cloud.errors.network import AnswerTooLarge, Redirected, network_error
from aliyun_import.cloud.transport.answer import Answer
from aliyun_import.cloud.transport.settings import DEFAULT_PORTS, ca_bundle, logged, proxy_for, tls_context
from aliyun_import.context import interrupted
from aliyun_import.limits import KIB, MIB
from aliyun_import.services import PartBody

# Maximum body of an answer that is not an object: a list of 1,000 parts or images is below 1 MiB.
MAX_BODY_BYTES = 16 * MIB
# http.client's own bounds are 100 headers of 64 KiB; this one also bounds what precedes them (100 Continue).
MAX_HEAD_BYTES = 1 * MIB
# Minimum rate of an answer after its timeout. It ends answers that arrive one byte a second, which no timeout of a
# single wait on the socket would end.
MIN_RATE_BYTES_S = 16 * KIB
# Interval in which a wait checks whether the run is cancelled.
CANCEL_CHECK_S = 0.5
# A body in memory is sent in slices of this size, each with its own timeout.
SLICE_BYTES = 256 * KIB
# A server that refuses a body closes soon after it has answered, so the answer is already on the way.
EARLY_ANSWER_S = 5.0
# A connection that was idle for longer is not used again. Some servers close after five seconds, and a request at that
# moment is lost. A router that dropped the connection discards packets silently, for a whole timeout.
MAX_IDLE_S = 4.0
_NO_RETRIES = urllib3.Retry(False, redirect=False)
_NODELAY = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]


class HttpClient:
    """HTTP client for one endpoint. Thread-safe; keeps up to `connections` connections per host.

    A wait for an answer ends with Interrupted once `cancel` is set, unless it was set before the request began (a
    cancelled run still sends requests, such as CancelTask). `proxy` replaces the environment's ("" for none). Without
    `shows_path` the log contains the host only, because the path may contain a secret.
    """

    def __init__(
        self,
        service: str,
        url: str,
        *,
        connections: int = 4,
        cancel: threading.Event | None = None,
        proxy: str | None = None,
        shows_path: bool = True,
    ) -> None:
        self._service = service
        self._url = url
        self._cancel = cancel
        self._shows_path = shows_path
        self._proxy = proxy_for(url) if proxy is None else proxy
        is_tls = urlsplit(url).scheme == "https" or self._proxy.startswith("https:")
        self._manager = _pool_manager(self._proxy, connections, tls_context(ca_bundle()) if is_tls else None)
        # The manager has pools too, but normalizing their keys takes 20 us for each request.
        self._pools: dict[str, HTTPConnectionPool] = {}

    def close(self) -> None:
        """Close idle connections now and the others after their answers; the next request opens new ones."""
        self._pools.clear()
        self._manager.clear()

    def send(
        self,
        operation: str,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | PartBody = b"",
        connect_s: float,
        wait_s: float,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> Answer:
        """Send a request once and return the answer, with any status.

        `connect_s` bounds the connection setup, with TLS; `wait_s` bounds each wait while the body is sent, and the
        wait for the answer. Raises AliyunImportError for failures of network and server. An error that the body
        raises passes unchanged.
        """
        exchange = _Exchange(
            chunks=_chunks(body),
            wait_s=wait_s,
            max_bytes=MAX_HEAD_BYTES + max_body_bytes,
            cancel=None if self._cancel is None or self._cancel.is_set() else self._cancel,
        )
        try:
            with logged(self._service, operation, method=method, url=url if self._shows_path else self._url) as log:
                response = self._open(method, url, headers, exchange, len(body), connect_s)
                try:
                    answer = _read(response, max_body_bytes)
                except BaseException:
                    response.close()
                    raise
                response.release_conn()
                log.status, log.request_id = answer.status, answer.request_id
        except (HTTPError, OSError) as error:
            # The exception's chain may contain the signed URL.
            raise network_error(error, service=self._service, operation=operation, url=self._url) from None
        return answer

    def _open(
        self, method: str, url: str, headers: Mapping[str, str], exchange: "_Exchange", length: int, connect_s: float
    ) -> urllib3.BaseHTTPResponse:
        scheme, _, rest = url.partition("://")
        origin, _, path = rest.partition("/")
        pool = self._pools.get(origin)
        if pool is None:
            parts = urlsplit(url)
            port = parts.port or DEFAULT_PORTS[parts.scheme]
            pool = self._pools[origin] = self._manager.connection_from_host(parts.hostname, port, scheme)
        is_forwarded = bool(self._proxy) and scheme == "http"
        return pool.urlopen(
            method,
            url if is_forwarded else f"/{path}",
            body=cast(Any, exchange),  # _Connection expects it
            headers={**headers, "Content-Length": str(length)},
            retries=_NO_RETRIES,
            redirect=False,
            assert_same_host=False,
            timeout=urllib3.Timeout(connect=connect_s, read=exchange.wait_s),
            preload_content=False,
            decode_content=False,
        )


def _pool_manager(proxy: str, connections: int, tls: ssl.SSLContext | None) -> urllib3.PoolManager:
    options: dict[str, Any] = {"num_pools": 8, "maxsize": connections, "ssl_context": tls}
    if not proxy:
        manager = urllib3.PoolManager(**options)
    else:
        parts = urlsplit(proxy)
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
        manager = urllib3.ProxyManager(
            proxy,
            # Not urllib3.make_headers, which encodes Latin-1 only; browsers and curl send UTF-8 (RFC 7617).
            proxy_headers={"proxy-authorization": f"Basic {b64encode(login.encode()).decode()}"} if login else None,
            proxy_ssl_context=tls,
            # urllib3 does not disable Nagle's algorithm for proxies; head and body are sent separately, and would wait.
            socket_options=_NODELAY,
            **options,
        )
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return manager


def _read(response: urllib3.BaseHTTPResponse, max_bytes: int) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    if response.status < 200:
        raise ConnectionError(f"the answer has the status {response.status}")
    length = headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]{1,18}", length):
        raise ConnectionError(f"the answer has the length {length[:40]!r}")
    expected = response.length_remaining  # None: until the connection closes; 0 for HEAD
    if expected is not None and expected > max_bytes:
        raise AnswerTooLarge(f"the answer has {expected} bytes, more than {max_bytes}")
    body = response.read(decode_content=False) if expected is not None else response.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise AnswerTooLarge(f"the answer has more than {max_bytes} bytes")
    if 300 <= response.status < 400 and "location" in headers:
        # The services never redirect; a redirect is from a portal or a proxy.
        raise Redirected("a redirect")
    return Answer(response.status, headers, body)


def _chunks(body: bytes | PartBody) -> Iterable[bytes | memoryview]:
    if isinstance(body, bytes):
        whole = memoryview(body)
        return (whole[start : start + SLICE_BYTES] for start in range(0, len(whole), SLICE_BYTES))
    return body


@dataclass(slots=True, kw_only=True)
class _Exchange:
    """Body and bounds of one request; urllib3 passes it to _Connection as the body."""

    chunks: Iterable[bytes | memoryview] = ()
    wait_s: float = EARLY_ANSWER_S
    max_bytes: int = MAX_HEAD_BYTES
    cancel: threading.Event | None = None
    was_cut: bool = False

    def __iter__(self) -> Iterator[bytes | memoryview]:
        return iter(self.chunks)


class _Connection(HTTPConnection):
    """Connection that reads bounded and early answers, and records whether it can be used again."""

    _exchange = _Exchange()
    _is_in_doubt = False
    _used_s = 0.0

    @property
    def is_connected(self) -> bool:
        """Return whether the next request may use this connection. Readable bytes now would belong to no request."""
        is_fresh = time.monotonic() - self._used_s < MAX_IDLE_S
        return is_fresh and not self._is_in_doubt and super().is_connected

    def connect(self) -> None:
        """Connect; every timeout, also of TLS and of a proxy's tunnel, is raised as ConnectTimeoutError."""
        self._is_in_doubt = False
        self._exchange = _Exchange(wait_s=float(self.timeout or EARLY_ANSWER_S))
        self.response_class = cast(Any, self._open_response)
        try:
            super().connect()
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "the connection was not made in time") from error
        self._used_s = time.monotonic()

    def request(self, method: str, url: str, body: Any = None, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        """Send a request whose body is an _Exchange."""
        if self.sock is None:
            self.connect()
        self._exchange = body
        self.timeout = body.wait_s  # urllib3 bounds each send by the timeout for connecting
        super().request(method, url, body, *arguments, **options)

    def send(self, data: Any) -> None:  # noqa: ANN401 -- http.client's own signature
        """Send bytes. After a BrokenPipeError, urllib3 reads the answer that the server may have sent before."""
        try:
            super().send(data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError) as error:
            # urllib3 handles the first two only; over TLS the same event is an SSLEOFError.
            self._exchange.was_cut = self._is_in_doubt = True
            raise BrokenPipeError("the server closed the connection while the request was sent") from error

    def _open_response(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> HTTPResponse:
        return _Response(_Reader(sock, self._exchange, self._on_end), debuglevel, method, url)

    def _on_end(self, unread_bytes: int) -> None:
        """Record the end of an answer; unread bytes after it would be read as the next answer."""
        self._used_s = time.monotonic()
        self._is_in_doubt = self._is_in_doubt or unread_bytes > 0


class _TlsConnection(_Connection, HTTPSConnection):
    """_Connection over TLS."""


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Response(HTTPResponse):
    """http.client's response on a _Reader; an incomplete or malformed head is an error."""

    def __init__(self, reader: "_Reader", debuglevel: int, method: str | None, url: str | None) -> None:
        super().__init__(cast(socket.socket, reader), debuglevel, method, url)  # only makefile is used
        self._reader = reader

    def begin(self) -> None:
        """Read the head."""
        super().begin()
        # http.client treats the end of the stream as the end of the head, and so loses the headers with the length of
        # the body.
        if self._reader.is_at_end:
            raise ConnectionError("the head of the answer is incomplete")
        if self.msg.defects:  # a malformed line, after which nothing is read as a header
            raise ConnectionError("the head of the answer is malformed")


class _Reader(io.RawIOBase):
    """Reader of one answer from a socket, within the bounds of its exchange."""

    def __init__(self, sock: socket.socket, exchange: _Exchange, on_end: Callable[[int], None]) -> None:
        self._sock = sock
        # Keeps the socket open until this reader is closed; http.client may close its connection earlier.
        self._handle = sock.makefile("rb", buffering=0)
        self._exchange = exchange
        self._on_end = on_end
        self._wait_s = min(exchange.wait_s, EARLY_ANSWER_S) if exchange.was_cut else exchange.wait_s
        self._start_s = time.monotonic()
        self._received = 0
        self.is_at_end = False

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the buffered reader that http.client asks a socket for."""
        return _Buffered(self)

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._received

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 -- io's own signature
        """Receive bytes. Raises TimeoutError, AnswerTooLarge, Interrupted, and the errors of the socket."""
        count = self._receive(buffer)
        if not self._received:
            self._start_s = time.monotonic()
        self._received += count
        self.is_at_end = self.is_at_end or not count
        if self._received > self._exchange.max_bytes:
            raise AnswerTooLarge(f"the answer has more than {self._exchange.max_bytes} bytes")
        return count

    def _receive(self, buffer: Any) -> int:  # noqa: ANN401
        deadline_s = self._start_s + self._wait_s + self._received / MIN_RATE_BYTES_S
        while (left_s := deadline_s - time.monotonic()) > 0:
            self._sock.settimeout(min(left_s, CANCEL_CHECK_S))
            try:
                return self._sock.recv_into(buffer)
            except TimeoutError:
                if self._exchange.cancel is not None and self._exchange.cancel.is_set():
                    raise interrupted() from None
        if self._exchange.was_cut:  # not a timeout: the server closed without an answer
            raise ConnectionResetError("the server closed the connection while the request was sent")
        raise TimeoutError("the answer took too long")

    def finish(self, position: int) -> None:
        """Close the reader, of which `position` bytes were used."""
        self._handle.close()
        self._on_end(self._received - position)


class _Buffered(io.BufferedReader):
    """Buffer of a _Reader; when it is closed, it reports how many bytes were used."""

    raw: _Reader

    def close(self) -> None:
        if not self.closed:
            self.raw.finish(self.tell())
        super().close()
