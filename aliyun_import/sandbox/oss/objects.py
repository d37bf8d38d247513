"""This file does what OSS does with one object: put, get, head, delete."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from aliyun_import.sandbox.core.blob_store import Received
from aliyun_import.sandbox.core.http_types import Answer
from aliyun_import.sandbox.oss.call import OssCall, crc_header, quoted, version_header
from aliyun_import.sandbox.oss.errors import OssError, no_such_key
from aliyun_import.sandbox.oss.headers import (
    byte_range,
    check_conditions,
    content_md5,
    encryption,
    invalid_digest,
    kept_headers,
    refuse_overwriting,
    storage_class,
)
from aliyun_import.sandbox.oss.state import ARCHIVED, NULL_VERSION, Bucket, StoredObject
from aliyun_import.sandbox.oss.xml import http_date

MAX_PUT_BYTES = 5 << 30  # "Limits": 5 GB in one PutObject or UploadPart


def receive(call: OssCall) -> Received:
    """Take a request's body in, and hold it against what the request says about it."""
    body, headers = call.request.body, call.request.headers
    if not body.announced:
        message = "You must provide the Content-Length HTTP header."
        raise OssError(411, "MissingContentLength", message)
    if (body.length or 0) > MAX_PUT_BYTES:
        raise _too_large()
    digest = content_md5(headers)
    received = call.oss.shelf.receive(_bounded(call))
    if digest is not None and received.md5 != digest:
        raise invalid_digest()
    crc = headers.get("x-oss-hash-crc64ecma")
    if crc and crc != str(received.crc64):
        message = "The x-oss-hash-crc64ecma you specified does not match what we calculated."
        raise OssError(400, "InvalidCRC64", message)
    return received


def _bounded(call: OssCall) -> Iterator[bytes]:
    """Read the body up to the limit, which a chunked one does not announce; a fault may turn its first bit."""
    corrupt, size = call.struck_by("corrupt"), 0
    for chunk in call.request.body.chunks():
        size += len(chunk)
        if size > MAX_PUT_BYTES:
            raise _too_large()
        yield bytes([chunk[0] ^ 1]) + chunk[1:] if corrupt else chunk
        corrupt = False


def _too_large() -> OssError:
    return OssError(400, "InlineDataTooLarge", "Inline data exceeds the maximum allowed size.")


def put_object(call: OssCall) -> Answer:
    """PutObject."""
    headers = call.request.headers
    made = StoredObject(
        key=call.key,
        headers=kept_headers(headers),
        storage_class=storage_class(headers, call.bucket.storage_class),
        encryption=encryption(headers, call.bucket),
    )
    with call.state.lock:
        refuse_overwriting(call.request, call.bucket, call.key)
    received = receive(call)
    etag = received.md5.hex().upper()
    stored = store(call, replace(made, content=received.content, etag=etag, crc64=received.crc64))
    md5_header = (("Content-MD5", headers.get("content-md5")),) if "content-md5" in headers else ()
    return Answer(
        200,
        (
            ("ETag", quoted(etag)),
            *crc_header(stored.crc64),
            *md5_header,
            *version_header(call.bucket, stored),
            *encryption_header(stored),
        ),
    )


def store(call: OssCall, made: StoredObject) -> StoredObject:
    """Make an object the current one of its key, as the bucket's versioning says."""
    with call.state.lock:
        refuse_overwriting(call.request, call.bucket, made.key)
        version_id = call.oss.new_version_id() if call.bucket.versioning == "Enabled" else NULL_VERSION
        stored = replace(made, modified_s=call.now_s, version_id=version_id)
        call.bucket.put(stored)
        return stored


def encryption_header(stored: StoredObject) -> tuple[tuple[str, str], ...]:
    """Give the encryption's header, where there is one."""
    return (("x-oss-server-side-encryption", stored.encryption),) if stored.encryption else ()


def find(bucket: Bucket, key: str, version_id: str = "") -> StoredObject:
    """Find an object, or a version of it; NoSuchKey, NoSuchVersion."""
    stored = bucket.version(key, version_id)
    if stored is None and version_id:
        raise OssError(404, "NoSuchVersion", "The specified version does not exist.", extra=[("Key", key)])
    if stored is None or stored.delete_marker:
        raise no_such_key(key)
    return stored


