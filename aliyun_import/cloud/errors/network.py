"""Errors of the network, and of answers from proxies, filters, portals and gateways instead of the service."""

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from urllib.parse import urlsplit

from aliyun_import.cloud.transport.answer import Answer, retry_after_s, status_text
from aliyun_import.error_codes import ErrorCode
from aliyun_import.errors import AliyunImportError, TransientError
from aliyun_import.redact import redact
from aliyun_import.system_limits import limit_error

_AGAIN = "Check the network and run the same command again."
_Chain = tuple[BaseException, ...]
# Reasons that OpenSSL gives for a handshake with a server without TLS.
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL")
# The first two bytes of a TLS alert, in the repr of the status line that http.client reports as invalid.
_TLS_ALERT = "\\x15\\x03"
# A gateway could not forward the request; a later attempt may succeed.
_GATEWAY = (408, 425, 429)
# Answers of nginx, Go's net/http and Apache to a request without TLS on a port for TLS.
_NEEDS_TLS = re.compile(rb"(?i)HTTP request (?:was sent )?to (?:an )?HTTPS|speaking plain HTTP to an SSL")
_TAGS = re.compile(r"(?s)<(script|style)\b.*?</\1>|<[^>]*>")
_MAX_TEXT = 160
_OTHER = "Something other than {service} answered {operation} at {host}."
_FOREIGN: Mapping[ErrorCode, tuple[str, str]] = {
    ErrorCode.ANSWER_UNREADABLE: (
        _OTHER,
        "Check for a portal or a proxy between this machine and {host}, and run the same command again.",
    ),
    ErrorCode.REDIRECTED: (
        "{host} answered {operation} with a redirect, which {service} never sends.",
        "Check for a portal or a proxy between this machine and {host}.",
    ),
    ErrorCode.PROXY_LOGIN: (
        "The proxy between this machine and {host} requires a login, or rejects the one that was given.",
        "Set HTTPS_PROXY (for an http endpoint HTTP_PROXY) as http://USER:PASSWORD@HOST:PORT with the proxy's "
        "login, or add {host} to NO_PROXY.",
    ),
    ErrorCode.GATEWAY_FAILED: (
        "A gateway or proxy answered {operation} in place of {service} at {host}.",
        "Check the proxy or gateway between this machine and {host}, and run the same command again.",
    ),
    ErrorCode.INTERCEPTED: (
        _OTHER,
        "Check for a proxy, filter or portal between this machine and {host}, and check HTTPS_PROXY, NO_PROXY and the "
        "endpoint.",
    ),
    ErrorCode.BODY_TOO_LARGE: (
        "The server that answers {operation} at {host} does not accept a body of this size.",
        "Raise its limit to 5 GiB (client_max_body_size of nginx), or pass an endpoint without it.",
    ),
    ErrorCode.ENDPOINT_SCHEME: (
        "The server at {host} expects https, and the endpoint is http.",
        "Pass the endpoint as https://{host}.",
    ),
}


class Redirected(OSError):
    """The answer is a redirect, which the services never send."""


class AnswerTooLarge(OSError):
    """The answer exceeds the limit for answers to this request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Kind of failure, recognized by the classes, class names and texts of its exceptions, and its error."""

    code: ErrorCode
    summary: str
    remedy: str
    classes: tuple[type[BaseException], ...] = ()
    names: frozenset[str] = frozenset()
    texts: tuple[str, ...] = ("",)
    only_at_own_endpoints: bool = False

    def is_in(self, chain: _Chain, host: str) -> bool:
        """Return whether one of the exceptions is of this kind, and has one of the texts."""
        if self.only_at_own_endpoints and host.endswith(".aliyuncs.com"):
            return False
        return any(
            (isinstance(one, self.classes) or type(one).__name__ in self.names)
            and any(text in str(one) or text in repr(one) for text in self.texts)
            for one in chain
        )


