"""Tests of the decision that follows from an observation of an import."""

from aliyun_import.errors import AliyunImportError, Exit
from aliyun_import.image.decide import (
    UNKNOWN_LIMIT_S,
    UNUSABLE_LIMIT_S,
    Continue,
    Failed,
    Observation,
    Ready,
    decide,
)
from aliyun_import.model.image import Image, Task, TaskStatus
from tests.image.scripted_services import REGION, image, task
from tests.rows import each_row


def decide_on(
    task_now: Task | None,
    image_now: Image | None,
    *,
    unknown_s: float = 0.0,
    seen: bool = False,
    unusable_s: float = 0.0,
) -> Ready | Failed | Continue:
    """Decide on an observation in which a missing task or image has been unknown for `unknown_s`."""
    observed = Observation(
        task=task_now,
        image=image_now,
        task_unknown_s=unknown_s if task_now is None else 0.0,
        image_unknown_s=unknown_s if image_now is None else 0.0,
        unusable_s=unusable_s,
        image_seen=seen,
    )
    return decide(observed, task_id="t-1", image_id="m-1", region=REGION)


def error_of(decided: Ready | Failed | Continue) -> AliyunImportError:
    """Return the error of a decision to fail."""
    assert isinstance(decided, Failed)
    return decided.error


@each_row(
    ("task_now", "image_now", "unknown_s"),
    [
        (task(TaskStatus.FINISHED), image("Available"), 0.0),
        (task(TaskStatus.FINISHED), image("Available", usable=True), 0.0),
        (task(TaskStatus.FINISHED), image("Deprecated"), 0.0),
        (None, image("Available"), UNKNOWN_LIMIT_S),
    ],
)
def test_an_import_is_done_with_a_finished_task_and_a_usable_image(
    task_now: Task | None, image_now: Image, unknown_s: float
) -> None:
    """Both are needed; a task that stays unknown counts as finished."""
    assert decide_on(task_now, image_now, unknown_s=unknown_s) == Ready(image_now)


@each_row(
    ("task_now", "image_now"),
    [
        (task(TaskStatus.WAITING), None),
        (task(TaskStatus.WAITING), image("Creating")),
        (task(TaskStatus.PROCESSING), image("Creating")),
        (task(TaskStatus.PROCESSING), image("Waiting")),
        (task(TaskStatus.PROCESSING), image("Available")),
        (task(TaskStatus.FINISHED), image("Creating")),
        (task(TaskStatus.FINISHED), image("Available", usable=False)),
        (task(TaskStatus.FINISHED), image("SomethingNew")),
        (task(TaskStatus.FINISHED), None),
        (None, image("Creating")),
        (None, image("Available")),
        (None, None),
    ],
)
def test_the_wait_continues_in_every_other_state(task_now: Task | None, image_now: Image | None) -> None:
    """A finished task or a usable image alone is not done, and what is missing may appear later."""
    assert decide_on(task_now, image_now) == Continue()


def test_an_unknown_status_continues_with_a_warning() -> None:
    """An undocumented status causes a warning, and the wait continues."""
    decided = decide_on(task(TaskStatus.UNKNOWN, word="Verifying"), image("Creating"))
    assert isinstance(decided, Continue)
    assert "Verifying" in decided.unusual


@each_row(
    ("task_now", "image_now", "code"),
    [
        (task(TaskStatus.FAILED), None, "import-failed"),
        (task(TaskStatus.FAILED), image("Creating"), "import-failed"),
        (task(TaskStatus.FAILED), image("CreateFailed"), "import-failed"),
        (task(TaskStatus.DELETED), None, "import-cancelled"),
        (task(TaskStatus.PAUSED), image("Creating"), "import-paused"),
        (task(TaskStatus.PROCESSING), image("CreateFailed"), "image-failed"),
        (task(TaskStatus.FINISHED), image("UnAvailable"), "image-failed"),
        (None, image("CreateFailed"), "image-failed"),
        (
            task(TaskStatus.PROCESSING, error_code="InvalidImageSize"),
            image("CreateFailed"),
            "import-failed",
        ),
    ],
)
def test_failures_end_the_wait_at_once(task_now: Task | None, image_now: Image | None, code: str) -> None:
    """Failed, Deleted, Paused, CreateFailed and UnAvailable are exit 7, with a remedy."""
    error = error_of(decide_on(task_now, image_now))
    assert error.code == code
    assert error.exit_code is Exit.IMPORT_FAILED
    assert error.remedy


def test_a_deleted_image_ends_the_wait() -> None:
    """It is missing for a minute after it was seen or its task finished; a new image may appear later."""
    running, finished = task(TaskStatus.PROCESSING), task(TaskStatus.FINISHED)
    assert decide_on(running, None, unknown_s=UNKNOWN_LIMIT_S, seen=True) != Continue()
    assert error_of(decide_on(running, None, unknown_s=UNKNOWN_LIMIT_S, seen=True)).code == "image-gone"
    assert error_of(decide_on(finished, None, unknown_s=UNKNOWN_LIMIT_S)).code == "image-gone"
    assert decide_on(running, None, unknown_s=UNKNOWN_LIMIT_S - 1, seen=True) == Continue()
    assert decide_on(running, None, unknown_s=10 * UNKNOWN_LIMIT_S) == Continue()


def test_a_task_that_stays_unknown_without_an_image_ends_the_wait() -> None:
    """A mistyped id, or one of another region, is an error after a minute."""
    assert decide_on(None, None, unknown_s=UNKNOWN_LIMIT_S - 1) == Continue()
    error = error_of(decide_on(None, None, unknown_s=UNKNOWN_LIMIT_S))
    assert (error.code, error.exit_code) == ("task-unknown", Exit.REFUSED)
    assert "t-1" in error.summary


def test_an_image_that_does_not_become_usable_ends_the_wait_after_an_hour() -> None:
    """Available with Usable=false is exit 8, because nothing failed."""
    unusable = image("Available", usable=False)
    assert decide_on(task(TaskStatus.FINISHED), unusable, unusable_s=UNUSABLE_LIMIT_S - 1) == Continue()
    error = error_of(decide_on(task(TaskStatus.FINISHED), unusable, unusable_s=UNUSABLE_LIMIT_S))
    assert (error.code, error.exit_code) == ("image-not-usable", Exit.STILL_RUNNING)
