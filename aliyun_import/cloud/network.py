"""This file puts into words why a service could not be reached or did not answer.

Both SDKs carry a copy of `requests` and `urllib3` each, so what happened is read from the chain of exceptions by what
lies at its bottom, and by names, not by classes of one of the copies.
"""

import socket
import ssl
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from aliyun_import.cloud.redact import redact
from aliyun_import.errors import AccessError, AliyunImportError, TransientError, UsageError

_AGAIN = "Check the network and run the same command again."


def network_error(error: BaseException, *, service: str, operation: str, url: str) -> AliyunImportError:
    """Translate an error that is not an answer of the service. `url` is the endpoint that was asked."""
    host = urlsplit(url).hostname or url
    chain = tuple(_chain(error))
    names = {type(one).__name__ for one in chain}
    details = {"service": service, "operation": operation, "host": host}
    cause = redact(f"{type(chain[-1]).__name__}: {chain[-1]}")[:300]
    for matches, kind, code, words, remedy in _RULES:
        if matches(chain, names):
            return kind(
                words.format(service=service, operation=operation, host=host),
                code=code,
                cause=cause,
                remedy=remedy,
                details=details,
                resumable=kind is TransientError,
            )
    return TransientError(
        f"The connection to {host} broke during {service}'s {operation}.",
        code="connection-lost",
        cause=cause,
        remedy=_AGAIN,
        details=details,
        resumable=True,
    )


Chain = tuple[BaseException, ...]
Matches = Callable[[Chain, set[str]], bool]


def _is(*classes: type[BaseException]) -> Matches:
    return lambda chain, _: any(isinstance(one, classes) for one in chain)


def _named(*wanted: str) -> Matches:
    return lambda _, names: not names.isdisjoint(wanted)


# The first rule that matches counts, so the special ones come first: a name that can't be resolved is a failed
# connection, too.
_RULES: tuple[tuple[Matches, type[AliyunImportError], str, str, str], ...] = (
    (
        _is(ssl.SSLCertVerificationError),
        AccessError,
        "certificate-untrusted",
        "{service} could not be asked ({operation}): the certificate of {host} is not trusted.",
        "Check whether a proxy opens TLS on the way; if it is meant to, set REQUESTS_CA_BUNDLE to the file with its "
        "certificate. It serves all services.",
    ),
    (
        _named("InvalidSchema", "InvalidProxyURL"),
        UsageError,
        "proxy-unusable",
        "{service} could not be asked ({operation}): the proxy of the environment can't be used.",
        "Set HTTPS_PROXY to an http:// address, or add the host to NO_PROXY.",
    ),
    (
        _named("TooManyRedirects"),
        AccessError,
        "redirected",
        "{host} answered {operation} with a redirect, which {service} never does.",
        "Check whether a portal or a proxy stands between this machine and the internet.",
    ),
    (
        _named("ProxyError"),
        TransientError,
        "proxy-failed",
        "{service} could not be asked ({operation}): the proxy did not let the request to {host} through.",
        "Check HTTPS_PROXY and NO_PROXY, and run the same command again.",
    ),
    (
        _is(socket.gaierror),
        TransientError,
        "host-unknown",
        "{service} could not be asked ({operation}): the name {host} can't be resolved.",
        "Check the network, --region and any endpoint that was given, and run the same command again.",
    ),
    (
        _named("ConnectTimeoutError", "ConnectTimeout"),
        TransientError,
        "connect-timed-out",
        "{service} could not be asked ({operation}): {host} did not take the connection in time.",
        _AGAIN,
    ),
    (
        lambda chain, names: _is(TimeoutError)(chain, names) or _named("ReadTimeoutError", "ReadTimeout")(chain, names),
        TransientError,
        "timed-out",
        "{service} did not answer {operation} in time: {host} was silent.",
        _AGAIN,
    ),
    (
        _is(ConnectionRefusedError),
        TransientError,
        "connection-refused",
        "{service} could not be asked ({operation}): {host} refused the connection.",
        "Check that the endpoint is right and its server is running, and run the same command again.",
    ),
    (
        lambda chain, names: _is(ssl.SSLError)(chain, names) or _named("SSLError")(chain, names),
        TransientError,
        "tls-failed",
        "{service} could not be asked ({operation}): no secure connection to {host} came about.",
        _AGAIN,
    ),
)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Walk from an exception to what lies below it, through causes, `reason` (urllib3) and wrapped arguments."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        below = [getattr(current, "exception", None), getattr(current, "reason", None), *current.args]
        below += [current.__cause__, current.__context__]
        current = next((one for one in below if isinstance(one, BaseException) and id(one) not in seen), None)
