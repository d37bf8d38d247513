"""This file reads RAM policies: who may assume a role, and which rights on OSS documents give together.

Every judgement has three values. MAYBE is for what can't be judged from outside (a Condition, another account's or
region's resource): it is neither taken for a right nor for its lack.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

ECS = "ecs.aliyuncs.com"
ASSUME = "sts:AssumeRole"

Statement = Mapping[str, Any]


class Answer(StrEnum):
    """How sure a judgement is."""

    NO = "no"
    MAYBE = "maybe"
    YES = "yes"


_SURENESS = {Answer.NO: 0, Answer.MAYBE: 1, Answer.YES: 2}
_OPPOSITE = {Answer.NO: Answer.YES, Answer.MAYBE: Answer.MAYBE, Answer.YES: Answer.NO}


def statements(document: str) -> tuple[Statement, ...] | None:
    """Read the statements of a policy document; None when it is no policy at all."""
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


def lets_assume(trust_policy: str, service: str = ECS) -> Answer:
    """Tell whether a trust policy lets the service assume the role."""
    found = statements(trust_policy)
    if found is None:
        return Answer.MAYBE
    about = [one for one in found if _names_service(one, service) and _names_action(one, ASSUME)]
    denied = _any_of(_unless_conditional(one) for one in about if _effect(one) == "deny")
    allowed = _any_of(_unless_conditional(one) for one in about if _effect(one) == "allow")
    return _together(allowed, denied)


def extended(trust_policy: str, service: str = ECS) -> str:
    """Add one statement that lets the service assume the role; every statement that is there stays as it is.

    ValueError when the policy can't be read, because then it can't be kept either.
    """
    found = statements(trust_policy)
    if found is None:
        raise ValueError("the trust policy is no policy document")
    policy = dict(json.loads(trust_policy))
    policy["Statement"] = [*found, trust_statement(service)]
    policy.setdefault("Version", "1")
    return json.dumps(policy, ensure_ascii=False)


def trust_statement(service: str = ECS) -> dict[str, Any]:
    """Give the statement that lets a service assume a role, as the ImportImage page has it."""
    return {"Action": ASSUME, "Effect": "Allow", "Principal": {"Service": [service]}}


def trust_policy(service: str = ECS) -> str:
    """Give the trust policy that the ImportImage page documents."""
    return json.dumps({"Statement": [trust_statement(service)], "Version": "1"})


def permits(documents: Iterable[str], action: str, *, bucket: str | None, key: str) -> Answer:
    """Tell whether policy documents together permit an action of OSS on a bucket, or on `key` in it for objects.

    Without a bucket: on at least one of any name. A Deny beats every Allow.
    """
    allowed, denied = Answer.NO, Answer.NO
    for document in documents:
        for one in statements(document) or ():
            if not _names_action(one, action):
                continue
            reach = _all_of(_reaches(one, action, bucket=bucket, key=key), _unless_conditional(one))
            if _effect(one) == "allow":
                allowed = _any_of((allowed, reach))
            elif bucket is not None or _reaches_all(one):
                denied = _any_of((denied, reach))
    return _together(allowed, denied)


def denies(documents: Iterable[str], action: str, *, bucket: str | None, key: str) -> bool:
    """Tell whether a Deny surely forbids the action, so that no further Allow can help."""
    return any(
        _effect(one) == "deny"
        and _names_action(one, action)
        and (bucket is not None or _reaches_all(one))
        and _all_of(_reaches(one, action, bucket=bucket, key=key), _unless_conditional(one)) is Answer.YES
        for document in documents
        for one in statements(document) or ()
    )


def _together(allowed: Answer, denied: Answer) -> Answer:
    return _all_of(allowed, _OPPOSITE[denied])


def _any_of(answers: Iterable[Answer]) -> Answer:
    return max(answers, key=_SURENESS.__getitem__, default=Answer.NO)


def _all_of(*answers: Answer) -> Answer:
    return min(answers, key=_SURENESS.__getitem__)


def _effect(statement: Statement) -> str:
    return str(statement.get("Effect", "")).lower()


def _unless_conditional(statement: Statement) -> Answer:
    return Answer.MAYBE if statement.get("Condition") else Answer.YES


def _names_service(statement: Statement, service: str) -> bool:
    principal = statement.get("Principal")
    services = principal.get("Service") if isinstance(principal, dict) else principal
    return any(name.lower() in (service, "*") for name in _listed(services))


def _names_action(statement: Statement, action: str) -> bool:
    if "NotAction" in statement:
        return not any(_matches(pattern, action) for pattern in _listed(statement["NotAction"]))
    return any(_matches(pattern, action) for pattern in _listed(statement.get("Action")))


def _reaches(statement: Statement, action: str, *, bucket: str | None, key: str) -> Answer:
    service, _, operation = action.partition(":")
    wanted = f"{bucket}/{key}" if bucket is not None and operation.endswith("Object") else bucket
    if "NotResource" in statement:
        return _OPPOSITE[_any_of(_covers(one, service, wanted) for one in _listed(statement["NotResource"]))]
    return _any_of(_covers(one, service, wanted) for one in _listed(statement.get("Resource")))


def _reaches_all(statement: Statement) -> bool:
    return any(re.fullmatch(r"\*|acs:[^:]+:\*:\*:\*(?:/\*)?", one) for one in _listed(statement.get("Resource")))


def _covers(pattern: str, service: str, wanted: str | None) -> Answer:
    """Compare acs:oss:REGION:ACCOUNT:BUCKET[/KEY] with a bucket, or bucket and key; None is any bucket."""
    if pattern == "*":
        return Answer.YES
    named, _, rest = pattern.removeprefix("acs:").partition(":")
    region, _, rest = rest.partition(":")
    account, _, place = rest.partition(":")
    if not pattern.startswith("acs:") or not place or not _matches(named, service):
        return Answer.NO
    if wanted is not None and not _matches(place, wanted, ignore_case=False):
        return Answer.NO
    return Answer.YES if {region, account} <= {"*", ""} else Answer.MAYBE


def _matches(pattern: str, text: str, *, ignore_case: bool = True) -> bool:
    """Compare as RAM does: * is any text, ? any one character."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, text, re.DOTALL | (re.IGNORECASE if ignore_case else re.NOFLAG)) is not None


def _listed(value: object) -> Iterator[str]:
    """Give the texts of an element that may be one text or a list of them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (one for one in value if isinstance(one, str))
