"""This file moves parts: workers that make one part each, and one coordinator that decides, journals and speaks.

    left ──> queue ──> workers (one attempt each) ──> results ──> coordinator: done · again later · cut · stop

Sent parts and copied parts are two lanes: a copy waits for the server and not for the line. Nothing here knows a
service by name; what is retried stands in `retry.py`, how fast in `pace.py`.
"""

import heapq
import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from aliyun_import.context import Clock
from aliyun_import.errors import AccessError, AliyunImportError, Interrupted, RefusedError
from aliyun_import.events import Emit, Noted, PartRetried, UploadProgress, Warned
from aliyun_import.limits import MIB
from aliyun_import.retry import PATIENT_ATTEMPTS, wait_before_retry
from aliyun_import.sizes import size
from aliyun_import.upload.plan.plan import MAX_SEND_BYTES, PartKind, PlannedPart, UploadPlan
from aliyun_import.upload.transfer.body import CHUNK_BYTES
from aliyun_import.upload.transfer.concurrency import ConcurrencyController, RateLimiter
from aliyun_import.upload.transfer.parts import DonePart, PartSplitter
from aliyun_import.upload.transfer.worker import WorkerContext, make_part

# The coordinator looks around at least so often: for a stop, for parts whose wait is over, for something to say.
TICK_S = 0.1
# A batch of finished parts is journalled at the latest after so many seconds: a line costs an fsync.
JOURNAL_S = 1.0
# Copies under way at once without --jobs: they cost the line nothing, and wait for the server alone.
COPY_WORKERS = 32
# After a stop, how long parts in flight may take to notice it; a worker that is stuck in a dead socket is left.
STOP_PATIENCE_S = 10.0
# A part that arrives corrupted three times is no accident of the line.
CORRUPTED_ATTEMPTS = 3
# A part that timed out is cut to pieces of this size, and so are all others: at once, since a piece has no numbers left
# to be cut again, and on a line that is so slow a request for each MiB costs nothing.
PIECE_BYTES = 1 * MIB
TIMED_OUT = "timed-out"
CORRUPTED = "part-corrupted"
# After these a part waits for its next attempt alone: the server took the connection, and time has passed.
LINE_IS_UP = frozenset({TIMED_OUT, CORRUPTED})
# A connection that breaks so often under one part is taken for a line that a part of this length does not pass.
BROKEN = "connection-lost"
BREAKS_ALLOWED = 3
NO_RIGHT = frozenset({"no-right", "access-denied"})


@dataclass(slots=True)
class _Task:
    part: PlannedPart
    attempt: int = 1
    keeps_place: bool = False


@dataclass(slots=True)
class _Lane:
    crew: ConcurrencyController
    waiting: deque[_Task] = field(default_factory=deque)
    busy: int = 0
    kept: int = 0  # places of parts that wait for their next attempt


@dataclass(frozen=True, slots=True)
class _Result:
    task: _Task
    outcome: DonePart | BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporter:
    """Where the transfer tells what happens: events, and finished parts for the journal."""

    disk: str
    emit: Emit
    journal: Callable[[Iterable[DonePart]], None]


