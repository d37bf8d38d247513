"""Translation of network failures: no connection, no answer, or an answer that is not HTTP."""

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from aliyun_import.errors import (
    AccessError,
    AliyunImportError,
    ConnectionLost,
    ServiceUnreachable,
    TimedOut,
    TransientError,
    UsageError,
)
from aliyun_import.redact import redact
from aliyun_import.system_limits import limit_error

_AGAIN = "Check the network and run the same command again."


class Redirected(OSError):
    """The answer is a redirect, which the services never send."""


class AnswerTooLarge(OSError):
    """The answer is larger than any answer to this request."""


Chain = tuple[BaseException, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One kind of failure: the classes, or names of classes, of its exceptions, and the error that it becomes."""

    kind: type[AliyunImportError]
    ours: str
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


# OpenSSL's reasons for a handshake with something that speaks no TLS.
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL")
# The first two bytes of a TLS record, an alert, as http.client reports what is no status line.
_TLS_ALERT = "\\x15\\x03"

# The first match counts, so the special ones come first: a name that can't be resolved is a failed connection too.
TROUBLES: tuple[Trouble, ...] = (
    Trouble(
        kind=AccessError,
        ours="certificate-untrusted",
        means="{service} could not be reached ({operation}): the certificate of {host} is not valid at this machine's "
        "time.",
        remedy="Check the clock of this machine. If it is right, check whether a proxy stands between this machine and "
        "{host}, and whether the certificate was renewed.",
        classes=(ssl.SSLCertVerificationError,),
        texts=("certificate has expired", "certificate is not yet valid"),
    ),
    Trouble(
        kind=AccessError,
        ours="certificate-untrusted",
        means="{service} could not be reached ({operation}): the certificate of {host} is not trusted.",
        remedy="Check whether a proxy decrypts TLS between this machine and the service; if it is meant to, set "
        "REQUESTS_CA_BUNDLE to the file with its certificate. It applies to all services.",
        classes=(ssl.SSLCertVerificationError,),
    ),
    Trouble(
        kind=AccessError,
        ours="redirected",
        means="{host} answered {operation} with a redirect, which {service} never does.",
        remedy="Check whether a portal or a proxy stands between this machine and the internet.",
        classes=(Redirected,),
    ),
    Trouble(
        kind=ServiceUnreachable,
        ours="answer-unreadable",
        means="The answer of {host} to {service}'s {operation} can't be read: it is too large.",
        remedy="Check whether a portal or a proxy stands between this machine and the internet, and run the same "
        "command again.",
        classes=(AnswerTooLarge,),
    ),
    Trouble(
        kind=AccessError,
        ours="proxy-login",
        means="{service} could not be reached ({operation}): the proxy on the way to {host} refuses its login.",
        remedy="Set HTTPS_PROXY as http://USER:PASSWORD@HOST:PORT with the proxy's login, or add {host} to NO_PROXY.",
        classes=(OSError,),
        texts=("Tunnel connection failed: 407",),
    ),
    Trouble(
        kind=UsageError,
        ours="proxy-unusable",
        means="{service} could not be reached ({operation}): the proxy on the way to {host} does not speak https.",
        remedy="Set HTTPS_PROXY to an address that begins with http://, not https://: that is how most proxies are "
        "reached, for https endpoints too.",
        names=frozenset({"ProxyError"}),
        texts=("use only HTTP", "appears to only use HTTP", *_NO_TLS),
    ),
    Trouble(
        kind=ServiceUnreachable,
        ours="proxy-failed",
        means="{service} could not be reached ({operation}): the proxy refused the connection to {host}.",
        remedy="Check HTTPS_PROXY and NO_PROXY, and run the same command again.",
        names=frozenset({"ProxyError"}),
    ),
    Trouble(
        kind=ServiceUnreachable,
        ours="host-unknown",
        means="{service} could not be reached ({operation}): the name {host} can't be resolved.",
        remedy="Check the network, --region and any endpoint that was given, and run the same command again.",
        classes=(socket.gaierror,),
    ),
    Trouble(
        kind=ServiceUnreachable,
        ours="connect-timed-out",
        means="{service} could not be reached ({operation}): no connection to {host} was made in time.",
        remedy=_AGAIN,
        names=frozenset({"ConnectTimeoutError"}),
    ),
    Trouble(
        kind=TimedOut,
        ours="timed-out",
        means="{service} did not answer {operation} in time ({host}).",
        remedy=_AGAIN,
        classes=(TimeoutError,),
        names=frozenset({"ReadTimeoutError"}),
    ),
    Trouble(
        kind=ServiceUnreachable,
        ours="connection-refused",
        means="{service} could not be reached ({operation}): {host} refused the connection.",
        remedy="Check that the endpoint is right and its server is running, and run the same command again.",
        classes=(ConnectionRefusedError,),
    ),
    Trouble(
        kind=UsageError,
        ours="endpoint-scheme",
        means="{service} could not be reached ({operation}): the server at {host} does not speak https.",
        remedy="Write the endpoint as http://{address} if it is a sandbox on this machine, or check its port.",
        classes=(ssl.SSLError,),
        names=frozenset({"SSLError"}),
        texts=_NO_TLS,
        only_at_own_endpoints=True,
    ),
    Trouble(
        kind=UsageError,
        ours="endpoint-scheme",
        means="{service} could not be reached ({operation}): the server at {host} expects https.",
        remedy="Write the endpoint as https://{address}.",
        names=frozenset({"BadStatusLine", "ProtocolError"}),
        texts=(_TLS_ALERT,),
    ),
    Trouble(
        kind=ServiceUnreachable,
        ours="tls-failed",
        means="{service} could not be reached ({operation}): the TLS handshake with {host} failed.",
        remedy="Check the network, and whether a portal or a proxy stands between this machine and {host}, and run the "
        "same command again.",
        classes=(ssl.SSLError,),
        names=frozenset({"SSLError"}),
    ),
    Trouble(
        kind=ConnectionLost,
        ours="connection-lost",
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
    return trouble.kind(
        trouble.means.format_map(details),
        code=trouble.ours,
        cause=redact(f"{type(chain[-1]).__name__}: {chain[-1]}")[:300],
        remedy=trouble.remedy.format_map({**details, "address": parts.netloc}),
        details=details,
        resumable=issubclass(trouble.kind, TransientError),
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
