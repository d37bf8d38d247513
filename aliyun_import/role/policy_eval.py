"""Evaluation of RAM policies: whether ECS can assume a role, and which actions on OSS policies permit together.

A decision has three values. MAYBE means that it can't be evaluated here (a Condition, a resource of another account or
region); it counts neither as permitted nor as missing.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

ECS = "ecs.aliyuncs.com"
ASSUME = "sts:AssumeRole"

Statement = Mapping[str, Any]


class Decision(StrEnum):
    """Whether an action is permitted."""

    NO = "no"
    MAYBE = "maybe"
    YES = "yes"


_RANK = {Decision.NO: 0, Decision.MAYBE: 1, Decision.YES: 2}
_OPPOSITE = {Decision.NO: Decision.YES, Decision.MAYBE: Decision.MAYBE, Decision.YES: Decision.NO}


def statements(document: str) -> tuple[Statement, ...] | None:
    """Return the statements of a policy document, None if it is not a policy."""
    try:
        policy = json.loads(document)
    except ValueError:
        return None
    found = policy.get("Statement") if isinstance(policy, dict) else None
    if isinstance(found, dict):
        found = [found]
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        return None
    return tuple(found)


def lets_assume(trust_policy: str) -> Decision:
    """Return whether a trust policy lets ECS assume the role."""
    found = statements(trust_policy)
    if found is None:
        return Decision.MAYBE
    about = [one for one in found if _names_ecs(one) and _names_action(one, ASSUME)]
    denied = _any_of(_unless_conditional(one) for one in about if _effect(one) == "deny")
    allowed = _any_of(_unless_conditional(one) for one in about if _effect(one) == "allow")
    return _together(allowed, denied)


def extended(trust_policy: str) -> str:
    """Return the policy with one more statement, which lets ECS assume the role.

    Raises ValueError if the policy can't be parsed, because its statements could not be kept.
    """
    found = statements(trust_policy)
    if found is None:
        raise ValueError("the trust policy is no policy document")
    policy = dict(json.loads(trust_policy))
    policy["Statement"] = [*found, trust_statement()]
    policy.setdefault("Version", "1")
    return json.dumps(policy, ensure_ascii=False)


def trust_statement() -> dict[str, Any]:
    """Return the statement that lets ECS assume a role, as the ImportImage page documents it."""
    return {"Action": ASSUME, "Effect": "Allow", "Principal": {"Service": [ECS]}}


def trust_policy() -> str:
    """Return the trust policy that the ImportImage page documents."""
    return json.dumps({"Statement": [trust_statement()], "Version": "1"})


def permits(documents: Iterable[str], action: str, *, bucket: str | None, key: str) -> Decision:
    """Return whether policy documents together permit an action of OSS on a bucket, or on `key` in it for objects.

    Without a bucket: on at least one bucket of any name. A Deny overrides every Allow.
    """
    allowed, denied = Decision.NO, Decision.NO
    for document in documents:
        for statement in statements(document) or ():
            if not _names_action(statement, action):
                continue
            reach = _all_of(_reaches(statement, action, bucket=bucket, key=key), _unless_conditional(statement))
            if _effect(statement) == "allow":
                allowed = _any_of((allowed, reach))
            elif bucket is not None or _reaches_all(statement):
                denied = _any_of((denied, reach))
    return _together(allowed, denied)


def denies(documents: Iterable[str], action: str, *, bucket: str | None, key: str) -> bool:
    """Return whether a Deny certainly applies to the action, so that no further Allow can help."""
    return any(
        _effect(one) == "deny"
        and _names_action(one, action)
        and (bucket is not None or _reaches_all(one))
        and _all_of(_reaches(one, action, bucket=bucket, key=key), _unless_conditional(one)) is Decision.YES
        for document in documents
        for one in statements(document) or ()
    )


def _together(allowed: Decision, denied: Decision) -> Decision:
    return _all_of(allowed, _OPPOSITE[denied])


def _any_of(decisions: Iterable[Decision]) -> Decision:
    return max(decisions, key=_RANK.__getitem__, default=Decision.NO)


def _all_of(*decisions: Decision) -> Decision:
    return min(decisions, key=_RANK.__getitem__)


def _effect(statement: Statement) -> str:
    return str(statement.get("Effect", "")).lower()


def _unless_conditional(statement: Statement) -> Decision:
    return Decision.MAYBE if statement.get("Condition") else Decision.YES


def _names_ecs(statement: Statement) -> bool:
    principal = statement.get("Principal")
    services = principal.get("Service") if isinstance(principal, dict) else principal
    return any(name.lower() in (ECS, "*") for name in _listed(services))


def _names_action(statement: Statement, action: str) -> bool:
    if "NotAction" in statement:
        return not any(_matches(pattern, action) for pattern in _listed(statement["NotAction"]))
    return any(_matches(pattern, action) for pattern in _listed(statement.get("Action")))


def _reaches(statement: Statement, action: str, *, bucket: str | None, key: str) -> Decision:
    service, _, operation = action.partition(":")
    wanted = f"{bucket}/{key}" if bucket is not None and operation.endswith("Object") else bucket
    if "NotResource" in statement:
        return _OPPOSITE[_any_of(_covers(one, service, wanted) for one in _listed(statement["NotResource"]))]
    return _any_of(_covers(one, service, wanted) for one in _listed(statement.get("Resource")))


def _reaches_all(statement: Statement) -> bool:
    return any(re.fullmatch(r"\*|acs:[^:]+:\*:\*:\*(?:/\*)?", one) for one in _listed(statement.get("Resource")))


def _covers(pattern: str, service: str, wanted: str | None) -> Decision:
    """Compare acs:oss:REGION:ACCOUNT:BUCKET[/KEY] with a bucket, or bucket and key; None is any bucket."""
    if pattern == "*":
        return Decision.YES
    named, _, rest = pattern.removeprefix("acs:").partition(":")
    region, _, rest = rest.partition(":")
    account, _, place = rest.partition(":")
    if not pattern.startswith("acs:") or not place or not _matches(named, service):
        return Decision.NO
    if wanted is not None and not _matches(place, wanted, ignore_case=False):
        return Decision.NO
    return Decision.YES if {region, account} <= {"*", ""} else Decision.MAYBE


def _matches(pattern: str, text: str, *, ignore_case: bool = True) -> bool:
    """Compare by the rules of RAM: * matches any text, ? any one character."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, text, re.DOTALL | (re.IGNORECASE if ignore_case else re.NOFLAG)) is not None


def _listed(value: object) -> Iterator[str]:
    """Yield the strings of an element that may be one string or a list of them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (one for one in value if isinstance(one, str))
