"""This file keeps RAM's roles and policies, and what ECS sees of them: each change arrives there after a while."""

from dataclasses import dataclass, field

from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.state import State
from aliyun_import.sandbox.ram import policy as ram_policy


@dataclass(kw_only=True)
class Policy:
    """A policy of an account, or one of the system's."""

    name: str
    kind: str
    """System or Custom."""
    document: str
    description: str = ""
    created_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RoleView:
    """A role as another service sees it: who may assume it, and the documents that say what it may do."""

    trust: str
    policies: tuple[str, ...]


@dataclass(kw_only=True)
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
    attached: dict[tuple[str, str], float] = field(default_factory=dict)
    """(kind, name) of each attached policy -> when it was attached."""


class Ram:
    """The roles and custom policies of all accounts. Every use holds the state's lock."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._roles: dict[tuple[str, str], Role] = {}
        self._policies: dict[tuple[str, str], Policy] = {}
        self._history: dict[tuple[str, str], list[tuple[float, RoleView | None]]] = {}

    def find_role(self, account_id: str, name: str) -> Role | None:
        """Find a role; None when there is none."""
        return self._roles.get((account_id, name))

    def role(self, account_id: str, name: str) -> Role:
        """Find a role; refuses with EntityNotExist.Role."""
        found = self.find_role(account_id, name)
        if found is None:
            raise Refusal("EntityNotExist.Role", name)
        return found

    def count_roles(self, account_id: str) -> int:
        """Count an account's roles."""
        return sum(1 for owner, _ in self._roles if owner == account_id)

    def save_role(self, account_id: str, role: Role) -> None:
        """Keep a new or changed role, and let the change begin its way to the other services."""
        self._roles[account_id, role.name] = role
        documents = tuple(self.policy(account_id, kind, name).document for kind, name in role.attached)
        self._note(account_id, role.name, RoleView(trust=role.trust, policies=documents))

    def remove_role(self, account_id: str, name: str) -> None:
        """Forget a role; refuses with EntityNotExist.Role."""
        del self._roles[account_id, self.role(account_id, name).name]
        self._note(account_id, name, None)

    def seen_role(self, account_id: str, name: str) -> RoleView | None:
        """Give the role as ECS sees it now: as it was `role_propagation_s` ago; None when it was not there then."""
        then_s = self._state.clock.now_s() - self._state.settings.role_propagation_s
        history = self._history.get((account_id, name), [])
        return next((view for at_s, view in reversed(history) if at_s <= then_s), None)

    def find_policy(self, account_id: str, kind: str, name: str) -> Policy | None:
        """Find a policy; None when there is none."""
        if kind == "Custom":
            return self._policies.get((account_id, name))
        document = ram_policy.SYSTEM_POLICIES.get(name)
        return None if document is None else Policy(name=name, kind=kind, document=document)

    def policy(self, account_id: str, kind: str, name: str) -> Policy:
        """Find a policy; refuses with EntityNotExist.Policy."""
        found = self.find_policy(account_id, kind, name)
        if found is None:
            raise Refusal("EntityNotExist.Policy")
        return found

    def count_policies(self, account_id: str) -> int:
        """Count an account's custom policies."""
        return sum(1 for owner, _ in self._policies if owner == account_id)

    def count_attachments(self, account_id: str, policy: Policy) -> int:
        """Count the roles of an account that a policy is attached to."""
        roles = (role for (owner, _), role in self._roles.items() if owner == account_id)
        return sum(1 for role in roles if (policy.kind, policy.name) in role.attached)

    def save_policy(self, account_id: str, policy: Policy) -> None:
        """Keep a new custom policy."""
        self._policies[account_id, policy.name] = policy

    def _note(self, account_id: str, name: str, view: RoleView | None) -> None:
        self._history.setdefault((account_id, name), []).append((self._state.clock.now_s(), view))
