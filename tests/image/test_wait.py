"""Tests of the wait: patience with the questions, none with a bad end."""

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
from tests.image.scripted import (
    REGION,
    Heard,
    ScriptedImages,
    context_of,
    image,
    lost,
    no_right,
    retrying,
    task,
)
from tests.rows import each_row
from tests.steered import SteeredClock


def follow(
    images: ScriptedImages,
    *,
    clock: SteeredClock | None = None,
    heard: Heard | None = None,
    timeout_s: float | None = None,
    task_id: str = "t-1",
    image_id: str = "m-1",
    check_results: bool = False,
) -> Image:
    """Wait for the import of the script."""
    context = context_of(clock, heard)
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


def import_of(*percents: int) -> ScriptedImages:
    """Script an import: a look at each percent, then finished, then usable."""
    images = ScriptedImages(None)
    images.steps = [
        *(lambda percent=percent: images.add(task(percent=percent), image("Creating")) for percent in percents),
        lambda: images.add(task(TaskStatus.FINISHED, percent=100)),
        lambda: images.add(image("Available")),
    ]
    return images


def running() -> ScriptedImages:
    """Script an import that runs for ever."""
    images = ScriptedImages(None)
    images.add(task(percent=10), image("Creating"))
    return images


def test_the_wait_ends_with_the_usable_image() -> None:
    """Finished is not yet done; Available is."""
    images, heard = import_of(0, 40, 80), Heard()
    assert follow(images, heard=heard).status == "Available"
    told = [event for event in heard.events if isinstance(event, ImportProgress)]
    assert [event.percent for event in told] == [0, 40, 80, 100, 100]
    assert [event.task_status for event in told][-2:] == ["Finished", "Finished"]
    assert [event.image_status for event in told][-2:] == ["Creating", "Available"]


def test_progress_has_the_time_left() -> None:
    """From the second percent on there is an estimate, and times only grow."""
    heard = Heard()
    follow(import_of(0, 40, 80), heard=heard)
    told = [event for event in heard.events if isinstance(event, ImportProgress)]
    assert told[0].left_s is None
    assert told[1].left_s is not None
    assert [event.elapsed_s for event in told] == sorted(event.elapsed_s for event in told)


def test_a_failure_ends_the_wait_at_once() -> None:
    """No second question once the service has given up."""
    images = ScriptedImages(None)
    images.add(task(TaskStatus.FAILED, error_code="InvalidImageFormat.Malformed", error_message="Odd."), image())
    clock = SteeredClock()
    with pytest.raises(ImportFailed) as caught:
        follow(images, clock=clock)
    assert clock.slept == []
    assert "InvalidImageFormat.Malformed: Odd." in (caught.value.cause or "")


def test_passing_trouble_is_waited_out() -> None:
    """Lost answers about the task or the image are notes, and the wait continues."""
    images, heard = import_of(0, 50), Heard()
    images.then("image", lost(), lost())
    images.then("task", lost())
    assert follow(images, heard=heard).status == "Available"
    assert len([event for event in heard.events if isinstance(event, Noted)]) == 3
    assert heard.warned() == []


def test_lasting_trouble_is_warned_of_once() -> None:
    """A minute without a good answer is worth one warning, not one a poll."""
    images, heard = import_of(0), Heard()
    images.then("image", *[lost()] * 8)
    follow(images, heard=heard)
    assert heard.warned() == ["import-unseen"]


def test_trouble_without_end_ends_the_wait_after_an_hour() -> None:
    """Without a deadline an unattended run ends too, with the command that continues the wait."""
    images, clock = running(), SteeredClock()
    images.then("image", *[lost()] * 1000)
    with pytest.raises(TransientError) as caught:
        follow(images, clock=clock)
    assert FAILURE_LIMIT_S <= clock.elapsed_s <= FAILURE_LIMIT_S + 120
    assert "task wait t-1 --region cn-hangzhou" in (caught.value.remedy or "")


@each_row("timeout_s", [0.0, 30.0, 7200.0])
def test_the_deadline_ends_the_wait_with_the_command_that_waits_on(timeout_s: float) -> None:
    """Exit 8 at the deadline, never later, after at least one look."""
    images, clock = running(), SteeredClock()
    with pytest.raises(StillRunning) as caught:
        follow(images, clock=clock, timeout_s=timeout_s)
    assert clock.elapsed_s == pytest.approx(timeout_s)
    assert "image" in images.asked
    assert "`aliyun-import task wait t-1 --region cn-hangzhou`" in (caught.value.remedy or "")
    assert caught.value.details == {"task_id": "t-1", "image_id": "m-1", "region": REGION}


def test_the_deadline_holds_in_trouble_too() -> None:
    """A line that stays down does not stretch the deadline."""
    images, clock = running(), SteeredClock()
    images.then("image", *[lost()] * 1000)
    with pytest.raises(StillRunning):
        follow(images, clock=clock, timeout_s=300.0)
    assert clock.elapsed_s == pytest.approx(300.0)


def test_a_fresh_task_may_be_unknown_for_a_while() -> None:
    """Nothing there at first is no error."""
    images = ScriptedImages(None)
    images.steps = [
        lambda: None,
        lambda: None,
        lambda: images.add(task(TaskStatus.FINISHED), image("Available")),
    ]
    assert follow(images).status == "Available"


def test_what_is_unknown_during_trouble_is_not_counted() -> None:
    """Minutes of trouble between two looks at nothing are not minutes of nothing."""
    images = ScriptedImages(None)
    images.steps = [
        lambda: None,
        lambda: images.then("image", *[lost()] * 12),
        *[lambda: None] * 12,
        lambda: images.add(task(TaskStatus.FINISHED), image("Available")),
    ]
    clock = SteeredClock()
    assert follow(images, clock=clock).status == "Available"
    assert clock.elapsed_s > 300


