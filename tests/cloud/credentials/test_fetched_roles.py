"""Tests of the keys of a role from STS, against a small STS on this machine."""

import json
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from aliyun_import.cloud.credentials import fetched
from aliyun_import.cloud.credentials.keys import Keys
from aliyun_import.cloud.credentials.source import load_credentials
from aliyun_import.errors import AccessError, TransientError
from tests.cloud import servers
from tests.cloud.credentials.test_source import OFF, configure
from tests.cloud.servers import write_certificate
from tests.rows import each_row

KEYS = {"AccessKeyId": "STS.fake", "AccessKeySecret": "fake-secret", "SecurityToken": "fake-token"}
ANSWER = json.dumps({"RequestId": "R-1", "Credentials": {**KEYS, "Expiration": "2099-01-01T00:00:00Z"}}).encode()
ARN = "acs:ram::1:role/r"


class Sts:
    """A small STS that returns one answer and records the requests."""

    def __init__(self, status: int = 200, body: bytes = ANSWER) -> None:
        self.status = status
        self.body = body
        self.requests: list[dict[str, str]] = []
        self.heads: list[bytes] = []

    def handle(self, connection: socket.socket) -> None:
        """Answer one request."""
        head, _, body = servers.read_head(connection).partition(b"\r\n\r\n")
        self.heads.append(head)
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        while length and len(body) < int(length[1]):
            body += connection.recv(65536)
        target = head.split(b" ")[1].decode()
        self.requests.append(dict(parse_qsl(urlsplit(target).query) + parse_qsl(body.decode())))
        lines = f"HTTP/1.1 {self.status} X\r\nConnection: close\r\nContent-Length: {len(self.body)}\r\n\r\n"
        connection.sendall(lines.encode() + self.body)


