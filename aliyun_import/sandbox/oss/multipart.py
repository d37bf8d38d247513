"""Operations on multipart uploads: initiate, upload and copy parts, complete, abort, list."""

import hashlib
from functools import reduce
from itertools import pairwise
from urllib.parse import quote

from aliyun_import.sandbox.core.blob_store import Content, crc64_combine
from aliyun_import.sandbox.core.http_types import Answer
from aliyun_import.sandbox.oss.attributes import object_acl, requested_attributes
from aliyun_import.sandbox.oss.lists import page_of
from aliyun_import.sandbox.oss.objects import copied_etag, copy_source, encryption_header, receive, store
from aliyun_import.sandbox.oss.protocol import (
    KeyEncoder,
    OssCall,
    OssError,
    byte_range,
    crc_header,
    invalid_argument,
    malformed_xml,
    parse,
    quoted,
    refuse_overwriting,
    required_texts,
    stamp,
    version_header,
    xml_answer,
)
from aliyun_import.sandbox.oss.state import ARCHIVED, StoredObject, StoredPart, Upload

MAX_COPY_BYTES = 5 << 30  # "UploadPartCopy": a part has at most 5 GB
MAX_PART_NUMBER = 10_000
MIN_PART_BYTES = 100 << 10  # of all parts except the last; checked by CompleteMultipartUpload only


def initiate(call: OssCall) -> Answer:
    """InitiateMultipartUpload: its storage class, encryption and metadata apply to the object."""
    encode, asked = KeyEncoder(call.request), requested_attributes(call)
    upload = Upload(
        id=call.oss.new_upload_id(),
        key=call.key,
        initiated_s=call.now_s,
        storage_class=asked.storage_class,
        encryption=asked.encryption,
        headers=asked.headers,
        tags=asked.tags,
    )
    with call.state.lock:
        refuse_overwriting(call.request, call.bucket, call.key)
        call.bucket.uploads[upload.id] = upload
    return xml_answer(
        "InitiateMultipartUploadResult",
        {"EncodingType": encode.type, "Bucket": call.bucket.name, "Key": encode(call.key), "UploadId": upload.id},
    )


def find_upload(call: OssCall) -> Upload:
    """Return the upload of a request. Raises NoSuchUpload. The caller holds the lock of the state."""
    upload_id = call.request.param("uploadId")
    if call.has_fault("forget-upload"):
        call.bucket.uploads.pop(upload_id, None)
    upload = call.bucket.uploads.get(upload_id)
    if upload is None or upload.key != call.key:
        message = (
            "The specified upload does not exist. "
            "The upload ID may be invalid, or the upload may have been aborted or completed."
        )
        raise OssError(404, "NoSuchUpload", message, extra=[("UploadId", upload_id)])
    return upload


def part_number(call: OssCall) -> int:
    """Return the part number, 1 to 10,000. Raises InvalidArgument."""
    text = call.request.param("partNumber")
    if not text.isdecimal() or not 1 <= int(text) <= MAX_PART_NUMBER:
        message = "Part number must be an integer between 1 and 10000, inclusive."
        raise invalid_argument("PartNumber", text, message, ec="0017-00000220")
    return int(text)


def store_part(call: OssCall, number: int, content: Content, *, etag: str, crc64: int | None) -> StoredPart:
    """Add a part to its upload, or replace the part with this number. Raises NoSuchUpload."""
    part = StoredPart(number=number, content=content, etag=etag, crc64=crc64, modified_s=call.now_s)
    with call.state.lock:
        find_upload(call).parts[number] = part
    return part


def upload_part(call: OssCall) -> Answer:
    """UploadPart."""
    number = part_number(call)
    for name, value in call.request.headers.items():
        if name.startswith("x-oss-server-side-"):
            raise invalid_argument(name, value)
    with call.state.lock:
        find_upload(call)
    received = receive(call)
    part = store_part(call, number, received.content, etag=received.md5.hex().upper(), crc64=received.crc64)
    return Answer(200, (("ETag", quoted(part.etag)), *crc_header(part.crc64)))


