"""State of RAM: roles and policies, and what ECS knows of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.state import State
from aliyun_import.sandbox.core.tables import Table


def _allow(*actions: str) -> str:
    statement = {"Action": list(actions), "Resource": "*", "Effect": "Allow"}
    return json.dumps({"Version": "1", "Statement": [statement]})


# The system policies that concern an import, and a few that are often attached. The first two are documented with the
# role that they belong to; the others are reduced to OSS and ECS.
SYSTEM_POLICIES: Mapping[str, str] = MappingProxyType({
    "AliyunECSImageImportRolePolicy": _allow("oss:GetObject", "oss:GetBucketLocation", "oss:GetBucketInfo"),
    "AliyunECSCloudBoxImageImportRolePolicy": _allow(
        "oss-cloudbox:GetObject", "oss-cloudbox:GetBucketLocation", "oss-cloudbox:GetBucketInfo"
    ),
    "AliyunECSImageExportRolePolicy": _allow(
        "oss:GetObject", "oss:PutObject", "oss:DeleteObject", "oss:GetBucketLocation",
        "oss:AbortMultipartUpload", "oss:ListMultipartUploads", "oss:ListParts",
    ),
    "AliyunOSSReadOnlyAccess": _allow("oss:Get*", "oss:List*"),
    "AliyunOSSFullAccess": _allow("oss:*"),
    "AliyunECSReadOnlyAccess": _allow("ecs:Describe*", "ecs:List*"),
    "AliyunECSFullAccess": _allow("ecs:*"),
    "AliyunRAMReadOnlyAccess": _allow("ram:Get*", "ram:List*"),
    "AdministratorAccess": _allow("*"),
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A custom policy of an account, or a system policy."""

    name: str
    kind: str
    """System or Custom."""
    document: str
    description: str = ""
    created_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RoleView:
    """A role as another service knows it: its trust policy, and the documents of its policies."""

    trust: str
    policies: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Role:
    """A role of an account."""

    id: str
    name: str
    arn: str
    trust: str
    description: str
    created_s: float
    updated_s: float
    max_session_s: int = 3600
    attached: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """(kind, name) of each attached policy -> time of attachment."""


class Ram:
    """The roles and custom policies of all accounts. Every use holds the state's lock."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._roles = state.table("roles", Table[tuple[str, str], Role])
        self._policies = state.table("policies", Table[tuple[str, str], Policy])
        self._history = state.table("role-history", Table[tuple[str, str], tuple[tuple[float, RoleView | None], ...]])

    def find_role(self, account_id: str, name: str) -> Role | None:
        """Return a role, or None."""
        return self._roles.get((account_id, name))

    def role(self, account_id: str, name: str) -> Role:
        """Return a role; refuses with EntityNotExist.Role."""
        found = self.find_role(account_id, name)
        if found is None:
            raise Refusal("EntityNotExist.Role", name)
        return found

    def count_roles(self, account_id: str) -> int:
        """Return the number of an account's roles."""
        return sum(1 for owner, _ in self._roles if owner == account_id)

    def save_role(self, account_id: str, role: Role) -> None:
        """Store a new or changed role; the change reaches the other services after `role_propagation_s`."""
        self._roles[account_id, role.name] = role
        documents = tuple(self.policy(account_id, kind, name).document for kind, name in role.attached)
        self._note(account_id, role.name, RoleView(trust=role.trust, policies=documents))

    def remove_role(self, account_id: str, name: str) -> None:
        """Remove a role; refuses with EntityNotExist.Role."""
        del self._roles[account_id, self.role(account_id, name).name]
        self._note(account_id, name, None)

    def propagated_role(self, account_id: str, name: str) -> RoleView | None:
        """Return the role as ECS knows it: as it was `role_propagation_s` ago; None if it did not exist then."""
        then_s = self._state.clock.now_s() - self._state.settings.role_propagation_s
        history = self._history.get((account_id, name), ())
        return next((view for at_s, view in reversed(history) if at_s <= then_s), None)

    def find_policy(self, account_id: str, kind: str, name: str) -> Policy | None:
        """Return a policy, or None."""
        if kind == "Custom":
            return self._policies.get((account_id, name))
        document = SYSTEM_POLICIES.get(name)
        return None if document is None else Policy(name=name, kind=kind, document=document)

    def policy(self, account_id: str, kind: str, name: str) -> Policy:
        """Return a policy; refuses with EntityNotExist.Policy."""
        found = self.find_policy(account_id, kind, name)
        if found is None:
            raise Refusal("EntityNotExist.Policy")
        return found

    def count_policies(self, account_id: str) -> int:
        """Return the number of an account's custom policies."""
        return sum(1 for owner, _ in self._policies if owner == account_id)

    def count_attachments(self, account_id: str, policy: Policy) -> int:
        """Return the number of an account's roles that a policy is attached to."""
        roles = (role for (owner, _), role in self._roles.items() if owner == account_id)
        return sum(1 for role in roles if (policy.kind, policy.name) in role.attached)

    def save_policy(self, account_id: str, policy: Policy) -> None:
        """Store a new custom policy."""
        self._policies[account_id, policy.name] = policy

    def _note(self, account_id: str, name: str, view: RoleView | None) -> None:
        former = self._history.get((account_id, name), ())
        self._history[account_id, name] = (*former, (self._state.clock.now_s(), view))
