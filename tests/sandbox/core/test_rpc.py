"""Tests of the gateway of the RPC services over HTTP: authentication and refusals."""

import http.client
import itertools
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from aliyunsdkcore.acs_exception.exceptions import ServerException

from aliyun_import.sandbox.auth import rpc_signature
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.core.router import RPC
from aliyun_import.sandbox.core.rpc_errors import REFUSALS, fault
from aliyun_import.sandbox.core.state import DEFAULT_KEY_ID, AccessKey
from aliyun_import.sandbox.server import Sandbox
from tests.rows import each_row
from tests.sandbox.vendor_sdk import call, refusal, send, signed


def _code(text: str) -> str:
    return str(json.loads(text)["Code"])


def _token(sandbox: Sandbox, **changes: object) -> AccessKey:
    """Add a temporary key."""
    key = AccessKey(id="STS.SANDBOX", secret="secret", token="TOKEN+/=", **changes)  # type: ignore[arg-type]
    return sandbox.state.add_key(key)


def test_the_sdk_is_authenticated_with_a_key_and_with_a_token(sandbox: Sandbox) -> None:
    """Both kinds of credentials of the vendor's SDK verify."""
    assert call(sandbox, "DescribeRegions")["Regions"]["Region"]
    assert call(sandbox, "DescribeRegions", key=_token(sandbox))["Regions"]["Region"]


def test_parameters_of_query_and_form_are_combined(sandbox: Sandbox) -> None:
    """A call is the same whether its parameters come in the query, in the form, or in both."""
    parameters = signed(sandbox, "DescribeRegions", method="POST")
    names = sorted(parameters)
    query = {name: parameters[name] for name in [*names[:5], "Action"]}
    form = {name: parameters[name] for name in names[5:]}
    assert send(sandbox, query, method="POST", form=form).status == 200


def test_the_response_is_xml_unless_json_is_requested(sandbox: Sandbox) -> None:
    """Without Format the response is XML, with lists as repeated elements."""
    answer = send(sandbox, signed(sandbox, "DescribeRegions", {"Format": ""}))
    assert answer.content_type == "text/xml;charset=utf-8"
    root = ET.fromstring(answer.text)
    assert root.tag == "DescribeRegionsResponse"
    assert "cn-hangzhou" in [element.text for element in root.findall("Regions/Region/RegionId")]
    assert json.loads(send(sandbox, signed(sandbox, "DescribeRegions")).text)["RequestId"]


def test_an_error_is_xml_unless_json_is_requested(sandbox: Sandbox) -> None:
    """The error has RequestId, HostId, Code and Message in both formats."""
    answer = send(sandbox, signed(sandbox, "DescribeTasks", {"Format": ""}))
    root = ET.fromstring(answer.text)
    assert (answer.status, root.tag, root.findtext("Code")) == (400, "Error", "MissingParameter")
    assert root.findtext("Message") == (
        'An input parameter "RegionId" that is mandatory for processing the request is not supplied.'
    )
    assert root.findtext("RequestId")
    document = json.loads(send(sandbox, signed(sandbox, "DescribeTasks", {"Format": "json"})).text)
    assert document.keys() >= {"RequestId", "HostId", "Code", "Message", "Recommend"}


def test_text_in_xml_is_escaped(sandbox: Sandbox) -> None:
    """Text from a caller is escaped in the answer."""
    fields = {"Version": "2015-05-01", "RoleName": "<b>&", "Format": "XML"}
    root = ET.fromstring(send(sandbox, signed(sandbox, "GetRole", fields)).text)
    assert root.findtext("Message") == "The role not exists: <b>&."


@pytest.mark.parametrize("action", ["CreateKeyPair", "DescribeDisks", "StartInstance"])
def test_an_unsupported_action_is_501_with_its_name(sandbox: Sandbox, action: str) -> None:
    """The message has the action."""
    with pytest.raises(ServerException) as caught:
        call(sandbox, action)
    assert caught.value.http_status == 501
    assert action in caught.value.message


def test_an_unsupported_version_is_501_with_its_name(sandbox: Sandbox) -> None:
    """The message has the action and the version of the service."""
    answer = send(sandbox, signed(sandbox, "DescribeEndpoints", {"Version": "2015-06-12"}))
    assert answer.status == 501
    assert "DescribeEndpoints of version 2015-06-12" in answer.text


def test_only_get_and_post_are_allowed(sandbox: Sandbox) -> None:
    """Another method is 405."""
    assert send(sandbox, signed(sandbox, "DescribeRegions", method="PUT"), method="PUT").status == 405


def test_an_unknown_key_is_refused(sandbox: Sandbox) -> None:
    """The code is InvalidAccessKeyId.NotFound, with the status of published error reports."""
    key = AccessKey(id="NOBODY", secret="x")
    assert refusal(sandbox, "DescribeRegions", key=key) == (404, "InvalidAccessKeyId.NotFound")


