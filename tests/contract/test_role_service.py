"""Contract of RoleService and Identity."""

import json

import pytest

from aliyun_import.errors import RefusedError
from aliyun_import.model.roles import Policy
from tests.contract.conftest import Cloud

NAME = "AliyunECSImageImportDefaultRole"
SYSTEM = Policy(name="AliyunECSImageImportRolePolicy", type="System")
TRUST = json.dumps(
    {
        "Statement": [{"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": {"Service": ["ecs.aliyuncs.com"]}}],
        "Version": "1",
    }
)


def test_whoami_returns_account_id_and_arn(cloud: Cloud) -> None:
    """The ARN contains the account id."""
    caller = cloud.identity.whoami()
    assert caller.account_id.isdigit()
    assert caller.account_id in caller.arn


def test_a_missing_role_is_none(cloud: Cloud) -> None:
    """It is no error."""
    assert cloud.roles.role("aliyun-import-contract-nobody") is None


def test_the_system_policy_can_be_read(cloud: Cloud) -> None:
    """Its document permits to read objects."""
    document = json.loads(cloud.roles.policy_document(SYSTEM))
    actions = [action for statement in document["Statement"] for action in statement["Action"]]
    assert "oss:GetObject" in actions


def test_a_role_is_created_and_read(cloud: Cloud) -> None:
    """A second creation is "role-exists"; the trust policy can be replaced and policies attached."""
    if cloud.is_real:
        pytest.skip("makes a role")
    roles = cloud.roles
    made = roles.create_role(NAME, trust_policy=TRUST, description="permits ECS to read disks")
    assert roles.role(NAME) == made
    assert (made.name, json.loads(made.trust_policy)) == (NAME, json.loads(TRUST))
    assert made.arn.lower().endswith(f":role/{NAME}".lower())
    with pytest.raises(RefusedError) as caught:
        roles.create_role(NAME, trust_policy=TRUST, description="again")
    assert caught.value.code == "role-exists"
    assert roles.attached_policies(NAME) == ()
    roles.attach_policy(SYSTEM, role_name=NAME)
    roles.attach_policy(SYSTEM, role_name=NAME)
    assert roles.attached_policies(NAME) == (SYSTEM,)
    other = TRUST.replace("ecs.aliyuncs.com", "oss.aliyuncs.com")
    roles.update_trust_policy(NAME, trust_policy=other)
    changed = roles.role(NAME)
    assert changed is not None
    assert json.loads(changed.trust_policy) == json.loads(other)
