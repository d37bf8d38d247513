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

# The loop runs at least this often, for cancellation, due retries and progress.
TICK_S = 0.1
# Interval of progress while all parts wait for retries.
STALL_STEP_S = 2.0
# Finished parts are journalled at least this often, in batches, because each entry costs an fsync.
JOURNAL_S = 1.0
# Timeout for parts in transfer after a stop; workers that are blocked by a dead connection are abandoned.
STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class PartResult:
    """A task that ended, and its part or its error."""

    task: PartTask
    outcome: DonePart | BaseException


class WorkerPool:
    """Threads that each make one part at a time, started on demand. Called from one thread, that of the transfer.

    `close` ends the threads; a thread that is blocked by a dead connection does not prevent the process from ending.
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
        """The bytes sent so far, including parts that were sent again."""
        return sum(self._sent)

    def start(self, tasks: Iterable[PartTask], *, busy: int) -> None:
        """Queue tasks; `busy` is the number of unfinished tasks, including these.

        Each has a thread; if the machine permits no more threads, tasks wait for one. Raises LocalStateError
        "system-limit" if no thread can be started.
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
        """Yield the tasks that have ended; wait at most this time for the first one."""
        try:
            yield self._results.get(timeout=timeout_s)
            while True:
                yield self._results.get_nowait()
        except queue.Empty:
            return

    def stop(self) -> None:
        """End each running task with Interrupted at its next chunk."""
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
        """Worker loop: make queued parts until None is received."""
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
    """Run of a scheduler's tasks on a pool of threads. `run` is called once, on the thread that emits.

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
        """Make all parts. Raises the first final error, after the parts in transfer have ended."""
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
        """Start the tasks that are allowed, wait for a result, and process all results."""
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
        """Stop the workers, and keep the parts that they finish."""
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
