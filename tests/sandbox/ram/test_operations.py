"""Tests of roles and policies, through the vendor's SDK."""

import json
from typing import Any

import pytest
from aliyunsdkcore.acs_exception.exceptions import ServerException

from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.ram import operations as ram
from aliyun_import.sandbox.ram.policies import MAX_POLICIES
from aliyun_import.sandbox.ram.state import Policy, Ram, Role
from aliyun_import.sandbox.server import Sandbox
from tests.rows import each_row
from tests.sandbox.prepared import POLICY, ROLE, TRUST, make_role
from tests.sandbox.vendor_sdk import call, refusal

DOCUMENT = json.dumps({"Version": "1", "Statement": [{"Effect": "Allow", "Action": "oss:GetObject", "Resource": "*"}]})


@pytest.fixture
def with_role(sandbox: Sandbox) -> Sandbox:
    """Return a sandbox with the role of imports."""
    make_role(sandbox)
    return sandbox


def _attach(sandbox: Sandbox, name: str, kind: str = "System") -> None:
    call(sandbox, "AttachPolicyToRole", RoleName=ROLE, PolicyName=name, PolicyType=kind)


def test_a_role_is_returned_as_created(sandbox: Sandbox) -> None:
    """CreateRole and GetRole return the same role; the trust policy is the text of the request."""
    created = call(sandbox, "CreateRole", RoleName=ROLE, AssumeRolePolicyDocument=TRUST, Description="why")["Role"]
    assert created == call(sandbox, "GetRole", RoleName=ROLE)["Role"]
    assert created["AssumeRolePolicyDocument"] == TRUST
    assert created["Arn"] == f"acs:ram::{sandbox.account_id}:role/{ROLE}"
    assert (created["Description"], created["MaxSessionDuration"]) == ("why", 3600)


def test_an_update_changes_only_the_given_fields(sandbox: Sandbox) -> None:
    """A new trust policy does not change the description, and vice versa."""
    call(sandbox, "CreateRole", RoleName=ROLE, AssumeRolePolicyDocument=TRUST, Description="why")
    other = TRUST.replace("ecs.", "rds.")
    sandbox.clock.advance(60)
    role = call(sandbox, "UpdateRole", RoleName=ROLE, NewAssumeRolePolicyDocument=other)["Role"]
    assert (role["AssumeRolePolicyDocument"], role["Description"]) == (other, "why")
    assert role["UpdateDate"] > role["CreateDate"]
    role = call(sandbox, "UpdateRole", RoleName=ROLE, NewDescription="because", NewMaxSessionDuration=7200)["Role"]
    assert (role["AssumeRolePolicyDocument"], role["Description"]) == (other, "because")
    assert role["MaxSessionDuration"] == 7200


def test_attached_policies_are_listed(sandbox: Sandbox) -> None:
    """System and custom policies are in the order of attachment."""
    make_role(sandbox)
    call(sandbox, "CreatePolicy", PolicyName="narrow", PolicyDocument=DOCUMENT, Description="one bucket")
    _attach(sandbox, "narrow", "Custom")
    listed = call(sandbox, "ListPoliciesForRole", RoleName=ROLE)["Policies"]["Policy"]
    assert [(each["PolicyName"], each["PolicyType"]) for each in listed] == [(POLICY, "System"), ("narrow", "Custom")]
    assert listed[1]["Description"] == "one bucket"
    call(sandbox, "DetachPolicyFromRole", RoleName=ROLE, PolicyName=POLICY, PolicyType="System")
    listed = call(sandbox, "ListPoliciesForRole", RoleName=ROLE)["Policies"]["Policy"]
    assert [each["PolicyName"] for each in listed] == ["narrow"]


def test_a_policy_is_returned_with_its_document(sandbox: Sandbox) -> None:
    """This applies to system and custom policies."""
    make_role(sandbox)
    shown = call(sandbox, "GetPolicy", PolicyType="System", PolicyName=POLICY)
    assert shown["Policy"]["AttachmentCount"] == 1
    actions = json.loads(shown["DefaultPolicyVersion"]["PolicyDocument"])["Statement"][0]["Action"]
    assert actions == ["oss:GetObject", "oss:GetBucketLocation", "oss:GetBucketInfo"]
    created = call(sandbox, "CreatePolicy", PolicyName="narrow", PolicyDocument=DOCUMENT)["Policy"]
    assert (created["PolicyType"], created["DefaultVersion"]) == ("Custom", "v1")
    shown = call(sandbox, "GetPolicy", PolicyType="Custom", PolicyName="narrow")
    assert shown["DefaultPolicyVersion"]["PolicyDocument"] == DOCUMENT