def complete(call: OssCall) -> Answer:
    """CompleteMultipartUpload: join the parts. No bytes are read or copied."""
    encode = KeyEncoder(call.request)
    with call.state.lock:
        find_upload(call)
    named, acl = _named(call), object_acl(call.request.headers)
    with call.state.lock:
        upload = find_upload(call)
        parts = _chosen(upload, named)
        _refuse_small(parts)
        refuse_overwriting(call.request, call.bucket, call.key)
        stored = store(
            call,
            StoredObject(
                key=call.key,
                content=Content.joined(part.content for part in parts),
                etag=_joined_etag(parts),
                crc64=_joined_crc(parts),
                kind="Multipart",
                storage_class=upload.storage_class,
                encryption=upload.encryption,
                headers=upload.headers,
                tags=upload.tags,
                acl=acl,
            ),
        )
        del call.bucket.uploads[upload.id]
    host = call.request.headers.get("host")
    return xml_answer(
        "CompleteMultipartUploadResult",
        {
            "EncodingType": encode.type,
            "Location": f"http://{host}/{call.bucket.name}/{quote(call.key, safe='/-_.~')}",
            "Bucket": call.bucket.name,
            "Key": encode(call.key),
            "ETag": quoted(stored.etag),
        },
        headers=(*crc_header(stored.crc64), *version_header(call.bucket, stored), *encryption_header(stored)),
    )


def _named(call: OssCall) -> list[tuple[int, str]] | None:
    """Return the requested parts as (number, ETag), or None for x-oss-complete-all. Raises OssError."""
    if call.request.headers.get("x-oss-complete-all").lower() == "yes":
        if call.request.body.whole():
            raise invalid_argument("x-oss-complete-all", "yes", "The body must be empty with x-oss-complete-all.")
        return None
    named: list[tuple[int, str]] = []
    for element in parse(call.request, "CompleteMultipartUpload").findall("Part"):
        number, etag = required_texts(element, ["PartNumber", "ETag"])
        if not number.isdecimal():
            raise malformed_xml()
        named.append((int(number), etag.strip('"').upper()))
    if not named:
        raise malformed_xml()
    if any(number >= following for (number, _), (following, _) in pairwise(named)):
        message = "The list of parts was not in ascending order. Parts list must specified in order by part number."
        raise OssError(400, "InvalidPartOrder", message, ec="0042-00000209")
    return named


def _chosen(upload: Upload, named: list[tuple[int, str]] | None) -> list[StoredPart]:
    """Return the named parts in order, or all parts for None. Raises InvalidPart for a missing or different part."""
    if named is None:
        named = [(number, upload.parts[number].etag) for number in sorted(upload.parts)]
    if not named:  # x-oss-complete-all without any part
        raise _invalid_part(0)
    chosen = []
    for number, etag in named:
        part = upload.parts.get(number)
        if part is None or part.etag != etag:
            raise _invalid_part(number)
        chosen.append(part)
    return chosen


def _invalid_part(number: int) -> OssError:
    return OssError(
        400,
        "InvalidPart",
        "One or more of the specified parts could not be found or the specified entity tag might not have matched "
        "the part's entity tag.",
        extra=[("PartNumber", str(number))],
    )


def _refuse_small(parts: list[StoredPart]) -> None:
    for part in parts[:-1]:
        if part.content.size < MIN_PART_BYTES:
            raise OssError(
                400,
                "EntityTooSmall",
                "Your proposed upload smaller than the minimum allowed size.",
                ec="0042-00000213",
                extra=[
                    ("ProposedSize", str(part.content.size)),
                    ("MinSizeAllowed", str(MIN_PART_BYTES)),
                    ("PartNumber", str(part.number)),
                    ("ETag", part.etag),
                ],
            )


def _joined_etag(parts: list[StoredPart]) -> str:
    """Return the ETag of the object. It is not the MD5 of the bytes."""
    etags = "".join(part.etag for part in parts).encode()
    return f"{hashlib.md5(etags, usedforsecurity=False).hexdigest().upper()}-{len(parts)}"


