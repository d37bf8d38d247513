"""Tests of the HTTP client with small servers: requests, answers, limits, and reuse of connections."""

import socket
import threading
import time
from collections.abc import Callable

import pytest

from aliyun_import.cloud.transport import http
from aliyun_import.cloud.transport.answer import Answer
from aliyun_import.cloud.transport.http import HttpClient
from aliyun_import.errors import AccessError, ConnectionLost, Interrupted, TimedOut, TransientError
from tests.cloud import servers
from tests.rows import each_row

HEAD = b"HTTP/1.1 200 OK\r\n"
OK = HEAD + b"Content-Length: 2\r\n\r\nok"


def send(
    port: int,
    method: str = "GET",
    *,
    client: HttpClient | None = None,
    wait_s: float = 2,
    max_body_bytes: int = 1 << 20,
    **headers: str,
) -> Answer:
    """Send one request, with a new client unless one is passed."""
    return (client or open_client(port)).send(
        "Test",
        method,
        f"http://127.0.0.1:{port}/disks/a%2Fb?uploads=&prefix=a%20b%2Fc",
        headers={"Accept-Encoding": "identity", "User-Agent": "u", **headers},
        connect_s=2,
        wait_s=wait_s,
        max_body_bytes=max_body_bytes,
    )


def open_client(port: int, *, cancel: threading.Event | None = None) -> HttpClient:
    """Return a client for a server on this machine."""
    return HttpClient("OSS", f"http://127.0.0.1:{port}", cancel=cancel)


def answering(*answers: bytes) -> Callable[[socket.socket], None]:
    """Return a handler that sends one of these answers per request, and then closes the connection."""

    def handle(connection: socket.socket) -> None:
        for answer in answers:
            if not servers.read_head(connection):
                return
            connection.sendall(answer)

    return handle


def test_the_request_is_sent_as_it_was_signed() -> None:
    """Path and headers are unchanged; a space is %20, as oss2 signs it."""
    seen: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        seen.append(servers.read_head(connection))
        connection.sendall(HEAD + b"Content-Length: 0\r\n\r\n")

    with servers.serve(handle) as port:
        send(port, "POST", authorization="OSS4")
    head = seen[0].split(b"\r\n")
    assert head[0] == b"POST /disks/a%2Fb?uploads=&prefix=a%20b%2Fc HTTP/1.1"
    assert set(head[1:]) == {
        b"Host: 127.0.0.1:%d" % port,
        b"Content-Length: 0",
        b"authorization: OSS4",
        b"Accept-Encoding: identity",
        b"User-Agent: u",
        b"",
    }


