"""Tests of requests and responses of the HTTP server: TLS, chunks, faults in transit, and refusals before a body."""

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import oss2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.server import Sandbox
from tests.sandbox.oss_sdk import stored_bucket


@pytest.fixture
def connection(sandbox: Sandbox) -> Iterator[http.client.HTTPConnection]:
    """Yield a connection."""
    opened = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
    yield opened
    opened.close()


def _certificate(directory: Path) -> tuple[Path, Path]:
    """Write a self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "certificate.pem", directory / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


def test_a_sandbox_with_a_certificate_uses_https(tmp_path: Path) -> None:
    """The URL has the scheme https."""
    certificate, key = _certificate(tmp_path)
    with Sandbox.start(tmp_path / "store", certificate=certificate, private_key=key) as sandbox:
        assert sandbox.url.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=str(certificate))
        connection = http.client.HTTPSConnection("127.0.0.1", sandbox.port, timeout=10, context=trusting)
        connection.request("GET", "/_sandbox")
        assert connection.getresponse().status == 200
        connection.close()
        # A client without TLS is refused, and the next client is served.
        plain = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
        plain.request("GET", "/_sandbox")
        with pytest.raises((http.client.HTTPException, OSError)):
            plain.getresponse()
        plain.close()
        connection.request("GET", "/_sandbox")
        assert connection.getresponse().status == 200
        connection.close()


def test_one_connection_serves_many_requests(connection: http.client.HTTPConnection) -> None:
    """Connections are kept open, also after a refusal before the body was read."""
    for _ in range(3):
        connection.request("PUT", "/no-such-bucket/key", body=b"x" * 100_000)
        response = connection.getresponse()
        assert response.status == 404
        response.read()
        assert connection.sock is not None


def test_a_large_body_is_refused_before_it_is_read(sandbox: Sandbox, connection: http.client.HTTPConnection) -> None:
    """If Content-Length exceeds the limit, the response is sent at once and the connection is closed."""
    connection.putrequest("PUT", "/no-such-bucket/key")
    connection.putheader("Content-Length", str(1 << 40))
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 404
    response.read()
    assert sandbox.requests.entries()[0].body_bytes == 0


def test_an_incomplete_body_is_not_stored(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """If a client disconnects in a body, neither an object nor a file is left."""
    signed = oss2.http.Request("PUT", f"{sandbox.url}/disks/k", region="cn-hangzhou", product="oss")
    bucket.auth._sign_request(signed, "disks", "k")
    headers = {name: value for name, value in signed.headers.items() if value is not None}
    head = "".join(f"{name}: {value}\r\n" for name, value in {**headers, "Content-Length": 5 << 20}.items())
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=10) as client:
        client.sendall(f"PUT /disks/k HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode() + b"d" * (2 << 20))
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    entry = sandbox.requests.entries("PutObject")[0]
    assert (entry.status, entry.body_bytes) == (0, 2 << 20)
    assert list((sandbox.state.directory / "objects").iterdir()) == []
    assert stored_bucket(sandbox).versions == {}


def test_the_fault_cut_body_drops_the_connection_in_the_body(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """It reads `after_bytes` bytes first. The next call succeeds."""
    sandbox.faults.add(Fault(operation="PutObject", effect="cut-body", after_bytes=1 << 20))
    with pytest.raises(oss2.exceptions.RequestError):
        bucket.put_object("k", b"d" * (8 << 20))
    assert sandbox.requests.entries("PutObject")[0].body_bytes == 1 << 20
    assert not bucket.object_exists("k")
    bucket.put_object("k", b"d")


def test_the_fault_cut_before_reads_no_body(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """The connection is dropped before the body."""
    sandbox.faults.add(Fault(operation="PutObject", effect="cut-before"))
    with pytest.raises(oss2.exceptions.RequestError):
        bucket.put_object("k", b"d" * 1000)
    assert sandbox.requests.entries("PutObject")[0].body_bytes == 0


def test_the_fault_cut_answer_drops_the_connection_in_the_response(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """It sends `after_bytes` bytes of the body first."""
    bucket.put_object("k", b"d" * 1000)
    sandbox.faults.add(Fault(operation="GetObject", effect="cut-answer", after_bytes=10))
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
    signed = oss2.http.Request("GET", f"{sandbox.url}/disks/k", region="cn-hangzhou", product="oss")
    bucket.auth._sign_request(signed, "disks", "k")
    headers = {name: value for name, value in signed.headers.items() if value is not None}
    connection.request("GET", "/disks/k", headers=headers)
    with pytest.raises(http.client.IncompleteRead) as caught:
        connection.getresponse().read()
    assert caught.value.partial == b"d" * 10
    connection.close()


def test_a_delayed_call_ends_with_the_sandbox(tmp_path: Path) -> None:
    """A delayed call blocks neither other calls nor the end of the sandbox."""
    with Sandbox.start(tmp_path) as sandbox:
        sandbox.faults.add(Fault(effect="delay", delay_s=3600, operation="ListBuckets"))
        delayed = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=30)
        delayed.request("GET", "/")
        other = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=30)
        other.request("GET", "/bucket/key")
        assert other.getresponse().status == 404
        other.close()
    delayed.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sandbox")]


def test_chunks_of_any_size_are_read(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """A chunked body is read in bounded pieces, with extensions and trailers."""
    signed = oss2.http.Request("PUT", f"{sandbox.url}/disks/k", region="cn-hangzhou", product="oss")
    bucket.auth._sign_request(signed, "disks", "k")
    lines = [f"{name}: {value}" for name, value in signed.headers.items() if value is not None]
    head = "\r\n".join(["PUT /disks/k HTTP/1.1", "Host: x", *lines, "Transfer-Encoding: chunked", "", ""])
    big = b"b" * (3 << 20)
    body = b"3;note=x\r\nabc\r\n" + f"{len(big):x}\r\n".encode() + big + b"\r\n0\r\nx-trailer: y\r\n\r\n"
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=10) as client:
        client.sendall(head.encode() + body)
        assert client.recv(12) == b"HTTP/1.1 200"
    assert bucket.get_object("k").read() == b"abc" + big


def test_a_client_that_waits_for_100_continue_gets_it_at_once(sandbox: Sandbox) -> None:
    """Curl waits a second for it before it sends a body; other clients wait without a limit."""
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=5) as connection:
        head = "PUT /disks/k HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"disk")
        assert b"404" in connection.recv(1000)
