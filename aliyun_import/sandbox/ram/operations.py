"""Tables of the operations of RAM, IMS and STS, and the operations on roles."""

from collections.abc import Callable
from dataclasses import replace

from aliyun_import.sandbox.auth.policies import check_trust_policy
from aliyun_import.sandbox.core.http_types import Operation
from aliyun_import.sandbox.core.rpc import RpcCall, RpcOperation, RpcService, Value, utc_seconds
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.ram import oidc, policies, sts, users
from aliyun_import.sandbox.ram.fields import (
    attach,
    description_of,
    detach,
    name_of,
    new_id,
    paged,
    policy_of,
    session_of,
    shown_attached,
)
from aliyun_import.sandbox.ram.state import Ram, Role, by_name

# "Limits" in the documents of RAM, 2021; the present limits may be higher.
MAX_ROLES = 100


def get_role(call: RpcCall) -> dict[str, Value]:
    """GetRole."""
    return {"Role": _role_fields(_role(call))}


def create_role(call: RpcCall) -> dict[str, Value]:
    """CreateRole: create a role with a trust policy and without permissions."""
    ram, account_id = call.state.part(Ram), call.account_id
    name = name_of(call, "RoleName", pattern=r"[A-Za-z0-9.@-]+", max_chars=64)
    trust = call.required("AssumeRolePolicyDocument")
    check_trust_policy(trust)
    description, max_session_s = description_of(call, "Description"), session_of(call, "MaxSessionDuration", 3600)
    if ram.find_role(account_id, name) is not None:
        raise Refusal("EntityAlreadyExists.Role")
    if len(by_name(ram.roles, account_id)) >= MAX_ROLES:
        raise Refusal("LimitExceeded.Role")
    now_s = call.state.clock.now_s()
    role = Role(
        id=new_id(),
        name=name,
        arn=f"acs:ram::{account_id}:role/{name}",
        trust=trust,
        description=description,
        created_s=now_s,
        updated_s=now_s,
        max_session_s=max_session_s,
    )
    ram.save_role(account_id, role)
    return {"Role": _role_fields(role)}


def list_roles(call: RpcCall) -> dict[str, Value]:
    """ListRoles."""
    return paged(call, "Roles", "Role", by_name(call.state.part(Ram).roles, call.account_id), _role_fields)


def update_role(call: RpcCall) -> dict[str, Value]:
    """UpdateRole: change trust policy, description and maximum session duration, as given."""
    role = _role(call)
    trust = call.get("NewAssumeRolePolicyDocument", role.trust)
    check_trust_policy(trust)
    description = description_of(call, "NewDescription")
    role = replace(
        role,
        max_session_s=session_of(call, "NewMaxSessionDuration", role.max_session_s),
        description=description if "NewDescription" in call.parameters else role.description,
        trust=trust,
        updated_s=call.state.clock.now_s(),
    )
    call.state.part(Ram).save_role(call.account_id, role)
    return {"Role": _role_fields(role)}


def delete_role(call: RpcCall) -> dict[str, Value]:
    """DeleteRole: delete a role. Refuses one with attached policies."""
    role = _role(call)
    if role.attached:
        raise Refusal("DeleteConflict.Role.Policy")
    call.state.part(Ram).remove_role(call.account_id, role.name)
    return {}


def list_policies_for_role(call: RpcCall) -> dict[str, Value]:
    """ListPoliciesForRole."""
    return shown_attached(call, _role(call))


def attach_policy_to_role(call: RpcCall) -> dict[str, Value]:
    """AttachPolicyToRole."""
    policy = policy_of(call)
    return attach(call, _role(call), policy)


def detach_policy_from_role(call: RpcCall) -> dict[str, Value]:
    """DetachPolicyFromRole."""
    policy = policy_of(call)
    return detach(call, _role(call), policy)


def _role(call: RpcCall) -> Role:
    return call.state.part(Ram).role(call.account_id, call.required("RoleName"))


def _role_fields(role: Role) -> dict[str, Value]:
    return {
        "RoleId": role.id,
        "RoleName": role.name,
        "Arn": role.arn,
        "Description": role.description,
        "AssumeRolePolicyDocument": role.trust,
        "CreateDate": utc_seconds(role.created_s),
        "UpdateDate": utc_seconds(role.updated_s),
        "MaxSessionDuration": role.max_session_s,
    }


def _row(name: str, do: Callable[[RpcCall], dict[str, Value]], *params: str) -> RpcOperation:
    return Operation(name=name, action=f"ram:{name}", params=params, do=do)


