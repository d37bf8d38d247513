"""Tests of GetCallerIdentity."""

import pytest

from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.server import Sandbox
from tests.sandbox.vendor_sdk import call


@pytest.mark.parametrize(
    ("principal", "kind", "fields"),
    [
        ("root", "Account", {"UserId"}),
        ("user/alice", "RAMUser", {"UserId"}),
        ("assumed-role/builder/session", "AssumedRoleUser", {"RoleId"}),
    ],
)
def test_a_key_identifies_its_principal(sandbox: Sandbox, principal: str, kind: str, fields: set[str]) -> None:
    """The principal is an account, a user or an assumed role, with its ARN."""
    key = sandbox.state.add_key(AccessKey(id="K", secret="s", account_id="2000000000000000", principal=principal))
    identity = call(sandbox, "GetCallerIdentity", key=key)
    assert identity["AccountId"] == "2000000000000000"
    assert identity["Arn"] == f"acs:ram::2000000000000000:{principal}"
    assert identity["IdentityType"] == kind
    assert identity.keys() == {"RequestId", "AccountId", "Arn", "IdentityType", "PrincipalId"} | fields
