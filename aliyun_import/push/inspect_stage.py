"""This file is the first stage: what the disks are, whether they can be imported, and what they tell us.

Nothing here needs an account or a network. What the user left open is filled in from the disk.
"""

from dataclasses import dataclass

from aliyun_import.checks.infer import InferredParameters, infer_parameters
from aliyun_import.checks.run import raise_if_blocked, refuse_unknown_ids, run_disk_checks, run_request_checks
from aliyun_import.disk.containers.compressed_checks import COMPRESSED
from aliyun_import.disk.convert import needs_preparing
from aliyun_import.disk.guest.report import GuestReport
from aliyun_import.disk.inspect import inspect_disk
from aliyun_import.disk.report import DiskReport, TableKind
from aliyun_import.events import DiskInspected, Emit, FindingRaised
from aliyun_import.model.finding import Finding, Severity
from aliyun_import.model.request import ImportRequest
from aliyun_import.push.context import PushOptions
from aliyun_import.sizes import exact_size

_TABLES = {TableKind.NONE: "no partition table", TableKind.UNREADABLE: "a partition table that can't be read"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """What the inspection gave: the request with its gaps filled, and a report for each disk (None: it is in OSS).

    `asked` is the request as the user made it.
    """

    asked: ImportRequest
    request: ImportRequest
    reports: tuple[DiskReport | None, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One disk on its own, for `check`: what it is, what would be filled in, what was found."""

    report: DiskReport
    filled: InferredParameters
    findings: tuple[Finding, ...]


def inspect(request: ImportRequest, options: PushOptions, *, emit: Emit) -> Inspected:
    """Inspect, and judge: raises with every finding that blocks, at once. Skipped findings are not even said."""
    skip, force = options.skip_checks, options.force
    refuse_unknown_ids(skip)
    inspected = look_at_disks(request, bucket=options.bucket, key=options.key, emit=emit)
    said = [finding for finding in inspected.findings if finding.rule not in skip]
    for finding in said:
        if finding.severity is not Severity.BLOCKS:
            emit(FindingRaised(finding=finding))
    raise_if_blocked(said, force=force)
    for finding in said:  # those that block are in the error, unless --force went over them
        if finding.severity is Severity.BLOCKS:
            emit(FindingRaised(finding=finding))
    return inspected


def look_at_disks(request: ImportRequest, *, bucket: str | None, key: str | None, emit: Emit) -> Inspected:
    """Inspect every local disk, fill in the request, apply every rule; judge nothing."""
    findings: list[Finding] = []
    reports: list[DiskReport | None] = []
    filled = request
    for index, disk in enumerate(request.disks):
        report = inspect_disk(disk.path) if disk.path else None
        reports.append(report)
        if report is None:
            continue
        findings += run_disk_checks(report, request, index=index)
        from_disk = infer_parameters(report, request, index=index)
        filled = from_disk.merged_into(filled)
        emit(_said(report, from_disk))
    findings += run_request_checks(filled, bucket=bucket, key=key)
    return Inspected(asked=request, request=filled, reports=tuple(reports), findings=tuple(findings))


def _said(report: DiskReport, filled: InferredParameters) -> DiskInspected:
    return DiskInspected(
        disk=str(report.path),
        container=report.container,
        file_bytes=report.file_bytes,
        virtual_bytes=report.virtual_bytes or 0,
        summary=summary(report),
        filled_in=filled.evidence,
    )


def summary(report: DiskReport) -> str:
    """Say what a disk is in a few words: container, size, partition table, system."""
    words = [str(report.container)]
    if report.container in COMPRESSED:
        words.append("unpacked to a temporary file" if needs_preparing(report) else "unpacked as it is sent")
    if report.virtual_bytes is None:
        return ", ".join(words)
    words.append(exact_size(report.virtual_bytes))
    words.append(_TABLES.get(report.table, report.table.upper()))
    if report.table is TableKind.NONE and report.partitions:
        words.append(report.partitions[0].filesystem)
    elif report.partitions:
        words.append(f"{len(report.partitions)} partition{'s' if len(report.partitions) > 1 else ''}")
    if isinstance(report.guest, GuestReport) and report.guest.name:
        words.append(report.guest.name)
    return ", ".join(words)
