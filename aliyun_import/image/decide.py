"""Decision on an observation of an import: ready, failed, or continue.

    task       Waiting, Processing        continue
               Finished                   continue until the image is usable, too
               Failed, Deleted, Paused    failed, with the service's reason
               unknown for a minute       the state of the image counts; without one, failed
               another word               continue, with one warning
    image      Available, and Usable      ready, once the task is Finished or unknown for a minute
               CreateFailed, UnAvailable  failed
               deleted                    failed

Pure: `observe` queries the services, and `wait` repeats the queries.
"""

from dataclasses import dataclass

from aliyun_import.errors import AliyunImportError, RefusedError, StillRunning
from aliyun_import.image import failure
from aliyun_import.model.image import Image, Task, TaskStatus

# A new task may be missing from the lists for some seconds (undocumented), so wait a minute.
UNKNOWN_LIMIT_S = 60.0
# An image may be Available but not usable for an hour; the limit ends unattended runs.
UNUSABLE_LIMIT_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """State of an import, and its durations.

    `task` and `image` are None if the service does not find them; `task_unknown_s` and `image_unknown_s` are for how
    long. `unusable_s` is for how long the image has been Available but not usable. `image_seen`: the image has existed.
    """

    task: Task | None
    image: Image | None
    task_unknown_s: float = 0.0
    image_unknown_s: float = 0.0
    unusable_s: float = 0.0
    image_seen: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """The image is usable."""

    image: Image


@dataclass(frozen=True, slots=True)
class Failed:
    """The wait ends with an error."""

    error: AliyunImportError


@dataclass(frozen=True, slots=True)
class Continue:
    """The wait continues. `unusual` describes an unexpected state, for a warning; empty otherwise."""

    unusual: str = ""


def decide(observed: Observation, *, task_id: str, image_id: str, region: str) -> Ready | Failed | Continue:
    """Return the decision on an observation, by the table above."""
    ended = _bad_end(observed, task_id=task_id, image_id=image_id, region=region)
    if ended is not None:
        return Failed(ended)
    task, image = observed.task, observed.image
    over = task.status is TaskStatus.FINISHED if task is not None else observed.task_unknown_s >= UNKNOWN_LIMIT_S
    if image is not None and image.is_usable and over:
        return Ready(image)
    if task is not None and task.status is TaskStatus.UNKNOWN:
        return Continue(f"The task is in the unknown status {task.status_text!r}.")
    return Continue()


def _bad_end(observed: Observation, *, task_id: str, image_id: str, region: str) -> AliyunImportError | None:
    """Return the error with which the import has ended, or makes the wait useless; None otherwise."""
    task, image = observed.task, observed.image
    if task is not None and task.status is TaskStatus.FAILED:
        return failure.task_failed(task, region=region)
    if task is not None and task.status is TaskStatus.DELETED:
        return failure.task_cancelled(task)
    if task is not None and task.status is TaskStatus.PAUSED:
        return failure.task_paused(task)
    if image is not None and image.status.failed:
        return failure.image_failed(image, task, region=region)
    if image is not None:
        return _not_usable(image, region) if observed.unusable_s >= UNUSABLE_LIMIT_S else None
    return _without_image(observed, task_id=task_id, image_id=image_id, region=region)


def _without_image(observed: Observation, *, task_id: str, image_id: str, region: str) -> AliyunImportError | None:
    if observed.image_unknown_s < UNKNOWN_LIMIT_S:
        return None
    if observed.task is None:
        return None if observed.task_unknown_s < UNKNOWN_LIMIT_S else _unknown(task_id, image_id, region)
    expected = observed.image_seen or observed.task.status is TaskStatus.FINISHED
    return failure.image_gone(image_id or observed.task.image_id, observed.task) if expected else None


def _unknown(task_id: str, image_id: str, region: str) -> RefusedError:
    what = f"task {task_id}" if task_id else f"image {image_id}"
    return RefusedError(
        f"There is no {what} in {region}.",
        code="task-unknown",
        cause="Neither the task nor its image could be found for a minute.",
        remedy="Run `aliyun-import task list` with the --region of the import and the credentials of its account.",
        details={"task_id": task_id, "image_id": image_id, "region": region},
    )


def _not_usable(image: Image, region: str) -> StillRunning:
    return StillRunning(
        f"The image {image.image_id} has been {image.status} for an hour and is still not usable.",
        code="image-not-usable",
        cause="The service lists it as Available with Usable=false.",
        remedy=f"Open image {image.image_id} in {region} in the console, and open a ticket if this does not change.",
        details={"image_id": image.image_id, "region": region},
    )
