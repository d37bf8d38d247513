"""Errors of the network, and of answers that are not the service's: of proxies, filters, portals and gateways."""

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
Chain = tuple[BaseException, ...]
# OpenSSL's reasons for a handshake with something that speaks no TLS.
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL")
# The first two bytes of a TLS record, an alert, as http.client reports what is no status line.
_TLS_ALERT = "\\x15\\x03"
# What a gateway answers that could not pass the request on; a later attempt may succeed.
_GATEWAY = (408, 425, 429)
# nginx, Go's net/http, Apache: a request without TLS to a port that expects it.
_NEEDS_TLS = re.compile(rb"(?i)HTTP request (?:was sent )?to (?:an )?HTTPS|speaking plain HTTP to an SSL")
_TAGS = re.compile(r"(?s)<(script|style)\b.*?</\1>|<[^>]*>")
_MAX_TEXT = 160
_OTHER = "Something other than {service} answered {operation} at {host}."
_SENTENCES: Mapping[ErrorCode, tuple[str, str]] = {
    ErrorCode.ANSWER_UNREADABLE: (
        _OTHER,
        "Check whether a portal or a proxy stands between this machine and {host}, and run the same command again.",
    ),
    ErrorCode.REDIRECTED: (
        "{host} answered {operation} with a redirect, and {service} never does that.",
        "Check whether a portal or a proxy stands between this machine and {host}.",
    ),
    ErrorCode.PROXY_LOGIN: (
        "The proxy between this machine and {host} refuses its login.",
        "Set HTTPS_PROXY (for an http endpoint HTTP_PROXY) as http://USER:PASSWORD@HOST:PORT with the proxy's "
        "login, or add {host} to NO_PROXY.",
    ),
    ErrorCode.GATEWAY_FAILED: (
        "A gateway or proxy answered {operation} in place of {service} at {host}.",
        "Check the proxy or gateway between this machine and {host}, and run the same command again.",
    ),
    ErrorCode.INTERCEPTED: (
        _OTHER,
        "Check what stands between this machine and {host} (proxy, filter, portal), and HTTPS_PROXY, NO_PROXY and the "
        "endpoint.",
    ),
    ErrorCode.BODY_TOO_LARGE: (
        "What answers {operation} at {host} does not accept a body of this size.",
        "Raise its limit to 5 GiB (client_max_body_size of nginx), or pass an endpoint without it.",
    ),
    ErrorCode.ENDPOINT_SCHEME: (
        "The server at {host} expects https, and the endpoint is http.",
        "Write the endpoint as https://{host}.",
    ),
}


class Redirected(OSError):
    """The answer is a redirect, which the services never send."""


class AnswerTooLarge(OSError):
    """The answer is larger than any answer to this request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One kind of failure: the classes, or names of classes, of its exceptions, and the error that it becomes."""

    code: ErrorCode
    means: str
    remedy: str
    classes: tuple[type[BaseException], ...] = ()
    names: frozenset[str] = frozenset()
    texts: tuple[str, ...] = ("",)
    only_at_own_endpoints: bool = False

    def is_in(self, chain: Chain, host: str) -> bool:
        """Return whether one of the exceptions is of this kind, and has one of the texts."""
        if self.only_at_own_endpoints and host.endswith(".aliyuncs.com"):
            return False
        return any(
            (isinstance(one, self.classes) or type(one).__name__ in self.names)
            and any(text in str(one) or text in repr(one) for text in self.texts)
            for one in chain
        )


