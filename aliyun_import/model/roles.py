"""Values that describe the caller, RAM roles and policies."""

from dataclasses import dataclass

# Role that ECS uses if ImportImage names none.
DEFAULT_ROLE_NAME = "AliyunECSImageImportDefaultRole"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerIdentity:
    """Identity of the credentials, from GetCallerIdentity."""

    account_id: str
    arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A RAM role; `trust_policy` is its JSON text as RAM returned it."""

    name: str
    arn: str
    trust_policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy: its name, its type ("System" or "Custom"), and its document if it was read."""

    name: str
    type: str
    document: str | None = None