@each_row(
    ("action", "fields", "expected"),
    [
        ("GetRole", {"RoleName": "x"}, (404, "EntityNotExist.Role")),
        ("GetRole", {}, (400, "MissingParameter")),
        ("UpdateRole", {"RoleName": "x"}, (404, "EntityNotExist.Role")),
        ("DeleteRole", {"RoleName": "x"}, (404, "EntityNotExist.Role")),
        ("DeleteRole", {"RoleName": ROLE}, (409, "DeleteConflict.Role.Policy")),
        ("ListPoliciesForRole", {"RoleName": "x"}, (404, "EntityNotExist.Role")),
        ("CreateRole", {"RoleName": ROLE, "AssumeRolePolicyDocument": TRUST}, (409, "EntityAlreadyExists.Role")),
        ("CreateRole", {"RoleName": "x", "AssumeRolePolicyDocument": "{}"}, (400, "MalformedPolicyDocument")),
        ("CreateRole", {"RoleName": "x"}, (400, "MissingParameter")),
        (
            "CreateRole",
            {"RoleName": "a b", "AssumeRolePolicyDocument": TRUST},
            (400, "InvalidParameter.RoleName.InvalidChars"),
        ),
        (
            "CreateRole",
            {"RoleName": "x" * 65, "AssumeRolePolicyDocument": TRUST},
            (400, "InvalidParameter.RoleName.Length"),
        ),
        (
            "CreateRole",
            {"RoleName": "x", "AssumeRolePolicyDocument": TRUST, "Description": "x" * 1025},
            (400, "InvalidParameter.Description.Length"),
        ),
        (
            "CreateRole",
            {"RoleName": "x", "AssumeRolePolicyDocument": TRUST, "MaxSessionDuration": 60},
            (400, "InvalidParameter.MaxSessionDuration"),
        ),
        (
            "UpdateRole",
            {"RoleName": ROLE, "NewAssumeRolePolicyDocument": "{}"},
            (400, "MalformedPolicyDocument"),
        ),
        (
            "AttachPolicyToRole",
            {"RoleName": ROLE, "PolicyName": POLICY, "PolicyType": "System"},
            (409, "EntityAlreadyExists.Role.Policy"),
        ),
        (
            "AttachPolicyToRole",
            {"RoleName": ROLE, "PolicyName": POLICY, "PolicyType": "Custom"},
            (404, "EntityNotExist.Policy"),
        ),
        (
            "AttachPolicyToRole",
            {"RoleName": "x", "PolicyName": POLICY, "PolicyType": "System"},
            (404, "EntityNotExist.Role"),
        ),
        (
            "AttachPolicyToRole",
            {"RoleName": ROLE, "PolicyName": POLICY, "PolicyType": "Mine"},
            (400, "InvalidParameter.PolicyType"),
        ),
        (
            "DetachPolicyFromRole",
            {"RoleName": ROLE, "PolicyName": "AdministratorAccess", "PolicyType": "System"},
            (404, "EntityNotExist.Role.Policy"),
        ),
        ("GetPolicy", {"PolicyType": "System", "PolicyName": "x"}, (404, "EntityNotExist.Policy")),
        ("CreatePolicy", {"PolicyName": "x", "PolicyDocument": "{}"}, (400, "MalformedPolicyDocument")),
        (
            "CreatePolicy",
            {"PolicyName": "a_b", "PolicyDocument": DOCUMENT},
            (400, "InvalidParameter.PolicyName.InvalidChars"),
        ),
        (
            "CreatePolicy",
            {"PolicyName": "x", "PolicyDocument": " " * 6145},
            (400, "InvalidParameter.PolicyDocument.Length"),
        ),
    ],
)
def test_an_invalid_call_is_refused(
    with_role: Sandbox, action: str, fields: dict[str, Any], expected: tuple[int, str]
) -> None:
    """Each mistake has its code, and the role is not changed."""
    before = call(with_role, "GetRole", RoleName=ROLE)["Role"]
    assert refusal(with_role, action, **fields) == expected
    assert call(with_role, "GetRole", RoleName=ROLE)["Role"] == before


def test_the_error_for_a_missing_role_has_its_name(sandbox: Sandbox) -> None:
    """The name is in the message."""
    with pytest.raises(ServerException, match="no-such-role"):
        call(sandbox, "GetRole", RoleName="no-such-role")


def test_names_of_policies_are_unique(sandbox: Sandbox) -> None:
    """A second policy with the same name is refused."""
    call(sandbox, "CreatePolicy", PolicyName="x", PolicyDocument=DOCUMENT)
    assert refusal(sandbox, "CreatePolicy", PolicyName="x", PolicyDocument=DOCUMENT)[1] == "EntityAlreadyExists.Policy"


