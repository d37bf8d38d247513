"""Text of events and errors for people."""

import dataclasses
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import TypeVar, assert_never, cast

from aliyun_import import events
from aliyun_import.errors import AliyunImportError
from aliyun_import.model.finding import Severity
from aliyun_import.sizes import size

T = TypeVar("T")

# What a terminal obeys or hides: C0, DEL, C1, line separators, marks that change the direction of text, and lone
# surrogates, which are bytes of file names that are not UTF-8.
_CONTROLS = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
_CONTROL = re.compile(f"[{_CONTROLS}]")
_CONTROL_IN_LINES = re.compile(f"(?!\n)[{_CONTROLS}]")
# Names of stages in events are part of the JSON schema; people read these.
_STAGES = {"look": "account", "finish": "cleanup"}
# Long enough for a steady number on an unsteady connection, short enough to show that it became faster.
WINDOW_S = 15.0
# Often enough to show that it still tries, seldom enough to read.
RETRY_INTERVAL_S = 10.0


def escaped(value: T, *, lines: bool = False) -> T:
    r"""Return a value with every control character of its texts escaped as \x1b or \u202e.

    Texts in dataclasses, tuples, lists and mappings are escaped too. `lines` keeps line feeds.
    """
    return cast("T", _escaped(value, _CONTROL_IN_LINES if lines else _CONTROL))


