"""Tests of users with keys and policies, versions of policies, and assumed roles."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.server import Sandbox
from tests.rows import each_row
from tests.sandbox.oss_sdk import Oss, refused
from tests.sandbox.vendor_sdk import call, refusal, send, signed

DESCRIBE = json.dumps(
    {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "ecs:DescribeImages", "Resource": "*"}]}
)
NOTHING = DESCRIBE.replace("Allow", "Deny")


def _user(sandbox: Sandbox, name: str = "ci", *policies: tuple[str, str]) -> AccessKey:
    """Create a user with policies (kind, name), and return a key."""
    call(sandbox, "CreateUser", UserName=name)
    for kind, policy in policies:
        call(sandbox, "AttachPolicyToUser", UserName=name, PolicyType=kind, PolicyName=policy)
    created = call(sandbox, "CreateAccessKey", UserName=name)["AccessKey"]
    return AccessKey(id=created["AccessKeyId"], secret=created["AccessKeySecret"])


def _role(sandbox: Sandbox, principal: str, **fields: Any) -> str:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": [principal]}}
    trust = json.dumps({"Version": "1", "Statement": [statement]})
    created = call(sandbox, "CreateRole", RoleName="Deploy", AssumeRolePolicyDocument=trust, **fields)
    return str(created["Role"]["Arn"])


def test_the_policies_of_a_user_are_in_force(sandbox: Sandbox) -> None:
    """A policy is in force from attachment to detachment. A new user can only call GetCallerIdentity."""
    key = _user(sandbox)
    identity = call(sandbox, "GetCallerIdentity", key=key)
    assert (identity["IdentityType"], identity["Arn"]) == ("RAMUser", f"acs:ram::{sandbox.account_id}:user/ci")
    assert refusal(sandbox, "DescribeImages", key=key) == (403, "Forbidden.RAM")
    attachment: dict[str, Any] = {"UserName": "ci", "PolicyType": "System", "PolicyName": "AliyunECSReadOnlyAccess"}
    call(sandbox, "AttachPolicyToUser", **attachment)
    call(sandbox, "DescribeImages", key=key)
    assert refusal(sandbox, "DeleteImage", key=key, ImageId="m-1") == (403, "Forbidden.RAM")
    assert refusal(sandbox, "AttachPolicyToUser", **attachment) == (409, "EntityAlreadyExists.User.Policy")
    (policy,) = call(sandbox, "ListPoliciesForUser", UserName="ci")["Policies"]["Policy"]
    assert policy["PolicyName"] == "AliyunECSReadOnlyAccess"
    call(sandbox, "DetachPolicyFromUser", **attachment)
    assert refusal(sandbox, "DescribeImages", key=key) == (403, "Forbidden.RAM")
    assert refusal(sandbox, "DetachPolicyFromUser", **attachment) == (404, "EntityNotExist.User.Policy")


def test_a_user_has_keys(sandbox: Sandbox) -> None:
    """A user has at most two. An inactive key is refused, a deleted key is unknown."""
    key = _user(sandbox, "ci", ("Custom", _policy(sandbox)))
    call(sandbox, "CreateAccessKey", UserName="ci")
    assert refusal(sandbox, "CreateAccessKey", UserName="ci") == (409, "LimitExceeded.User.AccessKey")
    call(sandbox, "DescribeImages", key=key)
    named: dict[str, Any] = {"UserName": "ci", "UserAccessKeyId": key.id}
    call(sandbox, "UpdateAccessKey", **named, Status="Inactive")
    assert refusal(sandbox, "DescribeImages", key=key) == (403, "Forbidden.AccessKeyDisabled")
    shown = call(sandbox, "ListAccessKeys", UserName="ci")["AccessKeys"]["AccessKey"]
    assert [each["Status"] for each in shown] == ["Inactive", "Active"]
    assert all("AccessKeySecret" not in each for each in shown)
    call(sandbox, "DeleteAccessKey", **named)
    assert refusal(sandbox, "DescribeImages", key=key) == (404, "InvalidAccessKeyId.NotFound")
    assert refusal(sandbox, "DeleteAccessKey", **named) == (404, "EntityNotExist.User.AccessKey")


def _policy(sandbox: Sandbox, name: str = "describe") -> str:
    call(sandbox, "CreatePolicy", PolicyName=name, PolicyDocument=DESCRIBE)
    return name


def test_users_are_listed_and_deleted(sandbox: Sandbox) -> None:
    """Policies and keys must be removed first."""
    key = _user(sandbox, "ci", ("System", "AliyunOSSFullAccess"))
    call(sandbox, "CreateUser", UserName="ann", DisplayName="Ann")
    users = call(sandbox, "ListUsers")["Users"]["User"]
    assert [(user["UserName"], user["DisplayName"]) for user in users] == [("ann", "Ann"), ("ci", "ci")]
    assert refusal(sandbox, "DeleteUser", UserName="ci") == (409, "DeleteConflict.User.Policy")
    attachment: dict[str, Any] = {"UserName": "ci", "PolicyType": "System", "PolicyName": "AliyunOSSFullAccess"}
    call(sandbox, "DetachPolicyFromUser", **attachment)
    assert refusal(sandbox, "DeleteUser", UserName="ci") == (409, "DeleteConflict.User.AccessKey")
    call(sandbox, "DeleteAccessKey", UserName="ci", UserAccessKeyId=key.id)
    call(sandbox, "DeleteUser", UserName="ci")
    assert refusal(sandbox, "GetUser", UserName="ci") == (404, "EntityNotExist.User")
    assert refusal(sandbox, "CreateUser", UserName="ann") == (409, "EntityAlreadyExists.User")
    assert refusal(sandbox, "CreateUser", UserName="a b")[1] == "InvalidParameter.UserName.InvalidChars"


def test_the_default_version_of_a_policy_is_in_force(sandbox: Sandbox) -> None:
    """It applies to users with the policy. There are at most five versions, and the default cannot be deleted."""
    key = _user(sandbox, "ci", ("Custom", _policy(sandbox)))
    call(sandbox, "DescribeImages", key=key)
    created = call(sandbox, "CreatePolicyVersion", PolicyName="describe", PolicyDocument=NOTHING)["PolicyVersion"]
    assert (created["VersionId"], created["IsDefaultVersion"]) == ("v2", False)
    call(sandbox, "DescribeImages", key=key)
    call(sandbox, "SetDefaultPolicyVersion", PolicyName="describe", VersionId="v2")
    assert refusal(sandbox, "DescribeImages", key=key) == (403, "Forbidden.RAM")
    call(sandbox, "CreatePolicyVersion", PolicyName="describe", PolicyDocument=DESCRIBE, SetAsDefault="true")
    call(sandbox, "DescribeImages", key=key)
    named: dict[str, Any] = {"PolicyName": "describe", "PolicyType": "Custom"}
    got = call(sandbox, "GetPolicyVersion", **named, VersionId="v2")["PolicyVersion"]
    assert got["PolicyDocument"] == NOTHING
    assert call(sandbox, "GetPolicy", **named)["DefaultPolicyVersion"]["VersionId"] == "v3"
    for _ in range(2):
        call(sandbox, "CreatePolicyVersion", PolicyName="describe", PolicyDocument=DESCRIBE)
    parameters: dict[str, Any] = {"PolicyName": "describe", "PolicyDocument": DESCRIBE}
    assert refusal(sandbox, "CreatePolicyVersion", **parameters) == (409, "LimitExceeded.Policy.Version")
    versions = call(sandbox, "ListPolicyVersions", **named)["PolicyVersions"]["PolicyVersion"]
    assert [each["VersionId"] for each in versions] == ["v5", "v4", "v3", "v2", "v1"]
    parameters = {"PolicyName": "describe", "VersionId": "v3"}
    assert refusal(sandbox, "DeletePolicyVersion", **parameters) == (409, "DeleteConflict.PolicyVersion.Default")


def test_an_attached_policy_is_not_deleted(sandbox: Sandbox) -> None:
    """ListEntitiesForPolicy returns the users and roles with the policy."""
    _user(sandbox, "ci", ("Custom", _policy(sandbox)))
    _role(sandbox, f"acs:ram::{sandbox.account_id}:root")
    call(sandbox, "AttachPolicyToRole", RoleName="Deploy", PolicyType="Custom", PolicyName="describe")
    entities = call(sandbox, "ListEntitiesForPolicy", PolicyType="Custom", PolicyName="describe")
    assert [user["UserName"] for user in entities["Users"]["User"]] == ["ci"]
    assert [role["RoleName"] for role in entities["Roles"]["Role"]] == ["Deploy"]
    assert refusal(sandbox, "DeletePolicy", PolicyName="describe") == (409, "DeleteConflict.Policy.Entity")
    call(sandbox, "DetachPolicyFromRole", RoleName="Deploy", PolicyType="Custom", PolicyName="describe")
    call(sandbox, "DetachPolicyFromUser", UserName="ci", PolicyType="Custom", PolicyName="describe")
    call(sandbox, "CreatePolicyVersion", PolicyName="describe", PolicyDocument=DESCRIBE)
    assert refusal(sandbox, "DeletePolicy", PolicyName="describe") == (409, "DeleteConflict.Policy.Version")
    call(sandbox, "DeletePolicyVersion", PolicyName="describe", VersionId="v2")
    call(sandbox, "DeletePolicy", PolicyName="describe")
    assert refusal(sandbox, "GetPolicy", PolicyType="Custom", PolicyName="describe") == (404, "EntityNotExist.Policy")


def test_roles_and_policies_are_listed_in_pages(sandbox: Sandbox) -> None:
    """Each page has a marker for the next page."""
    for name in ("a", "b", "c"):
        call(sandbox, "CreatePolicy", PolicyName=name, PolicyDocument=DESCRIBE)
    first = call(sandbox, "ListPolicies", PolicyType="Custom", MaxItems=2)
    rest = call(sandbox, "ListPolicies", PolicyType="Custom", MaxItems=2, Marker=first["Marker"])
    assert [each["PolicyName"] for page in (first, rest) for each in page["Policies"]["Policy"]] == ["a", "b", "c"]
    assert (first["IsTruncated"], rest["IsTruncated"]) == (True, False)
    every = call(sandbox, "ListPolicies")["Policies"]["Policy"]
    assert {"AdministratorAccess", "a"} <= {each["PolicyName"] for each in every}
    _role(sandbox, "acs:ram::1000000000000000:root")
    assert [role["RoleName"] for role in call(sandbox, "ListRoles")["Roles"]["Role"]] == ["Deploy"]


def test_a_user_assumes_a_role(sandbox: Sandbox) -> None:
    """It gets a key with a token that has the role's permissions until it expires."""
    key = _user(sandbox, "ci", ("System", "AliyunSTSAssumeRoleAccess"))
    arn = _role(sandbox, f"acs:ram::{sandbox.account_id}:root")
    call(sandbox, "AttachPolicyToRole", RoleName="Deploy", PolicyType="Custom", PolicyName=_policy(sandbox))
    parameters: dict[str, Any] = {"RoleArn": arn, "RoleSessionName": "run-7", "DurationSeconds": 900}
    answer = call(sandbox, "AssumeRole", key=key, **parameters)
    credentials = answer["Credentials"]
    temporary = AccessKey(
        id=credentials["AccessKeyId"], secret=credentials["AccessKeySecret"], token=credentials["SecurityToken"]
    )
    identity = call(sandbox, "GetCallerIdentity", key=temporary)
    assert identity["Arn"] == f"acs:ram::{sandbox.account_id}:assumed-role/Deploy/run-7"
    assert answer["AssumedRoleUser"]["AssumedRoleId"] == identity["PrincipalId"]
    call(sandbox, "DescribeImages", key=temporary)
    assert refusal(sandbox, "DescribeTasks", key=temporary) == (403, "Forbidden.RAM")
    ends = datetime.strptime(credentials["Expiration"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    assert 890 < ends - sandbox.clock.now_s() <= 900
    sandbox.clock.advance(901)
    assert refusal(sandbox, "DescribeImages", key=temporary) == (400, "InvalidSecurityToken.Expired")


@pytest.fixture
def parameters(sandbox: Sandbox) -> dict[str, Any]:
    """Return the parameters of a call that assumes a role."""
    return {
        "key": _user(sandbox, "ci", ("System", "AliyunSTSAssumeRoleAccess")),
        "RoleArn": _role(sandbox, f"acs:ram::{sandbox.account_id}:root"),
        "RoleSessionName": "run",
    }


@each_row(
    ("fields", "expected"),
    [
        ({"RoleArn": "Deploy"}, (400, "InvalidParameter.RoleArn")),
        ({"RoleArn": "acs:ram::1000000000000000:role/None"}, (404, "EntityNotExist.Role")),
        ({"RoleSessionName": "a b"}, (400, "InvalidParameter.RoleSessionName")),
        ({"DurationSeconds": 899}, (400, "InvalidParameter.DurationSeconds")),
        ({"DurationSeconds": 3601}, (400, "InvalidParameter.DurationSeconds")),
        ({"Policy": "{}"}, (400, "InvalidParameter.PolicyGrammar")),
        ({"Policy": DESCRIBE + " " * 2048}, (400, "InvalidParameter.PolicySize")),
        ({"key": None}, (403, "NoPermission")),
    ],
)
def test_an_invalid_assume_role_call_is_refused(
    sandbox: Sandbox, parameters: dict[str, Any], fields: dict[str, Any], expected: tuple[int, str]
) -> None:
    """The answer is the code of the service. The account itself cannot assume a role."""
    assert refusal(sandbox, "AssumeRole", **{**parameters, **fields}) == expected


def test_a_session_policy_only_restricts(sandbox: Sandbox, oss: Oss) -> None:
    """A session has the permissions that both its role and its policy allow, for ECS and OSS."""
    key = _user(sandbox, "ci", ("System", "AliyunSTSAssumeRoleAccess"))
    arn = _role(sandbox, f"acs:ram::{sandbox.account_id}:root")
    for name in ("AliyunECSReadOnlyAccess", "AliyunOSSFullAccess"):
        call(sandbox, "AttachPolicyToRole", RoleName="Deploy", PolicyType="System", PolicyName=name)
    wider = {"Effect": "Allow", "Action": ["ecs:DescribeImages", "ecs:DeleteImage"], "Resource": "*"}
    policy = json.dumps({"Version": "1", "Statement": [wider]})
    answer = call(sandbox, "AssumeRole", key=key, RoleArn=arn, RoleSessionName="run", Policy=policy)["Credentials"]
    session = AccessKey(id=answer["AccessKeyId"], secret=answer["AccessKeySecret"], token=answer["SecurityToken"])
    call(sandbox, "DescribeImages", key=session)
    assert refusal(sandbox, "DescribeTasks", key=session) == (403, "Forbidden.RAM")
    assert refusal(sandbox, "DeleteImage", key=session, ImageId="m-1") == (403, "Forbidden.RAM")
    with refused() as denied:
        oss.bucket("session-disks", key=session).create_bucket()
    assert denied == (403, "AccessDenied")


@pytest.mark.parametrize(
    ("external_id", "expected"), [({"ExternalId": "partner-7"}, 200), ({"ExternalId": "other"}, 403), ({}, 403)]
)
def test_an_external_id_of_the_trust_policy_is_compared(
    sandbox: Sandbox, external_id: dict[str, str], expected: int
) -> None:
    """A call without it, or with another one, is refused."""
    key = _user(sandbox, "ci", ("System", "AliyunSTSAssumeRoleAccess"))
    statement = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"RAM": [f"acs:ram::{sandbox.account_id}:root"]},
        "Condition": {"StringEquals": {"sts:ExternalId": "partner-7"}},
    }
    trust = json.dumps({"Version": "1", "Statement": [statement]})
    arn = call(sandbox, "CreateRole", RoleName="Deploy", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    fields = {"Version": "2015-04-01", "RoleArn": arn, "RoleSessionName": "run", **external_id}
    assert send(sandbox, signed(sandbox, "AssumeRole", fields, key=key)).status == expected


@pytest.mark.parametrize(
    ("principal", "policy", "trusted"),
    [
        ("acs:ram::1000000000000000:user/ci", "AliyunSTSAssumeRoleAccess", True),
        ("acs:ram::1000000000000000:user/other", "AliyunSTSAssumeRoleAccess", False),
        ("acs:ram::2000000000000000:root", "AliyunSTSAssumeRoleAccess", False),
        ("acs:ram::1000000000000000:root", "AliyunOSSFullAccess", False),
    ],
)
def test_assuming_a_role_needs_trust_and_permission(
    sandbox: Sandbox, principal: str, policy: str, trusted: bool
) -> None:
    """The role must trust the user, and the user needs the permission to assume roles."""
    key = _user(sandbox, "ci", ("System", policy))
    parameters: dict[str, Any] = {"RoleArn": _role(sandbox, principal), "RoleSessionName": "run"}
    if trusted:
        call(sandbox, "AssumeRole", key=key, **parameters)
    else:
        assert refusal(sandbox, "AssumeRole", key=key, **parameters) == (403, "NoPermission")
