"""This file reads tasks and images out of ECS's answers, leniently: the documents differ on names, types and forms."""

from aliyun_import.cloud.transport.rpc_response import Fields, objects, text, truth, whole
from aliyun_import.model.image import Image, ImageStatus, Task, TaskStatus

_STATUSES = {status.value.lower(): status for status in TaskStatus}


def task_of(fields: Fields) -> Task:
    """Read a task of DescribeTasks (without percent and reason) or DescribeTaskAttribute (with them)."""
    status_text = text(fields, "TaskStatus")
    operations = objects(fields, "OperationProgressSet", "OperationProgress")
    failed = next((one for one in operations if text(one, "ErrorCode") or text(one, "ErrorMsg")), {})
    items = [item for one in operations for item in objects(one, "RelatedItemSet", "RelatedItem")]
    related = {text(item, "Name"): text(item, "Value") for item in items}
    percent = whole(fields, "TaskProcess")
    return Task(
        task_id=text(fields, "TaskId"),
        action=text(fields, "TaskAction"),
        status=_STATUSES.get(status_text.lower(), TaskStatus.UNKNOWN),
        status_text=status_text,
        # The very old page calls it Progress.
        percent=whole(fields, "Progress") if percent is None else percent,
        image_id=text(fields, "ResourceId") or related.get("ImageId", ""),
        can_cancel=truth(fields, "SupportCancel"),
        created=text(fields, "CreationTime"),
        finished=text(fields, "FinishedTime"),
        error_code=text(failed, "ErrorCode"),
        error_message=text(failed, "ErrorMsg"),
    )


def image_of(fields: Fields) -> Image:
    """Read an image of DescribeImages."""
    options = fields.get("DetectionOptions")
    detection = objects(options, "Items", "Item") if isinstance(options, dict) else ()
    return Image(
        image_id=text(fields, "ImageId"),
        name=text(fields, "ImageName"),
        status=ImageStatus(text(fields, "Status")),
        percent=whole(fields, "Progress"),
        size_gib=whole(fields, "Size"),
        created=text(fields, "CreationTime"),
        usable=truth(fields, "Usable"),
        tags={text(tag, "TagKey"): text(tag, "TagValue") for tag in objects(fields, "Tags", "Tag")},
        detection=tuple({name: text(item, name) for name in item} for item in detection),
        detection_status=text(options, "Status") if isinstance(options, dict) else "",
    )
