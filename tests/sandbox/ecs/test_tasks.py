"""Tests of import tasks: the status of task and image by the clock, and the possible outcomes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from aliyun_import.sandbox.core.state import AccessKey, Clock, Settings
from aliyun_import.sandbox.server import Sandbox
from tests.sandbox.disks import MIB, dynamic_vhd, fixed_vhd, qcow2, vhd_footer
from tests.sandbox.prepared import BUCKET, mapping, prepare, put, remove
from tests.sandbox.vendor_sdk import call, refusal, send, signed

# 2026-11-24T10:00:30Z. The times of tasks have no seconds.
NOON_S = 1795514430.0
ALL = "Creating,Waiting,Available,UnAvailable,CreateFailed"


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Sandbox]:
    """Yield a sandbox with a stopped clock, in which an import takes 110 s, 10 s of them in the queue."""
    settings = Settings(import_s=110.0, import_queue_s=10.0, image_ready_s=5.0)
    with Sandbox.start(tmp_path / "s", settings=settings, clock=Clock(start_s=NOON_S, running=False)) as sandbox:
        yield prepare(sandbox)


def _begin(sandbox: Sandbox, key: str = "disk.raw", **fields: Any) -> dict[str, Any]:
    return call(sandbox, "ImportImage", DiskDeviceMappings=[mapping(key)], **fields)


def _task(sandbox: Sandbox, started: dict[str, Any]) -> dict[str, Any]:
    return call(sandbox, "DescribeTaskAttribute", TaskId=started["TaskId"])


def _image(sandbox: Sandbox, started: dict[str, Any], status: str = ALL) -> dict[str, Any] | None:
    images = call(sandbox, "DescribeImages", ImageId=started["ImageId"], Status=status)["Images"]["Image"]
    return images[0] if images else None


def _states(sandbox: Sandbox, started: dict[str, Any]) -> tuple[str, str, str]:
    """Return the status and progress of the task, and the status of the image."""
    task, image = _task(sandbox, started), _image(sandbox, started)
    return task["TaskStatus"], task["TaskProcess"], image["Status"] if image else "missing"


def test_an_import_proceeds_by_the_clock(frozen: Sandbox) -> None:
    """The task is Waiting, Processing with a progress, then Finished. The image is Available later."""
    started = _begin(frozen)
    assert _states(frozen, started) == ("Waiting", "0%", "Creating")
    frozen.clock.advance(10)
    assert _states(frozen, started) == ("Processing", "0%", "Creating")
    frozen.clock.advance(40)
    assert _states(frozen, started) == ("Processing", "40%", "Creating")
    frozen.clock.advance(59)
    assert _states(frozen, started) == ("Processing", "99%", "Creating")
    frozen.clock.advance(1)
    assert _states(frozen, started) == ("Finished", "100%", "Creating")
    frozen.clock.advance(5)
    assert _states(frozen, started) == ("Finished", "100%", "Available")


def test_an_image_has_its_progress(frozen: Sandbox) -> None:
    """Progress and remaining time during the import, 100 % when it is Available."""
    started = _begin(frozen)
    frozen.clock.advance(50)
    image = _image(frozen, started)
    assert image is not None
    disk = image["DiskDeviceMappings"]["DiskDeviceMapping"][0]
    assert (image["Progress"], disk["Progress"], disk["RemainTime"]) == ("40%", "40%", 60)
    frozen.clock.advance(60)
    image = _image(frozen, started)
    assert image is not None
    assert (image["Status"], image["Progress"]) == ("Creating", "99%")
    frozen.clock.advance(5)
    image = _image(frozen, started)
    assert image is not None
    assert (image["Progress"], image["DiskDeviceMappings"]["DiskDeviceMapping"][0]["RemainTime"]) == ("100%", 0)


def test_a_task_has_the_documented_shape(frozen: Sandbox) -> None:
    """The progress is a string, counts are numbers, times have no seconds, the reason is in OperationProgressSet."""
    started = _begin(frozen)
    frozen.clock.advance(50)
    task = _task(frozen, started)
    del task["RequestId"]
    progress = {
        "OperationStatus": "",
        "ErrorCode": "",
        "ErrorMsg": "",
        "RelatedItemSet": {
            "RelatedItem": [
                {"Name": "OSSBucket", "Value": BUCKET},
                {"Name": "OSSObject", "Value": "disk.raw"},
                {"Name": "ImageFormat", "Value": "raw"},
            ]
        },
    }
    assert task == {
        "RegionId": "cn-hangzhou",
        "TaskId": started["TaskId"],
        "TaskAction": "ImportImage",
        "TaskStatus": "Processing",
        "TaskProcess": "40%",
        "SupportCancel": True,
        "CreationTime": "2026-11-24T10:00Z",
        "FinishedTime": "",
        "TotalCount": 1,
        "SuccessCount": 0,
        "FailedCount": 0,
        "OperationProgressSet": {"OperationProgress": [progress]},
    }
    frozen.clock.advance(60)
    task = _task(frozen, started)
    assert (task["FinishedTime"], task["SuccessCount"], task["SupportCancel"]) == ("2026-11-24T10:02Z", 1, False)


def test_the_list_of_tasks_has_the_documented_shape(frozen: Sandbox) -> None:
    """TaskSet is an object, and a task names its image as ResourceId."""
    started = _begin(frozen)
    listed = call(frozen, "DescribeTasks")
    del listed["RequestId"]
    assert listed == {
        "PageNumber": 1,
        "PageSize": 10,
        "TotalCount": 1,
        "RegionId": "cn-hangzhou",
        "TaskSet": {
            "Task": [
                {
                    "TaskId": started["TaskId"],
                    "TaskAction": "ImportImage",
                    "TaskStatus": "Waiting",
                    "SupportCancel": True,
                    "CreationTime": "2026-11-24T10:00Z",
                    "FinishedTime": "",
                    "ResourceId": started["ImageId"],
                }
            ]
        },
    }


def test_tasks_are_filtered_and_paged(frozen: Sandbox) -> None:
    """Filters are ids, images, time, and three of the statuses. The newest task is first."""
    first = _begin(frozen, ImageName="first")
    frozen.clock.advance(120)
    second = _begin(frozen, ImageName="second")

    def ids(**fields: Any) -> list[str]:
        return [task["TaskId"] for task in call(frozen, "DescribeTasks", **fields)["TaskSet"]["Task"]]

    both = [second["TaskId"], first["TaskId"]]
    assert ids() == both
    assert ids(TaskIds=f"{first['TaskId']},none") == [first["TaskId"]]
    # A filter that the SDK has no setter for.
    fields = {"RegionId": "cn-hangzhou", "ResourceIds.1": second["ImageId"]}
    by_image = json.loads(send(frozen, signed(frozen, "DescribeTasks", fields)).text)
    assert [task["TaskId"] for task in by_image["TaskSet"]["Task"]] == [second["TaskId"]]
    assert ids(TaskStatus="Finished") == [first["TaskId"]]
    assert ids(TaskStatus="Failed") == []
    assert ids(TaskStatus="Waiting") == both
    assert ids(TaskAction="ImportImage") == both
    assert ids(TaskAction="ExportImage") == []
    assert ids(StartTime="2026-11-24T10:01:00Z") == [second["TaskId"]]
    assert ids(EndTime="2026-11-24T10:01:00Z") == [first["TaskId"]]
    assert ids(PageSize=1, PageNumber=2) == [first["TaskId"]]
    assert call(frozen, "DescribeTasks", PageSize=1)["TotalCount"] == 2
    assert refusal(frozen, "DescribeTasks", PageSize=101) == (400, "InvalidParameter")


def test_tasks_belong_to_account_and_region(frozen: Sandbox) -> None:
    """Other accounts and regions do not list them."""
    started = _begin(frozen)
    other = frozen.state.add_key(AccessKey(id="OTHER", secret="x", account_id="2000000000000000"))
    unknown = (400, "InvalidTaskId.NotFound")
    assert refusal(frozen, "DescribeTaskAttribute", key=other, TaskId=started["TaskId"]) == unknown
    assert refusal(frozen, "DescribeTaskAttribute", region="cn-shanghai", TaskId=started["TaskId"]) == unknown
    assert call(frozen, "DescribeTasks", region="cn-shanghai")["TotalCount"] == 0


def test_a_new_task_can_be_hidden_for_a_time(frozen: Sandbox) -> None:
    """With task_hidden_s, both calls omit it for this time."""
    frozen.state.configure(task_hidden_s=5.0)
    started = _begin(frozen)
    assert call(frozen, "DescribeTasks", TaskIds=started["TaskId"])["TotalCount"] == 0
    assert refusal(frozen, "DescribeTaskAttribute", TaskId=started["TaskId"]) == (400, "InvalidTaskId.NotFound")
    frozen.clock.advance(5)
    assert _task(frozen, started)["TaskStatus"] == "Waiting"


def test_a_cancelled_task_is_deleted_with_its_image(frozen: Sandbox) -> None:
    """The name can be used again."""
    started = _begin(frozen, ImageName="disk")
    frozen.clock.advance(50)
    call(frozen, "CancelTask", TaskId=started["TaskId"])
    assert _states(frozen, started) == ("Deleted", "40%", "missing")
    assert refusal(frozen, "CancelTask", TaskId=started["TaskId"]) == (403, "InvalidTaskId.IncorrectTaskStatus")
    assert _begin(frozen, ImageName="disk")
    assert refusal(frozen, "CancelTask", TaskId="t-none") == (400, "InvalidTaskId.NotFound")


def test_a_finished_task_cannot_be_cancelled(frozen: Sandbox) -> None:
    """The service has a code for it."""
    started = _begin(frozen)
    frozen.clock.advance(110)
    assert refusal(frozen, "CancelTask", TaskId=started["TaskId"]) == (403, "InvalidTaskId.IncorrectTaskStatus")


@pytest.mark.parametrize(
    ("data", "declared", "reason"),
    [
        (b"x" * MIB, "VHD", "declared as VHD, but its content is RAW"),
        (fixed_vhd(bytes(MIB)), "RAW", "declared as RAW, but its content is VHD"),
        (fixed_vhd(bytes(MIB))[512:], "", "has 1048576 bytes, the object 1048064"),
        (bytes(MIB) + vhd_footer(MIB)[:-1] + b"x", "VHD", "checksum"),
        (bytes(MIB) + vhd_footer(MIB, kind=4), "", "differencing"),
        (dynamic_vhd(4 * MIB, table=(5,)), "", "ends outside of the object"),
        (qcow2(backing=99), "", "backing file"),
        (qcow2(crypt=1), "", "encrypted"),
    ],
)
def test_a_damaged_disk_fails_the_task_with_its_reason(
    frozen: Sandbox, data: bytes, declared: str, reason: str
) -> None:
    """The call succeeds. The error of the task contains the disk and the reason."""
    put(frozen, "bad.vhd", data)
    disks = [mapping(), mapping("bad.vhd", **({"Format": declared} if declared else {}))]
    started = call(frozen, "ImportImage", DiskDeviceMappings=disks)
    frozen.clock.advance(20)
    assert _states(frozen, started) == ("Failed", "5%", "CreateFailed")
    task = _task(frozen, started)
    (progress,) = task["OperationProgressSet"]["OperationProgress"]
    assert (task["FailedCount"], task["SuccessCount"], progress["OperationStatus"]) == (1, 0, "Failed")
    assert progress["ErrorCode"] == "InvalidImageFormat.Malformed"
    assert progress["ErrorMsg"].startswith("DiskDeviceMapping.2: ")
    assert reason in progress["ErrorMsg"]
    assert task["FinishedTime"] == "2026-11-24T10:00Z"


def test_intact_disks_of_all_formats_are_imported(frozen: Sandbox) -> None:
    """This includes RAW without a boot record, which is not checked."""
    put(frozen, "a.raw", bytes(MIB))
    put(frozen, "b.vhd", fixed_vhd(bytes(MIB)))
    put(frozen, "c.vhd", dynamic_vhd(4 * MIB, table=(4,)))
    put(frozen, "d.qcow2", qcow2())
    started = [_begin(frozen, key) for key in ("a.raw", "b.vhd", "c.vhd", "d.qcow2")]
    frozen.clock.advance(115)
    assert {_states(frozen, each) for each in started} == {("Finished", "100%", "Available")}


def test_a_failed_import_can_leave_no_image(frozen: Sandbox) -> None:
    """This is a setting, because the behaviour of the service is not documented."""
    frozen.state.configure(failed_image="", import_outcome="failed")
    started = _begin(frozen)
    frozen.clock.advance(110)
    assert _states(frozen, started) == ("Failed", "50%", "missing")


def test_an_import_fails_as_configured(frozen: Sandbox) -> None:
    """Progress, code and message are those of the settings."""
    frozen.state.configure(
        import_outcome="failed", import_stops_at_percent=30, import_error=("ParameterInvalid", "Failed as configured.")
    )
    started = _begin(frozen)
    frozen.clock.advance(39)
    assert _states(frozen, started) == ("Processing", "29%", "Creating")
    frozen.clock.advance(1)
    assert _states(frozen, started) == ("Failed", "30%", "CreateFailed")
    (progress,) = _task(frozen, started)["OperationProgressSet"]["OperationProgress"]
    assert (progress["ErrorCode"], progress["ErrorMsg"]) == ("ParameterInvalid", "Failed as configured.")


@pytest.mark.parametrize(
    ("outcome", "states"),
    [
        ("paused", ("Paused", "50%", "Creating")),
        ("stuck", ("Processing", "50%", "Creating")),
        ("unavailable", ("Finished", "100%", "UnAvailable")),
    ],
)
def test_an_import_ends_as_configured(frozen: Sandbox, outcome: str, states: tuple[str, str, str]) -> None:
    """The task is Paused, Processing without end, or Finished with an UnAvailable image."""
    frozen.state.configure(import_outcome=outcome)
    started = _begin(frozen)
    frozen.clock.advance(100_000)
    assert _states(frozen, started) == states


def test_settings_apply_to_new_imports(frozen: Sandbox) -> None:
    """A running import does not change."""
    before = _begin(frozen)
    frozen.state.configure(import_outcome="failed")
    frozen.clock.advance(115)
    assert _states(frozen, before) == ("Finished", "100%", "Available")


def test_an_unknown_outcome_is_refused(frozen: Sandbox) -> None:
    """A mistyped outcome must not act as a success."""
    with pytest.raises(ValueError, match="import_outcome takes one of finished, failed"):
        frozen.state.configure(import_outcome="fail")


def test_settings_can_be_sent_over_http(frozen: Sandbox) -> None:
    """The control plane changes the settings from another process."""
    body = b'{"import_outcome": "failed", "import_error": ["ParameterInvalid", "Set over HTTP."]}'
    request = Request(f"{frozen.url}/_sandbox/settings", data=body, method="POST")
    with build_opener(ProxyHandler({})).open(request, timeout=10):
        pass
    started = _begin(frozen)
    frozen.clock.advance(110)
    (progress,) = _task(frozen, started)["OperationProgressSet"]["OperationProgress"]
    assert progress["ErrorMsg"] == "Set over HTTP."


@pytest.mark.parametrize("change", ["removed", "replaced"])
def test_an_object_removed_while_it_is_read_fails_the_import(frozen: Sandbox, change: str) -> None:
    """This holds also if the task is read long after."""
    started = _begin(frozen)
    frozen.clock.advance(50)
    if change == "removed":
        remove(frozen, "disk.raw")
    else:
        put(frozen, "disk.raw", b"another disk")
    frozen.clock.advance(1000)
    assert _states(frozen, started) == ("Failed", "40%", "CreateFailed")
    task = _task(frozen, started)
    (progress,) = task["OperationProgressSet"]["OperationProgress"]
    assert (progress["ErrorCode"], task["FinishedTime"]) == ("InvalidOSSObject.NotFound", "2026-11-24T10:01Z")


def test_an_object_removed_after_a_failure_does_not_change_the_reason(frozen: Sandbox) -> None:
    """The damage was found first, independent of the time of the read."""
    put(frozen, "disk.raw", qcow2())
    started = call(frozen, "ImportImage", DiskDeviceMappings=[mapping(Format="RAW")])
    frozen.clock.advance(50)
    remove(frozen, "disk.raw")
    (progress,) = _task(frozen, started)["OperationProgressSet"]["OperationProgress"]
    assert progress["ErrorCode"] == "InvalidImageFormat.Malformed"


def test_an_object_removed_in_the_queue_fails_the_import_at_its_start(frozen: Sandbox) -> None:
    """The import has read nothing before."""
    started = _begin(frozen)
    remove(frozen, "disk.raw")
    assert _states(frozen, started) == ("Waiting", "0%", "Creating")
    frozen.clock.advance(10)
    assert _states(frozen, started) == ("Failed", "0%", "CreateFailed")


def test_an_object_can_be_removed_after_the_task(frozen: Sandbox) -> None:
    """This holds also if the task was not read before."""
    started = _begin(frozen)
    frozen.clock.advance(111)
    remove(frozen, "disk.raw")
    frozen.clock.advance(10)
    assert _states(frozen, started) == ("Finished", "100%", "Available")


def test_an_import_can_take_no_time(frozen: Sandbox) -> None:
    """Tests that do not need the progress use this."""
    frozen.state.configure(import_s=0.0, image_ready_s=0.0)
    assert _states(frozen, _begin(frozen)) == ("Finished", "100%", "Available")


def test_a_detection_runs_after_the_image_is_available(frozen: Sandbox) -> None:
    """With DetectionStrategy=Standard, DetectionOptions is Processing for a time, then Finished with its findings."""
    item = {"Name": "GUESTOS.Nvme", "Value": "Unsupported", "RiskLevel": "High", "RiskCode": "NVMe.NotInstallded"}
    frozen.state.configure(image_check_s=120.0, image_check_items=(item,))

    def detection() -> object:
        image = _image(frozen, started)
        assert image is not None
        return image.get("DetectionOptions")

    started = _begin(frozen, DetectionStrategy="Standard")
    frozen.clock.advance(110)
    assert detection() is None
    frozen.clock.advance(5)
    assert detection() == {"Status": "Processing", "Items": {"Item": []}}
    frozen.clock.advance(120)
    assert detection() == {"Status": "Finished", "Items": {"Item": [item]}}