def test_a_role_has_at_most_five_custom_policies(sandbox: Sandbox) -> None:
    """The sixth is refused."""
    make_role(sandbox)
    for number in range(6):
        call(sandbox, "CreatePolicy", PolicyName=f"p{number}", PolicyDocument=DOCUMENT)
    for number in range(5):
        _attach(sandbox, f"p{number}", "Custom")
    fields: dict[str, Any] = {"RoleName": ROLE, "PolicyName": "p5", "PolicyType": "Custom"}
    assert refusal(sandbox, "AttachPolicyToRole", **fields) == (409, "LimitExceeded.Role.Policy")


def test_the_numbers_of_roles_and_policies_are_limited(sandbox: Sandbox) -> None:
    """An account has at most MAX_ROLES roles and MAX_POLICIES policies."""
    roles, account_id = sandbox.state.part(Ram), sandbox.account_id
    for number in range(ram.MAX_ROLES):
        name = f"r{number}"
        role = Role(id=name, name=name, arn=name, trust=TRUST, description="", created_s=0, updated_s=0)
        roles.save_role(account_id, role)
    for number in range(MAX_POLICIES):
        roles.save_policy(account_id, Policy(name=f"p{number}", kind="Custom", document=DOCUMENT))
    assert refusal(sandbox, "CreateRole", RoleName="last", AssumeRolePolicyDocument=TRUST)[1] == "LimitExceeded.Role"
    assert refusal(sandbox, "CreatePolicy", PolicyName="last", PolicyDocument=DOCUMENT)[1] == "LimitExceeded.Policy"


def test_a_role_without_policies_can_be_deleted(sandbox: Sandbox) -> None:
    """The role does not exist afterwards."""
    call(sandbox, "CreateRole", RoleName=ROLE, AssumeRolePolicyDocument=TRUST)
    call(sandbox, "DeleteRole", RoleName=ROLE)
    assert refusal(sandbox, "GetRole", RoleName=ROLE) == (404, "EntityNotExist.Role")


def test_a_role_belongs_to_one_account(sandbox: Sandbox) -> None:
    """Another account cannot find the role."""
    make_role(sandbox)
    other = sandbox.state.add_key(AccessKey(id="OTHER", secret="x", account_id="2000000000000000"))
    assert refusal(sandbox, "GetRole", key=other, RoleName=ROLE) == (404, "EntityNotExist.Role")


def test_a_change_is_propagated_to_ecs_after_a_delay(sandbox: Sandbox) -> None:
    """This applies to a new role, an attached policy, a changed trust policy, and a deletion."""
    sandbox.state.configure(role_propagation_s=40.0)
    account_id, roles = sandbox.account_id, sandbox.state.part(Ram)
    call(sandbox, "CreateRole", RoleName=ROLE, AssumeRolePolicyDocument=TRUST)
    assert roles.propagated_role(account_id, ROLE) is None
    sandbox.clock.advance(41)
    _attach(sandbox, POLICY)
    propagated = roles.propagated_role(account_id, ROLE)
    assert propagated is not None
    assert propagated.policies == ()
    sandbox.clock.advance(41)
    call(sandbox, "UpdateRole", RoleName=ROLE, NewAssumeRolePolicyDocument=TRUST.replace("ecs.", "rds."))
    propagated = roles.propagated_role(account_id, ROLE)
    assert propagated is not None
    assert (len(propagated.policies), propagated.trust) == (1, TRUST)
    sandbox.clock.advance(41)
    call(sandbox, "DetachPolicyFromRole", RoleName=ROLE, PolicyName=POLICY, PolicyType="System")
    call(sandbox, "DeleteRole", RoleName=ROLE)
    propagated = roles.propagated_role(account_id, ROLE)
    assert propagated is not None
    assert "rds." in propagated.trust
    sandbox.clock.advance(41)
    assert roles.propagated_role(account_id, ROLE) is None


def test_a_recreated_role_has_another_id(sandbox: Sandbox) -> None:
    """The name does not identify a role over time."""
    ids = set()
    for _ in range(2):
        role = call(sandbox, "CreateRole", RoleName="again", AssumeRolePolicyDocument=TRUST)["Role"]
        ids.add(role["RoleId"])
        assert call(sandbox, "GetRole", RoleName="again")["Role"]["RoleId"] == role["RoleId"]
        call(sandbox, "DeleteRole", RoleName="again")
    assert len(ids) == 2
