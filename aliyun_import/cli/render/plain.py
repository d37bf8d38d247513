"""This file says one fact a line, for logs and pipes: no terminal, no colours, no line that moves."""

import time
from typing import TextIO

from aliyun_import import events
from aliyun_import.cli.render.error import failure_lines
from aliyun_import.cli.render.result import Outcome, Verbosity
from aliyun_import.cli.render.text import describe, worth_saying
from aliyun_import.cli.render.throttle import MessageThrottle
from aliyun_import.errors import AliyunImportError

# A log wants to see that the run lives, and no more: runbooks grep for silence of more than a minute.
TRANSFER_EVERY_S = 10.0
IMPORT_EVERY_S = 30.0


class PlainRenderer:
    """Lines with the time of day on stderr; the result on stdout."""

    def __init__(self, stdout: TextIO, stderr: TextIO, verbosity: Verbosity) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._verbosity = verbosity
        self._calm = MessageThrottle()
        self._last_line_at = 0.0
        self._last_percent: int | None = -1

    def emit(self, event: events.Event) -> None:
        """Write the event's line, where it is wanted and worth one."""
        if not self._wanted(event):
            return
        line: str | None = describe(event)
        if isinstance(event, events.PartRetried) and not self._verbosity.notes:
            line = self._calm.words(event, describe(event))
        if line:
            self._stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")
            self._stderr.flush()

    def outcome(self, outcome: Outcome) -> None:
        """Write the result to stdout."""
        if outcome.aside and not self._verbosity.quiet:
            self._stderr.write(outcome.aside + "\n")
        if outcome.text:
            self._stdout.write(outcome.text.rstrip("\n") + "\n")
            self._stdout.flush()

    def failure(self, error: AliyunImportError) -> None:
        """Write the error's lines to stderr."""
        self._stderr.write("\n".join(failure_lines(error)) + "\n")
        self._stderr.flush()

    def close(self) -> None:
        """Nothing to let go of."""

    def _wanted(self, event: events.Event) -> bool:
        match event:
            case events.FindingRaised():
                return worth_saying(event) or self._verbosity.notes
            case events.Warned():
                return True
            case events.Noted() | events.StageStarted() | events.ObjectReady() | events.ImportSubmitted():
                # The stages' last lines say the latter two as well.
                return self._verbosity.notes
            case events.SurveyProgress():
                return not self._verbosity.quiet and self._due(TRANSFER_EVERY_S)
            case events.UploadProgress():
                whole = event.done_bytes == event.total_bytes
                return not self._verbosity.quiet and (self._due(TRANSFER_EVERY_S) or whole)
            case events.ImportProgress():
                moved = event.percent != self._last_percent
                self._last_percent = event.percent
                return not self._verbosity.quiet and (moved or self._due(IMPORT_EVERY_S))
            case _:
                return not self._verbosity.quiet

    def _due(self, every_s: float) -> bool:
        now = time.monotonic()
        if now - self._last_line_at < every_s:
            return False
        self._last_line_at = now
        return True
