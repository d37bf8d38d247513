"""Operations on objects: put, copy, get, head, delete; refusals of append, symbolic links and restore.

AppendObject, PutSymlink, GetSymlink and RestoreObject are refused with the code of the service where the service
refuses them, and otherwise answered 501. A copy copies no bytes: its content refers to the same files. The answer to a
copy has the ETag also as a header, because oss2 reads it only there, and its users complete uploads with it.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import unquote

from aliyun_import.sandbox.core.blob_store import Content, Received
from aliyun_import.sandbox.core.http_types import Answer
from aliyun_import.sandbox.oss.attributes import requested_attributes
from aliyun_import.sandbox.oss.protocol import (
    DELETE_MARKER,
    OssCall,
    OssError,
    byte_range,
    check_conditions,
    check_version_id,
    content_md5,
    crc_header,
    find,
    http_date,
    invalid_argument,
    invalid_digest,
    no_such_bucket,
    not_implemented,
    quoted,
    refuse_overwriting,
    stamp,
    version_header,
    xml_answer,
)
from aliyun_import.sandbox.oss.state import ARCHIVED, NULL_VERSION, Bucket, StoredObject

MAX_PUT_BYTES = 5 << 30  # "Limits": 5 GB in one PutObject or UploadPart
MAX_COPY_OBJECT_BYTES = 1 << 30  # "CopyObject": larger objects need UploadPartCopy


def receive(call: OssCall, *, too_large: str = "InlineDataTooLarge") -> Received:
    """Store the body of a request, and compare its length, MD5 and CRC-64 with the headers. Raises OssError.

    `too_large` is the code for a body of more than 5 GiB, which differs between operations.
    """
    body, headers = call.request.body, call.request.headers
    if not body.announced:
        message = "You must provide the Content-Length HTTP header."
        raise OssError(411, "MissingContentLength", message)
    if (body.length or 0) > MAX_PUT_BYTES:
        raise _too_large(too_large)
    digest = content_md5(headers)
    received = call.oss.blobs.receive(_bounded(call, too_large))
    if digest is not None and received.md5 != digest:
        raise invalid_digest()
    crc = headers.get("x-oss-hash-crc64ecma")
    if crc and crc != str(received.crc64):
        message = "The x-oss-hash-crc64ecma you specified does not match what we calculated."
        raise OssError(400, "InvalidCRC64", message)
    return received


def _bounded(call: OssCall, too_large: str) -> Iterator[bytes]:
    """Yield the body. Raises OssError for more than 5 GiB of a chunked body. A fault may flip the first bit."""
    corrupt, size = call.has_fault("corrupt"), 0
    for chunk in call.request.body.chunks():
        size += len(chunk)
        if size > MAX_PUT_BYTES:
            raise _too_large(too_large)
        yield bytes([chunk[0] ^ 1]) + chunk[1:] if corrupt else chunk
        corrupt = False


def _too_large(code: str) -> OssError:
    return OssError(400, code, "Inline data exceeds the maximum allowed size.")


def put_object(call: OssCall) -> Answer:
    """PutObject."""
    made = requested_attributes(call)
    with call.state.lock:
        refuse_overwriting(call.request, call.bucket, call.key)
    received = receive(call, too_large="InvalidArgument")
    etag = received.md5.hex().upper()
    stored = store(call, replace(made, content=received.content, etag=etag, crc64=received.crc64))
    return Answer(
        200,
        (
            ("ETag", quoted(etag)),
            *crc_header(stored.crc64),
            *md5_header(stored),
            *version_header(call.bucket, stored),
            *encryption_header(stored),
        ),
    )


def store(call: OssCall, made: StoredObject) -> StoredObject:
    """Store an object as the current version of its key, with a version id by the versioning of the bucket."""
    with call.state.lock:
        refuse_overwriting(call.request, call.bucket, made.key)
        version_id = call.oss.new_version_id() if call.bucket.versioning == "Enabled" else NULL_VERSION
        stored = replace(made, id=secrets.token_hex(8), modified_s=call.now_s, version_id=version_id)
        call.oss.put(call.bucket, stored)
        return stored


def md5_header(stored: StoredObject) -> tuple[tuple[str, str], ...]:
    """Return the header with the MD5 of a Normal object. The MD5 of an object with parts is not known."""
    if stored.kind != "Normal" or not re.fullmatch("[0-9A-F]{32}", stored.etag):
        return ()
    return (("Content-MD5", base64.b64encode(bytes.fromhex(stored.etag)).decode()),)


def encryption_header(stored: StoredObject) -> tuple[tuple[str, str], ...]:
    """Return the header with the encryption, or no header."""
    return (("x-oss-server-side-encryption", stored.encryption),) if stored.encryption else ()


def get_object(call: OssCall) -> Answer:
    """GetObject: the object, or a range of it."""
    stored = _requested(call)
    if stored.storage_class in ARCHIVED:
        message = "The operation is not valid for the object's state."
        raise OssError(403, "InvalidObjectState", message, extra=[("ObjectName", stored.key)])
    part = _range(call, stored)
    headers = _headers(call.bucket, stored)
    content = stored.content.chunks(part.first, part.length)
    if part.whole:
        return Answer(200, (*headers, *md5_header(stored)), content, content_length=stored.size)
    span = ("Content-Range", f"bytes {part.first}-{part.first + part.length - 1}/{stored.size}")
    return Answer(206, (*headers, span), content, content_length=part.length)


@dataclass(frozen=True)
class _Range:
    first: int
    length: int
    whole: bool


def _range(call: OssCall, stored: StoredObject) -> _Range:
    """Return the range of the header Range. By default, a range beyond the end selects the whole object ("GetObject").

    With `x-oss-range-behavior: standard`, the end is cut to the object. Raises InvalidRange for a start beyond it.
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
    stored = _requested(call)
    return Answer(200, (*_headers(call.bucket, stored), *md5_header(stored)), content_length=stored.size)


