"""Run of all checks, the verdict of a boot test as a finding, and the refusal of what cannot be imported."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

from aliyun_import.checks import (
    access,
    boot,
    container,
    disk,
    kernel,
    layout,
    mounts,
    network,
    platform,
    windows,
)
from aliyun_import.checks import request as request_checks
from aliyun_import.checks.infer import InferredParameters, infer_parameters
from aliyun_import.checks.registry import (
    SUBJECTS,
    AppliesTo,
    Check,
    DiskSubject,
    Found,
    GuestSubject,
    RequestSubject,
    Source,
    SystemDiskSubject,
    declare_check,
)
from aliyun_import.disk.inspect import inspect_disk
from aliyun_import.disk.report import UNKNOWN, DiskReport
from aliyun_import.errors import AliyunImportError, DiskError, RefusedError, UsageError
from aliyun_import.model.boot import BootTest, CloudBootTest, Judgement, Verdict
from aliyun_import.model.finding import Finding, Severity
from aliyun_import.model.request import DiskRequest, ImportRequest

_SEVERITIES = {
    Verdict.FAILS: Severity.BLOCKS,
    Verdict.UNPROVEN: Severity.UNKNOWN,
    Verdict.DEGRADED: Severity.WARNS,
    Verdict.BOOTS: Severity.NOTE,
}
# {} is "disk" or "image".
_SENTENCES = {
    Verdict.FAILS: "The {} does not boot",
    Verdict.UNPROVEN: "Whether the {} boots is not proven",
    Verdict.DEGRADED: "The {} boots, and something on it does not work",
    Verdict.BOOTS: "The {} boots",
}
BOOT_TEST = declare_check(
    "boot-test",
    {
        Severity.BLOCKS: "if it does not boot",
        Severity.WARNS: "if it boots with failures",
        Severity.UNKNOWN: "if neither is proven",
        Severity.NOTE: "if it boots",
    },
    "Start the disk in QEMU, on a machine like an ECS instance, and read its console. The test runs the code on the "
    "disk, so it is made with `check --boot` and `push --boot-test local` only. `push --boot-test cloud` starts an "
    "instance of the image instead.",
    source=Source.JUDGEMENT,
    applies_to=AppliesTo.BOOT,
)
# The order of the modules is the order of checks in docs/, and of findings of equal severity.
_MODULES: tuple[ModuleType, ...] = (
    request_checks,
    disk,
    boot,
    layout,
    kernel,
    platform,
    mounts,
    network,
    access,
    windows,
)


def _checks_of(module: ModuleType) -> tuple[Check, ...]:
    return tuple(value for value in vars(module).values() if isinstance(value, Check))


CHECKS: tuple[Check, ...] = (
    *container.PROBLEMS,
    *(one for module in _MODULES for one in _checks_of(module)),
    *request_checks.CHOICE_CHECKS,
    BOOT_TEST,
)
_BY_ID = {one.id: one for one in CHECKS}


def run_disk_checks(report: DiskReport, request: ImportRequest, *, index: int = 0) -> tuple[Finding, ...]:
    """Return all findings about request.disks[index], the blocking ones first. Disk 0 is the system disk.

    Pure: only `report` and `request` are used. What could not be read is a finding of severity "unknown".
    """
    path, guest = str(report.path), report.guest
    disk = request.disks[index]
    subject = DiskSubject(report=report, request=request, disk=disk)
    findings = [*_container_findings(report), *_apply_checks(subject, path)]
    if index == 0:
        findings += _apply_checks(SystemDiskSubject(report=report, request=request, disk=disk), path)
        if guest is not None:
            system = GuestSubject(report=report, request=request, disk=disk, guest=guest)
            found = _apply_checks(system, path)
            findings += map(_without_blocking, found) if guest.uncertain else found
        if guest is not None and guest.windows is not None:
            findings += _apply_checks(guest.windows, path)
    return by_severity(findings)


def by_severity(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings in the order of their severity, those that block first."""
    order = list(Severity)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.severity)))


def run_request_checks(
    request: ImportRequest, *, bucket: str | None = None, key: str | None = None
) -> tuple[Finding, ...]:
    """Return all findings about a request. `bucket` and `key` are those of the staging object, if the user set them."""
    subject = RequestSubject(request=request, bucket=bucket, key=key)
    return tuple(_apply_checks(subject, "request"))


