"""Tests of what `aliyun-import task` answers."""

import pytest

from aliyun_import.errors import RefusedError
from aliyun_import.image.tasks import cancel_task, image_of_task, list_tasks, show_task
from aliyun_import.model.image import Task, TaskStatus
from tests.image.scripted import REGION, Heard, ScriptedImages, context_of, image, lost, refused, retrying, task
from tests.rows import each_row


def cancel(images: ScriptedImages, *, heard: Heard | None = None) -> Task:
    """Cancel the task of the script."""
    context = context_of(emit=heard)
    return cancel_task(retrying(images, context), context, "t-1", region=REGION)


def test_tasks_are_filtered_by_any_status_word() -> None:
    """The service filters by three statuses; the others are filtered here, in any case."""
    images = ScriptedImages(None)
    images.add(task(task_id="t-1"), task(TaskStatus.DELETED, task_id="t-2"))
    assert [one.task_id for one in list_tasks(images, statuses=("deleted",))] == ["t-2"]
    assert len(list_tasks(images)) == 2


def test_a_task_is_listed_with_the_name_of_its_image() -> None:
    """One query returns all names; a deleted image has none."""
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


def test_the_list_states_the_image_that_the_task_does_not() -> None:
    """DescribeTaskAttribute has no image id; the list has."""
    tasks = (task(task_id="t-0", image_id="m-0"), task(task_id="t-1", image_id="m-1"))
    assert image_of_task("t-1", tasks) == "m-1"
    assert image_of_task("t-2", tasks) == ""


def test_an_unknown_task_is_refused_by_name() -> None:
    """A mistyped id names itself and the way to the right one."""
    with pytest.raises(RefusedError) as caught:
        show_task(ScriptedImages(None), "t-9", region=REGION)
    assert caught.value.code == "task-unknown"
    assert "t-9" in caught.value.summary


def test_a_running_task_is_cancelled() -> None:
    """The call is sent once, and the state of the task afterwards is returned."""
    images, heard = ScriptedImages(None), Heard()
    images.add(task(image_id="m-1"))
    assert cancel(images, heard=heard).status is TaskStatus.DELETED
    assert heard.changed() == ["cancelled import task"]


def test_cancelling_twice_is_fine() -> None:
    """A cancelled task stays cancelled, without a call."""
    images = ScriptedImages(None)
    images.add(task(TaskStatus.DELETED, image_id="m-1"))
    assert cancel(images).status is TaskStatus.DELETED
    assert "cancel_task" not in images.asked


@each_row("status", [TaskStatus.FINISHED, TaskStatus.FAILED])
def test_a_task_that_is_over_cannot_be_cancelled(status: TaskStatus) -> None:
    """The error states that the task has ended, and what can be done."""
    images = ScriptedImages(None)
    images.add(task(status, image_id="m-1"))
    with pytest.raises(RefusedError) as caught:
        cancel(images)
    assert caught.value.code == "task-over"


def test_a_cancel_whose_answer_was_lost_is_found_done() -> None:
    """After a repeated call the service reports that the task is not running; a Deleted task is a success."""
    images = ScriptedImages(None)
    images.add(task(image_id="m-1"))

    def answers_late(task_id: str) -> None:
        images.asked.append("cancel_task")
        if images.asked.count("cancel_task") == 1:
            images.add(task(TaskStatus.DELETED))
            raise lost()
        raise refused("task-not-running")

    images.cancel_task = answers_late  # type: ignore[method-assign]
    assert cancel(images).status is TaskStatus.DELETED


def test_a_task_that_ends_while_it_is_cancelled_is_over() -> None:
    """It finished between looking and cancelling: that is not a cancelled task."""
    images = ScriptedImages(None)
    images.add(task(image_id="m-1"))

    def too_late(task_id: str) -> None:
        images.add(task(TaskStatus.FINISHED, image_id="m-1"))
        raise refused("task-not-running")

    images.cancel_task = too_late  # type: ignore[method-assign]
    with pytest.raises(RefusedError) as caught:
        cancel(images)
    assert caught.value.code == "task-over"


def test_a_refused_cancel_of_a_running_task_comes_out() -> None:
    """CancelTaskFailed is passed on as it is."""
    images = ScriptedImages(None)
    images.add(task(image_id="m-1"))
    images.then("cancel_task", refused("cancel-failed"))
    with pytest.raises(RefusedError) as caught:
        cancel(images)
    assert caught.value.code == "cancel-failed"
