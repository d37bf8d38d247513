"""Tests of the evaluation of RAM policies."""

import json

import pytest

from aliyun_import.role import policy_eval as policy
from aliyun_import.role.policy_eval import Decision
from tests.rows import each_row

ACTIONS = ("oss:GetObject", "oss:GetBucketLocation", "oss:GetBucketInfo")


def trusting(principal: object, **fields: object) -> str:
    """Return a trust policy of one statement."""
    statement = {"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": principal, **fields}
    return json.dumps({"Statement": [statement], "Version": "1"})


def document(*statements: dict[str, object]) -> str:
    """Return a policy document."""
    return json.dumps({"Version": "1", "Statement": list(statements)})


def allow(action: object, resource: object = "*", **fields: object) -> dict[str, object]:
    """Return an Allow statement."""
    return {"Effect": "Allow", "Action": action, "Resource": resource, **fields}


def deny(action: object, resource: object = "*", **fields: object) -> dict[str, object]:
    """Return a Deny statement."""
    return {"Effect": "Deny", "Action": action, "Resource": resource, **fields}


def permitted(*statements: dict[str, object], action: str = "oss:GetObject", bucket: str | None = "disks") -> Decision:
    """Evaluate the statements of one document."""
    return policy.permits([document(*statements)], action, bucket=bucket, key="aliyun-import/disk.raw")


@each_row(
    ("trust", "expected"),
    [
        (policy.trust_policy(), Decision.YES),
        (trusting({"Service": "ecs.aliyuncs.com"}), Decision.YES),
        (trusting({"Service": ["fc.aliyuncs.com", "ECS.aliyuncs.com"]}), Decision.YES),
        (trusting({"Service": ["ecs.aliyuncs.com"]}, Action=["sts:AssumeRole", "sts:TagSession"]), Decision.YES),
        (trusting({"Service": ["ecs.aliyuncs.com"]}, Action="sts:*"), Decision.YES),
        (trusting({"Service": ["ecs.aliyuncs.com"]}, Action="*"), Decision.YES),
        (trusting({"Service": ["ecs.aliyuncs.com"]}, Action="sts:assumerole"), Decision.YES),
        (trusting({"Service": ["ecs.aliyuncs.com"]}, Action="sts:GetCallerIdentity"), Decision.NO),
        (trusting({"Service": ["fc.aliyuncs.com"]}), Decision.NO),
        (trusting({"RAM": ["acs:ram::1:root"]}), Decision.NO),
        (trusting({"Service": ["ecs.aliyuncs.com"]}, Effect="Deny"), Decision.NO),
        (
            trusting({"Service": ["ecs.aliyuncs.com"]}, Condition={"Bool": {"acs:SecureTransport": "true"}}),
            Decision.MAYBE,
        ),
        ("no JSON at all", Decision.MAYBE),
        ('{"Statement": "odd"}', Decision.MAYBE),
    ],
)
def test_a_trust_policy_is_evaluated_by_its_statements(trust: str, expected: Decision) -> None:
    """Services and actions are a string or a list, actions may have wildcards, and conditions give MAYBE."""
    assert policy.lets_assume(trust) is expected


def test_a_deny_overrides_an_allow_in_a_trust_policy() -> None:
    """A trust policy that allows and denies ECS denies it."""
    both = json.loads(policy.trust_policy())
    both["Statement"].append({**both["Statement"][0], "Effect": "Deny"})
    assert policy.lets_assume(json.dumps(both)) is Decision.NO


def test_an_extended_trust_policy_keeps_every_statement() -> None:
    """One statement is added at the end."""
    before = trusting({"Service": ["fc.aliyuncs.com"]}, Condition={"StringEquals": {"sts:ExternalId": "x"}})
    after = json.loads(policy.extended(before))
    assert after["Statement"][:-1] == json.loads(before)["Statement"]
    assert policy.lets_assume(json.dumps(after)) is Decision.YES
    assert after["Version"] == "1"


def test_a_trust_policy_that_cannot_be_read_is_not_extended() -> None:
    """Its statements could not be kept."""
    with pytest.raises(ValueError, match="no policy"):
        policy.extended("not JSON")