def raise_if_blocked(findings: Iterable[Finding], *, force: bool = False) -> None:
    """Raise an error with all blocking findings and their remedies, unless `force`.

    Raises DiskError (exit 3) if one of them is about a disk, else RefusedError (exit 5).
    """
    blocking = [one for one in findings if one.severity is Severity.BLOCKS]
    if force or not blocking:
        return
    about_disk = any(finding.subject != "request" for finding in blocking)
    error: type[AliyunImportError] = DiskError if about_disk else RefusedError
    subjects = {finding.subject for finding in blocking}
    name = "This push" if len(subjects) > 1 else subjects.pop() if about_disk else "The request"
    many = len(blocking) > 1
    code = blocking[0].rule if not many else "disk-refused" if about_disk else "request-refused"
    summary = f"{name} cannot be imported as it is{f': {len(blocking)} checks failed' if many else ''}."
    cause = "\n".join(_cause(finding, with_subject=name == "This push") for finding in blocking)
    if not many and not about_disk:
        summary, cause = blocking[0].message, ""
    raise error(
        summary,
        code=code,
        cause=cause or None,
        remedy=_remedy(blocking),
        details={"rules": ",".join(finding.rule for finding in blocking)},
    )


def known_ids() -> frozenset[str]:
    """Return the ids that --skip-check and --explain accept."""
    return frozenset(_BY_ID)


def find_check(check_id: str) -> Check:
    """Return the check with this id. Raises UsageError "unknown-check" if there is none."""
    refuse_unknown_ids([check_id], option="--explain")
    return _BY_ID[check_id]


def explain(check_id: str) -> str:
    """Return the text of `check --explain`. Raises UsageError "unknown-check" if there is no check with this id."""
    known = find_check(check_id)
    return (
        f"{known.id}: {known.severity_text}\n\n{known.explanation}\n\n"
        f"Source: {known.source}\nTo skip it: --skip-check {known.id}"
    )


def refuse_unknown_ids(ids: Collection[str], *, option: str = "--skip-check") -> None:
    """Raise UsageError "unknown-check" if an id is not that of a check."""
    known = known_ids()
    unknown = sorted(set(ids) - set(known))
    if not unknown:
        return
    near = get_close_matches(unknown[0], known, n=3)
    advice = f"Pass {option} {near[0]}" if near else "Pass the id in brackets at the end of a finding"
    raise UsageError(
        f"There is no check {unknown[0]}.",
        code="unknown-check",
        cause=f"Similar: {', '.join(near)}." if near else None,
        remedy=f"{advice}, or omit {option} {unknown[0]}.",
    )


def _apply_checks(subject: object, name: str) -> Iterator[Finding]:
    """Yield the findings of all checks that apply to a subject. `name` becomes their `subject`."""
    for declared in CHECKS:
        if declared.applies_to is SUBJECTS[type(subject)] and declared.function is not None:
            result = declared.function(subject)
            for found in [result] if isinstance(result, Found) else result or ():
                yield Finding(
                    rule=declared.id,
                    severity=found.severity or declared.severity,
                    message=found.message,
                    remedy=found.remedy,
                    where=found.where,
                    subject=name,
                    source=declared.source,
                )


def _without_blocking(finding: Finding) -> Finding:
    """Return a finding about a system that may not be the one that starts. It does not block."""
    if finding.severity is not Severity.BLOCKS:
        return finding
    return replace(finding, severity=Severity.UNKNOWN, message=f"If this system starts: {finding.message}")


def _container_findings(report: DiskReport) -> Iterator[Finding]:
    """Yield the problems of the file and its partition table, which the inspection found."""
    for problem in report.container_problems:
        known = _BY_ID.get(problem.code)
        yield Finding(
            rule=problem.code,
            severity=problem.severity,
            message=problem.message,
            remedy=problem.remedy,
            where=problem.where,
            subject=str(report.path),
            source=known.source if known else Source.JUDGEMENT,
        )


def _cause(finding: Finding, *, with_subject: bool) -> str:
    subject = f"{finding.subject}: " if with_subject else ""
    where = f" ({finding.where})" if finding.where else ""
    return f"{subject}{finding.message}{where} [{finding.rule}]"


