"""This file holds the frozen things that the engine says while it works.

One thread emits (the coordinator), values are absolute and may step back on a retry, renderers match on the type
and end in `assert_never`. docs/json.md describes them field by field; fields may be added, none is removed.
"""

from collections.abc import Callable
from dataclasses import dataclass

from aliyun_import.model.finding import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A push begins; `push_id` names it in tags, in the journal and in logs."""

    push_id: str
    region: str
    name: str
    disks: tuple[str, ...]
    resumed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted:
    """A stage begins: inspect, look, role, upload, import, wait or finish. `detail` is words for people."""

    stage: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFinished:
    """A stage ended well; `detail` says what came of it, in words for people."""

    stage: str
    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskInspected:
    """What was found out about one disk; `filled_in` are the parameters read from it ("boot_mode=UEFI", ...)."""

    disk: str
    container: str
    file_bytes: int
    virtual_bytes: int
    summary: str
    filled_in: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRaised:
    """One finding of the checks that run before the first byte."""

    finding: Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Something in the account was created or changed by this push: a bucket, a rule, a role, an attachment."""

    what: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyProgress:
    """How much of a disk was read to find its zeros, before its upload is planned; told when that takes seconds."""

    disk: str
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPlanned:
    """What will travel and what will be made on the server; all bytes are of the whole plan of one disk."""

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
    """An upload goes on: so much of it is in OSS already and was proven."""

    disk: str
    key: str
    done_bytes: int
    done_parts: int
    parts: int
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadProgress:
    """Where the transfer of one disk stands.

    `done_bytes` of `total_bytes` are in OSS, from earlier runs or made on the server included; `sent_bytes` of
    `send_bytes` went over the wire in this run (parts that are sent again count again).
    """

    disk: str
    done_bytes: int
    total_bytes: int
    sent_bytes: int
    send_bytes: int
    parts_done: int
    parts: int
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRetried:
    """A part failed and is sent again after `wait_s`."""

    disk: str
    number: int
    attempt: int
    wait_s: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectReady:
    """One disk is in OSS and proven to be the disk; `crc64` in hexadecimal."""

    disk: str
    bucket: str
    key: str
    size_bytes: int
    crc64: str
    proof: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSubmitted:
    """ImportImage took the request."""

    task_id: str
    image_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportProgress:
    """What the service says of the task; `left_s` is an estimate, None until there is one."""

    task_id: str
    image_id: str
    task_status: str
    image_status: str
    percent: int | None
    left_s: float | None
    elapsed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Something that does not stop the push but that a person should know; `remedy` says what to do about it."""

    code: str
    message: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Something that is good to know, in words for people (shown with -v, or in logs)."""

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
    | ObjectReady
    | ImportSubmitted
    | ImportProgress
    | Warned
    | Noted
)
Emit = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Take an event and say nothing: the Emit of callers that don't listen."""
    del event
