"""Decisions about the parts of a transfer: what starts, what waits, what is split, sent instead or given up.

    left ──> start ──> (a worker makes the part) ──> succeeded | failed: retried later · split · sent instead · raised

Pure: the caller passes the time in, runs the tasks and emits the events. Sent and copied parts have a lane each, since
a copy waits for the server and does not use this machine's bandwidth.
"""

import heapq
import itertools
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from aliyun_import.errors import (
    AliyunImportError,
    ConnectionLost,
    CopyRefused,
    PartCorrupted,
    PermissionDenied,
    RefusedError,
    Throttled,
    TimedOut,
    UploadNotFound,
)
from aliyun_import.events import Event, Noted, PartRetried, UploadProgress, Warned
from aliyun_import.retry import PATIENT, RetryPolicy
from aliyun_import.sizes import size
from aliyun_import.upload.plan import MAX_SEND_BYTES, BaseObject, PartKind, PlannedPart, UploadPlan
from aliyun_import.upload.transfer.concurrency import LEAST_PIECE_BYTES, ConcurrencyController, piece_bytes_for
from aliyun_import.upload.transfer.parts import DonePart, PartSplitter
from aliyun_import.upload.transfer.progress import Amounts, Meter

# Copies in flight without --jobs: they use no bandwidth of this machine and wait for the server alone.
COPY_WORKERS = 32
# A part that arrives corrupted three times is no accident of the network.
CORRUPTED_ATTEMPTS = 3
# A part that timed out is split into pieces of this size, and so are all others: at once, since a piece has no numbers
# left to be split again, and at such a rate one request per MiB costs nothing.
PIECE_BYTES = LEAST_PIECE_BYTES
# When a connection breaks this often under one part, the network is taken not to carry a part of this length.
BREAKS_ALLOWED = 3
COPIES = frozenset({PartKind.ZERO, PartKind.BASE})


@dataclass(slots=True)
class PartTask:
    """A part to make, and which attempt it is. `holds_worker` is true while it waits in a worker's stead."""

    part: PlannedPart
    attempt: int = 1
    holds_worker: bool = False
    sent_bytes: int = 0  # of this attempt; written by its worker alone


@dataclass(slots=True)
class _Lane:
    controller: ConcurrencyController
    waiting: deque[PartTask] = field(default_factory=deque)
    busy: int = 0
    held: int = 0  # workers held by parts that wait for their next attempt


