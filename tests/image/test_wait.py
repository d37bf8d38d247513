"""Tests of the wait for an import: transient failures are retried, a failed import ends it at once."""

from itertools import pairwise

import pytest

from aliyun_import.errors import (
    AccessError,
    AliyunImportError,
    ImportFailed,
    Interrupted,
    RefusedError,
    StillRunning,
    TransientError,
)
from aliyun_import.events import ImageCheckProgress, ImportProgress, Noted, Warned
from aliyun_import.image.wait import FAILURE_LIMIT_S, pause_s, wait, wait_for_check
from aliyun_import.model.image import Image, TaskStatus
from tests.clocks import SteeredClock
from tests.image.scripted_services import (
    REGION,
    EventRecorder,
    ScriptedImages,
    connection_lost,
    context_of,
    image,
    permission_denied,
    retrying,
    task,
)
from tests.rows import each_row


def wait_for(
    images: ScriptedImages,
    *,
    clock: SteeredClock | None = None,
    recorder: EventRecorder | None = None,
    timeout_s: float | None = None,
    task_id: str = "t-1",
    image_id: str = "m-1",
    check_results: bool = False,
) -> Image:
    """Wait for the import, and for the image check if `check_results` is set."""
    context = context_of(clock, recorder)
    usable = wait(
        retrying(images, context),
        context,
        task_id=task_id,
        image_id=image_id,
        region=REGION,
        timeout_s=timeout_s,
    )
    if not check_results:
        return usable
    return wait_for_check(retrying(images, context), context, usable, region=REGION)


def import_with(*percents: int) -> ScriptedImages:
    """Return ECS with an import that is read at each percentage, then finished, then usable."""
    images = ScriptedImages(None)
    images.steps = [
        *(lambda percent=percent: images.add(task(percent=percent), image("Creating")) for percent in percents),
        lambda: images.add(task(TaskStatus.FINISHED, percent=100)),
        lambda: images.add(image("Available")),
    ]
    return images


def running_import() -> ScriptedImages:
    """Return ECS with an import that does not end."""
    images = ScriptedImages(None)
    images.add(task(percent=10), image("Creating"))
    return images


def test_the_wait_ends_with_the_usable_image() -> None:
    """A finished task alone does not end it."""
    images, recorder = import_with(0, 40, 80), EventRecorder()
    assert wait_for(images, recorder=recorder).status == "Available"
    progress = [event for event in recorder.events if isinstance(event, ImportProgress)]
    assert [event.percent for event in progress] == [0, 40, 80, 100, 100]
    assert [event.task_status for event in progress][-2:] == ["Finished", "Finished"]
    assert [event.image_status for event in progress][-2:] == ["Creating", "Available"]


def test_progress_has_the_time_left() -> None:
    """An estimate exists from the second percentage on, and the elapsed time never decreases."""
    recorder = EventRecorder()
    wait_for(import_with(0, 40, 80), recorder=recorder)
    progress = [event for event in recorder.events if isinstance(event, ImportProgress)]
    assert progress[0].left_s is None
    assert progress[1].left_s is not None
    assert [event.elapsed_s for event in progress] == sorted(event.elapsed_s for event in progress)


def test_a_failure_ends_the_wait_at_once() -> None:
    """No further request is sent."""
    images = ScriptedImages(None)
    images.add(task(TaskStatus.FAILED, error_code="InvalidImageFormat.Malformed", error_message="Odd."), image())
    clock = SteeredClock()
    with pytest.raises(ImportFailed) as caught:
        wait_for(images, clock=clock)
    assert clock.slept == []
    assert "InvalidImageFormat.Malformed: Odd." in (caught.value.cause or "")


def test_transient_failures_are_retried_with_a_note() -> None:
    """After lost answers about the task or the image, the wait continues."""
    images, recorder = import_with(0, 50), EventRecorder()
    images.fail_next("image", connection_lost(), connection_lost())
    images.fail_next("task", connection_lost())
    assert wait_for(images, recorder=recorder).status == "Available"
    assert len([event for event in recorder.events if isinstance(event, Noted)]) == 3
    assert recorder.warned() == []


def test_lasting_failures_cause_one_warning() -> None:
    """It is emitted after a minute without an answer."""
    images, recorder = import_with(0), EventRecorder()
    images.fail_next("image", *[connection_lost()] * 8)
    wait_for(images, recorder=recorder)
    assert recorder.warned() == ["import-unseen"]


