"""Wait for an import until its image is usable.

`decide` evaluates the observations. Queries that fail are repeated until the deadline, because the import continues in
the cloud.
"""

import random
from collections.abc import Callable
from dataclasses import replace

from aliyun_import.context import Context
from aliyun_import.errors import AccessError, RefusedError, StillRunning, TransientError
from aliyun_import.events import ImageCheckProgress, ImportProgress, Noted, Warned
from aliyun_import.image.decide import Continue, Failed, Observation, Ready, decide
from aliyun_import.image.observe import (
    CHECK_BEGINS_S,
    CHECK_LIMIT_S,
    Observer,
    Sample,
    is_checked,
    left_s,
    report_check,
    report_missing_check,
    with_sample,
)
from aliyun_import.model.image import Image
from aliyun_import.retry import without_retries
from aliyun_import.services import ImageService

# The first queries are frequent, because a refused format fails at once. Later ones are at least 10 s apart, as in
# other tools, because no rate limit is published and throttled queries are errors.
FIRST_PAUSE_S = 0.5
PAUSE_GROWTH = 1.5
LATER_PAUSE_S = 10.0
LATE_PAUSE_S = 15.0
LATE_AFTER_S = 1800.0
MAX_PAUSE_S = 60.0
# A warning follows after a minute without a successful query.
FAILURE_WARNING_S = 60.0
# The wait ends after an hour without a successful query, so that an unattended run without --timeout ends.
FAILURE_LIMIT_S = 3600.0


def pause_s(polls: int, *, elapsed_s: float, failures: int = 0, share: Callable[[], float] = random.random) -> float:
    """Return the wait before the next query, after this many polls, seconds and consecutive failures.

    0.5 s at first, growing to 10 s within the first half minute, 15 s after half an hour; failures double it up to a
    minute. Jitter of up to 10 % separates waits that began together.
    """
    pause = min(LATER_PAUSE_S, FIRST_PAUSE_S * PAUSE_GROWTH ** min(max(0, polls - 1), 32))
    if elapsed_s >= LATE_AFTER_S:
        pause = LATE_PAUSE_S
    if failures:
        pause = min(MAX_PAUSE_S, pause * 2.0 ** min(failures, 10))
    return pause * (0.9 + 0.2 * share())


def wait(
    images: ImageService,
    context: Context,
    *,
    task_id: str,
    image_id: str,
    region: str,
    timeout_s: float | None = None,
    share: Callable[[], float] = random.random,
) -> Image:
    """Wait until the image is usable and return it; one of the ids may be "" if it is unknown.

    Raises ImportFailed when the import has failed, StillRunning after `timeout_s` (exit 8, with the command that
    continues the wait), TransientError after an hour of failed queries, Interrupted if the run is cancelled. The calls
    of the services are not retried, because polling repeats them.
    """
    waiting = _Waiting(
        without_retries(images),
        context,
        task_id=task_id,
        image_id=image_id,
        region=region,
        timeout_s=timeout_s,
        share=share,
    )
    return waiting.until_usable()


def wait_for_check(
    images: ImageService,
    context: Context,
    image: Image,
    *,
    region: str,
    timeout_s: float | None = None,
) -> Image:
    """Wait for the results of the service's image check, emit them, and return the image with them.

    The wait is bounded. A missing result is a warning, because the image is usable. Raises Interrupted if the run is
    cancelled.
    """
    waiting = _Waiting(
        without_retries(images),
        context,
        task_id="",
        image_id=image.image_id,
        region=region,
        timeout_s=timeout_s,
        share=random.random,
    )
    return waiting.for_check(image)


