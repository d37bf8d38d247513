"""This file waits for an import until its image is usable: it asks, tells how far things are, and sleeps.

What an answer means is decided in next_step.py. Passing trouble in asking (network, throttling, a service that is
unwell) is waited out until the deadline; an import goes on in the cloud whether it is asked about or not.
"""

import random
from collections.abc import Callable

from aliyun_import.context import Clock
from aliyun_import.errors import AccessError, RefusedError, StillRunning, TransientError
from aliyun_import.events import Emit, ImportProgress, Noted, Warned
from aliyun_import.image import image_check as detection
from aliyun_import.image.wait import poller as rate
from aliyun_import.image.wait.decide import Continue, Failed, Observation, Ready, next_step
from aliyun_import.image.wait.poller import Observer
from aliyun_import.model.image import Image
from aliyun_import.services.interface import ImageService

# The first answers come quickly (a refused format fails at once); later ones are at least 10 s apart, which is what
# other tools keep to, because no rate limit is published and throttling answers are errors.
FIRST_PAUSE_S = 0.5
PAUSE_GROWTH = 1.5
LATER_PAUSE_S = 10.0
LATE_PAUSE_S = 15.0
LATE_AFTER_S = 1800.0
LONGEST_PAUSE_S = 60.0
# Trouble is worth a warning when it lasts: a minute without one good answer.
TROUBLE_WARNING_S = 60.0
# Without a deadline of the user's, an hour without one good answer, so that an unattended run does not hang for ever.
TROUBLE_LIMIT_S = 3600.0


def pause_s(polls: int, *, elapsed_s: float, troubles: int = 0, share: Callable[[], float] = random.random) -> float:
    """Tell how long to wait before asking again, after so many polls, so much time and so much trouble in a row.

    0.5 s at first, growing to 10 s within the first half minute, 15 s after half an hour; trouble doubles it up to a
    minute. A fifth of it is jitter, so that many waits that began together don't stay together.
    """
    pause = min(LATER_PAUSE_S, FIRST_PAUSE_S * PAUSE_GROWTH ** max(0, polls - 1))
    if elapsed_s >= LATE_AFTER_S:
        pause = LATE_PAUSE_S
    if troubles:
        pause = min(LONGEST_PAUSE_S, pause * 2.0 ** min(troubles, 10))
    return pause * (0.9 + 0.2 * share())


def wait(
    images: ImageService,
    *,
    task_id: str,
    image_id: str,
    region: str,
    clock: Clock,
    emit: Emit,
    timeout_s: float | None = None,
    check_results: bool = False,
    share: Callable[[], float] = random.random,
) -> Image:
    """Wait until the image is usable and give it; either id may be "" where it is not known.

    `check_results`: report what the service's image check found, too (a bounded wait, never an error). Raises
    ImportFailed as soon as the service gives the import up, StillRunning when `timeout_s` is over (exit 8, with the
    command that waits on), TransientError after an hour of nothing but trouble, Interrupted when the clock says so.
    """
    waiting = _Waiting(
        images,
        task_id=task_id,
        image_id=image_id,
        region=region,
        clock=clock,
        emit=emit,
        timeout_s=timeout_s,
        share=share,
    )
    image = waiting.until_usable()
    return waiting.for_check(image) if check_results else image


