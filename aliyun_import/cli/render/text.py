"""Text of events and errors for people."""

import dataclasses
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import TypeVar, assert_never, cast

from aliyun_import import events
from aliyun_import.errors import AliyunImportError
from aliyun_import.model.finding import Severity
from aliyun_import.model.objects import object_url
from aliyun_import.sizes import size
from aliyun_import.upload.plan import ZERO_SEED_BYTES

T = TypeVar("T")

# Characters that a terminal interprets or hides: C0, DEL, C1, line separators, marks that change the direction of text,
# and lone surrogates, which are bytes of file names that are not UTF-8.
_CONTROLS = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
_CONTROL = re.compile(f"[{_CONTROLS}]")
_CONTROL_IN_LINES = re.compile(f"(?!\n)[{_CONTROLS}]")
# Names for people. Those in events are part of the JSON schema.
_STAGES = {"look": "account", "finish": "cleanup"}
_PARAMETERS = {"os_type": "OS", "nvme_support": "NVMe"}
# Shows that attempts continue, without filling the log.
RETRY_INTERVAL_S = 10.0


def escaped(value: T, *, lines: bool = False) -> T:
    r"""Return a value with every control character of its texts escaped as \x1b or \u202e.

    Texts in dataclasses, tuples, lists and mappings are escaped too. `lines` keeps line feeds.
    """
    return cast("T", _escaped(value, _CONTROL_IN_LINES if lines else _CONTROL))


def _escaped(value: object, control: re.Pattern[str]) -> object:
    if isinstance(value, str):
        # A member of an Enum is not changed: its text is our own.
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
    """Return summary, cause and remedy, one line each (a cause or remedy of several lines keeps them)."""
    lines = [line for label, text in failure_texts(error) for line in _labelled(label, text)]
    return [*lines, failure_facts(error)]


def failure_texts(error: AliyunImportError) -> list[tuple[str, str]]:
    """Return summary, cause and remedy, each with its label."""
    # A line feed in the summary is part of a name, so it is escaped.
    texts = (("error: ", escaped(error.summary)), ("  why: ", error.cause), ("  do:  ", error.remedy))
    return [(label, escaped(text, lines=True)) for label, text in texts if text]


def failure_facts(error: AliyunImportError) -> str:
    """Return the line with code, exit code and request id, for a report."""
    facts = [error.code, f"exit {int(error.exit_code)}"]
    facts += [f"{name.replace('_', ' ')} {error.details[name]}" for name in ("request_id",) if name in error.details]
    return escaped(f"  ({', '.join(facts)})")


def _labelled(label: str, text: str) -> list[str]:
    first, *rest = text.split("\n")
    return [label + first, *(" " * len(label) + line for line in rest)]


def duration(seconds: float) -> str:
    """Return a length of time as 3 s, 2:05 or 1:02:05."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def local_time(at: float | str) -> str:
    """Return a time, in seconds or as a service writes it, in the time zone of this machine, to the minute."""
    try:
        moment = datetime.fromisoformat(at) if isinstance(at, str) else datetime.fromtimestamp(at, UTC)
    except ValueError:
        return str(at)
    return moment.astimezone().strftime("%Y-%m-%d %H:%M%z")


def count(number: int, noun: str, plural: str = "") -> str:
    """Return a number of things as 1 part or 2,000 parts."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {plural or f'{noun}s'}"


def stage_name(stage: str) -> str:
    """Return the name of a stage for people."""
    return _STAGES.get(stage, stage)


def describe(event: events.Event) -> str:  # noqa: C901 -- one case for each event; mypy finds a missing one
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
            read = ", ".join(map(_inferred, event.filled_in))
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
            return f"{event.disk}: {event.phase} {', '.join(transfer_facts(event))}"
        case events.PartRetried():
            return f"{event.disk}: a part failed, {_retry(event)}: {event.reason}"
        case events.CallRetried():
            return f"no answer, {_retry(event)}: {event.reason}"
        case events.ObjectReady():
            url = object_url(event.bucket, event.key)
            return f"{event.disk} is {url}, {size(event.size_bytes)}, CRC-64 {event.crc64} ({event.proof})"
        case events.ImportSubmitted():
            return f"import task {event.task_id} makes image {event.image_id}"
        case events.ImportProgress():
            so_far = f"{duration(event.elapsed_s)} so far"
            return f"task {event.task_id}: {', '.join((*import_facts(event), so_far))}"
        case events.ImageCheckProgress():
            return f"image {event.image_id}: {', '.join(image_check_facts(event))}"
        case events.BootProgress():
            return f"{event.disk}: {', '.join(boot_facts(event))}"
        case events.Warned():
            return f"warning: {event.message}" + (f" {event.remedy}" if event.remedy else "")
        case events.Noted():
            return event.message
        case _:
            assert_never(event)