def test_lasting_failures_end_the_wait_after_an_hour() -> None:
    """An unattended run without a deadline ends, with the command that continues the wait."""
    images, clock = running_import(), SteeredClock()
    images.fail_next("image", *[connection_lost()] * 1000)
    with pytest.raises(TransientError) as caught:
        wait_for(images, clock=clock)
    assert FAILURE_LIMIT_S <= clock.elapsed_s <= FAILURE_LIMIT_S + 120
    assert "task wait t-1 --region cn-hangzhou" in (caught.value.remedy or "")


@each_row("timeout_s", [0.0, 30.0, 7200.0])
def test_the_deadline_ends_the_wait_with_the_command_that_continues_it(timeout_s: float) -> None:
    """Exit 8 at the deadline, after at least one read of the image."""
    images, clock = running_import(), SteeredClock()
    with pytest.raises(StillRunning) as caught:
        wait_for(images, clock=clock, timeout_s=timeout_s)
    assert clock.elapsed_s == pytest.approx(timeout_s)
    assert "image" in images.operations
    assert "`aliyun-import task wait t-1 --region cn-hangzhou`" in (caught.value.remedy or "")
    assert caught.value.details == {"task_id": "t-1", "image_id": "m-1", "region": REGION}


def test_the_deadline_holds_during_failures() -> None:
    """A network that stays down does not extend it."""
    images, clock = running_import(), SteeredClock()
    images.fail_next("image", *[connection_lost()] * 1000)
    with pytest.raises(StillRunning):
        wait_for(images, clock=clock, timeout_s=300.0)
    assert clock.elapsed_s == pytest.approx(300.0)


def test_a_new_task_may_be_unknown_for_a_while() -> None:
    """Task and image are missing at first."""
    images = ScriptedImages(None)
    images.steps = [
        lambda: None,
        lambda: None,
        lambda: images.add(task(TaskStatus.FINISHED), image("Available")),
    ]
    assert wait_for(images).status == "Available"


def test_failed_requests_do_not_count_as_an_unknown_task() -> None:
    """Minutes of failures between two empty answers are not minutes in which the task is unknown."""
    images = ScriptedImages(None)
    images.steps = [
        lambda: None,
        lambda: images.fail_next("image", *[connection_lost()] * 12),
        *[lambda: None] * 12,
        lambda: images.add(task(TaskStatus.FINISHED), image("Available")),
    ]
    clock = SteeredClock()
    assert wait_for(images, clock=clock).status == "Available"
    assert clock.elapsed_s > 300


def test_an_unknown_task_is_an_error() -> None:
    """The error comes after a minute."""
    clock = SteeredClock()
    with pytest.raises(RefusedError) as caught:
        wait_for(ScriptedImages(None), clock=clock)
    assert caught.value.code == "task-unknown"
    assert clock.elapsed_s < 90


def test_an_image_that_is_deleted_during_the_wait_is_an_error() -> None:
    """It is exit 7."""
    images = running_import()
    images.steps = [lambda: None, images.stored_images.clear]
    with pytest.raises(ImportFailed) as caught:
        wait_for(images)
    assert caught.value.code == "image-gone"


def test_an_unknown_status_causes_one_warning() -> None:
    """The wait continues."""
    images, recorder = ScriptedImages(None), EventRecorder()
    images.add(task(TaskStatus.UNKNOWN, word="Verifying"), image())
    images.steps = [lambda: None] * 5 + [lambda: images.add(task(TaskStatus.FINISHED), image("Available"))]
    wait_for(images, recorder=recorder)
    assert recorder.warned() == ["task-odd"]


def test_the_image_of_a_task_is_read_from_the_list_of_tasks_once() -> None:
    """`task wait` has only a task id."""
    images = import_with(0, 50)
    images.add(task(), image())
    images.listed = {"t-1": "m-1"}
    assert wait_for(images, image_id="").image_id == "m-1"
    assert images.operations.count("tasks") == 1


def test_without_a_task_the_status_of_the_image_decides() -> None:
    """A found image without a task is done when it is Available."""
    images = ScriptedImages(None)
    images.steps = [lambda: images.add(image()), lambda: images.add(image("Available"))]
    assert wait_for(images, task_id="").status == "Available"
    assert "task" not in images.operations


def test_without_the_right_to_read_tasks_the_status_of_the_image_decides() -> None:
    """A policy that limits task calls to image/* is a usual mistake, and causes a warning."""
    images, recorder = import_with(0, 50), EventRecorder()
    images.fail_next("task", permission_denied())
    assert wait_for(images, recorder=recorder).status == "Available"
    assert recorder.warned() == ["task-unseen"]
    assert images.operations.count("task") == 1