@contextmanager
def redirect_sts_to(sts: Sts, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Send the requests to STS to a small one, and yield a list of the original hosts."""
    hosts: list[str] = []
    with servers.serve(sts.handle) as port:

        def endpoint(host: str) -> str:
            hosts.append(host)
            return f"http://127.0.0.1:{port}"

        monkeypatch.setattr(fetched, "endpoint", endpoint)
        yield hosts


def test_a_role_is_assumed_with_the_keys_of_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Role, session, duration, policy, external id and region are those of the profile."""
    sts = Sts()
    role = {"ram_role_arn": ARN, "ram_session_name": "s", "expired_seconds": 1800, "sts_region": "cn-hangzhou"}
    keys = {"access_key_id": "source", "access_key_secret": "source-secret"}
    configure(tmp_path, {"name": "default", "mode": "RamRoleArn", **role, **keys, "external_id": "e", "policy": "{}"})
    with redirect_sts_to(sts, monkeypatch) as hosts:
        found = load_credentials(environment=OFF, home=tmp_path).get()
    assert (found.key_id, found.token) == ("STS.fake", "fake-token")
    assert hosts == ["sts.cn-hangzhou.aliyuncs.com"]
    requests = sts.requests[0]
    assert (requests["Action"], requests["AccessKeyId"], requests["RoleArn"]) == ("AssumeRole", "source", ARN)
    assert (requests["RoleSessionName"], requests["DurationSeconds"]) == ("s", "1800")
    assert (requests["ExternalId"], requests["Policy"]) == ("e", "{}")
    assert requests["Signature"]
    assert b"source-secret" not in b"".join(sts.heads)


def test_a_role_is_assumed_with_another_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a chain each role is assumed with the keys of the previous one, including the token."""
    sts = Sts()
    chain = {"mode": "ChainableRamRoleArn", "ram_role_arn": ARN}
    configure(
        tmp_path,
        {"name": "default", "source_profile": "middle", **chain},
        {"name": "middle", "source_profile": "first", **chain},
        {"name": "first", "mode": "AK", "access_key_id": "source", "access_key_secret": "source-secret"},
    )
    with redirect_sts_to(sts, monkeypatch):
        assert load_credentials(environment=OFF, home=tmp_path).get().key_id == "STS.fake"
    assert [requests["AccessKeyId"] for requests in sts.requests] == ["source", "STS.fake"]
    assert sts.requests[1]["SecurityToken"] == "fake-token"


@pytest.mark.parametrize("source", ["default", "other", "gone", ""])
def test_a_circular_chain_is_an_error(source: str, tmp_path: Path) -> None:
    """So is a missing source profile."""
    chain = {"mode": "ChainableRamRoleArn", "ram_role_arn": ARN}
    other = {"name": "other", "source_profile": "default", **chain}
    configure(tmp_path, {"name": "default", "source_profile": source, **chain}, other)
    with pytest.raises(AccessError) as caught:
        load_credentials(profile="default", environment=OFF, home=tmp_path)
    assert "source_profile" in str(caught.value.cause)


def test_an_oidc_token_is_sent_in_the_body_and_read_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies and servers log URLs; the token file is replaced before the token expires."""
    token = tmp_path / "token"
    token.write_text("first\n")
    environment = OFF | {
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "acs:ram::1:oidc-provider/p",
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(token),
        "ALIBABA_CLOUD_ROLE_ARN": ARN,
        "ALIBABA_CLOUD_STS_REGION": "cn-beijing",
        "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED": "true",
    }
    sts = Sts()
    with redirect_sts_to(sts, monkeypatch) as hosts:
        source = load_credentials(environment=environment, home=tmp_path)
        keys = source.get()
        token.write_text("second\n")
        source.renew(keys)
    assert hosts[0] == "sts-vpc.cn-beijing.aliyuncs.com"
    assert [requests["OIDCToken"] for requests in sts.requests] == ["first", "second"]
    assert sts.requests[0]["OIDCProviderArn"] == "acs:ram::1:oidc-provider/p"
    assert b"first" not in b"".join(sts.heads)


@each_row(
    ("status", "body", "kind"),
    [
        (500, b"", TransientError),
        (503, b"<html>busy</html>", TransientError),
        (200, b"<html>Sign in</html>", TransientError),
        (400, b'{"Code":"Throttling.User"}', TransientError),
        (403, b'{"Code":"NoPermission","Message":"You may not assume the role."}', AccessError),
        (400, b'{"Code":"AuthenticationFail.OIDCToken.Expired","Message":"expired"}', AccessError),
        (403, b"<html>Blocked</html>", AccessError),
        (200, b'{"RequestId":"R-1","Credentials":{}}', AccessError),
        (200, b'{"RequestId":"R-1","Credentials":[]}', AccessError),
    ],
)
def test_each_refusal_of_sts_has_its_error(status: int, body: bytes, kind: type[Exception], tmp_path: Path) -> None:
    """A temporary failure is transient; a final one names the profile."""
    sts = Sts(status, body)
    with servers.serve(sts.handle) as port:
        role = fetched.AssumedRole(where="profile p", arn=ARN, session_name="s", url=f"http://127.0.0.1:{port}")
        (tmp_path / "token").write_text("t")
        for read in (
            fetched.with_keys(lambda: Keys("source", "source-secret"), role),
            fetched.with_token(str(tmp_path / "token"), "p", role),
        ):
            with pytest.raises(kind) as caught:
                read()
            assert "profile p" in str(caught.value)


def test_a_missing_token_file_is_an_access_error(tmp_path: Path) -> None:
    """The file is named, and nothing is sent."""
    role = fetched.AssumedRole(where="the token", arn=ARN, session_name="s", url="http://127.0.0.1:9")
    with pytest.raises(AccessError) as caught:
        fetched.with_token(str(tmp_path / "gone"), "p", role)()
    assert "gone" in str(caught.value.cause)


def test_the_ca_variables_apply_to_sts_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a proxy that decrypts TLS a role can be assumed."""
    certificate = write_certificate(tmp_path / "certificate.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with servers.serve(Sts().handle, wrap=lambda one: tls.wrap_socket(one, server_side=True)) as port:
        role = fetched.AssumedRole(where="profile p", arn=ARN, session_name="s", url=f"https://127.0.0.1:{port}")
        read = fetched.with_keys(lambda: Keys("source", "source-secret"), role)
        monkeypatch.setenv("ALIBABA_CLOUD_CA_BUNDLE", str(certificate))
        assert read().key_id == "STS.fake"
        monkeypatch.delenv("ALIBABA_CLOUD_CA_BUNDLE")
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(AccessError) as caught:
            read()
        assert caught.value.code == "certificate-untrusted"
