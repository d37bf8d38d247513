"""This file says what every renderer can do, and chooses the one that `--output` asked for.

A renderer takes the engine's events and, at the end, one outcome or one failure. stdout carries the result and nothing
else; the talk goes to stderr. Renderers are called from the coordinator's thread only.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from aliyun_import.cli.render.outcome import Outcome, Verbosity
from aliyun_import.errors import AliyunImportError
from aliyun_import.events import Event


class Renderer(Protocol):
    """One way to tell what happens."""

    def emit(self, event: Event) -> None:
        """Say one event."""
        ...

    def outcome(self, outcome: Outcome) -> None:
        """Say the result, the last word of a command that succeeded."""
        ...

    def failure(self, error: AliyunImportError) -> None:
        """Say the error, the last word of a command that failed."""
        ...

    def close(self) -> None:
        """Let go of the screen."""
        ...


def choose(output: str, verbosity: Verbosity) -> Renderer:
    """Give the renderer that `--output` names; human turns to plain lines where stderr is no terminal."""
    if output in {"json", "jsonl"}:
        from aliyun_import.cli.render.json import JsonRenderer

        return JsonRenderer(sys.stdout, lines=output == "jsonl")
    if output == "plain" or not sys.stderr.isatty():
        from aliyun_import.cli.render.plain import PlainRenderer

        return PlainRenderer(sys.stdout, sys.stderr, verbosity)
    from aliyun_import.cli.render.human import HumanRenderer

    return HumanRenderer(sys.stdout, verbosity)


class Voice:
    """A renderer that can't hurt: when the talk can't be written any more it falls silent, and the work goes on.

    Somebody closes the terminal in the third hour, or `2>&1 | head` ends: that must not end a push. The result and the
    failure are different: whoever asked for them must learn that they could not be written.
    """

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._silent = False

    def emit(self, event: Event) -> None:
        """Say one event, as long as anybody can hear it."""
        if self._silent:
            return
        try:
            self._renderer.emit(event)
        except (OSError, ValueError):  # ValueError: the stream was closed
            self._silent = True

    def outcome(self, outcome: Outcome) -> None:
        """Say the result."""
        self._renderer.outcome(outcome)


@contextmanager
def speaking(output: str, *, verbose: int, quiet: bool) -> Iterator[Voice]:
    """Give a voice for the length of a command; an error of ours is said by it and becomes SystemExit.

    Raises click's Exit with the error's exit code, which `main.run` leaves with.
    """
    from click.exceptions import Exit as Leave

    if verbose > 1:
        _log_requests()
    renderer = choose(output, Verbosity(-1 if quiet else verbose))
    try:
        yield Voice(renderer)
    except AliyunImportError as error:
        renderer.failure(error)
        raise Leave(error.exit_code) from error
    finally:
        renderer.close()


def _log_requests() -> None:
    # Both log method, URL and status; keys and signatures travel in headers and never get there for OSS. The SDK
    # core puts them in the query, and logs through its own name, which stays shut.
    import logging

    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(name)s %(message)s", level=logging.WARNING)
    for name in ("aliyun_import.cloud.oss_line", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.DEBUG)