def _escaped(value: object, control: re.Pattern[str]) -> object:
    if isinstance(value, str):
        # An Enum stays what it is: its texts are ours.
        return control.sub(_escape, value) if type(value) is str else value
    if isinstance(value, PurePath):
        return type(value)(control.sub(_escape, str(value)))
    if isinstance(value, (tuple, list)):
        return type(value)(_escaped(one, control) for one in value)
    if isinstance(value, Mapping):
        return {_escaped(name, control): _escaped(one, control) for name, one in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [one.name for one in dataclasses.fields(value) if one.init]
        return dataclasses.replace(value, **{name: _escaped(getattr(value, name), control) for name in names})
    return value


def _escape(match: re.Match[str]) -> str:
    number = ord(match[0])
    return {"\n": "\\n", "\t": "\\t"}.get(match[0]) or (f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}")


def failure_lines(error: AliyunImportError) -> list[str]:
    """Return what happened, why, and what to do, one line each (a cause or remedy of several lines keeps them)."""
    lines = _labelled("error: ", error.summary)
    if error.cause:
        lines += _labelled("  why: ", error.cause)
    if error.remedy:
        lines += _labelled("  do:  ", error.remedy)
    facts = [error.code, f"exit {int(error.exit_code)}"]
    facts += [f"{name.replace('_', ' ')} {error.details[name]}" for name in ("request_id",) if name in error.details]
    return [*lines, escaped(f"  ({', '.join(facts)})")]


def _labelled(label: str, text: str) -> list[str]:
    first, *rest = text.split("\n")
    return [label + escaped(first), *(" " * len(label) + escaped(line) for line in rest)]


def duration(seconds: float) -> str:
    """Return a length of time as 3 s, 2:05 or 1:02:05."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def count(number: int, noun: str) -> str:
    """Return a number of things as 1 part or 2,000 parts."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def stage_name(stage: str) -> str:
    """Return the name of a stage for people."""
    return _STAGES.get(stage, stage)


def describe(event: events.Event) -> str:  # noqa: C901 -- one case an event, and mypy counts them
    """Return an event as one line."""
    match event:
        case events.RunStarted():
            again = ", resuming an earlier run" if event.resumed else ""
            return f'{", ".join(event.disks)} to image "{event.name}" in {event.region}{again}'
        case events.StageStarted():
            return f"{stage_name(event.stage)}: {event.detail or 'started'}"
        case events.StageFinished():
            return f"{stage_name(event.stage)}: {event.detail or 'done'}"
        case events.DiskInspected():
            # Each is "name=value: why"; the reasons are for `check` and for JSON.
            read = ", ".join(line.partition(": ")[0] for line in event.filled_in)
            return f"{event.disk}: {event.summary}" + (f"; read from the disk: {read}" if read else "")
        case events.FindingRaised():
            return finding_line(event)
        case events.Changed():
            return f"{event.what}: {event.name}"
        case events.SurveyProgress():
            done, total = size(event.done_bytes), size(event.total_bytes)
            return f"{event.disk}: {done} of {total} searched for zeros"
        case events.UploadPlanned():
            return plan_line(event)
        case events.UploadResumed():
            done = f"{size(event.done_bytes)} in {count(event.done_parts, 'part')}"
            return f"{event.disk}: {done} of {event.parts:,} are in OSS already ({event.how})"
        case events.UploadProgress():
            return progress_line(event)
        case events.PartRetried():
            when = "now" if event.wait_s < 0.05 else f"in {duration(event.wait_s)}"
            return f"{event.disk}: part {event.number} again {when}, attempt {event.attempt + 1}: {event.reason}"
        case events.ObjectReady():
            url = f"oss://{event.bucket}/{event.key}"
            return f"{event.disk} is {url}, {size(event.size_bytes)}, CRC-64 {event.crc64} ({event.proof})"
        case events.ImportSubmitted():
            return f"import task {event.task_id} makes image {event.image_id}"
        case events.ImportProgress():
            return import_line(event)
        case events.Warned():
            return f"warning: {event.message}" + (f" {event.remedy}" if event.remedy else "")
        case events.Noted():
            return event.message
        case _:
            assert_never(event)


def is_important(event: events.FindingRaised) -> bool:
    """Return whether a finding is always shown; notes are shown with -v, and by `check`."""
    return event.finding.severity is not Severity.NOTE


def finding_line(event: events.FindingRaised) -> str:
    """Return a finding as one line: severity, what was found and where, and what to do."""
    found = event.finding
    where = f" ({found.where})" if found.where else ""
    remedy = f" {found.remedy}" if found.remedy else ""
    subject = "" if found.subject == "request" else f"{found.subject}: "
    return f"{found.severity}: {subject}{found.message}{where}{remedy} [{found.rule}]"


def plan_line(event: events.UploadPlanned) -> str:
    """Return a plan as one line: what is sent and what is not."""
    made = []
    if event.zero_bytes:
        made.append(f"{size(event.zero_bytes)} of zeros are made in OSS")
    if event.base_bytes:
        made.append(f"{size(event.base_bytes)} are copied from an earlier object")
    rest = f"; {', '.join(made)}" if made else ""
    return f"{event.disk}: {size(event.send_bytes)} of {size(event.total_bytes)} to send{rest}"


def progress_line(event: events.UploadProgress) -> str:
    """Return the state of a transfer as one line."""
    percent = 100 * event.done_bytes // event.total_bytes if event.total_bytes else 100
    return (
        f"{event.disk}: {percent} %, {size(event.done_bytes)} of {size(event.total_bytes)} in OSS, "
        f"{size(event.sent_bytes)} sent, {event.parts_done:,} of {count(event.parts, 'part')}"
    )


def import_line(event: events.ImportProgress) -> str:
    """Return the state of an import as one line."""
    percent = f" {event.percent} %" if event.percent is not None else ""
    left = f", about {duration(event.left_s)} left" if event.left_s else ""
    image = f", image {event.image_status}" if event.image_status else ""
    return f"task {event.task_id} {event.task_status}{percent}{image}, {duration(event.elapsed_s)} so far{left}"


class ThroughputEstimator:
    """Mean rate over the last seconds. `now` is a time that never decreases, a parameter for tests."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, total: int) -> float:
        """Take the count so far; return units per second, 0 while there are too few samples."""
        at = self._now()
        self._samples.append((at, total))
        while len(self._samples) > 2 and at - self._samples[0][0] > WINDOW_S:
            self._samples.popleft()
        first_at, first = self._samples[0]
        return max(0.0, (total - first) / (at - first_at)) if at - first_at >= 0.5 else 0.0


class MessageThrottle:
    """Limit of repeated retry messages; when the connection drops, every part fails at once. `now` is for tests."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._last_s: float | None = None
        self._withheld = 0

    def line(self, event: events.PartRetried, line: str) -> str | None:
        """Return the line to write for a retry whose own line is given; None if it is withheld."""
        now_s = self._now()
        if self._last_s is not None and now_s - self._last_s < RETRY_INTERVAL_S:
            self._withheld += 1
            return None
        others, self._withheld, self._last_s = self._withheld, 0, now_s
        return f"{line} (and {others:,} retries of {event.disk} before it)" if others else line
