"""This file answers what people ask about import tasks: list, show, cancel, with or without a journal of ours."""

from dataclasses import dataclass, replace

from aliyun_import.context import Clock
from aliyun_import.errors import RefusedError
from aliyun_import.events import Changed, Emit
from aliyun_import.model.image import Image, Task, TaskStatus
from aliyun_import.retry import first_contact, with_retries
from aliyun_import.services.interface import ImageService

RUNNING = (TaskStatus.WAITING, TaskStatus.PROCESSING, TaskStatus.UNKNOWN)
# A cancelled task is Deleted within seconds; a minute, and then the service is left to it.
CANCEL_LIMIT_S = 60.0
CANCEL_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSight:
    """A task and the image that it makes; `image` is None where there is none (yet, or any more)."""

    task: Task
    image: Image | None


def list_tasks(images: ImageService, *, statuses: tuple[str, ...] = (), clock: Clock) -> tuple[Task, ...]:
    """List the import tasks of the account in the region, newest first."""
    found = first_contact(lambda: images.tasks(statuses=statuses), clock=clock)
    if not statuses:
        return found
    # DescribeTasks honours three of the status words and passes over the others.
    wanted = {status.lower() for status in statuses}
    return tuple(task for task in found if task.status_text.lower() in wanted)


def show_task(images: ImageService, task_id: str, *, region: str, clock: Clock) -> TaskSight:
    """Tell how a task and its image stand. RefusedError "task-unknown" when the service does not know it."""
    task = first_contact(lambda: images.task(task_id), clock=clock)
    if task is None:
        raise _unknown(task_id, region)
    if not task.image_id:
        # DescribeTaskAttribute does not tell the image, the list of tasks does.
        task = replace(task, image_id=image_of_task(task_id, with_retries(images.tasks, clock=clock)))
    image = with_retries(lambda: images.image(task.image_id), clock=clock) if task.image_id else None
    return TaskSight(task=task, image=image)


def image_of_task(task_id: str, tasks: tuple[Task, ...]) -> str:
    """Give the id of the image that a task makes, "" when the list does not tell."""
    return next((task.image_id for task in tasks if task.task_id == task_id), "")


def cancel_task(images: ImageService, task_id: str, *, region: str, clock: Clock, emit: Emit) -> Task:
    """Cancel a task and give how it stands then; fine when it is cancelled already.

    RefusedError "task-unknown", or "task-over" when it ended before.
    """
    task = show_task(images, task_id, region=region, clock=clock).task
    if task.status is TaskStatus.DELETED:
        return task
    if task.status not in (*RUNNING, TaskStatus.PAUSED):
        raise _over(task)
    try:
        with_retries(lambda: images.cancel_task(task_id), clock=clock)
    except RefusedError:
        # It may have ended, or been cancelled by a call whose answer was lost: what it is now decides.
        now = with_retries(lambda: images.task(task_id), clock=clock)
        if now is None or now.status in RUNNING:
            raise
        if now.status is not TaskStatus.DELETED:
            raise _over(now) from None
        return now
    emit(Changed(what="cancelled import task", name=task_id))
    return _until_cancelled(images, task, clock=clock)


def _until_cancelled(images: ImageService, task: Task, *, clock: Clock) -> Task:
    """Wait a moment for the service to say so, too."""
    began_s = clock.monotonic_s()
    last = task
    while clock.monotonic_s() - began_s < CANCEL_LIMIT_S:
        last = with_retries(lambda: images.task(task.task_id), clock=clock) or last
        if last.status not in RUNNING:
            return last
        clock.sleep(CANCEL_PAUSE_S)
    return last


def _unknown(task_id: str, region: str) -> RefusedError:
    return RefusedError(
        f"The service knows no task {task_id} in {region}.",
        code="task-unknown",
        remedy="Run `aliyun-import task list` with the --region of the import and the credentials of its account.",
        details={"task_id": task_id, "region": region},
    )


def _over(task: Task) -> RefusedError:
    return RefusedError(
        f"The task {task.task_id} is {task.status_text} and can't be cancelled any more.",
        code="task-over",
        remedy=f"Delete image {task.image_id} in the console if it is not wanted." if task.image_id else None,
        details={"task_id": task.task_id, "task_status": task.status_text},
    )
