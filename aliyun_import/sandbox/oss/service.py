"""Service OSS: recognition of operations, checks of requests, and common headers of answers.

In path style, the bucket is split from the key before decoding, because a `/` within a key is sent as %2F. The hosts
BUCKET.oss-REGION.aliyuncs.com and BUCKET.localhost, and the custom domains in Settings.cnames, name a bucket; the path
is then the key. A sub-resource, parameter or x-oss- header that is not in the row of the operation is answered 501.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from urllib.parse import unquote_to_bytes

from aliyun_import.sandbox.auth.oss_signature import ANONYMOUS, PRESIGNING_PARAMS, authenticate
from aliyun_import.sandbox.core.http_types import Answer, Call, Request
from aliyun_import.sandbox.core.state import State
from aliyun_import.sandbox.oss.operations import OPERATIONS, OssOperation
from aliyun_import.sandbox.oss.protocol import (
    OssCall,
    OssError,
    invalid_argument,
    no_such_bucket,
    not_implemented,
    refusal,
    refuse,
)
from aliyun_import.sandbox.oss.state import BUCKET_NAME, MAX_KEY_BYTES, Bucket, OssState

__all__ = ["answer", "identify", "refuse"]


# BUCKET.oss-REGION.aliyuncs.com is the only form that the real service accepts; it needs a proxy or a hosts file here.
# Resolvers resolve BUCKET.localhost to this machine (RFC 6761).
_VIRTUAL_HOST = re.compile(rf"({BUCKET_NAME.pattern})\.(?:oss-[a-z0-9-]+\.aliyuncs\.com|localhost)")
_PUBLIC_READS = frozenset({"GetObject", "HeadObject", "GetObjectMeta"})
_SIGNING_HEADERS = ("date", "content-sha256", "security-token")


def identify(request: Request, cnames: Mapping[str, str]) -> Call:
    """Return the operation, bucket, key and part number of a request, from its first line and its headers."""
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
    """Return the bucket, the decoded key, and `/bucket/key` as signed, still percent-encoded."""
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
    """Return a name for a request that is not in the table."""
    names = "&".join(name for name, _ in request.query)
    return f"{request.method} {f'?{names}' if names else level}"


def answer(state: State, request: Request) -> Answer:
    """Carry out a request, and return its answer or a refusal."""
    began = time.monotonic()
    try:
        done = _carry_out(state, request)
    except OssError as error:
        done = refusal(request, error)
    common = (
        ("x-oss-request-id", request.id),
        ("x-oss-server-time", str(round((time.monotonic() - began) * 1000))),
    )
    return _with_fault(replace(done, headers=(*done.headers, *common)), request)


def _carry_out(state: State, request: Request) -> Answer:
    bucket_name, key, signed = split_resource(request, state.settings.cnames)
    level = "object" if key else "bucket" if bucket_name else "service"
    operation = _operation(request, level)
    if operation is None:
        if request.has("uploadId") or request.has("partNumber"):
            raise invalid_argument("uploadId", "", "Unexpected query string parameter.", ec="0017-00000219")
        raise not_implemented(_unknown(request, level))
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
    if state.settings.arrears:
        raise OssError(403, "UserDisable", "UserDisable")
    if level != "service":
        _check_names(bucket_name, key)
    call.require(operation.action)
    if caller.key is ANONYMOUS and (level == "service" or operation.name == "PutBucket"):
        raise OssError(403, "AccessDenied", "Anonymous access is forbidden for this operation.")
    if level != "service" and operation.name != "PutBucket":
        call = replace(call, found=_open_bucket(call, operation))
    return operation.do(call)


def _refuse_unknown_headers(operation: OssOperation, request: Request) -> None:
    """Raise NotImplemented with the name of a header that is not in the row of the operation."""
    for name in request.headers.names():
        if name.startswith("x-oss-"):
            short = name.removeprefix("x-oss-")
            if not any(fnmatchcase(short, known) for known in (*operation.headers, *_SIGNING_HEADERS)):
                raise not_implemented(f"the header {name} of {operation.name}", header=name)


def _check_names(bucket: str, key: str) -> None:
    if not BUCKET_NAME.fullmatch(bucket):
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
    """Return the bucket of a request. Raises OssError if it is missing or not accessible to the request."""
    bucket = call.oss.bucket(call.bucket_name)
    if bucket is None:
        raise no_such_bucket(call.bucket_name)
    if call.caller.region is not None and call.caller.region != bucket.region:
        raise OssError(
            403,
            "AccessDenied",
            "The bucket you are attempting to access must be addressed using the specified endpoint. "
            "Please send all future requests to this endpoint.",
            extra=[("Bucket", bucket.name), ("Endpoint", f"oss-{bucket.region}.aliyuncs.com")],
        )
    if bucket.owner_id != call.account_id and not _is_public(bucket, operation.name, call.key):
        message = "You have no right to access this object because of bucket acl."
        if call.caller.key is ANONYMOUS:
            message = "Anonymous access is forbidden for this operation."
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


def _is_public(bucket: Bucket, operation: str, key: str) -> bool:
    """Return whether the ACLs allow an operation to all callers. The ACL of an object overrides that of its bucket."""
    acl = bucket.acl
    if operation in _PUBLIC_READS:
        stored = bucket.current(key)
        acl = stored.acl if stored is not None and stored.acl != "default" else acl
        return acl in ("public-read", "public-read-write")
    if operation in ("ListObjects", "ListObjectsV2"):
        return acl in ("public-read", "public-read-write")
    return operation == "PutObject" and acl == "public-read-write"


def _with_fault(done: Answer, request: Request) -> Answer:
    """Return the answer with a wrong or without a checksum or ETag, if a fault has this effect."""
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
