"""The course of an import: task and image by the sandbox's clock, and its possible ends."""

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

# 2026-11-24T10:00:30Z: seconds that the times of tasks must not show.
NOON_S = 1795514430.0
ALL = "Creating,Waiting,Available,UnAvailable,CreateFailed"


@pytest.fixture
def still(tmp_path: Path) -> Iterator[Sandbox]:
    """Return a sandbox with a standing clock, in which an import takes 100 s, 10 s of them in the queue."""
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


def _stand(sandbox: Sandbox, started: dict[str, Any]) -> tuple[str, str, str]:
    """Return the task's status and percent, and the image's status."""
    task, image = _task(sandbox, started), _image(sandbox, started)
    return task["TaskStatus"], task["TaskProcess"], image["Status"] if image else "gone"


def test_an_import_proceeds_by_the_clock(still: Sandbox) -> None:
    """The task is Waiting, Processing with a progress, then Finished. The image is Available later."""
    started = _begin(still)
    assert _stand(still, started) == ("Waiting", "0%", "Creating")
    still.clock.advance(10)
    assert _stand(still, started) == ("Processing", "0%", "Creating")
    still.clock.advance(40)
    assert _stand(still, started) == ("Processing", "40%", "Creating")
    still.clock.advance(59)
    assert _stand(still, started) == ("Processing", "99%", "Creating")
    still.clock.advance(1)
    assert _stand(still, started) == ("Finished", "100%", "Creating")
    still.clock.advance(5)
    assert _stand(still, started) == ("Finished", "100%", "Available")


def test_an_image_shows_its_progress(still: Sandbox) -> None:
    """Progress and remaining time during the import, 100 % when it is Available."""
    started = _begin(still)
    still.clock.advance(50)
    image = _image(still, started)
    assert image is not None
    disk = image["DiskDeviceMappings"]["DiskDeviceMapping"][0]
    assert (image["Progress"], disk["Progress"], disk["RemainTime"]) == ("40%", "40%", 60)
    still.clock.advance(60)
    image = _image(still, started)
    assert image is not None
    assert (image["Status"], image["Progress"]) == ("Creating", "99%")
    still.clock.advance(5)
    image = _image(still, started)
    assert image is not None
    assert (image["Progress"], image["DiskDeviceMappings"]["DiskDeviceMapping"][0]["RemainTime"]) == ("100%", 0)


def test_a_task_has_the_documented_shape(still: Sandbox) -> None:
    """The progress is a string, counts are numbers, times have no seconds, the reason is in OperationProgressSet."""
    started = _begin(still)
    still.clock.advance(50)
    task = _task(still, started)
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
    still.clock.advance(60)
    task = _task(still, started)
    assert (task["FinishedTime"], task["SuccessCount"], task["SupportCancel"]) == ("2026-11-24T10:02Z", 1, False)


def test_the_list_of_tasks_has_the_documented_shape(still: Sandbox) -> None:
    """TaskSet is an object, and a task names its image as ResourceId."""
    started = _begin(still)
    listed = call(still, "DescribeTasks")
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


def test_tasks_are_filtered_and_paged(still: Sandbox) -> None:
    """Filters are ids, images, time, and three of the statuses. The newest task is first."""
    first = _begin(still, ImageName="first")
    still.clock.advance(120)
    second = _begin(still, ImageName="second")

    def ids(**fields: Any) -> list[str]:
        return [task["TaskId"] for task in call(still, "DescribeTasks", **fields)["TaskSet"]["Task"]]

    both = [second["TaskId"], first["TaskId"]]
    assert ids() == both
    assert ids(TaskIds=f"{first['TaskId']},none") == [first["TaskId"]]
    # A filter that the SDK has no setter for.
    fields = {"RegionId": "cn-hangzhou", "ResourceIds.1": second["ImageId"]}
    by_image = json.loads(send(still, signed(still, "DescribeTasks", fields)).text)
    assert [task["TaskId"] for task in by_image["TaskSet"]["Task"]] == [second["TaskId"]]
    assert ids(TaskStatus="Finished") == [first["TaskId"]]
    assert ids(TaskStatus="Failed") == []
    assert ids(TaskStatus="Waiting") == both
    assert ids(TaskAction="ImportImage") == both
    assert ids(TaskAction="ExportImage") == []
    assert ids(StartTime="2026-11-24T10:01:00Z") == [second["TaskId"]]
    assert ids(EndTime="2026-11-24T10:01:00Z") == [first["TaskId"]]
    assert ids(PageSize=1, PageNumber=2) == [first["TaskId"]]
    assert call(still, "DescribeTasks", PageSize=1)["TotalCount"] == 2
    assert refusal(still, "DescribeTasks", PageSize=101) == (400, "InvalidParameter")


