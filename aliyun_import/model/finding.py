"""Findings of the checks."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """Effect of a finding on the push."""

    BLOCKS = "blocks"  # the import, or the first boot, cannot work
    WARNS = "warns"  # the instance boots, but something on it will not work
    NOTE = "note"  # worth knowing
    UNKNOWN = "unknown"  # could not be read: neither a pass nor a failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Result of a check, found before the first byte is sent.

    `rule` is the id of the check (for --skip-check and --explain), `message` a sentence, `where` the evidence (file and
    line, offset, option), `subject` the path of the disk or "request", `source` the document behind the check.
    """

    rule: str
    severity: Severity
    message: str
    remedy: str | None
    where: str = ""
    subject: str = "request"
    source: str = ""
