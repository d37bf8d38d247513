"""Operations on policies and their versions."""

from dataclasses import replace

from aliyun_import.sandbox.auth.policies import check_policy
from aliyun_import.sandbox.core.rpc import RpcCall, Value, utc_seconds
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.ram.fields import description_of, kind_of, name_of, paged, policy_of
from aliyun_import.sandbox.ram.state import Policy, Ram, Role

# "Limits" in the documents of RAM, 2021; the present limits may be higher.
MAX_POLICIES = 200
MAX_POLICY_CHARS = 6144
MAX_VERSIONS = 5


def create_policy(call: RpcCall) -> dict[str, Value]:
    """CreatePolicy: create a custom policy."""
    ram, account_id = call.state.part(Ram), call.account_id
    name = name_of(call, "PolicyName", pattern=r"[A-Za-z0-9-]+", max_chars=128)
    document = _document(call)
    description = description_of(call, "Description")
    if ram.find_policy(account_id, "Custom", name) is not None:
        raise Refusal("EntityAlreadyExists.Policy")
    if len(ram.policies_of(account_id, "Custom")) >= MAX_POLICIES:
        raise Refusal("LimitExceeded.Policy")
    now_s = call.state.clock.now_s()
    policy = Policy(
        name=name,
        kind="Custom",
        document=document,
        description=description,
        created_s=now_s,
        versions={"v1": (document, now_s)},
    )
    ram.save_policy(account_id, policy)
    return {"Policy": _fields(policy)}


def _document(call: RpcCall) -> str:
    document = call.required("PolicyDocument")
    if len(document) > MAX_POLICY_CHARS:
        raise Refusal("InvalidParameter.PolicyDocument.Length")
    check_policy(document)
    return document


def get_policy(call: RpcCall) -> dict[str, Value]:
    """GetPolicy: the policy with the document of its default version."""
    policy = policy_of(call)
    return {"Policy": _counted(call, policy), "DefaultPolicyVersion": _version(policy, policy.default_version)}


def list_policies(call: RpcCall) -> dict[str, Value]:
    """ListPolicies: the policies of a kind, or all policies."""
    ram, kinds = call.state.part(Ram), [kind_of(call)] if call.get("PolicyType") else ["System", "Custom"]
    found = [policy for kind in kinds for policy in ram.policies_of(call.account_id, kind)]
    return paged(call, "Policies", "Policy", found, lambda policy: _counted(call, policy))


def delete_policy(call: RpcCall) -> dict[str, Value]:
    """DeletePolicy: delete a custom policy. Refuses one that is attached, or that has several versions."""
    ram, policy = call.state.part(Ram), _custom(call)
    if ram.holders(call.account_id, policy):
        raise Refusal("DeleteConflict.Policy.Entity")
    if len(policy.versions) > 1:
        raise Refusal("DeleteConflict.Policy.Version")
    del ram.policies[call.account_id, policy.name]
    return {}


def list_entities_for_policy(call: RpcCall) -> dict[str, Value]:
    """ListEntitiesForPolicy: the users and roles that a policy is attached to."""
    policy = policy_of(call)
    roles: list[Value] = []
    users: list[Value] = []
    for holder in call.state.part(Ram).holders(call.account_id, policy):
        attached = {"AttachDate": utc_seconds(holder.attached[policy.kind, policy.name])}
        if isinstance(holder, Role):
            fields = {
                "RoleId": holder.id,
                "RoleName": holder.name,
                "Arn": holder.arn,
                "Description": holder.description,
            }
            roles.append({**fields, **attached})
        else:
            users.append({"UserId": holder.id, "UserName": holder.name, "DisplayName": holder.display_name, **attached})
    return {"Roles": {"Role": roles}, "Users": {"User": users}, "Groups": {"Group": []}}


def create_policy_version(call: RpcCall) -> dict[str, Value]:
    """CreatePolicyVersion: add a version, of at most five, and optionally make it the default."""
    policy, document = _custom(call), _document(call)
    if len(policy.versions) >= MAX_VERSIONS:
        raise Refusal("LimitExceeded.Policy.Version")
    number = 1 + max(int(version[1:]) for version in policy.versions)
    versions = {**policy.versions, f"v{number}": (document, call.state.clock.now_s())}
    changed = replace(policy, versions=versions)
    if call.flag("SetAsDefault"):
        changed = replace(changed, default_version=f"v{number}", document=document)
    call.state.part(Ram).save_policy(call.account_id, changed)
    return {"PolicyVersion": _version(changed, f"v{number}")}


def get_policy_version(call: RpcCall) -> dict[str, Value]:
    """GetPolicyVersion."""
    policy = policy_of(call)
    return {"PolicyVersion": _version(policy, _named_version(call, policy))}


def list_policy_versions(call: RpcCall) -> dict[str, Value]:
    """ListPolicyVersions: the versions, newest first."""
    policy = policy_of(call)
    found: list[Value] = [_version(policy, version) for version in reversed(list(policy.shown_versions))]
    return {"PolicyVersions": {"PolicyVersion": found}}


def set_default_policy_version(call: RpcCall) -> dict[str, Value]:
    """SetDefaultPolicyVersion: select the version that is in force."""
    policy = _custom(call)
    version = _named_version(call, policy)
    changed = replace(policy, default_version=version, document=policy.versions[version][0])
    call.state.part(Ram).save_policy(call.account_id, changed)
    return {}


def delete_policy_version(call: RpcCall) -> dict[str, Value]:
    """DeletePolicyVersion: delete a version other than the default."""
    policy = _custom(call)
    version = _named_version(call, policy)
    if version == policy.default_version:
        raise Refusal("DeleteConflict.PolicyVersion.Default")
    kept = {name: each for name, each in policy.versions.items() if name != version}
    call.state.part(Ram).save_policy(call.account_id, replace(policy, versions=kept))
    return {}


def _custom(call: RpcCall) -> Policy:
    return call.state.part(Ram).policy(call.account_id, "Custom", call.required("PolicyName"))


def _named_version(call: RpcCall, policy: Policy) -> str:
    version = call.required("VersionId")
    if version not in policy.shown_versions:
        raise Refusal("EntityNotExist.Policy.Version")
    return version


def _version(policy: Policy, version: str) -> dict[str, Value]:
    document, created_s = policy.shown_versions[version]
    return {
        "VersionId": version,
        "IsDefaultVersion": version == policy.default_version,
        "PolicyDocument": document,
        "CreateDate": utc_seconds(created_s),
    }


def _counted(call: RpcCall, policy: Policy) -> dict[str, Value]:
    attachments = len(call.state.part(Ram).holders(call.account_id, policy))
    newest_s = max(created_s for _, created_s in policy.shown_versions.values())
    return _fields(policy) | {"UpdateDate": utc_seconds(newest_s), "AttachmentCount": attachments}


def _fields(policy: Policy) -> dict[str, Value]:
    return {
        "PolicyName": policy.name,
        "PolicyType": policy.kind,
        "Description": policy.description,
        "DefaultVersion": policy.default_version,
        "CreateDate": utc_seconds(policy.created_s),
    }
