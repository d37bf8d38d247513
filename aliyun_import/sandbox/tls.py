"""Certificates of the sandbox: an authority, and a certificate for the host names of all services.

Name constraints limit the authority to `aliyuncs.com`, `localhost`, IP addresses and the host name of the sandbox. A
client that trusts it does not trust it for other sites. The authority is created once per directory, so that clients
trust the sandbox also after a restart.
"""

import ipaddress
import os
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from aliyun_import.sandbox.ecs.state import REGIONS

AUTHORITY = "ca.pem"
AUTHORITY_KEY = "ca-key.pem"
CERTIFICATE = "certificate.pem"
KEY = "certificate-key.pem"
VALID_DAYS = 365
RENEWAL_DAYS = 30  # an authority with less remaining validity is replaced
_BACKDATED = timedelta(hours=1)  # for clients with a slow clock

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Authority:
    """Authority of the sandbox: the file for clients, the certificate and its key."""

    path: Path
    certificate: x509.Certificate
    key: Key


def server_context(directory: Path, host: str) -> tuple[ssl.SSLContext, Path]:
    """Return a server context with a new certificate, and the file of the authority that signed it.

    The files are in the directory, which is created if it is missing. Raises OSError if it is not writable.
    """
    directory.mkdir(parents=True, exist_ok=True)
    authority = _authority(directory, host)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(authority, key, host)
    _write(directory / KEY, _private(key))
    chain = (certificate, authority.certificate)
    _write(directory / CERTIFICATE, b"".join(each.public_bytes(Encoding.PEM) for each in chain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / CERTIFICATE, directory / KEY)
    return context, authority.path


def host_names() -> tuple[str, ...]:
    """Return the host names of OSS (with buckets), ECS, RAM and STS, with wildcards."""
    by_region = (f"*.{each}.aliyuncs.com" for region in REGIONS for each in (region, f"oss-{region}"))
    return ("localhost", "*.aliyuncs.com", "*.oss-accelerate.aliyuncs.com", *by_region)


def _authority(directory: Path, host: str) -> Authority:
    """Return the authority of a directory, or create one if there is none that is valid for the host."""
    path, key_path = directory / AUTHORITY, directory / AUTHORITY_KEY
    allowed = x509.NameConstraints(_permitted(host), None)
    with suppress(FileNotFoundError, ValueError, x509.ExtensionNotFound):
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        key = load_pem_private_key(key_path.read_bytes(), None)
        lasts = certificate.not_valid_after_utc > _now() + timedelta(days=RENEWAL_DAYS)
        constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
        if isinstance(key, Key) and lasts and constraints == allowed:
            return Authority(path, certificate, key)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "aliyun-import sandbox, not Alibaba Cloud")])
    certificate = (
        _builder(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(allowed, critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(key_path, _private(key))
    _write(path, certificate.public_bytes(Encoding.PEM), mode=0o644)
    return Authority(path, certificate, key)


def _certificate(authority: Authority, key: Key, host: str) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "aliyun-import sandbox")])
    issuer = x509.SubjectKeyIdentifier.from_public_key(authority.key.public_key())
    return (
        _builder(name, authority.certificate.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(_subjects(host)), critical=False)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def _permitted(host: str) -> list[x509.GeneralName]:
    names = ("localhost", "aliyuncs.com", *_own_name(host))
    networks = (ipaddress.ip_network(every) for every in ("0.0.0.0/0", "::/0"))
    return [*(x509.DNSName(name) for name in names), *(x509.IPAddress(network) for network in networks)]


def _subjects(host: str) -> list[x509.GeneralName]:
    own = _own_name(host)
    addresses = {"127.0.0.1", "::1", *([] if own or not host or host == "localhost" else [host])}
    return [
        *(x509.DNSName(name) for name in (*host_names(), *own)),
        *(x509.IPAddress(ipaddress.ip_address(each)) for each in sorted(addresses)),
    ]


def _own_name(host: str) -> tuple[str, ...]:
    """Return the host if it is a name other than localhost."""
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return ()
    return (host,) if host not in ("", "localhost") else ()


def _builder(subject: x509.Name, issuer: x509.Name, key: Key) -> x509.CertificateBuilder:
    now = _now()
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - _BACKDATED,
        not_valid_after=now + timedelta(days=VALID_DAYS),
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _private(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file. It has its mode from its creation, so that a key is never readable by others."""
    made = path.with_suffix(".new")
    made.unlink(missing_ok=True)
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
        file.write(data)
    made.replace(path)