def test_an_unknown_task_is_an_error() -> None:
    """After a minute of nothing the id is named."""
    clock = SteeredClock()
    with pytest.raises(RefusedError) as caught:
        follow(ScriptedImages(None), clock=clock)
    assert caught.value.code == "task-unknown"
    assert clock.elapsed_s < 90


def test_an_image_deleted_meanwhile_is_an_error() -> None:
    """An image that existed and was deleted is exit 7 with its own code."""
    images = running()
    images.steps = [lambda: None, images.images_now.clear]
    with pytest.raises(ImportFailed) as caught:
        follow(images)
    assert caught.value.code == "image-gone"


def test_an_unknown_status_is_warned_of_once() -> None:
    """An unknown status causes one warning, and the wait continues."""
    images, heard = ScriptedImages(None), Heard()
    images.add(task(TaskStatus.UNKNOWN, word="Pondering"), image())
    images.steps = [lambda: None] * 5 + [lambda: images.add(task(TaskStatus.FINISHED), image("Available"))]
    follow(images, heard=heard)
    assert heard.warned() == ["task-odd"]


def test_the_image_is_looked_up_when_only_the_task_is_known() -> None:
    """`task wait` has only a task id: the list of tasks states the image; it is queried rarely."""
    images = import_of(0, 50)
    images.add(task(), image())
    images.listed = {"t-1": "m-1"}
    assert follow(images, image_id="").image_id == "m-1"
    assert images.asked.count("tasks") == 1


def test_without_a_task_the_image_is_followed() -> None:
    """An adopted image without a task is done when it is Available."""
    images = ScriptedImages(None)
    images.steps = [lambda: images.add(image()), lambda: images.add(image("Available"))]
    assert follow(images, task_id="").status == "Available"
    assert "task" not in images.asked


def test_without_the_right_to_see_tasks_the_image_is_followed() -> None:
    """A policy that pins task calls to image/* is the usual slip: a warning, and the image decides."""
    images, heard = import_of(0, 50), Heard()
    images.then("task", no_right())
    assert follow(images, heard=heard).status == "Available"
    assert heard.warned() == ["task-unseen"]
    assert images.asked.count("task") == 1


def test_refused_credentials_end_the_wait_with_a_warning_that_the_import_continues() -> None:
    """Keys that are refused during the wait are an error, and a warning states that the import continues."""
    images, heard = running(), Heard()
    images.then("image", AccessError("Wrong key.", code="credentials-rejected", remedy=None))
    with pytest.raises(AccessError):
        follow(images, heard=heard)
    warned = next(event for event in heard.events if isinstance(event, Warned))
    assert warned.code == "import-goes-on"
    assert "task wait t-1" in (warned.remedy or "")


def test_an_interrupt_ends_the_wait() -> None:
    """Ctrl-C during the sleep raises Interrupted unchanged."""
    with pytest.raises(Interrupted):
        follow(running(), clock=SteeredClock(interrupt_at_s=20.0))


def test_the_results_of_the_image_check_are_reported() -> None:
    """Items at risk are warnings, the rest is a note, and the image is the result either way."""
    images, heard = import_of(0), Heard()
    items = (
        {"Name": "GUESTOS.Virtio", "Value": "Supported"},
        {"Name": "GUESTOS.Nvme", "Value": "Unsupported", "RiskLevel": "High", "RiskCode": "NVMe.NotInstallded"},
    )
    images.steps += [
        lambda: images.add(image("Available", detection=items[:1], detection_status="Processing")),
        lambda: images.add(image("Available", detection=items, detection_status="Finished")),
    ]
    assert follow(images, heard=heard, check_results=True).detection == items
    assert heard.warned() == ["image-check"]
    waits = [event for event in heard.events if isinstance(event, ImageCheckProgress)]
    assert [event.status for event in waits] == ["", "Processing"]
    assert waits[0].elapsed_s == 0 < waits[1].elapsed_s
    message = next(event.message for event in heard.events if isinstance(event, Warned))
    assert "Nvme" in message
    assert "NVMe.NotInstallded" in message


def test_a_check_without_results_is_no_failure() -> None:
    """After ten minutes the image is returned with a warning; progress is emitted every few seconds."""
    images, heard, clock = import_of(0), Heard(), SteeredClock()
    images.steps.append(lambda: images.add(image("Available", detection_status="Processing")))
    assert follow(images, clock=clock, heard=heard, check_results=True).status == "Available"
    assert heard.warned() == ["image-check-missing"]
    assert 600 <= clock.elapsed_s < 1200
    told_s = [event.elapsed_s for event in heard.events if isinstance(event, ImageCheckProgress)]
    assert max(after - before for before, after in pairwise(told_s)) < 20


def test_a_check_that_never_begins_is_not_waited_for() -> None:
    """The service does not check every platform."""
    clock, heard = SteeredClock(), Heard()
    follow(import_of(0), clock=clock, heard=heard, check_results=True)
    assert heard.warned() == ["image-check-missing"]
    assert clock.elapsed_s < 200


@each_row("error", [no_right(), lost()])
def test_trouble_with_the_check_is_no_failure_either(error: AliyunImportError) -> None:
    """A right that is taken away, or a line that drops, while the image is usable already."""
    images = import_of(0)
    images.steps.append(lambda: images.then("image", error))
    assert follow(images, check_results=True).status == "Available"


def test_pauses_grow_and_stay_polite() -> None:
    """0.5 s at first, 10 s soon, 15 s after half an hour, a minute at most in trouble; a tenth of jitter either way."""

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
