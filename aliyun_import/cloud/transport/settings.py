"""Settings of all connections: timeouts, trusted certificates, proxies, and the log of requests.

The environment is read here and nowhere else, by the same rules for every service.
"""

import functools
import ipaddress
import logging
import os
import ssl
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import certifi

from aliyun_import.cloud.endpoints import is_loopback
from aliyun_import.errors import UsageError

# The usual names for a file of trusted certificates, in the order of precedence.
CA_VARIABLES = ("ALIBABA_CLOUD_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
DEFAULT_PORTS: Mapping[str, int] = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Longest waits for a connection and for an answer, in seconds.

    `part_s` bounds each wait on the socket while a part is sent; one chunk of it must pass in that time.
    """

    connect_s: float = 10.0
    read_s: float = 30.0
    part_s: float = 60.0


def ca_bundle(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the file of trusted certificates that the environment names; None for the default, certifi's."""
    return next((environment[name] for name in CA_VARIABLES if environment.get(name)), None)


@functools.cache
def tls_context(trusted: str | None) -> ssl.SSLContext:
    """Return the TLS settings that trust the file or directory `trusted` (None: certifi's), and nobody else.

    Cached, because loading certifi's 140 certificates takes some 20 ms. Raises UsageError "ca-bundle-unreadable".
    """
    path = Path(trusted or certifi.where())
    try:
        if path.is_dir():
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(
            f"The file of trusted certificates {path} can't be read.",
            code="ca-bundle-unreadable",
            cause=error.strerror or str(error),
            remedy=f"Set {' or '.join(CA_VARIABLES[:2])} to a file of certificates in PEM form, or unset it.",
        ) from error


def proxy_for(url: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the URL of the proxy for a URL; empty for none.

    HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY count in either case; NO_PROXY takes names with or without a leading
    dot or a port, and networks such as 10.0.0.0/8. A proxy without a scheme is an http one, as for curl. Loopback
    hosts are never reached through a proxy. Raises UsageError "proxy-unusable" for any other kind of proxy (SOCKS).
    """
    if is_loopback(url):
        return ""
    variables = {name.lower(): value for name, value in environment.items() if name.lower().endswith("_proxy")}
    # curl's and urllib's rule: upper-case HTTP_PROXY may come from the "Proxy:" header of a web client.
    if "REQUEST_METHOD" in environment and "http_proxy" not in environment:
        variables.pop("http_proxy", None)
    found = {name.removesuffix("_proxy"): value.strip() for name, value in variables.items() if value.strip()}
    parts = urlsplit(url)
    proxy = found.get(parts.scheme) or found.get("all") or ""
    if not proxy or _is_bypassed(parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme], found):
        return ""
    return _checked_proxy(proxy if "://" in proxy else f"http://{proxy}")


def _is_bypassed(host: str, port: int, found: Mapping[str, str]) -> bool:
    if urllib.request.proxy_bypass_environment(f"{host}:{port}", dict(found)):  # type: ignore[attr-defined]
        return True
    for entry in found.get("no", "").split(","):
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip(), strict=False):
                return True
        except ValueError:  # a name, on either side
            continue
    return False


def _checked_proxy(proxy: str) -> str:
    try:
        parts = urlsplit(proxy)
        is_usable = parts.scheme in DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        is_usable = False
    if not is_usable:
        # The value is not repeated: it may hold a password.
        raise UsageError(
            "The proxy of the environment can't be used: it is not an http:// or https:// URL.",
            code="proxy-unusable",
            remedy="Set HTTPS_PROXY as http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, or add the endpoint's host "
            "to NO_PROXY. SOCKS proxies are not supported.",
        )
    return proxy


# Loggers of the vendor's libraries and of those below them. They log signed URLs, whole requests (with DEBUG=sdk in the
# environment) and answers that hold keys; three of them write to stderr through handlers of their own.
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
_OFF = logging.CRITICAL + 1
_log = logging.getLogger("aliyun_import")


def silence_vendor_logs() -> None:
    """Disable the loggers of the vendor's libraries. Call it after each import of one, which may enable its own."""
    known = list(logging.root.manager.loggerDict)
    # Children too, since some have handlers and levels of their own.
    below = [name for name in known if name.startswith(tuple(f"{vendor}." for vendor in VENDORS))]
    for name in (*VENDORS, *below):
        logger = logging.getLogger(name)
        logger.handlers[:] = [logging.NullHandler()]
        logger.propagate = False
        logger.setLevel(_OFF)


@dataclass(slots=True)
class Exchange:
    """What the log shows of an answer; the sender sets it."""

    status: int = 0
    request_id: str = ""


@contextmanager
def logged(service: str, operation: str, *, method: str, url: str) -> Iterator[Exchange]:
    """Log one request, without its query, when it ends. Of an exception only its class is logged."""
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
    """Log that keys were fetched; the vendor's library sends these requests, so nothing more is known of them."""
    _log.debug("credentials from %s: %s, %.3f s", where, outcome, seconds)


def _write(what: str, method: str, url: str, answer: str, began_s: float) -> None:
    if _log.isEnabledFor(logging.DEBUG):
        parts = urlsplit(url)
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        _log.debug("%s: %s %s: %s, %.3f s", what, method, shown, answer, time.monotonic() - began_s)
