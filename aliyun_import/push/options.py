"""Options of a push, its result, and what its stages share."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aliyun_import.boot.instance_choice import Cloud, Confirm
from aliyun_import.context import Context
from aliyun_import.disk.disk import OpenDisks
from aliyun_import.model.arguments import check_fields, require_in_range, require_positive
from aliyun_import.model.boot import BootTest, CloudBootTest
from aliyun_import.model.objects import UploadedObject
from aliyun_import.services import Services
from aliyun_import.upload.context import TransferOptions
from aliyun_import.user_directories import state_directory


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOptions:
    """Options of a push that do not describe the image, as ImportRequest does.

    `state_dir` holds the journals, `work_dir` converted disks (None: a folder beside the journals).
    `boot_test` is None, "local" (start the system disk in QEMU first) or "cloud"
    (start an instance of the new image, which costs money, before the image gets its name). A boot takes at most
    `boot_timeout_s`; `boot_log` and `boot_screen` are files for the console and the last screen. The instance uses
    `vswitch_id` and `security_group_id` (None: those with the tag `import-boot-test`). `keep_last` is the number of
    kept objects, and of replaced images, of this name that stay (None: all). `replace` is None, "rename" or "delete":
    what happens to the image that has the name. Raises UsageError "argument-invalid" for other values, and for numbers
    that the options of the command refuse.
    """

    transfer: TransferOptions = field(default_factory=TransferOptions)
    state_dir: Path = field(default_factory=state_directory)
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
    replace: Literal["rename", "delete"] | None = None
    keep_last: int | None = None
    skip_checks: frozenset[str] = frozenset()
    boot_test: Literal["local", "cloud"] | None = None
    boot_timeout_s: float | None = None
    boot_log: Path | None = None
    boot_screen: Path | None = None
    vswitch_id: str | None = None
    security_group_id: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        require_in_range("keep_last", self.keep_last, 1)
        require_in_range("timeout_s", self.timeout_s, 0)
        require_positive("boot_timeout_s", self.boot_timeout_s)

    @property
    def conversion_dir(self) -> Path:
        """Directory of converted disks: `work_dir`, or one beside the journals."""
        return self.work_dir or self.state_dir / "work"

    @property
    def is_named_last(self) -> bool:
        """Whether the image is imported under a temporary name, and gets its own name at the end."""
        return self.replace is not None or self.boot_test == "cloud"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRun:
    """Values shared by the stages of one push. `services` retry; events are emitted on the thread that called `push`.

    `disks` keeps each local disk open for all stages. `is_name_given`: the user chose the name of the image. `cloud` is
    for a boot test of the image, and `confirm` is called before its instance is started.
    """

    options: PushOptions
    services: Services
    context: Context
    disks: OpenDisks
    is_name_given: bool = True
    cloud: Cloud | None = None
    confirm: Confirm = lambda _: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Kept objects of an image name, their total size, and the images that were replaced."""

    objects: tuple[str, ...] = ()
    object_bytes: int = 0
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PushResult:
    """Result of a push. `image_status` is the last status that the service reported.

    With wait=False the import continues, and `task_id` is the task to follow. In a dry run both ids are empty unless
    the image or its import exists already, and `plan` holds what would be done. `left_over` has the URL of every object
    that stays in the bucket. `sent_bytes` were sent by this run. `saved_bytes` were not sent: OSS created them from
    zeros or copied them from an earlier object. `architecture` is that of the image, "" if it is not known. `boot_test`
    is the boot test of the disk in this run, `cloud_boot_test` that of the image. `kept` includes earlier pushes of
    this image name.
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
    saved_bytes: int = 0
    kept: Kept = field(default_factory=Kept)
    architecture: str = ""
    seconds: float = 0.0
    dry_run: bool = False
    already_there: bool = False
    plan: dict[str, Any] = field(default_factory=dict)
    boot_test: BootTest | None = None
    cloud_boot_test: CloudBootTest | None = None
