"""Small servers that fail in ways that the sandbox does not, and a certificate for them."""

import datetime
import fcntl
import ipaddress
import socket
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@contextmanager
def serve(
    handle: Callable[[socket.socket], None], *, wrap: Callable[[socket.socket], socket.socket] | None = None
) -> Iterator[int]:
    """Yield the port of a server that calls `handle` with each connection in turn; `wrap` adds TLS."""
    listening = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:  # closed at the end of the test
                return
            try:
                connection.settimeout(10)
                with wrap(connection) if wrap else connection as wrapped:
                    handle(wrapped)
            except OSError:  # the client closed the connection, as in some tests
                continue

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        # Closing alone does not end a wait in accept.
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(10)


def wait_until_delivered(connection: socket.socket) -> None:
    """Wait until the kernel of the other side has all sent bytes, which closing earlier may discard."""
    queued = bytearray(4)
    for _ in range(10_000):
        fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, queued)
        if not int.from_bytes(queued, sys.byteorder):
            return
        time.sleep(0.001)
    raise TimeoutError("the answer was not received")


def read_head(connection: socket.socket) -> bytes:
    """Read a request up to the end of its headers, and the bytes received with it."""
    text = b""
    while b"\r\n\r\n" not in text:
        piece = connection.recv(65536)
        if not piece:
            break
        text += piece
    return text


def write_certificate(path: Path) -> Path:
    """Write a new self-signed certificate and its private key to one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "aliyun-import tests")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return path