def get_object_meta(call: OssCall) -> Answer:
    """GetObjectMeta: only ETag, length, date, CRC-64 and version."""
    stored = _requested(call)
    headers = (
        ("ETag", quoted(stored.etag)),
        ("Last-Modified", http_date(stored.modified_s)),
        *crc_header(stored.crc64),
        *version_header(call.bucket, stored),
    )
    return Answer(200, headers, content_length=stored.size)


def _requested(call: OssCall) -> StoredObject:
    """Return the requested object or version if the conditional headers allow it."""
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
        *((("x-oss-tagging-count", str(len(stored.tags))),) if stored.tags else ()),
    )


def delete_object(call: OssCall) -> Answer:
    """DeleteObject: 204 also without an object. With versioning, add a delete marker unless a version is given."""
    with call.state.lock:
        version = delete_version(call, call.key, call.request.param("versionId"))
    if version is None:
        return Answer(204)
    headers = version_header(call.bucket, version)
    return Answer(204, (*headers, DELETE_MARKER) if version.delete_marker else headers)


def delete_version(call: OssCall, key: str, version_id: str) -> StoredObject | None:
    """Remove a version or the object. Return the removed version, or the new delete marker."""
    check_version_id(version_id)
    bucket = call.bucket
    if version_id or not bucket.versioning:
        return call.oss.remove(bucket, key, version_id or NULL_VERSION)
    marker = StoredObject(
        key=key,
        version_id=call.oss.new_version_id() if bucket.versioning == "Enabled" else NULL_VERSION,
        modified_s=call.now_s,
        delete_marker=True,
    )
    call.oss.put(bucket, marker)
    return marker


