"""Values that describe import tasks and custom images."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class TaskStatus(StrEnum):
    """TaskStatus; a word that is not in here is kept by the adapter as UNKNOWN with its own text."""

    WAITING = "Waiting"
    PROCESSING = "Processing"
    FINISHED = "Finished"
    FAILED = "Failed"
    DELETED = "Deleted"
    PAUSED = "Paused"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An import task as the service tells it.

    `percent` is None where the service did not say; `error_code` and `error_message` are empty unless it failed.
    """

    task_id: str
    action: str
    status: TaskStatus
    status_text: str
    percent: int | None = None
    image_id: str = ""
    can_cancel: bool | None = None
    created: str = ""
    finished: str = ""
    error_code: str = ""
    error_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedImport:
    """What ImportImage answered."""

    task_id: str
    image_id: str
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A custom image as DescribeImages tells it; `status` is the service's word ("Creating", "Available"...).

    `detection` are the items of the service's image check, `detection_status` its word for how far that is
    ("Processing", "Finished"; empty where it says nothing).
    """

    image_id: str
    name: str
    status: str
    percent: int | None = None
    size_gib: int | None = None
    created: str = ""
    usable: bool | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    detection: tuple[Mapping[str, str], ...] = ()
    detection_status: str = ""


# The tags by which an image is known to be ours: which push made it, and of which disk. ECS refuses keys that
# begin with "aliyun" or "acs:".
PUSH_ID_TAG = "import-push-id"


DISK_DIGEST_TAG = "import-disk-digest"