class Scheduler:
    """State machine of one transfer. Not thread-safe: one thread calls it and passes the time.

    `left` are the parts to make, `done` those that count already, `refused` the kinds of copies to send instead. At
    most `most_zeros_sent_bytes` of zeros are sent where they can't be copied.
    """

    def __init__(
        self,
        plan: UploadPlan,
        left: Iterable[PlannedPart],
        *,
        disk: str,
        now_s: float,
        done: Iterable[DonePart] = (),
        refused: frozenset[PartKind] = frozenset(),
        most_zeros_sent_bytes: float = math.inf,
        jobs: int | None = None,
        limit_rate_bytes_s: float | None = None,
        policy: RetryPolicy = PATIENT,
    ) -> None:
        self.done = list(done)
        self.refused = refused
        self._most_zeros_sent_bytes = most_zeros_sent_bytes
        self._plan = plan
        self._disk = disk
        self._policy = policy
        self._splitter = PartSplitter(plan)
        sent = [part.length for part in plan.parts if part.kind is PartKind.SEND]
        self._piece_bytes = max([MAX_SEND_BYTES, *sent])
        if limit_rate_bytes_s is not None:
            self._piece_bytes = min(self._piece_bytes, piece_bytes_for(limit_rate_bytes_s))
        average_bytes = min(self._piece_bytes, sum(sent) // max(1, len(sent)))
        self._send = _Lane(
            ConcurrencyController(jobs, now_s=now_s, part_bytes=average_bytes, limit_rate_bytes_s=limit_rate_bytes_s)
        )
        self._copy = _Lane(ConcurrencyController(jobs or COPY_WORKERS, now_s=now_s))
        self._later: list[tuple[float, int, PartTask]] = []
        self._ticket = itertools.count()
        self._done_bytes = sum(part.length for part in self.done)
        self._running: dict[int, PartTask] = {}
        self._meter = Meter(now_s=now_s)
        kinds = [(self._splitter.kind_of(part.number), part.length) for part in self.done]
        self._sent_before = sum(length for kind, length in kinds if kind is PartKind.SEND)
        self._sent_done = self._sent_before
        self._to_send = self._sent_done
        self._copied = self._to_copy = self._done_bytes - self._sent_done
        for part in left:
            if part.kind is PartKind.SEND:
                self._to_send += part.length
            else:
                self._to_copy += part.length
            self._enqueue(PartTask(part))

    @property
    def busy(self) -> int:
        """The number of tasks that were started and did not end."""
        return self._send.busy + self._copy.busy

    @property
    def has_work(self) -> bool:
        """Whether any part is not done yet."""
        return bool(self._later or self.busy or self._send.waiting or self._copy.waiting)

    def start(self, now_s: float) -> list[PartTask]:
        """Return the tasks to start now; each must come back by `succeeded` or `failed`."""
        while self._later and self._later[0][0] <= now_s:
            task = heapq.heappop(self._later)[2]
            self._lane(task.part).held -= task.holds_worker
            self._enqueue(task, first=True)
        tasks: list[PartTask] = []
        for lane in (self._send, self._copy):
            while lane.waiting and lane.busy + lane.held < lane.controller.allowed:
                lane.busy += 1
                task = lane.waiting.popleft()
                task.sent_bytes = 0
                self._running[id(task)] = task
                tasks.append(task)
        return tasks

    def wait_s(self, now_s: float) -> float | None:
        """Return the time until the next retry is due, None when none is."""
        return max(0.0, self._later[0][0] - now_s) if self._later else None

    def observe(self, sent_bytes: int, now_s: float) -> None:
        """Adapt the number of workers to the rate; `sent_bytes` is what was sent so far."""
        self._send.controller.observe(sent_bytes, now_s)

    def progress(self, sent_bytes: int, now_s: float) -> UploadProgress:
        """Return the progress as an event, in absolute numbers; `sent_bytes` as in `observe`."""
        open_parts = len(self._later) + self.busy + len(self._send.waiting) + len(self._copy.waiting)
        in_flight = sum(task.sent_bytes for task in self._running.values())
        measured = self._meter.measure(
            Amounts(
                to_send=self._to_send,
                sent=min(self._to_send, self._sent_done + in_flight),
                to_copy=self._to_copy,
                copied=self._copied,
            ),
            wire_bytes=sent_bytes,
            now_s=now_s,
        )
        under_way = [*self._running.values(), *(task for _, _, task in self._later)]
        return UploadProgress(
            disk=self._disk,
            done_bytes=self._done_bytes,
            total_bytes=self._plan.size_bytes,
            sent_bytes=sent_bytes,
            send_bytes=self._to_send - self._sent_before,
            parts_done=len(self.done),
            parts=len(self.done) + open_parts,
            workers=self.busy,
            phase=measured.phase,
            phase_done_bytes=measured.done_bytes,
            phase_bytes=measured.total_bytes,
            percent=measured.percent,
            rate_bytes_s=measured.rate_bytes_s,
            left_s=measured.left_s,
            stalled_s=measured.stalled_s,
            attempt=max((task.attempt for task in under_way), default=1),
            attempts=self._policy.attempts,
        )

    def succeeded(self, task: PartTask, part: DonePart) -> None:
        """Take in a part that is done."""
        lane = self._ended(task)
        lane.controller.succeeded()
        self.done.append(part)
        self._done_bytes += part.length
        if task.part.kind is PartKind.SEND:
            self._sent_done += part.length
        else:
            self._copied += part.length

    def dropped(self, task: PartTask) -> None:
        """Take in a task that ended without a result that matters, after the transfer failed."""
        self._ended(task)

    def failed(self, task: PartTask, error: AliyunImportError, now_s: float) -> tuple[Event, ...]:
        """Decide what follows a failed attempt, and return the events about it; raises `error` when it is final."""
        self._ended(task)
        # A part that timed out had too small a share of the bandwidth: fewer at a time have more each.
        if isinstance(error, Throttled | TimedOut) or error.retry_after_s:
            for lane in (self._send, self._copy):
                lane.controller.throttled(now_s)
        if task.part.kind is not PartKind.SEND and is_copy_refused(error, task.part.kind):
            return self._send_instead(task, error)
        too_long = isinstance(error, TimedOut) or (isinstance(error, ConnectionLost) and task.attempt >= BREAKS_ALLOWED)
        if too_long and self._can_split(task.part):
            return self._split(task)
        return self._retry(task, error, now_s)

    def _can_split(self, part: PlannedPart) -> bool:
        return part.kind is PartKind.SEND and part.length > PIECE_BYTES and self._splitter.can_split(part)

    def _lane(self, part: PlannedPart) -> _Lane:
        return self._send if part.kind is PartKind.SEND else self._copy

    def _ended(self, task: PartTask) -> _Lane:
        """Take a task out of those under way, and return its lane."""
        self._running.pop(id(task), None)
        lane = self._lane(task.part)
        lane.busy -= 1
        return lane

    def _enqueue(self, task: PartTask, *, first: bool = False) -> None:
        """Put a task in its lane; a whole part that is longer than parts may be by now is split."""
        part = task.part
        if part.kind in self.refused:
            self._to_copy -= part.length
            self._to_send += part.length
            part = PlannedPart(part.number, PartKind.SEND, part.start, part.length)
        is_sent = part.kind is PartKind.SEND
        pieces = self._splitter.split(part, most_bytes=self._piece_bytes) if is_sent else (part,)
        tasks = [PartTask(piece, task.attempt if len(pieces) == 1 else 1) for piece in pieces]
        if first:
            self._lane(part).waiting.extendleft(reversed(tasks))
        else:
            self._lane(part).waiting.extend(tasks)

    def _retry(self, task: PartTask, error: AliyunImportError, now_s: float) -> tuple[Event, ...]:
        is_corrupted = isinstance(error, PartCorrupted)
        policy = replace(self._policy, attempts=CORRUPTED_ATTEMPTS) if is_corrupted else self._policy
        wait_s = policy.wait_s(error, task.attempt)
        if wait_s is None:
            raise error
        retried = PartRetried(
            disk=self._disk,
            number=task.part.number,
            attempt=task.attempt,
            attempts=policy.attempts,
            wait_s=wait_s,
            reason=f"{error.summary} {error.cause or ''}".strip(),
        )
        task.attempt += 1
        # It holds its worker: while the network is down, as many parts fail as there are workers, and not all of them.
        # Where the server accepted the connection and time has passed, others are sent meanwhile.
        task.holds_worker = not isinstance(error, TimedOut | PartCorrupted)
        self._lane(task.part).held += task.holds_worker
        heapq.heappush(self._later, (now_s + wait_s, next(self._ticket), task))
        return (retried,)

    def _send_instead(self, task: PartTask, error: AliyunImportError) -> tuple[Event, ...]:
        """Send what can't be copied: this part, and all that would be copied from the same object."""
        kinds = COPIES if isinstance(error, CopyRefused) else frozenset({task.part.kind})
        events: tuple[Event, ...] = ()
        if not kinds <= self.refused:
            made = {part.number for part in self.done}
            cost = sum(part.length for part in self._plan.parts if part.kind in kinds and part.number not in made)
            if PartKind.ZERO in kinds and cost > self._most_zeros_sent_bytes:
                raise too_many_zeros(error, cost_bytes=cost) from error
            events = (_sent_instead(error, cost_bytes=cost, base=self._plan.base),)
        self.refused |= kinds
        again = [task, *(other for other in self._copy.waiting if other.part.kind in kinds)]
        self._copy.waiting = deque(other for other in self._copy.waiting if other.part.kind not in kinds)
        for other in again:
            self._enqueue(PartTask(other.part))
        return events

    def _split(self, task: PartTask) -> tuple[Event, ...]:
        """Make all parts smaller from here on, after one was too long."""
        events: tuple[Event, ...] = ()
        if self._piece_bytes > PIECE_BYTES:
            self._piece_bytes = PIECE_BYTES
            events = (
                Noted(
                    message=f"Part {task.part.number} does not get through: parts are split into "
                    f"{size(PIECE_BYTES)} from here on."
                ),
            )
        waiting = list(self._send.waiting)
        self._send.waiting.clear()
        for other in [PartTask(task.part), *waiting]:
            self._enqueue(other)
        return events


def too_many_zeros(error: AliyunImportError, *, cost_bytes: int) -> CopyRefused:
    """Return the error of zeros that can't be made by copies, and are too many to be sent without being asked."""
    return CopyRefused(
        f"OSS refuses to make ranges of zeros by copies, and {size(cost_bytes)} of zeros would have to be sent.",
        code="copy-refused",
        cause=f"{error.summary} {error.cause or ''}".strip(),
        remedy="Have oss:GetObject and oss:PutObject granted on the bucket, or use an endpoint of OSS itself; or pass "
        "--send-zeros to send them.",
        details=error.details,
        resumable=True,
    )


def is_copy_refused(error: AliyunImportError, kind: PartKind) -> bool:
    """Return whether a copy failed for good, so that sending the bytes helps.

    A range of the base that arrives with other bytes is not what its manifest claims, and stays so however often it
    is copied. A range of zeros was proven, and is copied again.
    """
    if isinstance(error, RefusedError):
        return not isinstance(error, UploadNotFound)
    return isinstance(error, PermissionDenied) or (isinstance(error, PartCorrupted) and kind is PartKind.BASE)


def base_set_aside(key: str, *, cost_bytes: int) -> Warned:
    """Return the warning about a base that is not what its manifest claims."""
    return Warned(
        code="base-set-aside",
        message=f"The base {key} is not what its manifest claims: {size(cost_bytes)} that were to be copied from it "
        "are sent instead.",
        remedy=f"Remove {key} and its manifest, and push with --keep-object to have a new base.",
    )


def _sent_instead(error: AliyunImportError, *, cost_bytes: int, base: BaseObject | None) -> Warned:
    if isinstance(error, PartCorrupted) and base is not None:
        return base_set_aside(base.key, cost_bytes=cost_bytes)
    return Warned(
        code=error.code,
        message=f"{error.summary} {size(cost_bytes)} that the server could have copied are sent instead.",
        remedy=error.remedy,
    )
