"""This file does what OSS does with the bytes of other objects: CopyObject and UploadPartCopy.

No byte is copied: a copy is a content that refers to the same files. The answers carry the ETag as a header, too:
oss2 reads it nowhere else, and its users complete uploads with it.
"""

import hashlib
from dataclasses import dataclass, replace
from urllib.parse import unquote

from aliyun_import.sandbox.core.blob_store import Content
from aliyun_import.sandbox.core.http_types import Answer
from aliyun_import.sandbox.oss.call import OssCall, crc_header, quoted, version_header, xml_answer
from aliyun_import.sandbox.oss.errors import OssError, invalid_argument
from aliyun_import.sandbox.oss.headers import byte_range, check_conditions, encryption, kept_headers, storage_class
from aliyun_import.sandbox.oss.multipart import find_upload, keep_part, part_number
from aliyun_import.sandbox.oss.objects import find, store
from aliyun_import.sandbox.oss.state import ARCHIVED, StoredObject
from aliyun_import.sandbox.oss.xml import stamp

MAX_COPY_BYTES = 5 << 30  # "UploadPartCopy": a part is at most 5 GB, copied or sent
MAX_COPY_OBJECT_BYTES = 1 << 30  # "CopyObject": larger ones are for UploadPartCopy


@dataclass(frozen=True)
class _Source:
    bucket: str
    stored: StoredObject


def _source(call: OssCall) -> _Source:
    """Find what x-oss-copy-source names, as far as the caller may read it, its conditions carried out."""
    header = call.request.headers.get("x-oss-copy-source")
    path, _, version_id = header.partition("?versionId=")
    name, _, key = unquote(path).removeprefix("/").partition("/")
    if not name or not key or not path.startswith("/"):
        message = "Copy Source must mention the source bucket and key: /sourcebucket/sourcekey."
        raise invalid_argument("x-oss-copy-source", header, message)
    call.require("oss:GetObject")
    with call.state.lock:
        bucket = call.oss.bucket(name)
        if bucket is None:
            message = "The specified bucket does not exist."
            raise OssError(404, "NoSuchBucket", message, extra=[("BucketName", name)])
        if bucket.owner_id != call.account_id:
            raise OssError(403, "AccessDenied", "You have no right to access this object because of bucket acl.")
        if bucket.region != call.bucket.region:
            message = "Target object does not reside in the same data center as source object."
            raise OssError(403, "AccessDenied", message)
        stored = find(bucket, key, version_id)
    check_conditions(call.request.headers, stored, prefix="x-oss-copy-source-")
    return _Source(name, stored)


def copied_etag(content: Content) -> str:
    """Make the ETag of copied bytes: of their CRC, because the MD5 of a terabyte of zeros takes half an hour."""
    return hashlib.md5(f"{content.crc64}-{content.size}".encode(), usedforsecurity=False).hexdigest().upper()


def copy_object(call: OssCall) -> Answer:
    """CopyObject: the metadata is the source's unless x-oss-metadata-directive is REPLACE."""
    directive = call.request.headers.get("x-oss-metadata-directive").upper() or "COPY"
    if directive not in ("COPY", "REPLACE"):
        raise invalid_argument("x-oss-metadata-directive", directive)
    source = _source(call).stored
    if source.storage_class in ARCHIVED:
        raise OssError(403, "InvalidObjectState", "The operation is not valid for the object's state.")
    if source.size > MAX_COPY_OBJECT_BYTES:
        raise OssError(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size.")
    headers = call.request.headers
    made = replace(
        source,
        key=call.key,
        kind="Normal",
        headers=kept_headers(headers) if directive == "REPLACE" else source.headers,
        storage_class=storage_class(headers, call.bucket.storage_class),
        encryption=encryption(headers, call.bucket),
        crc64=source.content.crc64 if call.state.settings.crc_of_copies else None,
    )
    stored = store(call, made)
    return xml_answer(
        "CopyObjectResult",
        {"ETag": quoted(stored.etag), "LastModified": stamp(stored.modified_s)},
        headers=(("ETag", quoted(stored.etag)), *crc_header(stored.crc64), *version_header(call.bucket, stored)),
    )


def upload_part_copy(call: OssCall) -> Answer:
    """UploadPartCopy: the range is inclusive; one of a wrong form copies the whole object."""
    number = part_number(call)
    with call.state.lock:
        find_upload(call)
    source = _source(call).stored
    if source.storage_class in ARCHIVED:
        raise OssError(400, "OperationNotSupported", "The operation is not supported for this resource.")
    text = call.request.headers.get("x-oss-copy-source-range")
    span = byte_range(text, source.size) if text else None
    first, last = span or (0, source.size - 1)
    if span and last >= source.size:
        raise OssError(416, "InvalidRange", "The requested range cannot be satisfied.")
    if last - first + 1 > MAX_COPY_BYTES:
        raise OssError(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size.")
    content = source.content.cut(first, last - first + 1)
    crc = content.crc64 if call.state.settings.crc_of_copies else None
    part = keep_part(call, number, content, etag=copied_etag(content), crc64=crc)
    return xml_answer(
        "CopyPartResult",
        {"LastModified": stamp(part.modified_s), "ETag": quoted(part.etag)},
        headers=(("ETag", quoted(part.etag)), *crc_header(crc)),
    )
