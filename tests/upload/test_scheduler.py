"""Decisions about parts, without threads, a queue or a clock."""

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

CERTAIN = replace(PATIENT, jitter=lambda: 1.0)  # the whole window is waited
DENSE = plan_upload(64 * MIB, [(0, 64 * MIB)])
MIXED = plan_upload(
    96 * MIB, [(0, 8 * MIB)], unchanged=[(8 * MIB, 24 * MIB), (40 * MIB, 48 * MIB)], base=BaseObject(key="b", etag="E")
)


def scheduler_of(plan: UploadPlan, *, jobs: int | None = None) -> Scheduler:
    """Return a scheduler of all parts of a plan, at time 0."""
    return Scheduler(plan, plan.parts, disk="disk.raw", now_s=0.0, jobs=jobs, policy=CERTAIN)


def done(task: PartTask) -> DonePart:
    """Return the part that a task makes."""
    part = task.part
    return DonePart(number=part.number, start=part.start, length=part.length, crc64=1, etag="E", proof="crc64")


def failure(kind: type[AliyunImportError], *, retry_after_s: float | None = None) -> AliyunImportError:
    """Return a failure of a class."""
    return kind("No.", code="code", remedy=None, retry_after_s=retry_after_s)


def run(scheduler: Scheduler, *, now_s: float = 0.0) -> list[PartTask]:
    """Make all parts that are left, and return the tasks in the order in which they were started."""
    started: list[PartTask] = []
    while scheduler.has_work:
        now_s += scheduler.wait_s(now_s) or 0.0
        tasks = scheduler.start(now_s)
        assert tasks, "nothing starts, and something is left"
        for task in tasks:
            scheduler.succeeded(task, done(task))
        started += tasks
    return started


def test_all_parts_are_started_once_and_are_done() -> None:
    """At most as many at a time as there are jobs, in the order of the disk."""
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
    """Not before; the wait is that of the policy or of the service."""
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


def test_a_part_that_waits_holds_its_worker_while_the_network_may_be_down() -> None:
    """Otherwise every part would fail once; after a timeout or corruption other parts are sent meanwhile."""
    for kind, others in ((ConnectionLost, 0), (TimedOut, 1), (PartCorrupted, 1)):
        scheduler = Scheduler(DENSE, DENSE.parts[:2], disk="d", now_s=0.0, jobs=1, policy=CERTAIN)
        (task,) = scheduler.start(0.0)
        task.part = replace(task.part, length=1 * MIB)  # too short to be split
        scheduler.failed(task, failure(kind), 0.0)
        assert len(scheduler.start(0.0)) == others


def test_the_attempts_end() -> None:
    """Twelve for a transient failure, three for corruption; the last error is raised."""
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
def test_a_final_error_of_a_sent_part_is_raised(kind: type[AliyunImportError]) -> None:
    """At once: no retry helps."""
    scheduler = scheduler_of(DENSE, jobs=2)
    tasks = scheduler.start(0.0)
    with pytest.raises(kind):
        scheduler.failed(tasks[0], failure(kind), 0.0)
    assert scheduler.busy == 1, "the other one has to come back"


def test_a_time_out_splits_all_parts_that_are_left() -> None:
    """Into pieces of 1 MiB, with one note about it; what is in flight is split when it fails."""
    scheduler = scheduler_of(DENSE, jobs=2)
    first, second = scheduler.start(0.0)
    (event,) = scheduler.failed(first, failure(TimedOut), 0.0)
    assert isinstance(event, Noted)
    assert scheduler.failed(second, failure(TimedOut), 0.0) == ()
    pieces = run(scheduler)
    assert {task.part.length for task in pieces} == {1 * MIB}
    assert sum(task.part.length for task in pieces) == 64 * MIB


def test_a_connection_that_breaks_over_and_over_under_one_part_splits_it() -> None:
    """The third time; until then the part is tried as it is."""
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


def test_throttling_halves_the_workers_for_sent_and_for_copied_parts() -> None:
    """A 503 and a time-out do; a broken connection does not. A part that waits holds its worker."""
    for kind, allowed in ((Throttled, 1), (TimedOut, 2), (ConnectionLost, 3)):
        scheduler = Scheduler(DENSE, DENSE.parts, disk="d", now_s=0.0, jobs=4, policy=CERTAIN)
        tasks = scheduler.start(0.0)
        assert len(tasks) == 4
        scheduler.failed(tasks[0], failure(kind), 10.0)
        for task in tasks[1:]:
            scheduler.dropped(task)
        assert len(scheduler.start(10.0)) == allowed


def test_refused_copies_are_sent_instead() -> None:
    """The part, and all that wait to be copied from the same object; a store without copies sends both kinds."""
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


def test_a_base_that_is_not_what_its_manifest_claims_is_set_aside() -> None:
    """No attempt makes such a copy right: its ranges are sent, with a warning that names it and the bytes."""
    scheduler = scheduler_of(MIXED, jobs=1)
    task = next(task for task in scheduler.start(0.0) if task.part.kind is PartKind.BASE)
    (event,) = scheduler.failed(task, failure(PartCorrupted), 0.0)
    assert isinstance(event, Warned)
    assert event.code == "base-set-aside"
    assert "24 MiB" in event.message
    assert scheduler.refused == {PartKind.BASE}


def test_zeros_that_arrive_corrupted_are_copied_again() -> None:
    """Their source was proven, so that another attempt may be right."""
    plan = plan_upload(64 * MIB, [(0, 8 * MIB)])
    scheduler = scheduler_of(plan, jobs=1)
    task = next(task for task in scheduler.start(0.0) if task.part.kind is PartKind.ZERO)
    (event,) = scheduler.failed(task, failure(PartCorrupted), 0.0)
    assert isinstance(event, PartRetried)
    assert scheduler.refused == frozenset()


def test_parts_from_before_count() -> None:
    """A resumed transfer begins with them, and its progress includes them."""
    before = DonePart(number=DENSE.parts[0].number, start=0, length=DENSE.parts[0].length, crc64=1, etag="E", proof="")
    scheduler = Scheduler(DENSE, DENSE.parts[1:], disk="d", now_s=0.0, done=[before], policy=CERTAIN)
    progress = scheduler.progress(0, 1.0)
    assert (progress.done_bytes, progress.parts_done, progress.parts) == (before.length, 1, len(DENSE.parts))
    assert progress.send_bytes == 64 * MIB - before.length


@pytest.mark.parametrize(("rate", "pieces", "at_once"), [(1_000_000, 5, 2), (100_000, 8, 2), (8_000_000, 1, 2)])
def test_a_rate_limit_bounds_what_a_kill_loses(rate: int, pieces: int, at_once: int) -> None:
    """Few workers, and parts of at most two seconds of the whole rate, down to 1 MiB."""
    plan = plan_upload(64 * MIB, [(0, 64 * MIB)])
    scheduler = Scheduler(plan, plan.parts, disk="d", now_s=0.0, limit_rate_bytes_s=rate, policy=CERTAIN)
    started = scheduler.start(0.0)
    assert len(started) == at_once
    assert scheduler.progress(0, 0.0).parts == len(plan.parts) * pieces
    assert all(task.part.length <= max(MIB, 2 * rate) for task in started)
