"""Context of a command: client, renderer and signal handling."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import FrameType
from typing import TYPE_CHECKING

import click

from aliyun_import.cli.params import CloudOptions, OutputOptions

if TYPE_CHECKING:
    from aliyun_import.cli.render.renderer import SafeRenderer
    from aliyun_import.cloud.config import CloudConfig
    from aliyun_import.cloud.connect import Client

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Options that a printed follow-up command repeats, so that it reaches the same services.
REPEATED = ("profile", "endpoint_url", "insecure", "oss_endpoint", "oss_cname", "oss_endpoint_type", "state_dir")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandContext:
    """What a command works with; `cancel` is set by the first SIGINT, SIGTERM or SIGHUP."""

    client: "Client"
    renderer: "SafeRenderer"
    cancel: threading.Event


@contextmanager
def command_context(
    cloud: CloudOptions, output: OutputOptions, *, config: "CloudConfig | None" = None
) -> Iterator[CommandContext]:
    """Yield the context of a command; `config` replaces what options and environment say (--sandbox).

    An AliyunImportError is written in the format of --output and becomes the exit code.
    """
    # Imported when a command runs: `--help` imports the module of each command, and nothing of what they run.
    from aliyun_import.cli.render.renderer import open_renderer

    cancel = threading.Event()
    with (
        open_renderer(output.output, verbose=output.verbose, quiet=output.quiet) as renderer,
        cancel_on_signals(cancel),
    ):
        from aliyun_import.cloud.config import from_environment
        from aliyun_import.cloud.connect import connect

        config = config or from_environment(**asdict(cloud), command_options=_repeated())
        with connect(config, on_event=renderer.emit) as client:
            yield CommandContext(client=client, renderer=renderer, cancel=cancel)


def given_options() -> list[click.Parameter]:
    """Return the options that the command line of the running command holds; those of the environment are not."""
    context = click.get_current_context()
    on_command_line = click.core.ParameterSource.COMMANDLINE
    return [one for one in context.command.params if context.get_parameter_source(str(one.name)) is on_command_line]


def _repeated() -> tuple[str, ...]:
    values = click.get_current_context().params
    words = []
    for one in given_options():
        if one.name in REPEATED:
            value = values[one.name]
            words.append(one.opts[0] if value is True else f"{one.opts[0]}={value}")
    return tuple(words)


@contextmanager
def cancel_on_signals(cancel: threading.Event) -> Iterator[None]:
    """Make the first signal set `cancel`, and a second one exit at once with 130.

    The first lets the run end where it can say what is safe and how to resume. The second is for a person who does not
    want to wait; the journal is on the disk by then. SIGHUP is left alone where it is ignored, as under nohup.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        if cancel.is_set():
            os._exit(130)
        cancel.set()

    handled = [one for one in SIGNALS if one != signal.SIGHUP or signal.getsignal(one) != signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
