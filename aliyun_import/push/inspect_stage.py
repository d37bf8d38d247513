"""First stage of a push: the inspection of the disks, and the conversion of those that ECS does not accept.

It needs neither an account nor a network. Parameters that the user left open are inferred from the disk. The
content of a compressed disk is known only after its conversion: its boot mode, its system, whether it can be imported.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from aliyun_import.checks.infer import InferredParameters, infer_parameters
from aliyun_import.checks.platform import listed_platform
from aliyun_import.checks.run import raise_if_blocked, refuse_unknown_ids, run_disk_checks, run_request_checks
from aliyun_import.disk.containers.registry import format_named
from aliyun_import.disk.convert import needs_preparing, prepare
from aliyun_import.disk.guest.report import GuestReport
from aliyun_import.disk.inspect import inspect_opened
from aliyun_import.disk.report import DiskReport, TableKind
from aliyun_import.events import DiskInspected, FindingRaised, Warned
from aliyun_import.model.finding import Finding, Severity
from aliyun_import.model.request import ImportRequest
from aliyun_import.push.options import PushOptions, PushRun
from aliyun_import.sizes import exact_size

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
    """Disks of a push as they are sent; those that need it are converted at the first use.

    The converted files are removed when the disks of the run are closed. The converted disks are inspected again.
    Raises what `prepare` and `inspect` raise.
    """

    def __init__(self, inspection: Inspection, run: PushRun) -> None:
        self.inspection = inspection
        self._run = run
        self._sent: Inspection | None = None

    @property
    def request(self) -> ImportRequest:
        """The request with the disks as they are sent."""
        return self.sent.request

    @property
    def sent(self) -> Inspection:
        """The inspection of the disks as they are sent."""
        if self._sent is None:
            self._sent = self._convert_all()
        return self._sent

    def _convert_all(self) -> Inspection:
        asked = self.inspection.asked
        disks = tuple(
            disk
            if disk.path is None or report is None or not needs_preparing(report)
            else replace(disk, path=self._convert(disk.path, report))
            for disk, report in zip(asked.disks, self.inspection.reports, strict=True)
        )
        if disks == asked.disks:
            return self.inspection
        return inspect(replace(asked, disks=disks), self._run)

    def _convert(self, path: Path, report: DiskReport) -> Path:
        context = self._run.context
        self._run.disks[path].refuse_changed()  # a conversion opens it by name
        with context.stage("convert", f"{path}, which is {report.container}") as stage:
            work_dir = self._run.options.conversion_dir
            converted = self._run.disks.enter_context(prepare(path, report, work_dir=work_dir, emit=context.emit))
            self._run.disks.open(converted, name=path)
            reasons = [problem for problem in report.container_problems if problem.convertible]
            texts = [text for reason in reasons[:1] for text in (reason.message, reason.remedy) if text]
            stage.detail = " ".join([f"{path} is sent as {report.format}.", *texts])
        return converted


def inspect_stage(request: ImportRequest, run: PushRun) -> Inspection:
    """Run the first stage. Raises DiskError with all findings that block."""
    with run.context.stage("inspect", "reading the disk") as stage:
        inspection = inspect(request, run)
        forced = _blocking(inspection, run.options)
        stage.detail = "blocking findings, overridden by --force" if forced else "no blocking findings"
    return inspection


def inspect(request: ImportRequest, run: PushRun) -> Inspection:
    """Inspect the disks and run the checks. Raises one error with all findings that block.

    Skipped findings are not emitted. With --force findings do not block, and a warning names those that would have.
    """
    options, emit = run.options, run.context.emit
    skip, force = options.skip_checks, options.force
    refuse_unknown_ids(skip)
    request = replace(request, platform=listed_platform(request.platform))
    inspection = inspect_disks(request, run)
    raised = [finding for finding in inspection.findings if finding.rule not in skip]
    for finding in raised:
        if finding.severity is not Severity.BLOCKS:
            emit(FindingRaised(finding=finding))
    raise_if_blocked(raised, force=force)
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


def inspect_disks(request: ImportRequest, run: PushRun) -> Inspection:
    """Inspect every local disk, infer parameters, and run every check; no finding is raised."""
    findings: list[Finding] = []
    reports: list[DiskReport | None] = []
    filled = request
    for index, disk in enumerate(request.disks):
        report = inspect_opened(run.disks[disk.path]) if disk.path else None
        reports.append(report)
        if report is None:
            continue
        findings += run_disk_checks(report, request, index=index)
        from_disk = infer_parameters(report, request, index=index)
        filled = from_disk.merged_into(filled)
        run.context.emit(_event(report, from_disk))
    findings += run_request_checks(filled, bucket=run.options.bucket, key=run.options.key)
    return Inspection(asked=request, request=filled, reports=tuple(reports), findings=tuple(findings))


def _event(report: DiskReport, filled: InferredParameters) -> DiskInspected:
    return DiskInspected(
        disk=str(report.path),
        container=report.container,
        file_bytes=report.file_bytes,
        virtual_bytes=report.virtual_bytes or 0,
        summary=summary(report),
        filled_in=filled.evidence_on_disk,
    )


def summary(report: DiskReport) -> str:
    """Return a short description of a disk: container, size, partition table, system."""
    words = [report.container]
    if format_named(report.container).compression:
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
