"""This file is RAM, as far as the import's role goes: roles, policies, and which of them are attached."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from aliyun_import.sandbox.core.rpc_call import Operation, RpcCall
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.serializers import Value, utc_seconds
from aliyun_import.sandbox.ram import policy as ram_policy
from aliyun_import.sandbox.ram.roles import Policy, Ram, Role
from aliyun_import.sandbox.ram.sts import number_of

# RAM's documents of 2021, "Limits"; today's numbers may be higher.
MAX_ROLES = 100
MAX_POLICIES = 200
MAX_ATTACHED = MappingProxyType({"System": 20, "Custom": 5})
MAX_POLICY_CHARS = 6144
MAX_DESCRIPTION_CHARS = 1024


def get_role(call: RpcCall) -> dict[str, Value]:
    """Show a role."""
    return {"Role": _shown(call.state.part(Ram).role(call.account_id, call.required("RoleName")))}


def create_role(call: RpcCall) -> dict[str, Value]:
    """Make a role with its trust policy and no rights."""
    ram, account_id = call.state.part(Ram), call.account_id
    name = _name(call, "RoleName", pattern=r"[A-Za-z0-9.@-]+", max_chars=64)
    trust = call.required("AssumeRolePolicyDocument")
    ram_policy.check_trust_policy(trust)
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
    return {"Role": _shown(role)}


def update_role(call: RpcCall) -> dict[str, Value]:
    """Change what is given of a role: its trust policy, description, longest session."""
    ram = call.state.part(Ram)
    role = ram.role(call.account_id, call.required("RoleName"))
    trust = call.get("NewAssumeRolePolicyDocument", role.trust)
    ram_policy.check_trust_policy(trust)
    description = _description(call, "NewDescription")
    role.max_session_s = _session(call, "NewMaxSessionDuration", role.max_session_s)
    if "NewDescription" in call.parameters:
        role.description = description
    role.trust = trust
    role.updated_s = call.state.clock.now_s()
    ram.save_role(call.account_id, role)
    return {"Role": _shown(role)}


def delete_role(call: RpcCall) -> dict[str, Value]:
    """Remove a role that no policy is attached to."""
    ram = call.state.part(Ram)
    role = ram.role(call.account_id, call.required("RoleName"))
    if role.attached:
        raise Refusal("DeleteConflict.Role.Policy")
    ram.remove_role(call.account_id, role.name)
    return {}


def list_policies_for_role(call: RpcCall) -> dict[str, Value]:
    """List what is attached to a role."""
    ram = call.state.part(Ram)
    role = ram.role(call.account_id, call.required("RoleName"))
    shown: list[Value] = []
    for (kind, name), attached_s in role.attached.items():
        description = ram.policy(call.account_id, kind, name).description
        shown.append(
            {
                "PolicyName": name,
                "PolicyType": kind,
                "Description": description,
                "DefaultVersion": "v1",
                "AttachDate": utc_seconds(attached_s),
            }
        )
    return {"Policies": {"Policy": shown}}


def attach_policy_to_role(call: RpcCall) -> dict[str, Value]:
    """Attach a policy to a role."""
    ram, account_id = call.state.part(Ram), call.account_id
    kind = _kind(call)
    policy = ram.policy(account_id, kind, call.required("PolicyName"))
    role = ram.role(account_id, call.required("RoleName"))
    if (kind, policy.name) in role.attached:
        raise Refusal("EntityAlreadyExists.Role.Policy")
    if sum(1 for attached, _ in role.attached if attached == kind) >= MAX_ATTACHED[kind]:
        raise Refusal("LimitExceeded.Role.Policy")
    role.attached[kind, policy.name] = call.state.clock.now_s()
    ram.save_role(account_id, role)
    return {}


def detach_policy_from_role(call: RpcCall) -> dict[str, Value]:
    """Take a policy off a role."""
    ram, account_id = call.state.part(Ram), call.account_id
    kind = _kind(call)
    policy = ram.policy(account_id, kind, call.required("PolicyName"))
    role = ram.role(account_id, call.required("RoleName"))
    if role.attached.pop((kind, policy.name), None) is None:
        raise Refusal("EntityNotExist.Role.Policy", policy.name)
    ram.save_role(account_id, role)
    return {}


def create_policy(call: RpcCall) -> dict[str, Value]:
    """Make a custom policy."""
    ram, account_id = call.state.part(Ram), call.account_id
    name = _name(call, "PolicyName", pattern=r"[A-Za-z0-9-]+", max_chars=128)
    document = call.required("PolicyDocument")
    if len(document) > MAX_POLICY_CHARS:
        raise Refusal("InvalidParameter.PolicyDocument.Length")
    ram_policy.check_policy(document)
    description = _description(call, "Description")
    if ram.find_policy(account_id, "Custom", name) is not None:
        raise Refusal("EntityAlreadyExists.Policy")
    if ram.count_policies(account_id) >= MAX_POLICIES:
        raise Refusal("LimitExceeded.Policy")
    now_s = call.state.clock.now_s()
    policy = Policy(name=name, kind="Custom", document=document, description=description, created_s=now_s)
    ram.save_policy(account_id, policy)
    return {"Policy": _shown_policy(policy)}


def get_policy(call: RpcCall) -> dict[str, Value]:
    """Show a policy with the document of its default version."""
    ram = call.state.part(Ram)
    policy = ram.policy(call.account_id, _kind(call), call.required("PolicyName"))
    created = utc_seconds(policy.created_s)
    attachments = ram.count_attachments(call.account_id, policy)
    return {
        "Policy": _shown_policy(policy) | {"UpdateDate": created, "AttachmentCount": attachments},
        "DefaultPolicyVersion": {
            "VersionId": "v1",
            "IsDefaultVersion": True,
            "PolicyDocument": policy.document,
            "CreateDate": created,
        },
    }


OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        "GetRole": get_role,
        "CreateRole": create_role,
        "UpdateRole": update_role,
        "DeleteRole": delete_role,
        "ListPoliciesForRole": list_policies_for_role,
        "AttachPolicyToRole": attach_policy_to_role,
        "DetachPolicyFromRole": detach_policy_from_role,
        "CreatePolicy": create_policy,
        "GetPolicy": get_policy,
    }
)


def _shown(role: Role) -> dict[str, Value]:
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


def _shown_policy(policy: Policy) -> dict[str, Value]:
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
