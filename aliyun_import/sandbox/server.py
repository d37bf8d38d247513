"""A running sandbox: sockets, lifetime, and access for tests.

    with Sandbox.start(directory) as sandbox:
        os.environ.update(sandbox.environment())     # endpoint, region and keys for aliyun-import
        ...
        sandbox.clock.advance(3600)                  # an hour passes in the sandbox
        sandbox.faults.add(Fault(operation="UploadPart", part=3, status=500, code="InternalError"))
        sandbox.requests.entries("UploadPart")       # the requests, with statuses and bytes

`sandbox.state` has the rest: accounts' keys and their permissions, settings, and the state of each service. The
directory receives the bytes of objects. Everything else is in memory and ends with the sandbox, unless it is started
with `keep`.

The HTTP server is built on the standard library's `http.server`: the request target arrives unchanged (OSS keys carry
%2F), the operation reads the body itself, each connection has its own thread, so that a call delayed by a fault blocks
no other, and stopping, which a fixture pays at every test, takes one poll of the accepting loop. Cheroot, tried beside
it, has a fixed pool of workers, decodes the target, and waits for its selector at the end.
"""

import contextlib
import io
import logging
import os
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from aliyun_import.sandbox.core.faults import Faults
from aliyun_import.sandbox.core.http_types import CHUNK_BYTES, Answer, Body, ConnectionCutError, Headers, Request
from aliyun_import.sandbox.core.request_log import RequestLog
from aliyun_import.sandbox.core.router import Router, Send
from aliyun_import.sandbox.core.state import (
    DEFAULT_ACCOUNT_ID,
    DEFAULT_KEY_ID,
    AccessKey,
    Clock,
    Settings,
    State,
)
from aliyun_import.sandbox.core.store import Store
from aliyun_import.sandbox.directory import STATE, TLS, DirectoryLock, Serving

SERVER_NAME = "AliyunImportSandbox"
IDLE_S = 300.0  # a connection that is idle for this long is closed
LINGER_S = 2.0  # how long a refused client may continue to send

Connection = socket.socket | tuple[bytes, socket.socket]  # socketserver's type; here always the former
log = logging.getLogger(__name__)


def _chunked(rfile: io.BufferedIOBase) -> Iterator[bytes]:
    """Yield a chunked body, decoded, in pieces of bounded size."""
    while True:
        line = rfile.readline(1024)
        try:
            rest = int(line.partition(b";")[0], 16)
        except ValueError:
            raise ConnectionCutError(f"not a chunk size: {line[:20]!r}") from None
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
        # The handshake happens on the connection's own thread: a client that never finishes it blocks no other.
        self.request.settimeout(IDLE_S)
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        super().setup()

    def handle(self) -> None:
        # A connection that ends between requests is no error of the sandbox.
        with contextlib.suppress(OSError, ValueError):
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def handle_expect_100(self) -> bool:
        # Without the flush it would stay in the buffer until the answer, and clients wait for it before they send.
        proceed = super().handle_expect_100()
        self.wfile.flush()
        return proceed

    def _serve(self) -> None:
        request = Request(
            method=self.command,
            # `self.path` lacks doubled leading slashes; the request line is unchanged.
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
        """Send an answer; with `cut_after`, only that many bytes of its body, and then drop the connection."""
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
        """Close the connection of a client that still sends, after a time in which it can read its answer.

        Closing at once would reset the connection, and the reset may arrive before the answer.
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


class WireServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A listening socket and one thread per connection; `serve_request` is called on those threads."""

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
        super().__init__(address, _Handler, bind_and_activate=False)
        try:
            if address[0] == "::":  # all addresses are meant, those of IPv4 too, whatever the system's default is
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            self.server_bind()
            self.server_activate()
        except OSError:
            self.server_close()
            raise
        # 20 ms: the longest time that stopping takes, for fifty idle wake-ups a second.
        self._loop = threading.Thread(target=self.serve_forever, args=(0.02,), name="sandbox", daemon=True)
        self._loop.start()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; a TLS handshake is left to the connection's thread."""
        connection, peer = super().get_request()
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, peer

    def process_request(self, request: Connection, client_address: object) -> None:
        """Serve a connection on its own thread."""
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), name="sandbox-connection", daemon=True
        )
        with self._open_lock:
            self._open[request] = thread
        thread.start()

    def shutdown_request(self, request: Connection) -> None:
        """Close a connection and remove it from the open ones."""
        with self._open_lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Connection, client_address: object) -> None:
        """Log the error that ended a connection: a failed handshake, a reset."""
        log.debug("%s from %s ended", request, client_address, exc_info=True)

    def stop(self) -> None:
        """Stop listening, drop every connection, wait for the threads."""
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