def get_object(call: OssCall) -> Answer:
    """GetObject, whole or a range."""
    stored = _look(call)
    if stored.storage_class in ARCHIVED:
        message = "The operation is not valid for the object's state."
        raise OssError(403, "InvalidObjectState", message, extra=[("ObjectName", stored.key)])
    part = _range(call, stored)
    headers = _headers(call.bucket, stored)
    content = stored.content.chunks(part.first, part.length)
    if part.whole:
        return Answer(200, headers, content, content_length=stored.size)
    span = ("Content-Range", f"bytes {part.first}-{part.first + part.length - 1}/{stored.size}")
    return Answer(206, (*headers, span), content, content_length=part.length)


@dataclass(frozen=True)
class _Range:
    first: int
    length: int
    whole: bool


def _range(call: OssCall, stored: StoredObject) -> _Range:
    """Read Range as OSS does ("GetObject"): one that does not lie within the object gives the whole of it with 200.

    With `x-oss-range-behavior: standard` the end is cut to the object, and a begin beyond it is 416.
    """
    text = call.request.headers.get("range")
    standard = call.request.headers.get("x-oss-range-behavior") == "standard"
    span = byte_range(text, stored.size) if text else None
    if span is None:
        return _Range(0, stored.size, whole=True)
    first, last = span
    if first >= stored.size and standard:
        headers = [("ActualObjectSize", str(stored.size)), ("RangeRequested", text)]
        raise OssError(416, "InvalidRange", "The requested range cannot be satisfied.", extra=headers)
    if first >= stored.size or (last >= stored.size and not standard):
        return _Range(0, stored.size, whole=True)
    return _Range(first, min(last, stored.size - 1) - first + 1, whole=False)


def head_object(call: OssCall) -> Answer:
    """HeadObject."""
    stored = _look(call)
    return Answer(200, _headers(call.bucket, stored), content_length=stored.size)


def get_object_meta(call: OssCall) -> Answer:
    """GetObjectMeta: no more than ETag, length, date, CRC and version."""
    stored = _look(call)
    headers = (
        ("ETag", quoted(stored.etag)),
        ("Last-Modified", http_date(stored.modified_s)),
        *crc_header(stored.crc64),
        *version_header(call.bucket, stored),
    )
    return Answer(200, headers, content_length=stored.size)


def _look(call: OssCall) -> StoredObject:
    with call.state.lock:
        stored = find(call.bucket, call.key, call.request.param("versionId"))
    check_conditions(call.request.headers, stored)
    return stored


def _headers(bucket: Bucket, stored: StoredObject) -> tuple[tuple[str, str], ...]:
    return (
        *((name.title() if not name.startswith("x-oss-") else name, value) for name, value in stored.headers.items()),
        ("ETag", quoted(stored.etag)),
        ("Last-Modified", http_date(stored.modified_s)),
        ("Accept-Ranges", "bytes"),
        ("x-oss-object-type", stored.kind),
        ("x-oss-storage-class", stored.storage_class),
        *crc_header(stored.crc64),
        *version_header(bucket, stored),
        *encryption_header(stored),
    )


def delete_object(call: OssCall) -> Answer:
    """DeleteObject: 204 also where there is none; where versions are kept, a marker unless the version is named."""
    version_id = call.request.param("versionId")
    bucket = call.bucket
    with call.state.lock:
        if version_id or not bucket.versioning:
            gone = bucket.remove(call.key, version_id or NULL_VERSION)
            marker = gone is not None and gone.delete_marker
        else:
            enabled = bucket.versioning == "Enabled"
            gone = StoredObject(
                key=call.key,
                version_id=call.oss.new_version_id() if enabled else NULL_VERSION,
                modified_s=call.now_s,
                delete_marker=True,
            )
            bucket.put(gone)
            marker = True
    headers = version_header(bucket, gone) if gone is not None else ()
    return Answer(204, (*headers, ("x-oss-delete-marker", "true")) if marker else headers)
