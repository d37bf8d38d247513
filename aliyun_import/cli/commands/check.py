"""This file is the command `check`: what a disk is and whether it will boot there, without account or network."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aliyun_import.cli.params import groups, option, output_options
from aliyun_import.errors import DiskError, Exit

if TYPE_CHECKING:
    from aliyun_import.cli.render.result import Outcome
    from aliyun_import.push.inspect_stage import Checked

check_options = groups(
    option("--data", is_flag=True, help="The disks are data disks: boot and guest rules don't apply."),
    option("--explain", metavar="RULE", help="Say what a rule looks at and why, and leave."),
    option("--skip-check", "skip_checks", multiple=True, metavar="RULE", help="Pass over a finding; repeatable."),
)


@click.command()
@click.argument("disks", nargs=-1)
@check_options
@output_options
def check(
    disks: tuple[str, ...],
    *,
    data: bool,
    explain: str | None,
    skip_checks: tuple[str, ...],
    output: str,
    verbose: int,
    quiet: bool,
) -> int:
    """Inspect each of DISKS as the system disk of an image, and list what was found.

    Needs no root, no credentials and no network, and takes about a second (some, where the disk is packed). Exit 0 when
    nothing blocks, else 3.
    """
    from aliyun_import.cli.render.renderer import open_renderer

    with open_renderer(output, verbose=verbose, quiet=quiet) as voice:
        if explain:
            voice.outcome(_explained(explain))
            return Exit.DONE
        if not disks:
            raise click.UsageError("Missing argument 'DISKS...'.")
        from aliyun_import.checks.registry import known_rules
        from aliyun_import.checks.run import refuse_unknown_rules
        from aliyun_import.cli.render.check import check_outcome
        from aliyun_import.events import StageStarted

        refuse_unknown_rules(skip_checks, known=known_rules())
        checked, skip = [], frozenset(skip_checks)
        for disk in disks:
            voice.emit(StageStarted(stage="inspect", detail=disk))  # of a packed disk this takes some seconds
            try:
                checked.append(_checked(Path(disk), data=data, skip=skip))
            except DiskError as error:
                if len(disks) == 1:
                    raise
                checked.append(_not_opened(Path(disk), error, skip=skip))
        outcome = check_outcome(checked, width=_width(output))
        voice.outcome(outcome)
        return outcome.exit_code


def _width(output: str) -> int | None:
    """Give the width to wrap at: that of the terminal that a person reads on."""
    import shutil
    import sys

    return shutil.get_terminal_size().columns if output == "human" and sys.stdout.isatty() else None


def _checked(path: Path, *, data: bool, skip: frozenset[str]) -> "Checked":
    from aliyun_import.checks.disk import disk_findings
    from aliyun_import.checks.infer import infer_parameters
    from aliyun_import.disk.inspect import inspect_disk
    from aliyun_import.model.request import DiskRequest, ImportRequest
    from aliyun_import.push.inspect_stage import Checked

    disk = DiskRequest(path=path)
    # As a data disk it is the second of an image whose first is not looked at.
    request = ImportRequest(region="", name="", disks=(disk, disk) if data else (disk,))
    report = inspect_disk(path)
    findings = disk_findings(report, is_system=not data, request=request, disk=disk)
    return Checked(
        report=report,
        filled=infer_parameters(report, request, index=1 if data else 0),
        findings=tuple(finding for finding in findings if finding.rule not in skip),
    )


def _not_opened(path: Path, error: DiskError, *, skip: frozenset[str]) -> "Checked":
    """Say that a disk can't be opened as a finding: the others are shown all the same."""
    from aliyun_import.checks.context import JUDGEMENT
    from aliyun_import.checks.infer import InferredParameters
    from aliyun_import.disk.report import UNKNOWN, DiskReport
    from aliyun_import.model.finding import Finding, Severity
    from aliyun_import.push.inspect_stage import Checked

    finding = Finding(
        rule=error.code,
        severity=Severity.BLOCKS,
        seen=error.summary,
        where=error.cause or "",
        remedy=error.remedy,
        subject=str(path),
        source=JUDGEMENT,
    )
    return Checked(
        report=DiskReport(path=path, container=UNKNOWN, format=None, file_bytes=0, virtual_bytes=None),
        filled=InferredParameters(format=None, size_gib=None),
        findings=() if error.code in skip else (finding,),
    )


def _explained(rule: str) -> "Outcome":
    from aliyun_import.checks.registry import explain
    from aliyun_import.cli.render.result import Outcome

    text = explain(rule)
    return Outcome(document={"command": "check", "rule": rule, "explanation": text}, text=text)
