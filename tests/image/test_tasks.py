"""Tests of the functions behind `aliyun-import task`."""

import pytest

from aliyun_import.errors import RefusedError
from aliyun_import.image.tasks import cancel_task, image_of_task, list_tasks, show_task
from aliyun_import.model.image import Task, TaskStatus
from tests.image.scripted_services import (
    REGION,
    EventRecorder,
    ScriptedImages,
    connection_lost,
    context_of,
    image,
    refused,
    retrying,
    task,
)
from tests.rows import each_row


def cancel(images: ScriptedImages, *, recorder: EventRecorder | None = None) -> Task:
    """Cancel the task t-1 with retries."""
    context = context_of(emit=recorder)
    return cancel_task(retrying(images, context), context, "t-1", region=REGION)


def test_tasks_are_filtered_by_any_status() -> None:
    """The service filters by three statuses only; the others are filtered here, ignoring case."""
    images = ScriptedImages(None)
    images.add(task(task_id="t-1"), task(TaskStatus.DELETED, task_id="t-2"))
    assert [one.task_id for one in list_tasks(images, statuses=("deleted",))] == ["t-2"]
    assert len(list_tasks(images)) == 2


def test_a_task_is_listed_with_the_name_of_its_image() -> None:
    """One request returns all images; a deleted image has no name."""
    images = ScriptedImages(None)
    images.add(task(task_id="t-1", image_id="m-1"), image())
    images.add(task(task_id="t-2", image_id="m-2"))
    assert [(one.task_id, one.image_name) for one in list_tasks(images)] == [("t-1", image().name), ("t-2", "")]


def test_a_task_is_shown_with_its_image() -> None:
    """The result has the status of the image and of the task."""
    images = ScriptedImages(None)
    images.add(task(image_id="m-1"), image())
    shown = show_task(images, "t-1", region=REGION)
    assert shown.image is not None
    assert (shown.task.task_id, shown.image.image_id) == ("t-1", "m-1")


def test_the_image_id_comes_from_the_list_of_tasks() -> None:
    """DescribeTaskAttribute has no image id."""
    tasks = (task(task_id="t-0", image_id="m-0"), task(task_id="t-1", image_id="m-1"))
    assert image_of_task("t-1", tasks) == "m-1"
    assert image_of_task("t-2", tasks) == ""


def test_an_unknown_task_is_refused_by_name() -> None:
    """The error names the id."""
    with pytest.raises(RefusedError) as caught:
        show_task(ScriptedImages(None), "t-9", region=REGION)
    assert caught.value.code == "task-unknown"
    assert "t-9" in caught.value.summary


def test_a_running_task_is_cancelled() -> None:
    """The state of the task after the cancellation is returned."""
    images, recorder = ScriptedImages(None), EventRecorder()
    images.add(task(image_id="m-1"))
    assert cancel(images, recorder=recorder).status is TaskStatus.DELETED
    assert recorder.changed() == ["cancelled import task"]


def test_a_cancelled_task_is_not_cancelled_again() -> None:
    """No call is sent."""
    images = ScriptedImages(None)
    images.add(task(TaskStatus.DELETED, image_id="m-1"))
    assert cancel(images).status is TaskStatus.DELETED
    assert "cancel_task" not in images.operations


@each_row("status", [TaskStatus.FINISHED, TaskStatus.FAILED])
def test_a_task_that_has_ended_cannot_be_cancelled(status: TaskStatus) -> None:
    """The error states that the task has ended, and what can be done."""
    images = ScriptedImages(None)
    images.add(task(status, image_id="m-1"))
    with pytest.raises(RefusedError) as caught:
        cancel(images)
    assert caught.value.code == "task-over"


def test_a_cancellation_with_a_lost_answer_succeeds() -> None:
    """The repeated call is refused because the task does not run; its status Deleted shows the success."""
    images = ScriptedImages(None)
    images.add(task(image_id="m-1"))

    def lose_first_answer(task_id: str) -> None:
        images.operations.append("cancel_task")
        if images.operations.count("cancel_task") == 1:
            images.add(task(TaskStatus.DELETED))
            raise connection_lost()
        raise refused("task-not-running")

    images.cancel_task = lose_first_answer  # type: ignore[method-assign]
    assert cancel(images).status is TaskStatus.DELETED


def test_a_task_that_finishes_before_the_cancellation_is_not_cancelled() -> None:
    """The error states that the task has ended."""
    images = ScriptedImages(None)
    images.add(task(image_id="m-1"))

    def finish_instead(task_id: str) -> None:
        images.add(task(TaskStatus.FINISHED, image_id="m-1"))
        raise refused("task-not-running")

    images.cancel_task = finish_instead  # type: ignore[method-assign]
    with pytest.raises(RefusedError) as caught:
        cancel(images)
    assert caught.value.code == "task-over"


def test_a_refused_cancellation_of_a_running_task_is_raised() -> None:
    """CancelTaskFailed is raised unchanged."""
    images = ScriptedImages(None)
    images.add(task(image_id="m-1"))
    images.fail_next("cancel_task", refused("cancel-failed"))
    with pytest.raises(RefusedError) as caught:
        cancel(images)
    assert caught.value.code == "cancel-failed"
