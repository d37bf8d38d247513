"""This file asks every rule about a disk, and holds those about its size.

A rule is a pure function of a Subject that gives one Finding or None; `explain.py` tells each rule's reason. Rules
about starting are for the system disk only: a data disk may be a bare file system, or empty on purpose.
"""

from aliyun_import.checks.boot import BOOT_RULES
from aliyun_import.checks.conflicts import CONTRADICTION_RULES, FORMAT_RULES
from aliyun_import.checks.context import API, GUIDE_2021, JUDGEMENT, LINUX_2026, Rule, RuleContext, gib
from aliyun_import.checks.explain_disk import CONTAINER_TEXTS
from aliyun_import.checks.guest import GUEST_RULES, INSPECTION_RULES
from aliyun_import.checks.infer import MIN_SYSTEM_GIB, os_type_of
from aliyun_import.checks.layout import LAYOUT_RULES
from aliyun_import.disk.report import DiskReport
from aliyun_import.limits import GIB, MAX_DISK_GIB
from aliyun_import.model.finding import Finding, Severity
from aliyun_import.model.request import DiskRequest, ImportRequest, OsType

_RECOMMENDED_GIB = {OsType.LINUX: 20, OsType.WINDOWS: 40}


def disk_findings(
    report: DiskReport, *, is_system: bool, request: ImportRequest, disk: DiskRequest
) -> tuple[Finding, ...]:
    """Apply every rule about a disk: the problems of its container first, then what blocks, warns, and is worth a note.

    Pure: nothing is read. What the report could not tell comes out as findings of severity "unknown".
    """
    subject = RuleContext(report=report, request=request, disk=disk, is_system=is_system)
    findings = [_container_finding(subject, index) for index in range(len(report.container_problems))]
    rules = ANY_DISK_RULES | (SYSTEM_DISK_RULES if is_system else {})
    findings += [finding for rule in rules.values() if (finding := rule(subject)) is not None]
    order = list(Severity)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.severity)))


def disk_too_large(subject: RuleContext) -> Finding | None:
    """Block a disk whose virtual size is more than the service takes."""
    size = subject.report.virtual_bytes
    if size is None or size <= MAX_DISK_GIB * GIB:
        return None
    return subject.finding(
        "disk-too-large",
        Severity.BLOCKS,
        f"The disk has {gib(size)}; ImportImage takes 1-{MAX_DISK_GIB} GiB.",
        remedy="Shrink the file system, the partition and the disk, or move part of the data to a data disk.",
        where=f"virtual size {size} bytes",
        source=API,
    )


def disk_small(subject: RuleContext) -> Finding | None:
    """Say that the disk is smaller than what the documents recommend."""
    size = subject.report.virtual_bytes
    if size is None or subject.container_blocks or not subject.report.partitions:
        return None
    os_type, _ = os_type_of(subject.report)
    asked = max(size, (subject.disk.size_gib or 0) * GIB)
    least = _RECOMMENDED_GIB[os_type or OsType.LINUX]
    if asked >= least * GIB:
        return None
    windows = os_type is OsType.WINDOWS
    raised = f" It is imported as {MIN_SYSTEM_GIB} GiB." if asked < MIN_SYSTEM_GIB * GIB else ""
    return subject.finding(
        "disk-small",
        Severity.WARNS if windows else Severity.NOTE,
        f"The system disk has {gib(asked)}; {least} GiB or more are recommended for "
        f"{'Windows' if windows else 'Linux'}.{raised}",
        remedy=f"Give --disk-size {least} to import it onto a larger disk; the guest then has to grow its root.",
        where=f"virtual size {size} bytes",
        source=GUIDE_2021 if windows else LINUX_2026,
    )


def _container_finding(subject: RuleContext, index: int) -> Finding:
    problem = subject.report.container_problems[index]
    source = CONTAINER_TEXTS[problem.code][2] if problem.code in CONTAINER_TEXTS else JUDGEMENT
    return subject.finding(
        problem.code,
        problem.severity,
        problem.seen,
        remedy=problem.remedy,
        where=problem.where,
        source=source,
    )


# By name, in the order in which they are asked.
ANY_DISK_RULES: dict[str, Rule] = {"disk-too-large": disk_too_large} | FORMAT_RULES | INSPECTION_RULES
SYSTEM_DISK_RULES: dict[str, Rule] = (
    BOOT_RULES | CONTRADICTION_RULES | LAYOUT_RULES | GUEST_RULES | {"disk-small": disk_small}
)