def copy_source(call: OssCall) -> StoredObject:
    """Return the object of x-oss-copy-source. Raises OssError if a permission or a condition forbids the copy."""
    header = call.request.headers.get("x-oss-copy-source")
    path, _, version_id = header.partition("?versionId=")
    name, _, key = unquote(path).removeprefix("/").partition("/")
    if not name or not key or not path.startswith("/"):
        message = "Copy Source must mention the source bucket and key: /sourcebucket/sourcekey."
        raise invalid_argument("x-oss-copy-source", header, message)
    call.require("oss:GetObject", bucket=name, key=key)
    with call.state.lock:
        bucket = call.oss.bucket(name)
        if bucket is None:
            raise no_such_bucket(name)
        if bucket.owner_id != call.account_id:
            raise OssError(403, "AccessDenied", "You have no right to access this object because of bucket acl.")
        if bucket.region != call.bucket.region:
            message = "Target object does not reside in the same data center as source object."
            raise OssError(403, "AccessDenied", message)
        stored = find(bucket, key, version_id)
    check_conditions(call.request.headers, stored, prefix="x-oss-copy-source-")
    return stored


def copied_etag(content: Content) -> str:
    """Return an ETag of copied bytes, computed from their CRC-64: the MD5 of a terabyte of zeros takes half an hour."""
    return hashlib.md5(f"{content.crc64}-{content.size}".encode(), usedforsecurity=False).hexdigest().upper()


def copy_object(call: OssCall) -> Answer:
    """CopyObject: copy metadata and tags unless their directive is REPLACE. The ACL is never copied."""
    directive, tagging = _directive(call, "x-oss-metadata-directive"), _directive(call, "x-oss-tagging-directive")
    source = copy_source(call)
    if source.storage_class in ARCHIVED:
        raise OssError(403, "InvalidObjectState", "The operation is not valid for the object's state.")
    if source.size > MAX_COPY_OBJECT_BYTES:
        raise OssError(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size.")
    asked = requested_attributes(call)
    made = replace(
        asked,
        content=source.content,
        etag=source.etag,
        headers=asked.headers if directive == "REPLACE" else source.headers,
        tags=asked.tags if tagging == "REPLACE" else source.tags,
        crc64=source.content.crc64 if call.state.settings.crc_of_copies else None,
    )
    stored = store(call, made)
    return xml_answer(
        "CopyObjectResult",
        {"ETag": quoted(stored.etag), "LastModified": stamp(stored.modified_s)},
        headers=(("ETag", quoted(stored.etag)), *crc_header(stored.crc64), *version_header(call.bucket, stored)),
    )


def _directive(call: OssCall, header: str) -> str:
    directive = call.request.headers.get(header).upper() or "COPY"
    if directive not in ("COPY", "REPLACE"):
        raise invalid_argument(header, directive)
    return directive


def append_object(call: OssCall) -> Answer:
    """AppendObject: refuse an existing object, which was not created by AppendObject."""
    position = call.request.param("position")
    if not position.isdecimal():
        raise invalid_argument("position", position)
    with call.state.lock:
        existing = call.bucket.current(call.key)
    if existing is not None:
        raise OssError(409, "ObjectNotAppendable", "The object is not appendable.", extra=[("Key", call.key)])
    raise not_implemented("AppendObject")


def put_symlink(call: OssCall) -> Answer:
    """PutSymlink: the header with the target is required."""
    if not call.request.headers.get("x-oss-symlink-target"):
        raise invalid_argument("x-oss-symlink-target", "")
    raise not_implemented("PutSymlink")


def get_symlink(call: OssCall) -> Answer:
    """GetSymlink: refuse every object, because the sandbox has no symbolic links."""
    with call.state.lock:
        find(call.bucket, call.key, call.request.param("versionId"))
    raise OssError(400, "NotSymlinkObject", "The object is not a symlink object.", extra=[("Key", call.key)])


def restore_object(call: OssCall) -> Answer:
    """RestoreObject: refuse an object that is not archived."""
    with call.state.lock:
        stored = find(call.bucket, call.key, call.request.param("versionId"))
    if stored.storage_class not in ARCHIVED:
        raise OssError(400, "OperationNotSupported", "The operation is not supported for this resource.")
    raise not_implemented("RestoreObject")
