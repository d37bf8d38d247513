"""Tests that all services handle proxies, certificates and network failures in the same way."""

import base64
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from aliyun_import.cloud.ecs import EcsImages
from aliyun_import.cloud.endpoints import resolve_endpoints
from aliyun_import.cloud.oss.store import OssStore
from aliyun_import.cloud.ram import RamRoles, StsIdentity
from aliyun_import.cloud.transport.settings import CA_VARIABLES, Timeouts
from aliyun_import.errors import AccessError, AliyunImportError, TransientError
from aliyun_import.sandbox.server import Sandbox
from tests.cloud import adapters, servers
from tests.cloud.servers import write_certificate
from tests.rows import each_row


def test_a_sandbox_is_reached_without_the_proxy_of_the_environment(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its endpoint is a loopback address, and the proxy does not exist."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert adapters.identity(sandbox).whoami().account_id == sandbox.account_id
    assert adapters.store(sandbox).bucket_info() is None


def test_all_requests_use_https_and_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each service has its own host and the login of the proxy; no other host (Location service) is used."""
    requests: list[bytes] = []

    def refuse(connection: socket.socket) -> None:
        head = servers.read_head(connection)
        assert b"\r\nproxy-authorization: Basic bWU6cEB3\r\n" in head  # me:p@w
        requests.append(head.split(b" HTTP")[0])
        connection.sendall(b"HTTP/1.1 407 Needs a password\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with servers.serve(refuse) as port:
        for name in ("NO_PROXY", "no_proxy", "https_proxy", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        for name in ("HTTPS_PROXY", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://me:p%40w@127.0.0.1:{port}")
        # The SDK knows no endpoint of this region, and would request it from the Location service.
        found = resolve_endpoints("na-south-1")
        keys = adapters.any_credentials()
        for act in (
            OssStore("disks", endpoints=found, credentials=keys).bucket_info,
            EcsImages(endpoints=found, credentials=keys).regions,
            lambda: RamRoles(endpoints=found, credentials=keys).role("r"),
            StsIdentity(endpoints=found, credentials=keys).whoami,
        ):
            with pytest.raises(AccessError) as caught:
                act()
            assert caught.value.code == "proxy-login"
            assert "NO_PROXY" in str(caught.value.remedy)
    assert requests == [
        b"CONNECT disks.oss-na-south-1.aliyuncs.com:443",
        b"CONNECT ecs.na-south-1.aliyuncs.com:443",
        b"CONNECT ram.aliyuncs.com:443",
        b"CONNECT sts.aliyuncs.com:443",
    ]


def test_the_login_of_a_proxy_may_have_any_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sent in UTF-8, as curl and browsers do, encoded in the URL or not."""
    heads: list[bytes] = []

    def refuse(connection: socket.socket) -> None:
        heads.append(servers.read_head(connection))

    with servers.serve(refuse) as port:
        for login in ("\u00fcser:p\u00e4ss", "%C3%BCser:p%C3%A4ss"):
            monkeypatch.setenv("HTTP_PROXY", f"http://{login}@127.0.0.1:{port}")
            found = resolve_endpoints("cn-hangzhou", endpoint_url="http://sts.example.com", allow_insecure=True)
            with pytest.raises(TransientError):
                StsIdentity(
                    endpoints=found, credentials=adapters.any_credentials(), timeouts=adapters.TIMEOUTS
                ).whoami()
    expected = base64.b64encode("\u00fcser:p\u00e4ss".encode())
    assert [expected in head for head in heads] == [True, True]


def test_parts_are_sent_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy receives the whole URL, and an early answer is read through it."""
    requests: list[bytes] = []
    error = b"<Error><Code>UploadTrafficRateLimitExceeded</Code></Error>"
    answers = {
        b"partNumber=1": b'HTTP/1.1 200 OK\r\nx-oss-request-id: R\r\nETag: "E"\r\nConnection: close\r\n'
        b"Content-Length: 0\r\n\r\n",
        b"partNumber=2": b"HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n%s" % (len(error), error),
    }

    def receive_part(connection: socket.socket) -> None:
        head, _, part = servers.read_head(connection).partition(b"\r\n\r\n")
        requests.append(head.split(b"\r\n")[0])
        while len(part) < 8 << 20:
            part += connection.recv(1 << 20)
        connection.sendall(next(answer for number, answer in answers.items() if number in head))

    with servers.serve(receive_part) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        found = resolve_endpoints("cn-hangzhou", endpoint_url="http://oss.example.com", allow_insecure=True)
        opened = OssStore("disks", endpoints=found, credentials=adapters.any_credentials(), timeouts=adapters.TIMEOUTS)
        part = adapters.Body([bytes(1 << 20)] * 8)
        assert opened.send_part("k", "u", number=1, body=part).etag == "E"
        with pytest.raises(TransientError) as caught:
            opened.send_part("k", "u", number=2, body=part)
    assert caught.value.code == "throttled"
    assert requests[0] == b"PUT http://oss.example.com/disks/k?partNumber=1&uploadId=u HTTP/1.1"


@pytest.fixture
def tls_sandbox(tmp_path: Path) -> Iterator[tuple[Sandbox, Path]]:
    """Start a sandbox with https and a self-signed certificate."""
    certificate = write_certificate(tmp_path / "certificate.pem")
    with Sandbox.start(tmp_path / "sandbox", certificate=certificate) as running:
        yield running, certificate


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "ALIBABA_CLOUD_CA_BUNDLE"])
def test_each_variable_of_certificates_applies_to_all_services(
    variable: str, tls_sandbox: tuple[Sandbox, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """OSS and the RPC services trust a private certificate in the file that any of the variables names."""
    sandbox, certificate = tls_sandbox
    for name in CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(certificate))
    assert adapters.identity(sandbox).whoami().account_id == sandbox.account_id
    assert adapters.store(sandbox).bucket_info() is None


def test_every_tls_handshake_has_sni() -> None:
    """Without it a shared server answers with another certificate."""
    names: list[str | None] = []
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.sni_callback = lambda _socket, name, _context: names.append(name)

    with servers.serve(lambda _: None, wrap=lambda one: tls.wrap_socket(one, server_side=True)) as port:
        found = resolve_endpoints("cn-hangzhou", endpoint_url=f"https://localhost:{port}")
        keys = adapters.any_credentials()
        for act in (
            OssStore("disks", endpoints=found, credentials=keys, timeouts=adapters.TIMEOUTS).bucket_info,
            StsIdentity(endpoints=found, credentials=keys, timeouts=adapters.TIMEOUTS).whoami,
        ):
            with pytest.raises(AliyunImportError):
                act()
    assert names == ["localhost", "localhost"]


def test_a_file_of_certificates_replaces_the_default(
    tls_sandbox: tuple[Sandbox, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It replaces those of the system and of variables with lower priority."""
    sandbox, certificate = tls_sandbox
    monkeypatch.setenv("ALIBABA_CLOUD_CA_BUNDLE", str(write_certificate(tmp_path / "other.pem")))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with pytest.raises(AccessError) as caught:
        adapters.store(sandbox).bucket_info()
    assert caught.value.code == "certificate-untrusted"


def test_the_error_of_an_untrusted_certificate_has_a_remedy(
    tls_sandbox: tuple[Sandbox, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the host and the variable to set, for OSS and the RPC services."""
    sandbox, _ = tls_sandbox
    for name in CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for act in (adapters.identity(sandbox).whoami, adapters.store(sandbox).bucket_info):
        with pytest.raises(AccessError) as caught:
            act()
        assert caught.value.code == "certificate-untrusted"
        assert "127.0.0.1" in caught.value.summary
        assert "REQUESTS_CA_BUNDLE" in str(caught.value.remedy)


def test_a_refused_connection_is_a_transient_failure(sandbox: Sandbox) -> None:
    """It names the host, for OSS and the RPC services."""
    acts = (adapters.identity(sandbox).whoami, adapters.store(sandbox).bucket_info)
    sandbox.stop()
    for act in acts:
        with pytest.raises(TransientError) as caught:
            act()
        assert caught.value.code == "connection-refused"
        assert caught.value.details["host"] == "127.0.0.1"


def test_an_endless_handshake_is_a_connect_timeout() -> None:
    """A part is not split for it, because it is not too large."""

    def listen(connection: socket.socket) -> None:
        while connection.recv(4096):
            pass

    with servers.serve(listen) as port:
        found = resolve_endpoints("cn-hangzhou", endpoint_url=f"https://127.0.0.1:{port}")
        slow = Timeouts(connect_s=0.1, read_s=5, part_s=5)
        opened = OssStore("disks", endpoints=found, credentials=adapters.any_credentials(), timeouts=slow)
        with pytest.raises(TransientError) as caught:
            opened.send_part("k", "u", number=1, body=adapters.Body([b"x"]))
        assert caught.value.code == "connect-timed-out"


def test_a_server_without_an_answer_is_a_timeout() -> None:
    """It is a transient failure, for OSS and the RPC services."""

    def keep_silent(connection: socket.socket) -> None:
        servers.read_head(connection)
        connection.recv(1)

    with servers.serve(keep_silent) as port:
        found = resolve_endpoints("cn-hangzhou", endpoint_url=f"http://127.0.0.1:{port}")
        keys = adapters.any_credentials()
        quick = Timeouts(connect_s=1, read_s=0.1, part_s=0.1)
        for act in (
            OssStore("disks", endpoints=found, credentials=keys, timeouts=quick).bucket_info,
            StsIdentity(endpoints=found, credentials=keys, timeouts=quick).whoami,
        ):
            with pytest.raises(TransientError) as caught:
                act()
            assert caught.value.code == "timed-out"


@each_row(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 20\r\n\r\n<html>portal</html>\n",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 7\r\n\r\ngateway",
        b"HTTP/1.1 302 Found\r\nLocation: http://portal.invalid/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n<BucketInfo>",  # cut
        b"",  # closed
    ],
)
def test_an_answer_of_another_server_is_an_error(answer: bytes) -> None:
    """Web pages, gateway errors, redirects and incomplete answers are errors, for OSS and the RPC services."""

    def handle(connection: socket.socket) -> None:
        servers.read_head(connection)
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)

    with servers.serve(handle) as port:
        found = resolve_endpoints("cn-hangzhou", endpoint_url=f"http://127.0.0.1:{port}")
        keys = adapters.any_credentials()
        for act in (
            OssStore("disks", endpoints=found, credentials=keys, timeouts=adapters.TIMEOUTS).bucket_info,
            StsIdentity(endpoints=found, credentials=keys, timeouts=adapters.TIMEOUTS).whoami,
        ):
            with pytest.raises(AliyunImportError) as caught:
                act()
            assert isinstance(caught.value, TransientError) or b"302" in answer


def test_an_early_answer_is_read_while_a_part_is_sent(tmp_path: Path) -> None:
    """The server refuses a part and closes the connection, over http and over TLS."""
    certificate = write_certificate(tmp_path / "certificate.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    body = b"<Error><Code>UploadTrafficRateLimitExceeded</Code><Message>m</Message></Error>"
    head = b"HTTP/1.1 503 Busy\r\nx-oss-qos-delay-time: 1500\r\nContent-Length: %d\r\n\r\n" % len(body)

    def refuse(connection: socket.socket) -> None:
        servers.read_head(connection)
        connection.sendall(head + body)
        servers.wait_until_delivered(connection)

    for wrap, scheme in ((None, "http"), (lambda one: tls.wrap_socket(one, server_side=True), "https")):
        with servers.serve(refuse, wrap=wrap) as port, pytest.MonkeyPatch.context() as environment:
            environment.setenv("ALIBABA_CLOUD_CA_BUNDLE", str(certificate))
            found = resolve_endpoints("cn-hangzhou", endpoint_url=f"{scheme}://127.0.0.1:{port}")
            keys = adapters.any_credentials()
            opened = OssStore("disks", endpoints=found, credentials=keys, timeouts=adapters.TIMEOUTS)
            with pytest.raises(TransientError) as caught:
                opened.send_part("k", "u", number=1, body=adapters.Body([bytes(1 << 20)] * 32))
            assert (caught.value.code, caught.value.retry_after_s) == ("throttled", 1.5)
