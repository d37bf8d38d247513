"""Context of a command: client, renderer and signal handling."""

import os
import re
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from types import FrameType
from typing import TYPE_CHECKING

import click

from aliyun_import.cli.params import CloudOptions, OutputOptions
from aliyun_import.cli.settings import TARGET_OPTIONS
from aliyun_import.errors import AliyunImportError

if TYPE_CHECKING:
    from aliyun_import.cli.render.renderer import SafeRenderer
    from aliyun_import.cloud.config import CloudConfig
    from aliyun_import.cloud.connect import Client
    from aliyun_import.events import Event

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Options that a printed follow-up command repeats, so that it reaches the same services.
REPEATED_OPTIONS = ("region", "bucket", *TARGET_OPTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandContext:
    """Client and renderer of a command; the first SIGINT, SIGTERM or SIGHUP sets `cancel`."""

    client: "Client"
    renderer: "SafeRenderer"
    cancel: threading.Event

    def emit(self, event: "Event") -> None:
        """Write an event. Commands in the remedy of a warning get the options for the same services."""
        from aliyun_import.events import Warned

        if isinstance(event, Warned) and event.remedy:
            event = replace(event, remedy=for_same_services(event.remedy, self.client.config.command_options))
        self.renderer.emit(event)


@contextmanager
def command_context(
    cloud: CloudOptions, output: OutputOptions, *, config: "CloudConfig | None" = None
) -> Iterator[CommandContext]:
    """Yield the context of a command; `config` replaces the options and the environment (--sandbox).

    An AliyunImportError is written in the format of --output and becomes the exit code.
    """
    # Imported when a command runs: `--help` imports the module of each command, and not the engine.
    from aliyun_import.cli.render.renderer import open_renderer

    cancel = threading.Event()
    with (
        open_renderer(output) as renderer,
        cancel_on_signals(cancel),
    ):
        from aliyun_import.cloud.config import from_environment
        from aliyun_import.cloud.connect import connect

        if config is None:
            _refuse_ineffective_endpoint_type()
        config = config or from_environment(**asdict(cloud), command_options=_repeated())
        try:
            with connect(config, on_event=renderer.emit) as client:
                yield CommandContext(client=client, renderer=renderer, cancel=cancel)
        except AliyunImportError as error:
            if error.remedy:
                error.remedy = for_same_services(error.remedy, config.command_options)
            raise


def given_options() -> list[click.Parameter]:
    """Return the options on the command line of the running command, without those of the environment."""
    context = click.get_current_context()
    on_command_line = click.core.ParameterSource.COMMANDLINE
    return [one for one in context.command.params if context.get_parameter_source(str(one.name)) is on_command_line]


def _refuse_ineffective_endpoint_type() -> None:
    """Raise click.UsageError for --oss-endpoint-type with an option that is the endpoint, both on the command line."""
    given = {one.name: one.opts[0] for one in given_options()}
    replacement = given.get("oss_endpoint") or given.get("endpoint_url")
    if "oss_endpoint_type" in given and replacement:
        raise click.UsageError(
            f"--oss-endpoint-type has no effect with {replacement}, which is the endpoint. Leave one of them out."
        )


def _repeated() -> tuple[str, ...]:
    values = click.get_current_context().params
    words = []
    for option in given_options():
        if option.name in REPEATED_OPTIONS:
            value = values[option.name]
            words.append(option.opts[0] if value is True else f"{option.opts[0]}={value}")
    return tuple(words)


def for_same_services(text: str, options: Sequence[str]) -> str:
    """Return a text with `options` added to each command in backticks that accepts and lacks them.

    Commands in remedies have their region, bucket and keys. Without --profile, --endpoint-url, --state-dir and the
    like of the running command they would act on another account or cloud.
    """

    def completed(match: re.Match[str]) -> str:
        accepted = _options_of(match[1].split()[1:])
        missing = [one for one in options if (name := one.partition("=")[0]) in accepted and name not in match[1]]
        return f"`{' '.join([match[1], shlex.join(missing)]).rstrip()}`"

    return re.sub("`(aliyun-import [^`]+)`", completed, text) if options else text


def _options_of(arguments: Sequence[str]) -> frozenset[str]:
    """Return the options of the command that arguments begin with."""
    command: click.Command | None = click.get_current_context().find_root().command
    for argument in arguments:
        if not isinstance(command, click.Group):
            break
        command = command.get_command(click.Context(command), argument)
    return frozenset(name for param in command.params for name in param.opts) if command else frozenset()


@contextmanager
def cancel_on_signals(cancel: threading.Event) -> Iterator[None]:
    """Set `cancel` at the first signal, and exit with 130 at the second.

    After the first signal the run ends at the next step and reports how to resume. The second one skips that; the
    journal has been written by then. SIGHUP stays ignored where it was, as under nohup.
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
