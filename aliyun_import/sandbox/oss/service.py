"""This file is OSS's front door: what a request asks for, whether it may, and the answer's common headers.

Path style on one port: the bucket is split from the key before anything is decoded, because a `/` within a key
travels as %2F. A host name listed in Settings.cnames is a bucket's custom domain, and the whole path is the key.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from urllib.parse import unquote_to_bytes

from aliyun_import.sandbox.auth.oss_signature import PRESIGNING_PARAMS, authenticate
from aliyun_import.sandbox.core.http_types import Answer, Call, Request
from aliyun_import.sandbox.core.state import State
from aliyun_import.sandbox.oss.call import OssCall
from aliyun_import.sandbox.oss.errors import OssError, invalid_argument, not_done, refusal, refuse
from aliyun_import.sandbox.oss.operations import OPERATIONS, Operation
from aliyun_import.sandbox.oss.state import Bucket, OssState

__all__ = ["answer", "identify", "refuse"]

# "Naming": 3-63 of a-z, 0-9 and -, first and last alphanumeric; keys 1-1023 bytes, not beginning with / or \.
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
MAX_KEY_BYTES = 1023
_SIGNING_HEADERS = ("date", "content-sha256", "security-token")


def identify(request: Request, cnames: Mapping[str, str]) -> Call:
    """Tell the operation, bucket, key and part number of a request, from its first line and its host."""
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
    """Split a path into bucket and decoded key, and give `/bucket/key` as it is signed (still encoded)."""
    domain = cnames.get(request.headers.get("host").partition(":")[0], "")
    path = f"/{domain}{request.path}" if domain else request.path
    bucket, _, key = path.removeprefix("/").partition("/")
    signed = f"/{bucket}/{key}" if bucket else "/"
    return bucket, unquote_to_bytes(key).decode("utf-8", "surrogateescape"), signed


def _operation(request: Request, level: str) -> Operation | None:
    return next((each for each in OPERATIONS if _fits(each, request, level)), None)


def _fits(operation: Operation, request: Request, level: str) -> bool:
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
    """Do what a request asks for; a refusal is an answer like any other."""
    began = time.monotonic()
    try:
        done = _done(state, request)
    except OssError as error:
        done = refusal(request, error)
    common = (
        ("x-oss-request-id", request.id),
        ("x-oss-server-time", str(round((time.monotonic() - began) * 1000))),
    )
    return _distorted(replace(done, headers=(*done.headers, *common)), request)


def _done(state: State, request: Request) -> Answer:
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


def _refuse_unknown_headers(operation: Operation, request: Request) -> None:
    """Refuse, by name, what the operation's row does not know."""
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


def _open_bucket(call: OssCall, operation: Operation) -> Bucket:
    """Find the bucket of a request: there, in the region that was asked, the caller's, and open to this endpoint."""
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
    """Let the answer lie, where a fault with such an effect was ordered."""
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
