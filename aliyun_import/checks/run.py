"""This file turns all findings into one verdict: go on, or stop with every reason at once."""

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches

from aliyun_import.errors import AliyunImportError, DiskError, RefusedError, UsageError
from aliyun_import.model.finding import Finding, Severity


@dataclass(frozen=True, slots=True)
class Verdict:
    """All findings of a push, in the order in which they were made."""

    findings: tuple[Finding, ...]

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """The findings with which the import, or the first boot, can't work."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.BLOCKS)

    @property
    def refused(self) -> bool:
        """Tell whether anything blocks."""
        return bool(self.blocking)


def raise_if_refused(verdict: Verdict, *, skip: Collection[str] = (), force: bool = False) -> None:
    """Raise with every blocking finding and its remedy, unless `force`, or `skip` names the rules of all of them.

    DiskError (exit 3) when at least one of them is about a disk, else RefusedError (exit 5).
    """
    blocking = tuple(finding for finding in verdict.blocking if finding.rule not in skip)
    if force or not blocking:
        return
    about_disks = [finding for finding in blocking if finding.subject != "request"]
    kind: type[AliyunImportError] = DiskError if about_disks else RefusedError
    subjects = {finding.subject for finding in blocking}
    what = "The request" if not about_disks else subjects.pop() if len(subjects) == 1 else "This"
    code = blocking[0].rule if len(blocking) == 1 else ("disk-refused" if about_disks else "request-refused")
    raise kind(
        f"{what} can't be imported as it is{f': {len(blocking)} checks failed' if len(blocking) > 1 else ''}.",
        code=code,
        cause="\n".join(_line(finding, with_subject=what == "This") for finding in blocking),
        remedy=_remedy(blocking),
        details={"rules": ",".join(finding.rule for finding in blocking)},
    )


def refuse_unknown_rules(named: Collection[str], *, known: Collection[str], option: str = "--skip-check") -> None:
    """Raise UsageError for an option that names no rule: a typo must not look like a check that was skipped."""
    unknown = sorted(set(named) - set(known))
    if not unknown:
        return
    near = get_close_matches(unknown[0], known, n=3)
    advice = f"Pass {option} {near[0]}" if near else "Pass the name that stands in brackets behind a finding"
    raise UsageError(
        f"There is no check of the name {unknown[0]}.",
        code="unknown-check",
        cause=f"Close to it: {', '.join(near)}." if near else None,
        remedy=f"{advice}, or leave {option} {unknown[0]} out.",
    )


def _line(finding: Finding, *, with_subject: bool) -> str:
    subject = f"{finding.subject}: " if with_subject else ""
    where = f" ({finding.where})" if finding.where else ""
    return f"{subject}{finding.seen}{where} [{finding.rule}]"


def _remedy(blocking: tuple[Finding, ...]) -> str:
    """Join the remedies, each once, in order; where there is none, say how to go on regardless."""
    remedies = list(dict.fromkeys(finding.remedy for finding in blocking if finding.remedy))
    if remedies:
        return "\n".join(remedies)
    return f"Take another disk, or pass --skip-check {blocking[0].rule} to try it all the same."
