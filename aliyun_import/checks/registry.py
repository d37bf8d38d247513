"""This file tells what each rule looks at and why, for `check --explain RULE`, and knows the names of all rules."""

from dataclasses import dataclass

from aliyun_import.checks.context import Text
from aliyun_import.checks.explain_disk import CONTAINER_TEXTS, DISK_TEXTS
from aliyun_import.checks.explain_guest import GUEST_TEXTS
from aliyun_import.checks.explain_request import REQUEST_TEXTS
from aliyun_import.checks.run import refuse_unknown_rules

_TEXTS: dict[str, Text] = CONTAINER_TEXTS | DISK_TEXTS | GUEST_TEXTS | REQUEST_TEXTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a rule is about. `classes` are the severities that it gives ("blocks", "warns, or blocks ...")."""

    rule: str
    classes: str
    text: str
    source: str


def explain(rule: str) -> str:
    """Give what a rule looks at, why, and which document asks for it, as lines for people.

    Raises UsageError "unknown-check" for a name that no rule has.
    """
    known = explanation(rule)
    return (
        f"{known.rule}: {known.classes}\n\n{known.text}\n\nSource: {known.source}\nTo pass over it: --skip-check {rule}"
    )


def explanation(rule: str) -> Explanation:
    """Give the same in its parts."""
    refuse_unknown_rules([rule], known=known_rules(), option="--explain")
    classes, text, source = _TEXTS[rule]
    return Explanation(rule=rule, classes=classes, text=text, source=source)


def known_rules() -> frozenset[str]:
    """Give the names of all rules that a finding can have, for --skip-check."""
    return frozenset(_TEXTS)
