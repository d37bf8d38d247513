"""This file asks how an import stands, and keeps track of for how long things have been so."""

from collections.abc import Sequence
from dataclasses import dataclass

from aliyun_import.context import Clock
from aliyun_import.errors import AccessError
from aliyun_import.events import Emit, Warned
from aliyun_import.image.tasks import image_of_task
from aliyun_import.image.wait.decide import UNKNOWN_LIMIT_S, Observation
from aliyun_import.model.image import Image, Task, TaskStatus
from aliyun_import.services.interface import ImageService

LOOK_UP_EVERY_S = 60.0


class Observer:
    """Asks for one import's task and image, again and again. Not for use from several threads at once.

    `image_id` is what was given, or what the task told since. Errors of the services go through; an interval in
    which nothing could be asked counts for nothing, so `forget` restarts what is timed.
    """

    def __init__(self, images: ImageService, *, task_id: str, image_id: str, clock: Clock, emit: Emit) -> None:
        self.image_id = image_id
        self._images = images
        self._task_id = task_id
        self._clock = clock
        self._emit = emit
        self._image_seen = False
        self._looked_up_s = -LOOK_UP_EVERY_S
        self._since_s: dict[str, float] = {}

    def observe(self) -> Observation:
        """Ask once. The image comes first: when it failed, its task has the reason by the time that it is asked."""
        image = self._images.image(self.image_id) if self.image_id else None
        task = self._task()
        if task is not None and not self.image_id:
            self.image_id = task.image_id or self._image_of(task)
            image = self._images.image(self.image_id) if self.image_id else None
        self._image_seen = self._image_seen or image is not None
        return Observation(
            task=task,
            image=image,
            task_unknown_s=self._lasting_s("task", task is None) if self._task_id else UNKNOWN_LIMIT_S,
            image_unknown_s=self._lasting_s("image", image is None),
            unusable_s=self._lasting_s("unusable", _is_unusable(image)),
            image_seen=self._image_seen,
        )

    def forget(self) -> None:
        """Start anew what is timed: nothing is known about the time in which nothing could be asked."""
        self._since_s.clear()

    def _image_of(self, task: Task) -> str:
        """Look the image of a task up in the list of tasks; DescribeTaskAttribute does not tell it.

        The list may be long, so it is asked for once a minute, and when the task has finished.
        """
        now_s = self._clock.monotonic_s()
        if task.status is not TaskStatus.FINISHED and now_s < self._looked_up_s + LOOK_UP_EVERY_S:
            return ""
        self._looked_up_s = now_s
        return image_of_task(task.task_id, self._images.tasks())

    def _task(self) -> Task | None:
        if not self._task_id:
            return None
        try:
            return self._images.task(self._task_id)
        except AccessError as error:
            if error.code != "no-right" or not self.image_id:
                raise
            self._emit(
                Warned(
                    code="task-unseen",
                    message=f"The task {self._task_id} may not be looked at, and the image is followed instead: "
                    f"{error.summary}",
                    remedy='Grant ecs:DescribeTasks and ecs:DescribeTaskAttribute on the resource "*".',
                )
            )
            self._task_id = ""
            return None

    def _lasting_s(self, what: str, holds: bool) -> float:
        if not holds:
            self._since_s.pop(what, None)
            return 0.0
        now_s = self._clock.monotonic_s()
        return now_s - self._since_s.setdefault(what, now_s)


def _is_unusable(image: Image | None) -> bool:
    return image is not None and image.status == "Available" and image.usable is False


# Percents come in steps with pauses between them, so the estimate looks back over the last few steps, not over all:
# the first percents go faster (nothing is copied yet) than the rest.
STEPS = 6


@dataclass(frozen=True, slots=True)
class Sample:
    """A percent, and when it was first told (monotonic seconds)."""

    at_s: float
    percent: int


def with_sample(samples: Sequence[Sample], *, at_s: float, percent: int | None) -> tuple[Sample, ...]:
    """Add what was just told, if it is news; a percent that steps back starts the estimate anew."""
    if percent is None:
        return tuple(samples)
    if samples and percent < samples[-1].percent:
        return (Sample(at_s, percent),)
    if samples and percent == samples[-1].percent:
        return tuple(samples)
    return (*samples, Sample(at_s, percent))[-STEPS:]


def left_s(samples: Sequence[Sample], *, now_s: float) -> float | None:
    """Estimate the seconds until 100 %; None until two different percents were told. Counts down between steps."""
    if len(samples) < 2 or samples[-1].at_s <= samples[0].at_s:
        return None
    first, last = samples[0], samples[-1]
    per_percent_s = (last.at_s - first.at_s) / (last.percent - first.percent)
    return max(0.0, (100 - last.percent) * per_percent_s - (now_s - last.at_s))