RAM = RpcService(
    name="ram",
    version="2015-05-01",
    no_permission="NoPermission",
    operations=(
        _row("GetRole", get_role, "RoleName"),
        _row("ListRoles", list_roles, "Marker", "MaxItems"),
        _row("CreateRole", create_role, "RoleName", "AssumeRolePolicyDocument", "Description", "MaxSessionDuration"),
        _row("UpdateRole", update_role, "RoleName", "NewAssumeRolePolicyDocument", "NewDescription",
             "NewMaxSessionDuration"),
        _row("DeleteRole", delete_role, "RoleName"),
        _row("ListPoliciesForRole", list_policies_for_role, "RoleName"),
        _row("AttachPolicyToRole", attach_policy_to_role, "RoleName", "PolicyType", "PolicyName"),
        _row("DetachPolicyFromRole", detach_policy_from_role, "RoleName", "PolicyType", "PolicyName"),
        _row("CreatePolicy", policies.create_policy, "PolicyName", "PolicyDocument", "Description"),
        _row("GetPolicy", policies.get_policy, "PolicyType", "PolicyName"),
        _row("ListPolicies", policies.list_policies, "PolicyType", "Marker", "MaxItems"),
        _row("DeletePolicy", policies.delete_policy, "PolicyName"),
        _row("ListEntitiesForPolicy", policies.list_entities_for_policy, "PolicyType", "PolicyName"),
        _row("CreatePolicyVersion", policies.create_policy_version, "PolicyName", "PolicyDocument", "SetAsDefault"),
        _row("GetPolicyVersion", policies.get_policy_version, "PolicyType", "PolicyName", "VersionId"),
        _row("ListPolicyVersions", policies.list_policy_versions, "PolicyType", "PolicyName"),
        _row("SetDefaultPolicyVersion", policies.set_default_policy_version, "PolicyName", "VersionId"),
        _row("DeletePolicyVersion", policies.delete_policy_version, "PolicyName", "VersionId"),
        _row("CreateUser", users.create_user, "UserName", "DisplayName", "Comments"),
        _row("GetUser", users.get_user, "UserName"),
        _row("ListUsers", users.list_users, "Marker", "MaxItems"),
        _row("DeleteUser", users.delete_user, "UserName"),
        _row("ListPoliciesForUser", users.list_policies_for_user, "UserName"),
        _row("AttachPolicyToUser", users.attach_policy_to_user, "UserName", "PolicyType", "PolicyName"),
        _row("DetachPolicyFromUser", users.detach_policy_from_user, "UserName", "PolicyType", "PolicyName"),
        _row("CreateAccessKey", users.create_access_key, "UserName"),
        _row("ListAccessKeys", users.list_access_keys, "UserName"),
        _row("UpdateAccessKey", users.update_access_key, "UserName", "UserAccessKeyId", "Status"),
        _row("DeleteAccessKey", users.delete_access_key, "UserName", "UserAccessKeyId"),
    ),
)  # fmt: skip
# Identity Management Service: the API of the RAM console for OIDC providers, with actions of RAM.
IMS = RpcService(
    name="ims",
    version="2019-08-15",
    no_permission="NoPermission",
    operations=(
        _row("CreateOIDCProvider", oidc.create_oidc_provider, "OIDCProviderName", "IssuerUrl", "ClientIds",
             "Fingerprints", "IssuanceLimitTime", "Description"),
        _row("GetOIDCProvider", oidc.get_oidc_provider, "OIDCProviderName"),
        _row("ListOIDCProviders", oidc.list_oidc_providers, "Marker", "MaxItems"),
        _row("DeleteOIDCProvider", oidc.delete_oidc_provider, "OIDCProviderName"),
    ),
)  # fmt: skip
STS = RpcService(
    name="sts",
    version="2015-04-01",
    no_permission="NoPermission",
    operations=(
        # STS, "GetCallerIdentity": needs no permission.
        Operation(name="GetCallerIdentity", action="", do=sts.get_caller_identity),
        Operation(name="AssumeRole", action="sts:AssumeRole", do=sts.assume_role,
                  params=("RoleArn", "RoleSessionName", "DurationSeconds", "Policy", "ExternalId")),
        Operation(name="AssumeRoleWithOIDC", action="", anonymous=True, do=sts.assume_role_with_oidc,
                  params=("OIDCProviderArn", "OIDCToken", "RoleArn", "RoleSessionName", "DurationSeconds", "Policy")),
    ),
)  # fmt: skip
