"""Import tasks of the account: list, show, cancel, with or without a journal of this tool."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from aliyun_import.context import Context
from aliyun_import.errors import PermissionDenied, RefusedError
from aliyun_import.events import Changed
from aliyun_import.model.image import Image, Task, TaskStatus
from aliyun_import.services import ImageService

# A cancelled task is Deleted within seconds; the wait for that ends after a minute.
CANCEL_LIMIT_S = 60.0
CANCEL_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskWithImage:
    """A task and its image; `image` is None if it does not exist."""

    task: Task
    image: Image | None


def list_tasks(images: ImageService, *, statuses: tuple[str, ...] = ()) -> tuple[Task, ...]:
    """Return the import tasks of the account in the region, newest first, with the names of images that exist."""
    # DescribeTasks filters by three of the statuses and ignores the others, so the filter is applied here.
    wanted = {status.lower() for status in statuses}
    found = [task for task in images.tasks() if not wanted or task.status_text.lower() in wanted]
    names: dict[str, str] = {}
    with suppress(PermissionDenied):  # the names are optional
        names = {one.image_id: one.name for one in images.images()} if found else {}
    return tuple(replace(task, image_name=names.get(task.image_id, "")) for task in found)


def show_task(images: ImageService, task_id: str, *, region: str) -> TaskWithImage:
    """Return a task and its image. RefusedError "task-unknown" if the task does not exist."""
    task = images.task(task_id)
    if task is None:
        raise RefusedError(
            f"There is no task {task_id} in {region}.",
            code="task-unknown",
            remedy="Run `aliyun-import task list` with the --region of the import and the credentials of its account.",
            details={"task_id": task_id, "region": region},
        )
    if not task.image_id:
        # The list of tasks states the image, DescribeTaskAttribute does not.
        task = replace(task, image_id=image_of_task(task_id, images.tasks()))
    image = images.image(task.image_id) if task.image_id else None
    return TaskWithImage(task=replace(task, image_name=image.name) if image else task, image=image)


def objects_in_use(images: ImageService, *, known: Mapping[str, str]) -> Mapping[str, str]:
    """Return the oss:// URLs of objects that running imports read, each with the id of its task, or of its image.

    `known` maps URLs of objects to image ids of imports from this machine, for images whose objects the service does
    not state.
    """
    made = {image.image_id: image for image in images.images() if image.status.is_being_created}
    tasks = {task.image_id: task.task_id for task in images.tasks() if task.status.running} if made else {}
    used = {url: image_id for url, image_id in known.items() if image_id in made}
    used |= {url: image.image_id for image in made.values() for url in image.sources}
    return {url: tasks.get(image_id) or image_id for url, image_id in used.items()}


def image_of_task(task_id: str, tasks: tuple[Task, ...]) -> str:
    """Return the id of a task's image, "" if the list does not state it."""
    return next((task.image_id for task in tasks if task.task_id == task_id), "")


def cancel_task(images: ImageService, context: Context, task_id: str, *, region: str) -> Task:
    """Cancel a task and return its new state; succeeds if it is already cancelled.

    RefusedError "task-unknown", or "task-over" if it has ended.
    """
    task = show_task(images, task_id, region=region).task
    if task.status is TaskStatus.DELETED:
        return task
    if not task.status.running and task.status is not TaskStatus.PAUSED:
        raise _over(task)
    try:
        images.cancel_task(task_id)
    except RefusedError:
        # It may have ended, or a call whose answer was lost may have cancelled it. Read its state.
        now = images.task(task_id)
        if now is None or now.status.running:
            raise
        if now.status is not TaskStatus.DELETED:
            raise _over(replace(now, image_id=task.image_id)) from None
        return now
    context.emit(Changed(what="cancelled import task", name=task_id))
    return _wait_until_cancelled(images, context, task)


def _wait_until_cancelled(images: ImageService, context: Context, task: Task) -> Task:
    """Wait, for a minute at most, until the task is no longer running."""
    began_s = context.clock.monotonic_s()
    last = task
    while context.clock.monotonic_s() - began_s < CANCEL_LIMIT_S:
        last = images.task(task.task_id) or last
        if not last.status.running:
            return last
        context.sleep(CANCEL_PAUSE_S)
    return last


def _over(task: Task) -> RefusedError:
    return RefusedError(
        f"The task {task.task_id} is {task.status_text} and can't be cancelled.",
        code="task-over",
        remedy=f"Delete image {task.image_id} in the console if it is not wanted." if task.image_id else None,
        details={"task_id": task.task_id, "task_status": task.status_text},
    )
