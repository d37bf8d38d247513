"""Tests of the bounds of the HTTP server: connections, threads, idle time and chunks."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.core.http_server import WireServer, _Handler
from aliyun_import.sandbox.server import Sandbox
from tests.rows import each_row

LIMIT = 3


@pytest.fixture
def limited(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Return a sandbox that is limited to three connections."""
    monkeypatch.setattr(WireServer, "max_connections", LIMIT)
    return sandbox


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    """Yield a stack that closes the sockets of a test."""
    with ExitStack() as stack:
        yield stack


def _connect(sandbox: Sandbox, sockets: ExitStack, sent: bytes = b"") -> socket.socket:
    opened = sockets.enter_context(socket.create_connection(("127.0.0.1", sandbox.port), timeout=10))
    opened.sendall(sent)
    return opened


def _status(sandbox: Sandbox) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
    with closing(connection):
        connection.request("GET", "/_sandbox")
        return connection.getresponse().status


def _threads() -> int:
    return sum(1 for each in threading.enumerate() if each.name == "sandbox-connection")


def _closed(opened: socket.socket) -> bool:
    with suppress(ConnectionResetError):
        return opened.recv(1) == b""
    return True


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: half", b"PUT /bucket/k HTTP/1.1\r\n"])
def test_idle_connections_are_replaced(limited: Sandbox, sockets: ExitStack, sent: bytes) -> None:
    """Twenty of them block no other client, and use no more threads than the limit. The oldest is closed first."""
    opened = [_connect(limited, sockets, sent) for _ in range(20)]
    assert _status(limited) == 200
    assert _closed(opened[0])
    ends_s = time.monotonic() + 10
    while _threads() > LIMIT and time.monotonic() < ends_s:
        time.sleep(0.01)
    assert _threads() <= LIMIT


def test_a_connection_in_use_is_not_closed_for_another(limited: Sandbox, sockets: ExitStack) -> None:
    """A slow call is answered while other connections are opened."""
    limited.faults.add(Fault(operation="ListBuckets", effect="delay", delay_s=0.3))
    served = _connect(limited, sockets, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    while limited.faults.active():
        time.sleep(0.005)
    for _ in range(10):
        _connect(limited, sockets)
    assert served.recv(12) == b"HTTP/1.1 403"


def test_a_connection_over_the_limit_is_closed_if_all_are_in_use(limited: Sandbox, sockets: ExitStack) -> None:
    """It gets no thread; a later connection is served when a thread is free."""
    limited.faults.add(Fault(operation="ListBuckets", effect="delay", delay_s=0.4, count=LIMIT))
    for _ in range(LIMIT):
        _connect(limited, sockets, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    while limited.faults.active():
        time.sleep(0.005)
    assert _closed(_connect(limited, sockets))
    ends_s = time.monotonic() + 10
    while time.monotonic() < ends_s:
        with suppress(OSError, http.client.HTTPException):
            assert _status(limited) == 200
            return
        time.sleep(0.05)
    raise AssertionError("the sandbox serves no connection")


def test_a_connection_without_data_is_closed(
    sandbox: Sandbox, sockets: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This applies to an incomplete head and to an incomplete body."""
    monkeypatch.setattr("aliyun_import.sandbox.core.http_server.IDLE_S", 0.05)
    monkeypatch.setattr(_Handler, "timeout", 0.05)
    for sent in (b"GET / HTTP/1.1\r\nHost: h", b"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab"):
        opened = _connect(sandbox, sockets, sent)
        while opened.recv(4096):
            pass


CHUNKS = (b"-5\r\nabcde", b"+5\r\nabcde", b"0x5\r\nabcde", b"5_0\r\nabcde", b"\r\n", b"fffffffffffffffff\r\n")


@each_row("body", [*CHUNKS, b"0\r\n" + b"a: b\r\n" * 101])
def test_a_malformed_chunk_ends_the_connection(sandbox: Sandbox, sockets: ExitStack, body: bytes) -> None:
    """The connection is closed at once, also for too many trailers."""
    opened = _connect(sandbox, sockets, b"POST /_sandbox/faults HTTP/1.1\r\nHost: localhost\r\n")
    opened.sendall(b"Transfer-Encoding: chunked\r\n\r\n" + body)
    assert _closed(opened)
    assert _status(sandbox) == 200
