"""In-memory ObjectStore with hooks before a call and after its effect.

It enforces the rules that the upload relies on: part sizes at complete, if-match, overwrite=False, missing uploads.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from aliyun_import.errors import BaseChanged, ObjectExists, ObjectMissing, RefusedError, UploadNotFound
from aliyun_import.limits import MAX_PARTS, MIN_PART_BYTES
from aliyun_import.model.objects import BucketInfo, RemoteObject, RemotePart, RemoteUpload
from aliyun_import.services import PartBody
from aliyun_import.upload.crc64 import crc64
from tests.partial import Partial

Hook = Callable[[str, int], None]


@dataclass
class _Upload:
    key: str
    metadata: Mapping[str, str]
    parts: dict[int, tuple[bytes, RemotePart]] = field(default_factory=dict)


class ScriptedStore(Partial):  # type: ignore[misc]
    """One bucket with two hooks, each called with the operation and the number of its earlier calls.

    `before` runs before the effect of the call, `after` behind it: an error that `after` raises loses the answer.
    """

    bucket = "example-bucket"

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, RemoteObject]] = {}
        self.uploads: dict[str, _Upload] = {}
        self.before: Hook = no_hook
        self.after: Hook = no_hook
        self.change_part: Callable[[RemotePart], RemotePart] = lambda part: part
        self.change_object: Callable[[RemoteObject], RemoteObject] = lambda stored: stored
        self.calls: Counter[str] = Counter()
        self.copied_have_crc64 = True
        self.has_bucket = True
        self.abort_rules: list[tuple[str, int]] = []
        self.received_bytes = 0
        self.sent_parts: list[int] = []
        self._serial = 0
        self._lock = threading.RLock()

    def _enter(self, operation: str) -> int:
        with self._lock:
            count = self.calls[operation]
            self.calls[operation] += 1
        self.before(operation, count)
        return count

    @staticmethod
    def crc64_of(data: bytes) -> int:
        """Return OSS's CRC-64."""
        return crc64(data)

    def bucket_info(self) -> BucketInfo | None:
        """Return the bucket, or None."""
        self._enter("bucket_info")
        return _BUCKET if self.has_bucket else None

    def create_bucket(self) -> None:
        """Create the bucket."""
        self.has_bucket = True

    def ensure_abort_rule(self, *, prefix: str, days: int) -> bool:
        """Add a rule, unless an existing one suffices."""
        if any(prefix.startswith(below) and within <= days for below, within in self.abort_rules):
            return False
        self.abort_rules.append((prefix, days))
        return True

    def head(self, key: str) -> RemoteObject | None:
        """Return the properties of an object."""
        count = self._enter("head")
        stored = self.objects.get(key)
        self.after("head", count)
        return self.change_object(stored[1]) if stored else None

    def content(self, key: str) -> bytes:
        """Return an object's bytes; the call is not counted."""
        return self.objects[key][0]

    def read(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """Read a range."""
        self._enter("read")
        if key not in self.objects:
            raise ObjectMissing("No such object.", code="object-missing", remedy=None)
        data, _ = self.objects[key]
        if start > len(data):
            raise RefusedError("The range is beyond the end.", code="range-invalid", remedy=None)
        return data[start : None if length is None else start + length]

    def put(self, key: str, data: bytes, *, metadata: Mapping[str, str] | None = None) -> RemoteObject:
        """Write an object."""
        count = self._enter("put")
        with self._lock:
            self.received_bytes += len(data)
            stored = self._store_object(key, data, f"{crc64(data):032X}", metadata or {})
        self.after("put", count)
        return stored

    def _store_object(self, key: str, data: bytes, etag: str, metadata: Mapping[str, str]) -> RemoteObject:
        self._serial += 1
        stored = RemoteObject(
            key=key, size_bytes=len(data), etag=etag, crc64=crc64(data), metadata=metadata, last_modified_s=self._serial
        )
        self.objects[key] = (data, stored)
        return stored

    def delete(self, key: str, *, version_id: str | None = None) -> None:
        """Remove an object."""
        del version_id
        self._enter("delete")
        self.objects.pop(key, None)

    def list_objects(self, prefix: str) -> tuple[RemoteObject, ...]:
        """List objects with the properties that a listing contains."""
        self._enter("list_objects")
        found = sorted((key, stored) for key, (_, stored) in self.objects.items() if key.startswith(prefix))
        return tuple(replace(stored, crc64=None, metadata={}) for _, stored in found)

    def start_upload(self, key: str, *, metadata: Mapping[str, str] | None = None) -> str:
        """Start an upload."""
        count = self._enter("start_upload")
        with self._lock:
            self._serial += 1
            upload_id = f"upload-{self._serial}"
            self.uploads[upload_id] = _Upload(key, metadata or {})
        self.after("start_upload", count)
        return upload_id

    def _upload(self, key: str, upload_id: str) -> _Upload:
        upload = self.uploads.get(upload_id)
        if upload is None or upload.key != key:
            raise UploadNotFound("No such upload.", code="upload-vanished", remedy=None)
        return upload

    def send_part(self, key: str, upload_id: str, *, number: int, body: PartBody) -> RemotePart:
        """Receive a part."""
        count = self._enter("send_part")
        upload = self._upload(key, upload_id)
        received = bytearray(len(body))
        position = 0
        for chunk in body:
            received[position : position + len(chunk)] = chunk
            position += len(chunk)
            with self._lock:
                self.received_bytes += len(chunk)
        assert position == len(received) == len(body)
        part = self._add_part(upload, number, bytes(received))
        self.sent_parts.append(number)
        self.after("send_part", count)
        return part

    def _add_part(self, upload: _Upload, number: int, data: bytes, *, has_crc64: bool = True) -> RemotePart:
        assert 1 <= number <= MAX_PARTS
        crc_etag = f"{crc64(data):032X}"
        part = self.change_part(
            RemotePart(number=number, size_bytes=len(data), etag=crc_etag, crc64=crc64(data) if has_crc64 else None)
        )
        if part.crc64 is None and part.etag == crc_etag:
            # As in OSS the ETag is the MD5, which is the proof of a part without CRC-64. The MD5 of all parts is slow.
            part = replace(part, etag=hashlib.md5(data).hexdigest().upper())
        with self._lock:
            upload.parts[number] = (data, part)
        return part

    def copy_part(
        self, key: str, upload_id: str, *, number: int, source_key: str, start: int, length: int, if_match: str
    ) -> RemotePart:
        """Create a part from a range of an object."""
        count = self._enter("copy_part")
        upload = self._upload(key, upload_id)
        if source_key not in self.objects:
            raise BaseChanged("No such object.", code="base-changed", remedy=None)
        data, stored = self.objects[source_key]
        if stored.etag != if_match:
            raise BaseChanged("Changed.", code="base-changed", remedy=None)
        assert start + length <= len(data)
        part = self._add_part(upload, number, data[start : start + length], has_crc64=self.copied_have_crc64)
        self.after("copy_part", count)
        return replace(part, crc64=None)  # CopyPartResult has no CRC-64

    def list_parts(self, key: str, upload_id: str) -> tuple[RemotePart, ...]:
        """List the parts."""
        self._enter("list_parts")
        return tuple(part for _, (_, part) in sorted(self._upload(key, upload_id).parts.items()))

    def list_uploads(self, prefix: str) -> tuple[RemoteUpload, ...]:
        """List unfinished uploads."""
        self._enter("list_uploads")
        return tuple(
            RemoteUpload(key=upload.key, upload_id=upload_id, initiated_s=float(upload_id.partition("-")[2]))
            for upload_id, upload in self.uploads.items()
            if upload.key.startswith(prefix)
        )

    def complete(
        self, key: str, upload_id: str, parts: tuple[RemotePart, ...], *, overwrite: bool = False
    ) -> RemoteObject:
        """Create the object."""
        count = self._enter("complete")
        upload = self._upload(key, upload_id)
        if not overwrite and key in self.objects:
            raise ObjectExists("The object exists.", code="object-exists", remedy=None)
        numbers = [part.number for part in parts]
        assert numbers == sorted(set(numbers))
        if any(part.number not in upload.parts or upload.parts[part.number][1].etag != part.etag for part in parts):
            raise RefusedError("No such part.", code="part-missing", remedy=None)
        pieces = [upload.parts[part.number] for part in parts]
        assert all(len(data) >= MIN_PART_BYTES for data, _ in pieces[:-1]), "EntityTooSmall"
        with self._lock:
            self._serial += 1
            stored = self._store_object(
                key, b"".join(data for data, _ in pieces), f"whole-{self._serial}", upload.metadata
            )
            del self.uploads[upload_id]
        self.after("complete", count)
        return self.change_object(stored)

    def abort(self, key: str, upload_id: str) -> None:
        """Abort an upload."""
        self._enter("abort")
        if upload_id in self.uploads:
            self._upload(key, upload_id)
            del self.uploads[upload_id]


_BUCKET = BucketInfo(
    name="example-bucket",
    region="cn-hangzhou",
    owner_id="1000000000000000",
    storage_class="Standard",
    encryption=None,
    versioning=None,
    acl="private",
)


def no_hook(operation: str, count: int) -> None:
    """Do nothing."""
