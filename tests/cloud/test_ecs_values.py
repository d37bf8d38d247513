"""Tests of the requests to ECS and of its answers: every parameter is sent, every documented form is read."""

from dataclasses import replace
from typing import Any

from aliyunsdkecs.request.v20140526.ImportImageRequest import ImportImageRequest

from aliyun_import.cloud.ecs import image_of, import_request, task_of
from aliyun_import.model.image import TaskStatus
from aliyun_import.model.request import (
    BootMode,
    DiskFormat,
    DiskMapping,
    ImportCall,
    ImportRequest,
    parameters,
)
from tests.cloud import adapters
from tests.parameters import DOCUMENTED, LEGACY, NEWER_THAN_SDK, documented_fields
from tests.rows import each_row

WHOLE = ImportCall(
    request=ImportRequest(region="cn-hangzhou", disks=(), name="web-42", role_name="Another", **documented_fields()),
    mappings=(
        DiskMapping(bucket="disks", key="a.raw", format=DiskFormat.RAW, size_gib=40),
        DiskMapping(bucket="more", key="b.vhd", format=DiskFormat.VHD, size_gib=None),
        DiskMapping(bucket="more", key="c", format=None, size_gib=7),
    ),
    client_token="token",
    tags={"team": "web", "empty": ""},
    dry_run=True,
)


def test_the_tests_have_a_value_of_every_parameter() -> None:
    """A parameter without a row in tests/parameters.py is named here."""
    assert {one.api for one in parameters()} == set(DOCUMENTED), "give it a value in tests/parameters.py"


def test_parameters_have_their_documented_names_and_values() -> None:
    """The query of a complete call is the expected one."""
    assert import_request(WHOLE).get_query_params() == {
        "RegionId": "cn-hangzhou",
        "ImageName": "web-42",
        "RoleName": "Another",
        **DOCUMENTED,
        "DiskDeviceMapping.1.OSSBucket": "disks",
        "DiskDeviceMapping.1.OSSObject": "a.raw",
        "DiskDeviceMapping.1.Format": "RAW",
        "DiskDeviceMapping.1.DiskImageSize": "40",
        "DiskDeviceMapping.2.OSSBucket": "more",
        "DiskDeviceMapping.2.OSSObject": "b.vhd",
        "DiskDeviceMapping.2.Format": "VHD",
        "DiskDeviceMapping.3.OSSBucket": "more",
        "DiskDeviceMapping.3.OSSObject": "c",
        "DiskDeviceMapping.3.DiskImageSize": "7",
        "Tag.1.Key": "team",
        "Tag.1.Value": "web",
        "Tag.2.Key": "empty",
        "Tag.2.Value": "",
        "ClientToken": "token",
        "DryRun": "true",
    }


def test_every_declared_parameter_is_sent() -> None:
    """Each has its API name, with each of its values."""
    for one in parameters():
        for value in one.choices or ("x",):
            given: dict[str, Any] = {one.name: value}
            call = replace(WHOLE, request=replace(WHOLE.request, **given))
            sent = value.imported_as if isinstance(value, BootMode) else value
            assert import_request(call).get_query_params().get(one.api, one.off) == sent


def test_unset_parameters_are_not_sent() -> None:
    """The defaults of the service apply."""
    sent = import_request(adapters.import_call()).get_query_params()
    assert set(sent) == {
        "RegionId",
        "ImageName",
        "Platform",
        "RoleName",
        "ClientToken",
        "DiskDeviceMapping.1.OSSBucket",
        "DiskDeviceMapping.1.OSSObject",
        "DiskDeviceMapping.1.Format",
        "DiskDeviceMapping.1.DiskImageSize",
        "Tag.1.Key",
        "Tag.1.Value",
    }


def test_every_setter_of_the_sdk_is_used() -> None:
    """A parameter of a newer SDK fails this test until it is sent; one that the SDK lacks is listed as newer."""
    setters = {name.removeprefix("set_") for name in vars(ImportImageRequest) if name.startswith("set_")} - LEGACY
    sent = {name.split(".")[0] for name in import_request(WHOLE).get_query_params()} - {"RegionId"}
    plural = {"DiskDeviceMappings": "DiskDeviceMapping", "Tags": "Tag"}
    assert {plural.get(name, name) for name in setters} == sent - NEWER_THAN_SDK


def _task(**fields: Any) -> dict[str, Any]:
    return {"TaskId": "t-1", "TaskAction": "ImportImage", "TaskStatus": "Processing", **fields}


@each_row(
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
def test_an_undocumented_status_is_unknown_and_its_text_is_kept(text: str, status: TaskStatus) -> None:
    """Documented statuses are compared ignoring case."""
    task = task_of(_task(TaskStatus=text))
    assert (task.status, task.status_text) == (status, text)


@each_row(
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
def test_a_percentage_is_read_from_a_string_or_a_number(fields: dict[str, Any], percent: int | None) -> None:
    """The field has a present and an old name; other values are unknown."""
    assert task_of(_task(**fields)).percent == percent


@each_row(
    ("value", "can"),
    [(True, True), ("True", True), ("true", True), (False, False), ("False", False), ("", None), (None, None)],
)
def test_whether_a_task_can_be_cancelled_is_read(value: Any, can: bool | None) -> None:
    """The value is a boolean or a string."""
    assert task_of(_task(SupportCancel=value)).can_cancel is can


def test_the_reason_of_a_failure_is_read_from_the_operation_that_has_one() -> None:
    """Without one, code and message are empty."""
    operations = [{"ErrorCode": "", "ErrorMsg": ""}, {"ErrorCode": "ParameterInvalid", "ErrorMsg": "why"}]
    failed = task_of(_task(TaskStatus="Failed", OperationProgressSet={"OperationProgress": operations}))
    assert (failed.error_code, failed.error_message) == ("ParameterInvalid", "why")
    empties: tuple[Any, ...] = ({"OperationProgress": []}, {}, [], None, "")
    for empty in empties:
        bare = task_of(_task(TaskStatus="Failed", OperationProgressSet=empty))
        assert (bare.error_code, bare.error_message) == ("", "")


def test_the_documented_fields_of_an_image_are_read() -> None:
    """Tags have TagKey in answers, and Key in requests."""
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


def test_missing_fields_of_an_image_are_unknown() -> None:
    """They are no failure."""
    image = image_of({"ImageId": "m-1"})
    assert (image.status, image.percent, image.size_gib, image.usable) == ("", None, None, None)
    assert not image.tags
    assert image.detection == ()


def test_an_id_has_no_spaces_and_control_characters() -> None:
    """The id is the result on stdout, and is pasted into commands."""
    escaped = "m-1\n\x1b[31mrm -rf /"
    assert image_of({"ImageId": escaped, "Status": "Available"}).image_id == "m-1[31mrm-rf/"
    assert task_of({"TaskId": escaped, "TaskStatus": "Finished"}).task_id == "m-1[31mrm-rf/"