@each_row(
    ("method", "answer", "body"),
    [
        ("GET", HEAD + b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (
            "GET",
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nT: 1\r\n\r\n",
            b"hello",
        ),
        ("GET", HEAD + b"\r\nhello", b"hello"),  # until it is closed
        ("GET", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        ("GET", b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 5\r\n\r\nhello", b"hello"),
        ("HEAD", HEAD + b"Content-Length: 4294967296\r\n\r\n", b""),
        ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
def test_each_form_of_an_answer_is_read(method: str, answer: bytes, body: bytes) -> None:
    """A proxy may use another form than OSS does."""
    with servers.serve(answering(answer)) as port:
        received = send(port, method)
    assert (received.status, received.body) == (204 if method == "DELETE" else 200, body)


@each_row(
    "answer",
    [
        b"",  # nothing
        b"HTTP/1.1 2",  # incomplete status line
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 OK\r\n\r\n",  # no status
        HEAD + b"Content-Length: 500\r\n\r\nhello",  # short
        HEAD + b"Content-Length: many\r\n\r\nhello",  # no length
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello",  # no size
        HEAD + b"".join(b"H%d: 1\r\n" % number for number in range(200)) + b"\r\n",  # endless
        HEAD + b"H: 1\r\n" * 200 + b"\r\n",  # one name repeated
        HEAD + b"Content-Length: +5\r\n\r\nhello",  # a sign
        HEAD + b"Content-Length: 5\r\nContent-Length: 2\r\n\r\nhello",  # two lengths
        HEAD + b"Etag: x\r\nContent-Le",  # incomplete head
        HEAD + b"no header\r\nContent-Length: 2\r\n\r\nok",  # no header
        b"HTTP/1.1 103 Early Hints\r\n\r\n",  # not final
    ],
)
def test_an_invalid_answer_is_a_lost_connection(answer: bytes) -> None:
    """Nothing of it is returned, and no other error is raised."""
    with servers.serve(answering(answer)) as port, pytest.raises(ConnectionLost):
        send(port)


def counting(*answers: bytes) -> tuple[Callable[[socket.socket], None], list[int]]:
    """Return the handler of `answering`, and a list with an item for each connection."""
    opened: list[int] = []

    def handle(connection: socket.socket) -> None:
        opened.append(1)
        answering(*answers)(connection)

    return handle, opened


def test_a_connection_is_reused() -> None:
    """Thousands of parts are sent over as many connections as there are workers."""
    handle, opened = counting(*[OK] * 5)
    with servers.serve(handle) as port:
        client = open_client(port)
        assert [send(port, client=client).body for _ in range(5)] == [b"ok"] * 5
        assert len(opened) == 1


def test_a_connection_that_the_server_closed_is_not_reused() -> None:
    """OSS closes idle connections; the next request uses a new one and does not fail."""
    with servers.serve(answering(OK)) as port:
        client = open_client(port)
        for _ in range(3):
            assert send(port, client=client).body == b"ok"
            time.sleep(0.05)  # the close is delivered over loopback


def test_an_idle_connection_is_not_reused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server may be closing it, or a router may have dropped it."""
    handle, opened = counting(*[OK] * 3)
    monkeypatch.setattr(http, "MAX_IDLE_S", 0.0)
    with servers.serve(handle) as port:
        client = open_client(port)
        assert [send(port, client=client).body for _ in range(3)] == [b"ok"] * 3
        assert len(opened) == 3
        del client  # and its connection, on which the server waits


@each_row("extra", [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"x" * 100_000])
def test_bytes_after_an_answer_are_not_the_next_answer(extra: bytes) -> None:
    """A connection with extra bytes, in a buffer or in the kernel, is closed."""
    handle, opened = counting(OK + extra, OK)
    with servers.serve(handle) as port:
        client = open_client(port)
        assert [send(port, client=client).body for _ in range(2)] == [b"ok"] * 2
        assert len(opened) == 2
        del client  # and its connection, on which the server waits


def test_a_line_break_in_a_header_is_refused() -> None:
    """It would start another header."""
    with servers.serve(answering(HEAD + b"\r\n")) as port, pytest.raises(ValueError, match="Invalid header value"):
        send(port, tag="a\r\nx-oss-acl: public-read")


def endless(begin: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    """Return a handler whose answer has no end."""

    def handle(connection: socket.socket) -> None:
        servers.read_head(connection)
        connection.sendall(begin)
        while True:
            connection.sendall(piece)

    return handle


@each_row(
    ("begin", "piece"),
    [
        (HEAD + b"\r\n", bytes(65536)),  # until it is closed
        (HEAD + b"Content-Length: 1000000000000\r\n\r\n", bytes(65536)),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n", bytes(65536)),  # a long chunk
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 10_000),  # many chunks
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000),
    ],
)
def test_an_answer_is_bounded_in_size(begin: bytes, piece: bytes) -> None:
    """An endless body or head is a transient failure, and does not fill the memory."""
    with servers.serve(endless(begin, piece)) as port, pytest.raises(TransientError) as caught:
        send(port, max_body_bytes=10_000)
    assert caught.value.code == "answer-unreadable"


@pytest.mark.parametrize("begin", [b"HTTP/1.1 2", HEAD + b"Etag: x\r\n", HEAD + b"Content-Length: 500\r\n\r\n"])
def test_an_answer_is_bounded_in_time(begin: bytes) -> None:
    """With a byte every 50 ms each read is short; the answer as a whole still times out."""

    def handle(connection: socket.socket) -> None:
        servers.read_head(connection)
        connection.sendall(begin)
        while True:
            time.sleep(0.05)
            connection.sendall(b"0")

    with servers.serve(handle) as port, pytest.raises(TimedOut):
        send(port, wait_s=0.3)


def silent(connection: socket.socket) -> None:
    """Read a request and never answer."""
    servers.read_head(connection)
    connection.recv(1)


def test_a_cancellation_ends_the_wait_for_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait ends within seconds, although the timeout is longer."""
    monkeypatch.setattr(http, "CANCEL_CHECK_S", 0.05)
    cancel = threading.Event()
    with servers.serve(silent) as port:
        threading.Timer(0.1, cancel.set).start()
        began_s = time.monotonic()
        with pytest.raises(Interrupted):
            send(port, client=open_client(port, cancel=cancel), wait_s=10)
        assert time.monotonic() - began_s < 5


def test_a_cancelled_run_still_sends_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """CancelTask and cleanup follow the cancellation, and wait for their answers."""
    monkeypatch.setattr(http, "CANCEL_CHECK_S", 0.05)
    cancel = threading.Event()
    cancel.set()

    def handle(connection: socket.socket) -> None:
        servers.read_head(connection)
        time.sleep(0.2)
        connection.sendall(OK)

    with servers.serve(handle) as port:
        assert send(port, client=open_client(port, cancel=cancel)).body == b"ok"


def test_a_redirect_is_not_followed() -> None:
    """It comes from a host between this machine and the service, and the new host would receive the signature."""
    answer = b"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    with servers.serve(answering(answer)) as port, pytest.raises(AccessError) as caught:
        send(port)
    assert caught.value.code == "redirected"


def test_a_body_is_not_decompressed() -> None:
    """A few bytes may decompress to gigabytes."""
    answer = HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nzz"
    with servers.serve(answering(answer)) as port:
        assert send(port).body == b"zz"
