"""This file tests that tasks and images are read in every form that the documents show."""

from typing import Any

import pytest

from aliyun_import.cloud.ecs.parse import image_of, task_of
from aliyun_import.cloud.transport.rpc_response import objects, truth, whole
from aliyun_import.model.image import TaskStatus


def _task(**fields: Any) -> dict[str, Any]:
    return {"TaskId": "t-1", "TaskAction": "ImportImage", "TaskStatus": "Processing", **fields}


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Waiting", TaskStatus.WAITING),
        ("Processing", TaskStatus.PROCESSING),
        ("finished", TaskStatus.FINISHED),
        ("Failed", TaskStatus.FAILED),
        ("Deleted", TaskStatus.DELETED),
        ("Paused", TaskStatus.PAUSED),
        ("Dreaming", TaskStatus.UNKNOWN),
        ("", TaskStatus.UNKNOWN),
    ],
)
def test_a_status_is_known_or_kept(text: str, status: TaskStatus) -> None:
    """A word that is not documented is unknown, and kept as it is."""
    task = task_of(_task(TaskStatus=text))
    assert (task.status, task.status_text) == (status, text)


@pytest.mark.parametrize(
    ("fields", "percent"),
    [
        ({"TaskProcess": "40%"}, 40),
        ({"TaskProcess": "40"}, 40),
        ({"TaskProcess": 40}, 40),
        ({"TaskProcess": "40.5%"}, 40),
        ({"Progress": "7%"}, 7),
        ({"TaskProcess": "0%", "Progress": "7%"}, 0),
        ({"TaskProcess": ""}, None),
        ({"TaskProcess": "soon"}, None),
        ({}, None),
    ],
)
def test_a_percentage_is_read_or_unknown(fields: dict[str, Any], percent: int | None) -> None:
    """Whether it is text or a number, under today's name or the old one."""
    assert task_of(_task(**fields)).percent == percent


@pytest.mark.parametrize(
    ("value", "can"),
    [(True, True), ("True", True), ("true", True), (False, False), ("False", False), ("", None), (None, None)],
)
def test_whether_a_task_can_be_cancelled(value: Any, can: bool | None) -> None:
    """A bare boolean and its spellings."""
    assert task_of(_task(SupportCancel=value)).can_cancel is can


def test_the_reason_of_a_failure() -> None:
    """Code and message are those of the operation that has them; an empty set leaves them empty."""
    operations = [{"ErrorCode": "", "ErrorMsg": ""}, {"ErrorCode": "ParameterInvalid", "ErrorMsg": "why"}]
    failed = task_of(_task(TaskStatus="Failed", OperationProgressSet={"OperationProgress": operations}))
    assert (failed.error_code, failed.error_message) == ("ParameterInvalid", "why")
    empties: tuple[Any, ...] = ({"OperationProgress": []}, {}, [], None, "")
    for empty in empties:
        bare = task_of(_task(TaskStatus="Failed", OperationProgressSet=empty))
        assert (bare.error_code, bare.error_message) == ("", "")


@pytest.mark.parametrize(
    "found",
    [{"Task": [{"TaskId": "t-1"}]}, [{"TaskId": "t-1"}], {"Task": {"TaskId": "t-1"}}, {"TaskId": "t-1"}],
    ids=["documented", "bare list", "single", "bare single"],
)
def test_lists_are_read_in_every_published_form(found: Any) -> None:
    """One sample of DescribeTasks shows a list where the model says an object."""
    assert objects({"TaskSet": found}, "TaskSet", "Task") == ({"TaskId": "t-1"},)


@pytest.mark.parametrize("found", [None, "", [], {}, {"Task": None}, {"Task": []}, "odd", 5, ["odd"]])
def test_a_list_that_is_none_is_empty(found: Any) -> None:
    """Missing, empty and odd values hold no objects."""
    assert objects({"TaskSet": found}, "TaskSet", "Task") == ()


def test_an_image_as_it_is_documented() -> None:
    """Every field that the engine uses, under its name in answers (TagKey and not Key)."""
    image = image_of(
        {
            "ImageId": "m-1",
            "ImageName": "web-42",
            "Status": "Creating",
            "Progress": "32%",
            "Size": 40,
            "CreationTime": "2026-11-24T06:07:05Z",
            "Usable": "true",
            "Tags": {"Tag": [{"TagKey": "team", "TagValue": "web"}]},
            "DetectionOptions": {
                "Status": "Finished",
                "Items": {"Item": [{"Name": "GUESTOS.Nvme", "Value": "Unsupported", "RiskLevel": "Medium"}]},
            },
        }
    )
    assert (image.image_id, image.name, image.status, image.percent) == ("m-1", "web-42", "Creating", 32)
    assert (image.size_gib, image.created, image.usable) == (40, "2026-11-24T06:07:05Z", True)
    assert dict(image.tags) == {"team": "web"}
    assert [dict(item) for item in image.detection] == [
        {"Name": "GUESTOS.Nvme", "Value": "Unsupported", "RiskLevel": "Medium"}
    ]


def test_an_image_with_next_to_nothing() -> None:
    """Missing fields are unknown, and no failure."""
    image = image_of({"ImageId": "m-1"})
    assert (image.status, image.percent, image.size_gib, image.usable) == ("", None, None, None)
    assert not image.tags
    assert image.detection == ()


def test_numbers_and_truths_that_are_none() -> None:
    """What is neither stays unknown."""
    assert whole({"x": "-1"}, "x") is None
    assert whole({"x": "1e3"}, "x") is None
    assert truth({"x": "yes"}, "x") is None