class _Waiting:
    """One wait: the observer, the trouble so far, the percents so far."""

    def __init__(
        self,
        images: ImageService,
        *,
        task_id: str,
        image_id: str,
        region: str,
        clock: Clock,
        emit: Emit,
        timeout_s: float | None,
        share: Callable[[], float],
    ) -> None:
        self._images = images
        self._task_id = task_id
        self._region = region
        self._clock = clock
        self._emit = emit
        self._timeout_s = timeout_s
        self._share = share
        self._observer = Observer(images, task_id=task_id, image_id=image_id, clock=clock, emit=emit)
        self._began_s = clock.monotonic_s()
        self._polls = 0
        self._troubles = 0
        self._trouble_since_s = 0.0
        self._samples: tuple[rate.Sample, ...] = ()
        self._said: set[str] = set()

    @property
    def _elapsed_s(self) -> float:
        return self._clock.monotonic_s() - self._began_s

    def until_usable(self) -> Image:
        """Ask until it is done or ended, or the deadline has passed."""
        while True:
            seen = self._ask()
            if seen is not None:
                image = self._settled(seen)
                if image is not None:
                    return image
            self._pause()

    def for_check(self, image: Image) -> Image:
        """Wait for what the service's image check found, within its own limit, and report it."""
        began_s = self._clock.monotonic_s()
        self._polls = self._troubles = 0
        if not detection.is_checked(image):
            self._emit(Noted(message=f"The image {image.image_id} is usable; the service's image check goes on."))
        while not detection.is_checked(image):
            waited_s = self._clock.monotonic_s() - began_s
            if waited_s >= detection.CHECK_LIMIT_S or self._is_over():
                detection.report_missing(image, waited_s=waited_s, emit=self._emit)
                return image
            self._pause()
            try:
                image = self._images.image(image.image_id) or image
                self._polls += 1
            except TransientError:
                self._troubles += 1
            except (AccessError, RefusedError):
                # The image is usable, and that is the result; what can't be asked for about it is no failure.
                detection.report_missing(image, waited_s=waited_s, emit=self._emit)
                return image
        detection.report(image, emit=self._emit)
        return image

    def _ask(self) -> Observation | None:
        """Observe once; None when that met passing trouble."""
        try:
            seen = self._observer.observe()
        except TransientError as error:
            self._note_trouble(error)
            return None
        except AccessError:
            self._emit(
                Warned(
                    code="import-goes-on",
                    message="The import goes on in the cloud; only asking about it is refused.",
                    remedy=self._how_to_go_on(),
                )
            )
            raise
        self._polls += 1
        self._troubles = 0
        return seen

    def _settled(self, seen: Observation) -> Image | None:
        """Tell about an observation and act on what it means: the image when done, None to go on."""
        self._tell(seen)
        step = next_step(seen, task_id=self._task_id, image_id=self._observer.image_id, region=self._region)
        match step:
            case Ready(image):
                return image
            case Failed(error):
                raise error
            case Continue(odd):
                if odd and odd not in self._said:
                    self._said.add(odd)
                    self._emit(Warned(code="task-odd", message=odd, remedy="Nothing to do: it is asked again."))
                return None

    def _tell(self, seen: Observation) -> None:
        task, image = seen.task, seen.image
        percent = task.percent if task is not None else image.percent if image is not None else None
        now_s = self._clock.monotonic_s()
        self._samples = rate.with_sample(self._samples, at_s=now_s, percent=percent)
        self._emit(
            ImportProgress(
                task_id=self._task_id,
                image_id=self._observer.image_id,
                task_status=task.status_text if task is not None else "",
                image_status=image.status if image is not None else "",
                percent=percent,
                left_s=rate.left_s(self._samples, now_s=now_s),
                elapsed_s=self._elapsed_s,
            )
        )

    def _note_trouble(self, error: TransientError) -> None:
        """Count trouble; say it, warn once when it lasts, and let it out after an hour."""
        now_s = self._clock.monotonic_s()
        if not self._troubles:
            self._trouble_since_s = now_s
        self._troubles += 1
        self._observer.forget()
        self._emit(Noted(message=f"Asking about the import failed and is repeated: {error.summary}"))
        lasting_s = now_s - self._trouble_since_s
        if lasting_s >= TROUBLE_LIMIT_S:
            raise TransientError(
                "For an hour the service could not be asked about the import.",
                code=error.code,
                cause=error.summary,
                remedy=self._how_to_go_on(),
                details=error.details,
                resumable=True,
            ) from error
        if lasting_s >= TROUBLE_WARNING_S and "trouble" not in self._said:
            self._said.add("trouble")
            self._emit(
                Warned(
                    code="import-unseen",
                    message=f"For {lasting_s:.0f} s the service could not be asked about the import, which goes on: "
                    f"{error.summary}",
                    remedy="Nothing to do: it is asked again.",
                )
            )

    def _pause(self) -> None:
        """Sleep until the next question; StillRunning when the deadline has passed."""
        if self._is_over():
            raise StillRunning(
                f"The import was not done within {self._timeout_s:.0f} s; it goes on in the cloud.",
                code="import-still-running",
                remedy=self._how_to_go_on(),
                details={"task_id": self._task_id, "image_id": self._observer.image_id, "region": self._region},
                resumable=True,
            )
        wait_s = pause_s(self._polls, elapsed_s=self._elapsed_s, troubles=self._troubles, share=self._share)
        if self._timeout_s is not None:
            wait_s = min(wait_s, self._timeout_s - self._elapsed_s)
        self._clock.sleep(wait_s)

    def _is_over(self) -> bool:
        return self._timeout_s is not None and self._elapsed_s >= self._timeout_s

    def _how_to_go_on(self) -> str:
        if not self._task_id:
            return "Run the same command again to go on waiting."
        return f"Run `aliyun-import task wait {self._task_id} --region {self._region}` to go on waiting."
