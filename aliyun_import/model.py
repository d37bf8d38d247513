"""This file holds the frozen nouns that cross the border between two rooms.

Sizes are bytes unless the name says GiB, times are seconds, and both say so in their names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

# The tags by which an image is known to be ours: which push made it, and of which disk. ECS refuses keys that
# begin with "aliyun" or "acs:".
PUSH_ID_TAG = "import-push-id"
DISK_DIGEST_TAG = "import-disk-digest"


class DiskFormat(StrEnum):
    """DiskDeviceMapping.N.Format, as ImportImage spells it."""

    RAW = "RAW"
    VHD = "VHD"
    QCOW2 = "QCOW2"
    VMDK = "VMDK"


class BootMode(StrEnum):
    """BootMode, as ImportImage spells it."""

    BIOS = "BIOS"
    UEFI = "UEFI"


class Architecture(StrEnum):
    """Architecture, as ImportImage spells it."""

    I386 = "i386"
    X86_64 = "x86_64"
    ARM64 = "arm64"


class OsType(StrEnum):
    """OSType, as ImportImage spells it today (lower case)."""

    LINUX = "linux"
    WINDOWS = "windows"


class Severity(StrEnum):
    """What a finding means for the push; the two classes that matter are never mixed."""

    BLOCKS = "blocks"  # the import, or the first boot, can't work
    WARNS = "warns"  # the instance will start, but something on it won't work
    NOTE = "note"  # worth knowing
    UNKNOWN = "unknown"  # could not be read: never taken for fine, never for a failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fact found before the first byte is sent.

    `rule` is its stable kebab-case name (for --skip-check and --explain); `seen` a sentence that says what was seen;
    `where` the evidence (file and line, offset, option); `subject` the disk path or "request"; `source` the
    document behind the rule.
    """

    rule: str
    severity: Severity
    seen: str
    remedy: str | None
    where: str = ""
    subject: str = "request"
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskRequest:
    """One disk of the image as the user asked for it: a local file, or an object that is in OSS already.

    Exactly one of `path` and `key` is set. `format` and `size_gib` are None where the user left them to us.
    """

    path: Path | None = None
    bucket: str | None = None
    key: str | None = None
    format: DiskFormat | None = None
    size_gib: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """What the image shall be: every parameter of ImportImage, None where the user said nothing.

    disks[0] is the system disk, the rest are data disks.
    """

    region: str
    disks: tuple[DiskRequest, ...]
    name: str
    description: str | None = None
    architecture: Architecture | None = None
    os_type: OsType | None = None
    platform: str | None = None
    boot_mode: BootMode | None = None
    license_type: str | None = None
    role_name: str = "AliyunECSImageImportDefaultRole"
    resource_group: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    nvme_support: str | None = None
    imds_support: str | None = None
    detection_strategy: str | None = None
    storage_location_arn: str | None = None
    client_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskMapping:
    """DiskDeviceMapping.N: an object in OSS and what it is."""

    bucket: str
    key: str
    format: DiskFormat | None
    size_gib: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportCall:
    """One ImportImage call, whole: the request with every disk's place in OSS. `dry_run` asks without doing."""

    request: ImportRequest
    mappings: tuple[DiskMapping, ...]
    client_token: str
    tags: Mapping[str, str]
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerIdentity:
    """Who the credentials are, from GetCallerIdentity."""

    account_id: str
    arn: str
    identity_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketInfo:
    """A bucket as GetBucketInfo tells it. `region` is the API region ("cn-hangzhou"), without "oss-"."""

    name: str
    region: str
    owner_id: str
    storage_class: str
    encryption: str | None
    versioning: str | None
    acl: str
    transfer_acceleration: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteObject:
    """An object in OSS. `crc64` is None where OSS does not tell it; `etag` has no quotes."""

    key: str
    size_bytes: int
    etag: str
    crc64: int | None
    storage_class: str = "Standard"
    metadata: Mapping[str, str] = field(default_factory=dict)
    last_modified_s: float | None = None
    version_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePart:
    """A part of a running multipart upload. `crc64` is None where OSS does not tell it; `etag` has no quotes."""

    number: int
    size_bytes: int
    etag: str
    crc64: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteUpload:
    """A multipart upload that was started and neither completed nor aborted."""

    key: str
    upload_id: str
    initiated_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A RAM role; `trust_policy` is its JSON text as RAM gave it."""

    name: str
    arn: str
    trust_policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy attached to a role: its name, "System" or "Custom", and its document where it was read."""

    name: str
    type: str
    document: str | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedObject:
    """An object that was proven to be the disk. `proof` says how, in a few words for the result."""

    bucket: str
    key: str
    size_bytes: int
    crc64: int
    etag: str
    proof: str
    made_by_us: bool
    sent_bytes: int = 0