def test_tasks_belong_to_account_and_region(still: Sandbox) -> None:
    """Other accounts and regions do not list them."""
    started = _begin(still)
    other = still.state.add_key(AccessKey(id="OTHER", secret="x", account_id="2000000000000000"))
    unknown = (400, "InvalidTaskId.NotFound")
    assert refusal(still, "DescribeTaskAttribute", key=other, TaskId=started["TaskId"]) == unknown
    assert refusal(still, "DescribeTaskAttribute", region="cn-shanghai", TaskId=started["TaskId"]) == unknown
    assert call(still, "DescribeTasks", region="cn-shanghai")["TotalCount"] == 0


def test_a_new_task_can_be_unknown_for_a_while(still: Sandbox) -> None:
    """With task_hidden_s, both calls omit it for this time."""
    still.state.configure(task_hidden_s=5.0)
    started = _begin(still)
    assert call(still, "DescribeTasks", TaskIds=started["TaskId"])["TotalCount"] == 0
    assert refusal(still, "DescribeTaskAttribute", TaskId=started["TaskId"]) == (400, "InvalidTaskId.NotFound")
    still.clock.advance(5)
    assert _task(still, started)["TaskStatus"] == "Waiting"


def test_a_cancelled_task_is_deleted_and_its_image_gone(still: Sandbox) -> None:
    """The name can be used again."""
    started = _begin(still, ImageName="disk")
    still.clock.advance(50)
    call(still, "CancelTask", TaskId=started["TaskId"])
    assert _stand(still, started) == ("Deleted", "40%", "gone")
    assert refusal(still, "CancelTask", TaskId=started["TaskId"]) == (403, "InvalidTaskId.IncorrectTaskStatus")
    assert _begin(still, ImageName="disk")
    assert refusal(still, "CancelTask", TaskId="t-none") == (400, "InvalidTaskId.NotFound")


def test_a_finished_task_cannot_be_cancelled(still: Sandbox) -> None:
    """The service has a code for it."""
    started = _begin(still)
    still.clock.advance(110)
    assert refusal(still, "CancelTask", TaskId=started["TaskId"]) == (403, "InvalidTaskId.IncorrectTaskStatus")


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
def test_a_damaged_disk_fails_the_task_with_its_reason(still: Sandbox, data: bytes, declared: str, reason: str) -> None:
    """The call succeeds. The error of the task contains the disk and the reason."""
    put(still, "bad.vhd", data)
    disks = [mapping(), mapping("bad.vhd", **({"Format": declared} if declared else {}))]
    started = call(still, "ImportImage", DiskDeviceMappings=disks)
    still.clock.advance(20)
    assert _stand(still, started) == ("Failed", "5%", "CreateFailed")
    task = _task(still, started)
    (progress,) = task["OperationProgressSet"]["OperationProgress"]
    assert (task["FailedCount"], task["SuccessCount"], progress["OperationStatus"]) == (1, 0, "Failed")
    assert progress["ErrorCode"] == "InvalidImageFormat.Malformed"
    assert progress["ErrorMsg"].startswith("DiskDeviceMapping.2: ")
    assert reason in progress["ErrorMsg"]
    assert task["FinishedTime"] == "2026-11-24T10:00Z"


def test_whole_disks_of_all_formats_are_imported(still: Sandbox) -> None:
    """This includes RAW without a boot record, which is not checked."""
    put(still, "a.raw", bytes(MIB))
    put(still, "b.vhd", fixed_vhd(bytes(MIB)))
    put(still, "c.vhd", dynamic_vhd(4 * MIB, table=(4,)))
    put(still, "d.qcow2", qcow2())
    started = [_begin(still, key) for key in ("a.raw", "b.vhd", "c.vhd", "d.qcow2")]
    still.clock.advance(115)
    assert {_stand(still, each) for each in started} == {("Finished", "100%", "Available")}


def test_a_failed_import_can_leave_nothing(still: Sandbox) -> None:
    """This is a setting, because the behaviour of the service is not documented."""
    still.state.configure(failed_image="", import_outcome="failed")
    started = _begin(still)
    still.clock.advance(110)
    assert _stand(still, started) == ("Failed", "50%", "gone")


def test_an_import_fails_as_configured(still: Sandbox) -> None:
    """Progress, code and message are those of the settings."""
    still.state.configure(
        import_outcome="failed", import_stops_at_percent=30, import_error=("ParameterInvalid", "No such luck.")
    )
    started = _begin(still)
    still.clock.advance(39)
    assert _stand(still, started) == ("Processing", "29%", "Creating")
    still.clock.advance(1)
    assert _stand(still, started) == ("Failed", "30%", "CreateFailed")
    (progress,) = _task(still, started)["OperationProgressSet"]["OperationProgress"]
    assert (progress["ErrorCode"], progress["ErrorMsg"]) == ("ParameterInvalid", "No such luck.")