class Sandbox:
    """A running sandbox. It serves from `start` until `stop`, on its own threads."""

    def __init__(
        self,
        state: State,
        *,
        host: str,
        port: int,
        http_port: int | None = None,
        tls: ssl.SSLContext | None,
        authority: Path | None = None,
    ) -> None:
        self.state = state
        self.authority = authority
        """The certificate that clients are to trust, if the sandbox made one."""
        self._router = Router(state)
        self._server = WireServer((host, port), self._router.serve, tls=tls)
        self._plain: WireServer | None = None
        if http_port is not None:
            try:
                self._plain = WireServer((host, http_port), self._router.serve, tls=None)
            except OSError:
                self._server.stop()
                raise
        self._host = host
        self._scheme = "http" if tls is None else "https"
        self._held = contextlib.ExitStack()  # what ends with the sandbox

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        settings: Settings | None = None,
        clock: Clock | None = None,
        certificate: Path | None = None,
        private_key: Path | None = None,
        keep: bool = False,
        own_tls: bool = False,
        http_port: int | None = None,
    ) -> "Sandbox":
        """Start a sandbox that stores objects in a directory (created if missing); port 0 selects a free port.

        With `keep` all its state is in the directory: the next sandbox there continues, also after a kill. Otherwise
        it starts empty and leaves what is there alone. With a certificate (PEM, with its private key unless that is in
        the same file) it serves https instead of http; with `own_tls` it makes the certificate itself, and the
        authority that clients are to trust (`authority`). `http_port` is a second port, for plain http beside https.
        Raises OSError if a port is in use or the directory cannot be written, DirectoryInUseError and
        ForeignDirectoryError (both OSError), and UnreadableStateError.
        """
        directory.mkdir(parents=True, exist_ok=True)
        tls, authority = None, None
        if certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate, private_key)
        with contextlib.ExitStack() as held:
            store = None
            lock = None
            if keep:
                lock = held.enter_context(DirectoryLock(directory))
                store = held.enter_context(contextlib.closing(Store(directory / STATE)))
            if own_tls:
                from aliyun_import.sandbox.tls import server_context

                tls, authority = server_context(directory / TLS, host)
            state = State(directory, settings=settings, clock=clock, store=store)
            sandbox = cls(state, host=host, port=port, http_port=http_port, tls=tls, authority=authority)
            sandbox._held = held.pop_all()
        if lock is not None:
            lock.announce(Serving(pid=os.getpid(), url=sandbox.url, environment=sandbox.environment()))
        return sandbox

    @property
    def port(self) -> int:
        """Return the port."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Return the endpoint of all services; for a sandbox on all addresses, that on the loopback address."""
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def clock(self) -> Clock:
        """Return the clock."""
        return self.state.clock

    @property
    def faults(self) -> Faults:
        """Return the faults."""
        return self.state.faults

    @property
    def requests(self) -> RequestLog:
        """Return the log of requests."""
        return self.state.requests

    @property
    def account_id(self) -> str:
        """Return the id of the default account."""
        return DEFAULT_ACCOUNT_ID

    @property
    def access_key(self) -> AccessKey:
        """Return the key of the default account; raises LookupError if it was removed."""
        key = self.state.key(DEFAULT_KEY_ID)
        if key is None:
            raise LookupError("the default key was removed")
        return key

    def environment(self, key: AccessKey | None = None) -> dict[str, str]:
        """Return the environment variables that direct aliyun-import and the vendor's SDKs to this sandbox."""
        key = key or self.access_key
        variables = {
            "ALIYUN_IMPORT_ENDPOINT_URL": self.url,
            "ALIYUN_IMPORT_REGION": self.state.settings.region,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": key.id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": key.secret,
        }
        if self.authority is not None:
            variables["ALIBABA_CLOUD_CA_BUNDLE"] = str(self.authority)
        return variables if key.token is None else {**variables, "ALIBABA_CLOUD_SECURITY_TOKEN": key.token}

    def stop(self) -> None:
        """Stop serving and drop every connection; the directory stays."""
        self._router.stopping.set()
        self._server.stop()
        if self._plain is not None:
            self._plain.stop()
        self.state.commit()
        self._held.close()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
