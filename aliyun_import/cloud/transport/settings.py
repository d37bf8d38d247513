"""Settings of all connections: timeouts, trusted certificates, proxies, and the log of requests.

Only this module reads them from the environment, by the same rules for every service.
"""

import functools
import ipaddress
import logging
import os
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import certifi

from aliyun_import.cloud.endpoints import is_loopback
from aliyun_import.errors import UsageError

# Common names of the variable for trusted certificates, in the order of precedence.
CA_VARIABLES = ("ALIBABA_CLOUD_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
# "Instance metadata": the same address in every region, reachable from instances only.
METADATA_HOST = "100.100.100.200"
DEFAULT_PORTS: Mapping[str, int] = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Timeouts for a connection and for an answer.

    `part_s` bounds each wait on the socket while a part is sent, that is, the time for one chunk.
    """

    connect_s: float = 10.0
    read_s: float = 30.0
    part_s: float = 60.0


def ca_bundle(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the file of trusted certificates from the environment; None for the default, certifi's."""
    return next((environment[name].strip() for name in CA_VARIABLES if environment.get(name, "").strip()), None)


@functools.cache
def tls_context(trusted: str | None) -> ssl.SSLContext:
    """Return the TLS context that trusts only the file or directory `trusted` (None: certifi's file).

    Cached, because loading certifi's 140 certificates takes some 20 ms. Raises UsageError "ca-bundle-unreadable".
    """
    path = Path(trusted or certifi.where())
    try:
        # A directory is searched only during a handshake. If it can't be listed, raise an error here, not there.
        if path.is_dir() and any(path.iterdir()):
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; ValueError is for a path with a NUL
        variable = next((name for name in CA_VARIABLES if os.environ.get(name, "").strip() == trusted), CA_VARIABLES[1])
        raise UsageError(
            f"The file of trusted certificates {path} can't be read.",
            code="ca-bundle-unreadable",
            cause=getattr(error, "strerror", None) or str(error),
            remedy=f"Set {variable} to a file of certificates in PEM form, or unset it.",
        ) from error


def proxy_for(url: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the URL of the proxy for a URL; empty for none.

    HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY count in lower and upper case, lower case first, as for curl. A
    proxy without a scheme is an http proxy. Loopback and link-local addresses and the metadata service are never
    reached through a proxy. Raises UsageError "proxy-unusable" for other kinds of proxies (SOCKS).
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(url) or _is_link_local(host):
        return ""
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        # As in curl and urllib: in CGI, HTTP_PROXY may be the "Proxy:" header of a web client.
        is_foreign = name == "http_proxy" and "REQUEST_METHOD" in environment
        names = (name,) if is_foreign else (name, name.upper())
        variable = next((one for one in names if environment.get(one, "").strip()), None)
        if variable is None:
            continue
        no_proxy = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
        if _is_bypassed(host, parts.port or DEFAULT_PORTS[parts.scheme], no_proxy):
            return ""
        return _checked_proxy(environment[variable].strip(), variable)
    return ""


def _is_link_local(host: str) -> bool:
    """Return whether a host is a link-local address, or the metadata service."""
    if host == METADATA_HOST:
        return True
    try:
        return ipaddress.ip_address(host).is_link_local
    except ValueError:
        return False


def _is_bypassed(host: str, port: int, no_proxy: str) -> bool:
    """Return whether NO_PROXY names a host, by the rules of Go (which the vendor's CLI follows) and curl.

    Entries are separated by commas or spaces: `*`, a name that includes its subdomains (with or without a leading `.`
    or `*.`), an address, or a network such as 10.0.0.0/8; all but the network may have a port.
    """
    return any(_is_match(entry, host.lower().rstrip("."), port) for entry in re.split(r"[\s,]+", no_proxy) if entry)


def _is_match(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        with suppress(ValueError):
            return address in ipaddress.ip_network(entry.strip("[]"), strict=False)
        name, _, wanted_port = entry.rpartition(":")
        return wanted_port == str(port) and ipaddress.ip_address(name.strip("[]")) == address
    name, _, wanted_port = entry.lower().partition(":")
    name = name.removeprefix("*").strip(".")
    is_below = bool(name) and f".{host}".endswith(f".{name}")
    return is_below and wanted_port in ("", str(port))


def _checked_proxy(given: str, variable: str) -> str:
    proxy = given if "://" in given else f"http://{given}"
    reason = None
    try:
        parts = urlsplit(proxy)
        if parts.scheme not in DEFAULT_PORTS:
            reason = f"it is a {parts.scheme} proxy" if parts.scheme.startswith("socks") else "it is not an http proxy"
        elif not parts.hostname or not re.fullmatch(r"[\w.:%-]+", parts.hostname):
            reason = "it does not name a host"
        elif parts.port == 0:
            reason = "its port is 0"
        # urlsplit drops line ends and tabs silently.
        if not given.isprintable() or " " in given:
            reason = "it contains a space or a control character"
    except ValueError:
        reason = "its port is not a number"
    if reason:
        # The value is not repeated, because it may contain a password.
        raise UsageError(
            f"The proxy of the environment can't be used: {reason}.",
            code="proxy-unusable",
            cause=f"The environment variable {variable} names it.",
            remedy=f"Set {variable} as http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, or add the endpoint's host "
            "to NO_PROXY. SOCKS proxies are not supported.",
        )
    return proxy


# Loggers of the vendor's libraries and their dependencies. They log signed URLs, whole requests (with DEBUG=sdk in the
# environment) and answers that contain keys; three of them write to stderr through their own handlers.
VENDORS = (
    "aliyunsdkcore",
    "alibabacloud-tea",
    "alibabacloud_credentials",
    "apscheduler",
    "aiohttp",
    "charset_normalizer",
    "credentials",
    "darabonba",
    "oss2",
    "requests",
    "tzlocal",
    "urllib3",
)
_BELOW_VENDORS = tuple(f"{vendor}." for vendor in VENDORS)
_OFF = logging.CRITICAL + 1
_NO_HANDLER = logging.NullHandler()
_log = logging.getLogger("aliyun_import")


def silence_vendor_logs() -> None:
    """Disable the loggers of the vendor's libraries. Call it after each import of one, which may enable loggers."""
    # Children too, since some have handlers and levels of their own.
    known = list(logging.root.manager.loggerDict.items())
    below = [each for name, each in known if isinstance(each, logging.Logger) and name.startswith(_BELOW_VENDORS)]
    for logger in (*map(logging.getLogger, VENDORS), *below):
        logger.handlers[:] = [_NO_HANDLER]
        logger.propagate = False
        # setLevel clears the caches of all loggers, and each client of a service calls this function.
        if logger.level != _OFF:
            logger.setLevel(_OFF)


@dataclass(slots=True)
class Exchange:
    """Fields of an answer that are logged; the sender sets them."""

    status: int = 0
    request_id: str = ""


@contextmanager
def logged(service: str, operation: str, *, method: str, url: str) -> Iterator[Exchange]:
    """Log one request, without its query, when it ends. For an exception, only the class is logged."""
    exchange = Exchange()
    began_s = time.monotonic()
    try:
        yield exchange
    except BaseException as error:
        _write(f"{service} {operation}", method, url, type(error).__name__, began_s)
        raise
    answer = f"{exchange.status}, request id {exchange.request_id}" if exchange.request_id else f"{exchange.status}"
    _write(f"{service} {operation}", method, url, answer, began_s)


def log_fetch(where: str, outcome: str, seconds: float) -> None:
    """Log that the vendor's library fetched keys; no more is known about its requests."""
    _log.debug("credentials from %s: %s, %.3f s", where, outcome, seconds)


def _write(what: str, method: str, url: str, answer: str, began_s: float) -> None:
    if _log.isEnabledFor(logging.DEBUG):
        parts = urlsplit(url)
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        _log.debug("%s: %s %s: %s, %.3f s", what, method, shown, answer, time.monotonic() - began_s)
