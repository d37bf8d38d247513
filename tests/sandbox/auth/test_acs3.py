"""Tests of ACS3-HMAC-SHA256, the signature of the vendor's current SDKs."""

import hashlib
import hmac
import http.client
import json
import secrets
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.server import Sandbox
from tests.rows import each_row

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Reply:
    """Status, content type and body of a response."""

    status: int
    content_type: str
    text: str

    @property
    def code(self) -> str:
        """Return the error code."""
        return str(json.loads(self.text)["Code"])


def encoded(pairs: dict[str, str]) -> str:
    """Return a query or a form in the canonical form."""
    return "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(pairs.items()))


def headers_of(sandbox: Sandbox, action: str, body: bytes, **changes: str | None) -> dict[str, str]:
    """Return the headers of a call; a change to None removes a header."""
    headers: dict[str, str | None] = {
        "host": f"127.0.0.1:{sandbox.port}",
        "accept": "application/json",
        "x-acs-action": action,
        "x-acs-version": "2014-05-26",
        "x-acs-date": datetime.fromtimestamp(sandbox.clock.wall_s(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "x-acs-signature-nonce": secrets.token_hex(16),
        "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return {name: value for name, value in headers.items() if value is not None}


def call(
    sandbox: Sandbox,
    action: str,
    query: dict[str, str] | None = None,
    *,
    body: bytes = b"",
    sent: bytes | None = None,
    key: AccessKey | None = None,
    unsigned: tuple[str, ...] = (),
    **changes: str | None,
) -> Reply:
    """Sign and send a call. `sent` replaces the signed body; the `unsigned` headers are not signed."""
    key = key or sandbox.access_key
    headers = headers_of(sandbox, action, body, **changes)
    names = sorted(set(headers) - {"accept", *unsigned})
    canonical = "\n".join([
        "POST",
        "/",
        encoded(query or {}),
        "".join(f"{name}:{headers[name]}\n" for name in names),
        ";".join(names),
        hashlib.sha256(body).hexdigest(),
    ])  # fmt: skip
    text = f"ACS3-HMAC-SHA256\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(key.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"ACS3-HMAC-SHA256 Credential={key.id},SignedHeaders={';'.join(names)},Signature={signature}"
    )
    with closing(http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)) as connection:
        connection.request("POST", f"/?{encoded(query or {})}", body=body if sent is None else sent, headers=headers)
        response = connection.getresponse()
        return Reply(response.status, response.headers["Content-Type"], response.read().decode())


def test_parameters_in_the_query_and_a_response_in_json(sandbox: Sandbox) -> None:
    """The client tea sends parameters in the query and no Format, and expects JSON."""
    reply = call(sandbox, "DescribeImages", {"RegionId": "cn-hangzhou", "PageSize": "7"})
    assert (reply.status, json.loads(reply.text)["PageSize"]) == (200, 7)
    assert sandbox.requests.entries()[-1].operation == "DescribeImages"


def test_parameters_in_a_form(sandbox: Sandbox) -> None:
    """The client tea sends formData parameters in the body, whose hash is signed."""
    body = encoded({"RegionId": "cn-hangzhou", "PageSize": "7"}).encode()
    assert json.loads(call(sandbox, "DescribeImages", body=body, content_type=FORM).text)["PageSize"] == 7
    changed = body.replace(b"7", b"8")
    assert call(sandbox, "DescribeImages", body=body, sent=changed, content_type=FORM).code == "SignatureDoesNotMatch"


def test_the_accept_header_selects_xml(sandbox: Sandbox) -> None:
    """Accept replaces the parameter Format."""
    reply = call(sandbox, "DescribeRegions", {"RegionId": "cn-hangzhou"}, accept="application/xml")
    assert (reply.content_type.partition(";")[0], reply.text.startswith("<?xml")) == ("text/xml", True)


@each_row(
    ("changes", "code"),
    [
        ({"x_acs_date": "2020-01-01T00:00:00Z"}, "IllegalTimestamp"),
        ({"x_acs_date": "yesterday"}, "IllegalTimestamp"),
        ({"x_acs_signature_nonce": None}, "IncompleteSignature"),
        ({"x_acs_content_sha256": None}, "IncompleteSignature"),
        ({"x_acs_version": "2014-05-27"}, "NotImplementedBySandbox"),
        ({"x_acs_security_token": "T"}, "InvalidSecurityToken.MismatchWithAccessKey"),
        ({"unsigned": ("x-acs-action",)}, "IncompleteSignature"),
        ({"unsigned": ("host",)}, "IncompleteSignature"),
        ({"x_acs_extra": "1", "unsigned": ("x-acs-extra",)}, "IncompleteSignature"),
        ({"key": AccessKey(id="SANDBOX-KEY", secret="other")}, "SignatureDoesNotMatch"),
        ({"key": AccessKey(id="nobody", secret="x")}, "InvalidAccessKeyId.NotFound"),
        ({"key": AccessKey(id="", secret="x")}, "MissingParameter"),
    ],
)
def test_a_wrong_call_is_refused(sandbox: Sandbox, changes: dict[str, Any], code: str) -> None:
    """The codes are those of the gateway, in JSON."""
    assert call(sandbox, "DescribeRegions", {"RegionId": "cn-hangzhou"}, **changes).code == code


def test_a_nonce_can_be_used_once(sandbox: Sandbox) -> None:
    """A recorded call cannot be sent again."""
    assert call(sandbox, "DescribeRegions", x_acs_signature_nonce="n").status == 200
    assert call(sandbox, "DescribeRegions", x_acs_signature_nonce="n").code == "SignatureNonceUsed"


def test_a_security_token_is_a_header(sandbox: Sandbox) -> None:
    """Temporary keys need it, and it expires."""
    key = AccessKey(id="STS.X", secret="S", token="T", expires_s=sandbox.clock.now_s() + 900)
    sandbox.state.add_key(key)
    assert call(sandbox, "DescribeRegions", key=key, x_acs_security_token="T").status == 200
    assert call(sandbox, "DescribeRegions", key=key).code == "MissingSecurityToken"
    sandbox.clock.advance(901)
    assert call(sandbox, "DescribeRegions", key=key, x_acs_security_token="T").code == "InvalidSecurityToken.Expired"


def test_an_unknown_operation_is_501_by_name(sandbox: Sandbox) -> None:
    """The response is that for the other signature."""
    reply = call(sandbox, "CreateKeyPair", {"RegionId": "cn-hangzhou"})
    assert (reply.status, "ecs:CreateKeyPair" in reply.text) == (501, True)
