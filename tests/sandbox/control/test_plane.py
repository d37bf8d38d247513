"""Tests of the control plane, by which another process controls the sandbox."""

import http.client
import json
import urllib.error
import urllib.request
from contextlib import closing
from dataclasses import asdict
from typing import Any

import oss2
import pytest

from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.server import Sandbox
from tests.rows import each_row
from tests.sandbox.oss_sdk import refused


def _send(sandbox: Sandbox, method: str, path: str, document: Any = None) -> Any:
    data = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(f"{sandbox.url}/_sandbox{path}", data=data, method=method)
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def test_faults_are_added_listed_and_removed(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """A fault can be added, listed and removed over HTTP."""
    fault = Fault(operation="GetBucketInfo", status=500, code="InternalError", count=None)
    _send(sandbox, "POST", "/faults", asdict(fault))
    assert _send(sandbox, "GET", "/faults") == [asdict(fault)]
    with refused() as answer:
        bucket.get_bucket_info()
    assert answer == (500, "InternalError")
    _send(sandbox, "DELETE", "/faults")
    bucket.get_bucket_info()


def test_the_clock_is_changed(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """The time and the skew can be changed, and nothing else of the clock."""
    before = _send(sandbox, "GET", "/clock")["now_s"]
    assert _send(sandbox, "POST", "/clock", {"advance_s": 3600})["now_s"] >= before + 3600
    bucket.get_bucket_info()
    _send(sandbox, "POST", "/clock", {"skew_s": 1000})
    with refused() as answer:
        bucket.get_bucket_info()
    assert answer == (403, "RequestTimeTooSkewed")
    with pytest.raises(urllib.error.HTTPError, match="400"):
        _send(sandbox, "POST", "/clock", {"rate": 2})


def test_the_log_is_read_and_cleared(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """The log contains operation, status and bytes, but no requests of the control plane."""
    bucket.put_object("dir/k", b"12345")
    bucket.get_object("dir/k", byte_range=(0, 1)).read()
    entries = _send(sandbox, "GET", "/requests")
    message = [
        (each["operation"], each["bucket"], each["key"], each["status"], each["body_bytes"], each["answer_bytes"])
        for each in entries
    ]
    assert message == [
        ("PutBucket", "disks", "", 200, 0, 0),
        ("PutObject", "disks", "dir/k", 200, 5, 0),
        ("GetObject", "disks", "dir/k", 206, 0, 2),
    ]
    _send(sandbox, "DELETE", "/requests")
    assert _send(sandbox, "GET", "/requests") == []


def test_settings_are_changed_by_name(sandbox: Sandbox) -> None:
    """Settings can be changed by name; unknown ones are refused."""
    assert _send(sandbox, "POST", "/settings", {"import_s": 7.5})["import_s"] == 7.5
    assert sandbox.state.settings.import_s == 7.5
    assert _send(sandbox, "GET", "")["settings"]["import_s"] == 7.5
    with pytest.raises(urllib.error.HTTPError, match="400"):
        _send(sandbox, "POST", "/settings", {"no_such_setting": 0})


def test_an_unknown_path_is_404(sandbox: Sandbox) -> None:
    """Only the documented paths exist."""
    with pytest.raises(urllib.error.HTTPError, match="404"):
        _send(sandbox, "GET", "/unknown")


def _status(sandbox: Sandbox, method: str, path: str, *, headers: dict[str, str], body: bytes = b"") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
    with closing(connection):
        connection.request(method, path, body=body or None, headers=headers)
        response = connection.getresponse()
        return response.status, json.load(response)["error"] if response.status != 200 else ""


def test_a_web_page_cannot_add_a_fault(sandbox: Sandbox) -> None:
    """A browser sends a POST of text/plain to other origins without a preflight request, but with an Origin."""
    body = json.dumps(asdict(Fault(effect="corrupt", count=None))).encode()
    headers = {"Origin": "https://example.com", "Content-Type": "text/plain"}
    status, reason = _status(sandbox, "POST", "/_sandbox/faults", headers=headers, body=body)
    assert (status, "Origin" in reason) == (403, True)
    assert sandbox.faults.active() == ()


@each_row("host", ["rebound.example.com", "rebound.example.com:80", "localhost.example.com", "1.2.3.4.nip.io"])
def test_a_web_page_cannot_read_the_log_by_dns_rebinding(sandbox: Sandbox, host: str) -> None:
    """A page whose host name resolves to this machine sends no Origin, but its name as Host."""
    status, reason = _status(sandbox, "GET", "/_sandbox/requests", headers={"Host": host})
    assert (status, "host name" in reason) == (403, True)


@each_row("host", ["127.0.0.1:8700", "localhost", "localhost:80", "sandbox:8700", "[::1]:8700", "192.168.0.7:8700"])
def test_addresses_and_localhost_reach_the_control_plane(sandbox: Sandbox, host: str) -> None:
    """Clients on this machine and in its network use such hosts."""
    assert _status(sandbox, "GET", "/_sandbox", headers={"Host": host}) == (200, "")


@each_row("body", [b"[" * 100_000, b'{"a":' * 100_000, b"{", b"[]", b"\xff"])
def test_a_wrong_document_is_400(sandbox: Sandbox, body: bytes) -> None:
    """Deeply nested JSON and invalid documents are errors of the client."""
    assert _status(sandbox, "POST", "/_sandbox/settings", headers={}, body=body)[0] == 400


def test_a_document_that_is_too_large_is_413(sandbox: Sandbox) -> None:
    """The memory of the control plane is bounded."""
    assert _status(sandbox, "POST", "/_sandbox/settings", headers={}, body=b" " * (2 << 20))[0] == 413


@each_row("change", [{"images_per_region": "many"}, {"v1_signatures": 1}, {"region": None}, {"import_s": "2"}])
def test_a_setting_of_another_type_is_refused(sandbox: Sandbox, change: dict[str, Any]) -> None:
    """Otherwise it would fail later in an operation, as a bug of the sandbox."""
    assert _status(sandbox, "POST", "/_sandbox/settings", headers={}, body=json.dumps(change).encode())[0] == 400


def test_json_values_are_converted_to_the_types_of_settings(sandbox: Sandbox) -> None:
    """A list becomes a tuple, an integer a float."""
    settings = _send(sandbox, "POST", "/settings", {"import_s": 3, "formats_refused": ["QCOW2"]})
    assert (settings["import_s"], settings["formats_refused"]) == (3.0, ["QCOW2"])
    assert sandbox.state.settings.formats_refused == ("QCOW2",)


@each_row("origin", ["null", "", "http://127.0.0.1:1", "http://localhost", "https://example.com", "file://"])
def test_another_page_of_this_machine_cannot_use_the_console(sandbox: Sandbox, origin: str) -> None:
    """A page on another port, and a frame without an origin, are refused like pages of other hosts."""
    headers = {"Origin": origin, "Content-Type": "application/x-www-form-urlencoded"}
    assert _status(sandbox, "POST", "/_sandbox/", headers=headers, body=b"action=fault&operation=*")[0] == 403
    assert sandbox.faults.active() == ()


def test_keys_are_added_and_changed_without_showing_secrets(sandbox: Sandbox) -> None:
    """Another process can change the policy or the expiry of a key. Other fields stay unchanged."""
    policy = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "oss:Get*", "Resource": "*"}]}
    _send(sandbox, "POST", "/keys", {"id": "STS.CI", "secret": "s3cret", "token": "t0ken", "expires_in_s": 900})
    _send(sandbox, "POST", "/keys", {"id": "STS.CI", "principal": "assumed-role/ci/1", "policies": [policy]})
    key = sandbox.state.key("STS.CI")
    assert key is not None
    assert (key.secret, key.token, key.principal) == ("s3cret", "t0ken", "assumed-role/ci/1")
    assert key.expires_s == pytest.approx(sandbox.clock.now_s() + 900, abs=60)
    assert [json.loads(text) for text in key.policies or ()] == [policy]
    shown = _send(sandbox, "GET", "/keys")
    assert [(each["id"], each["temporary"]) for each in shown] == [("SANDBOX-KEY", False), ("STS.CI", True)]
    assert not {"secret", "token"} & set(shown[1])
    assert "s3cret" not in json.dumps(shown)


