"""Errors of answers that are not the service's: of proxies, filters, portals and gateways on the way to it."""

import re
from collections.abc import Mapping
from html import unescape
from urllib.parse import urlsplit

from aliyun_import.cloud.transport.answer import Answer, retry_after_s, status_text
from aliyun_import.error_codes import ErrorCode
from aliyun_import.errors import AliyunImportError, TransientError
from aliyun_import.redact import redact

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
