"""Tests of the scheduler: decisions about parts, without threads, a queue or a clock."""

from dataclasses import replace

import pytest

from aliyun_import.errors import (
    AliyunImportError,
    BaseChanged,
    ConnectionLost,
    CopyRefused,
    DiskTruncated,
    PartCorrupted,
    PermissionDenied,
    Throttled,
    TimedOut,
    TransientError,
    UploadNotFound,
)
from aliyun_import.events import Noted, PartRetried, Warned
from aliyun_import.limits import MIB
from aliyun_import.retry import PATIENT
from aliyun_import.upload.plan import BaseObject, PartKind, UploadPlan, plan_upload
from aliyun_import.upload.transfer.parts import DonePart
from aliyun_import.upload.transfer.scheduler import BREAKS_ALLOWED, COPIES, CORRUPTED_ATTEMPTS, PartTask, Scheduler

WITHOUT_JITTER = replace(PATIENT, jitter=lambda: 1.0)  # each wait is the whole window
DENSE = plan_upload(64 * MIB, [(0, 64 * MIB)])
MIXED = plan_upload(
    96 * MIB, [(0, 8 * MIB)], unchanged=[(8 * MIB, 24 * MIB), (40 * MIB, 48 * MIB)], base=BaseObject(key="b", etag="E")
)


def scheduler_of(plan: UploadPlan, *, jobs: int | None = None) -> Scheduler:
    """Return a scheduler of all parts of a plan, at time 0."""
    return Scheduler(plan, plan.parts, disk="disk.raw", now_s=0.0, jobs=jobs, policy=WITHOUT_JITTER)


def done(task: PartTask) -> DonePart:
    """Return the part of a task as done."""
    part = task.part
    return DonePart(number=part.number, start=part.start, length=part.length, crc64=1, etag="E", proof="crc64")


def failure(kind: type[AliyunImportError], *, retry_after_s: float | None = None) -> AliyunImportError:
    """Return a failure of a class."""
    return kind("No.", code="code", remedy=None, retry_after_s=retry_after_s)


def run(scheduler: Scheduler, *, now_s: float = 0.0) -> list[PartTask]:
    """Complete all remaining parts, and return the tasks in the order in which they were started."""
    started: list[PartTask] = []
    while scheduler.has_work:
        now_s += scheduler.wait_s(now_s) or 0.0
        tasks = scheduler.start(now_s)
        assert tasks, "no task starts although parts remain"
        for task in tasks:
            scheduler.succeeded(task, done(task))
        started += tasks
    return started


def test_every_part_is_started_once() -> None:
    """At most as many tasks as jobs run at a time, in the order of the disk."""
    scheduler = scheduler_of(DENSE, jobs=3)
    assert len(scheduler.start(0.0)) == 3
    assert scheduler.start(0.0) == []
    scheduler = scheduler_of(DENSE, jobs=3)
    assert [task.part for task in run(scheduler)] == list(DENSE.parts)
    assert [part.number for part in scheduler.done] == [part.number for part in DENSE.parts]
    progress = scheduler.progress(64 * MIB, 1.0)
    assert (progress.done_bytes, progress.total_bytes, progress.parts_done) == (64 * MIB, 64 * MIB, progress.parts)


def test_copies_do_not_wait_for_sent_parts() -> None:
    """Sent and copied parts have separate workers: with one job, one of each kind is running."""
    kinds = [task.part.kind for task in scheduler_of(MIXED, jobs=1).start(0.0)]
    assert len(kinds) == 2
    assert len(set(kinds) & COPIES) == 1


