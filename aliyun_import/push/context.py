"""This file holds the nouns of a push as a whole: what it was told, what it works with, what came of it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aliyun_import.context import Clock
from aliyun_import.events import Emit
from aliyun_import.journal import default_state_dir
from aliyun_import.model.objects import UploadedObject
from aliyun_import.services.interface import Identity, ImageService, ObjectStore, RoleService
from aliyun_import.upload.context import TransferOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """The services of one region, ready to be asked. `store` gives a bucket's store by the bucket's name.

    `endpoint` is "" for the real cloud, else the URL that stands in for it: pushes to different clouds never share a
    journal. `oss_endpoint` is where objects go, by which measured rates are kept; "" keeps none.
    """

    identity: Identity
    store: Callable[[str], ObjectStore]
    roles: RoleService
    images: ImageService
    endpoint: str = ""
    oss_endpoint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOptions:
    """How the push shall go about it, beside what the image shall be (ImportRequest).

    `name_given` tells whether the user chose the image's name.
    `replace` is None, "rename" or "delete": what becomes of the image that has the name.
    """

    transfer: TransferOptions = field(default_factory=TransferOptions)
    state_dir: Path = field(default_factory=default_state_dir)
    work_dir: Path | None = None
    bucket: str | None = None
    key: str | None = None
    base_key: str | None = None
    timeout_s: float | None = None
    wait: bool = True
    dry_run: bool = False
    force: bool = False
    force_new: bool = False
    fix_role: bool = False
    cancel_on_interrupt: bool = False
    replace: str | None = None
    name_given: bool = True
    skip_checks: frozenset[str] = frozenset()

    @property
    def conversion_dir(self) -> Path:
        """Directory of converted disks: `work_dir`, or one beside the journals."""
        return self.work_dir or self.state_dir / "work"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushContext:
    """What every stage works with. `emit` is called from the thread that called `push` only."""

    options: PushOptions
    cloud: Cloud
    clock: Clock
    emit: Emit
    stop: threading.Event


@dataclass(frozen=True, slots=True, kw_only=True)
class PushResult:
    """What came of a push. `image_status` is the service's last word on the image.

    With wait=False the import goes on and `task_id` is what to follow; in a dry run both ids are empty and `plan` says
    what would have been done. `left_over` names every object that stays in the bucket.
    """

    region: str
    image_name: str
    image_id: str = ""
    task_id: str = ""
    push_id: str = ""
    image_status: str = ""
    objects: tuple[UploadedObject, ...] = ()
    left_over: tuple[str, ...] = ()
    sent_bytes: int = 0
    seconds: float = 0.0
    dry_run: bool = False
    already_there: bool = False
    plan: dict[str, Any] = field(default_factory=dict)
