"""Values that describe import tasks and custom images."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

# Tags of an image: the push that created it, and a digest of its disks. They prove that this tool created the image.
# ECS refuses keys that begin with "aliyun" or "acs:".
PUSH_ID_TAG = "import-push-id"
DISK_DIGEST_TAG = "import-disk-digest"


class TaskStatus(StrEnum):
    """Status of a task. An unlisted word becomes UNKNOWN; Task.status_text keeps it."""

    WAITING = "Waiting"
    PROCESSING = "Processing"
    FINISHED = "Finished"
    FAILED = "Failed"
    DELETED = "Deleted"
    PAUSED = "Paused"
    UNKNOWN = "Unknown"

    @property
    def running(self) -> bool:
        """Whether the task may still change."""
        return self in (TaskStatus.WAITING, TaskStatus.PROCESSING, TaskStatus.UNKNOWN)


class ImageStatus(StrEnum):
    """Status of an image. An unlisted word is kept; it is neither usable nor failed."""

    CREATING = "Creating"
    WAITING = "Waiting"
    AVAILABLE = "Available"
    DEPRECATED = "Deprecated"
    UNAVAILABLE = "UnAvailable"
    CREATE_FAILED = "CreateFailed"

    @classmethod
    def _missing_(cls, value: object) -> Self:
        member = str.__new__(cls, value)
        member._name_ = "OTHER"
        member._value_ = str(value)
        return member

    @property
    def usable(self) -> bool:
        """Whether instances can start from it. A deprecated image was available, and still starts."""
        return self in (ImageStatus.AVAILABLE, ImageStatus.DEPRECATED)

    @property
    def is_being_created(self) -> bool:
        """Whether it may become usable: its import still reads its objects."""
        return not self.usable and not self.failed

    @property
    def failed(self) -> bool:
        """Whether it will never be usable."""
        return self in (ImageStatus.UNAVAILABLE, ImageStatus.CREATE_FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An import task as the service describes it, and the name of its image, "" if unknown.

    `percent` is None if the service did not state it; `error_code` and `error_message` are empty unless it failed.
    """

    task_id: str
    action: str
    status: TaskStatus
    status_text: str
    percent: int | None = None
    image_id: str = ""
    image_name: str = ""
    can_cancel: bool | None = None
    created: str = ""
    finished: str = ""
    error_code: str = ""
    error_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedImport:
    """Answer to ImportImage."""

    task_id: str
    image_id: str
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A custom image as DescribeImages describes it.

    `usable` is the service's Usable, None if it is not stated. `sources` are the oss:// URLs of the imported objects,
    if the service states them. `detection` has the items of the service's image check, `detection_status` its progress
    ("Processing", "Finished", or empty).
    """

    image_id: str
    name: str
    status: ImageStatus
    percent: int | None = None
    size_gib: int | None = None
    created: str = ""
    usable: bool | None = None
    boot_mode: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    detection: tuple[Mapping[str, str], ...] = ()
    detection_status: str = ""

    @property
    def is_usable(self) -> bool:
        """Whether instances can start from it, by its status and by the service's Usable."""
        return self.status.usable and self.usable is not False
