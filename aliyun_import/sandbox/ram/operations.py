"""RAM and STS: their tables of operations, roles, policies and attachments, and the identity of the caller."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

from aliyun_import.sandbox.auth.policies import check_policy, check_trust_policy
from aliyun_import.sandbox.core.http_types import Operation
from aliyun_import.sandbox.core.rpc import RpcCall, RpcOperation, RpcService, Value, utc_seconds
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.ram.state import Policy, Ram, Role

# RAM's documents of 2021, "Limits"; today's numbers may be higher.
MAX_ROLES = 100
MAX_POLICIES = 200
MAX_ATTACHED = MappingProxyType({"System": 20, "Custom": 5})
MAX_POLICY_CHARS = 6144
MAX_DESCRIPTION_CHARS = 1024


def get_role(call: RpcCall) -> dict[str, Value]:
    """GetRole."""
    return {"Role": _role_fields(call.state.part(Ram).role(call.account_id, call.required("RoleName")))}


def create_role(call: RpcCall) -> dict[str, Value]:
    """CreateRole: create a role with its trust policy and without permissions."""
    ram, account_id = call.state.part(Ram), call.account_id
    name = _name(call, "RoleName", pattern=r"[A-Za-z0-9.@-]+", max_chars=64)
    trust = call.required("AssumeRolePolicyDocument")
    check_trust_policy(trust)
    description, max_session_s = _description(call, "Description"), _session(call, "MaxSessionDuration", 3600)
    if ram.find_role(account_id, name) is not None:
        raise Refusal("EntityAlreadyExists.Role")
    if ram.count_roles(account_id) >= MAX_ROLES:
        raise Refusal("LimitExceeded.Role")
    now_s = call.state.clock.now_s()
    role = Role(
        id=number_of(account_id, "role", name),
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


def update_role(call: RpcCall) -> dict[str, Value]:
    """UpdateRole: change the given ones of trust policy, description and longest session."""
    ram = call.state.part(Ram)
    role = ram.role(call.account_id, call.required("RoleName"))
    trust = call.get("NewAssumeRolePolicyDocument", role.trust)
    check_trust_policy(trust)
    description = _description(call, "NewDescription")
    role = replace(
        role,
        max_session_s=_session(call, "NewMaxSessionDuration", role.max_session_s),
        description=description if "NewDescription" in call.parameters else role.description,
        trust=trust,
        updated_s=call.state.clock.now_s(),
    )
    ram.save_role(call.account_id, role)
    return {"Role": _role_fields(role)}


def delete_role(call: RpcCall) -> dict[str, Value]:
    """DeleteRole: remove a role without attached policies."""
    ram = call.state.part(Ram)
    role = ram.role(call.account_id, call.required("RoleName"))
    if role.attached:
        raise Refusal("DeleteConflict.Role.Policy")
    ram.remove_role(call.account_id, role.name)
    return {}


def list_policies_for_role(call: RpcCall) -> dict[str, Value]:
    """ListPoliciesForRole."""
    ram = call.state.part(Ram)
    role = ram.role(call.account_id, call.required("RoleName"))
    policies: list[Value] = []
    for (kind, name), attached_s in role.attached.items():
        description = ram.policy(call.account_id, kind, name).description
        policies.append(
            {
                "PolicyName": name,
                "PolicyType": kind,
                "Description": description,
                "DefaultVersion": "v1",
                "AttachDate": utc_seconds(attached_s),
            }
        )
    return {"Policies": {"Policy": policies}}


def attach_policy_to_role(call: RpcCall) -> dict[str, Value]:
    """AttachPolicyToRole."""
    ram, account_id = call.state.part(Ram), call.account_id
    kind = _kind(call)
    policy = ram.policy(account_id, kind, call.required("PolicyName"))
    role = ram.role(account_id, call.required("RoleName"))
    if (kind, policy.name) in role.attached:
        raise Refusal("EntityAlreadyExists.Role.Policy")
    if sum(1 for attached, _ in role.attached if attached == kind) >= MAX_ATTACHED[kind]:
        raise Refusal("LimitExceeded.Role.Policy")
    attached = {**role.attached, (kind, policy.name): call.state.clock.now_s()}
    ram.save_role(account_id, replace(role, attached=attached))
    return {}


def detach_policy_from_role(call: RpcCall) -> dict[str, Value]:
    """DetachPolicyFromRole."""
    ram, account_id = call.state.part(Ram), call.account_id
    kind = _kind(call)
    policy = ram.policy(account_id, kind, call.required("PolicyName"))
    role = ram.role(account_id, call.required("RoleName"))
    if (kind, policy.name) not in role.attached:
        raise Refusal("EntityNotExist.Role.Policy", policy.name)
    kept = {name: at_s for name, at_s in role.attached.items() if name != (kind, policy.name)}
    ram.save_role(account_id, replace(role, attached=kept))
    return {}


def create_policy(call: RpcCall) -> dict[str, Value]:
    """CreatePolicy: create a custom policy."""
    ram, account_id = call.state.part(Ram), call.account_id
    name = _name(call, "PolicyName", pattern=r"[A-Za-z0-9-]+", max_chars=128)
    document = call.required("PolicyDocument")
    if len(document) > MAX_POLICY_CHARS:
        raise Refusal("InvalidParameter.PolicyDocument.Length")
    check_policy(document)
    description = _description(call, "Description")
    if ram.find_policy(account_id, "Custom", name) is not None:
        raise Refusal("EntityAlreadyExists.Policy")
    if ram.count_policies(account_id) >= MAX_POLICIES:
        raise Refusal("LimitExceeded.Policy")
    now_s = call.state.clock.now_s()
    policy = Policy(name=name, kind="Custom", document=document, description=description, created_s=now_s)
    ram.save_policy(account_id, policy)
    return {"Policy": _policy_fields(policy)}


def get_policy(call: RpcCall) -> dict[str, Value]:
    """GetPolicy: the policy with the document of its default version."""
    ram = call.state.part(Ram)
    policy = ram.policy(call.account_id, _kind(call), call.required("PolicyName"))
    created = utc_seconds(policy.created_s)
    attachments = ram.count_attachments(call.account_id, policy)
    return {
        "Policy": _policy_fields(policy) | {"UpdateDate": created, "AttachmentCount": attachments},
        "DefaultPolicyVersion": {
            "VersionId": "v1",
            "IsDefaultVersion": True,
            "PolicyDocument": policy.document,
            "CreateDate": created,
        },
    }


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


def _policy_fields(policy: Policy) -> dict[str, Value]:
    return {
        "PolicyName": policy.name,
        "PolicyType": policy.kind,
        "Description": policy.description,
        "DefaultVersion": "v1",
        "CreateDate": utc_seconds(policy.created_s),
    }


def _name(call: RpcCall, parameter: str, *, pattern: str, max_chars: int) -> str:
    name = call.required(parameter)
    if len(name) > max_chars:
        raise Refusal(f"InvalidParameter.{parameter}.Length")
    if not re.fullmatch(pattern, name):
        raise Refusal(f"InvalidParameter.{parameter}.InvalidChars")
    return name


def _description(call: RpcCall, parameter: str) -> str:
    text = call.get(parameter)
    if len(text) > MAX_DESCRIPTION_CHARS:
        raise Refusal("InvalidParameter.Description.Length")
    return text


def _session(call: RpcCall, parameter: str, default: int) -> int:
    text = call.get(parameter)
    if text and not (text.isdecimal() and 3600 <= int(text) <= 43200):
        raise Refusal("InvalidParameter.MaxSessionDuration")
    return int(text) if text else default


def _kind(call: RpcCall) -> str:
    kind = call.required("PolicyType")
    if kind not in MAX_ATTACHED:
        raise Refusal("InvalidParameter.PolicyType")
    return kind


def number_of(*names: str) -> str:
    """Return a stable id of 18 digits made from names. Three leading zeros distinguish it from real ids."""
    digest = hashlib.sha256("\n".join(names).encode()).digest()
    return f"000{int.from_bytes(digest[:8], 'big') % 10**15:015d}"


def get_caller_identity(call: RpcCall) -> dict[str, Value]:
    """GetCallerIdentity: the principal of the key; takes no parameter and needs no permission."""
    account_id, principal = call.account_id, call.key.principal
    kind, _, name = principal.partition("/")
    answer: dict[str, Value] = {"AccountId": account_id, "Arn": f"acs:ram::{account_id}:{principal}"}
    if kind == "user":
        user_id = number_of(account_id, principal)
        return answer | {"IdentityType": "RAMUser", "UserId": user_id, "PrincipalId": user_id}
    if kind == "assumed-role":
        role, _, session = name.partition("/")
        role_id = number_of(account_id, "role", role)
        return answer | {"IdentityType": "AssumedRoleUser", "RoleId": role_id, "PrincipalId": f"{role_id}:{session}"}
    return answer | {"IdentityType": "Account", "UserId": account_id, "PrincipalId": account_id}


def _row(name: str, do: Callable[[RpcCall], dict[str, Value]], *params: str) -> RpcOperation:
    return Operation(name=name, action=f"ram:{name}", params=params, do=do)


RAM = RpcService(
    name="ram",
    version="2015-05-01",
    no_permission="NoPermission",
    operations=(
        _row("GetRole", get_role, "RoleName"),
        _row("CreateRole", create_role, "RoleName", "AssumeRolePolicyDocument", "Description", "MaxSessionDuration"),
        _row("UpdateRole", update_role, "RoleName", "NewAssumeRolePolicyDocument", "NewDescription",
             "NewMaxSessionDuration"),
        _row("DeleteRole", delete_role, "RoleName"),
        _row("ListPoliciesForRole", list_policies_for_role, "RoleName"),
        _row("AttachPolicyToRole", attach_policy_to_role, "RoleName", "PolicyType", "PolicyName"),
        _row("DetachPolicyFromRole", detach_policy_from_role, "RoleName", "PolicyType", "PolicyName"),
        _row("CreatePolicy", create_policy, "PolicyName", "PolicyDocument", "Description"),
        _row("GetPolicy", get_policy, "PolicyType", "PolicyName"),
    ),
)  # fmt: skip
STS = RpcService(
    name="sts",
    version="2015-04-01",
    no_permission="NoPermission",
    # STS, "GetCallerIdentity": needs no permission.
    operations=(Operation(name="GetCallerIdentity", action="", do=get_caller_identity),),
)
