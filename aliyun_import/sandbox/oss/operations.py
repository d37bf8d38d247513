"""Table of the operations of OSS: method, sub-resource, parameters and headers of each."""

from collections.abc import Callable
from dataclasses import dataclass

from aliyun_import.sandbox.core.http_types import Answer, Operation
from aliyun_import.sandbox.oss import attributes, buckets, lifecycle, lists, multipart, objects
from aliyun_import.sandbox.oss.protocol import OssCall

_ATTRIBUTE_HEADERS = (
    "storage-class", "server-side-encryption", "server-side-encryption-key-id", "server-side-data-encryption", "meta-*",
    "tagging",
)  # fmt: skip
_UPLOAD = ("forbid-overwrite", *_ATTRIBUTE_HEADERS)
_SOURCE = ("copy-source", *(f"copy-source-if-{name}" for name in ("match", "none-match", "modified-since",
                                                                  "unmodified-since")))  # fmt: skip
_LISTED = ("prefix", "delimiter", "max-keys", "encoding-type")


@dataclass(frozen=True, kw_only=True)
class OssOperation(Operation[OssCall, Answer]):
    """Row of the table, with the properties by which a request is recognised."""

    method: str
    level: str
    """service, bucket or object."""
    marks: tuple[str, ...] = ()
    """Parameters, and headers (x-...), that a request must have to be this operation."""
    headers: tuple[str, ...] = ()
    """Accepted x-oss- headers, without the prefix and without those of the signature."""
    data: bool = False
    """Whether it is a data operation, which PublicEndpointForbidden refuses."""


def _row(
    level: str,
    method: str,
    name: str,
    do: Callable[[OssCall], Answer],
    *marks: str,
    action: str = "",
    params: tuple[str, ...] = (),
    headers: tuple[str, ...] = (),
) -> OssOperation:
    """Return a row. The default for `action` is the name of the operation."""
    return OssOperation(
        name=name, method=method, level=level, marks=marks, params=params, headers=headers,
        action=f"oss:{action or name}", data=level == "object" or name in _DATA, do=do,
    )  # fmt: skip


_DATA = frozenset({
    "ListObjects", "ListObjectsV2", "ListObjectVersions", "ListMultipartUploads", "DeleteMultipleObjects",
})  # fmt: skip

