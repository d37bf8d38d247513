"""Tests of the account document: settings, keys, faults and clock, and their effect."""

import json
from typing import Any

import oss2
import pytest

from aliyun_import.sandbox.control import account
from aliyun_import.sandbox.core.router import OPERATIONS
from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.server import Sandbox
from tests.rows import each_row
from tests.sandbox.oss_sdk import Oss, refused
from tests.sandbox.prepared import make_bucket, make_role, mapping, prepare, put
from tests.sandbox.vendor_sdk import call, refusal

DOCUMENT = {
    "settings": {"images_per_region": 1, "public_endpoint_forbidden": True, "default_encryption": "KMS"},
    "keys": [{"id": "CI", "secret": "ci", "principal": "user/ci"}],
    "faults": [{"operation": "UploadPart", "count": 3}],
    "clock": {"advance_s": 60, "skew_s": 5},
}


def _apply(sandbox: Sandbox, document: dict[str, Any]) -> None:
    account.apply(sandbox.state, document, operations=OPERATIONS)


def test_a_document_sets_all_kinds_of_facts(sandbox: Sandbox) -> None:
    """Settings, keys, faults and the clock are set."""
    before_s = sandbox.clock.now_s()
    _apply(sandbox, DOCUMENT)
    settings, key = sandbox.state.settings, sandbox.state.key("CI")
    assert (settings.images_per_region, settings.public_endpoint_forbidden) == (1, True)
    assert key is not None
    assert key.principal == "user/ci"
    assert [fault.operation for fault in sandbox.faults.active()] == ["UploadPart"]
    assert sandbox.clock.now_s() >= before_s + 60
    assert sandbox.clock.adjustment.skew_s == 5


@each_row(
    ("part", "message"),
    [
        ({"settings": {"region": 5}}, r"settings.region takes a text"),
        ({"keys": [{"id": "CI", "secret": "x"}, {"id": "B"}]}, r"keys\[1\]: .*secret"),
        ({"faults": [{"operation": "NoSuch"}]}, r"faults\[0\].operation: the sandbox has no operation NoSuch"),
        ({"faults": [{"nth": 0}]}, "nth and count begin at 1"),
        ({"clock": {"advance_s": -1}}, "forward only"),
        ({"unknown": {}}, "no field unknown"),
        ({"settings": []}, "settings takes"),
    ],
)
def test_a_document_with_a_mistake_changes_nothing(sandbox: Sandbox, part: dict[str, Any], message: str) -> None:
    """The error has the path of the mistake, and the valid parts are not applied."""
    settings, keys = sandbox.state.settings, sandbox.state.all_keys()
    with pytest.raises(ValueError, match=message):
        _apply(sandbox, {**DOCUMENT, **part})
    assert (sandbox.state.settings, sandbox.state.all_keys()) == (settings, keys)
    assert sandbox.faults.active() == ()
    assert sandbox.clock.adjustment.advanced_s == 0


def test_an_account_in_arrears_is_refused(sandbox: Sandbox) -> None:
    """OSS refuses every call, ECS refuses the import."""
    prepare(sandbox)
    _apply(sandbox, {"settings": {"arrears": True}})
    oss = Oss(sandbox)
    with refused() as answer:
        oss.bucket("bkt").get_bucket_info()
    assert answer == (403, "UserDisable")
    assert refusal(sandbox, "ImportImage", DiskDeviceMappings=[mapping()]) == (400, "Account.Arrearage")
    oss.close()


def test_a_closed_region_is_as_if_it_did_not_exist(sandbox: Sandbox) -> None:
    """ECS and PutBucket refuse it. Other regions are not affected."""
    _apply(sandbox, {"settings": {"closed_regions": ["cn-beijing"]}})
    assert refusal(sandbox, "DescribeImages", region="cn-beijing") == (400, "InvalidRegionId.NotFound")
    regions = [each["RegionId"] for each in call(sandbox, "DescribeRegions")["Regions"]["Region"]]
    assert "cn-beijing" not in regions
    assert "cn-hangzhou" in regions
    oss = Oss(sandbox)
    with refused() as answer:
        oss.bucket("closed", region="cn-beijing").create_bucket()
    assert answer == (403, "AccessDenied")
    oss.bucket("open").create_bucket()
    oss.close()


def test_new_buckets_have_the_default_encryption_of_the_account(sandbox: Sandbox) -> None:
    """An import from such a bucket is refused."""
    make_role(sandbox)
    _apply(sandbox, {"settings": {"default_encryption": "KMS"}})
    make_bucket(sandbox)
    put(sandbox, "disk.raw")
    expected = (403, "InvalidOSSBucket.EncryptUnsupported")
    assert refusal(sandbox, "ImportImage", DiskDeviceMappings=[mapping()]) == expected