# The first match counts, so special kinds come first: a name that can't be resolved is also a failed connection.
FAILURES: tuple[Failure, ...] = (
    Failure(
        code=ErrorCode.CERTIFICATE_UNTRUSTED,
        summary="{service} could not be reached ({operation}): the certificate of {host} is not valid at this "
        "machine's time.",
        remedy="Check the clock of this machine. If it is right, check for a proxy between this machine and {host}, "
        "and whether the certificate was renewed.",
        classes=(ssl.SSLCertVerificationError,),
        texts=("certificate has expired", "certificate is not yet valid"),
    ),
    Failure(
        code=ErrorCode.CERTIFICATE_UNTRUSTED,
        summary="{service} could not be reached ({operation}): the certificate of {host} is not trusted.",
        remedy="Check whether a proxy decrypts TLS between this machine and the service. If it is trusted, set "
        "REQUESTS_CA_BUNDLE to the file with its certificate; it applies to all services.",
        classes=(ssl.SSLCertVerificationError,),
    ),
    Failure(
        code=ErrorCode.REDIRECTED,
        summary="{host} answered {operation} with a redirect, which {service} never sends.",
        remedy="Check for a portal or a proxy between this machine and the internet.",
        classes=(Redirected,),
    ),
    Failure(
        code=ErrorCode.ANSWER_UNREADABLE,
        summary="The answer of {host} to {service}'s {operation} can't be read: it is too large.",
        remedy="Check for a portal or a proxy between this machine and the internet, and run the same command again.",
        classes=(AnswerTooLarge,),
    ),
    Failure(
        code=ErrorCode.PROXY_LOGIN,
        summary="{service} could not be reached ({operation}): the proxy before {host} requires a login, or rejects "
        "the one that was given.",
        remedy="Set HTTPS_PROXY as http://USER:PASSWORD@HOST:PORT with the proxy's login, or add {host} to NO_PROXY.",
        classes=(OSError,),
        texts=("Tunnel connection failed: 407",),
    ),
    Failure(
        code=ErrorCode.PROXY_UNUSABLE,
        summary="{service} could not be reached ({operation}): the proxy before {host} does not support https.",
        remedy="Set HTTPS_PROXY to an address that begins with http://, not https://: most proxies expect http, for "
        "https endpoints too.",
        names=frozenset({"ProxyError"}),
        texts=("use only HTTP", "appears to only use HTTP", *_NO_TLS),
    ),
    Failure(
        code=ErrorCode.PROXY_FAILED,
        summary="{service} could not be reached ({operation}): the proxy refused the connection to {host}.",
        remedy="Check HTTPS_PROXY and NO_PROXY, and run the same command again.",
        names=frozenset({"ProxyError"}),
    ),
    Failure(
        code=ErrorCode.HOST_UNKNOWN,
        summary="{service} could not be reached ({operation}): the name {host} can't be resolved.",
        remedy="Check the network, --region and the endpoint options, and run the same command again.",
        classes=(socket.gaierror,),
    ),
    Failure(
        code=ErrorCode.CONNECT_TIMED_OUT,
        summary="{service} could not be reached ({operation}): no connection to {host} was made in time.",
        remedy=_AGAIN,
        names=frozenset({"ConnectTimeoutError"}),
    ),
    Failure(
        code=ErrorCode.TIMED_OUT,
        summary="{service} did not answer {operation} in time ({host}).",
        remedy=_AGAIN,
        classes=(TimeoutError,),
        names=frozenset({"ReadTimeoutError"}),
    ),
    Failure(
        code=ErrorCode.CONNECTION_REFUSED,
        summary="{service} could not be reached ({operation}): {host} refused the connection.",
        remedy="Check that the endpoint is right and its server is running, and run the same command again.",
        classes=(ConnectionRefusedError,),
    ),
    Failure(
        code=ErrorCode.ENDPOINT_SCHEME,
        summary="{service} could not be reached ({operation}): the server at {host} does not support https.",
        remedy="Pass the endpoint as http://{address} if it is a sandbox on this machine, or check its port.",
        classes=(ssl.SSLError,),
        names=frozenset({"SSLError"}),
        texts=_NO_TLS,
        only_at_own_endpoints=True,
    ),
    Failure(
        code=ErrorCode.ENDPOINT_SCHEME,
        summary="{service} could not be reached ({operation}): the server at {host} expects https.",
        remedy="Pass the endpoint as https://{address}.",
        names=frozenset({"BadStatusLine", "ProtocolError"}),
        texts=(_TLS_ALERT,),
    ),
    Failure(
        code=ErrorCode.TLS_FAILED,
        summary="{service} could not be reached ({operation}): the TLS handshake with {host} failed.",
        remedy="Check the network, check for a portal or a proxy between this machine and {host}, and run the same "
        "command again.",
        classes=(ssl.SSLError,),
        names=frozenset({"SSLError"}),
    ),
    Failure(
        code=ErrorCode.CONNECTION_LOST,
        summary="The connection to {host} broke during {service}'s {operation}.",
        remedy=_AGAIN,
        classes=(BaseException,),
    ),
)