def _inferred(line: str) -> str:
    """Return "name=value: why" for people; the reasons are for `check` and for JSON."""
    name, _, value = line.partition(": ")[0].partition("=")
    if name == "size_gib":
        return f"size {value} GiB"
    return f"{_PARAMETERS.get(name) or name.replace('_', ' ')} {value}"


def is_important(event: events.FindingRaised) -> bool:
    """Return whether a finding is always shown; notes are shown with -v, and by `check`."""
    return event.finding.severity is not Severity.NOTE


def finding_line(event: events.FindingRaised) -> str:
    """Return a finding as one line: severity, what was found and where, its check, and what to do."""
    found = event.finding
    where = f" ({found.where})" if found.where else ""
    remedy = f" {found.remedy}" if found.remedy else ""
    subject = "" if found.subject == "request" else f"{found.subject}: "
    return f"{found.severity}: {subject}{found.message}{where} [{found.rule}]{remedy}"


def plan_line(event: events.UploadPlanned) -> str:
    """Return a plan as one line: what is sent and what is not."""
    made = []
    if event.zero_bytes:
        made.append(f"{size(event.zero_bytes)} of zeros are made in OSS from {size(ZERO_SEED_BYTES)} of them")
    if event.base_bytes:
        made.append(f"{size(event.base_bytes)} are copied from an earlier object")
    rest = f"; {', '.join(made)}" if made else ""
    return f"{event.disk}: {size(event.send_bytes)} of {size(event.total_bytes)} to send{rest}"


def transfer_facts(event: events.UploadProgress) -> tuple[str, ...]:
    """Return the state of a transfer, from the most to the least important fact; the same in every format."""
    facts = [f"{event.percent} %"]
    if event.stalled_s:
        facts.append(f"no data for {duration(event.stalled_s)}")
        facts += [f"retrying {event.attempt} of {event.attempts}"] if event.attempt > 1 else []
    elif event.left_s is not None and event.phase_done_bytes < event.phase_bytes:
        facts.append(f"{duration(event.left_s)} left")
    if event.rate_bytes_s and not event.stalled_s:
        facts.append(f"{size(event.rate_bytes_s)}/s")
    where = " made in OSS" if event.phase == "copying" else ""
    return (*facts, f"{size(event.phase_done_bytes)} of {size(event.phase_bytes)}{where}")


def boot_facts(event: events.BootProgress) -> tuple[str, ...]:
    """Return the state of a boot test: its time, and the last line of the console or the phase."""
    waits = {"booting": "nothing on the console"}.get(event.phase, f"{event.phase} the instance")
    return f"{duration(event.elapsed_s)} of {duration(event.timeout_s)} at most", event.line or waits


def import_facts(event: events.ImportProgress) -> tuple[str, ...]:
    """Return the state of an import, from the most to the least important fact; the same in every format."""
    facts = [f"{event.percent} %"] if event.percent is not None else []
    if event.unanswered_s:
        facts += [f"no answer for {duration(event.unanswered_s)}", "still asking"]
    elif event.left_s is not None and event.percent != 100:
        facts.append(f"about {duration(event.left_s)} left")
    facts.append(f"task {event.task_status or 'not listed'}")
    return (*facts, f"image {event.image_status or 'not listed'}")


def image_check_facts(event: events.ImageCheckProgress) -> tuple[str, ...]:
    """Return the state of the service's image check, from the most to the least important fact."""
    waited = f"{duration(event.elapsed_s)} of at most {duration(event.limit_s)}"
    return "usable, waiting for the image check by ECS", waited


def retry_facts(event: events.CallRetried) -> tuple[str, ...]:
    """Return the state of a call that is repeated, from the most to the least important fact."""
    return _retry(event), event.reason


def _retry(event: events.PartRetried | events.CallRetried) -> str:
    when = "now" if event.wait_s < 0.05 else f"in {duration(event.wait_s)}"
    return f"retrying {event.attempt + 1} of {event.attempts} {when}"


class MessageThrottle:
    """Limit of retry messages: when the connection drops, all parts fail at once. `now` is for tests."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._last_s: float | None = None
        self._withheld = 0

    def line(self, line: str) -> str | None:
        """Return the line to write for a retry whose own line is given; None if it is withheld."""
        now_s = self._now()
        if self._last_s is not None and now_s - self._last_s < RETRY_INTERVAL_S:
            self._withheld += 1
            return None
        others, self._withheld, self._last_s = self._withheld, 0, now_s
        return f"{line} (and {count(others, 'retry', 'retries')} before it)" if others else line
