"""Command `check`."""

import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aliyun_import.cli.params import Command, OutputOptions, completed, option, output_options, panel
from aliyun_import.errors import DiskError, Exit

if TYPE_CHECKING:
    from aliyun_import.checks.run import CheckResult
    from aliyun_import.cli.render.renderer import SafeRenderer
    from aliyun_import.cli.render.result import Outcome

_options = panel(
    "Checks",
    option("--data", is_flag=True, help="The disks are data disks: checks of boot and guest are left out."),
    option("--explain", metavar="CHECK", help="Explain a check and exit.", shell_complete=completed("checks")),
    option(
        "--skip-check",
        "skip_checks",
        multiple=True,
        metavar="CHECK",
        help="Check to leave out; repeatable.",
        shell_complete=completed("checks"),
    ),
)


@click.command(
    cls=Command,
    examples=(
        ("check disk.raw", "inspect a disk as the system disk of an image"),
        ("check --data data1.vhd data2.vhd", "inspect data disks"),
        ("check --explain no-partition-table", "explain a check"),
    ),
)
@click.argument("disks", nargs=-1, type=click.Path())
@_options
@partial(output_options, verbose="Write notes too.")
def check(
    disks: tuple[str, ...], *, data: bool, explain: str | None, skip_checks: tuple[str, ...], output: OutputOptions
) -> int:
    """Inspect each of DISKS as the system disk of an image, and list the findings.

    Needs no root, no credentials and no network. Takes about a second a disk, some more for a compressed one. Exits
    with 0 when nothing blocks the import, else with 3.
    """
    from aliyun_import.cli.render.renderer import open_renderer

    with open_renderer(output.output, verbose=output.verbose, quiet=output.quiet) as renderer:
        if explain:
            renderer.outcome(_explained(explain))
            return Exit.DONE
        if not disks:
            raise click.UsageError("Missing argument 'DISKS...'.")
        from aliyun_import.checks.run import refuse_unknown_ids
        from aliyun_import.cli.render.check import check_outcome

        refuse_unknown_ids(skip_checks)
        skip = frozenset(skip_checks)
        results = [
            _checked(disk, renderer, is_only_disk=len(disks) == 1, is_data_disk=data, skip_checks=skip)
            for disk in disks
        ]
        is_terminal = output.output == "human" and sys.stdout.isatty()
        outcome = check_outcome(results, width=shutil.get_terminal_size().columns if is_terminal else None)
        renderer.outcome(outcome)
        return outcome.exit_code


def _checked(
    disk: str, renderer: "SafeRenderer", *, is_only_disk: bool, is_data_disk: bool, skip_checks: frozenset[str]
) -> "CheckResult":
    from aliyun_import import api
    from aliyun_import.checks.run import unopened
    from aliyun_import.events import StageStarted

    renderer.emit(StageStarted(stage="inspect", detail=disk))  # a compressed disk takes some seconds
    try:
        return api.check(disk, is_data_disk=is_data_disk, skip_checks=skip_checks)
    except DiskError as error:
        if is_only_disk:
            raise
        return unopened(Path(disk), error, skip_checks=skip_checks)


def _explained(check_id: str) -> "Outcome":
    from aliyun_import.checks.run import explain
    from aliyun_import.cli.render.result import Outcome

    text = explain(check_id)
    return Outcome(document={"command": "check", "rule": check_id, "explanation": text}, text=text)
