"""Progress events.

One thread, the coordinator, emits them. Values are absolute and may decrease after a retry. Renderers match on the type
and end in `assert_never`. docs/json.md describes each field; fields may be added, but none is removed.
"""

from collections.abc import Callable
from dataclasses import dataclass

from aliyun_import.model.finding import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A push starts; `push_id` identifies it in tags, in the journal and in logs."""

    push_id: str
    region: str
    name: str
    disks: tuple[str, ...]
    resumed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted:
    """A stage starts. `detail` is for people.

    Stages: inspect, boot, convert, look (the account), role, upload, import, wait, finish (the cleanup).
    """

    stage: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFinished:
    """A stage succeeded; `detail` is its result, for people."""

    stage: str
    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskInspected:
    """A disk was inspected; `filled_in` are the parameters inferred from it ("boot_mode=UEFI", ...)."""

    disk: str
    container: str
    file_bytes: int
    virtual_bytes: int
    summary: str
    filled_in: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRaised:
    """One finding of the checks that run before the upload."""

    finding: Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """This push created or changed something in the account: a bucket, a rule, a role, an attachment."""

    what: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyProgress:
    """Bytes of a disk that were read to find its zeros before planning; emitted if that takes seconds."""

    disk: str
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPlanned:
    """The plan of one disk: bytes to send, and bytes to create on the server from zeros or the base object."""

    disk: str
    key: str
    total_bytes: int
    send_bytes: int
    zero_bytes: int
    base_bytes: int
    parts: int
    requests: int
    gap_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadResumed:
    """An upload resumes; `done_bytes` of it are in OSS and proven."""

    disk: str
    key: str
    done_bytes: int
    done_parts: int
    parts: int
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadProgress:
    """Progress of the transfer of one disk.

    `done_bytes` of `total_bytes` are in OSS, including those of earlier runs and those created on the server;
    `sent_bytes` of `send_bytes` were sent in this run (a part that is sent again counts again).

    The numbers for people are those of the `phase`: "sending", then "copying" if copies on the server remain.
    `phase_done_bytes` of `phase_bytes` are `percent` of it; they include earlier runs, and count a part once even if
    it is sent again. `rate_bytes_s` and `left_s` are None while they are unknown. `stalled_s` is for how long no byte
    was transferred, 0 during a transfer. `attempt` of `attempts` is the highest among the parts in transfer.
    """

    disk: str
    done_bytes: int
    total_bytes: int
    sent_bytes: int
    send_bytes: int
    parts_done: int
    parts: int
    workers: int
    phase: str
    phase_done_bytes: int
    phase_bytes: int
    percent: int
    rate_bytes_s: float | None
    left_s: float | None
    stalled_s: float
    attempt: int
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRetried:
    """A part failed for the `attempt`th time of at most `attempts`, and is retried after `wait_s`."""

    disk: str
    number: int
    attempt: int
    attempts: int
    wait_s: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRetried:
    """A call of a service failed for the `attempt`th time of at most `attempts`, and is repeated after `wait_s`."""

    attempt: int
    attempts: int
    wait_s: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectReady:
    """The object of one disk is complete and proven equal to the disk; `crc64` is hexadecimal."""

    disk: str
    bucket: str
    key: str
    size_bytes: int
    crc64: str
    proof: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSubmitted:
    """ImportImage accepted the request."""

    task_id: str
    image_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportProgress:
    """The state of the import task; `left_s` is an estimate, None until there is one.

    `unanswered_s` is for how long no query was answered, normally 0; the other values are then the last known ones.
    """

    task_id: str
    image_id: str
    task_status: str
    image_status: str
    percent: int | None
    left_s: float | None
    elapsed_s: float
    unanswered_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCheckProgress:
    """The image is usable, and the service checks it; the wait for the results ends after `limit_s` at the latest."""

    image_id: str
    status: str
    elapsed_s: float
    limit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BootProgress:
    """A boot test continues; `line` is the last line of the guest's console, empty while there is none.

    `phase` is "booting"; for an instance it is also "creating" and "starting" before, and "deleting" afterwards.
    """

    disk: str
    bus: str
    elapsed_s: float
    timeout_s: float
    line: str
    phase: str = "booting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """A condition that requires attention but does not stop the push; `code` is one of WarningCode or ErrorCode."""

    code: str
    message: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Additional information for people (shown with -v, or in logs)."""

    message: str


Event = (
    RunStarted
    | StageStarted
    | StageFinished
    | DiskInspected
    | FindingRaised
    | Changed
    | SurveyProgress
    | UploadPlanned
    | UploadResumed
    | UploadProgress
    | PartRetried
    | CallRetried
    | ObjectReady
    | ImportSubmitted
    | ImportProgress
    | ImageCheckProgress
    | BootProgress
    | Warned
    | Noted
)
Emit = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Discard an event; the default for `emit`."""
    del event
