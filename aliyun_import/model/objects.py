"""Values that describe buckets, objects and multipart uploads."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# Every object of this tool is below this prefix, except a disk that --key puts elsewhere.
KEY_PREFIX = "aliyun-import/"


def object_url(bucket: str, key: str) -> str:
    """Return the oss:// URL of an object."""
    return f"oss://{bucket}/{key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketInfo:
    """A bucket as GetBucketInfo describes it. `region` is the API region ("cn-hangzhou"), without "oss-"."""

    name: str
    region: str
    owner_id: str
    storage_class: str
    encryption: str | None
    versioning: str | None
    acl: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteObject:
    """An object in OSS. `crc64` is None if OSS does not state it; `etag` has no quotes."""

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
    """A part of an unfinished multipart upload. `crc64` is None if OSS does not state it; `etag` has no quotes."""

    number: int
    size_bytes: int
    etag: str
    crc64: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteUpload:
    """An unfinished multipart upload."""

    key: str
    upload_id: str
    initiated_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedObject:
    """An object that was proven equal to the disk; `proof` describes how, for the result.

    sent_bytes: bytes that the last run sent for it.
    saved_bytes: bytes that were not sent, because OSS copied them from zeros or from an earlier object, or already had
        the object.
    left_over: keys of helper objects that the upload could not remove.
    """

    bucket: str
    key: str
    size_bytes: int
    crc64: int
    etag: str
    proof: str
    made_by_us: bool
    sent_bytes: int = 0
    saved_bytes: int = 0
    left_over: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Accept `left_over` as a list, its form in the journal."""
        object.__setattr__(self, "left_over", tuple(self.left_over))

    @property
    def url(self) -> str:
        """Return the oss:// URL of the object."""
        return object_url(self.bucket, self.key)