def test_a_failed_part_is_retried_when_its_wait_is_over() -> None:
    """The wait is the policy's, or the one that the service requested."""
    for asked_s, wait_s in ((None, 1.0), (17.0, 17.0)):
        scheduler = scheduler_of(DENSE, jobs=1)
        (task,) = scheduler.start(0.0)
        (event,) = scheduler.failed(task, failure(TransientError, retry_after_s=asked_s), 0.0)
        assert isinstance(event, PartRetried)
        assert (event.number, event.attempt, event.wait_s) == (task.part.number, 1, wait_s)
        assert scheduler.wait_s(0.0) == wait_s
        assert scheduler.start(wait_s - 0.1) == []
        (again,) = scheduler.start(wait_s)
        assert (again.part, again.attempt) == (task.part, 2)


def test_a_waiting_part_blocks_its_worker_after_a_lost_connection() -> None:
    """Otherwise every part would fail once; after a timeout or corruption, other parts are sent during the wait."""
    for kind, others in ((ConnectionLost, 0), (TimedOut, 1), (PartCorrupted, 1)):
        scheduler = Scheduler(DENSE, DENSE.parts[:2], disk="d", now_s=0.0, jobs=1, policy=WITHOUT_JITTER)
        (task,) = scheduler.start(0.0)
        task.part = replace(task.part, length=1 * MIB)  # too short to be split
        scheduler.failed(task, failure(kind), 0.0)
        assert len(scheduler.start(0.0)) == others


def test_the_number_of_attempts_is_bounded() -> None:
    """It is twelve for a transient failure and three for corruption; then the last error is raised."""
    for kind, attempts in ((TransientError, PATIENT.attempts), (PartCorrupted, CORRUPTED_ATTEMPTS)):
        scheduler, now_s = scheduler_of(DENSE, jobs=1), 0.0
        error = failure(kind)
        (task,) = scheduler.start(now_s)
        for attempt in range(1, attempts):
            assert task.attempt == attempt
            scheduler.failed(task, error, now_s)
            now_s += scheduler.wait_s(now_s) or 0.0
            (task,) = scheduler.start(now_s)
        with pytest.raises(kind):
            scheduler.failed(task, error, now_s)


@pytest.mark.parametrize("kind", [DiskTruncated, UploadNotFound, PermissionDenied])
def test_a_final_error_of_a_sent_part_is_raised_at_once(kind: type[AliyunImportError]) -> None:
    """It is not retried."""
    scheduler = scheduler_of(DENSE, jobs=2)
    tasks = scheduler.start(0.0)
    with pytest.raises(kind):
        scheduler.failed(tasks[0], failure(kind), 0.0)
    assert scheduler.busy == 1, "the other task is still running"


def test_a_timeout_splits_all_remaining_parts() -> None:
    """They become pieces of 1 MiB, with one note; a part in flight is split when it fails."""
    scheduler = scheduler_of(DENSE, jobs=2)
    first, second = scheduler.start(0.0)
    (event,) = scheduler.failed(first, failure(TimedOut), 0.0)
    assert isinstance(event, Noted)
    assert scheduler.failed(second, failure(TimedOut), 0.0) == ()
    pieces = run(scheduler)
    assert {task.part.length for task in pieces} == {1 * MIB}
    assert sum(task.part.length for task in pieces) == 64 * MIB


def test_a_part_whose_connection_breaks_three_times_is_split() -> None:
    """Until then it is retried as it is."""
    scheduler, now_s = scheduler_of(DENSE, jobs=1), 0.0
    for _ in range(BREAKS_ALLOWED - 1):
        now_s += scheduler.wait_s(now_s) or 0.0
        (task,) = scheduler.start(now_s)
        (event,) = scheduler.failed(task, failure(ConnectionLost), now_s)
        assert isinstance(event, PartRetried)
    now_s += scheduler.wait_s(now_s) or 0.0
    (task,) = scheduler.start(now_s)
    (event,) = scheduler.failed(task, failure(ConnectionLost), now_s)
    assert isinstance(event, Noted)


