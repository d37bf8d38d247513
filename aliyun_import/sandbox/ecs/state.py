"""This file keeps what ECS holds: images, import tasks, snapshots, and the client tokens that were used."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.serializers import Value
from aliyun_import.sandbox.core.state import State


@dataclass(frozen=True, kw_only=True)
class ImageDisk:
    """One disk of an image, and the object that it came from."""

    bucket: str
    key: str
    format: str
    size_gib: int
    snapshot_id: str


@dataclass(kw_only=True)
class Image:
    """A custom image. Its status while it is being imported is written by `images.settle`."""

    id: str
    account_id: str
    region: str
    name: str
    description: str
    architecture: str
    os_type: str
    platform: str
    boot_mode: str
    license_type: str
    resource_group: str
    nvme_support: str
    imds_support: str
    detection: str
    """DetectionStrategy: Standard, or empty."""
    disks: tuple[ImageDisk, ...]
    created_s: float
    tags: dict[str, str] = field(default_factory=dict)
    family: str = ""
    owner_alias: str = "self"
    status: str = "Creating"
    percent: int = 0
    remain_s: int = 0
    """How long its import will still take."""
    ready_s: float | None = None
    """When it became, or becomes, Available."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an import will go, fixed when it begins."""

    begins_s: float
    ends_s: float
    ready_after_s: float
    ending: str
    """finished, failed, paused, stuck or unavailable."""
    stops_at_percent: int
    error_code: str
    error_message: str


@dataclass(kw_only=True)
class Task:
    """An import task. Its status is written by `images.settle`."""

    id: str
    account_id: str
    region: str
    image_id: str
    created_s: float
    visible_s: float
    outcome: Outcome
    disks: tuple[ImageDisk, ...]
    lost_s: list[float] = field(default_factory=list)
    """When objects that it reads were removed or replaced."""
    status: str = "Waiting"
    percent: int = 0
    finished_s: float | None = None
    error_code: str = ""
    error_message: str = ""

    @property
    def running(self) -> bool:
        """Tell whether the task can still be cancelled."""
        return self.status in ("Waiting", "Processing")


class Ecs:
    """The images and tasks of all accounts and regions. Every use holds the state's lock."""

    def __init__(self, state: State) -> None:
        del state
        self.images: dict[str, Image] = {}
        self.tasks: dict[str, Task] = {}
        self.snapshots: dict[str, tuple[str, str]] = {}
        """Snapshot id -> (account, region)."""
        self.tokens: dict[tuple[str, str], tuple[Mapping[str, str], dict[str, Value]]] = {}
        """(account, client token) -> the parameters that it was used with, and what they were answered."""
        self._numbers = itertools.count(1)

    def new_id(self, kind: str) -> str:
        """Make an id of a kind (m, t, s) that nobody takes for a real one."""
        return f"{kind}-sandbox{next(self._numbers):012d}"

    def images_of(self, account_id: str, region: str) -> Iterator[Image]:
        """Give an account's images in a region, newest first."""
        found = [image for image in self.images.values() if (image.account_id, image.region) == (account_id, region)]
        return iter(sorted(found, key=lambda image: image.id, reverse=True))

    def tasks_of(self, account_id: str, region: str) -> Iterator[Task]:
        """Give an account's tasks in a region, newest first."""
        found = [task for task in self.tasks.values() if (task.account_id, task.region) == (account_id, region)]
        return iter(sorted(found, key=lambda task: task.id, reverse=True))

    def image(self, account_id: str, region: str, image_id: str) -> Image:
        """Find an image; refuses with InvalidImageId.NotFound."""
        found = self.images.get(image_id)
        if found is None or (found.account_id, found.region) != (account_id, region):
            raise Refusal("InvalidImageId.NotFound")
        return found

    def count_snapshots(self, account_id: str, region: str) -> int:
        """Count an account's snapshots in a region."""
        return sum(1 for place in self.snapshots.values() if place == (account_id, region))
