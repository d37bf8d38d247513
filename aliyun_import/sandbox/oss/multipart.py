"""This file does what OSS does with multipart uploads: start, take parts, complete, give up."""

import hashlib
from functools import reduce
from itertools import pairwise
from urllib.parse import quote

from aliyun_import.sandbox.core import crc64
from aliyun_import.sandbox.core.blob_store import Content
from aliyun_import.sandbox.core.http_types import Answer
from aliyun_import.sandbox.oss.call import OssCall, crc_header, quoted, version_header, xml_answer
from aliyun_import.sandbox.oss.errors import OssError, invalid_argument, malformed_xml
from aliyun_import.sandbox.oss.headers import encryption, kept_headers, refuse_overwriting, storage_class
from aliyun_import.sandbox.oss.objects import encryption_header, receive, store
from aliyun_import.sandbox.oss.state import StoredObject, StoredPart, Upload
from aliyun_import.sandbox.oss.xml import KeyEncoder, parse, texts

MAX_PART_NUMBER = 10_000
MIN_PART_BYTES = 100 << 10  # every part but the last; looked at only at Complete


def initiate(call: OssCall) -> Answer:
    """InitiateMultipartUpload: what is said here about class, encryption and metadata goes for the object."""
    headers, encode = call.request.headers, KeyEncoder(call.request)
    upload = Upload(
        id=call.oss.new_upload_id(),
        key=call.key,
        initiated_s=call.now_s,
        storage_class=storage_class(headers, call.bucket.storage_class),
        encryption=encryption(headers, call.bucket),
        headers=kept_headers(headers),
    )
    with call.state.lock:
        refuse_overwriting(call.request, call.bucket, call.key)
        call.bucket.uploads[upload.id] = upload
    return xml_answer(
        "InitiateMultipartUploadResult",
        {"EncodingType": encode.type, "Bucket": call.bucket.name, "Key": encode(call.key), "UploadId": upload.id},
    )


def find_upload(call: OssCall) -> Upload:
    """Find the upload that a request names; NoSuchUpload. Hold the state's lock."""
    upload_id = call.request.param("uploadId")
    if call.struck_by("forget-upload"):
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
    """Read the part's number, 1 to 10,000; InvalidArgument."""
    text = call.request.param("partNumber")
    if not text.isdecimal() or not 1 <= int(text) <= MAX_PART_NUMBER:
        message = "Part number must be an integer between 1 and 10000, inclusive."
        raise invalid_argument("PartNumber", text, message, ec="0017-00000220")
    return int(text)


def keep_part(call: OssCall, number: int, content: Content, *, etag: str, crc64: int | None) -> StoredPart:
    """Add a part to its upload, in place of an earlier one of that number; NoSuchUpload when it went meanwhile."""
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
    part = keep_part(call, number, received.content, etag=received.md5.hex().upper(), crc64=received.crc64)
    return Answer(200, (("ETag", quoted(part.etag)), *crc_header(part.crc64)))


def complete(call: OssCall) -> Answer:
    """CompleteMultipartUpload: joins parts, without reading or copying a byte of them."""
    encode = KeyEncoder(call.request)
    with call.state.lock:
        find_upload(call)
    named = _named(call)
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
    """Read the (number, ETag) of the parts that the object is to be made of; None for x-oss-complete-all."""
    if call.request.headers.get("x-oss-complete-all").lower() == "yes":
        if call.request.body.whole():
            raise invalid_argument("x-oss-complete-all", "yes", "The body must be empty with x-oss-complete-all.")
        return None
    named: list[tuple[int, str]] = []
    for element in parse(call.request, "CompleteMultipartUpload").findall("Part"):
        number, etag = texts(element, ["PartNumber", "ETag"])
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
    """Find the parts that were named, or all of them, in order; InvalidPart for one that is not there or another."""
    if named is None:
        named = [(number, upload.parts[number].etag) for number in sorted(upload.parts)]
    if not named:
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
    """Make the object's ETag, which is no MD5 of its bytes."""
    etags = "".join(part.etag for part in parts).encode()
    return f"{hashlib.md5(etags, usedforsecurity=False).hexdigest().upper()}-{len(parts)}"


def _joined_crc(parts: list[StoredPart]) -> int | None:
    """Combine the parts' CRCs; None unless every part has one."""
    if any(part.crc64 is None for part in parts):
        return None
    return reduce(lambda crc, part: crc64.combine(crc, part.crc64 or 0, part.content.size), parts, 0)


def abort(call: OssCall) -> Answer:
    """AbortMultipartUpload."""
    with call.state.lock:
        del call.bucket.uploads[find_upload(call).id]
    return Answer(204)