def test_throttling_and_timeouts_halve_the_workers() -> None:
    """A broken connection does not. A waiting part blocks its worker, except after a timeout."""
    for kind, allowed in ((Throttled, 1), (TimedOut, 2), (ConnectionLost, 3)):
        scheduler = Scheduler(DENSE, DENSE.parts, disk="d", now_s=0.0, jobs=4, policy=WITHOUT_JITTER)
        tasks = scheduler.start(0.0)
        assert len(tasks) == 4
        scheduler.failed(tasks[0], failure(kind), 10.0)
        for task in tasks[1:]:
            scheduler.dropped(task)
        assert len(scheduler.start(10.0)) == allowed


def test_refused_copies_are_sent_instead() -> None:
    """So are all waiting parts with the same source; for a store without copies both kinds are sent."""
    for kind, sent in ((BaseChanged, {PartKind.BASE}), (CopyRefused, COPIES), (PermissionDenied, {PartKind.BASE})):
        scheduler = scheduler_of(MIXED, jobs=1)
        task = next(task for task in scheduler.start(0.0) if task.part.kind is not PartKind.SEND)
        assert task.part.kind is PartKind.BASE
        (event,) = scheduler.failed(task, failure(kind), 0.0)
        assert isinstance(event, Warned)
        cost = sum(part.length for part in MIXED.parts if part.kind in sent)
        assert f"{cost // MIB} MiB" in event.message
        assert scheduler.refused == sent
        assert not {task.part.kind for task in scheduler.start(0.0)} & sent


def test_a_base_that_differs_from_its_manifest_is_not_used() -> None:
    """A retry can't succeed: its ranges are sent, with a warning that names the base and the bytes."""
    scheduler = scheduler_of(MIXED, jobs=1)
    task = next(task for task in scheduler.start(0.0) if task.part.kind is PartKind.BASE)
    (event,) = scheduler.failed(task, failure(PartCorrupted), 0.0)
    assert isinstance(event, Warned)
    assert event.code == "base-set-aside"
    assert "24 MiB" in event.message
    assert scheduler.refused == {PartKind.BASE}


def test_a_corrupted_copy_of_zeros_is_repeated() -> None:
    """The source was proven, so another attempt may succeed."""
    plan = plan_upload(64 * MIB, [(0, 8 * MIB)])
    scheduler = scheduler_of(plan, jobs=1)
    task = next(task for task in scheduler.start(0.0) if task.part.kind is PartKind.ZERO)
    (event,) = scheduler.failed(task, failure(PartCorrupted), 0.0)
    assert isinstance(event, PartRetried)
    assert scheduler.refused == frozenset()


def test_parts_of_an_earlier_run_count_as_done() -> None:
    """A resumed transfer starts with them in its progress."""
    before = DonePart(number=DENSE.parts[0].number, start=0, length=DENSE.parts[0].length, crc64=1, etag="E", proof="")
    scheduler = Scheduler(DENSE, DENSE.parts[1:], disk="d", now_s=0.0, done=[before], policy=WITHOUT_JITTER)
    progress = scheduler.progress(0, 1.0)
    assert (progress.done_bytes, progress.parts_done, progress.parts) == (before.length, 1, len(DENSE.parts))
    assert progress.send_bytes == 64 * MIB - before.length


@pytest.mark.parametrize(("rate", "pieces", "at_once"), [(1_000_000, 5, 2), (100_000, 8, 2), (8_000_000, 1, 2)])
def test_a_rate_limit_bounds_what_a_kill_loses(rate: int, pieces: int, at_once: int) -> None:
    """There are few workers, and parts of at most two seconds of the rate, but at least 1 MiB."""
    plan = plan_upload(64 * MIB, [(0, 64 * MIB)])
    scheduler = Scheduler(plan, plan.parts, disk="d", now_s=0.0, limit_rate_bytes_s=rate, policy=WITHOUT_JITTER)
    started = scheduler.start(0.0)
    assert len(started) == at_once
    assert scheduler.progress(0, 0.0).parts == len(plan.parts) * pieces
    assert all(task.part.length <= max(MIB, 2 * rate) for task in started)
