"""This file tests which words a failure of the network gets, on chains of exceptions as both SDKs make them."""

import socket
import ssl

import pytest
import requests
import urllib3.exceptions
from oss2.exceptions import RequestError

from aliyun_import.cloud.errors.network import network_error
from aliyun_import.errors import (
    AccessError,
    AliyunImportError,
    ConnectionLost,
    ServiceUnreachable,
    TimedOut,
    TransientError,
    UsageError,
)

URL = "https://oss-cn-hangzhou.aliyuncs.com"


def _wrapped(inner: BaseException, outer: type[requests.RequestException] = requests.ConnectionError) -> RequestError:
    """Wrap an exception as urllib3, requests and oss2 do."""
    retried = urllib3.exceptions.MaxRetryError(None, "/?SecurityToken=HUSH", inner)  # type: ignore[arg-type]
    return RequestError(outer(retried))


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (_wrapped(socket.gaierror(-2, "Name or service not known")), ServiceUnreachable, "host-unknown"),
        (_wrapped(ConnectionRefusedError(111, "Connection refused")), ServiceUnreachable, "connection-refused"),
        (_wrapped(ConnectionResetError(104, "Connection reset by peer")), ConnectionLost, "connection-lost"),
        (_wrapped(TimeoutError("The write operation timed out")), TimedOut, "timed-out"),
        (RequestError(requests.ReadTimeout("HUSH read timed out")), TimedOut, "timed-out"),
        (RequestError(requests.ConnectTimeout("timed out")), ServiceUnreachable, "connect-timed-out"),
        (_wrapped(ssl.SSLCertVerificationError("self-signed"), requests.exceptions.SSLError), AccessError,
         "certificate-untrusted"),
        (_wrapped(ssl.SSLError("handshake"), requests.exceptions.SSLError), ServiceUnreachable, "tls-failed"),
        (_wrapped(OSError("Tunnel"), requests.exceptions.ProxyError), ServiceUnreachable, "proxy-failed"),
        (RequestError(requests.exceptions.InvalidSchema("Missing dependencies for SOCKS")), UsageError,
         "proxy-unusable"),
        (RequestError(requests.TooManyRedirects("0")), AccessError, "redirected"),
        (requests.exceptions.ChunkedEncodingError("IncompleteRead"), ConnectionLost, "connection-lost"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_each_failure_has_its_words(error: Exception, kind: type[AliyunImportError], code: str) -> None:
    """What lies at the bottom of the chain decides; the host and the operation are named."""
    ours = network_error(error, service="OSS", operation="UploadPart", url=URL)
    assert type(ours) is kind
    assert ours.code == code
    assert "oss-cn-hangzhou.aliyuncs.com" in ours.summary or code == "proxy-unusable"
    assert "UploadPart" in ours.summary
    assert ours.remedy
    assert ours.resumable is issubclass(kind, TransientError)


def test_a_signed_url_does_not_reach_the_message() -> None:
    """The SDKs put whole URLs into their exceptions."""
    error = requests.ConnectionError(
        "HTTPSConnectionPool: Max retries exceeded with url: /?SecurityToken=HUSH&Signature=HUSH"
    )
    ours = network_error(error, service="ECS", operation="ImportImage", url=URL)
    assert "HUSH" not in f"{ours} {ours.cause} {ours.details}"
