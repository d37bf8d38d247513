"""This file is what ECS tells about tasks: DescribeTasks, DescribeTaskAttribute, CancelTask."""

import re

from aliyun_import.sandbox.core.rpc_call import RpcCall
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.serializers import Value, utc_minutes, utc_seconds
from aliyun_import.sandbox.ecs.regions import region_of
from aliyun_import.sandbox.ecs.state import Ecs, Task
from aliyun_import.sandbox.importer import engine as images

MAX_PAGE_SIZE = 100
# DescribeTasks honours these three; any other value filters nothing.
_FILTERED = frozenset({"Finished", "Processing", "Failed"})
_OPERATION_STATUS = {"Finished": "Success", "Failed": "Failed"}


def describe_tasks(call: RpcCall) -> dict[str, Value]:
    """List an account's tasks in a region, newest first, page by page."""
    region = region_of(call)
    number = call.number("PageNumber", default=1)
    size = call.number("PageSize", default=10, high=MAX_PAGE_SIZE)
    found = [task for task in _visible(call, region) if _asked_for(call, task)]
    page = found[(number - 1) * size : number * size]
    return {
        "PageNumber": number,
        "PageSize": size,
        "TotalCount": len(found),
        "RegionId": region,
        "TaskSet": {"Task": [_summary(task) for task in page]},
    }


def describe_task_attribute(call: RpcCall) -> dict[str, Value]:
    """Tell one task's percent, and the reason when it failed."""
    region = region_of(call)
    task = _task(call, region)
    # Which items a running import has is not published; these are those of the one published sample.
    system_disk = task.disks[0]
    items: list[Value] = [
        {"Name": "OSSBucket", "Value": system_disk.bucket},
        {"Name": "OSSObject", "Value": system_disk.key},
        {"Name": "ImageFormat", "Value": system_disk.format.lower()},
    ]
    progress: dict[str, Value] = {
        "OperationStatus": _OPERATION_STATUS.get(task.status, ""),
        "ErrorCode": task.error_code,
        "ErrorMsg": task.error_message,
        "RelatedItemSet": {"RelatedItem": items},
    }
    return {
        "RegionId": region,
        "TaskId": task.id,
        "TaskAction": "ImportImage",
        "TaskStatus": task.status,
        "TaskProcess": f"{task.percent}%",
        "SupportCancel": task.running,
        "CreationTime": utc_minutes(task.created_s),
        "FinishedTime": _finished(task),
        "TotalCount": 1,
        "SuccessCount": int(task.status == "Finished"),
        "FailedCount": int(task.status == "Failed"),
        "OperationProgressSet": {"OperationProgress": [progress]},
    }


def cancel_task(call: RpcCall) -> dict[str, Value]:
    """Cancel a task that is running; its image goes with it."""
    task = _task(call, region_of(call))
    if not task.running:
        raise Refusal("InvalidTaskId.IncorrectTaskStatus")
    images.cancel(call.state, task)
    return {}


def _visible(call: RpcCall, region: str) -> list[Task]:
    images.settle(call.state)
    now_s = call.state.clock.now_s()
    return [task for task in call.state.part(Ecs).tasks_of(call.account_id, region) if task.visible_s <= now_s]


def _task(call: RpcCall, region: str) -> Task:
    task_id = call.required("TaskId")
    for task in _visible(call, region):
        if task.id == task_id:
            return task
    raise Refusal("InvalidTaskId.NotFound")


def _asked_for(call: RpcCall, task: Task) -> bool:
    ids = call.listed("TaskIds")
    if len(ids) > MAX_PAGE_SIZE:
        raise Refusal("InvalidParameter", "TaskIds")
    images_asked = call.numbered("ResourceIds").values()
    status = call.get("TaskStatus")
    start, end = _moment(call, "StartTime"), _moment(call, "EndTime")
    created = utc_seconds(task.created_s)
    return (
        (not ids or task.id in ids)
        and (not images_asked or task.image_id in images_asked)
        and call.get("TaskAction", "ImportImage") == "ImportImage"
        and (status not in _FILTERED or task.status == status)
        and (not start or created >= start)
        and (not end or created <= end)
    )


def _moment(call: RpcCall, name: str) -> str:
    """Give a time filter; such texts sort as the moments do."""
    text = call.get(name)
    if text and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text):
        raise Refusal("InvalidParameter", name)
    return text


def _summary(task: Task) -> Value:
    return {
        "TaskId": task.id,
        "TaskAction": "ImportImage",
        "TaskStatus": task.status,
        "SupportCancel": task.running,
        "CreationTime": utc_minutes(task.created_s),
        "FinishedTime": _finished(task),
        "ResourceId": task.image_id,
    }


def _finished(task: Task) -> str:
    return "" if task.finished_s is None else utc_minutes(task.finished_s)
