"""Worker threads of a transfer, and the loop that runs a scheduler's tasks on them."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from aliyun_import.context import Context, interrupted
from aliyun_import.errors import AliyunImportError
from aliyun_import.system_limits import limit_error
from aliyun_import.upload.transfer.concurrency import RateLimiter
from aliyun_import.upload.transfer.parts import DonePart
from aliyun_import.upload.transfer.scheduler import PartTask, Scheduler
from aliyun_import.upload.transfer.worker import CHUNK_BYTES, PartMaker

# The loop runs at least this often: for cancellation, for retries that are due, for progress.
TICK_S = 0.1
# While nothing but waits for retries is left, the progress shows at least this often that it stalls.
STALL_STEP_S = 2.0
# Finished parts are journalled at least this often, in batches: an entry costs an fsync.
JOURNAL_S = 1.0
# How long parts in flight may take to end after a stop; a worker that is stuck in a dead socket is abandoned.
STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class PartResult:
    """A task that ended, and its part or its error."""

    task: PartTask
    outcome: DonePart | BaseException


class WorkerPool:
    """Threads that each make one part at a time; started when tasks exceed them. The owner's thread calls it.

    `close` lets the threads end; a thread that is stuck in a dead socket does not keep the process.
    """

    def __init__(self, maker: PartMaker, context: Context, limit: RateLimiter) -> None:
        self._maker = maker
        self._context = context
        self._limit = limit
        self._tasks: queue.SimpleQueue[PartTask | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[PartResult] = queue.SimpleQueue()
        self._sent: list[int] = []  # one count per thread, so that no two threads write the same one
        self._is_stopping = False

    @property
    def sent_bytes(self) -> int:
        """The bytes that were sent so far, parts that were sent again included."""
        return sum(self._sent)

    def start(self, tasks: Iterable[PartTask], *, busy: int) -> None:
        """Queue tasks; `busy` is how many are under way with them.

        Each has a thread, unless the machine permits no more: then they wait for one. Raises LocalStateError
        "system-limit" if there is none at all.
        """
        for task in tasks:
            self._tasks.put(task)
        while len(self._sent) < busy:
            thread = threading.Thread(target=self._work, args=(len(self._sent),), name="part", daemon=True)
            self._sent.append(0)
            try:
                thread.start()
            except RuntimeError as error:  # can't start new thread
                self._sent.pop()
                if not self._sent:
                    raise limit_error(error) or error from error
                return

    def results(self, *, timeout_s: float) -> Iterator[PartResult]:
        """Yield the tasks that ended; waits for the first of them for at most this time."""
        try:
            yield self._results.get(timeout=timeout_s)
            while True:
                yield self._results.get_nowait()
        except queue.Empty:
            return

    def stop(self) -> None:
        """End each task under way at its next chunk, with Interrupted."""
        self._is_stopping = True

    def close(self) -> None:
        """End the threads as soon as they are idle."""
        for _ in self._sent:
            self._tasks.put(None)

    def _check(self, length: int) -> None:
        del length
        self._context.check_cancelled()
        if self._is_stopping:
            raise interrupted()

    def _work(self, index: int) -> None:
        """Make queued parts until None is received."""
        buffer = memoryview(bytearray(self._limit.chunk_bytes(CHUNK_BYTES)))

        while (task := self._tasks.get()) is not None:

            def on_chunk(length: int, task: PartTask = task) -> None:
                self._check(length)
                self._limit.take(length)
                self._sent[index] += length
                task.sent_bytes += length

            try:
                outcome: DonePart | BaseException = self._maker.make(
                    task.part, buffer=buffer, on_chunk=on_chunk, on_read=self._check
                )
            except BaseException as error:  # noqa: BLE001 -- raised on the owner's thread
                outcome = error
            self._results.put(PartResult(task, outcome))


class Transfer:
    """A scheduler's tasks run on a pool of threads. `run` is called once, on the thread that emits.

    `journal` receives finished parts in batches: at least once per second, and all of them when `run` ends.
    """

    def __init__(
        self, scheduler: Scheduler, pool: WorkerPool, context: Context, *, journal: Callable[[list[DonePart]], None]
    ) -> None:
        self._scheduler = scheduler
        self._pool = pool
        self._context = context
        self._journal = journal
        self._unwritten: list[DonePart] = []
        self._emitted_s = self._written_s = context.clock.monotonic_s()

    def run(self) -> None:
        """Make all parts. Raises the first error that is final, after the parts in flight ended."""
        try:
            while self._scheduler.has_work:
                self._step()
        except BaseException:
            self._stop()
            raise
        finally:
            self._pool.close()
            self._write()
            self._emit_progress()

    def _step(self) -> None:
        """Start what may start, wait for a result, and take in all that are there."""
        clock, scheduler = self._context.clock, self._scheduler
        self._context.check_cancelled()
        now_s = clock.monotonic_s()
        self._pool.start(scheduler.start(now_s), busy=scheduler.busy)
        if scheduler.busy:
            for result in self._pool.results(timeout_s=TICK_S):
                self._take(result)
        elif (wait_s := scheduler.wait_s(now_s)) is not None:
            self._context.sleep(min(wait_s, STALL_STEP_S))
        now_s = clock.monotonic_s()
        scheduler.observe(self._pool.sent_bytes, now_s)
        if now_s - self._written_s >= JOURNAL_S:
            self._write()
        if now_s - self._emitted_s >= TICK_S:
            self._emit_progress()

    def _take(self, result: PartResult) -> None:
        task, outcome = result.task, result.outcome
        if isinstance(outcome, DonePart):
            self._scheduler.succeeded(task, outcome)
            self._unwritten.append(outcome)
        elif isinstance(outcome, AliyunImportError):
            for event in self._scheduler.failed(task, outcome, self._context.clock.monotonic_s()):
                self._context.emit(event)
        else:
            self._scheduler.dropped(task)
            raise outcome

    def _stop(self) -> None:
        """Stop the workers, and keep the parts that they still finish."""
        self._pool.stop()
        clock = self._context.clock
        until_s = clock.monotonic_s() + STOP_S
        while self._scheduler.busy and clock.monotonic_s() < until_s:
            for result in self._pool.results(timeout_s=TICK_S):
                if isinstance(result.outcome, DonePart):
                    self._scheduler.succeeded(result.task, result.outcome)
                    self._unwritten.append(result.outcome)
                else:
                    self._scheduler.dropped(result.task)

    def _write(self) -> None:
        batch, self._unwritten = self._unwritten, []
        self._written_s = self._context.clock.monotonic_s()
        self._journal(batch)

    def _emit_progress(self) -> None:
        self._emitted_s = self._context.clock.monotonic_s()
        self._context.emit(self._scheduler.progress(self._pool.sent_bytes, self._emitted_s))
