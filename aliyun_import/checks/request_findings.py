"""This file words what a rule about the request found."""

from collections.abc import Callable
from difflib import get_close_matches

from aliyun_import.model.finding import Finding, Severity
from aliyun_import.model.request import ImportRequest

PAGE = "ECS API reference, ImportImage"
Rule = Callable[[ImportRequest], Finding | None]


def blocks(rule: str, seen: str, remedy: str, *, source: str = PAGE) -> Finding:
    """Word a finding with which the service refuses the call."""
    return Finding(rule=rule, severity=Severity.BLOCKS, seen=seen, remedy=remedy, source=source)


def warns(rule: str, seen: str, remedy: str, *, source: str = PAGE) -> Finding:
    """Word a finding that may do harm, or may not."""
    return Finding(rule=rule, severity=Severity.WARNS, seen=seen, remedy=remedy, source=source)


def note(rule: str, seen: str, remedy: str | None, *, source: str = PAGE) -> Finding:
    """Word a finding that is good to know."""
    return Finding(rule=rule, severity=Severity.NOTE, seen=seen, remedy=remedy, source=source)


def one_of(rule: str, value: str | None, *, option: str, allowed: tuple[str, ...]) -> Finding | None:
    """Refuse a value that a closed list does not have, with the nearest that it has."""
    if value is None or value in allowed:
        return None
    near = get_close_matches(value.lower(), [one.lower() for one in allowed], n=1)
    best = next((one for one in allowed if [one.lower()] == near), " or ".join(allowed))
    listed = ", ".join(allowed)
    return blocks(
        rule,
        f"{value!r} is no value of {option}; the service lists {listed}.",
        f"Pass {option} {best}, or --skip-check {rule} if the list has grown.",
    )
