"""The command `check`: what a disk is and whether it will boot on ECS, without an account or a network."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aliyun_import.cli.params import groups, option, output_options
from aliyun_import.errors import DiskError, Exit

if TYPE_CHECKING:
    from aliyun_import.cli.render.result import Outcome
    from aliyun_import.push.inspect_stage import Checked

check_options = groups(
    option("--data", is_flag=True, help="The disks are data disks: checks of booting and of the guest do not apply."),
    option("--explain", metavar="ID", help="Print what a check is about and why, and exit."),
    option("--skip-check", "skip_checks", multiple=True, metavar="ID", help="Skip a check; repeatable."),
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
    """Check each of DISKS as the system disk of an image, and list the findings.

    Needs no root, no credentials and no network, and takes about a second (several for a compressed disk). Exit 0 if no
    finding blocks, else 3.
    """
    from aliyun_import.cli.render.renderer import open_renderer

    with open_renderer(output, verbose=verbose, quiet=quiet) as voice:
        if explain:
            voice.outcome(_explained(explain))
            return Exit.DONE
        if not disks:
            raise click.UsageError("Missing argument 'DISKS...'.")
        from aliyun_import.checks.run import refuse_unknown_ids
        from aliyun_import.cli.render.check import check_outcome
        from aliyun_import.events import StageStarted

        refuse_unknown_ids(skip_checks)
        checked, skip = [], frozenset(skip_checks)
        for disk in disks:
            voice.emit(StageStarted(stage="inspect", detail=disk))  # a compressed disk takes some seconds
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
    """Return the width to wrap at: that of the terminal, if stdout is one."""
    import shutil
    import sys

    return shutil.get_terminal_size().columns if output == "human" and sys.stdout.isatty() else None


def _checked(path: Path, *, data: bool, skip: frozenset[str]) -> "Checked":
    from aliyun_import.checks.infer import infer_parameters
    from aliyun_import.checks.run import run_disk_checks
    from aliyun_import.disk.inspect import inspect_disk
    from aliyun_import.model.request import DiskRequest, ImportRequest
    from aliyun_import.push.inspect_stage import Checked

    disk = DiskRequest(path=path)
    # A data disk is the second disk of an image whose first is not inspected.
    disks, index = ((disk, disk), 1) if data else ((disk,), 0)
    request = ImportRequest(region="", name="", disks=disks)
    report = inspect_disk(path)
    findings = run_disk_checks(report, request, index=index)
    return Checked(
        report=report,
        filled=infer_parameters(report, request, index=index),
        findings=tuple(finding for finding in findings if finding.rule not in skip),
    )


def _not_opened(path: Path, error: DiskError, *, skip: frozenset[str]) -> "Checked":
    """Return the failure to open a disk as a finding, so that the other disks are still shown."""
    from aliyun_import.checks.infer import InferredParameters
    from aliyun_import.checks.registry import Source
    from aliyun_import.disk.report import Container, DiskReport
    from aliyun_import.model.finding import Finding, Severity
    from aliyun_import.push.inspect_stage import Checked

    finding = Finding(
        rule=error.code,
        severity=Severity.BLOCKS,
        message=error.summary,
        where=error.cause or "",
        remedy=error.remedy,
        subject=str(path),
        source=Source.JUDGEMENT,
    )
    return Checked(
        report=DiskReport(path=path, container=Container.UNKNOWN, format=None, file_bytes=0, virtual_bytes=None),
        filled=InferredParameters(values={}),
        findings=() if error.code in skip else (finding,),
    )


def _explained(check_id: str) -> "Outcome":
    from aliyun_import.checks.run import explain
    from aliyun_import.cli.render.result import Outcome

    text = explain(check_id)
    return Outcome(document={"command": "check", "rule": check_id, "explanation": text}, text=text)