@each_row(
    ("document", "message"),
    [
        ({"secret": "s"}, "key: "),
        ({"id": "NEW"}, "secret"),
        ({"id": "", "secret": "s"}, "must not be empty"),
        ({"id": "SANDBOX-KEY", "secret": ""}, "must not be empty"),
        ({"id": "SANDBOX-KEY", "colour": "red"}, "no field colour"),
        ({"id": "SANDBOX-KEY", "expires_in_s": "soon"}, "key.expires_in_s takes a number"),
        ({"id": "SANDBOX-KEY", "policies": ["{}"]}, "key.policies[0]: "),
        ({"id": "SANDBOX-KEY", "policies": [{"Version": "1", "Statement": [{}]}]}, "key.policies[0]: "),
        ({"id": "SANDBOX-KEY", "policies": "all"}, "key.policies takes a list"),
    ],
)
def test_a_wrong_key_is_refused_with_the_path_of_the_mistake(
    sandbox: Sandbox, document: dict[str, Any], message: str
) -> None:
    """No part of the document is applied."""
    before = sandbox.state.all_keys()
    status, reason = _status(sandbox, "POST", "/_sandbox/keys", headers={}, body=json.dumps(document).encode())
    assert (status, message in reason) == (400, True), reason
    assert sandbox.state.all_keys() == before


