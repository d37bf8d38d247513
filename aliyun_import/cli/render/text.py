"""This file puts an event into one line of words, which plain prints and human builds on."""

import time
from collections import deque
from collections.abc import Callable
from typing import assert_never

from aliyun_import import events
from aliyun_import.model.finding import Severity
from aliyun_import.sizes import size


def duration(seconds: float) -> str:
    """Say a length of time: 3 s, 2:05, 1:02:05."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def count(number: int, noun: str) -> str:
    """Say a number of things: 1 part, 2,000 parts."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def describe(event: events.Event) -> str:  # noqa: C901 -- one case an event, and mypy counts them
    """Say an event in one line."""
    match event:
        case events.RunStarted():
            again = ", going on with an earlier run" if event.resumed else ""
            return f'{", ".join(event.disks)} to image "{event.name}" in {event.region}{again}'
        case events.StageStarted():
            return f"{event.stage}: {event.detail}" if event.detail else f"{event.stage}: begins"
        case events.StageFinished():
            return f"{event.stage}: {event.detail}" if event.detail else f"{event.stage}: done"
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
            return f"{event.disk}: {done} of {total} read to find its zeros"
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
            place = f"oss://{event.bucket}/{event.key}"
            return f"{event.disk} is {place}, {size(event.size_bytes)}, CRC-64 {event.crc64} ({event.proof})"
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


def worth_saying(event: events.FindingRaised) -> bool:
    """Tell whether a finding is for everybody; notes are for those who ask (-v, or `check`)."""
    return event.finding.severity is not Severity.NOTE


def finding_line(event: events.FindingRaised) -> str:
    """Say a finding: its class, what was seen and where, and what to do."""
    found = event.finding
    where = f" ({found.where})" if found.where else ""
    remedy = f" {found.remedy}" if found.remedy else ""
    subject = "" if found.subject == "request" else f"{found.subject}: "
    return f"{found.severity}: {subject}{found.message}{where}{remedy} [{found.rule}]"


def plan_line(event: events.UploadPlanned) -> str:
    """Say a plan: what travels and what does not."""
    made = []
    if event.zero_bytes:
        made.append(f"{size(event.zero_bytes)} of zeros are made in OSS")
    if event.base_bytes:
        made.append(f"{size(event.base_bytes)} are copied from an earlier object")
    rest = f"; {', '.join(made)}" if made else ""
    return f"{event.disk}: {size(event.send_bytes)} of {size(event.total_bytes)} to send{rest}"


def progress_line(event: events.UploadProgress) -> str:
    """Say where a transfer stands."""
    percent = 100 * event.done_bytes // event.total_bytes if event.total_bytes else 100
    return (
        f"{event.disk}: {percent} %, {size(event.done_bytes)} of {size(event.total_bytes)} in OSS, "
        f"{size(event.sent_bytes)} sent, {event.parts_done:,} of {count(event.parts, 'part')}"
    )


def import_line(event: events.ImportProgress) -> str:
    """Say where the import stands."""
    percent = f" {event.percent} %" if event.percent is not None else ""
    left = f", about {duration(event.left_s)} left" if event.left_s else ""
    image = f", image {event.image_status}" if event.image_status else ""
    return f"task {event.task_id} {event.task_status}{percent}{image}, {duration(event.elapsed_s)} so far{left}"


# Long enough to be calm on a line that stutters, short enough to show that it got faster.
WINDOW_S = 15.0


class Rate:
    """A mean over the last seconds. `now` gives a time that never steps back, and is there for tests."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, total: int) -> float:
        """Take the count so far and give units a second, 0 until there is enough to tell."""
        at = self._now()
        self._seen.append((at, total))
        while len(self._seen) > 2 and at - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()
        first_at, first = self._seen[0]
        return max(0.0, (total - first) / (at - first_at)) if at - first_at >= 0.5 else 0.0
