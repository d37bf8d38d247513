"""Tests of proxies, trusted certificates, and the log."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aliyun_import.cloud.transport.settings import CA_VARIABLES, ca_bundle, logged, proxy_for, tls_context
from aliyun_import.errors import UsageError
from tests.rows import each_row

OSS_URL = "https://oss-cn-hangzhou.aliyuncs.com"
PROXY = "http://proxy.example.com:3128"
LOG_SCRIPT = """
import logging, sys
from aliyun_import import api
from aliyun_import.cloud.credentials import providers
from aliyun_import.cloud.transport import http, rpc
from aliyun_import.cloud.transport.settings import silence_vendor_logs
providers._library()
import oss2, urllib3, requests, Tea.core
silence_vendor_logs()
logging.basicConfig(level=logging.DEBUG)
ours = {"aliyun_import", *sys.stdlib_module_names}
names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] not in ours]
for name in names:
    logging.getLogger(name).critical("leak of %s", name)
print(len(names))
"""


@each_row(
    ("url", "environment", "proxy"),
    [
        (OSS_URL, {}, ""),
        (OSS_URL, {"HTTPS_PROXY": PROXY}, PROXY),
        (OSS_URL, {"https_proxy": PROXY}, PROXY),
        (OSS_URL, {"HTTP_PROXY": PROXY}, ""),
        (OSS_URL, {"ALL_PROXY": PROXY}, PROXY),
        (OSS_URL, {"HTTPS_PROXY": PROXY, "NO_PROXY": "aliyuncs.com"}, ""),
        (OSS_URL, {"HTTPS_PROXY": PROXY, "no_proxy": ".aliyuncs.com,example.org"}, ""),
        (OSS_URL, {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, ""),
        (OSS_URL, {"HTTPS_PROXY": PROXY, "NO_PROXY": "example.org"}, PROXY),
        ("http://10.1.2.3:8080", {"HTTP_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, ""),
        ("http://11.1.2.3:8080", {"HTTP_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, PROXY),
        ("http://127.0.0.1:8080", {"HTTP_PROXY": PROXY}, ""),
        ("http://localhost:8080", {"http_proxy": PROXY}, ""),
        (OSS_URL, {"HTTPS_PROXY": PROXY, "NO_PROXY": "oss-cn-hangzhou.aliyuncs.com:443"}, ""),
        (OSS_URL, {"HTTPS_PROXY": PROXY, "NO_PROXY": "oss-cn-hangzhou.aliyuncs.com:8443"}, PROXY),
        (OSS_URL, {"HTTPS_PROXY": "proxy.example.com:3128"}, PROXY),
        (OSS_URL, {"HTTPS_PROXY": "me:hush@proxy.example.com:3128"}, "http://me:hush@proxy.example.com:3128"),
        ("http://h.example.com", {"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, ""),
        ("http://[::1]:8080", {"HTTP_PROXY": PROXY}, ""),
        ("http://100.100.100.200", {"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, ""),
        ("http://169.254.169.254", {"HTTP_PROXY": PROXY}, ""),
        ("http://[fe80::1]:80", {"ALL_PROXY": PROXY}, ""),
        (OSS_URL, {"HTTPS_PROXY": f"  {PROXY}\n"}, PROXY),
        (OSS_URL, {"HTTPS_PROXY": " \t"}, ""),
        (OSS_URL, {"https_proxy": "", "HTTPS_PROXY": PROXY}, PROXY),
        (OSS_URL, {"https_proxy": "http://a.example:1", "HTTPS_PROXY": PROXY}, "http://a.example:1"),
        (OSS_URL, {"HTTPS_PROXY": "http://[2001:db8::1]:3128"}, "http://[2001:db8::1]:3128"),
        (OSS_URL, {"https_proxy": PROXY, "NO_PROXY": " example.org , .aliyuncs.com "}, ""),
        (OSS_URL, {"https_proxy": PROXY, "NO_PROXY": "example.org aliyuncs.com"}, ""),
        (OSS_URL, {"https_proxy": PROXY, "NO_PROXY": "*.aliyuncs.com"}, ""),
        (OSS_URL, {"https_proxy": PROXY, "NO_PROXY": "*.aliyuncs.com:443"}, ""),
        (OSS_URL, {"https_proxy": PROXY, "NO_PROXY": "ALIYUNCS.COM."}, ""),
        (OSS_URL, {"https_proxy": PROXY, "NO_PROXY": "uncs.com"}, PROXY),
        (OSS_URL, {"https_proxy": PROXY, "NO_PROXY": ",,:,.,*.,"}, PROXY),
        ("http://10.1.2.3:8080", {"HTTP_PROXY": PROXY, "NO_PROXY": "10.1.2.3"}, ""),
        ("http://10.1.2.3:8080", {"HTTP_PROXY": PROXY, "NO_PROXY": "10.1.2.3:8080"}, ""),
        ("http://10.1.2.3:8080", {"HTTP_PROXY": PROXY, "NO_PROXY": "10.1.2.3:80"}, PROXY),
        ("http://10.1.2.3:8080", {"HTTP_PROXY": PROXY, "NO_PROXY": "2.3"}, PROXY),
        ("http://[2001:db8::1]:8080", {"HTTP_PROXY": PROXY, "NO_PROXY": "2001:db8::1"}, ""),
        ("http://[2001:db8::1]:8080", {"HTTP_PROXY": PROXY, "NO_PROXY": "[2001:DB8:0::1]"}, ""),
        ("http://[2001:db8::1]:8080", {"HTTP_PROXY": PROXY, "NO_PROXY": "[2001:db8::1]:8080"}, ""),
        ("http://[2001:db8::1]:8080", {"HTTP_PROXY": PROXY, "NO_PROXY": "[2001:db8::1]:80"}, PROXY),
        ("http://[2001:db8::1]:8080", {"HTTP_PROXY": PROXY, "NO_PROXY": "2001:db8::/32"}, ""),
        ("http://[2001:db8::1]:8080", {"HTTP_PROXY": PROXY, "NO_PROXY": "2001:db9::/32"}, PROXY),
    ],
)
def test_the_proxy_of_a_url_follows_the_environment(url: str, environment: dict[str, str], proxy: str) -> None:
    """The usual variables apply in either case, and this machine is never reached through a proxy."""
    assert proxy_for(url, environment) == proxy


@each_row("variable", CA_VARIABLES)
def test_each_variable_names_the_file_of_trusted_certificates(variable: str) -> None:
    """An empty variable counts as unset."""
    assert ca_bundle({variable: "/etc/ours.pem"}) == "/etc/ours.pem"
    assert ca_bundle({variable: ""}) is None


@each_row(
    "proxy",
    [
        "socks5://me:hush@127.0.0.1:1080",
        "socks5h://h",
        "http://",
        "http://h:port",
        "http://h:0",
        "ftp://h",
        "http://h :3128",
        "http://me:hush hush@h:3128",
        "http://h\n:3128",
        "http://h\r\nX: y:3128",
        "http://[::1",
        "://h",
    ],
)
def test_a_proxy_that_is_not_http_is_refused(proxy: str) -> None:
    """The error does not contain the value, which may have a password."""
    with pytest.raises(UsageError) as caught:
        proxy_for(OSS_URL, {"HTTPS_PROXY": proxy})
    assert caught.value.code == "proxy-unusable"
    assert "hush" not in f"{caught.value} {caught.value.cause} {caught.value.remedy}"
    assert "HTTPS_PROXY" in str(caught.value.cause)


def test_an_unreadable_file_of_certificates_is_a_usage_error(tmp_path: Path) -> None:
    """The error names the file."""
    (tmp_path / "empty.pem").write_text("nothing\n")
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(UsageError) as caught:
            tls_context(str(tmp_path / name))
        assert caught.value.code == "ca-bundle-unreadable"
        assert name in caught.value.summary


def test_all_loggers_of_libraries_are_silenced() -> None:
    """This includes loggers of a new version of a library: no handler writes anything."""
    environment = {"PATH": os.defpath, "HOME": "/nonexistent", "PYTHONPATH": os.pathsep.join(sys.path), "DEBUG": "sdk"}
    done = subprocess.run(
        [sys.executable, "-c", LOG_SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert int(done.stdout) > 10
    leaks = [line for line in done.stderr.splitlines() if "leak of" in line]
    assert leaks == []


def test_a_request_is_logged_in_one_line_without_its_query(caplog: pytest.LogCaptureFixture) -> None:
    """The line has service, operation, method, URL, status, request id and time; a failure has its class only."""
    caplog.set_level(logging.DEBUG, logger="aliyun_import")
    with logged("OSS", "GetObject", method="GET", url="https://u:p@host/a/key?x-oss-security-token=hush") as exchange:
        exchange.status, exchange.request_id = 200, "R-1"
    with pytest.raises(ConnectionError), logged("STS", "AssumeRole", method="POST", url="https://sts"):
        raise ConnectionError("hush")
    first, second = (record.getMessage().rpartition(",")[0] for record in caplog.records)
    assert first == "OSS GetObject: GET https://host/a/key: 200, request id R-1"
    assert second == "STS AssumeRole: POST https://sts: ConnectionError"