def _joined_crc(parts: list[StoredPart]) -> int | None:
    """Return the combined CRC-64 of the parts, or None if a part has none."""
    if any(part.crc64 is None for part in parts):
        return None
    return reduce(lambda crc, part: crc64_combine(crc, part.crc64 or 0, part.content.size), parts, 0)


def abort(call: OssCall) -> Answer:
    """AbortMultipartUpload."""
    with call.state.lock:
        del call.bucket.uploads[find_upload(call).id]
    return Answer(204)


def upload_part_copy(call: OssCall) -> Answer:
    """UploadPartCopy: the range is inclusive. A malformed range selects the whole object."""
    number = part_number(call)
    with call.state.lock:
        find_upload(call)
    source = copy_source(call)
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
    part = store_part(call, number, content, etag=copied_etag(content), crc64=crc)
    return xml_answer(
        "CopyPartResult",
        {"LastModified": stamp(part.modified_s), "ETag": quoted(part.etag)},
        headers=(("ETag", quoted(part.etag)), *crc_header(crc)),
    )


def list_uploads(call: OssCall) -> Answer:
    """ListMultipartUploads: by key, then oldest first; after key-marker, within that key after upload-id-marker."""
    request, encode = call.request, KeyEncoder(call.request)
    prefix, delimiter = request.param("prefix"), request.param("delimiter")
    key_marker = request.param("key-marker")
    # "ListMultipartUploads": an upload-id-marker is ignored without a key-marker.
    id_marker = request.param("upload-id-marker") if key_marker else ""
    limit = call.number("max-uploads", default=1000, low=1, high=1000)
    with call.state.lock:
        uploads = sorted(call.bucket.uploads.values(), key=lambda each: (each.key, each.id))
    uploads = [
        each
        for each in uploads
        if each.key.startswith(prefix)
        and (each.key > key_marker or (id_marker and each.key == key_marker and each.id > id_marker))
    ]
    page = page_of(uploads, lambda each: each.key, prefix=prefix, delimiter=delimiter, after=key_marker, limit=limit)
    last = page.last if page.truncated else None
    return xml_answer(
        "ListMultipartUploadsResult",
        {
            "EncodingType": encode.type,
            "Bucket": call.bucket.name,
            "KeyMarker": encode(key_marker),
            "UploadIdMarker": id_marker,
            "NextKeyMarker": encode(last.key) if last else "",
            "NextUploadIdMarker": last.id if last else "",
            "Delimiter": encode(delimiter),
            "Prefix": encode(prefix),
            "MaxUploads": limit,
            "IsTruncated": page.truncated,
            "Upload": [
                {
                    "Key": encode(each.key),
                    "UploadId": each.id,
                    "StorageClass": each.storage_class,
                    "Initiated": stamp(each.initiated_s),
                }
                for each in page.items
            ],
            "CommonPrefixes": [{"Prefix": encode(each)} for each in page.prefixes],
        },
    )


def list_parts(call: OssCall) -> Answer:
    """ListParts: by number, after part-number-marker, with the CRC-64 of each part."""
    encode = KeyEncoder(call.request)
    limit = call.number("max-parts", default=1000, low=1, high=1000)
    marker = call.number("part-number-marker", default=0, low=0, high=MAX_PART_NUMBER)
    with call.state.lock:
        upload = find_upload(call)
        parts = [upload.parts[number] for number in sorted(upload.parts) if number > marker]
    page = parts[:limit]
    return xml_answer(
        "ListPartsResult",
        {
            "EncodingType": encode.type,
            "Bucket": call.bucket.name,
            "Key": encode(call.key),
            "UploadId": upload.id,
            "StorageClass": upload.storage_class,
            "PartNumberMarker": marker,
            "NextPartNumberMarker": page[-1].number if page else marker,
            "MaxParts": limit,
            "IsTruncated": len(parts) > limit,
            "Part": [
                {
                    "PartNumber": part.number,
                    "LastModified": stamp(part.modified_s),
                    "ETag": quoted(part.etag),
                    "HashCrc64ecma": part.crc64,
                    "Size": part.content.size,
                }
                for part in page
            ],
        },
    )
