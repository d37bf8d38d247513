"""Tests of the endpoints of the services."""

from typing import Any

import pytest

from aliyun_import.cloud.endpoints import OssStyle, internal_oss_url, is_loopback, region_of_location, resolve_endpoints
from aliyun_import.errors import UsageError
from tests.rows import each_row


def test_the_default_endpoints_use_https() -> None:
    """A region alone gives the documented host of each service."""
    found = resolve_endpoints("eu-central-1")
    assert found.oss == found.oss_regional == "https://oss-eu-central-1.aliyuncs.com"
    assert found.oss_style is OssStyle.VIRTUAL
    assert found.ecs == "https://ecs.eu-central-1.aliyuncs.com"
    assert found.ram == "https://ram.aliyuncs.com"
    assert found.sts == "https://sts.aliyuncs.com"


@each_row(
    ("endpoint_type", "url"),
    [
        ("internal", "https://oss-cn-hangzhou-internal.aliyuncs.com"),
        ("accelerate", "https://oss-accelerate.aliyuncs.com"),
    ],
)
def test_the_endpoint_type_selects_the_endpoint_of_oss(endpoint_type: str, url: str) -> None:
    """The types are internal and accelerate."""
    assert resolve_endpoints("cn-hangzhou", oss_endpoint_type=endpoint_type).oss == url


def test_a_bucket_is_not_created_through_the_acceleration_endpoint() -> None:
    """OSS refuses that, so PutBucket uses the endpoint of the region."""
    found = resolve_endpoints("cn-hangzhou", oss_endpoint_type="accelerate")
    assert found.oss_regional == "https://oss-cn-hangzhou.aliyuncs.com"


@each_row(
    ("region", "public", "internal"),
    [
        ("cn-hangzhou-finance", "oss-cn-hzfinance", "oss-cn-hzfinance-internal"),
        ("cn-shanghai-finance-1", "oss-cn-shanghai-finance-1-pub", "oss-cn-shanghai-finance-1-internal"),
        ("cn-shenzhen-finance-1", "oss-cn-szfinance", "oss-cn-shenzhen-finance-1-internal"),
    ],
)
def test_finance_regions_have_irregular_hosts(region: str, public: str, internal: str) -> None:
    """Their OSS hosts differ from the region."""
    assert resolve_endpoints(region).oss == f"https://{public}.aliyuncs.com"
    assert internal_oss_url(region) == f"https://{internal}.aliyuncs.com"


def test_a_region_without_a_public_endpoint_is_an_error() -> None:
    """The finance region of Beijing has an internal endpoint only."""
    with pytest.raises(UsageError) as caught:
        resolve_endpoints("cn-beijing-finance-1")
    assert caught.value.code == "endpoint-unknown"
    assert "--oss-endpoint" in str(caught.value.remedy)
    inside = resolve_endpoints("cn-beijing-finance-1", oss_endpoint_type="internal")
    assert inside.oss == "https://oss-cn-beijing-finance-1-internal.aliyuncs.com"
    assert resolve_endpoints("cn-beijing-finance-1", oss_endpoint="https://d.example.com", oss_cname=True).oss


def test_ecs_in_hangzhou_finance_has_the_central_endpoint() -> None:
    """The region has no ECS endpoint of its own."""
    assert resolve_endpoints("cn-hangzhou-finance").ecs == "https://ecs.aliyuncs.com"


def test_endpoint_url_is_used_for_all_services() -> None:
    """OSS is used in path style."""
    found = resolve_endpoints("cn-hangzhou", endpoint_url="http://sandbox.example.com:8080/", allow_insecure=True)
    assert {found.oss, found.oss_regional, found.ecs, found.ram, found.sts} == {"http://sandbox.example.com:8080"}
    assert found.oss_style is found.oss_regional_style is OssStyle.PATH


def test_an_override_has_priority_over_endpoint_url() -> None:
    """ALIYUN_IMPORT_ENDPOINT_URL_ECS applies to ECS only."""
    found = resolve_endpoints("cn-hangzhou", endpoint_url="https://a:1", overrides={"ECS": "https://b:2", "OSS": ""})
    assert (found.oss, found.ecs, found.ram) == ("https://a:1", "https://b:2", "https://a:1")


def test_a_custom_domain_is_not_used_to_create_buckets() -> None:
    """With --oss-cname the domain is bound to one bucket."""
    found = resolve_endpoints("cn-hangzhou", oss_endpoint="disks.example.com", oss_cname=True)
    assert (found.oss, found.oss_style) == ("https://disks.example.com", OssStyle.CNAME)
    assert (found.oss_regional, found.oss_regional_style) == (
        "https://oss-cn-hangzhou.aliyuncs.com",
        OssStyle.VIRTUAL,
    )


