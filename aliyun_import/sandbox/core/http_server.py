"""HTTP server of the sandbox: connections, their threads, and their limits.

It uses `http.server` of the standard library. The request target stays unchanged (OSS keys contain %2F). Operations
read the body themselves. Each connection has its own thread, so that a call that a fault delays does not block others.
Stopping, which every test with a sandbox does, takes at most one poll of the accept loop. Cheroot was tried: it has a
fixed pool of workers, decodes the target, and waits for its selector when it stops.
"""

import contextlib
import io
import logging
import re
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, cast

from aliyun_import.sandbox.core.http_types import CHUNK_BYTES, Answer, Body, ConnectionCutError, Headers, Request

SERVER_NAME = "AliyunImportSandbox"
IDLE_S = 120.0  # a connection on which nothing arrives for this long is closed
LINGER_S = 2.0  # time in which a refused client may continue to send
MAX_CONNECTIONS = 512  # eight pushes with 32 workers use half of them; each has a thread
MAX_TRAILERS = 100  # as many as http.client allows headers

Connection = socket.socket | tuple[bytes, socket.socket]  # socketserver's type; here always the former
Send = Callable[[Answer, int | None], None]
log = logging.getLogger(__name__)


def _chunked(rfile: io.BufferedIOBase) -> Iterator[bytes]:
    """Yield a chunked body, decoded, in pieces of bounded size."""
    while True:
        line = rfile.readline(1024)
        size = line.partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}", size):
            raise ConnectionCutError(f"not a chunk size: {line[:20]!r}")
        rest = int(size, 16)
        if rest == 0:
            for _ in range(MAX_TRAILERS):
                if rfile.readline(65536) in (b"\r\n", b"\n", b""):
                    return
            raise ConnectionCutError("too many trailers")
        while rest:
            piece = rfile.read(min(rest, CHUNK_BYTES))
            if not piece:
                raise ConnectionCutError("the client stopped within a chunk")
            rest -= len(piece)
            yield piece
        rfile.readline(8)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16  # the headers of an answer and a small body are sent in one segment
    timeout = IDLE_S
    server: "WireServer"

    def version_string(self) -> str:
        return SERVER_NAME

    def log_message(self, format: str, *args: object) -> None:
        log.debug(format, *args)

    def setup(self) -> None:
        # The handshake runs on the thread of the connection: a client that does not finish it does not block others.
        self.request.settimeout(IDLE_S)
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        super().setup()

    def handle(self) -> None:
        # The end of a connection between requests is not an error of the sandbox.
        with contextlib.suppress(OSError, ValueError):
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def handle_expect_100(self) -> bool:
        # Clients wait for the 100 response before they send, so it must not stay in the buffer until the answer.
        proceed = super().handle_expect_100()
        self.wfile.flush()
        return proceed

    def handle_one_request(self) -> None:
        # A connection that waits for a request, or for the rest of its headers, is idle.
        self.server.idle(self.request)
        super().handle_one_request()

    def _serve(self) -> None:
        self.server.busy(self.request)
        request = Request(
            method=self.command,
            # `self.path` lacks doubled leading slashes; the request line is unchanged.
            target=self.requestline.split(" ")[1],
            # http.server decodes headers as latin-1. Clients send and sign UTF-8.
            headers=Headers(
                (name, value.encode("latin-1", "replace").decode("utf-8", "surrogateescape"))
                for name, value in self.headers.items()
            ),
            body=self._body(),
        )
        try:
            self.server.serve_request(request, self._send)
            if not request.body.finished:
                self._close_on_sender()
        except ConnectionCutError as why:
            log.debug("%s %s: %s", request.method, request.path, why)
            self._drop()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = _serve  # noqa: N815

    def _body(self) -> Body:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            pieces = _chunked(self.rfile)
            return Body(lambda _: next(pieces, b""), length=None)
        announced = self.headers.get("Content-Length", "")
        if announced and not announced.isdecimal():
            self.close_connection = True
            return Body(announced=False)
        return Body(self.rfile.read, length=int(announced or 0), announced=bool(announced))

    def _send(self, answer: Answer, cut_after: int | None) -> None:
        """Send an answer. With `cut_after`, send that many bytes of its body, and raise ConnectionCutError."""
        chunks: Iterable[bytes] = (answer.body,) if isinstance(answer.body, bytes) else answer.body
        length = len(answer.body) if isinstance(answer.body, bytes) else None
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value.encode("utf-8", "surrogateescape").decode("latin-1"))
        if answer.status != HTTPStatus.NO_CONTENT:  # RFC 9110, 8.6: no Content-Length with 204
            self.send_header("Content-Length", str(length if answer.content_length is None else answer.content_length))
        self.end_headers()
        rest = cut_after
        for chunk in chunks:
            self.wfile.write(chunk if rest is None else chunk[:rest])
            rest = None if rest is None else rest - len(chunk)
            if rest is not None and rest <= 0:
                break
        self.wfile.flush()
        if cut_after is not None:
            raise ConnectionCutError("a fault cut the answer")

    def _close_on_sender(self) -> None:
        """Close the connection of a client that still sends, after a time in which it can read the answer.

        Closing it at once would reset the connection, and the reset might arrive before the answer.
        """
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(LINGER_S)
            ends_s = time.monotonic() + LINGER_S
            while time.monotonic() < ends_s and self.connection.recv(CHUNK_BYTES):
                pass

    def _drop(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


@dataclass
class _Slot:
    """Open connection: its thread, and the start of its wait for a request (None: it serves one)."""

    thread: threading.Thread
    idle_since_s: float | None


class WireServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Listening socket with one thread per connection. `serve_request` is called on these threads.

    At most `max_connections` are open. A further connection replaces the one that is idle for the longest time. If all
    are busy, it is closed.
    """

    max_connections = MAX_CONNECTIONS

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], serve_request: Callable[[Request, Send], None], *, tls: ssl.SSLContext | None
    ) -> None:
        self.serve_request = serve_request
        self._tls = tls
        self._open: dict[Connection, _Slot] = {}
        self._open_lock = threading.Lock()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler, bind_and_activate=False)
        try:
            if address[0] == "::":  # all addresses, those of IPv4 too, independent of the default of the system
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            self.server_bind()
            self.server_activate()
        except OSError:
            self.server_close()
            raise
        # Poll interval of 20 ms: stopping takes at most this long where it cannot wake the loop.
        self._loop = threading.Thread(target=self.serve_forever, args=(0.02,), name="sandbox", daemon=True)
        self._loop.start()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection. The thread of the connection performs the TLS handshake."""
        connection, peer = super().get_request()
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, peer

    def process_request(self, request: Connection, client_address: object) -> None:
        """Serve a connection on a new thread."""
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), name="sandbox-connection", daemon=True
        )
        if not self._make_room():
            self.shutdown_request(request)
            return
        with self._open_lock:
            self._open[request] = _Slot(thread, time.monotonic())
        thread.start()

    def _make_room(self) -> bool:
        """Return whether another connection is possible. Close the one that is idle for the longest time, if needed."""
        with self._open_lock:
            if len(self._open) < self.max_connections:
                return True
            idle = {each: slot.idle_since_s for each, slot in self._open.items() if slot.idle_since_s is not None}
            if not idle:
                return False
            oldest = min(idle, key=lambda each: idle[each])
            del self._open[oldest]
        _shut(oldest)
        return True

    def idle(self, request: Connection) -> None:
        """Record that a connection waits for a request."""
        self._note(request, time.monotonic())

    def busy(self, request: Connection) -> None:
        """Record that a connection serves a request."""
        self._note(request, None)

    def _note(self, request: Connection, idle_since_s: float | None) -> None:
        with self._open_lock:
            if request in self._open:
                self._open[request].idle_since_s = idle_since_s

    def shutdown_request(self, request: Connection) -> None:
        """Close a connection, and remove it from the open connections."""
        with self._open_lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Connection, client_address: object) -> None:
        """Log the error that ended a connection: a failed handshake, a reset."""
        log.debug("%s from %s ended", request, client_address, exc_info=True)

    def stop(self) -> None:
        """Stop listening, close every connection, and wait for the threads."""
        # On Linux, this wakes the accept loop (0.3 ms instead of 20 ms). On other systems it may fail.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.shutdown()
        self.server_close()
        self._loop.join()
        with self._open_lock:
            open_now = list(self._open.items())
        for connection, _ in open_now:
            _shut(connection)
        for _, slot in open_now:
            slot.thread.join(timeout=5)


def _shut(connection: Connection) -> None:
    with contextlib.suppress(OSError):
        cast("socket.socket", connection).shutdown(socket.SHUT_RDWR)
