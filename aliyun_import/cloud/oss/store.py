"""Object store of one bucket: the bucket, small objects, lists, and multipart uploads."""

import threading
from collections.abc import Mapping
from urllib.parse import quote
from xml.sax.saxutils import escape

from aliyun_import.cloud.credentials.source import CredentialsSource
from aliyun_import.cloud.endpoints import Endpoints
from aliyun_import.cloud.oss.client import OssClient
from aliyun_import.cloud.oss.parse import (
    all_pages,
    bucket_of,
    list_of_objects,
    list_of_parts,
    list_of_uploads,
    object_of_headers,
    parse,
    part_of_headers,
    required,
    unquoted,
    unreadable,
    with_abort_rule,
)
from aliyun_import.cloud.transport.answer import Answer
from aliyun_import.cloud.transport.settings import Timeouts
from aliyun_import.errors import (
    AliyunImportError,
    BaseChanged,
    CopyRefused,
    PermissionDenied,
    RefusedError,
    UploadNotFound,
)
from aliyun_import.limits import MIB
from aliyun_import.model.objects import BucketInfo, RemoteObject, RemotePart, RemoteUpload
from aliyun_import.services import PartBody

_CREATE = (
    b"<CreateBucketConfiguration><StorageClass>Standard</StorageClass>"
    b"<DataRedundancyType>LRS</DataRedundancyType></CreateBucketConfiguration>"
)
# OSS sends nothing until a copy, of up to some GiB, is done.
_COPY_READ_S = 600.0
# Completing thousands of parts takes OSS longer than an ordinary request.
_COMPLETE_READ_S = 180.0
# Codes of a store that does not create parts by copying.
_NO_COPIES = frozenset({"NotImplemented", "OperationNotSupported", "MethodNotAllowed", "NotSupported"})
# Codes for a source that changed after the plan was made.
_SOURCE_CHANGED = frozenset({"PreconditionFailed", "NoSuchKey", "InvalidRange", "InvalidObjectState"})
# The largest object that is read as a whole: a manifest (upload/manifest.py).
_MAX_READ_BYTES = 64 * MIB


