"""This file is the sandbox's sockets: it turns bytes into Requests and Answers into bytes, and knows no service.

It is built on the standard library's `http.server`: the request target arrives untouched (OSS keys carry %2F), a body
is read by whoever wants it, each connection has a thread of its own, so that a call which a fault delays starves no
other, and stopping, which a fixture pays at every test, takes no longer than a poll of the accepting loop. Cheroot,
tried beside it, has a fixed pool of workers, decodes the target, and waits for its selector at the end.
"""

import contextlib
import io
import logging
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, cast

from aliyun_import.sandbox.core.http_types import CHUNK_BYTES, Answer, Body, ConnectionCutError, Headers, Request

SERVER_NAME = "AliyunImportSandbox"
IDLE_S = 300.0  # a connection on which nothing moves for so long is closed
LINGER_S = 2.0  # how long a refused client may go on sending

Connection = socket.socket | tuple[bytes, socket.socket]  # socketserver's word; here always the former
log = logging.getLogger(__name__)


def _chunked(rfile: io.BufferedIOBase) -> Iterator[bytes]:
    """Decode a chunked body, in pieces of bounded size."""
    while True:
        line = rfile.readline(1024)
        try:
            rest = int(line.partition(b";")[0], 16)
        except ValueError:
            raise ConnectionCutError(f"no chunk size: {line[:20]!r}") from None
        if rest == 0:
            while rfile.readline(65536) not in (b"\r\n", b"\n", b""):  # trailers
                pass
            return
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
    wbufsize = 1 << 16  # the head of an answer and a small body leave in one segment
    timeout = IDLE_S
    server: "WireServer"

    def version_string(self) -> str:
        return SERVER_NAME

    def log_message(self, format: str, *args: object) -> None:
        log.debug(format, *args)

    def setup(self) -> None:
        # The handshake happens here, on the connection's own thread: a client that never finishes it blocks nobody.
        self.request.settimeout(IDLE_S)
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        super().setup()

    def handle(self) -> None:
        # A connection that dies between requests is the client's business.
        with contextlib.suppress(OSError, ValueError):
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def _serve(self) -> None:
        request = Request(
            method=self.command,
            # `self.path` has lost doubled leading slashes; the request line is as it came.
            target=self.requestline.split(" ")[1],
            # http.server reads headers as latin-1; what clients send, and sign, is UTF-8.
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
        """Send an answer; with cut_after, only so many bytes of its body, and then drop the connection."""
        chunks: Iterable[bytes] = (answer.body,) if isinstance(answer.body, bytes) else answer.body
        length = len(answer.body) if isinstance(answer.body, bytes) else None
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value.encode("utf-8", "surrogateescape").decode("latin-1"))
        if answer.status != HTTPStatus.NO_CONTENT:  # RFC 9110, 8.6: none with 204
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
        """Close on a client that still sends, but not before it had a moment to read its answer.

        Closing at once would reset the connection, and the reset may overtake the answer.
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


Send = Callable[[Answer, int | None], None]


class WireServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A listening socket and one thread for each connection; `serve_request` is called on those threads."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], serve_request: Callable[[Request, Send], None], *, tls: ssl.SSLContext | None
    ) -> None:
        self.serve_request = serve_request
        self._tls = tls
        self._open: dict[Connection, threading.Thread] = {}
        self._open_lock = threading.Lock()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)
        # 20 ms: what stopping costs at most, for fifty idle wake-ups a second.
        self._loop = threading.Thread(target=self.serve_forever, args=(0.02,), name="sandbox", daemon=True)
        self._loop.start()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; with TLS the handshake is left to its own thread."""
        connection, peer = super().get_request()
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, peer

    def process_request(self, request: Connection, client_address: object) -> None:
        """Serve a connection on a thread of its own."""
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), name="sandbox-connection", daemon=True
        )
        with self._open_lock:
            self._open[request] = thread
        thread.start()

    def shutdown_request(self, request: Connection) -> None:
        """Close a connection and forget it."""
        with self._open_lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Connection, client_address: object) -> None:
        """Log what ended a connection: a failed handshake, a reset."""
        log.debug("%s from %s ended", request, client_address, exc_info=True)

    def stop(self) -> None:
        """Stop listening, drop every connection, wait for their threads."""
        self.shutdown()
        self.server_close()
        self._loop.join()
        with self._open_lock:
            open_now = list(self._open.items())
        for connection, _ in open_now:
            with contextlib.suppress(OSError):
                cast("socket.socket", connection).shutdown(socket.SHUT_RDWR)
        for _, thread in open_now:
            thread.join(timeout=5)