class _Waiting:
    """State of one wait: the observer, failures, percentages."""

    def __init__(
        self,
        images: ImageService,
        context: Context,
        *,
        task_id: str,
        image_id: str,
        region: str,
        timeout_s: float | None,
        share: Callable[[], float],
    ) -> None:
        self._images = images
        self._context = context
        self._task_id = task_id
        self._region = region
        self._timeout_s = timeout_s
        self._share = share
        self._observer = Observer(images, context, task_id=task_id, image_id=image_id)
        self._began_s = self._now_s
        self._polls = 0
        self._failures = 0
        self._failing_since_s = 0.0
        self._samples: tuple[Sample, ...] = ()
        self._warned: set[str] = set()
        self._last: ImportProgress | None = None

    @property
    def _now_s(self) -> float:
        return self._context.clock.monotonic_s()

    @property
    def _elapsed_s(self) -> float:
        return self._now_s - self._began_s

    def until_usable(self) -> Image:
        """Poll until the image is usable, the import has failed or the deadline has passed."""
        while True:
            observed = self._observe()
            if observed is not None:
                image = self._result(observed)
                if image is not None:
                    return image
            self._pause()

    def for_check(self, image: Image) -> Image:
        """Wait for the results of the service's image check, within their limit, and emit them."""
        emit = self._context.emit
        began_s = self._now_s
        self._polls = self._failures = 0
        while not is_checked(image):
            waited_s = self._now_s - began_s
            limit_s = CHECK_LIMIT_S if image.detection_status else CHECK_BEGINS_S
            if waited_s >= limit_s or self._is_over():
                report_missing_check(image, waited_s=waited_s, emit=emit)
                return image
            emit(
                ImageCheckProgress(
                    image_id=image.image_id, status=image.detection_status, elapsed_s=waited_s, limit_s=limit_s
                )
            )
            self._pause()
            try:
                image = self._images.image(image.image_id) or image
                self._polls += 1
            except TransientError:
                self._failures += 1
            except (AccessError, RefusedError):
                # The image is usable, so a refused query is not an error.
                report_missing_check(image, waited_s=waited_s, emit=emit)
                return image
        report_check(image, emit=emit)
        return image

    def _observe(self) -> Observation | None:
        """Observe once; return None after a transient failure."""
        try:
            observed = self._observer.observe()
        except TransientError as error:
            self._note_failure(error)
            return None
        except AccessError:
            self._context.emit(
                Warned(
                    code="import-goes-on",
                    message="The import continues in the cloud; only the queries about it are refused.",
                    remedy=self._how_to_resume(),
                )
            )
            raise
        self._polls += 1
        self._failures = 0
        return observed

    def _result(self, observed: Observation) -> Image | None:
        """Emit an observation and return the image if it is usable, None to continue; raises if the import failed."""
        self._emit_progress(observed)
        step = decide(observed, task_id=self._task_id, image_id=self._observer.image_id, region=self._region)
        match step:
            case Ready(image):
                return image
            case Failed(error):
                raise error
            case Continue(unusual):
                if unusual:
                    warning = Warned(code="task-odd", message=unusual, remedy="No action: it is polled again.")
                    self._warn_once(unusual, warning)
                return None

    def _emit_progress(self, observed: Observation) -> None:
        task, image = observed.task, observed.image
        percent = task.percent if task is not None else image.percent if image is not None else None
        now_s = self._now_s
        self._samples = with_sample(self._samples, at_s=now_s, percent=percent)
        self._last = ImportProgress(
            task_id=self._task_id,
            image_id=self._observer.image_id,
            task_status=task.status_text if task is not None else "",
            image_status=str(image.status) if image is not None else "",
            percent=percent,
            left_s=left_s(self._samples, now_s=now_s),
            elapsed_s=self._elapsed_s,
        )
        self._context.emit(self._last)

    def _note_failure(self, error: TransientError) -> None:
        """Count a failure; emit one warning after a minute of failures, raise TransientError after an hour."""
        now_s = self._now_s
        if not self._failures:
            self._failing_since_s = now_s
        self._failures += 1
        self._observer.restart_durations()
        self._context.emit(Noted(message=f"A query about the import failed and is repeated: {error.summary}"))
        lasting_s = now_s - self._failing_since_s
        if self._last is not None and lasting_s:
            self._context.emit(replace(self._last, elapsed_s=self._elapsed_s, left_s=None, unanswered_s=lasting_s))
        if lasting_s >= FAILURE_LIMIT_S:
            raise TransientError(
                "No query about the import was answered for an hour.",
                code=error.code,
                cause=error.summary,
                remedy=self._how_to_resume(),
                details=error.details,
                resumable=True,
            ) from error
        if lasting_s >= FAILURE_WARNING_S:
            warning = Warned(
                code="import-unseen",
                message=f"No query about the import was answered for {lasting_s:.0f} s; the import itself continues: "
                f"{error.summary}",
                remedy="No action: it is polled again.",
            )
            self._warn_once(warning.code, warning)

    def _warn_once(self, key: str, warning: Warned) -> None:
        if key not in self._warned:
            self._warned.add(key)
            self._context.emit(warning)

    def _pause(self) -> None:
        """Sleep until the next query; raises StillRunning after the deadline."""
        if self._is_over():
            raise StillRunning(
                f"The import did not end within {self._timeout_s:.0f} s; it continues in the cloud.",
                code="import-still-running",
                remedy=self._how_to_resume(),
                details={"task_id": self._task_id, "image_id": self._observer.image_id, "region": self._region},
                resumable=True,
            )
        wait_s = pause_s(self._polls, elapsed_s=self._elapsed_s, failures=self._failures, share=self._share)
        if self._timeout_s is not None:
            wait_s = min(wait_s, self._timeout_s - self._elapsed_s)
        self._context.sleep(wait_s)

    def _is_over(self) -> bool:
        return self._timeout_s is not None and self._elapsed_s >= self._timeout_s

    def _how_to_resume(self) -> str:
        if not self._task_id:
            return "Run the same command again to continue waiting."
        return f"Run `aliyun-import task wait {self._task_id} --region {self._region}` to continue waiting."
