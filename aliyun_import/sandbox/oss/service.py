"""The OSS service: its table of operations, recognition and checks of requests, and common headers of answers.

Path style on one port: the bucket is split from the key before decoding, because a `/` within a key is sent as %2F. The
host BUCKET.oss-REGION.aliyuncs.com names a bucket, as does a custom domain in Settings.cnames; the whole path is the
key then. What a request asks beyond its row (a sub-resource, parameter or x-oss- header) is answered 501 by name.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from urllib.parse import unquote_to_bytes

from aliyun_import.sandbox.auth.oss_signature import PRESIGNING_PARAMS, authenticate
from aliyun_import.sandbox.core.http_types import Answer, Call, Operation, Request
from aliyun_import.sandbox.core.state import State
from aliyun_import.sandbox.oss import buckets, multipart, objects
from aliyun_import.sandbox.oss.protocol import OssCall, OssError, invalid_argument, not_done, refusal, refuse
from aliyun_import.sandbox.oss.state import Bucket, OssState

__all__ = ["answer", "identify", "refuse"]

# "Naming": 3-63 of a-z, 0-9 and -, first and last alphanumeric; keys 1-1023 bytes, not beginning with / or \.
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
MAX_KEY_BYTES = 1023
# BUCKET.oss-REGION.aliyuncs.com, the only form that the real service takes; a proxy or a hosts file leads it here.
_VIRTUAL_HOST = re.compile(r"([a-z0-9][a-z0-9-]{1,61}[a-z0-9])\.oss-[a-z0-9-]+\.aliyuncs\.com")
_SIGNING_HEADERS = ("date", "content-sha256", "security-token")
_UPLOAD_HEADERS = (
    "storage-class", "forbid-overwrite", "server-side-encryption", "server-side-encryption-key-id",
    "server-side-data-encryption", "meta-*",
)  # fmt: skip
_CONDITIONS = tuple(f"copy-source-if-{name}" for name in ("match", "none-match", "modified-since", "unmodified-since"))


@dataclass(frozen=True, kw_only=True)
class OssOperation(Operation[OssCall, Answer]):
    """One row of the table of OSS: besides name and function, how a request for it is recognised."""

    method: str
    level: str
    """service, bucket or object."""
    marks: tuple[str, ...] = ()
    """Parameters that distinguish it from its siblings; a header if it begins with x-."""
    headers: tuple[str, ...] = ()
    """The x-oss- headers that it takes, without that prefix, besides those of signing."""
    data: bool = False
    """Whether it counts as a data operation: PublicEndpointForbidden."""


# Rows with more marks come before their siblings with fewer: the first match is taken.
OPERATIONS: tuple[OssOperation, ...] = (
    OssOperation(name="ListBuckets", method="GET", level="service", action="oss:ListBuckets", do=buckets.list_buckets,
                 params=("prefix", "marker", "max-keys"), headers=("resource-group-id",)),
    # Buckets
    OssOperation(name="PutBucketLifecycle", method="PUT", level="bucket", marks=("lifecycle",),
                 action="oss:PutBucketLifecycle", do=buckets.put_lifecycle,
                 headers=("allow-same-action-overlap",)),
    OssOperation(name="GetBucketLifecycle", method="GET", level="bucket", marks=("lifecycle",),
                 action="oss:GetBucketLifecycle", do=buckets.get_lifecycle),
    OssOperation(name="DeleteBucketLifecycle", method="DELETE", level="bucket", marks=("lifecycle",),
                 action="oss:DeleteBucketLifecycle", do=buckets.delete_lifecycle),
    OssOperation(name="PutBucketEncryption", method="PUT", level="bucket", marks=("encryption",),
                 action="oss:PutBucketEncryption", do=buckets.put_encryption),
    OssOperation(name="GetBucketEncryption", method="GET", level="bucket", marks=("encryption",),
                 action="oss:GetBucketEncryption", do=buckets.get_encryption),
    OssOperation(name="DeleteBucketEncryption", method="DELETE", level="bucket", marks=("encryption",),
                 action="oss:DeleteBucketEncryption", do=buckets.delete_encryption),
    OssOperation(name="PutBucketVersioning", method="PUT", level="bucket", marks=("versioning",),
                 action="oss:PutBucketVersioning", do=buckets.put_versioning),
    OssOperation(name="GetBucketVersioning", method="GET", level="bucket", marks=("versioning",),
                 action="oss:GetBucketVersioning", do=buckets.get_versioning),
    OssOperation(name="GetBucketInfo", method="GET", level="bucket", marks=("bucketInfo",),
                 action="oss:GetBucketInfo", do=buckets.get_bucket_info),
    OssOperation(name="GetBucketLocation", method="GET", level="bucket", marks=("location",),
                 action="oss:GetBucketLocation", do=buckets.get_bucket_location),
    OssOperation(name="GetBucketAcl", method="GET", level="bucket", marks=("acl",),
                 action="oss:GetBucketAcl", do=buckets.get_bucket_acl),
    OssOperation(name="ListMultipartUploads", method="GET", level="bucket", marks=("uploads",),
                 params=("prefix", "delimiter", "key-marker", "upload-id-marker", "max-uploads", "encoding-type"),
                 action="oss:ListMultipartUploads", data=True, do=multipart.list_uploads),
    OssOperation(name="ListObjectsV2", method="GET", level="bucket", marks=("list-type",),
                 params=("prefix", "delimiter", "continuation-token", "start-after", "fetch-owner", "max-keys",
                         "encoding-type"),
                 action="oss:ListObjects", data=True, do=objects.list_objects_v2),
    OssOperation(name="ListObjects", method="GET", level="bucket",
                 params=("prefix", "delimiter", "marker", "max-keys", "encoding-type"),
                 action="oss:ListObjects", data=True, do=objects.list_objects),
    OssOperation(name="PutBucket", method="PUT", level="bucket", headers=("acl",),
                 action="oss:PutBucket", do=buckets.put_bucket),
    OssOperation(name="DeleteBucket", method="DELETE", level="bucket", action="oss:DeleteBucket",
                 do=buckets.delete_bucket),
    # Multipart uploads
    OssOperation(name="InitiateMultipartUpload", method="POST", level="object", marks=("uploads",),
                 params=("encoding-type",), headers=_UPLOAD_HEADERS, action="oss:PutObject", data=True,
                 do=multipart.initiate),
    OssOperation(name="UploadPartCopy", method="PUT", level="object",
                 marks=("partNumber", "uploadId", "x-oss-copy-source"),
                 headers=("copy-source", "copy-source-range", *_CONDITIONS),
                 action="oss:PutObject", data=True, do=multipart.upload_part_copy),
    OssOperation(name="UploadPart", method="PUT", level="object", marks=("partNumber", "uploadId"),
                 headers=("hash-crc64ecma", "server-side-*"), action="oss:PutObject", data=True,
                 do=multipart.upload_part),
    OssOperation(name="CompleteMultipartUpload", method="POST", level="object", marks=("uploadId",),
                 params=("encoding-type",), headers=("forbid-overwrite", "complete-all"),
                 action="oss:PutObject", data=True, do=multipart.complete),
    OssOperation(name="AbortMultipartUpload", method="DELETE", level="object", marks=("uploadId",),
                 action="oss:AbortMultipartUpload", data=True, do=multipart.abort),
    OssOperation(name="ListParts", method="GET", level="object", marks=("uploadId",),
                 params=("part-number-marker", "max-parts", "encoding-type"),
                 action="oss:ListParts", data=True, do=multipart.list_parts),
    # Objects
    OssOperation(name="CopyObject", method="PUT", level="object", marks=("x-oss-copy-source",),
                 headers=("copy-source", "metadata-directive", *_CONDITIONS, *_UPLOAD_HEADERS),
                 action="oss:PutObject", data=True, do=objects.copy_object),
    OssOperation(name="PutObject", method="PUT", level="object", headers=("hash-crc64ecma", *_UPLOAD_HEADERS),
                 action="oss:PutObject", data=True, do=objects.put_object),
    OssOperation(name="GetObjectMeta", method="HEAD", level="object", marks=("objectMeta",), params=("versionId",),
                 action="oss:GetObject", data=True, do=objects.get_object_meta),
    OssOperation(name="HeadObject", method="HEAD", level="object", params=("versionId",),
                 action="oss:GetObject", data=True, do=objects.head_object),
    OssOperation(name="GetObject", method="GET", level="object", params=("versionId",), headers=("range-behavior",),
                 action="oss:GetObject", data=True, do=objects.get_object),
    OssOperation(name="DeleteObject", method="DELETE", level="object", params=("versionId",),
                 action="oss:DeleteObject", data=True, do=objects.delete_object),
)  # fmt: skip


def identify(request: Request, cnames: Mapping[str, str]) -> Call:
    """Return the operation, bucket, key and part number of a request, from its first line and its host."""
    bucket, key, _ = split_resource(request, cnames)
    level = "object" if key else "bucket" if bucket else "service"
    operation = _operation(request, level)
    part = request.param("partNumber")
    return Call(
        service="oss",
        operation=operation.name if operation else _unknown(request, level),
        bucket=bucket,
        key=key,
        part=int(part) if part.isdecimal() else None,
    )


def split_resource(request: Request, cnames: Mapping[str, str]) -> tuple[str, str, str]:
    """Return the bucket, the decoded key, and `/bucket/key` as it is signed (still encoded)."""
    host = request.headers.get("host").partition(":")[0].lower()
    virtual = _VIRTUAL_HOST.fullmatch(host)
    named = cnames.get(host) or (virtual[1] if virtual else "")
    path = f"/{named}{request.path}" if named else request.path
    bucket, _, key = path.removeprefix("/").partition("/")
    signed = f"/{bucket}/{key}" if bucket else "/"
    return bucket, unquote_to_bytes(key).decode("utf-8", "surrogateescape"), signed


def _operation(request: Request, level: str) -> OssOperation | None:
    return next((each for each in OPERATIONS if _matches(each, request, level)), None)


def _matches(operation: OssOperation, request: Request, level: str) -> bool:
    return (
        operation.method == request.method
        and operation.level == level
        and all(mark in request.headers if mark.startswith("x-") else request.has(mark) for mark in operation.marks)
        and all(
            name in operation.marks or name in operation.params or name in PRESIGNING_PARAMS
            for name, _ in request.query
        )
    )


def _unknown(request: Request, level: str) -> str:
    names = "&".join(name for name, _ in request.query)
    return f"{request.method} {f'?{names}' if names else level}"


def answer(state: State, request: Request) -> Answer:
    """Carry out a request; a refusal is an answer, too."""
    began = time.monotonic()
    try:
        done = _carry_out(state, request)
    except OssError as error:
        done = refusal(request, error)
    common = (
        ("x-oss-request-id", request.id),
        ("x-oss-server-time", str(round((time.monotonic() - began) * 1000))),
    )
    return _distorted(replace(done, headers=(*done.headers, *common)), request)


def _carry_out(state: State, request: Request) -> Answer:
    bucket_name, key, signed = split_resource(request, state.settings.cnames)
    level = "object" if key else "bucket" if bucket_name else "service"
    operation = _operation(request, level)
    if operation is None:
        if request.has("uploadId") or request.has("partNumber"):
            raise invalid_argument("uploadId", "", "Unexpected query string parameter.", ec="0017-00000219")
        raise not_done(_unknown(request, level))
    _refuse_unknown_headers(operation, request)
    caller = authenticate(state, request, signed)
    call = OssCall(
        state=state,
        oss=state.part(OssState),
        request=request,
        caller=caller,
        region=caller.region or state.settings.region,
        bucket_name=bucket_name,
        key=key,
    )
    if level != "service":
        _check_names(bucket_name, key)
    call.require(operation.action)
    if level != "service" and operation.name != "PutBucket":
        call = replace(call, found=_open_bucket(call, operation))
    return operation.do(call)


def _refuse_unknown_headers(operation: OssOperation, request: Request) -> None:
    """Refuse by name the headers that are not in the row of the operation."""
    for name in request.headers.names():
        if name.startswith("x-oss-"):
            short = name.removeprefix("x-oss-")
            if not any(fnmatchcase(short, known) for known in (*operation.headers, *_SIGNING_HEADERS)):
                raise not_done(f"the header {name} of {operation.name}", header=name)


def _check_names(bucket: str, key: str) -> None:
    if not _BUCKET_NAME.fullmatch(bucket):
        message = "The specified bucket is not valid."
        raise OssError(400, "InvalidBucketName", message, extra=[("BucketName", bucket)])
    raw = key.encode("utf-8", "surrogateescape")
    try:
        raw.decode()
    except UnicodeDecodeError:
        raw = b""
    if key and (not 1 <= len(raw) <= MAX_KEY_BYTES or raw[:1] in b"/\\"):
        message = "The specified object is not valid."
        raise OssError(400, "InvalidObjectName", message, extra=[("ObjectName", key)])


def _open_bucket(call: OssCall, operation: OssOperation) -> Bucket:
    """Return the bucket of a request; refuses a missing one, another region, owner or endpoint."""
    bucket = call.oss.bucket(call.bucket_name)
    if bucket is None:
        message = "The specified bucket does not exist."
        raise OssError(404, "NoSuchBucket", message, extra=[("BucketName", call.bucket_name)])
    if call.caller.region is not None and call.caller.region != bucket.region:
        raise OssError(
            403,
            "AccessDenied",
            "The bucket you are attempting to access must be addressed using the specified endpoint. "
            "Please send all future requests to this endpoint.",
            extra=[("Bucket", bucket.name), ("Endpoint", f"oss-{bucket.region}.aliyuncs.com")],
        )
    if bucket.owner_id != call.account_id:
        message = "You have no right to access this object because of bucket acl."
        raise OssError(403, "AccessDenied", message, ec="0003-00000001", extra=[("BucketName", bucket.name)])
    mainland = bucket.region.startswith("cn-") and bucket.region != "cn-hongkong"
    host = call.request.headers.get("host").partition(":")[0]
    if (
        operation.data
        and mainland
        and call.state.settings.public_endpoint_forbidden
        and host not in call.state.settings.cnames
    ):
        message = "Not allowed using the OSS public endpoint, please use CNAME instead."
        raise OssError(400, "PublicEndpointForbidden", message, ec="0048-00000401")
    return bucket


def _distorted(done: Answer, request: Request) -> Answer:
    """Return the answer with a wrong checksum or ETag, if a fault asks for it."""
    effect = request.fault.effect if request.fault is not None else ""
    if effect == "no-crc":
        return replace(done, headers=tuple(pair for pair in done.headers if pair[0] != "x-oss-hash-crc64ecma"))
    if effect == "wrong-crc":
        headers = tuple(
            (name, str(int(value) ^ 1) if name == "x-oss-hash-crc64ecma" else value) for name, value in done.headers
        )
        return replace(done, headers=headers)
    if effect == "wrong-etag":
        wrong = '"' + "0" * 32 + '"'
        body = done.body
        if isinstance(body, bytes):
            body = re.sub(rb"<ETag>[^<]*</ETag>", f"<ETag>{wrong}</ETag>".encode(), body)
        headers = tuple((name, wrong if name == "ETag" else value) for name, value in done.headers)
        return replace(done, headers=headers, body=body)
    return done