def network_error(error: BaseException, *, service: str, operation: str, url: str) -> AliyunImportError:
    """Return the error for an exception of the network. `url` is the endpoint of the request."""
    chain = tuple(_chain(error))
    limits = (limit_error(one) for one in chain if not isinstance(one, BlockingIOError))
    if limit := next((one for one in limits if one), None):
        return limit
    parts = urlsplit(url)
    details = {"service": service, "operation": operation, "host": parts.hostname or url}
    failure = next(one for one in FAILURES if one.is_in(chain, details["host"]))
    return failure.code.kind(
        failure.summary.format_map(details),
        code=failure.code,
        cause=redact(f"{type(chain[-1]).__name__}: {chain[-1]}")[:300],
        remedy=failure.remedy.format_map({**details, "address": parts.netloc}),
        details=details,
        resumable=issubclass(failure.code.kind, TransientError),
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those below it, through causes, `reason` (urllib3) and wrapped arguments."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        below = [getattr(current, "reason", None), *current.args]
        below += [current.__cause__, current.__context__]
        current = next((one for one in below if isinstance(one, BaseException) and id(one) not in seen), None)


def foreign_answer(answer: Answer, *, service: str, operation: str, url: str) -> AliyunImportError:
    """Return the error for an answer without the request id and the code of a service."""
    code = _code(answer)
    host = urlsplit(url).netloc or url
    values = {"service": service, "operation": operation, "host": host}
    summary, remedy = (sentence.format_map(values) for sentence in _FOREIGN[code])
    shown = _text(answer.body)
    return code.kind(
        summary,
        code=code,
        cause=f"The answer is {status_text(answer.status)}" + (f': "{shown}".' if shown else ", without any text."),
        remedy=remedy,
        details={**values, "http_status": str(answer.status)},
        resumable=issubclass(code.kind, TransientError),
        retry_after_s=retry_after_s(answer.headers),
    )


def _code(answer: Answer) -> ErrorCode:
    if answer.status == 407:
        return ErrorCode.PROXY_LOGIN
    if answer.status >= 500 or answer.status in _GATEWAY:
        return ErrorCode.GATEWAY_FAILED
    if _NEEDS_TLS.search(answer.body[:2000]):
        return ErrorCode.ENDPOINT_SCHEME
    if answer.status == 413:
        return ErrorCode.BODY_TOO_LARGE
    if answer.status // 100 == 2:
        return ErrorCode.ANSWER_UNREADABLE
    return ErrorCode.REDIRECTED if answer.status // 100 == 3 else ErrorCode.INTERCEPTED


def _text(body: bytes) -> str:
    """Return the beginning of a page's text, without markup."""
    text = unescape(_TAGS.sub(" ", body[:4000].decode("utf-8", "replace")))
    words = redact(" ".join(text.split()))
    return words if len(words) <= _MAX_TEXT else words[:_MAX_TEXT].rstrip() + "..."
