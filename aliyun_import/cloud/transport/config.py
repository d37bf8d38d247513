"""This file decides how both SDKs connect: how long they wait, through which proxy, and whose certificates they trust.

oss2 reads the usual variables through `requests`, and the RPC SDK reads some of them in its own way (it ignores
NO_PROXY). Both are given what is decided here, so that one setting serves both.
"""

import ipaddress
import os
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from aliyun_import.cloud.endpoints import is_loopback

# The usual names for a file of trusted certificates, in the order in which they count.
CA_VARIABLES = ("ALIBABA_CLOUD_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait for a connection and for each answer, in seconds.

    `part_s` bounds each wait on the socket while a part is sent; a chunk of it must pass in that time.
    """

    connect_s: float = 10.0
    read_s: float = 30.0
    part_s: float = 60.0


def ca_bundle(environment: Mapping[str, str] = os.environ) -> str | None:
    """Name the file of trusted certificates that the environment asks for; None for the SDKs' own."""
    return next((environment[name] for name in CA_VARIABLES if environment.get(name)), None)


def proxies_for(url: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Tell both SDKs through which proxy to reach a URL; an empty text means none, whatever the environment says.

    The rules are the usual ones: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY in either case, names in NO_PROXY
    with or without a leading dot, networks as 10.0.0.0/8. This machine itself is never reached through a proxy.
    """
    proxy = ""
    if not is_loopback(url):
        variables = {name.lower(): value for name, value in environment.items() if name.lower().endswith("_proxy")}
        # curl's rule, which urllib keeps too: upper-case HTTP_PROXY may come from a web client's "Proxy:" header.
        if "REQUEST_METHOD" in environment and "http_proxy" not in environment:
            variables.pop("http_proxy", None)
        found = {name.removesuffix("_proxy"): value for name, value in variables.items() if value}
        if not _bypassed(urlsplit(url).hostname or "", found):
            proxy = found.get(urlsplit(url).scheme) or found.get("all") or ""
    return {"http": proxy, "https": proxy}


def _bypassed(host: str, found: Mapping[str, str]) -> bool:
    if urllib.request.proxy_bypass_environment(host, dict(found)):  # type: ignore[attr-defined]
        return True
    for entry in found.get("no", "").split(","):
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip(), strict=False):
                return True
        except ValueError:  # a name, on either side
            continue
    return False
