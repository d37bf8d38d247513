"""Import engine: start of imports and exports, and updates of tasks, images and copies by the clock.

Nothing runs in the background. The times and the end of a task are fixed at its start. Each call that reads tasks or
images updates them first, so that a poll costs no more than a read:

    task   Waiting -> Processing 0..100 % -> Finished            or Failed, Paused, Deleted
    image  Creating ............................ -> Available    or UnAvailable, CreateFailed, removed

Not documented, assumed: A defect of the bytes fails the task at 5 % with the code of ImportImage. A failed import
leaves a CreateFailed image, which keeps its name (`failed_image`). A cancelled import leaves no image. Neither leaves a
snapshot.

Five copies run at a time in a region; others are Waiting. The documents do not say which region, so a copy counts in
the region of its source and in its own. Copies start in the order of their calls.
"""

import logging
import math
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace

from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.state import State
from aliyun_import.sandbox.ecs.state import Copy, Ecs, Export, Image, ImageDisk, Outcome, Task
from aliyun_import.sandbox.importer.formats import ConversionError, convert
from aliyun_import.sandbox.oss.state import NULL_VERSION, OssState, StoredObject

PROBLEM_AT_PERCENT = 5
COPIES_AT_ONCE = 5
FAILS_AT_PERCENT = 50
_Slot = tuple[frozenset[str], float, float]  # regions, start, end
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Reason why an import will fail: error code and message of its task."""

    code: str
    message: str


def begin(state: State, image: Image, objects: Iterable[StoredObject], *, problem: Problem | None) -> Task:
    """Start an import: add the image with the status Creating, and return its new task."""
    ecs = state.part(Ecs)
    task = _new_task(state, image, disks=tuple(disk.without_content for disk in image.disks), problem=problem)
    ecs.images[image.id] = image
    ecs.tasks[task.id] = task
    ecs.add_snapshots(image)
    for stored in objects:
        state.part(OssState).reads[task.id, stored.id] = None
    refresh(state)
    return ecs.tasks[task.id]


def begin_export(state: State, image: Image, export: Export) -> Task:
    """Start an export, and return its new task, which holds the bytes of the image until its end."""
    task = _new_task(state, image, disks=image.disks, export=export)
    state.part(Ecs).tasks[task.id] = task
    refresh(state)
    return task


def _new_task(
    state: State,
    image: Image,
    *,
    disks: tuple[ImageDisk, ...],
    problem: Problem | None = None,
    export: Export | None = None,
) -> Task:
    now_s = state.clock.now_s()
    return Task(
        id=state.part(Ecs).new_id("t"),
        account_id=image.account_id,
        region=image.region,
        image_id=image.id,
        created_s=now_s,
        visible_s=now_s + state.settings.task_hidden_s,
        outcome=_outcome_of(state, now_s=now_s, problem=problem),
        disks=disks,
        export=export,
    )


def cancel(state: State, task: Task) -> None:
    """Cancel a running import and remove its image."""
    _save(state, replace(task, status="Deleted", finished_s=state.clock.now_s()))


def refresh(state: State) -> None:
    """Update every task and image to the present time."""
    ecs, now_s = state.part(Ecs), state.clock.now_s()
    for task in list(ecs.tasks.values()):
        if task.running:
            _save(state, _task_at(task, now_s, removed_s=_removal_s(state, task)))
        image = None if task.export else ecs.images.get(task.image_id)
        if image is not None and ecs.tasks[task.id].status == "Finished" and image.status == "Creating":
            ecs.images[image.id] = _image_at(image, task, now_s)
    _refresh_copies(state)


def _outcome_of(state: State, *, now_s: float, problem: Problem | None) -> Outcome:
    """Return the times and the end of a task that starts now."""
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


def _removal_s(state: State, task: Task) -> float:
    """Return the time at which the first object of a task was removed or replaced; infinity if none was."""
    times = (at_s for (reader, _), at_s in state.part(OssState).reads.items() if reader == task.id)
    return min((at_s for at_s in times if at_s is not None), default=math.inf)


def _task_at(task: Task, now_s: float, *, removed_s: float) -> Task:
    """Return the state of a running task at a time."""
    outcome = task.outcome
    if now_s < outcome.begins_s:
        return task
    length_s = outcome.ends_s - outcome.begins_s
    last_percent = outcome.stops_at_percent if outcome.ending in ("failed", "paused", "stuck") else 100
    stop_s = outcome.begins_s + length_s * last_percent / 100
    removed_s = max(outcome.begins_s, removed_s)
    until_s = min(now_s, removed_s)
    percent = int(100 * (until_s - outcome.begins_s) / length_s) if until_s < stop_s else last_percent
    task = replace(task, status="Processing", percent=percent)
    if removed_s < stop_s:
        return _fail(task, "InvalidOSSObject.NotFound", "The OSS object was removed while it was read.", at_s=removed_s)
    return _end(task, at_s=stop_s) if now_s >= stop_s else task


def _end(task: Task, *, at_s: float) -> Task:
    """Return the state of a task at its end. A stuck task does not change."""
    outcome = task.outcome
    if outcome.ending == "failed":
        return _fail(task, outcome.error_code, outcome.error_message, at_s=at_s)
    if outcome.ending == "paused":
        return replace(task, status="Paused")
    return task if outcome.ending == "stuck" else replace(task, status="Finished", finished_s=at_s)


def _fail(task: Task, code: str, message: str, *, at_s: float) -> Task:
    return replace(task, status="Failed", finished_s=at_s, error_code=code, error_message=message)


def _save(state: State, task: Task) -> None:
    """Store a task, and update its image, its snapshots and the table of running reads."""
    ecs, oss = state.part(Ecs), state.part(OssState)
    if task.export:
        ecs.tasks[task.id] = task if task.running else _end_export(state, task, task.export)
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


def _image_at(image: Image, task: Task, now_s: float) -> Image:
    """Return the state of the image of a finished import at a time."""
    ready_s = task.outcome.ends_s + task.outcome.ready_after_s
    ready = "UnAvailable" if task.outcome.ending == "unavailable" else "Available"
    return replace(image, ready_s=ready_s, status=ready if now_s >= ready_s else image.status)


def _refresh_copies(state: State) -> None:
    """Update every copy of an image to the present time."""
    ecs, now_s = state.part(Ecs), state.clock.now_s()
    busy: list[_Slot] = []
    for image in list(ecs.images.values()):
        if image.copy is None:
            continue
        regions = frozenset({image.copy.source_region, image.region})
        copy = _with_start(image.copy, busy, regions, now_s)
        if copy.started_s is not None:
            busy.append((regions, copy.started_s, _ends_s(copy)))
        changed = _copy_at(replace(image, copy=copy), copy, now_s)
        if changed != image:
            ecs.images[image.id] = changed


def _with_start(copy: Copy, busy: list[_Slot], regions: frozenset[str], now_s: float) -> Copy:
    """Return a copy with its start time if a slot was free until now, otherwise with a later start of its wait."""
    if copy.started_s is not None:
        return copy
    ends = sorted(end_s for _, _, end_s in busy if end_s > copy.queued_s)
    for at_s in (copy.queued_s, *ends):
        if at_s > now_s:
            break
        if all(_in_use(busy, region, at_s) < COPIES_AT_ONCE for region in regions):
            return replace(copy, started_s=at_s)
    # All slots were in use until now. If an image is deleted later, its slot must not become free in the past.
    return replace(copy, queued_s=now_s)


def _in_use(busy: list[_Slot], region: str, at_s: float) -> int:
    return sum(1 for regions, begin_s, end_s in busy if region in regions and begin_s <= at_s < end_s)


def _ends_s(copy: Copy) -> float:
    if copy.started_s is None or copy.ending == "stuck":
        return math.inf
    return copy.started_s + copy.duration_s * (FAILS_AT_PERCENT / 100 if copy.ending == "failed" else 1)


def _copy_at(image: Image, copy: Copy, now_s: float) -> Image:
    """Return the state of the image of a copy at a time."""
    if image.status not in ("Waiting", "Creating"):
        return image
    if copy.started_s is None:
        return replace(image, status="Waiting", percent=0)
    end_s = _ends_s(copy)
    if now_s >= end_s:
        if copy.ending == "failed":
            return replace(image, status="CreateFailed", percent=FAILS_AT_PERCENT, remain_s=0)
        return replace(image, status="Available", percent=100, remain_s=0, ready_s=end_s)
    share = (now_s - copy.started_s) / copy.duration_s
    remain_s = math.ceil(copy.started_s + copy.duration_s - now_s)
    return replace(image, status="Creating", percent=min(99, int(100 * share)), remain_s=max(0, remain_s))


def _export_keys(export: Export, image_id: str, disks: int) -> list[str]:
    """Return the keys of the objects of an export: PREFIX_IMAGE_system.raw, PREFIX_IMAGE_data_1.raw, ..."""
    stem, suffix = f"{export.prefix}_{image_id}" if export.prefix else image_id, export.format.lower()
    return [f"{stem}_{'system' if number == 0 else f'data_{number}'}.{suffix}" for number in range(disks)]


def _end_export(state: State, task: Task, export: Export) -> Task:
    """Return the task of an export at its end, without the bytes. Write the objects if it is Finished."""
    done = _write_export(state, task, export) if task.status == "Finished" else task
    return replace(done, disks=tuple(disk.without_content for disk in done.disks))


def _write_export(state: State, task: Task, export: Export) -> Task:
    """Write the objects of an export. Return the task, Failed if the bucket does not exist or qemu-img fails."""
    oss = state.part(OssState)
    bucket = oss.bucket(export.bucket)
    if bucket is None or bucket.owner_id != task.account_id:
        message = "The specified OSS bucket does not exist in this region."
        return replace(task, status="Failed", error_code="InvalidOSSBucket.NotFound", error_message=message)
    try:
        contents = [convert(disk.content, state.blobs, source=disk.format, target=export.format) for disk in task.disks]
    except ConversionError as error:
        log.error("the export of %s as %s failed: %s", task.image_id, export.format, error)  # noqa: TRY400
        refused = Refusal("ExportImageFailed")
        return replace(task, status="Failed", error_code=refused.code, error_message=refused.message)
    for key, content in zip(_export_keys(export, task.image_id, len(contents)), contents, strict=True):
        version = oss.new_version_id() if bucket.versioning == "Enabled" else NULL_VERSION
        stored = StoredObject(
            key=key,
            content=content,
            etag=f"{secrets.token_hex(16).upper()}-1",
            crc64=content.crc64,
            kind="Multipart",
            headers={"content-type": "application/octet-stream"},
            modified_s=task.outcome.ends_s,
            version_id=version,
        )
        oss.put(bucket, stored)
    return task
