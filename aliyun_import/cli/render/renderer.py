"""Renderers of events, results and errors, and the choice among them.

A renderer takes the events of a run and, at the end, one outcome or one failure. stdout carries the result and nothing
else; progress goes to stderr. Renderers are called from one thread.
"""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Protocol, TextIO

from click import get_current_context
from click.exceptions import Exit

from aliyun_import import events
from aliyun_import.cli.params import OutputOptions
from aliyun_import.cli.render.result import Outcome, Verbosity, columns
from aliyun_import.cli.render.text import MessageThrottle, describe, escaped, failure_lines, is_important
from aliyun_import.cli.settings import unknown_variables
from aliyun_import.errors import AliyunImportError

# Shows in a log that the run is active: runbooks alert if a log has no new line for a minute.
TRANSFER_INTERVAL_S = 10.0
IMPORT_INTERVAL_S = 30.0


class Renderer(Protocol):
    """Output format."""

    def emit(self, event: events.Event) -> None:
        """Write one event."""
        ...

    def outcome(self, outcome: Outcome) -> None:
        """Write the result, the last output of a command that succeeded."""
        ...

    def failure(self, error: AliyunImportError) -> None:
        """Write the error, the last output of a command that failed."""
        ...

    def close(self) -> None:
        """Release the terminal."""
        ...


class PlainRenderer:
    """Renderer for logs and pipes: one event per line on stderr with the time of day; the result on stdout."""

    def __init__(self, stdout: TextIO, stderr: TextIO, verbosity: Verbosity) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._verbosity = verbosity
        self._throttle = MessageThrottle()
        self._last_line_s = 0.0
        self._last_percent: int | None = -1
        self._complete_disk = ""  # the disk whose last line of the transfer is written

    def emit(self, event: events.Event) -> None:
        """Write the event's line, if it is wanted and due."""
        if not self._is_wanted(event):
            return
        line: str | None = describe(event)
        if isinstance(event, events.PartRetried | events.CallRetried) and not self._verbosity.notes:
            line = self._throttle.line(describe(event))
        if line:
            self._stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")
            self._stderr.flush()

    def outcome(self, outcome: Outcome) -> None:
        """Write the result to stdout, after the summary."""
        if not self._verbosity.quiet:
            rows = columns(outcome.summary) if outcome.summary else []
            self._stderr.write("".join(f"{line}\n" for line in (*rows, outcome.stderr_text) if line))
        if outcome.text:
            self._stdout.write(outcome.text.rstrip("\n") + "\n")
            self._stdout.flush()

    def failure(self, error: AliyunImportError) -> None:
        """Write the error's lines to stderr."""
        self._stderr.write("\n".join(failure_lines(error)) + "\n")
        self._stderr.flush()

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def _is_wanted(self, event: events.Event) -> bool:
        match event:
            case events.FindingRaised():
                return is_important(event) or self._verbosity.notes
            case events.Warned():
                return True
            case events.Noted() | events.StageStarted() | events.ObjectReady() | events.ImportSubmitted():
                # The last line of a stage repeats the latter two.
                return self._verbosity.notes
            case events.BootProgress() | events.SurveyProgress():
                return not self._verbosity.quiet and self._is_due(TRANSFER_INTERVAL_S)
            case events.UploadProgress():
                is_last = event.done_bytes == event.total_bytes > 0
                if is_last and self._complete_disk == event.disk:
                    return False
                self._complete_disk = event.disk if is_last else ""
                return not self._verbosity.quiet and (self._is_due(TRANSFER_INTERVAL_S) or is_last)
            case events.ImportProgress():
                moved = event.percent != self._last_percent and not event.unanswered_s
                self._last_percent = event.percent
                return not self._verbosity.quiet and (moved or self._is_due(IMPORT_INTERVAL_S))
            case events.ImageCheckProgress():
                is_first = event.elapsed_s == 0
                return not self._verbosity.quiet and (self._is_due(IMPORT_INTERVAL_S) or is_first)
            case _:
                return not self._verbosity.quiet

    def _is_due(self, interval_s: float) -> bool:
        now = time.monotonic()
        if now - self._last_line_s < interval_s:
            return False
        self._last_line_s = now
        return True


def choose_renderer(output: str, verbosity: Verbosity) -> Renderer:
    """Return the renderer of `--output`; human becomes plain if stderr is not a terminal that can redraw a line."""
    if output in {"json", "jsonl"}:
        from aliyun_import.cli.render.json import JsonRenderer

        return JsonRenderer(sys.stdout, lines=output == "jsonl")
    if output == "plain" or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return PlainRenderer(sys.stdout, sys.stderr, verbosity)
    from aliyun_import.cli.render.human import HumanRenderer

    return HumanRenderer(sys.stdout, verbosity)


class SafeRenderer:
    """Wrapper of a renderer that escapes texts for the terminal and ignores failed writes.

    Texts of disks, files and services are escaped here only; JSON has its own escapes. After a failed write of
    progress, for example to a closed terminal, no more events are written and the command continues.
    """

    def __init__(self, renderer: Renderer, *, escapes: bool) -> None:
        self._renderer = renderer
        self._escapes = escapes
        self._is_silent = False

    def emit(self, event: events.Event) -> None:
        """Write one event, unless an earlier one could not be written."""
        if self._is_silent:
            return
        try:
            self._renderer.emit(escaped(event) if self._escapes else event)
        except (OSError, ValueError):  # ValueError: the stream is closed
            self._is_silent = True

    def outcome(self, outcome: Outcome) -> None:
        """Write the result."""
        if self._escapes:
            outcome = replace(
                outcome,
                text=escaped(outcome.text, lines=True),
                stderr_text=escaped(outcome.stderr_text, lines=True),
                summary=escaped(outcome.summary),
            )
        self._renderer.outcome(outcome)


@contextmanager
def open_renderer(options: OutputOptions) -> Iterator[SafeRenderer]:
    """Yield a renderer for the time of a command; write an AliyunImportError and raise click's Exit with its code."""
    renderer = choose_renderer(options.output, Verbosity(-1 if options.quiet else options.verbose))
    try:
        with _request_log() if options.verbose > 1 else nullcontext():
            safe = SafeRenderer(renderer, escapes=options.output not in {"json", "jsonl"})
            for name, near in unknown_variables(get_current_context().find_root().command, os.environ):
                remedy = f"Unset it, or set {near}." if near else "Unset it."
                safe.emit(
                    events.Warned(code="variable-unknown", message=f"Nothing reads the variable {name}.", remedy=remedy)
                )
            yield safe
    except AliyunImportError as error:
        renderer.failure(error)
        raise Exit(error.exit_code) from error
    finally:
        renderer.close()


@contextmanager
def _request_log() -> Iterator[None]:
    """Write the log of this package to stderr. Logs of libraries are not written: they hold signed URLs."""

    class Handler(logging.Handler):
        """Handler that writes to the current sys.stderr, which a progress bar replaces while it is shown."""

        def emit(self, record: logging.LogRecord) -> None:
            try:
                sys.stderr.write(escaped(self.format(record)) + "\n")
            except (OSError, ValueError):  # see SafeRenderer
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
