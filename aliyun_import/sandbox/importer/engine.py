"""Import engine: starts imports, and updates tasks and images by the clock, copies and exports included.

Nothing runs in the background. The course of an import is fixed when it starts, and each call that reads tasks or
images updates them first, so that polling costs no more than reading:

    task   Waiting -> Processing 0..100 % -> Finished            or Failed, Paused, Deleted on the way
    image  Creating ............................ -> Available    or UnAvailable, CreateFailed, gone

Assumed, because no document says it: a defect of the bytes fails the task at 5 % with ImportImage's code for it; a
failed import leaves a CreateFailed image, which keeps its name (a setting); a cancelled one leaves nothing; neither
leaves a snapshot.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from aliyun_import.sandbox.core.state import State
from aliyun_import.sandbox.ecs.state import Ecs, Image, Outcome, Task
from aliyun_import.sandbox.importer import copies, exports
from aliyun_import.sandbox.oss.state import OssState, StoredObject

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
        outcome=outcome_of(state, now_s=now_s, problem=problem),
        disks=tuple(disk.bare for disk in image.disks),
    )
    ecs.images[image.id] = image
    ecs.tasks[task.id] = task
    ecs.add_snapshots(image)
    for stored in objects:
        state.part(OssState).reads[task.id, stored.id] = None
    settle(state)
    return ecs.tasks[task.id]


def cancel(state: State, task: Task) -> None:
    """Cancel a running import and remove its image."""
    _save(state, replace(task, status="Deleted", finished_s=state.clock.now_s()))


def settle(state: State) -> None:
    """Update every task and image to the present time."""
    ecs, now_s = state.part(Ecs), state.clock.now_s()
    for task in list(ecs.tasks.values()):
        if task.running:
            _save(state, _proceeded(task, now_s, lost_s=_lost_s(state, task)))
        image = None if task.export else ecs.images.get(task.image_id)
        if image is not None and ecs.tasks[task.id].status == "Finished" and image.status == "Creating":
            ecs.images[image.id] = _readied(image, task, now_s)
    copies.settle(state)


def outcome_of(state: State, *, now_s: float, problem: Problem | None = None) -> Outcome:
    """Return the course of a task that starts now."""
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


def _lost_s(state: State, task: Task) -> float:
    """Return when the first object that a task reads was removed or replaced."""
    times = (at_s for (reader, _), at_s in state.part(OssState).reads.items() if reader == task.id)
    return min((at_s for at_s in times if at_s is not None), default=math.inf)


def _proceeded(task: Task, now_s: float, *, lost_s: float) -> Task:
    """Return a running task as it is at a time."""
    outcome = task.outcome
    if now_s < outcome.begins_s:
        return task
    length_s = outcome.ends_s - outcome.begins_s
    last_percent = outcome.stops_at_percent if outcome.ending in ("failed", "paused", "stuck") else 100
    stop_s = outcome.begins_s + length_s * last_percent / 100
    lost_s = max(outcome.begins_s, lost_s)
    until_s = min(now_s, lost_s)
    percent = int(100 * (until_s - outcome.begins_s) / length_s) if until_s < stop_s else last_percent
    task = replace(task, status="Processing", percent=percent)
    if lost_s < stop_s:
        return _failed(task, "InvalidOSSObject.NotFound", "The OSS object was removed while it was read.", at_s=lost_s)
    return _ended(task, at_s=stop_s) if now_s >= stop_s else task


def _ended(task: Task, *, at_s: float) -> Task:
    """Return a task at its end; one that is stuck keeps its status."""
    outcome = task.outcome
    if outcome.ending == "failed":
        return _failed(task, outcome.error_code, outcome.error_message, at_s=at_s)
    if outcome.ending == "paused":
        return replace(task, status="Paused")
    return task if outcome.ending == "stuck" else replace(task, status="Finished", finished_s=at_s)


def _failed(task: Task, code: str, message: str, *, at_s: float) -> Task:
    return replace(task, status="Failed", finished_s=at_s, error_code=code, error_message=message)


def _save(state: State, task: Task) -> None:
    """Store a task, with what it means for its image, its snapshots and the objects that it reads."""
    ecs, oss = state.part(Ecs), state.part(OssState)
    if task.export:
        ecs.tasks[task.id] = task if task.running else exports.ended(state, task)
        return
    ecs.tasks[task.id] = task
    if not task.running:
        for read in [read for read in oss.reads if read[0] == task.id]:
            del oss.reads[read]
    if task.status in ("Failed", "Deleted"):
        for disk in task.disks:
            ecs.snapshots.pop(disk.snapshot_id, None)
    image = ecs.images.get(task.image_id)
    if image is None:
        return
    failed_image = state.settings.failed_image
    if task.status == "Deleted" or (task.status == "Failed" and not failed_image):
        del ecs.images[image.id]
        return
    remain_s = max(0, math.ceil(task.outcome.ends_s - state.clock.now_s())) if task.running else 0
    status = failed_image if task.status == "Failed" else image.status
    changed = replace(image, status=status, percent=task.percent, remain_s=remain_s)
    if changed != image:
        ecs.images[image.id] = changed


def _readied(image: Image, task: Task, now_s: float) -> Image:
    ready_s = task.outcome.ends_s + task.outcome.ready_after_s
    ready = "UnAvailable" if task.outcome.ending == "unavailable" else "Available"
    return replace(image, ready_s=ready_s, status=ready if now_s >= ready_s else image.status)
