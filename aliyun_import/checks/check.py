"""Check of one disk, without account and network."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from aliyun_import.checks.infer import InferredParameters, infer_parameters
from aliyun_import.checks.registry import Source
from aliyun_import.checks.run import refuse_unknown_ids, run_disk_checks
from aliyun_import.disk.inspect import inspect_disk
from aliyun_import.disk.report import UNKNOWN, DiskReport
from aliyun_import.errors import DiskError
from aliyun_import.model.finding import Finding, Severity
from aliyun_import.model.request import DiskRequest, ImportRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Result of the check of one disk.

    `report` is what the disk is, `parameters` what a push infers from it, `findings` what the checks found.
    """

    report: DiskReport
    parameters: InferredParameters
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether no finding blocks the import. False does not mean "unknown": such findings don't block."""
        return not any(finding.severity is Severity.BLOCKS for finding in self.findings)


def check_disk(path: Path, *, is_data_disk: bool = False, skip_checks: Collection[str] = ()) -> CheckResult:
    """Inspect a disk and apply every check to it; findings of `skip_checks` are left out.

    Raises DiskError for a file that can't be opened or read, and UsageError "unknown-check".
    """
    refuse_unknown_ids(skip_checks)
    disk = DiskRequest(path=path)
    # A data disk is the second disk of an image; its first disk is not inspected.
    disks, index = ((disk, disk), 1) if is_data_disk else ((disk,), 0)
    request = ImportRequest(region="", name="", disks=disks)
    report = inspect_disk(path)
    findings = run_disk_checks(report, request, index=index)
    return CheckResult(
        report=report,
        parameters=infer_parameters(report, request, index=index),
        findings=tuple(finding for finding in findings if finding.rule not in skip_checks),
    )


def unopened(path: Path, error: DiskError, *, skip_checks: Collection[str] = ()) -> CheckResult:
    """Return the error of a disk that can't be opened as a finding, for a list of several disks."""
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