# The first match counts, so the special ones come first: a name that can't be resolved is a failed connection too.
TROUBLES: tuple[Trouble, ...] = (
    Trouble(
        code=ErrorCode.CERTIFICATE_UNTRUSTED,
        means="{service} could not be reached ({operation}): the certificate of {host} is not valid at this machine's "
        "time.",
        remedy="Check the clock of this machine. If it is right, check whether a proxy stands between this machine and "
        "{host}, and whether the certificate was renewed.",
        classes=(ssl.SSLCertVerificationError,),
        texts=("certificate has expired", "certificate is not yet valid"),
    ),
    Trouble(
        code=ErrorCode.CERTIFICATE_UNTRUSTED,
        means="{service} could not be reached ({operation}): the certificate of {host} is not trusted.",
        remedy="Check whether a proxy decrypts TLS between this machine and the service; if it is meant to, set "
        "REQUESTS_CA_BUNDLE to the file with its certificate. It applies to all services.",
        classes=(ssl.SSLCertVerificationError,),
    ),
    Trouble(
        code=ErrorCode.REDIRECTED,
        means="{host} answered {operation} with a redirect, which {service} never does.",
        remedy="Check whether a portal or a proxy stands between this machine and the internet.",
        classes=(Redirected,),
    ),
    Trouble(
        code=ErrorCode.ANSWER_UNREADABLE,
        means="The answer of {host} to {service}'s {operation} can't be read: it is too large.",
        remedy="Check whether a portal or a proxy stands between this machine and the internet, and run the same "
        "command again.",
        classes=(AnswerTooLarge,),
    ),
    Trouble(
        code=ErrorCode.PROXY_LOGIN,
        means="{service} could not be reached ({operation}): the proxy on the way to {host} refuses its login.",
        remedy="Set HTTPS_PROXY as http://USER:PASSWORD@HOST:PORT with the proxy's login, or add {host} to NO_PROXY.",
        classes=(OSError,),
        texts=("Tunnel connection failed: 407",),
    ),
    Trouble(
        code=ErrorCode.PROXY_UNUSABLE,
        means="{service} could not be reached ({operation}): the proxy on the way to {host} does not speak https.",
        remedy="Set HTTPS_PROXY to an address that begins with http://, not https://: that is how most proxies are "
        "reached, for https endpoints too.",
        names=frozenset({"ProxyError"}),
        texts=("use only HTTP", "appears to only use HTTP", *_NO_TLS),
    ),
    Trouble(
        code=ErrorCode.PROXY_FAILED,
        means="{service} could not be reached ({operation}): the proxy refused the connection to {host}.",
        remedy="Check HTTPS_PROXY and NO_PROXY, and run the same command again.",
        names=frozenset({"ProxyError"}),
    ),
    Trouble(
        code=ErrorCode.HOST_UNKNOWN,
        means="{service} could not be reached ({operation}): the name {host} can't be resolved.",
        remedy="Check the network, --region and any endpoint that was given, and run the same command again.",
        classes=(socket.gaierror,),
    ),
    Trouble(
        code=ErrorCode.CONNECT_TIMED_OUT,
        means="{service} could not be reached ({operation}): no connection to {host} was made in time.",
        remedy=_AGAIN,
        names=frozenset({"ConnectTimeoutError"}),
    ),
    Trouble(
        code=ErrorCode.TIMED_OUT,
        means="{service} did not answer {operation} in time ({host}).",
        remedy=_AGAIN,
        classes=(TimeoutError,),
        names=frozenset({"ReadTimeoutError"}),
    ),
    Trouble(
        code=ErrorCode.CONNECTION_REFUSED,
        means="{service} could not be reached ({operation}): {host} refused the connection.",
        remedy="Check that the endpoint is right and its server is running, and run the same command again.",
        classes=(ConnectionRefusedError,),
    ),
    Trouble(
        code=ErrorCode.ENDPOINT_SCHEME,
        means="{service} could not be reached ({operation}): the server at {host} does not speak https.",
        remedy="Write the endpoint as http://{address} if it is a sandbox on this machine, or check its port.",
        classes=(ssl.SSLError,),
        names=frozenset({"SSLError"}),
        texts=_NO_TLS,
        only_at_own_endpoints=True,
    ),
    Trouble(
        code=ErrorCode.ENDPOINT_SCHEME,
        means="{service} could not be reached ({operation}): the server at {host} expects https.",
        remedy="Write the endpoint as https://{address}.",
        names=frozenset({"BadStatusLine", "ProtocolError"}),
        texts=(_TLS_ALERT,),
    ),
    Trouble(
        code=ErrorCode.TLS_FAILED,
        means="{service} could not be reached ({operation}): the TLS handshake with {host} failed.",
        remedy="Check the network, and whether a portal or a proxy stands between this machine and {host}, and run the "
        "same command again.",
        classes=(ssl.SSLError,),
        names=frozenset({"SSLError"}),
    ),
    Trouble(
        code=ErrorCode.CONNECTION_LOST,
        means="The connection to {host} broke during {service}'s {operation}.",
        remedy=_AGAIN,
        classes=(BaseException,),
    ),
)


def network_error(error: BaseException, *, service: str, operation: str, url: str) -> AliyunImportError:
    """Return our error for an exception of the network. `url` is the endpoint of the request."""
    chain = tuple(_chain(error))
    limits = (limit_error(one) for one in chain if not isinstance(one, BlockingIOError))
    if limit := next((one for one in limits if one), None):
        return limit
    parts = urlsplit(url)
    details = {"service": service, "operation": operation, "host": parts.hostname or url}
    trouble = next(one for one in TROUBLES if one.is_in(chain, details["host"]))
    return trouble.code.kind(
        trouble.means.format_map(details),
        code=trouble.code,
        cause=redact(f"{type(chain[-1]).__name__}: {chain[-1]}")[:300],
        remedy=trouble.remedy.format_map({**details, "address": parts.netloc}),
        details=details,
        resumable=issubclass(trouble.code.kind, TransientError),
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
    """Return the error of an answer that neither a request id nor a code marks as the service's."""
    code = _code(answer)
    host = urlsplit(url).netloc or url
    values = {"service": service, "operation": operation, "host": host}
    summary, remedy = (sentence.format_map(values) for sentence in _SENTENCES[code])
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
    """Return the beginning of what a page says, without its markup."""
    text = unescape(_TAGS.sub(" ", body[:4000].decode("utf-8", "replace")))
    words = redact(" ".join(text.split()))
    return words if len(words) <= _MAX_TEXT else words[:_MAX_TEXT].rstrip() + "..."
