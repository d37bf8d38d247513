"""State of RAM: users, roles, policies and OIDC providers, and the propagation of roles to ECS."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeVar

from aliyun_import.sandbox.core.records import Table
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.state import State


def _allow(*actions: str) -> str:
    statement = {"Action": list(actions), "Resource": "*", "Effect": "Allow"}
    return json.dumps({"Version": "1", "Statement": [statement]})


# System policies for imports and exports, and some that are often attached. The first two are documented with their
# role; the others are reduced to the actions of OSS and ECS.
SYSTEM_POLICIES: Mapping[str, str] = MappingProxyType({
    "AliyunECSImageImportRolePolicy": _allow("oss:GetObject", "oss:GetBucketLocation", "oss:GetBucketInfo"),
    "AliyunECSCloudBoxImageImportRolePolicy": _allow(
        "oss-cloudbox:GetObject", "oss-cloudbox:GetBucketLocation", "oss-cloudbox:GetBucketInfo"
    ),
    "AliyunECSImageExportRolePolicy": _allow(
        "oss:GetObject", "oss:PutObject", "oss:DeleteObject", "oss:GetBucketLocation", "oss:GetBucketInfo",
        "oss:AbortMultipartUpload", "oss:ListMultipartUploads", "oss:ListParts",
    ),
    "AliyunOSSReadOnlyAccess": _allow("oss:Get*", "oss:List*"),
    "AliyunOSSFullAccess": _allow("oss:*"),
    "AliyunECSReadOnlyAccess": _allow("ecs:Describe*", "ecs:List*"),
    "AliyunECSFullAccess": _allow("ecs:*"),
    "AliyunRAMReadOnlyAccess": _allow("ram:Get*", "ram:List*"),
    "AliyunSTSAssumeRoleAccess": _allow("sts:AssumeRole"),
    "AdministratorAccess": _allow("*"),
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Custom policy of an account, or system policy."""

    name: str
    kind: str
    """System or Custom."""
    document: str
    """Document of the default version."""
    description: str = ""
    created_s: float = 0.0
    default_version: str = "v1"
    versions: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    """Version of a custom policy -> (document, time of creation)."""

    @property
    def shown_versions(self) -> Mapping[str, tuple[str, float]]:
        """Return all versions. A system policy has one."""
        return self.versions or {"v1": (self.document, self.created_s)}


@dataclass(frozen=True, kw_only=True)
class RoleView:
    """Role as another service sees it: its trust policy, and the documents of its policies."""

    trust: str
    policies: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Role:
    """Role of an account."""

    id: str
    name: str
    arn: str
    trust: str
    description: str
    created_s: float
    updated_s: float
    max_session_s: int = 3600
    attached: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """(kind, name) of attached policies -> time of attachment."""


@dataclass(frozen=True, kw_only=True)
class User:
    """RAM user of an account."""

    id: str
    name: str
    display_name: str
    comments: str
    created_s: float
    updated_s: float
    attached: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """(kind, name) of attached policies -> time of attachment."""
    keys: Mapping[str, float] = field(default_factory=dict)
    """Ids of access keys -> time of creation."""


@dataclass(frozen=True, kw_only=True)
class OidcProvider:
    """OIDC provider: trust of an account in the tokens of an issuer."""

    name: str
    arn: str
    issuer_url: str
    client_ids: tuple[str, ...]
    """Accepted audiences of a token."""
    fingerprints: tuple[str, ...]
    issuance_hours: int
    """Maximum age of a token."""
    description: str
    created_s: float


Named = TypeVar("Named", Policy, Role, User, OidcProvider)


def by_name(table: Mapping[tuple[str, str], Named], account_id: str) -> list[Named]:
    """Return the rows of an account, sorted by name."""
    return sorted((each for (owner, _), each in table.items() if owner == account_id), key=lambda each: each.name)