def test_oss_endpoint_without_cname_is_used_for_all_requests_to_oss() -> None:
    """Buckets are created there, too."""
    found = resolve_endpoints("cn-hangzhou", oss_endpoint="https://cn-hangzhou.oss.aliyuncs.com")
    assert found.oss == found.oss_regional == "https://cn-hangzhou.oss.aliyuncs.com"
    assert found.oss_style is OssStyle.VIRTUAL


@each_row("region", ["", "CN-HANGZHOU", "cn_hangzhou", "evil.example.com/", "cn-hangzhou@x", "hangzhou"])
def test_an_invalid_region_is_refused(region: str) -> None:
    """The region becomes part of host names."""
    with pytest.raises(UsageError) as caught:
        resolve_endpoints(region)
    assert caught.value.code == "region-invalid"


@each_row(
    "url",
    [
        "ftp://host",
        "https://",
        "https://host/path",
        "https://u:secret@host",
        "https://::1:90",
        "https://[::1",
        "https://[fe80::1%eth0]:90",
        "http://h:x",
        "https://a..b",
        f"https://{'a' * 64}.example.com",
        "https://b\u00fccher.example",
        "https://a b",
    ],
)
def test_an_invalid_url_is_refused_and_not_repeated(url: str) -> None:
    """The message names the option and not the URL, which may contain a password."""
    with pytest.raises(UsageError) as caught:
        resolve_endpoints("cn-hangzhou", endpoint_url=url)
    assert caught.value.code == "endpoint-invalid"
    assert "--endpoint-url" in caught.value.summary
    assert "secret" not in caught.value.summary


@each_row(
    ("location", "region"),
    [
        ("oss-cn-hangzhou", "cn-hangzhou"),
        ("oss-cn-hzfinance", "cn-hangzhou-finance"),
        ("oss-cn-shanghai.aliyuncs.com", "cn-shanghai"),
        ("oss-us-west-1-internal.aliyuncs.com", "us-west-1"),
    ],
)
def test_the_region_is_derived_from_a_location(location: str, region: str) -> None:
    """Buckets and endpoints contain the region in OSS's spelling."""
    assert region_of_location(location) == region


@each_row(
    ("url", "local"),
    [
        ("http://127.0.0.1:1", True),
        ("http://127.8.8.8", True),
        ("https://localhost:443", True),
        ("http://box.localhost", True),
        ("http://[::1]:1", True),
        ("http://[2001:db8::1]:1", False),
        ("http://10.0.0.1", False),
        ("https://localhost.example.com", False),
    ],
)
def test_only_loopback_addresses_are_this_machine(url: str, local: bool) -> None:
    """Private addresses and similar names are other machines."""
    assert is_loopback(url) is local


@each_row(
    "given",
    [
        {"endpoint_url": "http://192.0.2.2:8080"},
        {"oss_endpoint": "http://oss.example.com"},
        {"overrides": {"STS": "http://sts.example.com"}},
    ],
)
def test_http_to_another_machine_is_refused(given: dict[str, Any]) -> None:
    """The security token and the disk would be sent unencrypted; --insecure permits it."""
    with pytest.raises(UsageError) as caught:
        resolve_endpoints("cn-hangzhou", **given)
    assert caught.value.code == "endpoint-insecure"
    assert "--insecure" in str(caught.value.remedy)
    assert "http://" in str(resolve_endpoints("cn-hangzhou", allow_insecure=True, **given))


@each_row(
    ("url", "plain"),
    [
        ("https://[2001:db8::1]:8443/", "https://[2001:db8::1]:8443"),
        ("[2001:DB8::1]", "https://[2001:db8::1]"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_ipv6_address_is_written_in_brackets(url: str, plain: str) -> None:
    """OSS is used in path style with it, because a bucket can't precede an address."""
    assert resolve_endpoints("cn-hangzhou", endpoint_url=url).ecs == plain
    found = resolve_endpoints("cn-hangzhou", oss_endpoint=url)
    assert (found.oss, found.oss_style) == (plain, OssStyle.PATH)


def test_a_loopback_endpoint_without_a_scheme_is_refused() -> None:
    """The default scheme https is not that of a sandbox on this machine."""
    for url in ("127.0.0.1:8701", "localhost:8701", "[::1]:8701"):
        with pytest.raises(UsageError) as caught:
            resolve_endpoints("cn-hangzhou", endpoint_url=url)
        assert caught.value.code == "endpoint-invalid"
        assert f"--endpoint-url http://{url}" in str(caught.value.remedy)
