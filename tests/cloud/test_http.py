"""Tests of HTTP requests against small servers: what is sent, read, bounded, and used again."""

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


def ask(
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
    """Open a client for a server on this machine."""
    return HttpClient("OSS", f"http://127.0.0.1:{port}", cancel=cancel)


def answering(*answers: bytes) -> Callable[[socket.socket], None]:
    """Serve a connection: one of these for each request, then close it."""

    def handle(connection: socket.socket) -> None:
        for answer in answers:
            if not servers.read_head(connection):
                return
            connection.sendall(answer)

    return handle


def test_a_request_is_what_was_signed() -> None:
    """The path as it was passed, a space as %20 (oss2 signs it so), the length of the body, and the passed headers."""
    seen: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        seen.append(servers.read_head(connection))
        connection.sendall(HEAD + b"Content-Length: 0\r\n\r\n")

    with servers.serve(handle) as port:
        ask(port, "POST", authorization="OSS4")
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
    """A proxy may choose another form than OSS does."""
    with servers.serve(answering(answer)) as port:
        got = ask(port, method)
    assert (got.status, got.body) == (204 if method == "DELETE" else 200, body)


@each_row(
    "answer",
    [
        b"",  # nothing
        b"HTTP/1.1 2",  # half a line
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 OK\r\n\r\n",  # no status
        HEAD + b"Content-Length: 500\r\n\r\nhello",  # short
        HEAD + b"Content-Length: many\r\n\r\nhello",  # no length
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello",  # no size
        HEAD + b"".join(b"H%d: 1\r\n" % number for number in range(200)) + b"\r\n",  # endless
        HEAD + b"H: 1\r\n" * 200 + b"\r\n",  # one name again and again
        HEAD + b"Content-Length: +5\r\n\r\nhello",  # a sign
        HEAD + b"Content-Length: 5\r\nContent-Length: 2\r\n\r\nhello",  # two lengths
        HEAD + b"Etag: x\r\nContent-Le",  # half a head
        HEAD + b"no header\r\nContent-Length: 2\r\n\r\nok",  # no header
        b"HTTP/1.1 103 Early Hints\r\n\r\n",  # not final
    ],
)
def test_what_is_no_answer_is_a_broken_connection(answer: bytes) -> None:
    """Nothing of it is returned as an answer, and nothing raised that the caller does not expect."""
    with servers.serve(answering(answer)) as port, pytest.raises(ConnectionLost):
        ask(port)


def counted(*answers: bytes) -> tuple[Callable[[socket.socket], None], list[int]]:
    """Serve as `answering`, and count the connections."""
    opened: list[int] = []

    def handle(connection: socket.socket) -> None:
        opened.append(1)
        answering(*answers)(connection)

    return handle, opened


def test_a_connection_serves_one_request_after_the_other() -> None:
    """Thousands of parts go over as many connections as there are workers."""
    handle, opened = counted(*[OK] * 5)
    with servers.serve(handle) as port:
        client = open_client(port)
        assert [ask(port, client=client).body for _ in range(5)] == [b"ok"] * 5
        assert len(opened) == 1


def test_a_connection_that_the_server_closed_meanwhile_is_not_used_again() -> None:
    """OSS closes idle connections; the next request goes over a new one and does not fail."""
    with servers.serve(answering(OK)) as port:
        client = open_client(port)
        for _ in range(3):
            assert ask(port, client=client).body == b"ok"
            time.sleep(0.05)  # the close is delivered over loopback


def test_an_idle_connection_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server may be closing the connection, or a router may have dropped it."""
    handle, opened = counted(*[OK] * 3)
    monkeypatch.setattr(http, "MAX_IDLE_S", 0.0)
    with servers.serve(handle) as port:
        client = open_client(port)
        assert [ask(port, client=client).body for _ in range(3)] == [b"ok"] * 3
        assert len(opened) == 3
        del client  # and its connection, on which the server waits


@each_row("extra", [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"x" * 100_000])
def test_bytes_after_an_answer_are_not_the_next_answer(extra: bytes) -> None:
    """A connection with bytes beyond the answer is closed, whether they are in a buffer or still in the kernel."""
    handle, opened = counted(OK + extra, OK)
    with servers.serve(handle) as port:
        client = open_client(port)
        assert [ask(port, client=client).body for _ in range(2)] == [b"ok"] * 2
        assert len(opened) == 2
        del client  # and its connection, on which the server waits


def test_a_header_can_not_add_another_one() -> None:
    """A line break in a value would begin another header."""
    with servers.serve(answering(HEAD + b"\r\n")) as port, pytest.raises(ValueError, match="Invalid header value"):
        ask(port, tag="a\r\nx-oss-acl: public-read")


def endless(begin: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    """Answer without end."""

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
    """A body or a head without end is a transient failure, and does not fill the memory."""
    with servers.serve(endless(begin, piece)) as port, pytest.raises(TransientError) as caught:
        ask(port, max_body_bytes=10_000)
    assert caught.value.code == "answer-unreadable"


@pytest.mark.parametrize("begin", [b"HTTP/1.1 2", HEAD + b"Etag: x\r\n", HEAD + b"Content-Length: 500\r\n\r\n"])
def test_an_answer_is_bounded_in_time(begin: bytes) -> None:
    """A byte every 50 ms keeps each wait on the socket short; the answer as a whole times out all the same."""

    def handle(connection: socket.socket) -> None:
        servers.read_head(connection)
        connection.sendall(begin)
        while True:
            time.sleep(0.05)
            connection.sendall(b"0")

    with servers.serve(handle) as port, pytest.raises(TimedOut):
        ask(port, wait_s=0.3)


def silent(connection: socket.socket) -> None:
    """Read a request and never answer."""
    servers.read_head(connection)
    connection.recv(1)


def test_a_cancelled_run_ends_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Soon, although the answer may take much longer."""
    monkeypatch.setattr(http, "CANCEL_CHECK_S", 0.05)
    cancel = threading.Event()
    with servers.serve(silent) as port:
        threading.Timer(0.1, cancel.set).start()
        began_s = time.monotonic()
        with pytest.raises(Interrupted):
            ask(port, client=open_client(port, cancel=cancel), wait_s=10)
        assert time.monotonic() - began_s < 5


def test_a_cancelled_run_still_sends_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """CancelTask and clean-up follow the cancellation, and wait for their answers."""
    monkeypatch.setattr(http, "CANCEL_CHECK_S", 0.05)
    cancel = threading.Event()
    cancel.set()

    def handle(connection: socket.socket) -> None:
        servers.read_head(connection)
        time.sleep(0.2)
        connection.sendall(OK)

    with servers.serve(handle) as port:
        assert ask(port, client=open_client(port, cancel=cancel)).body == b"ok"


def test_a_redirect_is_not_followed() -> None:
    """It is from a server between this machine and the service, which would get the signature."""
    answer = b"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    with servers.serve(answering(answer)) as port, pytest.raises(AccessError) as caught:
        ask(port)
    assert caught.value.code == "redirected"


def test_nothing_is_decompressed() -> None:
    """A few bytes that unpack to gigabytes stay what they are."""
    answer = HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nzz"
    with servers.serve(answering(answer)) as port:
        assert ask(port).body == b"zz"
