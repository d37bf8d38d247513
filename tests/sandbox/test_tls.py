"""Tests of the sandbox's own TLS: its authority and certificate, http in addition to https, and IPv6."""

import http.client
import socket
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from aliyun_import.sandbox.server import Sandbox


def _status(sandbox: Sandbox, name: str, *, host: str = "127.0.0.1") -> int:
    """Return the status of a request over TLS that verifies the certificate for a host name."""
    context = ssl.create_default_context(cafile=str(sandbox.authority))
    with (
        socket.create_connection((host, sandbox.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=name) as secure,
    ):
        secure.sendall(b"GET /_sandbox HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        return int(secure.recv(12).split()[1])


def test_the_certificate_is_valid_for_all_names_of_the_services(tmp_path: Path) -> None:
    """It verifies for host names of regions and buckets, and for addresses."""
    with Sandbox.start(tmp_path, own_tls=True) as sandbox:
        assert sandbox.environment()["ALIBABA_CLOUD_CA_BUNDLE"] == str(tmp_path / "tls" / "ca.pem")
        assert sandbox.url.startswith("https://")
        for name in (
            "127.0.0.1",
            "localhost",
            "ram.aliyuncs.com",
            "ecs-cn-hangzhou.aliyuncs.com",
            "ecs.cn-beijing.aliyuncs.com",
            "sts.eu-central-1.aliyuncs.com",
            "disks.oss-cn-hangzhou.aliyuncs.com",
            "disks.oss-accelerate.aliyuncs.com",
        ):
            assert _status(sandbox, name) == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            _status(sandbox, "example.com")


def test_the_path_of_the_authority_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that reads the variables may change its directory."""
    monkeypatch.chdir(tmp_path)
    with Sandbox.start(Path("here"), own_tls=True) as sandbox:
        assert sandbox.environment()["ALIBABA_CLOUD_CA_BUNDLE"] == str(tmp_path / "here" / "tls" / "ca.pem")


def test_the_authority_is_reused_and_its_key_is_private(tmp_path: Path) -> None:
    """The authority is used again, unless its constraints exclude the host."""
    for name in ("127.0.0.1", "localhost"):
        with Sandbox.start(tmp_path, own_tls=True, host=name) as sandbox:
            assert _status(sandbox, "localhost") == 200
    first = (tmp_path / "tls" / "ca.pem").read_bytes()
    with Sandbox.start(tmp_path, own_tls=True, keep=True):
        assert (tmp_path / "tls" / "ca.pem").read_bytes() == first
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "tls").iterdir()}
    assert (modes["ca-key.pem"], modes["certificate-key.pem"]) == (0o600, 0o600)


def test_the_authority_is_limited_to_the_names_of_the_services(tmp_path: Path) -> None:
    """Its key cannot sign a certificate for another site."""
    with Sandbox.start(tmp_path, own_tls=True) as sandbox:
        assert sandbox.authority is not None
        authority = x509.load_pem_x509_certificate(sandbox.authority.read_bytes())
        signer = load_pem_private_key((tmp_path / "tls" / "ca-key.pem").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    forged = (
        x509.CertificateBuilder(
            authority.subject,
            x509.Name([]),
            key.public_key(),
            x509.random_serial_number(),
            now,
            now + timedelta(days=1),
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("example.com")]), critical=True)
        .sign(signer, hashes.SHA256())
    )
    pair = tmp_path / "forged.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pair.write_bytes(forged.public_bytes(Encoding.PEM) + private)
    with Sandbox.start(tmp_path / "other", certificate=pair) as forging:
        forging.authority = tmp_path / "tls" / "ca.pem"
        with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
            _status(forging, "example.com")


def test_http_is_served_in_addition_to_https(tmp_path: Path) -> None:
    """Some clients use http for ECS and https for OSS."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Sandbox.start(tmp_path, own_tls=True, http_port=port) as sandbox:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/_sandbox")
        assert connection.getresponse().status == 200
        connection.close()
        assert _status(sandbox, "localhost") == 200
        with pytest.raises(OSError, match="in use"):
            Sandbox.start(tmp_path / "second", own_tls=True, http_port=port)


@pytest.mark.parametrize(("host", "clients"), [("::1", ["::1"]), ("::", ["::1", "127.0.0.1"])])
def test_ipv6_addresses_are_supported(tmp_path: Path, host: str, clients: list[str]) -> None:
    """The address :: includes IPv4, and the URL has brackets."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    with Sandbox.start(tmp_path, host=host, own_tls=True) as sandbox:
        assert sandbox.url == f"https://[::1]:{sandbox.port}"
        assert [_status(sandbox, client, host=client) for client in clients] == [200] * len(clients)
