"""State of an import over time: repeated queries, the duration of each state, an estimate of the time left.

Also the results of the service's image check (DetectionStrategy), which never fail an import. The check runs after the
image is Available, and takes a few minutes. DescribeImages lists its items, each with a name ("GUESTOS.Virtio"), a
value, and a risk level if there is a problem.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aliyun_import.context import Context
from aliyun_import.errors import PermissionDenied
from aliyun_import.events import Emit, Noted, Warned
from aliyun_import.image.decide import UNKNOWN_LIMIT_S, Observation
from aliyun_import.image.tasks import image_of_task
from aliyun_import.model.image import Image, ImageStatus, Task, TaskStatus
from aliyun_import.services import ImageService

LOOK_UP_EVERY_S = 60.0
# The percentage rises in steps. The estimate uses the last few steps, because the first percents are faster: nothing is
# copied yet.
STEPS = 6
# "A few minutes" according to the page on image checks. A long limit is harmless, because the image is usable.
CHECK_LIMIT_S = 600.0
# If no state of a check appears in this time, there is no check: the service does not check every platform.
CHECK_BEGINS_S = 120.0


class Observer:
    """Repeated observation of one import. Not thread-safe.

    `image_id` is the given one, or the one that the task has stated. Errors of the services pass unchanged.
    """

    def __init__(self, images: ImageService, context: Context, *, task_id: str, image_id: str) -> None:
        self.image_id = image_id
        self._images = images
        self._context = context
        self._task_id = task_id
        self._image_seen = False
        self._looked_up_s = -LOOK_UP_EVERY_S
        self._since_s: dict[str, float] = {}

    def observe(self) -> Observation:
        """Query once. The image is first: if it has failed, its task has the reason by the second query."""
        image = self._images.image(self.image_id) if self.image_id else None
        task = self._task()
        if task is not None and not self.image_id:
            self.image_id = task.image_id or self._image_of(task)
            image = self._images.image(self.image_id) if self.image_id else None
        self._image_seen = self._image_seen or image is not None
        return Observation(
            task=task,
            image=image,
            task_unknown_s=self._duration_s("task", task is None) if self._task_id else UNKNOWN_LIMIT_S,
            image_unknown_s=self._duration_s("image", image is None),
            unusable_s=self._duration_s("unusable", _is_unusable(image)),
            image_seen=self._image_seen,
        )

    def restart_durations(self) -> None:
        """Restart all durations, after an interval in which the queries failed."""
        self._since_s.clear()

    def _image_of(self, task: Task) -> str:
        """Return the image id of a task from the list of tasks, because DescribeTaskAttribute does not state it.

        The list may be long, so it is queried once a minute, and when the task has finished.
        """
        now_s = self._context.clock.monotonic_s()
        if task.status is not TaskStatus.FINISHED and now_s < self._looked_up_s + LOOK_UP_EVERY_S:
            return ""
        self._looked_up_s = now_s
        return image_of_task(task.task_id, self._images.tasks())

    def _task(self) -> Task | None:
        if not self._task_id:
            return None
        try:
            return self._images.task(self._task_id)
        except PermissionDenied as error:
            if not self.image_id:
                raise
            self._context.emit(
                Warned(
                    code="task-unseen",
                    message=f"The task {self._task_id} can't be read; the image is polled instead: {error.summary}",
                    remedy='Grant ecs:DescribeTasks and ecs:DescribeTaskAttribute on the resource "*".',
                )
            )
            self._task_id = ""
            return None

    def _duration_s(self, state: str, holds: bool) -> float:
        if not holds:
            self._since_s.pop(state, None)
            return 0.0
        now_s = self._context.clock.monotonic_s()
        return now_s - self._since_s.setdefault(state, now_s)


def _is_unusable(image: Image | None) -> bool:
    return image is not None and image.status is ImageStatus.AVAILABLE and image.usable is False


@dataclass(frozen=True, slots=True)
class Sample:
    """A percentage, and when it was first stated (monotonic seconds)."""

    at_s: float
    percent: int


def with_sample(samples: Sequence[Sample], *, at_s: float, percent: int | None) -> tuple[Sample, ...]:
    """Return the samples with a new percentage; a decrease restarts the estimate."""
    if percent is None:
        return tuple(samples)
    if samples and percent < samples[-1].percent:
        return (Sample(at_s, percent),)
    if samples and percent == samples[-1].percent:
        return tuple(samples)
    return (*samples, Sample(at_s, percent))[-STEPS:]


def left_s(samples: Sequence[Sample], *, now_s: float) -> float | None:
    """Return the estimated seconds until 100 %, counting down between steps; None before the second percentage."""
    if len(samples) < 2 or samples[-1].at_s <= samples[0].at_s:
        return None
    first, last = samples[0], samples[-1]
    per_percent_s = (last.at_s - first.at_s) / (last.percent - first.percent)
    return max(0.0, (100 - last.percent) * per_percent_s - (now_s - last.at_s))


def is_checked(image: Image) -> bool:
    """Return whether the image check is done; if the service states no progress, items mean that it is."""
    return image.detection_status == "Finished" or (not image.detection_status and bool(image.detection))


def report_check(image: Image, *, emit: Emit) -> None:
    """Emit the results of the image check: a warning for each item at risk, a note for the rest."""
    at_risk = [item for item in image.detection if item.get("RiskLevel")]
    for item in at_risk:
        level, code = item["RiskLevel"], item.get("RiskCode", "")
        emit(
            Warned(
                code="image-check",
                message=f"The service's image check rates {_subject(item)} as a {level.lower()} risk"
                f"{f' ({code})' if code else ''}: {item.get('Value') or 'no value'}.",
                remedy="Repair the disk and push it again if an instance of the image does not work.",
            )
        )
    fine = len(image.detection) - len(at_risk)
    emit(Noted(message=f"The service's image check of {image.image_id}: {fine} items fine, {len(at_risk)} at risk."))


def report_missing_check(image: Image, *, waited_s: float, emit: Emit) -> None:
    """Emit a warning that no results of the image check came in time."""
    emit(
        Warned(
            code="image-check-missing",
            message=f"The service's image check of {image.image_id} had no results after {waited_s:.0f} s; the image "
            "is usable.",
            remedy=f"Open image {image.image_id} in the console later to see the results.",
        )
    )


def _subject(item: Mapping[str, str]) -> str:
    return item.get("Name", "an item").removeprefix("GUESTOS.")