class OssStore:
    """services.ObjectStore through OSS; the protocol has the contracts. `workers` is the number of uploading threads.

    Waits for answers end with Interrupted once `cancel` is set.
    """

    def __init__(
        self,
        bucket: str,
        *,
        endpoints: Endpoints,
        credentials: CredentialsSource,
        workers: int = 16,
        timeouts: Timeouts | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        timeouts = timeouts or Timeouts()
        self._part_s = timeouts.part_s
        self._client = OssClient(
            bucket, endpoints=endpoints, credentials=credentials, workers=workers, timeouts=timeouts, cancel=cancel
        )

    @property
    def bucket(self) -> str:
        """Return the name of the bucket."""
        return self._client.bucket

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        self._client.close()

    def bucket_info(self) -> BucketInfo | None:
        """Return the properties of the bucket, None if it does not exist. AccessError if another account owns it."""
        try:
            answer = self._client.send("GetBucketInfo", "GET", params={"bucketInfo": ""})
        except AliyunImportError as error:
            if error.details.get("service_code") == "NoSuchBucket":
                return None
            raise
        return bucket_of(answer.body)

    def create_bucket(self) -> None:
        """Create the bucket, private, class Standard. Succeeds if this account already owns it."""
        try:
            self._client.send("PutBucket", "PUT", headers={"x-oss-acl": "private"}, data=_CREATE)
        except AliyunImportError as error:
            # The code means a bucket of another account, or of this account in another region or class.
            if error.details.get("service_code") != "BucketAlreadyExists":
                raise
            self._check_ours(error)

    def ensure_abort_rule(self, *, prefix: str, days: int) -> bool:
        """Ensure a lifecycle rule that aborts unfinished uploads; return whether it was added."""
        rules: bytes | None
        try:
            rules = self._client.send("GetBucketLifecycle", "GET", params={"lifecycle": ""}).body
        except AliyunImportError as error:
            if error.details.get("service_code") != "NoSuchLifecycle":
                raise
            # Not b"": an empty answer does not mean that there are no rules, and must not replace them.
            rules = None
        document = with_abort_rule(rules, prefix=prefix, days=days)
        if document is None:
            return False
        # Without the header OSS refuses the rule as an overlap with a rule for the whole bucket.
        headers = {"x-oss-allow-same-action-overlap": "true", "Content-Type": "application/xml"}
        self._client.send("PutBucketLifecycle", "PUT", params={"lifecycle": ""}, headers=headers, data=document)
        return True

    def head(self, key: str) -> RemoteObject | None:
        """Return the properties of an object, None if it does not exist."""
        try:
            answer = self._client.send("HeadObject", "HEAD", key=key)
        except AliyunImportError as error:
            # A 404 to HEAD has no body, and some stores omit the header that replaces it.
            if (
                error.details.get("service_code", "NoSuchKey") == "NoSuchKey"
                and error.details.get("http_status") == "404"
            ):
                return None
            raise
        return object_of_headers(key, answer.headers)

    def read(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """Read a small range of an object (manifests, zero objects) into memory, 64 MiB at most."""
        if length == 0:
            return b""
        headers = {}
        if start or length is not None:
            headers["Range"] = f"bytes={start}-{start + length - 1 if length is not None else ''}"
            # Without this header OSS answers a range beyond the end with the whole object.
            headers["x-oss-range-behavior"] = "standard"
        answer = self._client.send("GetObject", "GET", key=key, headers=headers, max_body_bytes=_MAX_READ_BYTES)
        if length is not None and len(answer.body) > length:
            raise unreadable(f"{length} bytes were requested, and {len(answer.body)} received.")
        return answer.body

    def put(self, key: str, data: bytes, *, metadata: Mapping[str, str] | None = None) -> RemoteObject:
        """Write a small object; an existing one is replaced."""
        headers = self._new_object_headers(metadata)
        answer = self._client.send("PutObject", "PUT", key=key, headers=headers, data=data, read_s=self._part_s)
        return object_of_headers(key, answer.headers, size_bytes=len(data), metadata=metadata)

    def delete(self, key: str, *, version_id: str | None = None) -> None:
        """Delete an object; succeeds if it does not exist."""
        params = {"versionId": version_id} if version_id else {}
        self._client.send("DeleteObject", "DELETE", key=key, params=params)

    def list_objects(self, prefix: str) -> tuple[RemoteObject, ...]:
        """Return all objects below prefix, all pages, by key. `crc64` and `metadata` are not filled."""
        first = {"list-type": "2", "prefix": prefix, "max-keys": "1000", "encoding-type": "url"}
        found = all_pages(
            lambda marker: list_of_objects(self._client.send("ListObjectsV2", "GET", params=first | marker).body)
        )
        return tuple(sorted(found, key=lambda one: one.key))

    def start_upload(self, key: str, *, metadata: Mapping[str, str] | None = None) -> str:
        """Start a multipart upload (class Standard) and return its upload id."""
        answer = self._client.send(
            "InitiateMultipartUpload",
            "POST",
            key=key,
            params={"uploads": ""},
            headers=self._new_object_headers(metadata),
        )
        return required(parse(answer.body, "InitiateMultipartUploadResult"), "UploadId")

    def send_part(self, key: str, upload_id: str, *, number: int, body: PartBody) -> RemotePart:
        """Send one part, one attempt."""
        answer = self._client.send(
            "UploadPart",
            "PUT",
            key=key,
            params={"partNumber": str(number), "uploadId": upload_id},
            headers={"Content-Type": "application/octet-stream"},
            data=body,
            read_s=self._part_s,
            part=str(number),
        )
        return part_of_headers(number, len(body), answer.headers)

    def copy_part(
        self, key: str, upload_id: str, *, number: int, source_key: str, start: int, length: int, if_match: str
    ) -> RemotePart:
        """Make one part on the server from a range of an object of the same bucket."""
        headers = {
            "x-oss-copy-source": f"/{self._client.bucket}/{quote(source_key, safe='')}",
            "x-oss-copy-source-range": f"bytes={start}-{start + length - 1}",
            "x-oss-copy-source-if-match": f'"{if_match}"',
        }
        try:
            answer = self._client.send(
                "UploadPartCopy",
                "PUT",
                key=key,
                params={"partNumber": str(number), "uploadId": upload_id},
                headers=headers,
                read_s=_COPY_READ_S,
                part=str(number),
                source=source_key,
            )
        except AliyunImportError as error:
            refusal = _copy_refusal(error, source_key)
            if refusal is None:
                raise
            raise refusal from error
        return _copied_part(number, length, answer)

    def list_parts(self, key: str, upload_id: str) -> tuple[RemotePart, ...]:
        """Return all parts of an upload, all pages, by number. RefusedError "upload-vanished" as send_part."""
        first = {"uploadId": upload_id, "max-parts": "1000"}
        found = all_pages(
            lambda marker: list_of_parts(self._client.send("ListParts", "GET", key=key, params=first | marker).body)
        )
        return tuple(sorted(found, key=lambda part: part.number))

    def list_uploads(self, prefix: str) -> tuple[RemoteUpload, ...]:
        """Return all unfinished uploads below prefix, all pages."""
        first = {"uploads": "", "prefix": prefix, "max-uploads": "1000", "encoding-type": "url"}
        return tuple(
            all_pages(
                lambda marker: list_of_uploads(
                    self._client.send("ListMultipartUploads", "GET", params=first | marker).body
                )
            )
        )

    def complete(
        self, key: str, upload_id: str, parts: tuple[RemotePart, ...], *, overwrite: bool = False
    ) -> RemoteObject:
        """Make the object of these parts."""
        headers = {"Content-Type": "application/xml"} | ({} if overwrite else {"x-oss-forbid-overwrite": "true"})
        rows = (
            f"<Part><PartNumber>{part.number}</PartNumber><ETag>&quot;{escape(part.etag)}&quot;</ETag></Part>"
            for part in parts
        )
        document = f"<CompleteMultipartUpload>{''.join(rows)}</CompleteMultipartUpload>".encode()
        answer = self._client.send(
            "CompleteMultipartUpload",
            "POST",
            key=key,
            params={"uploadId": upload_id},
            headers=headers,
            data=document,
            read_s=_COMPLETE_READ_S,
        )
        # The answer has the CRC-64 but not the size; HeadObject has both, for the stored object.
        stored = self._client.send("HeadObject", "HEAD", key=key)
        return object_of_headers(key, {**stored.headers, **_version(answer)})

    def abort(self, key: str, upload_id: str) -> None:
        """Abort an upload and free its parts; succeeds if the server has no such upload."""
        try:
            self._client.send("AbortMultipartUpload", "DELETE", key=key, params={"uploadId": upload_id})
        except UploadNotFound:
            return

    def _check_ours(self, refusal: AliyunImportError) -> None:
        """Raise the most specific error unless the bucket is ours and in this region."""
        try:
            info = self.bucket_info()
        except RefusedError:  # in another region
            raise
        except AliyunImportError as error:
            raise refusal from error
        if info is None:
            raise refusal

    @staticmethod
    def _new_object_headers(metadata: Mapping[str, str] | None) -> dict[str, str]:
        """Return headers that set class Standard regardless of the bucket's class: ECS can't import from an archive."""
        headers = {"Content-Type": "application/octet-stream", "x-oss-storage-class": "Standard"}
        return headers | {f"x-oss-meta-{name}": value for name, value in (metadata or {}).items()}


def _copied_part(number: int, length: int, answer: Answer) -> RemotePart:
    part = part_of_headers(number, length, answer.headers)
    # The ETag of a copy is in the body.
    etag = required(parse(answer.body, "CopyPartResult"), "ETag")
    return RemotePart(number=number, size_bytes=length, etag=unquoted(etag), crc64=part.crc64)


def _version(answer: Answer) -> dict[str, str]:
    version = answer.headers.get("x-oss-version-id")
    return {"x-oss-version-id": version} if version else {}


def _copy_refusal(error: AliyunImportError, source_key: str) -> RefusedError | None:
    """Return the error for a changed source, or for a store that makes no copies; None for any other failure."""
    code = error.details.get("service_code", "")
    if code in _SOURCE_CHANGED:
        return BaseChanged(
            f"The object {source_key}, the source of copied ranges, has changed.",
            code="base-changed",
            cause=error.cause,
            remedy="Run the same command again; the bytes are sent instead of being copied.",
            details=error.details,
            resumable=True,
        )
    # Without permission to read the source, the solution is the same: the bytes are sent.
    if code in _NO_COPIES or isinstance(error, PermissionDenied):
        return CopyRefused(
            "The store does not create parts by copying.",
            code="copy-refused",
            cause=error.cause,
            remedy="Run the same command again; the bytes are sent instead. An endpoint of OSS itself copies them.",
            details=error.details,
            resumable=True,
        )
    return None
