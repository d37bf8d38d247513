"""This file puts into words why a service could not be reached or did not answer.

Both SDKs carry a copy of `requests` and `urllib3` each, so what happened is read from the chain of exceptions by what
lies at its bottom, and by names, not by classes of one of the copies.
"""

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

_AGAIN = "Check the network and run the same command again."


Chain = tuple[BaseException, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One way in which the network fails: by which names or classes of exceptions it is known, and what it becomes."""

    kind: type[AliyunImportError]
    ours: str
    means: str
    remedy: str
    classes: tuple[type[BaseException], ...] = ()
    names: frozenset[str] = frozenset()

    def is_in(self, chain: Chain) -> bool:
        """Tell whether one of the exceptions says so."""
        return any(isinstance(one, self.classes) or type(one).__name__ in self.names for one in chain)


# The first that matches counts, so the special ones come first: a name that can't be resolved is a failed connection,
# too.
TROUBLES: tuple[Trouble, ...] = (
    Trouble(
        kind=AccessError,
        ours="certificate-untrusted",
        means="{service} could not be asked ({operation}): the certificate of {host} is not trusted.",
        remedy="Check whether a proxy opens TLS on the way; if it is meant to, set REQUESTS_CA_BUNDLE to the file with "
        "its certificate. It serves all services.",
        classes=(ssl.SSLCertVerificationError,),
    ),
    Trouble(
        kind=UsageError,
        ours="proxy-unusable",
        means="{service} could not be asked ({operation}): the proxy of the environment can't be used.",
        remedy="Set HTTPS_PROXY to an http:// address, or add the host to NO_PROXY.",
        names=frozenset({"InvalidSchema", "InvalidProxyURL"}),
    ),
    Trouble(
        kind=AccessError,
        ours="redirected",
        means="{host} answered {operation} with a redirect, which {service} never does.",
        remedy="Check whether a portal or a proxy stands between this machine and the internet.",
        names=frozenset({"TooManyRedirects"}),
    ),
    Trouble(
        kind=ServiceUnreachable,
        ours="proxy-failed",
        means="{service} could not be asked ({operation}): the proxy did not let the request to {host} through.",
        remedy="Check HTTPS_PROXY and NO_PROXY, and run the same command again.",
        names=frozenset({"ProxyError"}),
    ),
    Trouble(
        kind=ServiceUnreachable,
        ours="host-unknown",
        means="{service} could not be asked ({operation}): the name {host} can't be resolved.",
        remedy="Check the network, --region and any endpoint that was given, and run the same command again.",
        classes=(socket.gaierror,),
    ),
    Trouble(
        kind=ServiceUnreachable,
        ours="connect-timed-out",
        means="{service} could not be asked ({operation}): {host} did not take the connection in time.",
        remedy=_AGAIN,
        names=frozenset({"ConnectTimeoutError", "ConnectTimeout"}),
    ),
    Trouble(
        kind=TimedOut,
        ours="timed-out",
        means="{service} did not answer {operation} in time: {host} was silent.",
        remedy=_AGAIN,
        classes=(TimeoutError,),
        names=frozenset({"ReadTimeoutError", "ReadTimeout"}),
    ),
    Trouble(
        kind=ServiceUnreachable,
        ours="connection-refused",
        means="{service} could not be asked ({operation}): {host} refused the connection.",
        remedy="Check that the endpoint is right and its server is running, and run the same command again.",
        classes=(ConnectionRefusedError,),
    ),
    Trouble(
        kind=ServiceUnreachable,
        ours="tls-failed",
        means="{service} could not be asked ({operation}): no secure connection to {host} came about.",
        remedy=_AGAIN,
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
    """Translate an error that is not an answer of the service. `url` is the endpoint that was asked."""
    chain = tuple(_chain(error))
    trouble = next(one for one in TROUBLES if one.is_in(chain))
    details = {"service": service, "operation": operation, "host": urlsplit(url).hostname or url}
    return trouble.kind(
        trouble.means.format_map(details),
        code=trouble.ours,
        cause=redact(f"{type(chain[-1]).__name__}: {chain[-1]}")[:300],
        remedy=trouble.remedy,
        details=details,
        resumable=issubclass(trouble.kind, TransientError),
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