def test_a_disabled_key_is_refused(sandbox: Sandbox) -> None:
    """An inactive key cannot be used."""
    key = sandbox.state.add_key(AccessKey(id="OLD", secret="x", enabled=False))
    assert refusal(sandbox, "DescribeRegions", key=key) == (403, "Forbidden.AccessKeyDisabled")


def test_the_sdk_recognises_a_wrong_secret(sandbox: Sandbox) -> None:
    """The SDK compares the string to sign in the message with its own, and reports a wrong secret if they are equal."""
    key = AccessKey(id=DEFAULT_KEY_ID, secret="wrong")
    assert refusal(sandbox, "DescribeRegions", key=key) == (400, "InvalidAccessKeySecret")


def test_the_string_to_sign_is_in_the_message(sandbox: Sandbox) -> None:
    """The message ends with the server's string after its only colon."""
    parameters = {**signed(sandbox, "DescribeRegions"), "Signature": "d3Jvbmc="}
    message = json.loads(send(sandbox, parameters).text)["Message"]
    assert message == (
        "Specified signature is not matched with our calculation. server string to sign is:"
        + rpc_signature.string_to_sign("GET", parameters)
    )


@each_row("name", ["Signature", "SignatureMethod", "SignatureVersion", "SignatureNonce"])
def test_a_signature_has_all_its_parts(sandbox: Sandbox, name: str) -> None:
    """Without one of them the signature is incomplete."""
    parameters = {**signed(sandbox, "DescribeRegions"), name: ""}
    assert _code(send(sandbox, parameters).text) == "IncompleteSignature"


@pytest.mark.parametrize("changes", [{"SignatureMethod": "HMAC-SHA256"}, {"SignatureVersion": "2.0"}])
def test_other_signature_methods_are_refused(sandbox: Sandbox, changes: dict[str, str]) -> None:
    """Only HMAC-SHA1, version 1.0, is supported."""
    assert _code(send(sandbox, signed(sandbox, "DescribeRegions", changes)).text) == ("IncompleteSignature")


def test_a_nonce_is_used_once(sandbox: Sandbox) -> None:
    """The same request, sent twice, is refused the second time."""
    parameters = signed(sandbox, "DescribeRegions")
    assert send(sandbox, parameters).status == 200
    assert _code(send(sandbox, parameters).text) == "SignatureNonceUsed"


def test_a_refused_call_does_not_use_up_its_nonce(sandbox: Sandbox) -> None:
    """Only an authenticated call uses its nonce."""
    parameters = signed(sandbox, "DescribeRegions")
    send(sandbox, {**parameters, "Signature": "d3Jvbmc="})
    assert send(sandbox, parameters).status == 200


@pytest.mark.parametrize("skew_s", [-960, 960])
def test_a_clock_skew_of_16_minutes_is_refused(sandbox: Sandbox, skew_s: int) -> None:
    """The limit of 15 minutes applies in both directions."""
    sandbox.clock.set_skew(skew_s)
    assert refusal(sandbox, "DescribeRegions") == (400, "IllegalTimestamp")


@pytest.mark.parametrize("skew_s", [-840, 840])
def test_a_clock_skew_of_14_minutes_is_accepted(sandbox: Sandbox, skew_s: int) -> None:
    """The skew is within the limit of 15 minutes."""
    sandbox.clock.set_skew(skew_s)
    assert call(sandbox, "DescribeRegions")


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-24 00:00:00"])
def test_a_timestamp_has_one_form(sandbox: Sandbox, text: str) -> None:
    """Anything but YYYY-MM-DDThh:mm:ssZ is refused."""
    assert _code(send(sandbox, signed(sandbox, "DescribeRegions", {"Timestamp": text})).text) == ("IllegalTimestamp")


def test_a_token_is_checked(sandbox: Sandbox) -> None:
    """A wrong token, a token with a long-lived key, and a temporary key without its token have different codes."""
    key = _token(sandbox)
    foreign = AccessKey(id=key.id, secret=key.secret, token="OTHER")
    assert refusal(sandbox, "DescribeRegions", key=foreign)[1] == "InvalidSecurityToken.Malformed"
    bare = AccessKey(id=key.id, secret=key.secret)
    assert refusal(sandbox, "DescribeRegions", key=bare)[1] == "MissingSecurityToken"
    mixed = AccessKey(id=DEFAULT_KEY_ID, secret=sandbox.access_key.secret, token="TOKEN+/=")
    assert refusal(sandbox, "DescribeRegions", key=mixed)[1] == "InvalidSecurityToken.MismatchWithAccessKey"


def test_a_token_expires_by_the_clouds_clock(sandbox: Sandbox) -> None:
    """The token is refused after an hour."""
    key = _token(sandbox, expires_s=sandbox.clock.now_s() + 3600)
    assert call(sandbox, "DescribeRegions", key=key)
    sandbox.clock.advance(3601)
    assert refusal(sandbox, "DescribeRegions", key=key) == (400, "InvalidSecurityToken.Expired")