# The first matching row is used, so rows with more marks come before rows with fewer.
OPERATIONS: tuple[OssOperation, ...] = (
    _row("service", "GET", "ListBuckets", buckets.list_buckets, params=("prefix", "marker", "max-keys"),
         headers=("resource-group-id",)),
    # Settings of buckets
    _row("bucket", "PUT", "PutBucketLifecycle", lifecycle.put_lifecycle, "lifecycle",
         headers=("allow-same-action-overlap",)),
    _row("bucket", "GET", "GetBucketLifecycle", lifecycle.get_lifecycle, "lifecycle"),
    _row("bucket", "DELETE", "DeleteBucketLifecycle", lifecycle.delete_lifecycle, "lifecycle"),
    _row("bucket", "PUT", "PutBucketEncryption", buckets.put_encryption, "encryption"),
    _row("bucket", "GET", "GetBucketEncryption", buckets.get_encryption, "encryption"),
    _row("bucket", "DELETE", "DeleteBucketEncryption", buckets.delete_encryption, "encryption"),
    _row("bucket", "PUT", "PutBucketVersioning", buckets.put_versioning, "versioning"),
    _row("bucket", "GET", "GetBucketVersioning", buckets.get_versioning, "versioning"),
    _row("bucket", "PUT", "PutBucketAcl", attributes.put_bucket_acl, "acl", headers=("acl",)),
    _row("bucket", "GET", "GetBucketAcl", attributes.get_bucket_acl, "acl"),
    _row("bucket", "PUT", "PutBucketTags", attributes.put_bucket_tags, "tagging", action="PutBucketTagging"),
    _row("bucket", "GET", "GetBucketTags", attributes.get_bucket_tags, "tagging", action="GetBucketTagging"),
    _row("bucket", "DELETE", "DeleteBucketTags", attributes.delete_bucket_tags, "tagging",
         action="DeleteBucketTagging"),
    _row("bucket", "GET", "GetBucketInfo", buckets.get_bucket_info, "bucketInfo"),
    _row("bucket", "GET", "GetBucketLocation", buckets.get_bucket_location, "location"),
    _row("bucket", "GET", "GetBucketStat", lists.get_bucket_stat, "stat"),
    # Lists, and buckets themselves
    _row("bucket", "GET", "ListMultipartUploads", multipart.list_uploads, "uploads",
         params=("prefix", "delimiter", "key-marker", "upload-id-marker", "max-uploads", "encoding-type")),
    _row("bucket", "GET", "ListObjectVersions", lists.list_versions, "versions",
         params=(*_LISTED, "key-marker", "version-id-marker")),
    _row("bucket", "GET", "ListObjectsV2", lists.list_objects_v2, "list-type", action="ListObjects",
         params=(*_LISTED, "continuation-token", "start-after", "fetch-owner")),
    _row("bucket", "GET", "ListObjects", lists.list_objects, params=(*_LISTED, "marker")),
    _row("bucket", "POST", "DeleteMultipleObjects", lists.delete_many, "delete", params=("encoding-type",),
         action="DeleteObject"),
    _row("bucket", "PUT", "PutBucket", buckets.put_bucket, headers=("acl",)),
    _row("bucket", "DELETE", "DeleteBucket", buckets.delete_bucket),
    # Multipart uploads
    _row("object", "POST", "InitiateMultipartUpload", multipart.initiate, "uploads", action="PutObject",
         # ossutil sends the directives of a copy here, too. They have no effect.
         params=("encoding-type",), headers=("metadata-directive", "tagging-directive", *_UPLOAD)),
    _row("object", "PUT", "UploadPartCopy", multipart.upload_part_copy, "partNumber", "uploadId", "x-oss-copy-source",
         action="PutObject", headers=("copy-source-range", *_SOURCE)),
    _row("object", "PUT", "UploadPart", multipart.upload_part, "partNumber", "uploadId", action="PutObject",
         headers=("hash-crc64ecma", "server-side-*")),
    _row("object", "POST", "CompleteMultipartUpload", multipart.complete, "uploadId", action="PutObject",
         params=("encoding-type",), headers=("forbid-overwrite", "complete-all", "object-acl")),
    _row("object", "DELETE", "AbortMultipartUpload", multipart.abort, "uploadId"),
    _row("object", "GET", "ListParts", multipart.list_parts, "uploadId",
         params=("part-number-marker", "max-parts", "encoding-type")),
    # Objects
    _row("object", "PUT", "PutObjectACL", attributes.put_object_acl, "acl", action="PutObjectAcl",
         params=("versionId",), headers=("object-acl",)),
    _row("object", "GET", "GetObjectACL", attributes.get_object_acl, "acl", action="GetObjectAcl",
         params=("versionId",)),
    _row("object", "PUT", "PutObjectTagging", attributes.put_object_tags, "tagging", params=("versionId",)),
    _row("object", "GET", "GetObjectTagging", attributes.get_object_tags, "tagging", params=("versionId",)),
    _row("object", "DELETE", "DeleteObjectTagging", attributes.delete_object_tags, "tagging", params=("versionId",)),
    _row("object", "POST", "AppendObject", objects.append_object, "append", "position", action="PutObject",
         headers=("object-acl", *_ATTRIBUTE_HEADERS)),
    _row("object", "PUT", "PutSymlink", objects.put_symlink, "symlink", action="PutObject",
         headers=("symlink-target", "object-acl", *_UPLOAD)),
    _row("object", "GET", "GetSymlink", objects.get_symlink, "symlink", action="GetObject", params=("versionId",)),
    _row("object", "POST", "RestoreObject", objects.restore_object, "restore", params=("versionId",)),
    _row("object", "PUT", "CopyObject", objects.copy_object, "x-oss-copy-source", action="PutObject",
         headers=("metadata-directive", "tagging-directive", "object-acl", *_SOURCE, *_UPLOAD)),
    _row("object", "PUT", "PutObject", objects.put_object, headers=("hash-crc64ecma", "object-acl", *_UPLOAD)),
    _row("object", "HEAD", "GetObjectMeta", objects.get_object_meta, "objectMeta", action="GetObject",
         params=("versionId",)),
    _row("object", "HEAD", "HeadObject", objects.head_object, action="GetObject", params=("versionId",)),
    _row("object", "GET", "GetObject", objects.get_object, params=("versionId",), headers=("range-behavior",)),
    _row("object", "DELETE", "DeleteObject", objects.delete_object, params=("versionId",)),
)  # fmt: skip
