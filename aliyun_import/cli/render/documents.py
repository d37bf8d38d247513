"""Types of the JSON documents: what `--output json` and `jsonl` write. schema.json is generated from them.

Fields may be added; none is renamed or removed within a schema.
"""

from typing import Any, Literal, NotRequired, TypedDict

from aliyun_import.cli.render.result import Result
from aliyun_import.disk.guest.report import GuestReport
from aliyun_import.disk.report import BootEvidence, Partition
from aliyun_import.model.boot import Bus, Stage, Verdict
from aliyun_import.model.finding import Severity
from aliyun_import.model.image import Task
from aliyun_import.model.request import Architecture, BootMode
from aliyun_import.push.options import Kept
from aliyun_import.role.ensure import RoleOutcome


class ErrorDocument(TypedDict):
    """An error, in place of a result."""

    type: Literal["error"]
    schema: Literal[1]
    code: str
    exit_code: int
    summary: str
    cause: str | None
    remedy: str | None
    resumable: bool
    details: dict[str, str]


class FindingDocument(TypedDict):
    """A finding of the checks."""

    rule: str
    severity: Severity
    message: str
    seen: str
    where: str | None
    remedy: str | None
    subject: str
    source: str


class ObjectDocument(TypedDict):
    """An object that a disk was uploaded to."""

    bucket: str
    key: str
    size_bytes: int
    crc64: str
    etag: str
    proof: str
    sent_bytes: int
    saved_bytes: int
    made_by_us: bool


class DiskPlanDocument(TypedDict):
    """Plan of one disk."""

    disk: str
    key: str
    total_bytes: int
    send_bytes: int
    send_parts: int
    zero_bytes: int
    zero_parts: int
    base_bytes: int
    base_parts: int
    gap_bytes: int
    kept_bytes: int
    parts: int
    requests: int
    in_oss: bool
    rate_bytes_s: int | None
    rate_source: Literal["given"] | None
    rate_measured_at_s: None
    estimate_s: float | None


class InstancePlanDocument(TypedDict):
    """The instance that an image would be tested with."""

    instance_type: str
    processors: int
    memory_gib: float
    zone: str
    disk_category: str
    disk_gib: int
    vswitch: str
    security_group: str
    longest_life_s: float


class PlanDocument(TypedDict):
    """Plan of a push."""

    image_name: str
    region: str
    steps: list[str]
    disks: list[DiskPlanDocument]
    boot_test: InstancePlanDocument | None
    parameters: dict[str, str]
    service_says: str


class BootRunDocument(TypedDict):
    """One boot of a boot test: its machine and its verdict."""

    architecture: Architecture
    boot_mode: BootMode
    bus: Bus
    accelerator: str
    processors: int
    memory_mib: int
    seconds: float
    verdict: Verdict
    reason: str
    stage: Stage | None
    remedy: str | None
    stop_code: str
    evidence: list[str]


class BootTestDocument(TypedDict):
    """A boot test of a disk."""

    verdict: Verdict
    runs: list[BootRunDocument]


class ImageBootTestDocument(TypedDict):
    """A boot test of an image."""

    image_id: str
    instance_id: str
    instance_type: str
    seconds: float
    verdict: Verdict
    reason: str
    stage: Stage | None
    remedy: str | None
    stop_code: str
    evidence: list[str]
    left_over: str


class PushDocument(Result):
    """Result of `push`."""

    command: Literal["push"]
    image_id: str
    image_name: str
    image_status: str
    region: str
    task_id: str
    push_id: str
    objects: list[ObjectDocument]
    left_over: list[str]
    sent_bytes: int
    saved_bytes: int
    seconds: float
    already_there: bool
    dry_run: bool
    kept: Kept
    console_url: str
    run_command: str
    boot_test: BootTestDocument | None
    cloud_boot_test: ImageBootTestDocument | None
    plan: NotRequired[PlanDocument]


class CheckedDisk(TypedDict):
    """One disk in the result of `check`."""

    path: str
    container: str
    file_bytes: int
    virtual_bytes: int | None
    table: str
    partitions: list[Partition]
    boot: BootEvidence
    guest: GuestReport | None
    unknowns: list[str]
    importable: bool
    parameters: dict[str, Any]
    evidence: list[str]
    findings: list[FindingDocument]
    boot_test: BootTestDocument | None


class CheckDocument(Result):
    """Result of `check`."""

    command: Literal["check"]
    disks: list[CheckedDisk]


class ExplanationDocument(Result):
    """Result of `check --explain`."""

    command: Literal["check"]
    rule: str
    explanation: str


class LeftoverDocument(TypedDict):
    """A leftover of an earlier push."""

    kind: str
    key: str
    name: str
    size_bytes: int
    since_s: float | None
    upload_id: str
    has_manifest: bool
    used_by: str


class CleanupDocument(Result):
    """Result of `cleanup`."""

    command: Literal["cleanup", "leftovers"]
    bucket: str
    region: str
    leftovers: list[LeftoverDocument]
    removed: list[LeftoverDocument]
    other_buckets: list[str]


class CloudBootDocument(Result, ImageBootTestDocument):
    """Result of `image boot-test`."""

    command: Literal["image boot-test"]
    region: str


class TasksDocument(Result):
    """Result of `task list`."""

    command: Literal["task list"]
    region: str
    tasks: list[Task]


class ImageDocument(TypedDict):
    """An image in the result of `task show`."""

    image_id: str
    image_name: str
    image_status: str
    percent: int | None
    created: str


class TaskDocument(Result):
    """Result of `task show`."""

    command: Literal["task show"]
    region: str
    task: Task
    image: ImageDocument | None


class WaitDocument(Result):
    """Result of `task wait`."""

    command: Literal["task wait"]
    region: str
    task_id: str
    image_id: str
    image_name: str
    image_status: str


class CancelDocument(Result):
    """Result of `task cancel`."""

    command: Literal["task cancel"]
    region: str
    task: Task


class RoleDocument(Result):
    """Result of `role show`."""

    command: Literal["role show"]
    name: str
    exists: bool
    arn: str
    trusts_ecs: str
    policies: list[str] | None
    rights: dict[str, str]
    ready: bool
    differences: list[str]


class RoleChangeDocument(Result):
    """Result of `role ensure`."""

    command: Literal["role ensure"]
    name: str
    state: RoleOutcome
    created: bool
    attached: list[str]
    trust_extended: bool
    differences: list[str]


class PushEntry(TypedDict):
    """A push in the result of `pushes`."""

    state: Literal["begun", "uploading", "uploaded", "importing", "failed", "finished"]
    name: str
    region: str
    account: str
    bucket: str
    endpoint: str
    disks: list[str]
    image_id: str
    task_id: str
    uploaded_bytes: int
    updated_s: float
    journal: str


class PushesDocument(Result):
    """Result of `pushes`."""

    command: Literal["pushes"]
    state_dir: str
    pushes: list[PushEntry]
    removed: list[PushEntry]


class DiagnosisDocument(TypedDict):
    """One thing that `doctor` tested."""

    subject: str
    health: Literal["ok", "fails", "warns", "unknown"]
    detail: str
    remedy: str
    statement: str
    exit_code: int


class DoctorDocument(Result):
    """Result of `doctor`."""

    command: Literal["doctor"]
    region: str
    would_go_through: bool
    results: list[DiagnosisDocument]


# "from" is a keyword of Python.
SettingDocument = TypedDict("SettingDocument", {"option": str, "value": str, "from": str})


class ConfigDocument(Result):
    """Result of `config show`."""

    command: Literal["config show"]
    of: str
    files: list[str]
    settings: list[SettingDocument]
