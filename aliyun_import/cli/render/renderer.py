"""This file says what every renderer can do, and chooses the one that `--output` asked for.

A renderer takes the engine's events and, at the end, one outcome or one failure. stdout carries the result and nothing
else; the talk goes to stderr. Renderers are called from the coordinator's thread only.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Protocol

from aliyun_import.cli.render.result import Outcome, Verbosity
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


class SafeRenderer:
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
def open_renderer(output: str, *, verbose: int, quiet: bool) -> Iterator[SafeRenderer]:
    """Give a voice for the length of a command; an error of ours is said by it and becomes SystemExit.

    Raises click's Exit with the error's exit code, which `main.run` leaves with.
    """
    from click.exceptions import Exit as Leave

    renderer = choose(output, Verbosity(-1 if quiet else verbose))
    try:
        with _log_of_requests() if verbose > 1 else nullcontext():
            yield SafeRenderer(renderer)
    except AliyunImportError as error:
        renderer.failure(error)
        raise Leave(error.exit_code) from error
    finally:
        renderer.close()


@contextmanager
def _log_of_requests() -> Iterator[None]:
    """Write our own log to stderr, and no other: those of the libraries hold signed URLs."""
    import logging

    class Handler(logging.Handler):
        """Writes to what stderr is at the moment: a bar that moves puts itself in between."""

        def emit(self, record: logging.LogRecord) -> None:
            try:
                sys.stderr.write(self.format(record) + "\n")
            except (OSError, ValueError):  # nobody can read it any more: see Voice
                self.setLevel(logging.CRITICAL)

    logger, handler = logging.getLogger("aliyun_import"), Handler()
    # As PlainRenderer writes the time.
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        logger.propagate = True
