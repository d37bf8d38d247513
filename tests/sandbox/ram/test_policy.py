"""Tests of the evaluation of policy documents: syntax, trust and permissions."""

import json

import pytest

from aliyun_import.sandbox.auth.policies import allows, check_policy, check_trust_policy, trusts_ecs
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.ram.state import SYSTEM_POLICIES
from tests.rows import each_row

OBJECT = ("acs:oss:cn-hangzhou:1:bkt/disk.raw", "acs:oss:oss-cn-hangzhou:1:bkt/disk.raw")


def _policy(*statements: dict[str, object]) -> str:
    return json.dumps({"Version": "1", "Statement": statements})


def _allow(action: object, resource: object = "*", **more: object) -> dict[str, object]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def _trust(principal: object, effect: str = "Allow", action: str = "sts:AssumeRole") -> dict[str, object]:
    return {"Effect": effect, "Action": action, "Principal": principal}


ECS = _trust({"Service": ["ecs.aliyuncs.com"]})


@each_row("name", sorted(SYSTEM_POLICIES))
def test_system_policies_are_well_formed(name: str) -> None:
    """Each is valid by the check of custom policies."""
    check_policy(SYSTEM_POLICIES[name])


@each_row(
    "text",
    [
        "",
        "{“Version”: 1”}",
        "[]",
        '{"Version": 1, "Statement": []}',
        json.dumps({"Version": "1", "Statement": []}),
        json.dumps({"Version": "2012-10-17", "Statement": [_allow("oss:GetObject")]}),
        json.dumps({"Version": "1", "Statement": _allow("oss:GetObject")}),
        _policy({"Effect": "Permit", "Action": "oss:GetObject", "Resource": "*"}),
        _policy({"Effect": "Allow", "Resource": "*"}),
        _policy(_allow("GetObject")),
        _policy(_allow("oss:GetObject", NotAction="oss:PutObject")),
        _policy({"Effect": "Allow", "Action": "oss:GetObject"}),
    ],
)
def test_an_invalid_policy_is_refused(text: str) -> None:
    """The code is MalformedPolicyDocument. The second document is from the old Japanese page."""
    with pytest.raises(Refusal, match="MalformedPolicyDocument"):
        check_policy(text)


@each_row("principal", [None, {}, "ecs.aliyuncs.com", {"Service": 1}, {"Host": ["ecs.aliyuncs.com"]}])
def test_an_invalid_trust_policy_is_refused(principal: object) -> None:
    """A trust policy needs a principal."""
    with pytest.raises(Refusal, match="Principal"):
        check_trust_policy(_policy(_trust(principal)))


@each_row(
    ("statements", "trusted"),
    [
        ([ECS], True),
        ([_trust({"Service": "ecs.aliyuncs.com"})], True),
        ([_trust({"Service": ["rds.aliyuncs.com", "ecs.aliyuncs.com"]})], True),
        ([_trust({"RAM": ["acs:ram::1:root"]}), ECS], True),
        ([_trust({"Service": ["ecs.aliyuncs.com"]}, action="sts:*")], True),
        ([_trust({"Service": ["rds.aliyuncs.com"]})], False),
        ([_trust({"RAM": ["acs:ram::1:root"]})], False),
        ([_trust({"Service": ["ecs.aliyuncs.com"]}, action="sts:GetCallerIdentity")], False),
        ([ECS, _trust({"Service": ["ecs.aliyuncs.com"]}, effect="Deny")], False),
    ],
)
def test_services_are_trusted_by_an_allow(statements: list[dict[str, object]], trusted: bool) -> None:
    """A service needs an Allow for AssumeRole, and no Deny."""
    text = _policy(*statements)
    check_trust_policy(text)
    assert trusts_ecs(text) is trusted


@each_row(
    ("statements", "allowed"),
    [
        ([_allow("oss:GetObject")], True),
        ([_allow("OSS:getobject")], True),
        ([_allow("oss:Get*")], True),
        ([_allow("oss:Get?bject")], True),
        ([_allow("*")], True),
        ([_allow(["oss:PutObject", "oss:GetObject"])], True),
        ([{"Effect": "Allow", "NotAction": "oss:PutObject", "Resource": "*"}], True),
        ([_allow("oss:GetObject", "acs:oss:*:*:bkt/*")], True),
        ([_allow("oss:GetObject", "acs:oss:oss-cn-hangzhou:1:bkt/disk.raw")], True),
        ([_allow("oss:GetObject", Condition={"Bool": {"acs:SecureTransport": ["true"]}})], True),
        ([_allow("oss:PutObject")], False),
        ([{"Effect": "Allow", "NotAction": "oss:Get*", "Resource": "*"}], False),
        ([_allow("oss:GetObject", "acs:oss:*:*:other/*")], False),
        ([_allow("oss:GetObject", "acs:oss:*:*:[b]kt/*")], False),
        ([_allow("*"), {"Effect": "Deny", "Action": "oss:GetObject", "Resource": "*"}], False),
        ([_allow("*"), {"Effect": "Deny", "Action": "oss:PutObject", "Resource": "*"}], True),
    ],
)
def test_statements_allow_or_deny_an_action(statements: list[dict[str, object]], allowed: bool) -> None:
    """An action needs an Allow that covers it and the resource, and no such Deny."""
    text = _policy(*statements)
    check_policy(text)
    assert allows([text], "oss:GetObject", resource=OBJECT) is allowed


def test_policies_are_combined() -> None:
    """A Deny in one policy overrides the Allow of another."""
    denied = _policy({"Effect": "Deny", "Action": "oss:*", "Resource": "*"})
    assert allows([SYSTEM_POLICIES["AliyunECSImageImportRolePolicy"]], "oss:GetObject", resource=OBJECT)
    assert not allows([SYSTEM_POLICIES["AliyunECSImageImportRolePolicy"], denied], "oss:GetObject", resource=OBJECT)
    assert not allows([], "oss:GetObject", resource=OBJECT)
