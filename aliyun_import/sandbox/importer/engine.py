"""Import engine: starts imports, and updates tasks and images by the clock.

Nothing runs in the background. The course of an import is fixed when it starts, and each call that reads tasks or
images updates them first, so that polling costs no more than reading:

    task   Waiting -> Processing 0..100 % -> Finished            or Failed, Paused, Deleted on the way
    image  Creating ............................ -> Available    or UnAvailable, CreateFailed, gone

Assumed, because no document says it: a defect of the bytes fails the task at 5 % with ImportImage's code for it; a
failed import leaves a CreateFailed image, which keeps its name (a setting); a cancelled one leaves nothing; neither
leaves a snapshot.
"""

import math
import weakref
from collections.abc import Iterable
from dataclasses import dataclass

from aliyun_import.sandbox.core.state import State
from aliyun_import.sandbox.ecs.state import Ecs, Image, Outcome, Task
from aliyun_import.sandbox.oss.state import StoredObject

PROBLEM_AT_PERCENT = 5


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Why an import will fail: the code and message of its task."""

    code: str
    message: str


def begin(state: State, image: Image, objects: Iterable[StoredObject], *, problem: Problem | None) -> Task:
    """Start an import: add the image as Creating, and its task."""
    ecs, now_s = state.part(Ecs), state.clock.now_s()
    task = Task(
        id=ecs.new_id("t"),
        account_id=image.account_id,
        region=image.region,
        image_id=image.id,
        created_s=now_s,
        visible_s=now_s + state.settings.task_hidden_s,
        outcome=_outcome(state, now_s=now_s, problem=problem),
        disks=image.disks,
    )
    ecs.images[image.id] = image
    ecs.tasks[task.id] = task
    for disk in image.disks:
        ecs.snapshots[disk.snapshot_id] = (image.account_id, image.region)
    for stored in objects:
        _watch(state, task, stored)
    settle(state)
    return task


def cancel(state: State, task: Task) -> None:
    """Cancel a running import and remove its image."""
    _end(task, "Deleted", at_s=state.clock.now_s())
    _remove_image(state.part(Ecs), task)


def settle(state: State) -> None:
    """Update every task and image to the present time."""
    ecs, now_s = state.part(Ecs), state.clock.now_s()
    for task in list(ecs.tasks.values()):
        if task.running:
            _proceed(state, task, now_s)
        image = ecs.images.get(task.image_id)
        if image is not None and task.status == "Finished" and image.status == "Creating":
            _make_ready(image, task, now_s)


def _outcome(state: State, *, now_s: float, problem: Problem | None) -> Outcome:
    settings = state.settings
    code, message = settings.import_error
    return Outcome(
        begins_s=now_s + min(settings.import_queue_s, settings.import_s),
        ends_s=now_s + settings.import_s,
        ready_after_s=settings.image_ready_s,
        ending="failed" if problem else settings.import_outcome,
        stops_at_percent=PROBLEM_AT_PERCENT if problem else settings.import_stops_at_percent,
        error_code=problem.code if problem else code,
        error_message=problem.message if problem else message,
    )


def _watch(state: State, task: Task, stored: StoredObject) -> None:
    """Record when an object is removed or replaced: the store drops it at that moment.

    The closure must hold no reference to `stored`, which would keep it.
    """
    clock, lost_s = state.clock, task.lost_s
    weakref.finalize(stored, lambda: lost_s.append(clock.now_s())).atexit = False


def _proceed(state: State, task: Task, now_s: float) -> None:
    outcome = task.outcome
    if now_s < outcome.begins_s:
        return
    length_s = outcome.ends_s - outcome.begins_s
    last_percent = outcome.stops_at_percent if outcome.ending in ("failed", "paused", "stuck") else 100
    stop_s = outcome.begins_s + length_s * last_percent / 100
    lost_s = max(outcome.begins_s, min(task.lost_s, default=stop_s))
    task.status, task.percent = "Processing", last_percent
    if min(now_s, lost_s) < stop_s:
        task.percent = int(100 * (min(now_s, lost_s) - outcome.begins_s) / length_s)
    if lost_s < stop_s:
        _fail(state, task, "InvalidOSSObject.NotFound", "The OSS object was removed while it was read.", at_s=lost_s)
    elif now_s >= stop_s:
        _stop(state, task, at_s=stop_s)
    image = state.part(Ecs).images.get(task.image_id)
    if image is not None:
        image.percent = task.percent
        image.remain_s = max(0, math.ceil(outcome.ends_s - now_s)) if task.running else 0


def _stop(state: State, task: Task, *, at_s: float) -> None:
    """Apply the end of a task; one that is stuck keeps its status."""
    outcome = task.outcome
    if outcome.ending == "failed":
        _fail(state, task, outcome.error_code, outcome.error_message, at_s=at_s)
    elif outcome.ending == "paused":
        task.status = "Paused"
    elif outcome.ending != "stuck":
        _end(task, "Finished", at_s=at_s)


def _make_ready(image: Image, task: Task, now_s: float) -> None:
    image.ready_s = task.outcome.ends_s + task.outcome.ready_after_s
    if now_s >= image.ready_s:
        image.status = "UnAvailable" if task.outcome.ending == "unavailable" else "Available"


def _fail(state: State, task: Task, code: str, message: str, *, at_s: float) -> None:
    task.error_code, task.error_message = code, message
    _end(task, "Failed", at_s=at_s)
    ecs = state.part(Ecs)
    _drop_snapshots(ecs, task)
    if state.settings.failed_image:
        ecs.images[task.image_id].status = state.settings.failed_image
    else:
        _remove_image(ecs, task)


def _end(task: Task, status: str, *, at_s: float) -> None:
    task.status, task.finished_s = status, at_s


def _remove_image(ecs: Ecs, task: Task) -> None:
    _drop_snapshots(ecs, task)
    del ecs.images[task.image_id]


def _drop_snapshots(ecs: Ecs, task: Task) -> None:
    for disk in task.disks:
        ecs.snapshots.pop(disk.snapshot_id, None)