def test_a_fault_expires_a_token(sandbox: Sandbox) -> None:
    """The fault expire-token expires the token of the caller at that call."""
    key = _token(sandbox)
    sandbox.faults.add(Fault(operation="DescribeRegions", effect="expire-token", nth=2))
    assert call(sandbox, "DescribeRegions", key=key)
    assert refusal(sandbox, "DescribeRegions", key=key) == (400, "InvalidSecurityToken.Expired")


def test_a_missing_permission_has_the_code_of_the_service(sandbox: Sandbox) -> None:
    """ECS answers Forbidden.RAM, RAM answers NoPermission. GetCallerIdentity needs no permission."""
    sandbox.state.deny("ecs:Describe*", "ram:GetRole", "sts:*")
    assert refusal(sandbox, "DescribeRegions") == (403, "Forbidden.RAM")
    assert refusal(sandbox, "GetRole", RoleName="x") == (403, "NoPermission")
    assert call(sandbox, "GetCallerIdentity")


@pytest.mark.parametrize("code", ["Throttling", "Throttling.User", "Throttling.Api"])
def test_throttling_has_three_codes(sandbox: Sandbox, code: str) -> None:
    """A fault can have each code, with status 400. ImportImage is used because the SDK does not retry it."""
    sandbox.faults.add(fault("ImportImage", code))
    assert refusal(sandbox, "ImportImage") == (400, code)


def test_every_code_of_the_table_can_be_answered(sandbox: Sandbox) -> None:
    """A fault answers each code with its status and message, in JSON and XML alternately."""
    for form, (code, (status, _)) in zip(itertools.cycle(("JSON", "XML")), REFUSALS.items(), strict=False):
        sandbox.faults.add(fault("ImportImage", code))
        answer = send(sandbox, signed(sandbox, "ImportImage", {"Format": form}))
        pattern = {"JSON": r'"Code":"([^"]+)"', "XML": r"<Code>([^<]+)</Code>"}[form]
        assert (answer.status, re.findall(pattern, answer.text)) == (status, [code])


def test_a_form_that_is_too_large_is_refused(sandbox: Sandbox) -> None:
    """Parameters are read into memory, so their size is limited."""
    answer = send(sandbox, {"Action": "DescribeRegions"}, method="POST", form={"Description": "x" * (1 << 20)})
    assert answer.status == 400


def test_the_documented_operations_are_the_supported_ones() -> None:
    """The page on the sandbox's RPC services lists each operation, and no other."""
    page = (Path(__file__).parents[3] / "docs" / "sandbox-ecs.md").read_text()
    table = page.partition("\n## ")[0]
    rows = re.findall(r"^\| (STS|RAM|IMS|ECS|VPC)(?:, [^|]*)? \| (.*) \|$", table, re.MULTILINE)
    listed = sorted((name.lower(), operation) for name, row in rows for operation in row.split(", "))
    services = RPC.by_version.values()
    assert listed == sorted((service.name, row.name) for service in services for row in service.operations)


def test_a_parameter_that_the_sandbox_does_not_support_is_refused_by_name(sandbox: Sandbox) -> None:
    """With an ignored filter, a test could succeed that would fail with the service."""
    answer = send(sandbox, signed(sandbox, "DescribeImages", {"RegionId": "cn-hangzhou", "IsSupportCloudinit": "true"}))
    assert answer.status == 501
    assert "the parameter IsSupportCloudinit of ecs:DescribeImages" in answer.text
    assert call(sandbox, "DescribeImages")["PageSize"] == 10


@each_row(
    ("query", "headers", "service"),
    [
        ("?Action=DescribeRegions", {}, "rpc"),
        ("?SignatureMethod=HMAC-SHA1", {}, "rpc"),
        ("", {"Authorization": "ACS3-HMAC-SHA256 Credential=x"}, "rpc"),
        ("", {"Host": "ecs.cn-hangzhou.aliyuncs.com"}, "rpc"),
        ("", {"Host": "ecs-cn-hangzhou.aliyuncs.com"}, "rpc"),
        ("", {"Host": "sts.aliyuncs.com:443"}, "rpc"),
        ("", {"Host": "ecs.oss-cn-hangzhou.aliyuncs.com"}, "oss"),
        ("", {"Host": "oss-cn-hangzhou.aliyuncs.com"}, "oss"),
        ("?Action=DescribeRegions", {"Authorization": "OSS key:signature"}, "oss"),
        ("?Action=DescribeRegions", {"Authorization": "OSS4-HMAC-SHA256 Credential=x"}, "oss"),
        ("?Action=x&OSSAccessKeyId=key&Signature=s&Expires=1", {}, "oss"),
        ("", {}, "oss"),
    ],
)
def test_the_service_of_a_request_is_recognised(
    sandbox: Sandbox, query: str, headers: dict[str, str], service: str
) -> None:
    """A call without Action is refused as by ECS; a bucket may have the name of a service."""
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
    connection.request("GET", f"/{query}", headers=headers)
    connection.getresponse().read()
    connection.close()
    assert sandbox.requests.entries()[-1].service == service
