"""This file is the place that a command works at: a voice, time, signals, and the cloud that its options name."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aliyun_import.cli.render.voice import Voice
    from aliyun_import.cli.run_clock import RunClock
    from aliyun_import.pipeline.model import Cloud


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What a command that talks to the cloud has at hand; `stop` is set by the first Ctrl-C or SIGTERM."""

    cloud: "Cloud"
    region: str
    clock: "RunClock"
    voice: "Voice"
    stop: threading.Event


@contextmanager
def desk(given: Mapping[str, Any]) -> Iterator[Desk]:
    """Set a desk up from a command's options (cloud_options and output_options among them), and clear it at the end.

    An error of ours is said in the form that --output names, and becomes the exit code.
    """
    # Not before a command runs: `--help` imports every command's module, and none of what they run.
    from aliyun_import.cli.render.voice import speaking
    from aliyun_import.cli.run_clock import RunClock, stop_on_signals

    stop = threading.Event()
    with speaking(given["output"], verbose=given["verbose"], quiet=given["quiet"]) as voice, stop_on_signals(stop):
        from aliyun_import.cli.wiring import open_cloud

        cloud, region = open_cloud(given, emit=voice.emit)
        yield Desk(cloud=cloud, region=region, clock=RunClock(stop), voice=voice, stop=stop)
