"""Command `check`."""

import shutil
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aliyun_import.cli.params import (
    Command,
    OutputOptions,
    Seconds,
    complete_from,
    option,
    options_as_dataclass,
    output_options,
    panel,
)
from aliyun_import.errors import DiskError, Exit

if TYPE_CHECKING:
    from aliyun_import.checks.run import CheckResult
    from aliyun_import.cli.render.renderer import SafeRenderer
    from aliyun_import.cli.render.result import Outcome

_options = panel(
    "Checks",
    option("--data", is_flag=True, help="The disks are data disks: checks of boot and guest are left out."),
    option("--explain", metavar="CHECK", help="Explain a check and exit.", shell_complete=complete_from("checks")),
    option(
        "--skip-check",
        "skip_checks",
        multiple=True,
        metavar="CHECK",
        help="Check to leave out; repeatable.",
        shell_complete=complete_from("checks"),
    ),
)
_FILE = click.Path(dir_okay=False, path_type=Path)
_boot_options = panel(
    "Boot test",
    option("--boot", is_flag=True, help="Start each disk in an isolated QEMU machine. This runs the code on the disk."),
    option(
        "--boot-timeout",
        "timeout_s",
        type=Seconds(),
        help="Maximum time of one boot, e.g. 5m. A disk whose system supports NVMe is booted a second time as NVMe.",
        show_default="10m",
    ),
    option("--boot-log", "log", type=_FILE, help="File for the whole console."),
    option("--boot-screen", "screen", type=_FILE, help="File for a picture of the last screen, as PNG."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BootTestOptions:
    """Values of the options of the boot test."""

    boot: bool = False
    timeout_s: float | None = None
    log: Path | None = None
    screen: Path | None = None

    def refuse_unusable(self, disks: Sequence[str], *, data: bool) -> None:
        """Raise UsageError for options on the command line that would have no effect, or would lose a result."""
        from aliyun_import.cli.context import given_options

        given = {one.name for one in given_options()}
        if not self.boot and given & {"timeout_s", "log", "screen"}:
            raise click.UsageError("--boot-timeout, --boot-log and --boot-screen need --boot.")
        if self.boot and data:
            raise click.UsageError("--boot is for system disks: leave out --data.")
        if (self.log or self.screen) and len(disks) > 1:
            raise click.UsageError("--boot-log and --boot-screen are for one disk: check the disks one by one.")


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
@options_as_dataclass("boot", f"{__name__}:BootTestOptions", _boot_options)
@partial(output_options, verbose="Also write notes.")
def check(
    disks: tuple[str, ...],
    *,
    data: bool,
    explain: str | None,
    skip_checks: tuple[str, ...],
    boot: "BootTestOptions",
    output: OutputOptions,
) -> int:
    """Inspect each of DISKS as the system disk of an image, and list the findings.

    Needs no root, no credentials and no network. Takes about a second per disk, longer for a compressed one, and
    minutes with --boot. Exits with 0 if nothing blocks the import, else with 3.
    """
    from aliyun_import.cli.render.renderer import open_renderer

    with open_renderer(output) as renderer:
        if explain:
            renderer.outcome(_explain(explain))
            return Exit.DONE
        if not disks:
            raise click.UsageError("Missing argument 'DISKS...'.")
        boot.refuse_unusable(disks, data=data)
        from aliyun_import.checks.run import refuse_unknown_ids
        from aliyun_import.cli.render.check import check_outcome

        refuse_unknown_ids(skip_checks)
        skip = frozenset(skip_checks)
        results = []
        for disk in disks:
            result = _check_disk(disk, renderer, is_only_disk=len(disks) == 1, is_data_disk=data, skip_checks=skip)
            results.append(_add_boot_test(result, boot, renderer, skip_checks=skip) if boot.boot else result)
        is_terminal = output.output == "human" and sys.stdout.isatty()
        outcome = check_outcome(results, width=shutil.get_terminal_size().columns if is_terminal else None)
        renderer.outcome(outcome)
        return outcome.exit_code


def _check_disk(
    disk: str, renderer: "SafeRenderer", *, is_only_disk: bool, is_data_disk: bool, skip_checks: frozenset[str]
) -> "CheckResult":
    from aliyun_import import api
    from aliyun_import.checks.run import result_of_error
    from aliyun_import.events import StageStarted

    renderer.emit(StageStarted(stage="inspect", detail=disk))  # a compressed disk takes some seconds
    try:
        return api.check(disk, is_data_disk=is_data_disk, skip_checks=skip_checks)
    except DiskError as error:
        if is_only_disk:
            raise
        return result_of_error(Path(disk), error, skip_checks=skip_checks)


def _add_boot_test(
    checked: "CheckResult", boot: BootTestOptions, renderer: "SafeRenderer", *, skip_checks: frozenset[str]
) -> "CheckResult":
    """Return the result with a boot test; unchanged if the disk can't be started for the reasons in its findings."""
    from aliyun_import import boot_tests
    from aliyun_import.boot.run import DEFAULT_TIMEOUT_S, BootOptions
    from aliyun_import.checks.run import with_boot_test
    from aliyun_import.cli.context import cancel_on_signals
    from aliyun_import.events import Noted

    cancel = threading.Event()
    options = BootOptions(timeout_s=boot.timeout_s or DEFAULT_TIMEOUT_S, log=boot.log, screen=boot.screen)
    try:
        with cancel_on_signals(cancel):
            test = boot_tests.boot_test(checked, options=options, on_event=renderer.emit, cancel=cancel)
    except DiskError as error:
        if checked.ok:
            raise
        renderer.emit(Noted(message=f"The disk was not started. {error.summary}"))
        return checked
    return with_boot_test(checked, test, skip_checks=skip_checks)


def _explain(check_id: str) -> "Outcome":
    from aliyun_import.checks.run import explain
    from aliyun_import.cli.render.result import Outcome

    text = explain(check_id)
    return Outcome(document={"command": "check", "rule": check_id, "explanation": text}, text=text)
