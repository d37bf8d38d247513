"""Command `image boot-test`, and the options of boot tests of `push`."""

import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aliyun_import.cli.groups import Group
from aliyun_import.cli.params import (
    RARE,
    CloudOptions,
    Command,
    OutputOptions,
    Seconds,
    cloud_options,
    option,
    options_as_dataclass,
    output_options,
    panel,
)

if TYPE_CHECKING:
    from aliyun_import.boot.instance_choice import CloudBootOptions, Confirm, InstanceOffer
    from aliyun_import.push.options import PushOptions

_FILE = click.Path(dir_okay=False, path_type=Path)
_NETWORK = (
    option(
        "--vswitch",
        "vswitch_id",
        help="Id of the vSwitch of the instance; it determines the zone.",
        show_default="the one with the tag import-boot-test",
    ),
    option(
        "--security-group",
        "security_group_id",
        help="Id of the security group of the instance, in the VPC of the vSwitch, preferably one without rules.",
        show_default="the one with the tag import-boot-test",
    ),
)
YES = option("--yes", is_flag=True, help="Start the instance, which costs money, without asking.")
_instance_options = panel(
    "Instance",
    *_NETWORK,
    option(
        "--boot-timeout",
        "timeout_s",
        type=Seconds(),
        help="Maximum time of the boot, e.g. 5m.",
        show_default="10m",
    ),
    option("--boot-log", "log", type=_FILE, help="File for the whole console."),
    option("--boot-screen", "screen", type=_FILE, help="File for a picture of the last screen, as JPEG."),
)
PUSH_BOOT_TEST = (
    option(
        "--boot-test",
        type=click.Choice(["local", "cloud"]),
        help="local: first start the disk in an isolated QEMU machine, which runs the code on it. cloud: start an "
        "instance of the image before it gets its name, which costs money. Stop if it does not boot.",
    ),
    option("--boot-timeout", "boot_timeout_s", type=Seconds(), help="Maximum time of a boot.", show_default="10m"),
    option("--boot-log", type=_FILE, help="File for the whole console."),
    option("--boot-screen", type=_FILE, help="File for a picture of the last screen: PNG, of an instance JPEG."),
    *_NETWORK,
)


@click.group(cls=Group)
def image() -> None:
    """Test custom images."""


@image.command(
    "boot-test",
    cls=Command,
    examples=(
        ("image boot-test m-0example --vswitch vsw-0example --security-group sg-0example", "ask, then start it"),
        ("image boot-test m-0example --vswitch vsw-0example --security-group sg-0example --yes", "in a script"),
    ),
)
@click.argument("image_id", metavar="IMAGE")
@options_as_dataclass("options", "aliyun_import.boot.instance_choice:CloudBootOptions", _instance_options)
@panel("Instance", YES)
@panel(
    RARE,
    option(
        "--state-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="Directory of the journals.",
        show_default="the user's directory for program state",
    ),
)
@cloud_options(oss=False)
@output_options
def boot_test(
    image_id: str,
    *,
    options: "CloudBootOptions",
    yes: bool,
    state_dir: Path | None,
    cloud: CloudOptions,
    output: OutputOptions,
) -> int:
    """Start an instance of IMAGE, read its console, and delete it: proof that the image boots.

    The instance costs money. It is of the smallest type that can start the image, has no public address, and is always
    deleted; if this machine can't delete it, ECS releases it after 45 minutes. Run again after a kill, the same command
    continues with that instance, or deletes it.

    Exits with 0 if the image boots or nothing is proven, with 7 if it does not boot, and with 6 if the instance could
    not be deleted.
    """
    from aliyun_import import boot_tests
    from aliyun_import.cli.context import command_context
    from aliyun_import.cli.render.boot import cloud_boot_outcome

    require_consent(yes=yes)
    with command_context(cloud, output) as context:
        test = boot_tests.boot_test_image(
            context.client,
            image_id,
            options=options,
            confirm=confirmation(yes=yes, output=output, cancel=context.cancel),
            state_dir=state_dir,
            on_event=context.emit,
            cancel=context.cancel,
        )
        outcome = cloud_boot_outcome(test, region=context.client.region)
        context.renderer.outcome(outcome)
        return outcome.exit_code


def confirmation(*, yes: bool, output: OutputOptions, cancel: threading.Event) -> "Confirm":
    """Return a callback that asks at the terminal before it starts an instance; with `yes` it only prints the terms."""

    def confirm(offer: "InstanceOffer") -> None:
        if not yes:
            _ask(offer, cancel)
        elif not output.quiet and output.output in ("human", "plain"):
            click.echo(_wrapped(_terms(offer)), err=True)

    return confirm


def check_boot_test_options(options: "PushOptions", *, yes: bool, is_free: bool) -> "PushOptions":
    """Return the options of a push, without those of a boot test that is not run, and of objects that are not kept.

    Raises click.UsageError and UsageError for options on the command line that would be ignored. The environment and
    files may set them for `image boot-test` and other pushes. `is_free`: the instance costs nothing.
    """
    from aliyun_import.cli.context import given_options
    from aliyun_import.push.boot_stage import refuse_contradictions

    given = {one.name for one in given_options()}
    if options.boot_test != "cloud" and "yes" in given:
        raise click.UsageError("--yes needs --boot-test cloud.")
    network, every = ("vswitch_id", "security_group_id"), ("boot_timeout_s", "boot_log", "boot_screen")
    kept = () if options.transfer.keep_object or options.replace else ("keep_last",)
    idle = () if options.boot_test == "cloud" else network if options.boot_test else (*network, *every)
    unset: dict[str, Any] = {name: None for name in (*idle, *kept) if name not in given}
    options = replace(options, **unset)
    refuse_contradictions(options)
    if options.boot_test == "cloud" and not options.dry_run and not is_free:
        require_consent(yes=yes)
    return options


def require_consent(*, yes: bool) -> None:
    """Raise click.UsageError if an instance is not permitted by `yes` and there is no terminal to ask at."""
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("The instance costs money: pass --yes where there is no terminal to ask at.")


def _ask(offer: "InstanceOffer", cancel: threading.Event) -> None:
    """Ask at the terminal whether to start the instance. Raises Interrupted if not."""
    import select

    from aliyun_import.context import interrupted
    from aliyun_import.errors import Interrupted

    click.echo(f"{_wrapped(f'{_terms(offer)} Start it? [y/N]')} ", nl=False, err=True)
    # Not input(), which continues after the signal that sets `cancel`.
    while not select.select([sys.stdin], [], [], 0.2)[0]:
        if cancel.is_set():
            click.echo(err=True)
            raise interrupted()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Interrupted("No instance was started.", code="interrupted", remedy=None)


def _wrapped(text: str) -> str:
    """Return a text wrapped to the width of the terminal; unchanged if stderr is not a terminal."""
    import shutil
    import textwrap

    return textwrap.fill(text, shutil.get_terminal_size().columns) if sys.stderr.isatty() else text


def _terms(offer: "InstanceOffer") -> str:
    kind = offer.instance_type
    machine = f"{kind.name} ({kind.processors} processors, {kind.memory_gib:g} GiB)"
    if offer.image_id:
        what = f"This starts an instance of {offer.image_id} in {offer.zone}, which your account pays for: {machine}"
    else:
        what = (
            f"Once the image is imported, an instance of it is started in {offer.zone}, which your account pays for: "
            f"the smallest in stock that can start it, {machine} or a larger one"
        )
    life = f"{offer.longest_life_s / 60:.0f} minutes at most"
    return f"{what}, {offer.disk_gib} GiB {offer.disk.category}, for {life}."
