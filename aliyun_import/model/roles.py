"""Values that describe the caller, RAM roles and policies."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerIdentity:
    """Who the credentials are, from GetCallerIdentity."""

    account_id: str
    arn: str
    identity_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A RAM role; `trust_policy` is its JSON text as RAM gave it."""

    name: str
    arn: str
    trust_policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy attached to a role: its name, "System" or "Custom", and its document where it was read."""

    name: str
    type: str
    document: str | None = None
