"""This file does OSS's lists: objects (both versions), multipart uploads, parts; each page by page."""

import base64
import binascii
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from aliyun_import.sandbox.core.http_types import Answer
from aliyun_import.sandbox.oss.call import OssCall, owner, quoted, xml_answer
from aliyun_import.sandbox.oss.errors import invalid_argument
from aliyun_import.sandbox.oss.multipart import MAX_PART_NUMBER, find_upload
from aliyun_import.sandbox.oss.state import StoredObject, Upload
from aliyun_import.sandbox.oss.xml import KeyEncoder, Tree, stamp

T = TypeVar("T")


@dataclass(frozen=True)
class _Page(Generic[T]):
    items: list[T]
    prefixes: list[str]
    last: T | None
    """The last one that the page speaks for, shown or rolled up; None of an empty page."""
    truncated: bool


def _page(
    items: Iterable[T], key: Callable[[T], str], *, prefix: str, delimiter: str, after: str, limit: int
) -> _Page[T]:
    """Fill one page from items in order; keys that share a piece up to the delimiter count as one."""
    shown: list[T] = []
    prefixes: list[str] = []
    last: T | None = None
    for item in items:
        name = key(item)
        cut = name.find(delimiter, len(prefix)) if delimiter else -1
        rolled = name[: cut + len(delimiter)] if cut >= 0 else ""
        if rolled and (rolled == after or (prefixes and prefixes[-1] == rolled)):
            last = item if prefixes and prefixes[-1] == rolled else last
            continue
        if len(shown) + len(prefixes) == limit:
            return _Page(shown, prefixes, last, truncated=True)
        if rolled:
            prefixes.append(rolled)
        else:
            shown.append(item)
        last = item
    return _Page(shown, prefixes, last, truncated=False)


def _objects(call: OssCall, prefix: str, after: str) -> list[StoredObject]:
    with call.state.lock:
        current = [call.bucket.current(key) for key in sorted(call.bucket.versions)]
    return [each for each in current if each is not None and each.key.startswith(prefix) and each.key > after]


def _object_element(call: OssCall, encode: KeyEncoder, stored: StoredObject, *, with_owner: bool) -> Tree:
    return {
        "Key": encode(stored.key),
        "LastModified": stamp(stored.modified_s),
        "ETag": quoted(stored.etag),
        "Type": stored.kind,
        "Size": stored.size,
        "StorageClass": stored.storage_class,
        "Owner": owner(call.bucket.owner_id) if with_owner else None,
    }


def list_objects(call: OssCall) -> Answer:
    """ListObjects: from `marker` on, which is itself not shown."""
    request, encode = call.request, KeyEncoder(call.request)
    prefix, delimiter, marker = request.param("prefix"), request.param("delimiter"), request.param("marker")
    limit = call.number("max-keys", default=100, low=1, high=1000)
    page = _page(
        _objects(call, prefix, marker),
        lambda each: each.key,
        prefix=prefix,
        delimiter=delimiter,
        after=marker,
        limit=limit,
    )
    next_marker = encode(page.last.key) if page.truncated and page.last else None
    return xml_answer(
        "ListBucketResult",
        {
            "Name": call.bucket.name,
            "Prefix": encode(prefix),
            "Marker": encode(marker),
            "MaxKeys": limit,
            "Delimiter": encode(delimiter),
            "EncodingType": encode.type,
            "IsTruncated": page.truncated,
            "NextMarker": next_marker,
            "Contents": [_object_element(call, encode, each, with_owner=True) for each in page.items],
            "CommonPrefixes": [{"Prefix": encode(each)} for each in page.prefixes],
        },
    )


def list_objects_v2(call: OssCall) -> Answer:
    """ListObjectsV2: from `continuation-token` on, or from `start-after`."""
    request, encode = call.request, KeyEncoder(call.request)
    prefix, delimiter, start_after = request.param("prefix"), request.param("delimiter"), request.param("start-after")
    token = request.param("continuation-token")
    limit = call.number("max-keys", default=100, low=1, high=1000)
    after = _read_token(token) if token else start_after
    page = _page(
        _objects(call, prefix, after),
        lambda each: each.key,
        prefix=prefix,
        delimiter=delimiter,
        after=after,
        limit=limit,
    )
    with_owner = request.param("fetch-owner").lower() == "true"
    return xml_answer(
        "ListBucketResult",
        {
            "Name": call.bucket.name,
            "Prefix": encode(prefix),
            "StartAfter": encode(start_after) or None,
            "ContinuationToken": token or None,
            "MaxKeys": limit,
            "Delimiter": encode(delimiter),
            "EncodingType": encode.type,
            "IsTruncated": page.truncated,
            "NextContinuationToken": _token(page.last.key) if page.truncated and page.last else None,
            "KeyCount": len(page.items) + len(page.prefixes),
            "Contents": [_object_element(call, encode, each, with_owner=with_owner) for each in page.items],
            "CommonPrefixes": [{"Prefix": encode(each)} for each in page.prefixes],
        },
    )


def _token(key: str) -> str:
    return base64.b64encode(key.encode()).decode()


def _read_token(token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise invalid_argument("continuation-token", token) from error


def list_uploads(call: OssCall) -> Answer:
    """ListMultipartUploads: by key, then by age; from key-marker on, and within that key from upload-id-marker on."""
    request, encode = call.request, KeyEncoder(call.request)
    prefix, delimiter = request.param("prefix"), request.param("delimiter")
    key_marker = request.param("key-marker")
    # "ListMultipartUploads": without a key-marker an upload-id-marker has no meaning.
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
    page: _Page[Upload] = _page(
        uploads, lambda each: each.key, prefix=prefix, delimiter=delimiter, after=key_marker, limit=limit
    )
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
    """ListParts: by number, from part-number-marker on; each with its CRC where it has one."""
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
