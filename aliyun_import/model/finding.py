"""Findings of the checks."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a finding means for the push; the two classes that matter are never mixed."""

    BLOCKS = "blocks"  # the import, or the first boot, can't work
    WARNS = "warns"  # the instance will start, but something on it won't work
    NOTE = "note"  # worth knowing
    UNKNOWN = "unknown"  # could not be read: never taken for fine, never for a failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fact found before the first byte is sent.

    `rule` is its stable kebab-case name (for --skip-check and --explain); `seen` a sentence that says what was seen;
    `where` the evidence (file and line, offset, option); `subject` the disk path or "request"; `source` the
    document behind the rule.
    """

    rule: str
    severity: Severity
    seen: str
    remedy: str | None
    where: str = ""
    subject: str = "request"
    source: str = ""
