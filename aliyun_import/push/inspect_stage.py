"""First stage of a push: the inspection of the disks, and the conversion of those that ECS does not accept.

It needs neither an account nor a network. Parameters that the user left open are inferred from the disk. What is inside
a compressed disk is known only after its conversion: its boot mode, its system, and whether it can be imported at all.
"""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from aliyun_import.checks.context import gib
from aliyun_import.checks.disk import disk_findings
from aliyun_import.checks.infer import InferredParameters, infer_parameters
from aliyun_import.checks.registry import known_rules
from aliyun_import.checks.request import request_findings
from aliyun_import.checks.run import Verdict, raise_if_refused, refuse_unknown_rules
from aliyun_import.disk.containers.compressed_checks import COMPRESSED
from aliyun_import.disk.convert import needs_preparing, prepare
from aliyun_import.disk.guest.report import GuestReport
from aliyun_import.disk.inspect import inspect_disk
from aliyun_import.disk.report import DiskReport, TableKind
from aliyun_import.events import DiskInspected, Emit, FindingRaised, Warned
from aliyun_import.model.finding import Finding, Severity
from aliyun_import.model.request import DiskRequest, ImportRequest
from aliyun_import.push.options import PushOptions, PushRun

_TABLES = {TableKind.NONE: "no partition table", TableKind.UNREADABLE: "a partition table that can't be read"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Result of the inspection: the request with inferred parameters, and a report for each disk (None: it is in OSS).

    `asked` is the request as the user made it.
    """

    asked: ImportRequest
    request: ImportRequest
    reports: tuple[DiskReport | None, ...]
    findings: tuple[Finding, ...]


class SentDisks:
    """The disks of a push as they are sent: each converted at the first use, if it needs that, for the `with` block.

    Converting repeats the inspection, on the converted disks. Raises what `prepare` and `inspect` raise.
    """

    def __init__(self, inspection: Inspection, run: PushRun) -> None:
        self.inspection = inspection
        self._run = run
        self._files = ExitStack()
        self._request: ImportRequest | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the converted disks."""
        self._files.close()

    @property
    def request(self) -> ImportRequest:
        """The request with the disks as they are sent."""
        if self._request is None:
            self._request = self._converted()
        return self._request

    def _converted(self) -> ImportRequest:
        asked = self.inspection.asked
        disks = tuple(
            disk
            if disk.path is None or report is None or not needs_preparing(report)
            else replace(disk, path=self._convert(disk.path, report))
            for disk, report in zip(asked.disks, self.inspection.reports, strict=True)
        )
        if disks == asked.disks:
            return self.inspection.request
        return inspect(replace(asked, disks=disks), self._run.options, emit=self._run.context.emit).request

    def _convert(self, path: Path, report: DiskReport) -> Path:
        context = self._run.context
        with context.stage("convert", f"{path}, which is {report.container}") as stage:
            work_dir = self._run.options.conversion_dir
            converted = self._files.enter_context(prepare(path, report, work_dir=work_dir, emit=context.emit))
            reason = next(problem for problem in report.container_problems if problem.convertible)
            stage.detail = f"{path} is sent as {report.format or report.container}. {reason.seen} {reason.remedy or ''}"
        return converted


def inspect_stage(request: ImportRequest, run: PushRun) -> Inspection:
    """Run the first stage; raises DiskError with every finding that blocks."""
    with run.context.stage("inspect", "reading the disk") as stage:
        inspection = inspect(request, run.options, emit=run.context.emit)
        forced = _blocking(inspection, run.options)
        stage.detail = "blocking findings, overridden by --force" if forced else "no blocking findings"
    return inspection


def inspect(request: ImportRequest, options: PushOptions, *, emit: Emit) -> Inspection:
    """Inspect the disks and run the checks; raises with every finding that blocks, at once.

    Skipped findings are not emitted. With --force findings do not block, and a warning names those that would have.
    """
    skip, force = options.skip_checks, options.force
    refuse_unknown_rules(skip, known=known_rules())
    inspection = inspect_disks(request, bucket=options.bucket, key=options.key, emit=emit)
    verdict = Verdict(findings=inspection.findings)
    raised = [finding for finding in verdict.findings if finding.rule not in skip]
    for finding in raised:
        if finding.severity is not Severity.BLOCKS:
            emit(FindingRaised(finding=finding))
    raise_if_refused(verdict, skip=skip, force=force)
    for finding in raised:  # those that block are in the error, unless --force overrides them
        if finding.severity is Severity.BLOCKS:
            emit(FindingRaised(finding=finding))
    if forced := _blocking(inspection, options):
        emit(
            Warned(
                code="forced",
                message=f"--force overrides {len(forced)} blocking findings: {', '.join(forced)}.",
                remedy="Expect ECS to refuse the disk, or the image not to start, until they are repaired.",
            )
        )
    return inspection


def _blocking(inspection: Inspection, options: PushOptions) -> tuple[str, ...]:
    """Return the ids of the findings that block, without the skipped ones."""
    blocking = (one.rule for one in inspection.findings if one.severity is Severity.BLOCKS)
    return tuple(dict.fromkeys(rule for rule in blocking if rule not in options.skip_checks))


def inspect_disks(request: ImportRequest, *, bucket: str | None, key: str | None, emit: Emit) -> Inspection:
    """Inspect every local disk, infer parameters, run every check; raises for no finding."""
    findings: list[Finding] = []
    reports: list[DiskReport | None] = []
    filled = request
    for index, disk in enumerate(request.disks):
        report = inspect_disk(disk.path) if disk.path else None
        reports.append(report)
        if report is None:
            continue
        findings += disk_findings(report, is_system=index == 0, request=request, disk=disk)
        from_disk = infer_parameters(report, request, index=index)
        filled = _with(filled, index, disk, from_disk)
        emit(_event(report, from_disk))
    findings += request_findings(filled, bucket=bucket, key=key)
    return Inspection(asked=request, request=filled, reports=tuple(reports), findings=tuple(findings))


def _with(request: ImportRequest, index: int, disk: DiskRequest, filled: InferredParameters) -> ImportRequest:
    known = replace(disk, format=filled.format, size_gib=filled.size_gib)
    disks = (*request.disks[:index], known, *request.disks[index + 1 :])
    if index:
        return replace(request, disks=disks)
    return replace(
        request,
        disks=disks,
        boot_mode=filled.boot_mode,
        architecture=filled.architecture,
        os_type=filled.os_type,
        platform=filled.platform,
        nvme_support=filled.nvme_support,
        imds_support=filled.imds_support,
        license_type=filled.license_type,
    )


def _event(report: DiskReport, filled: InferredParameters) -> DiskInspected:
    return DiskInspected(
        disk=str(report.path),
        container=report.container,
        file_bytes=report.file_bytes,
        virtual_bytes=report.virtual_bytes or 0,
        summary=summary(report),
        filled_in=filled.evidence,
    )


def summary(report: DiskReport) -> str:
    """Return what a disk is in a few words: container, size, partition table, system."""
    words = [str(report.container)]
    if report.container in COMPRESSED:
        words.append("unpacked to a temporary file" if needs_preparing(report) else "unpacked as it is sent")
    if report.virtual_bytes is None:
        return ", ".join(words)
    words.append(gib(report.virtual_bytes))
    words.append(_TABLES.get(report.table, report.table.upper()))
    if report.table is TableKind.NONE and report.partitions:
        words.append(report.partitions[0].filesystem)
    elif report.partitions:
        words.append(f"{len(report.partitions)} partition{'s' if len(report.partitions) > 1 else ''}")
    if isinstance(report.guest, GuestReport) and report.guest.name:
        words.append(report.guest.name)
    return ", ".join(words)