def test_refused_credentials_end_the_wait_with_a_warning_that_the_import_continues() -> None:
    """The warning has the command that continues the wait."""
    images, recorder = running_import(), EventRecorder()
    images.fail_next("image", AccessError("Wrong key.", code="credentials-rejected", remedy=None))
    with pytest.raises(AccessError):
        wait_for(images, recorder=recorder)
    warned = next(event for event in recorder.events if isinstance(event, Warned))
    assert warned.code == "import-goes-on"
    assert "task wait t-1" in (warned.remedy or "")


def test_an_interrupt_ends_the_wait() -> None:
    """The error of the interrupted sleep is raised unchanged."""
    with pytest.raises(Interrupted):
        wait_for(running_import(), clock=SteeredClock(interrupt_at_s=20.0))


def test_the_results_of_the_image_check_are_reported() -> None:
    """Items with a risk cause a warning, and the image is returned in any case."""
    images, recorder = import_with(0), EventRecorder()
    items = (
        {"Name": "GUESTOS.Virtio", "Value": "Supported"},
        {"Name": "GUESTOS.Nvme", "Value": "Unsupported", "RiskLevel": "High", "RiskCode": "NVMe.NotInstallded"},
    )
    images.steps += [
        lambda: images.add(image("Available", detection=items[:1], detection_status="Processing")),
        lambda: images.add(image("Available", detection=items, detection_status="Finished")),
    ]
    assert wait_for(images, recorder=recorder, check_results=True).detection == items
    assert recorder.warned() == ["image-check"]
    waits = [event for event in recorder.events if isinstance(event, ImageCheckProgress)]
    assert [event.status for event in waits] == ["", "Processing"]
    assert waits[0].elapsed_s == 0 < waits[1].elapsed_s
    message = next(event.message for event in recorder.events if isinstance(event, Warned))
    assert "Nvme" in message
    assert "NVMe.NotInstallded" in message


def test_an_image_check_without_results_is_no_failure() -> None:
    """After ten minutes the image is returned with a warning; progress is emitted every few seconds."""
    images, recorder, clock = import_with(0), EventRecorder(), SteeredClock()
    images.steps.append(lambda: images.add(image("Available", detection_status="Processing")))
    assert wait_for(images, clock=clock, recorder=recorder, check_results=True).status == "Available"
    assert recorder.warned() == ["image-check-missing"]
    assert 600 <= clock.elapsed_s < 1200
    elapsed_s = [event.elapsed_s for event in recorder.events if isinstance(event, ImageCheckProgress)]
    assert max(after - before for before, after in pairwise(elapsed_s)) < 20


def test_an_image_check_that_does_not_start_is_not_waited_for() -> None:
    """The service does not check every platform."""
    clock, recorder = SteeredClock(), EventRecorder()
    wait_for(import_with(0), clock=clock, recorder=recorder, check_results=True)
    assert recorder.warned() == ["image-check-missing"]
    assert clock.elapsed_s < 200


@each_row("error", [permission_denied(), connection_lost()])
def test_an_error_of_the_image_check_is_no_failure(error: AliyunImportError) -> None:
    """A permission is removed, or a connection is lost, while the image is usable."""
    images = import_with(0)
    images.steps.append(lambda: images.fail_next("image", error))
    assert wait_for(images, check_results=True).status == "Available"


def test_pauses_grow_to_a_bound() -> None:
    """They are 0.5 s, soon 10 s, 15 s after half an hour, at most 60 s after failures, with 10 % jitter."""

    def middle(polls: int, elapsed_s: float, failures: int = 0) -> float:
        return pause_s(polls, elapsed_s=elapsed_s, failures=failures, share=lambda: 0.5)

    assert middle(1, 0) == pytest.approx(0.5)
    assert sum(middle(polls, 0) for polls in range(1, 9)) == pytest.approx(25, abs=5)
    assert middle(20, 100) == pytest.approx(10.0)
    assert middle(200, 4000) == pytest.approx(15.0)
    assert middle(10_000, 150_000) == pytest.approx(15.0)
    assert middle(20, 100, failures=1) == pytest.approx(20.0)
    assert middle(20, 100, failures=5000) == pytest.approx(60.0)
    assert pause_s(20, elapsed_s=100, share=lambda: 0.0) == pytest.approx(9.0)
    assert pause_s(20, elapsed_s=100, share=lambda: 1.0) == pytest.approx(11.0)