def _limited(sandbox: Sandbox, *statements: dict[str, object]) -> AccessKey:
    policy = {"Version": "1", "Statement": [{"Effect": "Allow", **each} for each in statements]}
    _apply(sandbox, {"keys": [{"id": "CI", "secret": "ci", "principal": "user/ci", "policies": [policy]}]})
    key = sandbox.state.key("CI")
    assert key is not None
    return key


def test_a_policy_limits_a_key_to_actions_and_buckets(sandbox: Sandbox) -> None:
    """A prefix of objects is a limit too, and a copy needs permission for its source."""
    key = _limited(
        sandbox,
        {"Action": ["oss:PutObject", "oss:GetObject"], "Resource": "acs:oss:*:*:mine/ci/*"},
        {"Action": "oss:GetBucketInfo", "Resource": "acs:oss:oss-cn-hangzhou:*:mine"},
    )
    oss = Oss(sandbox)
    for name in ("mine", "other"):
        oss.bucket(name).create_bucket()
        oss.bucket(name).put_object("elsewhere", b"x")
    mine, other = oss.bucket("mine", key=key), oss.bucket("other", key=key)
    mine.get_bucket_info()
    mine.put_object("ci/k", b"x")
    mine.copy_object("mine", "ci/k", "ci/copy")
    attempts = (
        lambda: mine.put_object("k", b"x"),
        lambda: mine.delete_object("ci/k"),
        lambda: mine.copy_object("other", "elsewhere", "ci/from-other"),
        other.get_bucket_info,
        lambda: other.get_object("elsewhere"),
    )
    for attempt in attempts:
        with refused() as answer:
            attempt()
        assert answer == (403, "AccessDenied")
    oss.close()


def test_a_policy_limits_a_key_to_images_and_roles(sandbox: Sandbox) -> None:
    """Actions that ECS authorizes only for all resources are refused with a policy for images."""
    prepare(sandbox)
    key = _limited(
        sandbox,
        {"Action": ["ecs:*Image*", "ecs:DescribeTasks", "ecs:TagResources"], "Resource": "acs:ecs:*:*:image/*"},
        {"Action": "ram:GetRole", "Resource": "acs:ram:*:*:role/AliyunECSImageImportDefaultRole"},
    )
    image = call(sandbox, "ImportImage", key=key, DiskDeviceMappings=[mapping()])["ImageId"]
    call(sandbox, "TagResources", key=key, ResourceType="image", ResourceIds=[image], Tags=[{"Key": "a", "Value": "b"}])
    call(sandbox, "GetRole", key=key, RoleName="AliyunECSImageImportDefaultRole")
    assert refusal(sandbox, "DescribeTasks", key=key) == (403, "Forbidden.RAM")
    assert refusal(sandbox, "GetRole", key=key, RoleName="Other") == (403, "NoPermission")
    assert refusal(sandbox, "DeleteRole", key=key, RoleName="AliyunECSImageImportDefaultRole") == (403, "NoPermission")
    one = _limited(sandbox, {"Action": "ecs:DeleteImage", "Resource": f"acs:ecs:*:*:image/{image}"})
    assert refusal(sandbox, "DeleteImage", key=one, ImageId="m-other") == (403, "Forbidden.RAM")
    sandbox.clock.advance(60)
    call(sandbox, "DeleteImage", key=one, ImageId=image)


def test_a_key_without_policies_can_only_call_get_caller_identity(sandbox: Sandbox) -> None:
    """An empty list of policies is no permission; no list is every permission."""
    sandbox.state.add_key(AccessKey(id="CI", secret="ci", principal="user/ci", policies=()))
    key = sandbox.state.key("CI")
    assert call(sandbox, "GetCallerIdentity", key=key)["IdentityType"] == "RAMUser"
    assert refusal(sandbox, "DescribeImages", key=key) == (403, "Forbidden.RAM")
    oss = Oss(sandbox)
    with refused() as answer:
        oss2.BucketIterator(oss.service(key=key)).next()
    assert answer == (403, "AccessDenied")
    oss.close()


def test_the_example_of_the_docstring_is_a_document() -> None:
    """The docstring of the module has a document with each part except the issuers."""
    example = (account.__doc__ or "").partition("\n\n    ")[2].partition("\n\n")[0]
    assert json.loads(example).keys() == {"settings", "keys", "faults", "clock"}
