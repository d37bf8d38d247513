"""This file tests the connections to OSS against small servers: what is kept, what is read, what is trouble."""

import socket
from collections.abc import Callable

import pytest

from aliyun_import.cloud.transport.oss_line import Answer, Line, Request
from tests.cloud import reach

HEAD = b"HTTP/1.1 200 OK\r\n"


def request(port: int, method: str = "GET", **headers: str) -> Request:
    """Make a request to a server on this machine."""
    return Request(
        method=method,
        url=f"http://127.0.0.1:{port}/disks/a%2Fb",
        params={"uploads": "", "prefix": "a b/c"},
        headers=headers,
        data=None,
        region="cn-hangzhou",
    )


def ask(port: int, method: str = "GET", *, line: Line | None = None) -> Answer:
    """Send one request, over a line of its own if none is given."""
    return (line or Line(f"http://127.0.0.1:{port}")).do_request(request(port, method), (2, 2))


def answering(*answers: bytes) -> Callable[[socket.socket], None]:
    """Serve a connection: one of these for each request, then good-bye."""

    def handle(connection: socket.socket) -> None:
        for answer in answers:
            if not reach.read_head(connection):
                return
            connection.sendall(answer)

    return handle


def test_a_request_is_what_was_signed() -> None:
    """The path as it was given, a space as %20 (oss2 signs it so), the length of the body, and the given headers."""
    seen: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        seen.append(reach.read_head(connection))
        connection.sendall(HEAD + b"Content-Length: 0\r\n\r\n")

    with reach.server(handle) as port:
        Line(f"http://127.0.0.1:{port}").do_request(request(port, "POST", authorization="OSS4"), (2, 2))
    head = seen[0].split(b"\r\n")
    assert head[0] == b"POST /disks/a%2Fb?uploads=&prefix=a%20b%2Fc HTTP/1.1"
    assert set(head[1:]) == {b"Host: 127.0.0.1:%d" % port, b"Content-Length: 0", b"authorization: OSS4", b""}


@pytest.mark.parametrize(
    ("method", "answer", "body"),
    [
        ("GET", HEAD + b"Content-Length: 5\r\n\r\nhello", b"hello"),
        ("GET", HEAD + b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nT: 1\r\n\r\n", b"hello"),
        ("GET", HEAD + b"\r\nhello", b"hello"),
        ("GET", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        ("GET", b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 5\r\n\r\nhello", b"hello"),
        ("HEAD", HEAD + b"Content-Length: 4294967296\r\n\r\n", b""),
        ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
    ids=["length", "chunked", "until-closed", "http-1.0", "continue", "head", "no-content"],
)
def test_each_form_of_an_answer_is_read(method: str, answer: bytes, body: bytes) -> None:
    """Whatever stands in between may choose another form than OSS does."""
    with reach.server(answering(answer)) as port:
        got = ask(port, method)
    assert (got.status, got.body) == (204 if method == "DELETE" else 200, body)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 2",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        HEAD + b"Content-Length: 500\r\n\r\nhello",
        HEAD + b"Content-Length: many\r\n\r\nhello",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello",
        HEAD + b"".join(b"H%d: 1\r\n" % number for number in range(200)) + b"\r\n",
        HEAD + b"H: 1\r\n" * 200 + b"\r\n",
    ],
    ids=["nothing", "half-a-line", "ssh", "no-status", "short", "no-length", "no-size", "endless", "one-name"],
)
def test_what_is_no_answer_is_a_broken_connection(answer: bytes) -> None:
    """Nothing of it comes out as an answer, and nothing as an error that the caller does not expect."""
    with reach.server(answering(answer)) as port, pytest.raises(ConnectionError):
        ask(port)


def test_a_connection_serves_one_request_after_the_other() -> None:
    """Thousands of parts go over as many connections as there are workers."""
    plain = HEAD + b"Content-Length: 2\r\n\r\nok"
    opened = 0

    def handle(connection: socket.socket) -> None:
        nonlocal opened
        opened += 1
        answering(*[plain] * 5)(connection)

    with reach.server(handle) as port:
        line = Line(f"http://127.0.0.1:{port}")
        assert [ask(port, line=line).body for _ in range(5)] == [b"ok"] * 5
        assert opened == 1


def test_a_connection_that_the_server_closed_meanwhile_is_not_used_again() -> None:
    """OSS closes idle connections; the next request goes over a new one and does not fail."""
    with reach.server(answering(HEAD + b"Content-Length: 2\r\n\r\nok")) as port:
        line = Line(f"http://127.0.0.1:{port}")
        for _ in range(3):
            assert ask(port, line=line).body == b"ok"
            _until_closed(line)


def test_a_connection_that_rested_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's good-bye may be on its way, or a router has forgotten the connection."""
    opened = 0

    def handle(connection: socket.socket) -> None:
        nonlocal opened
        opened += 1
        answering(*[HEAD + b"Content-Length: 2\r\n\r\nok"] * 3)(connection)

    monkeypatch.setattr("aliyun_import.cloud.transport.oss_line.MOST_REST_S", 0.0)
    with reach.server(handle) as port:
        line = Line(f"http://127.0.0.1:{port}")
        assert [ask(port, line=line).body for _ in range(3)] == [b"ok"] * 3
        assert opened == 3
        del line  # and its connection, on which the server waits


def test_a_header_can_not_bring_another_one_along() -> None:
    """A line break in a value would be a header of its own for the server."""
    with reach.server(answering(HEAD + b"\r\n")) as port, pytest.raises(AssertionError):
        Line(f"http://127.0.0.1:{port}").do_request(request(port, tag="a\r\nx-oss-acl: public-read"), (2, 2))


def _until_closed(line: Line) -> None:
    """Wait until the good-bye of the server is here."""
    connection = line._idle[-1]
    connection._socket.settimeout(5)
    assert connection._socket.recv(1, socket.MSG_PEEK) == b""