class Transfer:
    """One upload's parts on their way. `run` is called once, on the thread that emits."""

    def __init__(
        self,
        plan: UploadPlan,
        place: WorkerContext,
        *,
        told: Reporter,
        clock: Clock,
        stop: threading.Event,
        jobs: int | None,
        limit_rate_bytes_s: float | None,
        refused: frozenset[PartKind] = frozenset(),
    ) -> None:
        self._plan = plan
        self._place = place
        self._told = told
        self._clock = clock
        self._stop = stop
        self._cuts = PartSplitter(plan)
        now_s = clock.monotonic_s()
        sent = [part.length for part in plan.parts if part.kind is PartKind.SEND]
        self._lanes = {
            True: _Lane(ConcurrencyController(jobs, now_s=now_s, part_bytes=sum(sent) // max(1, len(sent)))),
            False: _Lane(ConcurrencyController(jobs or COPY_WORKERS, now_s=now_s)),
        }
        self._limit = RateLimiter(limit_rate_bytes_s, clock)
        self._piece_bytes = max([MAX_SEND_BYTES, *sent])
        self._later: list[tuple[float, int, _Task]] = []
        self._ticket = itertools.count()
        self._inbox: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[_Result] = queue.SimpleQueue()
        self._to_send = 0  # by this run, that is
        self._sent: list[int] = []  # one count a thread, so that no two write the same
        self._done: list[DonePart] = []
        self._done_bytes = 0
        self._unwritten: list[DonePart] = []
        self._refused_kinds = set(refused)  # kinds of copies that are sent instead
        self._said_s = self._wrote_s = now_s
        self._failure: BaseException | None = None

    @property
    def sent_bytes(self) -> int:
        """What went over the wire so far, parts that were sent again included."""
        return sum(self._sent)

    @property
    def done(self) -> tuple[DonePart, ...]:
        """The parts that are done so far, those from before included."""
        return tuple(self._done)

    def run(self, left: Iterable[PlannedPart], *, before: Iterable[DonePart]) -> tuple[DonePart, ...]:
        """Make what is left; gives all done parts, those from before included.

        Raises the first error that is final, after the parts in flight came to an end or noticed the stop; all
        that were finished are journalled by then.
        """
        self._done = list(before)
        self._done_bytes = sum(part.length for part in self._done)
        for part in left:
            self._to_send += part.length if part.kind is PartKind.SEND or part.kind in self._refused_kinds else 0
            self._enqueue(_Task(part))
        try:
            while self._has_work():
                self._turn()
        except BaseException as error:
            self._failure = error
            self._wind_up()
            raise
        finally:
            for _ in self._sent:
                self._inbox.put(None)
            self._write(now_s=self._clock.monotonic_s())
            self._say(now_s=self._clock.monotonic_s())
        return self.done

    def _has_work(self) -> bool:
        return bool(self._later) or any(lane.waiting or lane.busy for lane in self._lanes.values())

    def _turn(self) -> None:
        """Do one round: start what may start, wait for a result, take in all that are there."""
        if self._stop.is_set():
            raise _interrupted()
        now_s = self._clock.monotonic_s()
        while self._later and self._later[0][0] <= now_s:
            task = heapq.heappop(self._later)[2]
            self._lanes[task.part.kind is PartKind.SEND].kept -= task.keeps_place
            self._enqueue(task, first=True)
        self._start()
        if any(lane.busy for lane in self._lanes.values()):
            self._take_results(timeout_s=TICK_S)
        elif self._later:
            self._clock.sleep(self._later[0][0] - now_s)
        now_s = self._clock.monotonic_s()
        self._lanes[True].crew.observe(self.sent_bytes, now_s)
        if now_s - self._wrote_s >= JOURNAL_S:
            self._write(now_s=now_s)
        if now_s - self._said_s >= TICK_S:
            self._say(now_s=now_s)

    def _enqueue(self, task: _Task, *, first: bool = False) -> None:
        """Put a task in its lane; a whole part that is longer than parts may be by now is cut."""
        part = task.part
        if part.kind in self._refused_kinds:
            part = PlannedPart(part.number, PartKind.SEND, part.start, part.length)
        is_sent = part.kind is PartKind.SEND
        pieces = self._cuts.cut(part, most_bytes=self._piece_bytes) if is_sent else (part,)
        tasks = [_Task(piece, task.attempt if len(pieces) == 1 else 1) for piece in pieces]
        if first:
            self._lanes[is_sent].waiting.extendleft(reversed(tasks))
        else:
            self._lanes[is_sent].waiting.extend(tasks)

    def _start(self) -> None:
        for lane in self._lanes.values():
            while lane.waiting and lane.busy + lane.kept < lane.crew.allowed:
                lane.busy += 1
                self._inbox.put(lane.waiting.popleft())
        while len(self._sent) < sum(lane.busy for lane in self._lanes.values()):
            self._sent.append(0)
            threading.Thread(target=self._work, args=(len(self._sent) - 1,), name="part", daemon=True).start()

    def _work(self, index: int) -> None:
        """Be a worker: take a part, make it, tell; ends at None."""
        buffer = memoryview(bytearray(self._limit.chunk_bytes(CHUNK_BYTES)))

        def on_chunk(length: int) -> None:
            self._limit.take(length)
            self._sent[index] += length

        while (task := self._inbox.get()) is not None:
            try:
                outcome: DonePart | BaseException = make_part(self._place, task.part, buffer=buffer, on_chunk=on_chunk)
            except BaseException as error:  # noqa: BLE001 -- the coordinator raises it
                outcome = error
            self._results.put(_Result(task, outcome))

    def _take_results(self, *, timeout_s: float) -> None:
        try:
            result = self._results.get(timeout=timeout_s)
            while True:
                self._take(result)
                result = self._results.get_nowait()
        except queue.Empty:
            return

    def _take(self, result: _Result) -> None:
        lane = self._lanes[result.task.part.kind is PartKind.SEND]
        lane.busy -= 1
        if isinstance(result.outcome, DonePart):
            lane.crew.succeeded()
            self._done.append(result.outcome)
            self._done_bytes += result.outcome.length
            self._unwritten.append(result.outcome)
        elif self._failure is None:
            if not isinstance(result.outcome, AliyunImportError):
                raise result.outcome
            self._handle(result.task, result.outcome)

    def _handle(self, task: _Task, error: AliyunImportError) -> None:
        """Decide what becomes of a part that failed."""
        now_s = self._clock.monotonic_s()
        # What times out had too small a share of the line: fewer at a time have more each.
        if error.code in ("throttled", TIMED_OUT) or error.retry_after_s:
            for lane in self._lanes.values():
                lane.crew.throttled(now_s)
        if task.part.kind is not PartKind.SEND and _is_refusal(error):
            self._send_instead(task, error)
            return
        is_too_long = error.code == TIMED_OUT or (error.code == BROKEN and task.attempt >= BREAKS_ALLOWED)
        if is_too_long and self._cut_down(task):
            return
        attempts = CORRUPTED_ATTEMPTS if error.code == CORRUPTED else PATIENT_ATTEMPTS
        wait_s = wait_before_retry(error, task.attempt, attempts=attempts)
        if wait_s is None:
            raise error
        self._told.emit(
            PartRetried(
                disk=self._told.disk,
                number=task.part.number,
                attempt=task.attempt,
                wait_s=wait_s,
                reason=f"{error.summary} {error.cause or ''}".strip(),
            )
        )
        task.attempt += 1
        # It keeps its worker's place: when the line is down, the parts that fail are as many as the workers, and not
        # all that there are. Where the line is up, others go meanwhile.
        task.keeps_place = error.code not in LINE_IS_UP
        self._lanes[task.part.kind is PartKind.SEND].kept += task.keeps_place
        heapq.heappush(self._later, (now_s + wait_s, next(self._ticket), task))

    def _send_instead(self, task: _Task, error: AliyunImportError) -> None:
        """Send what can't be copied: this part, and all that would be copied from the same object."""
        kinds = {task.part.kind} if error.code != "copy-refused" else {PartKind.ZERO, PartKind.BASE}
        lane = self._lanes[False]
        again = [task, *(other for other in lane.waiting if other.part.kind in kinds)]
        if not kinds <= self._refused_kinds:
            made = {part.number for part in self._done}
            cost = sum(part.length for part in self._plan.parts if part.kind in kinds and part.number not in made)
            self._told.emit(
                Warned(
                    code=error.code,
                    message=f"{error.summary} {size(cost)} that the server could have copied are sent instead.",
                    remedy=error.remedy,
                )
            )
        self._refused_kinds |= kinds
        lane.waiting = deque(other for other in lane.waiting if other.part.kind not in kinds)
        for other in again:
            self._enqueue(_Task(other.part))

    def _cut_down(self, task: _Task) -> bool:
        """Make parts smaller after a time-out; False when this one can't be cut any more."""
        part = task.part
        if part.kind is not PartKind.SEND or not self._cuts.can_cut(part):
            return False
        if part.length <= PIECE_BYTES:
            return False
        if self._piece_bytes > PIECE_BYTES:
            self._piece_bytes = PIECE_BYTES
            self._told.emit(
                Noted(message=f"Part {part.number} does not pass: parts are cut to {size(PIECE_BYTES)} from here on.")
            )
        waiting = list(self._lanes[True].waiting)
        self._lanes[True].waiting.clear()
        for other in [_Task(part), *waiting]:
            self._enqueue(other)
        return True

    def _wind_up(self) -> None:
        """Stop the workers, and take in what they still finish."""
        self._place.halt.set()
        until_s = self._clock.monotonic_s() + STOP_PATIENCE_S
        while any(lane.busy for lane in self._lanes.values()) and self._clock.monotonic_s() < until_s:
            self._take_results(timeout_s=TICK_S)

    def _write(self, *, now_s: float) -> None:
        batch, self._unwritten = self._unwritten, []
        self._wrote_s = now_s
        self._told.journal(batch)

    def _say(self, *, now_s: float) -> None:
        self._said_s = now_s
        busy = sum(lane.busy for lane in self._lanes.values())
        self._told.emit(
            UploadProgress(
                disk=self._told.disk,
                done_bytes=self._done_bytes,
                total_bytes=self._plan.size_bytes,
                sent_bytes=self.sent_bytes,
                send_bytes=self._to_send,
                parts_done=len(self._done),
                parts=len(self._done)
                + len(self._later)
                + busy
                + sum(len(lane.waiting) for lane in self._lanes.values()),
                workers=busy,
            )
        )


def _is_refusal(error: AliyunImportError) -> bool:
    """Tell whether a copy is refused for good, so that sending the bytes helps."""
    if isinstance(error, RefusedError):
        return error.code != "upload-vanished"
    return isinstance(error, AccessError) and error.code in NO_RIGHT


def _interrupted() -> Interrupted:
    return Interrupted("Stopped.", code="interrupted", remedy=None, resumable=True)
