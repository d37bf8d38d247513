"""This file decides what an observation of an import means: done, ended, or ask again.

    task       Waiting, Processing        go on
               Finished                   go on until the image is usable, too
               Failed, Deleted, Paused    the end, with the service's reason
               unknown for a minute       go by the image alone; without one, the end
               another word               go on, said once
    image      Available, and Usable      done, once the task is Finished (or not known any more)
               CreateFailed, UnAvailable  the end
               there, and then gone       the end

All of it is pure: what is asked, and when, is the business of observe.py and wait.py.
"""

from dataclasses import dataclass

from aliyun_import.errors import AliyunImportError, RefusedError, StillRunning
from aliyun_import.image import failure
from aliyun_import.model.image import Image, Task, TaskStatus

# A fresh task may be missing from the lists for some seconds; undocumented, so a minute.
UNKNOWN_LIMIT_S = 60.0
# An image that is Available and not usable is given an hour, so that an unattended run does not hang for ever.
UNUSABLE_LIMIT_S = 3600.0
FAILED_IMAGES = ("CreateFailed", "UnAvailable")
# Deprecated: it was Available, and somebody retired it since; instances still start from it.
READY_IMAGES = ("Available", "Deprecated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the service just said of an import, and for how long things have been so.

    `task` and `image` are None where it knows none. `task_unknown_s` and `image_unknown_s` say for how long that has
    been, `unusable_s` for how long the image has been Available and not usable. `image_seen`: it was there before.
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
    """Ask again. `odd` says what is strange about it, for a warning; empty when nothing is."""

    odd: str = ""


def next_step(seen: Observation, *, task_id: str, image_id: str, region: str) -> Ready | Failed | Continue:
    """Decide what an observation means, by the table above."""
    ended = _bad_end(seen, task_id=task_id, image_id=image_id, region=region)
    if ended is not None:
        return Failed(ended)
    task, image = seen.task, seen.image
    over = task.status is TaskStatus.FINISHED if task is not None else seen.task_unknown_s >= UNKNOWN_LIMIT_S
    if image is not None and image.status in READY_IMAGES and image.usable is not False and over:
        return Ready(image)
    if task is not None and task.status is TaskStatus.UNKNOWN:
        return Continue(f"The task is in the unknown status {task.status_text!r}.")
    return Continue()


def _bad_end(seen: Observation, *, task_id: str, image_id: str, region: str) -> AliyunImportError | None:
    """Give the error with which the import, or the sense of waiting for it, is over; None while it is not."""
    task, image = seen.task, seen.image
    if task is not None and task.status is TaskStatus.FAILED:
        return failure.task_failed(task, region=region)
    if task is not None and task.status is TaskStatus.DELETED:
        return failure.task_cancelled(task)
    if task is not None and task.status is TaskStatus.PAUSED:
        return failure.task_paused(task, region=region)
    if image is not None and image.status in FAILED_IMAGES:
        return failure.image_failed(image, task, region=region)
    if image is not None:
        return _not_usable(image, region) if seen.unusable_s >= UNUSABLE_LIMIT_S else None
    return _without_image(seen, task_id=task_id, image_id=image_id, region=region)


def _without_image(seen: Observation, *, task_id: str, image_id: str, region: str) -> AliyunImportError | None:
    if seen.image_unknown_s < UNKNOWN_LIMIT_S:
        return None
    if seen.task is None:
        return None if seen.task_unknown_s < UNKNOWN_LIMIT_S else _unknown(task_id, image_id, region)
    expected = seen.image_seen or seen.task.status is TaskStatus.FINISHED
    return failure.image_gone(image_id or seen.task.image_id, seen.task) if expected else None


def _unknown(task_id: str, image_id: str, region: str) -> RefusedError:
    what = f"task {task_id}" if task_id else f"image {image_id}"
    return RefusedError(
        f"The service knows no {what} in {region}.",
        code="task-unknown",
        cause="Neither the task nor an image of it was there for a minute.",
        remedy="Run `aliyun-import task list` with the --region of the import and the credentials of its account.",
        details={"task_id": task_id, "image_id": image_id, "region": region},
    )


def _not_usable(image: Image, region: str) -> StillRunning:
    return StillRunning(
        f"The image {image.image_id} is {image.status} for an hour and still not usable.",
        code="image-not-usable",
        cause="The service lists it as Available with Usable=false.",
        remedy=f"Look at image {image.image_id} in {region} in the console, and open a ticket if it stays so.",
        details={"image_id": image.image_id, "region": region},
    )
