"""This file lists every OSS operation that the sandbox does: how it is recognised, what it takes, which right it needs.

A request that asks for more than its row here allows (another sub-resource, parameter or x-oss- header) is answered
501 by name, so that nobody takes silence for support.
"""

from collections.abc import Callable
from dataclasses import dataclass

from aliyun_import.sandbox.core.http_types import Answer
from aliyun_import.sandbox.oss import bucket_rules as rules
from aliyun_import.sandbox.oss import buckets, multipart, objects
from aliyun_import.sandbox.oss import copy as copies
from aliyun_import.sandbox.oss import listing as lists
from aliyun_import.sandbox.oss.call import OssCall

_MAKING = ("storage-class", "forbid-overwrite", "server-side-encryption", "server-side-encryption-key-id",
           "server-side-data-encryption", "meta-*")  # fmt: skip
_CONDITIONS = tuple(f"copy-source-if-{name}" for name in ("match", "none-match", "modified-since", "unmodified-since"))


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation."""

    name: str
    method: str
    level: str
    """service, bucket or object."""
    marks: tuple[str, ...] = ()
    """The parameters that tell it from its siblings; a header where it begins with x-."""
    params: tuple[str, ...] = ()
    """The parameters that it may have besides."""
    headers: tuple[str, ...] = ()
    """The x-oss- headers that it knows, without that prefix, besides those of signing."""
    action: str
    """The RAM action that it needs."""
    data: bool = False
    """Whether it counts as a data operation: PublicEndpointForbidden."""
    do: Callable[[OssCall], Answer]


# Rows with more marks stand before their siblings with fewer: the first that fits is taken.
OPERATIONS: tuple[Operation, ...] = (
    Operation(name="ListBuckets", method="GET", level="service", action="oss:ListBuckets", do=buckets.list_buckets,
              params=("prefix", "marker", "max-keys"), headers=("resource-group-id",)),
    # Buckets
    Operation(name="PutBucketLifecycle", method="PUT", level="bucket", marks=("lifecycle",),
              action="oss:PutBucketLifecycle", do=rules.put_lifecycle,
              headers=("allow-same-action-overlap",)),
    Operation(name="GetBucketLifecycle", method="GET", level="bucket", marks=("lifecycle",),
              action="oss:GetBucketLifecycle", do=rules.get_lifecycle),
    Operation(name="DeleteBucketLifecycle", method="DELETE", level="bucket", marks=("lifecycle",),
              action="oss:DeleteBucketLifecycle", do=rules.delete_lifecycle),
    Operation(name="PutBucketEncryption", method="PUT", level="bucket", marks=("encryption",),
              action="oss:PutBucketEncryption", do=rules.put_encryption),
    Operation(name="GetBucketEncryption", method="GET", level="bucket", marks=("encryption",),
              action="oss:GetBucketEncryption", do=rules.get_encryption),
    Operation(name="DeleteBucketEncryption", method="DELETE", level="bucket", marks=("encryption",),
              action="oss:DeleteBucketEncryption", do=rules.delete_encryption),
    Operation(name="PutBucketVersioning", method="PUT", level="bucket", marks=("versioning",),
              action="oss:PutBucketVersioning", do=rules.put_versioning),
    Operation(name="GetBucketVersioning", method="GET", level="bucket", marks=("versioning",),
              action="oss:GetBucketVersioning", do=rules.get_versioning),
    Operation(name="GetBucketInfo", method="GET", level="bucket", marks=("bucketInfo",),
              action="oss:GetBucketInfo", do=buckets.get_bucket_info),
    Operation(name="GetBucketLocation", method="GET", level="bucket", marks=("location",),
              action="oss:GetBucketLocation", do=buckets.get_bucket_location),
    Operation(name="GetBucketAcl", method="GET", level="bucket", marks=("acl",),
              action="oss:GetBucketAcl", do=buckets.get_bucket_acl),
    Operation(name="ListMultipartUploads", method="GET", level="bucket", marks=("uploads",),
              params=("prefix", "delimiter", "key-marker", "upload-id-marker", "max-uploads", "encoding-type"),
              action="oss:ListMultipartUploads", data=True, do=lists.list_uploads),
    Operation(name="ListObjectsV2", method="GET", level="bucket", marks=("list-type",),
              params=("prefix", "delimiter", "continuation-token", "start-after", "fetch-owner", "max-keys",
                      "encoding-type"),
              action="oss:ListObjects", data=True, do=lists.list_objects_v2),
    Operation(name="ListObjects", method="GET", level="bucket",
              params=("prefix", "delimiter", "marker", "max-keys", "encoding-type"),
              action="oss:ListObjects", data=True, do=lists.list_objects),
    Operation(name="PutBucket", method="PUT", level="bucket", headers=("acl",),
              action="oss:PutBucket", do=buckets.put_bucket),
    Operation(name="DeleteBucket", method="DELETE", level="bucket", action="oss:DeleteBucket",
              do=buckets.delete_bucket),
    # Multipart uploads
    Operation(name="InitiateMultipartUpload", method="POST", level="object", marks=("uploads",),
              params=("encoding-type",), headers=_MAKING, action="oss:PutObject", data=True, do=multipart.initiate),
    Operation(name="UploadPartCopy", method="PUT", level="object",
              marks=("partNumber", "uploadId", "x-oss-copy-source"),
              headers=("copy-source", "copy-source-range", *_CONDITIONS),
              action="oss:PutObject", data=True, do=copies.upload_part_copy),
    Operation(name="UploadPart", method="PUT", level="object", marks=("partNumber", "uploadId"),
              headers=("hash-crc64ecma", "server-side-*"), action="oss:PutObject", data=True,
              do=multipart.upload_part),
    Operation(name="CompleteMultipartUpload", method="POST", level="object", marks=("uploadId",),
              params=("encoding-type",), headers=("forbid-overwrite", "complete-all"),
              action="oss:PutObject", data=True, do=multipart.complete),
    Operation(name="AbortMultipartUpload", method="DELETE", level="object", marks=("uploadId",),
              action="oss:AbortMultipartUpload", data=True, do=multipart.abort),
    Operation(name="ListParts", method="GET", level="object", marks=("uploadId",),
              params=("part-number-marker", "max-parts", "encoding-type"),
              action="oss:ListParts", data=True, do=lists.list_parts),
    # Objects
    Operation(name="CopyObject", method="PUT", level="object", marks=("x-oss-copy-source",),
              headers=("copy-source", "metadata-directive", *_CONDITIONS, *_MAKING),
              action="oss:PutObject", data=True, do=copies.copy_object),
    Operation(name="PutObject", method="PUT", level="object", headers=("hash-crc64ecma", *_MAKING),
              action="oss:PutObject", data=True, do=objects.put_object),
    Operation(name="GetObjectMeta", method="HEAD", level="object", marks=("objectMeta",), params=("versionId",),
              action="oss:GetObject", data=True, do=objects.get_object_meta),
    Operation(name="HeadObject", method="HEAD", level="object", params=("versionId",),
              action="oss:GetObject", data=True, do=objects.head_object),
    Operation(name="GetObject", method="GET", level="object", params=("versionId",), headers=("range-behavior",),
              action="oss:GetObject", data=True, do=objects.get_object),
    Operation(name="DeleteObject", method="DELETE", level="object", params=("versionId",),
              action="oss:DeleteObject", data=True, do=objects.delete_object),
)  # fmt: skip