@each_row(
    ("path", "document", "message"),
    [
        ("settings", {"images_per_regoin": 3}, "did you mean images_per_region?"),
        ("settings", {"images_per_region": "many"}, "settings.images_per_region takes a whole number, not 'many'"),
        ("settings", {"images_per_region": -1}, "images_per_region takes a number from 0, not -1"),
        ("settings", {"import_outcome": "unknown"}, "import_outcome takes one of finished, failed"),
        ("settings", {"default_encryption": "ROT13"}, "takes one of AES256, KMS, SM4, not ROT13"),
        ("faults", {"operation": "UplaodPart"}, "did you mean UploadPart?"),
        ("faults", {"operation": "ImportImage", "effect": "wrong-crc"}, "wrong-crc is for operations of OSS"),
        ("faults", {"count": "three"}, "count takes a whole number"),
        ("faults", {"status": 42}, "status takes a number from 200 to 599"),
        ("clock", {"advance_s": -1}, "moves forward only"),
        ("clock", {"advance_s": "an hour"}, "clock.advance_s takes a number"),
        ("clock", {"advance_s": float("inf")}, "clock.advance_s"),
        ("clock", {"skew_s": float("nan")}, "clock.skew_s"),
    ],
)
def test_a_wrong_value_is_refused_with_the_path_of_the_mistake(
    sandbox: Sandbox, path: str, document: dict[str, Any], message: str
) -> None:
    """The message has the mistake, and suggests a similar name."""
    status, reason = _status(sandbox, "POST", f"/_sandbox/{path}", headers={}, body=json.dumps(document).encode())
    assert (status, message in reason) == (400, True), reason


def test_the_log_has_the_reason_of_a_refusal(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """The log has message and subject for OSS and RPC calls, with and without a body."""
    sandbox.state.deny("oss:PutObject")
    with refused():
        bucket.put_object("k", b"")
    with pytest.raises(oss2.exceptions.NotFound):
        bucket.head_object("missing")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{sandbox.url}/?Action=DescribeImages", timeout=10)
    put, head, describe = _send(sandbox, "GET", "/requests")[-3:]
    assert (put["code"], "Action: oss:PutObject." in put["reason"]) == ("AccessDenied", True)
    assert head["reason"] == "The specified key does not exist. Key: missing."
    assert "AccessKeyId" in describe["reason"]
