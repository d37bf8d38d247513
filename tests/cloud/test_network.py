"""Tests of the errors of network failures, with chains of exceptions as urllib3 raises them."""

import errno
import socket
import ssl
from http.client import BadStatusLine
from typing import Any

from urllib3 import exceptions

from aliyun_import.cloud.errors.network import AnswerTooLarge, Redirected, network_error
from aliyun_import.errors import (
    AccessError,
    AliyunImportError,
    ConnectionLost,
    LocalStateError,
    ServiceUnreachable,
    TimedOut,
    TransientError,
    UsageError,
)
from tests.rows import each_row

URL = "https://oss-cn-hangzhou.aliyuncs.com"
POOL: Any = None


def _chain(outer: BaseException, inner: BaseException) -> BaseException:
    outer.__cause__ = inner
    return outer


def _aborted(inner: Exception) -> exceptions.ProtocolError:
    return exceptions.ProtocolError("Connection aborted.", inner)


@each_row(
    ("error", "kind", "code"),
    [
        (_chain(exceptions.NameResolutionError("h", POOL, socket.gaierror(-2, "unknown")), socket.gaierror(-2, "x")),
         ServiceUnreachable, "host-unknown"),
        (_chain(exceptions.NewConnectionError(POOL, "HUSH"), ConnectionRefusedError(111, "refused")),
         ServiceUnreachable, "connection-refused"),
        (_aborted(ConnectionResetError(104, "Connection reset by peer")), ConnectionLost, "connection-lost"),
        (_aborted(TimeoutError("The write operation timed out")), TimedOut, "timed-out"),
        (exceptions.ReadTimeoutError(POOL, "/?HUSH", "HUSH"), TimedOut, "timed-out"),
        (_chain(exceptions.ConnectTimeoutError(POOL, "late"), TimeoutError("timed out")), ServiceUnreachable,
         "connect-timed-out"),
        (exceptions.SSLError(ssl.SSLCertVerificationError("self-signed")), AccessError, "certificate-untrusted"),
        (exceptions.SSLError(ssl.SSLCertVerificationError("certificate has expired")), AccessError,
         "certificate-untrusted"),
        (exceptions.SSLError(ssl.SSLError("handshake")), ServiceUnreachable, "tls-failed"),
        (exceptions.ProxyError("HUSH", OSError("Tunnel")), ServiceUnreachable, "proxy-failed"),
        (Redirected("a redirect"), AccessError, "redirected"),
        (_aborted(AnswerTooLarge("large")), ServiceUnreachable, "answer-unreadable"),
        (exceptions.ProxyError("HUSH", OSError("Tunnel connection failed: 407 Login")), AccessError, "proxy-login"),
        (exceptions.ProxyError("HUSH", OSError("Tunnel connection failed: 403 No")), ServiceUnreachable,
         "proxy-failed"),
        (exceptions.ProxyError("Your proxy appears to only use HTTP and not HTTPS", ssl.SSLError("x")), UsageError,
         "proxy-unusable"),
        (_aborted(BadStatusLine("\x15\x03\x01")), UsageError, "endpoint-scheme"),
        (exceptions.SSLError(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]")), ServiceUnreachable, "tls-failed"),
        (exceptions.IncompleteRead(3, 5), ConnectionLost, "connection-lost"),
    ],
)  # fmt: skip
def test_each_failure_has_its_error(error: Exception, kind: type[AliyunImportError], code: str) -> None:
    """The last exception of the chain determines it; the error names host and operation."""
    translated = network_error(error, service="OSS", operation="UploadPart", url=URL)
    assert type(translated) is kind
    assert translated.code == code
    assert "oss-cn-hangzhou.aliyuncs.com" in translated.summary
    assert "UploadPart" in translated.summary
    assert translated.remedy
    assert translated.resumable is issubclass(kind, TransientError)


@each_row(("text", "expected"), [("certificate has expired", "clock"), ("self-signed", "REQUESTS_CA")])
def test_an_expired_certificate_and_an_unknown_issuer_have_different_remedies(text: str, expected: str) -> None:
    """One is the clock, the other the file of certificates."""
    error = exceptions.SSLError(ssl.SSLCertVerificationError(1, f"certificate verify failed: {text}"))
    assert expected in str(network_error(error, service="OSS", operation="GetBucketInfo", url=URL).remedy)


def test_a_limit_of_this_machine_is_no_failure_of_the_network() -> None:
    """A socket that can't be opened does not mean that the host is unreachable."""
    error = _chain(exceptions.NewConnectionError(POOL, "x"), OSError(errno.EMFILE, "Too many open files"))
    translated = network_error(error, service="OSS", operation="UploadPart", url=URL)
    assert (type(translated), translated.code) == (LocalStateError, "system-limit")


@each_row("reason", ["WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"])
def test_a_server_without_tls_is_a_wrong_endpoint_except_for_the_vendors(reason: str) -> None:
    """At the vendor's endpoints another host answers, so it is a transient failure."""
    error = exceptions.SSLError(ssl.SSLError(1, f"[SSL: {reason}] (_ssl.c:1000)"))
    translated = network_error(error, service="OSS", operation="GetBucketInfo", url="https://127.0.0.1:8701")
    assert (type(translated), translated.code) == (UsageError, "endpoint-scheme")
    assert "http://127.0.0.1:8701" in str(translated.remedy)
    assert network_error(error, service="OSS", operation="GetBucketInfo", url=URL).code == "tls-failed"


def test_a_signed_url_is_not_in_the_message() -> None:
    """urllib3 puts whole URLs into some exceptions."""
    error = exceptions.MaxRetryError(POOL, "/?SecurityToken=HUSH&Signature=HUSH", None)
    translated = network_error(error, service="ECS", operation="ImportImage", url=URL)
    assert "HUSH" not in f"{translated} {translated.cause} {translated.details}"