class Ram:
    """Users, roles, custom policies and OIDC providers of all accounts. Callers hold the lock of the state.

    `save_role`, `save_user` and `save_policy` store a record, and update the view of ECS of a role and the permissions
    of the keys of a user.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self.roles = state.table("roles", Table[tuple[str, str], Role])
        self.users = state.table("users", Table[tuple[str, str], User])
        self.policies = state.table("policies", Table[tuple[str, str], Policy])
        self.providers = state.table("oidc-providers", Table[tuple[str, str], OidcProvider])
        self.issuers = state.table("oidc-issuers", Table[str, str])
        """Issuer -> its JWKS."""
        self._history = state.table("role-history", Table[tuple[str, str], tuple[tuple[float, RoleView | None], ...]])

    def find_role(self, account_id: str, name: str) -> Role | None:
        """Return a role, or None."""
        return self.roles.get((account_id, name))

    def role(self, account_id: str, name: str) -> Role:
        """Return a role. Refuses with EntityNotExist.Role."""
        found = self.find_role(account_id, name)
        if found is None:
            raise Refusal("EntityNotExist.Role", name)
        return found

    def save_role(self, account_id: str, role: Role) -> None:
        """Store a new or changed role. Other services see the change after `role_propagation_s`."""
        self.roles[account_id, role.name] = role
        policies = self.documents(account_id, role.attached)
        self._note(account_id, role.name, RoleView(trust=role.trust, policies=policies))

    def remove_role(self, account_id: str, name: str) -> None:
        """Remove a role. Refuses with EntityNotExist.Role."""
        del self.roles[account_id, self.role(account_id, name).name]
        self._note(account_id, name, None)

    def propagated_role(self, account_id: str, name: str) -> RoleView | None:
        """Return the role as it was `role_propagation_s` ago, or None if it did not exist."""
        then_s = self._state.clock.now_s() - self._state.settings.role_propagation_s
        history = self._history.get((account_id, name), ())
        return next((view for at_s, view in reversed(history) if at_s <= then_s), None)

    def find_policy(self, account_id: str, kind: str, name: str) -> Policy | None:
        """Return a policy, or None."""
        if kind == "Custom":
            return self.policies.get((account_id, name))
        document = SYSTEM_POLICIES.get(name)
        return None if document is None else Policy(name=name, kind=kind, document=document)

    def policy(self, account_id: str, kind: str, name: str) -> Policy:
        """Return a policy. Refuses with EntityNotExist.Policy."""
        found = self.find_policy(account_id, kind, name)
        if found is None:
            raise Refusal("EntityNotExist.Policy")
        return found

    def holders(self, account_id: str, policy: Policy) -> list[Role | User]:
        """Return the roles and users to which a policy is attached."""
        holders: list[Role | User] = [*by_name(self.roles, account_id), *by_name(self.users, account_id)]
        return [each for each in holders if (policy.kind, policy.name) in each.attached]

    def save_policy(self, account_id: str, policy: Policy) -> None:
        """Store a new or changed custom policy, and update the roles and users to which it is attached."""
        self.policies[account_id, policy.name] = policy
        for each in self.holders(account_id, policy):
            self.save(account_id, each)

    def save(self, account_id: str, holder: Role | User) -> None:
        """Store a new or changed role or user."""
        if isinstance(holder, Role):
            self.save_role(account_id, holder)
        else:
            self.save_user(account_id, holder)

    def policies_of(self, account_id: str, kind: str) -> list[Policy]:
        """Return the policies of a kind, sorted by name."""
        if kind == "System":
            return [self.policy(account_id, kind, name) for name in sorted(SYSTEM_POLICIES)]
        return by_name(self.policies, account_id)

    def user(self, account_id: str, name: str) -> User:
        """Return a user. Refuses with EntityNotExist.User."""
        found = self.users.get((account_id, name))
        if found is None:
            raise Refusal("EntityNotExist.User")
        return found

    def save_user(self, account_id: str, user: User) -> None:
        """Store a new or changed user, and give its keys the permissions of its policies."""
        self.users[account_id, user.name] = user
        policies = self.documents(account_id, user.attached)
        for key_id in user.keys:
            key = self._state.key(key_id)
            if key is not None:
                self._state.add_key(replace(key, policies=policies))

    def provider_of(self, arn: str) -> OidcProvider | None:
        """Return the OIDC provider with an ARN, of any account, or None."""
        return next((each for each in self.providers.values() if each.arn.lower() == arn.lower()), None)

    def documents(self, account_id: str, attached: Iterable[tuple[str, str]]) -> tuple[str, ...]:
        """Return the documents of attached policies."""
        return tuple(self.policy(account_id, kind, name).document for kind, name in attached)

    def _note(self, account_id: str, name: str, view: RoleView | None) -> None:
        previous = self._history.get((account_id, name), ())
        self._history[account_id, name] = (*previous, (self._state.clock.now_s(), view))
