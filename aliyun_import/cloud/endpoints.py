"""URLs of the services: those of the region, or those that the user configured.

No request is sent. The SDK's resolver is not used: it calls a Location service for unknown regions, and sends ECS calls
over plain HTTP. Source of the names: "Regions and endpoints" of OSS and of ECS.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from urllib.parse import urlsplit

from aliyun_import.errors import UsageError
from aliyun_import.user_directories import VARIABLE_PREFIX

# The region becomes part of host names, so no other characters are allowed.
_REGION = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)+")

# Labels of ASCII letters, digits, hyphens and underscores. Names in other scripts must be given in their xn-- form.
_HOST_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")

# Finance regions whose OSS hosts do not follow oss-{region} ("Regions and endpoints"); None: no public host.
_IRREGULAR_OSS_PUBLIC: Mapping[str, str | None] = MappingProxyType({
    "cn-hangzhou-finance": "oss-cn-hzfinance.aliyuncs.com",
    "cn-shanghai-finance-1": "oss-cn-shanghai-finance-1-pub.aliyuncs.com",
    "cn-shenzhen-finance-1": "oss-cn-szfinance.aliyuncs.com",
    "cn-beijing-finance-1": None,
})  # fmt: skip
_IRREGULAR_OSS_INTERNAL: Mapping[str, str] = MappingProxyType({
    "cn-hangzhou-finance": "oss-cn-hzfinance-internal.aliyuncs.com",
})  # fmt: skip
# Regions by a bucket's Location, where that does not follow oss-{region}.
_IRREGULAR_LOCATIONS: Mapping[str, str] = MappingProxyType({
    "oss-cn-hzfinance": "cn-hangzhou-finance",
    "oss-cn-hzjbp-a": "cn-hangzhou-finance",
    "oss-cn-hzjbp-b": "cn-hangzhou-finance",
    "oss-cn-szfinance": "cn-shenzhen-finance-1",
    "oss-cn-shanghai-finance-1-pub": "cn-shanghai-finance-1",
})  # fmt: skip
# In this region ECS answers on the central host only.
_IRREGULAR_ECS: Mapping[str, str] = MappingProxyType({"cn-hangzhou-finance": "ecs.aliyuncs.com"})


class OssStyle(StrEnum):
    """How a bucket is addressed at an endpoint of OSS."""

    VIRTUAL = "virtual"  # https://BUCKET.HOST/KEY, the only style that the real service accepts
    PATH = "path"  # https://HOST/BUCKET/KEY, for a sandbox
    CNAME = "cname"  # https://DOMAIN/KEY, a domain bound to the bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """The URL of every service, scheme included, without a path.

    `oss_regional` creates buckets: OSS does not do that through a custom domain or an acceleration endpoint.
    """

    region: str
    oss: str
    oss_style: OssStyle
    oss_regional: str
    oss_regional_style: OssStyle
    ecs: str
    ram: str
    sts: str
    vpc: str


def resolve_endpoints(
    region: str,
    *,
    endpoint_url: str | None = None,
    overrides: Mapping[str, str] | None = None,
    oss_endpoint: str | None = None,
    oss_cname: bool = False,
    oss_endpoint_type: str = "public",
    allow_insecure: bool = False,
) -> Endpoints:
    """Return the URL of every service.

    For each service the first of these counts: `oss_endpoint` (OSS only), its entry in `overrides` (OSS, ECS, RAM,
    STS, VPC), `endpoint_url`, the region's endpoint. A URL without a scheme means https. `oss_endpoint_type` is public,
    internal or accelerate, and selects the region's endpoint of OSS; the caller resolves "auto". `allow_insecure`
    permits http to another machine. Raises UsageError "region-invalid", "endpoint-invalid",
    "endpoint-insecure" and "endpoint-unknown" (a region without a public OSS endpoint).
    """
    if not _REGION.fullmatch(region):
        raise UsageError(
            f"{region!r} is not a region id.",
            code="region-invalid",
            remedy="Pass --region with an id such as cn-hangzhou; `aliyun ecs DescribeRegions` lists them.",
        )
    given = {name: url for name, url in (overrides or {}).items() if url}

    def override(service: str) -> str | None:
        url = given.get(service) or endpoint_url
        option = f"{VARIABLE_PREFIX}ENDPOINT_URL_{service}" if given.get(service) else "--endpoint-url"
        return check_url(url, option=option, allow_insecure=allow_insecure) if url else None

    oss_override = override("OSS")
    oss, style = oss_override, OssStyle.PATH
    if oss_endpoint:
        oss = check_url(oss_endpoint, option="--oss-endpoint", allow_insecure=allow_insecure)
        # The name of a bucket can't precede an IP address.
        plain = OssStyle.PATH if _is_address(urlsplit(oss).hostname or "") else OssStyle.VIRTUAL
        style = OssStyle.CNAME if oss_cname else plain
    return Endpoints(
        region=region,
        oss=oss or _oss_url(region, oss_endpoint_type),
        oss_style=style if oss else OssStyle.VIRTUAL,
        oss_regional=oss_override
        or _regional(region, oss if oss_endpoint and not oss_cname else None, oss_endpoint_type),
        oss_regional_style=OssStyle.PATH if oss_override else OssStyle.VIRTUAL,
        ecs=override("ECS") or f"https://{_IRREGULAR_ECS.get(region, f'ecs.{region}.aliyuncs.com')}",
        # RAM is global; the global STS host answers GetCallerIdentity for every region.
        ram=override("RAM") or "https://ram.aliyuncs.com",
        sts=override("STS") or "https://sts.aliyuncs.com",
        vpc=override("VPC") or f"https://vpc.{region}.aliyuncs.com",
    )


def check_url(url: str, *, option: str, allow_insecure: bool = False) -> str:
    """Return an endpoint's URL in normal form, scheme://host[:port].

    Raises UsageError "endpoint-invalid" and, for http to another machine, "endpoint-insecure".
    """
    text = url.strip()
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:  # an unclosed bracket, a port that is not a number
        parts, host, port = urlsplit("https://"), None, None
    reason = None
    remedy = f"Pass {option} as https://HOST or https://HOST:PORT."
    if parts.scheme not in ("http", "https"):
        reason = "its scheme is neither http nor https"
    elif not host or not _is_host(host):
        reason = "it does not name a host (write an IPv6 address in brackets)"
    elif parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        reason = "it contains more than scheme, host and port"
    elif "://" not in text and is_loopback(f"https://{text}"):
        # The default is https, but servers on this machine, such as the sandbox, rarely use TLS.
        reason = "it has no scheme"
        remedy = f"Pass {option} http://{parts.netloc}, or https://{parts.netloc} if the server uses TLS."
    if reason:
        # The URL is not repeated, because it may contain a password.
        raise UsageError(
            f"The URL given with {option} can't be used: {reason}.",
            code="endpoint-invalid",
            remedy=remedy,
        )
    place = f"[{host}]" if host and ":" in host else host
    if parts.scheme == "http" and not allow_insecure and not is_loopback(text):
        raise UsageError(
            f"The URL given with {option} is http: security token and disk would be sent to {place} unencrypted.",
            code="endpoint-insecure",
            remedy=f"Pass {option} as https://{place}, or add --insecure if the network in between is trusted.",
        )
    return f"{parts.scheme}://{place}{f':{port}' if port else ''}"


def _is_host(text: str) -> bool:
    return _is_address(text) or (len(text) <= 253 and bool(_HOST_NAME.fullmatch(text)))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text  # libraries differ on zones, such as fe80::1%eth0, in URLs


def internal_oss_url(region: str) -> str:
    """Return the endpoint of OSS that machines in the same region reach without traffic fees."""
    return f"https://{_IRREGULAR_OSS_INTERNAL.get(region, f'oss-{region}-internal.aliyuncs.com')}"


def region_of_location(location: str) -> str:
    """Return the region id of a bucket's Location ("oss-cn-hangzhou") or of an OSS host name."""
    name = location.removesuffix(".aliyuncs.com").removesuffix("-internal")
    return _IRREGULAR_LOCATIONS.get(name, name.removeprefix("oss-"))


def is_loopback(url: str) -> bool:
    """Return whether the host of a URL is this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _oss_url(region: str, endpoint_type: str) -> str:
    if endpoint_type == "internal":
        return internal_oss_url(region)
    if endpoint_type == "accelerate":
        return "https://oss-accelerate.aliyuncs.com"
    host = _IRREGULAR_OSS_PUBLIC.get(region, f"oss-{region}.aliyuncs.com")
    if host is None:
        raise UsageError(
            f"OSS has no public endpoint in {region}.",
            code="endpoint-unknown",
            remedy=f"Run this on a machine in {region} with --oss-endpoint-type internal, or pass --oss-endpoint.",
        )
    return f"https://{host}"


def _regional(region: str, oss_endpoint: str | None, endpoint_type: str) -> str:
    """Return the endpoint that creates buckets: the user's, unless it is for acceleration, else the region's."""
    if oss_endpoint and "oss-accelerate" not in oss_endpoint:
        return oss_endpoint
    public = _IRREGULAR_OSS_PUBLIC.get(region, "")
    return _oss_url(region, "internal" if endpoint_type == "internal" or public is None else "public")