def _remedy(blocking: Sequence[Finding]) -> str:
    """Return the remedies in order, each once. Without any, return how to skip the first check."""
    remedies = list(dict.fromkeys(finding.remedy for finding in blocking if finding.remedy))
    if remedies:
        return "\n".join(remedies)
    return f"Use another disk, or pass --skip-check {blocking[0].rule} to try it regardless."


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Result of the check of one disk.

    `report` describes the disk. `parameters` are those that a push infers from it. `boot_test` is None if the disk was
    not started.
    """

    report: DiskReport
    parameters: InferredParameters
    findings: tuple[Finding, ...]
    boot_test: BootTest | None = None

    @property
    def ok(self) -> bool:
        """Whether no finding blocks the import. Findings of severity "unknown" do not block."""
        return not any(finding.severity is Severity.BLOCKS for finding in self.findings)


def check_disk(
    path: Path, *, name: Path | None = None, is_data_disk: bool = False, skip_checks: Collection[str] = ()
) -> CheckResult:
    """Inspect a disk and apply all checks to it except `skip_checks`.

    `name` is the file that the user gave, if it is another one. Raises DiskError if the file cannot be opened or read,
    and UsageError "unknown-check".
    """
    refuse_unknown_ids(skip_checks)
    disk = DiskRequest(path=path)
    # A data disk is the second disk of an image; its first disk is not inspected.
    disks, index = ((disk, disk), 1) if is_data_disk else ((disk,), 0)
    request = ImportRequest(region="", name="", disks=disks)
    report = inspect_disk(path, name=name)
    findings = run_disk_checks(report, request, index=index)
    return CheckResult(
        report=report,
        parameters=infer_parameters(report, request, index=index),
        findings=tuple(finding for finding in findings if finding.rule not in skip_checks),
    )


def image_boot_finding(test: CloudBootTest) -> Finding:
    """Return the finding of the boot test of an image."""
    sentence = _SENTENCES[test.judgement.verdict].format("image")
    return _finding_of(test.judgement, f"{sentence} ({test.instance_type}): {test.judgement.reason}", test.image_id)


def boot_finding(test: BootTest, path: Path) -> Finding:
    """Return the finding of a boot test. It describes the decisive boot, and names the verdicts of the others."""
    run = test.decisive
    machine, judgement = run.machine, run.judgement
    others = "".join(f" From {one.machine.bus}: {one.judgement.verdict}." for one in test.runs if one is not run)
    sentence = _SENTENCES[judgement.verdict].format("disk")
    message = f"{sentence} ({machine.boot_mode}, {machine.bus}): {judgement.reason}{others}"
    return _finding_of(judgement, message, str(path))


def _finding_of(judgement: Judgement, message: str, subject: str) -> Finding:
    return Finding(
        rule=BOOT_TEST.id,
        severity=_SEVERITIES[judgement.verdict],
        message=message,
        remedy=judgement.remedy,
        where=f"console: {judgement.evidence[-1]}" if judgement.evidence else "",
        subject=subject,
        source=BOOT_TEST.source,
    )


def with_boot_test(checked: CheckResult, test: BootTest, *, skip_checks: Collection[str] = ()) -> CheckResult:
    """Return the result with a boot test, and with its verdict as a finding unless `skip_checks` has its id."""
    finding = boot_finding(test, checked.report.path)
    findings = checked.findings if finding.rule in skip_checks else by_severity((*checked.findings, finding))
    return replace(checked, findings=findings, boot_test=test)


def result_of_error(path: Path, error: DiskError, *, skip_checks: Collection[str] = ()) -> CheckResult:
    """Return a result with the error of a disk that could not be opened as its finding."""
    finding = Finding(
        rule=error.code,
        severity=Severity.BLOCKS,
        message=error.summary,
        where=error.cause or "",
        remedy=error.remedy,
        subject=str(path),
        source=Source.JUDGEMENT,
    )
    return CheckResult(
        report=DiskReport(path=path, container=UNKNOWN, format=None, file_bytes=0, virtual_bytes=None),
        parameters=InferredParameters(values={}),
        findings=() if error.code in skip_checks else (finding,),
    )
