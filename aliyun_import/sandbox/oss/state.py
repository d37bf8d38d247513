"""State of OSS: buckets, objects and their versions, multipart uploads and their parts.

ECS reads it, too: `state.part(OssState).bucket(name)` returns the owner, region, encryption and storage class, and
`bucket.current(key).content` has `size`, `pread(offset, length)` and `data_extents()`.
"""

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from aliyun_import.sandbox.core.blob_store import Content
from aliyun_import.sandbox.core.records import Table
from aliyun_import.sandbox.core.state import State

ARCHIVED = frozenset({"Archive", "ColdArchive", "DeepColdArchive"})
STORAGE_CLASSES = frozenset({"Standard", "IA"}) | ARCHIVED
DAY_S = 86_400
# "Naming": 3-63 of a-z, 0-9 and -, first and last alphanumeric; a key has 1-1023 bytes.
BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
MAX_KEY_BYTES = 1023
NULL_VERSION = "null"  # version id of objects that are written while versioning is off or suspended


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """Version of an object. A delete marker has no content."""

    key: str
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    """Identifies the content: a change of the ACL or the tags keeps it, new content has a new id."""
    content: Content = field(default_factory=Content)
    etag: str = ""
    """Upper case, without quotes."""
    crc64: int | None = None
    kind: str = "Normal"
    """Normal or Multipart: x-oss-object-type."""
    storage_class: str = "Standard"
    encryption: str = ""
    modified_s: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of the upload that GetObject and HeadObject return: content-type, x-oss-meta-*."""
    acl: str = "default"
    """`default` is the ACL of the bucket."""
    tags: Mapping[str, str] = field(default_factory=dict)
    version_id: str = NULL_VERSION
    delete_marker: bool = False

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return self.content.size


@dataclass(frozen=True, kw_only=True)
class StoredPart:
    """Part of an unfinished multipart upload."""

    number: int
    content: Content
    etag: str
    crc64: int | None
    modified_s: float
    copied: bool = False


@dataclass(frozen=True, kw_only=True)
class Upload:
    """Unfinished multipart upload, with the properties of its object."""

    id: str
    key: str
    initiated_s: float
    storage_class: str
    encryption: str
    headers: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)
    parts: Table[int, StoredPart] = field(default_factory=Table)


@dataclass(frozen=True)
class AbortRule:
    """Lifecycle action AbortMultipartUpload, the only one that the sandbox carries out."""

    prefix: str
    days: int


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """Bucket. Hold the lock of the state to access its tables. `OssState.change` changes its settings."""

    name: str
    owner_id: str
    region: str
    created_s: float
    storage_class: str = "Standard"
    redundancy: str = "LRS"
    acl: str = "private"
    encryption: str = ""
    """SSEAlgorithm: AES256, KMS or SM4; empty for None."""
    encryption_key_id: str = ""
    versioning: str = ""
    """Empty, Enabled or Suspended."""
    tags: Mapping[str, str] = field(default_factory=dict)
    lifecycle_xml: str = ""
    abort_rules: tuple[AbortRule, ...] = ()
    versions: Table[str, tuple[StoredObject, ...]] = field(default_factory=Table)
    """Versions of each key, the current one last."""
    uploads: Table[str, Upload] = field(default_factory=Table)

    def current(self, key: str) -> StoredObject | None:
        """Return the current version of an object, or None if there is none or it is a delete marker."""
        versions = self.versions.get(key)
        return None if not versions or versions[-1].delete_marker else versions[-1]

    def version(self, key: str, version_id: str) -> StoredObject | None:
        """Return a version, or None. An empty id selects the current version."""
        if not version_id:
            return self.current(key)
        return next((each for each in self.versions.get(key, ()) if each.version_id == version_id), None)

    def abort_old_uploads(self, now_s: float) -> None:
        """Remove the unfinished uploads that the lifecycle rules abort by now."""
        for rule in self.abort_rules:
            for upload in list(self.uploads.values()):
                if upload.key.startswith(rule.prefix) and now_s - upload.initiated_s >= rule.days * DAY_S:
                    del self.uploads[upload.id]


class OssState:
    """Buckets of all accounts."""

    def __init__(self, state: State) -> None:
        self.blobs = state.blobs
        self.buckets = state.table("buckets", Table[str, Bucket])
        self.reads = state.table("reads", Table[tuple[str, str], float | None])
        """(task id, object id) of running imports -> time at which the object was removed or replaced, or None."""
        self._last_id_ns = 0
        self._state = state
        self._clock = state.clock
        self._lock = state.lock

    def bucket(self, name: str) -> Bucket | None:
        """Return the bucket with a name, or None."""
        with self._lock:
            bucket = self.buckets.get(name)
            if bucket is not None:
                bucket.abort_old_uploads(self._clock.now_s())
            return bucket

    def add_bucket(self, name: str, *, region: str, owner_id: str, storage_class: str = "Standard") -> Bucket:
        """Create a bucket, for PutBucket and for tests with a bucket of another account."""
        with self._lock:
            bucket = Bucket(
                name=name,
                owner_id=owner_id,
                region=region,
                created_s=self._clock.now_s(),
                storage_class=storage_class,
                encryption=self._state.settings.default_encryption,
            )
            self.buckets[name] = bucket
            return bucket

    def change(self, name: str, **settings: object) -> Bucket:
        """Change settings of a bucket, and return the new bucket. Raises KeyError if it does not exist any more."""
        with self._lock:
            self.buckets[name] = replace(self.buckets[name], **settings)  # type: ignore[arg-type]
            return self.buckets[name]

    def put(self, bucket: Bucket, stored: StoredObject) -> None:
        """Store an object as the current version of its key. A version with the same id is replaced."""
        with self._lock:
            self._record_removal(bucket.version(stored.key, stored.version_id))
            others = (each for each in bucket.versions.get(stored.key, ()) if each.version_id != stored.version_id)
            bucket.versions[stored.key] = (*others, stored)

    def change_object(self, bucket: Bucket, stored: StoredObject) -> None:
        """Replace a version of an object by one with the same id and content, at the same position."""
        with self._lock:
            versions = bucket.versions[stored.key]
            bucket.versions[stored.key] = tuple(
                stored if each.version_id == stored.version_id else each for each in versions
            )

    def remove(self, bucket: Bucket, key: str, version_id: str) -> StoredObject | None:
        """Remove a version permanently, and return it; None if it does not exist."""
        with self._lock:
            versions = bucket.versions.get(key, ())
            removed = next((each for each in versions if each.version_id == version_id), None)
            if removed is None:
                return None
            self._record_removal(removed)
            bucket.versions[key] = tuple(each for each in versions if each is not removed)
            if not bucket.versions[key]:
                del bucket.versions[key]
            return removed

    def _record_removal(self, removed: StoredObject | None) -> None:
        """Record the time of the removal for the imports that read the object."""
        for reader, object_id in list(self.reads):
            if removed is not None and removed.id == object_id and self.reads[reader, object_id] is None:
                self.reads[reader, object_id] = self._clock.now_s()

    def new_upload_id(self) -> str:
        """Return a new upload id, recognisably not real. Ids sort in the order of their creation."""
        return f"SANDBOX{self._new_id()}"

    def new_version_id(self) -> str:
        """Return a new version id."""
        return f"SANDBOX-VERSION-{self._new_id()}"

    def _new_id(self) -> str:
        """Return an id that is unique among all sandboxes, on all machines."""
        with self._lock:
            self._last_id_ns = max(self._last_id_ns + 1, time.time_ns())
            return f"{self._last_id_ns:016X}{secrets.token_hex(8).upper()}"
