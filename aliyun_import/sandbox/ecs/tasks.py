"""Operations on tasks of imports and exports."""

import re

from aliyun_import.sandbox.core.rpc import RpcCall, Value, utc_minutes, utc_seconds
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.ecs.rules import MAX_LISTED, paged, region_of
from aliyun_import.sandbox.ecs.state import Ecs, Task, owned
from aliyun_import.sandbox.importer import engine

# Values by which DescribeTasks filters. It ignores every other TaskStatus.
_FILTERED = frozenset({"Finished", "Processing", "Failed"})
_OPERATION_STATUS = {"Finished": "Success", "Failed": "Failed"}


def describe_tasks(call: RpcCall) -> dict[str, Value]:
    """DescribeTasks: the tasks of an account in a region, newest first, in pages."""
    region = region_of(call)
    found = [task for task in _visible(call, region) if _is_requested(call, task)]
    return paged(call, "TaskSet", "Task", found, _summary) | {"RegionId": region}


def describe_task_attribute(call: RpcCall) -> dict[str, Value]:
    """DescribeTaskAttribute: the progress of a task, and the reason of a failure."""
    region = region_of(call)
    task = _task(call, region)
    # The items of a running import are not documented; these are the items of the only published example.
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
        "TaskAction": task.action,
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
    """CancelTask: cancel a running task, and remove the image of an import."""
    task = _task(call, region_of(call))
    if not task.running:
        raise Refusal("InvalidTaskId.IncorrectTaskStatus")
    engine.cancel(call.state, task)
    return {}


def _visible(call: RpcCall, region: str) -> list[Task]:
    engine.refresh(call.state)
    now_s = call.state.clock.now_s()
    return [task for task in owned(call.state.part(Ecs).tasks, call.account_id, region) if task.visible_s <= now_s]


def _task(call: RpcCall, region: str) -> Task:
    task_id = call.required("TaskId")
    for task in _visible(call, region):
        if task.id == task_id:
            return task
    raise Refusal("InvalidTaskId.NotFound")


def _is_requested(call: RpcCall, task: Task) -> bool:
    ids = call.listed("TaskIds")
    if len(ids) > MAX_LISTED:
        raise Refusal("InvalidParameter", "TaskIds")
    image_ids = call.numbered("ResourceIds").values()
    status = call.get("TaskStatus")
    start, end = _moment(call, "StartTime"), _moment(call, "EndTime")
    created = utc_seconds(task.created_s)
    return (
        (not ids or task.id in ids)
        and (not image_ids or task.image_id in image_ids)
        and call.get("TaskAction", task.action) == task.action
        and (status not in _FILTERED or task.status == status)
        and (not start or created >= start)
        and (not end or created <= end)
    )


def _moment(call: RpcCall, name: str) -> str:
    """Return a time for comparison as a string. Refuses with InvalidParameter."""
    text = call.get(name)
    if text and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text):
        raise Refusal("InvalidParameter", name)
    return text


def _summary(task: Task) -> Value:
    return {
        "TaskId": task.id,
        "TaskAction": task.action,
        "TaskStatus": task.status,
        "SupportCancel": task.running,
        "CreationTime": utc_minutes(task.created_s),
        "FinishedTime": _finished(task),
        "ResourceId": task.image_id,
    }


def _finished(task: Task) -> str:
    return "" if task.finished_s is None else utc_minutes(task.finished_s)
