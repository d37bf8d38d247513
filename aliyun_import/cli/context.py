"""This file is the place that a command works at: a voice, time, signals, and the cloud that its options name."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aliyun_import.cli.render.renderer import SafeRenderer
    from aliyun_import.context import SystemClock
    from aliyun_import.push.context import Cloud


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandContext:
    """What a command that talks to the cloud has at hand; `stop` is set by the first Ctrl-C or SIGTERM."""

    cloud: "Cloud"
    region: str
    clock: "SystemClock"
    voice: "SafeRenderer"
    stop: threading.Event


@contextmanager
def command_context(given: Mapping[str, Any]) -> Iterator[CommandContext]:
    """Set a desk up from a command's options (cloud_options and output_options among them), and clear it at the end.

    An error of ours is said in the form that --output names, and becomes the exit code.
    """
    # Not before a command runs: `--help` imports every command's module, and none of what they run.
    from aliyun_import.cli.render.renderer import open_renderer
    from aliyun_import.cli.signals import stop_on_signals
    from aliyun_import.context import SystemClock

    stop = threading.Event()
    with open_renderer(given["output"], verbose=given["verbose"], quiet=given["quiet"]) as voice, stop_on_signals(stop):
        from aliyun_import.cli.wiring import open_cloud

        cloud, region = open_cloud(given, emit=voice.emit)
        yield CommandContext(cloud=cloud, region=region, clock=SystemClock(stop), voice=voice, stop=stop)