@pytest.mark.parametrize(
    ("outcome", "stand"),
    [
        ("paused", ("Paused", "50%", "Creating")),
        ("stuck", ("Processing", "50%", "Creating")),
        ("unavailable", ("Finished", "100%", "UnAvailable")),
    ],
)
def test_an_import_ends_as_configured(still: Sandbox, outcome: str, stand: tuple[str, str, str]) -> None:
    """The task is Paused, Processing without end, or Finished with an UnAvailable image."""
    still.state.configure(import_outcome=outcome)
    started = _begin(still)
    still.clock.advance(100_000)
    assert _stand(still, started) == stand


def test_settings_apply_to_new_imports(still: Sandbox) -> None:
    """A running import does not change."""
    before = _begin(still)
    still.state.configure(import_outcome="failed")
    still.clock.advance(115)
    assert _stand(still, before) == ("Finished", "100%", "Available")


def test_an_outcome_that_is_none_is_refused(still: Sandbox) -> None:
    """A mistyped outcome must not act as a success."""
    with pytest.raises(ValueError, match="import_outcome takes one of finished, failed"):
        still.state.configure(import_outcome="fail")


def test_settings_can_be_sent_over_http(still: Sandbox) -> None:
    """The control plane changes the settings from another process."""
    body = b'{"import_outcome": "failed", "import_error": ["ParameterInvalid", "From outside."]}'
    request = Request(f"{still.url}/_sandbox/settings", data=body, method="POST")
    with build_opener(ProxyHandler({})).open(request, timeout=10):
        pass
    started = _begin(still)
    still.clock.advance(110)
    (progress,) = _task(still, started)["OperationProgressSet"]["OperationProgress"]
    assert progress["ErrorMsg"] == "From outside."


@pytest.mark.parametrize("change", ["removed", "replaced"])
def test_an_object_removed_while_it_is_read_fails_the_import(still: Sandbox, change: str) -> None:
    """This holds also if the task is read long after."""
    started = _begin(still)
    still.clock.advance(50)
    if change == "removed":
        remove(still, "disk.raw")
    else:
        put(still, "disk.raw", b"another disk")
    still.clock.advance(1000)
    assert _stand(still, started) == ("Failed", "40%", "CreateFailed")
    task = _task(still, started)
    (progress,) = task["OperationProgressSet"]["OperationProgress"]
    assert (progress["ErrorCode"], task["FinishedTime"]) == ("InvalidOSSObject.NotFound", "2026-11-24T10:01Z")


def test_an_object_removed_after_a_failure_does_not_change_the_reason(still: Sandbox) -> None:
    """The damage was found first, independent of the time of the read."""
    put(still, "disk.raw", qcow2())
    started = call(still, "ImportImage", DiskDeviceMappings=[mapping(Format="RAW")])
    still.clock.advance(50)
    remove(still, "disk.raw")
    (progress,) = _task(still, started)["OperationProgressSet"]["OperationProgress"]
    assert progress["ErrorCode"] == "InvalidImageFormat.Malformed"


def test_an_object_removed_in_the_queue_fails_the_import_at_its_start(still: Sandbox) -> None:
    """The import has read nothing before."""
    started = _begin(still)
    remove(still, "disk.raw")
    assert _stand(still, started) == ("Waiting", "0%", "Creating")
    still.clock.advance(10)
    assert _stand(still, started) == ("Failed", "0%", "CreateFailed")


def test_an_object_can_be_removed_after_the_task(still: Sandbox) -> None:
    """This holds also if the task was not read before."""
    started = _begin(still)
    still.clock.advance(111)
    remove(still, "disk.raw")
    still.clock.advance(10)
    assert _stand(still, started) == ("Finished", "100%", "Available")


def test_an_import_may_take_no_time(still: Sandbox) -> None:
    """Tests that do not need the progress use this."""
    still.state.configure(import_s=0.0, image_ready_s=0.0)
    assert _stand(still, _begin(still)) == ("Finished", "100%", "Available")


def test_a_check_runs_after_the_image_is_available(still: Sandbox) -> None:
    """With DetectionStrategy=Standard, DetectionOptions is Processing for a time, then Finished with its findings."""
    item = {"Name": "GUESTOS.Nvme", "Value": "Unsupported", "RiskLevel": "High", "RiskCode": "NVMe.NotInstallded"}
    still.state.configure(image_check_s=120.0, image_check_items=(item,))

    def detection() -> object:
        image = _image(still, started)
        assert image is not None
        return image.get("DetectionOptions")

    started = _begin(still, DetectionStrategy="Standard")
    still.clock.advance(110)
    assert detection() is None
    still.clock.advance(5)
    assert detection() == {"Status": "Processing", "Items": {"Item": []}}
    still.clock.advance(120)
    assert detection() == {"Status": "Finished", "Items": {"Item": [item]}}