@each_row(
    ("statements", "expected"),
    [
        ([allow("oss:GetObject")], Decision.YES),
        ([allow(["oss:Get*"])], Decision.YES),
        ([allow("oss:getobject")], Decision.YES),
        ([allow("oss:Get?bject")], Decision.YES),
        ([allow("*")], Decision.YES),
        ([allow("oss:PutObject")], Decision.NO),
        ([allow("oss:GetObject", "acs:oss:*:*:disks/*")], Decision.YES),
        ([allow("oss:GetObject", "acs:oss:*:*:*")], Decision.YES),
        ([allow("oss:GetObject", "acs:oss:*:*:dis*")], Decision.YES),
        ([allow("oss:GetObject", ["acs:oss:*:*:others", "acs:oss:*:*:disks/aliyun-import/*"])], Decision.YES),
        ([allow("oss:GetObject", "acs:oss:*:*:disks")], Decision.NO),
        ([allow("oss:GetObject", "acs:oss:*:*:others/*")], Decision.NO),
        ([allow("oss:GetObject", "acs:oss:*:*:Disks/*")], Decision.NO),
        ([allow("oss:GetObject", "acs:ecs:*:*:disks/*")], Decision.NO),
        ([allow("oss:GetObject", "acs:oss:oss-cn-hangzhou:1234:disks/*")], Decision.MAYBE),
        ([allow("oss:GetObject", Condition={"IpAddress": {"acs:SourceIp": "10.0.0.0/8"}})], Decision.MAYBE),
        ([allow("oss:*"), deny("oss:GetObject")], Decision.NO),
        ([allow("oss:*"), deny("oss:GetObject", "acs:oss:*:*:others/*")], Decision.YES),
        ([allow("oss:*"), deny("oss:*", Condition={"Bool": {"acs:SecureTransport": "false"}})], Decision.MAYBE),
        ([allow("oss:*"), deny("oss:PutObject")], Decision.YES),
        ([{"Effect": "Allow", "NotAction": "ram:*", "Resource": "*"}], Decision.YES),
        ([{"Effect": "Allow", "NotAction": "oss:*", "Resource": "*"}], Decision.NO),
        ([{"Effect": "Allow", "Action": "oss:*", "NotResource": "acs:oss:*:*:others/*"}], Decision.YES),
        ([{"Effect": "Allow", "Action": "oss:*", "NotResource": "acs:oss:*:*:disks/*"}], Decision.NO),
        ([], Decision.NO),
    ],
)
def test_rights_on_an_object_are_evaluated_as_ram_does(statements: list[dict[str, object]], expected: Decision) -> None:
    """Wildcards, lists, resources, conditions and denials count."""
    assert permitted(*statements) is expected


def test_rights_on_the_objects_of_a_bucket_are_no_rights_on_the_bucket() -> None:
    """GetBucketInfo needs the bucket as resource."""
    assert permitted(allow("oss:*", "acs:oss:*:*:disks"), action="oss:GetBucketInfo") is Decision.YES
    assert permitted(allow("oss:*", "acs:oss:*:*:disks/*"), action="oss:GetBucketInfo") is Decision.NO


def test_without_a_bucket_a_right_on_any_bucket_counts() -> None:
    """While the bucket is unknown, only a Deny on all buckets counts as a denial."""
    assert permitted(allow("oss:GetObject", "acs:oss:*:*:some/*"), bucket=None) is Decision.YES
    assert permitted(allow("oss:*"), deny("oss:*", "acs:oss:*:*:some/*"), bucket=None) is Decision.YES
    assert permitted(allow("oss:*"), deny("oss:*", "acs:oss:*:*:*"), bucket=None) is Decision.NO


def test_the_policy_of_the_old_documentation_lacks_a_right() -> None:
    """The older ImportImage page omits GetBucketInfo."""
    old_policy = allow(["oss:GetObject", "oss:GetBucketLocation"])
    assert [permitted(old_policy, action=action) for action in ACTIONS] == [Decision.YES, Decision.YES, Decision.NO]


def test_only_a_certain_denial_counts() -> None:
    """A Deny with a condition, or on another resource, is no proof."""
    key = "aliyun-import/disk.raw"
    certain = document(allow("oss:*"), deny("oss:Get*", "acs:oss:*:*:disks/*"))
    uncertain = document(allow("oss:*"), deny("oss:Get*", "acs:oss:oss-cn-beijing:*:disks/*"))
    assert policy.denies([certain], "oss:GetObject", bucket="disks", key=key)
    assert not policy.denies([uncertain], "oss:GetObject", bucket="disks", key=key)
    assert not policy.denies([document(allow("oss:*"))], "oss:GetObject", bucket="disks", key=key)
