"""This file is one bucket of OSS: the bucket itself, small objects, lists. `oss_multipart` adds the big ones."""

from collections.abc import Mapping

from aliyun_import.cloud.credentials.source import CredentialsSource
from aliyun_import.cloud.endpoints import Endpoints
from aliyun_import.cloud.oss import lifecycle as oss_lifecycle
from aliyun_import.cloud.oss.client import OssWire
from aliyun_import.cloud.oss.multipart import MultipartUploads
from aliyun_import.cloud.oss.parse import bucket_of, list_of_objects, object_of_headers
from aliyun_import.cloud.transport.config import Timeouts
from aliyun_import.errors import AliyunImportError, RefusedError
from aliyun_import.model.objects import BucketInfo, RemoteObject

_CREATE = (
    b"<CreateBucketConfiguration><StorageClass>Standard</StorageClass>"
    b"<DataRedundancyType>LRS</DataRedundancyType></CreateBucketConfiguration>"
)


class OssStore(MultipartUploads):
    """ports.ObjectStore through oss2. `workers` is how many threads use it at once: as many connections are kept."""

    def __init__(
        self,
        bucket: str,
        *,
        endpoints: Endpoints,
        credentials: CredentialsSource,
        workers: int = 16,
        timeouts: Timeouts | None = None,
    ) -> None:
        timeouts = timeouts or Timeouts()
        super().__init__(
            OssWire(bucket, endpoints=endpoints, credentials=credentials, workers=workers, timeouts=timeouts),
            part_s=timeouts.part_s,
        )

    @property
    def bucket(self) -> str:
        """Name the bucket."""
        return self._wire.bucket

    def bucket_info(self) -> BucketInfo | None:
        """Tell what the bucket is; None when there is none of that name. Raises when it is somebody else's."""
        try:
            got = self._wire.send("GetBucketInfo", "GET", params={"bucketInfo": ""})
        except AliyunImportError as error:
            if error.details.get("service_code") == "NoSuchBucket":
                return None
            raise
        return bucket_of(got.body)

    def create_bucket(self) -> None:
        """Create the bucket, private, class Standard. Fine when it is ours already."""
        try:
            self._wire.send("PutBucket", "PUT", headers={"x-oss-acl": "private"}, data=_CREATE)
        except AliyunImportError as error:
            # The same code for somebody else's bucket, for our own in another region, and for our own of another class.
            if error.details.get("service_code") != "BucketAlreadyExists":
                raise
            self._check_ours(error)

    def ensure_abort_rule(self, *, prefix: str, days: int) -> bool:
        """See to it that unfinished uploads below prefix are aborted after so many days.

        Keeps every rule that is there. True when a rule was added, False when one served already.
        """
        try:
            there = self._wire.send("GetBucketLifecycle", "GET", params={"lifecycle": ""}).body
        except AliyunImportError as error:
            if error.details.get("service_code") != "NoSuchLifecycle":
                raise
            there = b""
        document = oss_lifecycle.with_abort_rule(there, prefix=prefix, days=days)
        if document is None:
            return False
        # The header lets our rule stand beside one for the whole bucket, which is refused as an overlap otherwise.
        headers = {"x-oss-allow-same-action-overlap": "true", "Content-Type": "application/xml"}
        self._wire.send("PutBucketLifecycle", "PUT", params={"lifecycle": ""}, headers=headers, data=document)
        return True

    def head(self, key: str) -> RemoteObject | None:
        """Tell what the object is; None when there is none."""
        try:
            got = self._wire.send("HeadObject", "HEAD", key=key)
        except AliyunImportError as error:
            # A 404 to HEAD has no body, and some stores leave out the header that stands in for it.
            if error.details.get("service_code", "NoSuchKey") == "NoSuchKey" and _status(error) == "404":
                return None
            raise
        return object_of_headers(key, got.headers)

    def read(self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None) -> bytes:
        """Read a small range of an object (manifests, zero objects): the whole of it comes into memory."""
        if length == 0:
            return b""
        headers = {"If-Match": f'"{if_match}"'} if if_match else {}
        if start or length is not None:
            headers["Range"] = f"bytes={start}-{start + length - 1 if length is not None else ''}"
            # Without it OSS answers a range beyond the end with the whole object.
            headers["x-oss-range-behavior"] = "standard"
        return self._wire.send("GetObject", "GET", key=key, headers=headers).body

    def put(
        self, key: str, data: bytes, *, metadata: Mapping[str, str] | None = None, overwrite: bool = True
    ) -> RemoteObject:
        """Write a small object. With overwrite=False one that is there raises RefusedError "object-exists"."""
        headers = self._new_object_headers(metadata)
        if not overwrite:
            headers["x-oss-forbid-overwrite"] = "true"
        got = self._wire.send("PutObject", "PUT", key=key, headers=headers, data=data, read_s=self._part_s)
        return object_of_headers(key, got.headers, size_bytes=len(data), metadata=metadata)

    def delete(self, key: str, *, version_id: str | None = None) -> None:
        """Remove an object; fine when there is none."""
        params = {"versionId": version_id} if version_id else {}
        self._wire.send("DeleteObject", "DELETE", key=key, params=params)

    def list_objects(self, prefix: str) -> tuple[RemoteObject, ...]:
        """List all objects below prefix, all pages, by key. `crc64` and `metadata` are not filled."""
        found: list[RemoteObject] = []
        params = {"list-type": "2", "prefix": prefix, "max-keys": "1000", "encoding-type": "url"}
        while True:
            page, next_token = list_of_objects(self._wire.send("ListObjectsV2", "GET", params=params).body)
            found += page
            if not next_token:
                return tuple(sorted(found, key=lambda one: one.key))
            params["continuation-token"] = next_token

    def _check_ours(self, refusal: AliyunImportError) -> None:
        """Let a bucket pass that is ours and here; raise what says best why it can't be used."""
        try:
            there = self.bucket_info()
        except RefusedError:  # in another region
            raise
        except AliyunImportError as error:
            raise refusal from error
        if there is None:
            raise refusal


def _status(error: AliyunImportError) -> str:
    return error.details.get("http_status", "")
