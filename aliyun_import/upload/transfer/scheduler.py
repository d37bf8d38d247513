"""Scheduler of the parts of a transfer: a pure state machine that starts, retries and splits parts.

    left ──> start ──> (a worker makes the part) ──> succeeded | failed: retried later · split · sent instead · raised

The caller passes the time, runs the tasks and emits the events. Sent and copied parts have separate workers, because a
copy waits for the server and does not use this machine's bandwidth.
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
from aliyun_import.upload.transfer.concurrency import PIECE_BYTES, ConcurrencyController, piece_bytes_for
from aliyun_import.upload.transfer.parts import DonePart, PartSplitter
from aliyun_import.upload.transfer.progress import Amounts, Meter

# Parallel copies without --jobs: they use no bandwidth of this machine, and only wait for the server.
COPY_WORKERS = 32
# A part that is corrupted three times is not an accident of the network.
CORRUPTED_ATTEMPTS = 3
# After this number of broken connections during one part, the network is assumed not to carry parts of this length.
BREAKS_ALLOWED = 3
COPIES = frozenset({PartKind.ZERO, PartKind.BASE})


@dataclass(slots=True)
class PartTask:
    """A part to make, and the number of the attempt. `holds_worker`: its worker stays reserved while it waits."""

    part: PlannedPart
    attempt: int = 1
    holds_worker: bool = False
    sent_bytes: int = 0  # of this attempt; only its worker writes it


@dataclass(slots=True)
class _Group:
    """Tasks of one kind, sent or copied, and their workers."""

    controller: ConcurrencyController
    waiting: deque[PartTask] = field(default_factory=deque)
    busy: int = 0
    held: int = 0  # workers reserved for parts that wait for their next attempt


class Scheduler:
    """State machine of one transfer. Not thread-safe: one thread calls it and passes the time.

    `left` are the parts to make, `done` those that already count, `refused` the kinds of copies to send instead. At
    most `max_zeros_sent_bytes` of zeros are sent if they can't be copied.
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
        max_zeros_sent_bytes: float = math.inf,
        jobs: int | None = None,
        limit_rate_bytes_s: float | None = None,
        policy: RetryPolicy = PATIENT,
    ) -> None:
        self.done = list(done)
        self.refused = refused
        self._most_zeros_sent_bytes = max_zeros_sent_bytes
        self._plan = plan
        self._disk = disk
        self._policy = policy
        self._splitter = PartSplitter(plan)
        sent = [part.length for part in plan.parts if part.kind is PartKind.SEND]
        self._piece_bytes = min(max([MAX_SEND_BYTES, *sent]), piece_bytes_for(limit_rate_bytes_s))
        average_bytes = min(self._piece_bytes, sum(sent) // max(1, len(sent)))
        self._send = _Group(
            ConcurrencyController(jobs, now_s=now_s, part_bytes=average_bytes, limit_rate_bytes_s=limit_rate_bytes_s)
        )
        self._copy = _Group(ConcurrencyController(jobs or COPY_WORKERS, now_s=now_s))
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
        """The number of running tasks."""
        return self._send.busy + self._copy.busy

    @property
    def has_work(self) -> bool:
        """Whether any part is not done."""
        return bool(self._later or self.busy or self._send.waiting or self._copy.waiting)

    def start(self, now_s: float) -> list[PartTask]:
        """Return the tasks to start now; call `succeeded`, `failed` or `dropped` once for each."""
        while self._later and self._later[0][0] <= now_s:
            task = heapq.heappop(self._later)[2]
            self._group(task.part).held -= task.holds_worker
            self._enqueue(task, first=True)
        tasks: list[PartTask] = []
        for group in (self._send, self._copy):
            while group.waiting and group.busy + group.held < group.controller.allowed:
                group.busy += 1
                task = group.waiting.popleft()
                task.sent_bytes = 0
                self._running[id(task)] = task
                tasks.append(task)
        return tasks

    def wait_s(self, now_s: float) -> float | None:
        """Return the time until the next retry is due, None if there is none."""
        return max(0.0, self._later[0][0] - now_s) if self._later else None

    def observe(self, sent_bytes: int, now_s: float) -> None:
        """Adapt the number of workers to the rate; `sent_bytes` are all bytes sent so far."""
        self._send.controller.observe(sent_bytes, now_s)

    def progress(self, sent_bytes: int, now_s: float) -> UploadProgress:
        """Return the progress as an event; `sent_bytes` as in `observe`."""
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
        """Record a part that is done."""
        group = self._ended(task)
        group.controller.succeeded()
        self.done.append(part)
        self._done_bytes += part.length
        if task.part.kind is PartKind.SEND:
            self._sent_done += part.length
        else:
            self._copied += part.length

    def dropped(self, task: PartTask) -> None:
        """Record a task that ended after the transfer failed; its result is ignored."""
        self._ended(task)

    def failed(self, task: PartTask, error: AliyunImportError, now_s: float) -> tuple[Event, ...]:
        """Retry, split or replace a failed part, and return the events about it. Raises `error` if it is final."""
        self._ended(task)
        # A part that timed out had too little bandwidth; with fewer parallel parts each has more.
        if isinstance(error, Throttled | TimedOut) or error.retry_after_s:
            for group in (self._send, self._copy):
                group.controller.throttled(now_s)
        if task.part.kind is not PartKind.SEND and is_copy_refused(error, task.part.kind):
            return self._send_instead(task, error)
        too_long = isinstance(error, TimedOut) or (isinstance(error, ConnectionLost) and task.attempt >= BREAKS_ALLOWED)
        if too_long and self._can_split(task.part):
            return self._split(task)
        return self._retry(task, error, now_s)

    def _can_split(self, part: PlannedPart) -> bool:
        return part.kind is PartKind.SEND and part.length > PIECE_BYTES and self._splitter.can_split(part)

    def _group(self, part: PlannedPart) -> _Group:
        return self._send if part.kind is PartKind.SEND else self._copy

    def _ended(self, task: PartTask) -> _Group:
        """Remove a task from the running ones, and return its group."""
        self._running.pop(id(task), None)
        group = self._group(task.part)
        group.busy -= 1
        return group

    def _enqueue(self, task: PartTask, *, first: bool = False) -> None:
        """Queue a task; a part that is longer than the present maximum is split."""
        part = task.part
        if part.kind in self.refused:
            self._to_copy -= part.length
            self._to_send += part.length
            part = PlannedPart(part.number, PartKind.SEND, part.start, part.length)
        is_sent = part.kind is PartKind.SEND
        pieces = self._splitter.split(part, max_bytes=self._piece_bytes) if is_sent else (part,)
        tasks = [PartTask(piece, task.attempt if len(pieces) == 1 else 1) for piece in pieces]
        if first:
            self._group(part).waiting.extendleft(reversed(tasks))
        else:
            self._group(part).waiting.extend(tasks)

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
        # Keep the worker reserved, so that while the network is down only as many parts fail as there are workers.
        # After a timeout the server had accepted the connection, so other parts are sent meanwhile.
        task.holds_worker = not isinstance(error, TimedOut | PartCorrupted)
        self._group(task.part).held += task.holds_worker
        heapq.heappush(self._later, (now_s + wait_s, next(self._ticket), task))
        return (retried,)

    def _send_instead(self, task: PartTask, error: AliyunImportError) -> tuple[Event, ...]:
        """Send a part that can't be copied, and all others that would be copied from the same object."""
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
        """Split this part and all following ones."""
        events: tuple[Event, ...] = ()
        if self._piece_bytes > PIECE_BYTES:
            self._piece_bytes = PIECE_BYTES
            events = (
                Noted(
                    message=f"Part {task.part.number} failed repeatedly: parts are split into "
                    f"{size(PIECE_BYTES)} from here on."
                ),
            )
        waiting = list(self._send.waiting)
        self._send.waiting.clear()
        for other in [PartTask(task.part), *waiting]:
            self._enqueue(other)
        return events


def too_many_zeros(error: AliyunImportError, *, cost_bytes: int) -> CopyRefused:
    """Return the error of zeros that can't be copied, and are too many to be sent without --send-zeros."""
    return CopyRefused(
        f"OSS refuses to copy ranges of zeros, and {size(cost_bytes)} of zeros would have to be sent.",
        code="copy-refused",
        cause=f"{error.summary} {error.cause or ''}".strip(),
        remedy="Have oss:GetObject and oss:PutObject granted on the bucket, or use an endpoint of OSS itself; or pass "
        "--send-zeros to send them.",
        details=error.details,
        resumable=True,
    )


def is_copy_refused(error: AliyunImportError, kind: PartKind) -> bool:
    """Return whether a copy failed finally, so that the bytes must be sent.

    A range of the base with other bytes differs from its manifest; another copy would not help. The zero object was
    proven, so a corrupted range of zeros is copied again.
    """
    if isinstance(error, RefusedError):
        return not isinstance(error, UploadNotFound)
    return isinstance(error, PermissionDenied) or (isinstance(error, PartCorrupted) and kind is PartKind.BASE)


def base_set_aside(key: str, *, cost_bytes: int) -> Warned:
    """Return the warning about a base that differs from its manifest."""
    return Warned(
        code="base-set-aside",
        message=f"The base {key} differs from its manifest: {size(cost_bytes)} are sent instead of being copied.",
        remedy=f"Remove {key} and its manifest, and push with --keep-object to have a new base.",
    )


def _sent_instead(error: AliyunImportError, *, cost_bytes: int, base: BaseObject | None) -> Warned:
    if isinstance(error, PartCorrupted) and base is not None:
        return base_set_aside(base.key, cost_bytes=cost_bytes)
    return Warned(
        code=error.code,
        message=f"{error.summary} {size(cost_bytes)} are sent instead of being copied on the server.",
        remedy=error.remedy,
    )
