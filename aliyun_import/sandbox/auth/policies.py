"""Policy documents of RAM: their form, and what they allow.

Of RAM's policy language it knows Effect, Action and NotAction, Resource, Principal, and the wildcards * and ?. A
Condition counts as met, for Allow and for Deny.
"""

import json
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from aliyun_import.sandbox.core.rpc_errors import Refusal

_ACTION = re.compile(r"\*|[A-Za-z0-9*?-]+:[A-Za-z0-9*?/.-]+")
_PRINCIPALS = frozenset({"Service", "RAM", "Federated"})


def check_policy(text: str) -> None:
    """Refuse with MalformedPolicyDocument what is not a permission policy."""
    for statement in _statements(text):
        _check_actions(statement)
        if not _texts(statement.get("Resource")):
            raise Refusal("MalformedPolicyDocument", "Every statement needs a Resource: a text or a list of texts.")


def check_trust_policy(text: str) -> None:
    """Refuse with MalformedPolicyDocument what is not a trust policy."""
    for statement in _statements(text):
        _check_actions(statement)
        principal = statement.get("Principal")
        if not isinstance(principal, dict) or not principal or set(principal) - _PRINCIPALS:
            raise Refusal("MalformedPolicyDocument", "Every statement needs a Principal: Service, RAM or Federated.")
        if not all(_texts(names) for names in principal.values()):
            raise Refusal("MalformedPolicyDocument", "A Principal is a text or a list of texts.")


def trusts(text: str, service: str) -> bool:
    """Return whether a valid trust policy lets a service such as ecs.aliyuncs.com assume the role."""
    about = [
        statement["Effect"]
        for statement in _statements(text)
        if service in _texts(statement["Principal"].get("Service")) and _covers_action(statement, "sts:AssumeRole")
    ]
    return "Allow" in about and "Deny" not in about


def trusts_caller(text: str, *, account_id: str, principal: str) -> bool:
    """Return whether a valid trust policy lets a user or a role assume the role.

    `principal` is as of a key. A policy names the account (`:root`, which means all in it), a user or a role.
    """
    kind, _, name = principal.partition("/")
    own = f"user/{name}" if kind == "user" else f"role/{name.partition('/')[0]}"
    names = {f"acs:ram::{account_id}:{each}".lower() for each in ("root", own)} | {"*"}
    about = [
        statement["Effect"]
        for statement in _statements(text)
        if names & {each.lower() for each in _texts(statement["Principal"].get("RAM"))}
        and _covers_action(statement, "sts:AssumeRole")
    ]
    return "Allow" in about and "Deny" not in about


def allows(policies: Iterable[str], action: str, *, resources: tuple[str, ...]) -> bool:
    """Return whether valid policies together allow an action on a resource; a Deny overrides every Allow.

    `resources` are the spellings of one resource, any of which a policy may use.
    """
    about = {
        statement["Effect"]
        for text in policies
        for statement in _statements(text)
        if _covers_action(statement, action)
        and any(fnmatchcase(name, pattern) for name in resources for pattern in _patterns(statement["Resource"]))
    }
    return about == {"Allow"}


def _statements(text: str) -> list[dict[str, Any]]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise Refusal("MalformedPolicyDocument", f"The document is not JSON: {error}.") from error
    if not isinstance(document, dict) or document.get("Version") != "1":
        raise Refusal("MalformedPolicyDocument", 'The document must be an object whose Version is "1".')
    statements = document.get("Statement")
    if not isinstance(statements, list) or not statements or not all(isinstance(one, dict) for one in statements):
        raise Refusal("MalformedPolicyDocument", "Statement must be a list of objects.")
    return statements


def _check_actions(statement: dict[str, Any]) -> None:
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise Refusal("MalformedPolicyDocument", "Every statement needs an Effect: Allow or Deny.")
    actions = _texts(statement.get("Action", statement.get("NotAction")))
    if not actions or ("Action" in statement and "NotAction" in statement):
        raise Refusal("MalformedPolicyDocument", "Every statement needs an Action or a NotAction.")
    for action in actions:
        if not _ACTION.fullmatch(action):
            raise Refusal("MalformedPolicyDocument", f"The action {action} is malformed.")


def _texts(value: object) -> tuple[str, ...]:
    """Return a text or a list of texts as a tuple; everything else is empty."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    return ()


def _patterns(value: object) -> tuple[str, ...]:
    # fnmatch supports [...] besides * and ?; RAM does not.
    return tuple(text.replace("[", "[[]") for text in _texts(value))


def _covers_action(statement: dict[str, Any], action: str) -> bool:
    excluded = "NotAction" in statement
    patterns = _patterns(statement["NotAction" if excluded else "Action"])
    # The comparison of actions ignores the case of letters.
    return excluded != any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)
