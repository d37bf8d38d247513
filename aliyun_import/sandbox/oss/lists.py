"""Operations on several objects: lists of objects and versions, deletion of several keys, statistics of a bucket."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from aliyun_import.sandbox.core.http_types import Answer
from aliyun_import.sandbox.oss.objects import delete_version
from aliyun_import.sandbox.oss.protocol import (
    KeyEncoder,
    OssCall,
    OssError,
    Tree,
    content_md5,
    invalid_argument,
    invalid_digest,
    malformed_xml,
    owner,
    parse,
    quoted,
    stamp,
    xml_answer,
)
from aliyun_import.sandbox.oss.state import StoredObject

MAX_DELETED = 1000
MAX_DELETE_BYTES = 2 << 20

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """Page of a list: items, and common prefixes, each of which represents several keys."""

    items: list[T]
    prefixes: list[str]
    last: T | None
    """Last item of the page, listed or represented by a prefix; None for an empty page."""
    truncated: bool


def page_of(
    items: Iterable[T], key: Callable[[T], str], *, prefix: str, delimiter: str, after: str, limit: int
) -> Page[T]:
    """Return a page of items in order. Keys with the same part up to the delimiter count as one item."""
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
            return Page(shown, prefixes, last, truncated=True)
        if rolled:
            prefixes.append(rolled)
        else:
            shown.append(item)
        last = item
    return Page(shown, prefixes, last, truncated=False)


def list_objects(call: OssCall) -> Answer:
    """ListObjects: the keys after `marker`."""
    request, encode = call.request, KeyEncoder(call.request)
    marker = request.param("marker")
    page, limit = _page(call, after=marker)
    tree = {
        "Name": call.bucket.name,
        "Prefix": encode(request.param("prefix")),
        "Marker": encode(marker),
        "MaxKeys": limit,
        "Delimiter": encode(request.param("delimiter")),
        "EncodingType": encode.type,
        "IsTruncated": page.truncated,
        "NextMarker": encode(page.last.key) if page.truncated and page.last else None,
    }
    return xml_answer("ListBucketResult", tree | _page_elements(call, page, with_owner=True))


def list_objects_v2(call: OssCall) -> Answer:
    """ListObjectsV2: the keys after `continuation-token` or `start-after`."""
    request, encode = call.request, KeyEncoder(call.request)
    token, start_after = request.param("continuation-token"), request.param("start-after")
    page, limit = _page(call, after=_read_token(token) if token else start_after)
    tree = {
        "Name": call.bucket.name,
        "Prefix": encode(request.param("prefix")),
        "StartAfter": encode(start_after) or None,
        "ContinuationToken": token or None,
        "MaxKeys": limit,
        "Delimiter": encode(request.param("delimiter")),
        "EncodingType": encode.type,
        "IsTruncated": page.truncated,
        "NextContinuationToken": _token(page.last.key) if page.truncated and page.last else None,
        "KeyCount": len(page.items) + len(page.prefixes),
    }
    with_owner = request.param("fetch-owner").lower() == "true"
    return xml_answer("ListBucketResult", tree | _page_elements(call, page, with_owner=with_owner))


def _page(call: OssCall, *, after: str) -> tuple[Page[StoredObject], int]:
    """Return the requested page of objects, and the maximum number of its items."""
    prefix, delimiter = call.request.param("prefix"), call.request.param("delimiter")
    limit = call.number("max-keys", default=100, low=1, high=1000)
    with call.state.lock:
        current = [call.bucket.current(key) for key in sorted(call.bucket.versions)]
    objects = [each for each in current if each is not None and each.key.startswith(prefix) and each.key > after]
    page = page_of(objects, lambda each: each.key, prefix=prefix, delimiter=delimiter, after=after, limit=limit)
    return page, limit


def _page_elements(call: OssCall, page: Page[StoredObject], *, with_owner: bool) -> dict[str, Any]:
    encode = KeyEncoder(call.request)
    contents = [
        {
            "Key": encode(stored.key),
            "LastModified": stamp(stored.modified_s),
            "ETag": quoted(stored.etag),
            "Type": stored.kind,
            "Size": stored.size,
            "StorageClass": stored.storage_class,
            "Owner": owner(call.bucket.owner_id) if with_owner else None,
        }
        for stored in page.items
    ]
    return {"Contents": contents, "CommonPrefixes": [{"Prefix": encode(each)} for each in page.prefixes]}


def _token(key: str) -> str:
    return base64.b64encode(key.encode()).decode()


def _read_token(token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise invalid_argument("continuation-token", token) from error


def list_versions(call: OssCall) -> Answer:
    """ListObjectVersions: by key, then newest first; after `key-marker`, within that key after `version-id-marker`."""
    request, encode = call.request, KeyEncoder(call.request)
    prefix, delimiter = request.param("prefix"), request.param("delimiter")
    key_marker, id_marker = request.param("key-marker"), request.param("version-id-marker")
    if id_marker and not key_marker:
        raise invalid_argument(
            "version-id-marker", id_marker, "A version-id marker cannot be specified without a key marker."
        )
    limit = call.number("max-keys", default=100, low=1, high=1000)
    with call.state.lock:
        versions = {key: tuple(reversed(call.bucket.versions[key])) for key in sorted(call.bucket.versions)}
    latest = {key: found[0].version_id for key, found in versions.items()}
    found = [
        each
        for key, all_of_key in versions.items()
        if key.startswith(prefix)
        for each in _after(key, all_of_key, key_marker=key_marker, id_marker=id_marker)
    ]
    page = page_of(found, lambda each: each.key, prefix=prefix, delimiter=delimiter, after=key_marker, limit=limit)
    last = page.last if page.truncated else None

    def shown(each: StoredObject) -> Tree:
        common = {
            "Key": encode(each.key),
            "VersionId": each.version_id,
            "IsLatest": latest[each.key] == each.version_id,
            "LastModified": stamp(each.modified_s),
        }
        if each.delete_marker:
            return {**common, "Owner": owner(call.bucket.owner_id)}
        return {
            **common,
            "ETag": quoted(each.etag),
            "Type": each.kind,
            "Size": each.size,
            "StorageClass": each.storage_class,
            "Owner": owner(call.bucket.owner_id),
        }

    return xml_answer(
        "ListVersionsResult",
        {
            "Name": call.bucket.name,
            "Prefix": encode(prefix),
            "KeyMarker": encode(key_marker),
            "VersionIdMarker": id_marker,
            "MaxKeys": limit,
            "Delimiter": encode(delimiter),
            "EncodingType": encode.type,
            "IsTruncated": page.truncated,
            "NextKeyMarker": encode(last.key) if last else None,
            "NextVersionIdMarker": last.version_id if last else None,
            "Version": [shown(each) for each in page.items if not each.delete_marker],
            "DeleteMarker": [shown(each) for each in page.items if each.delete_marker],
            "CommonPrefixes": [{"Prefix": encode(each)} for each in page.prefixes],
        },
    )


def _after(
    key: str, versions: tuple[StoredObject, ...], *, key_marker: str, id_marker: str
) -> tuple[StoredObject, ...]:
    """Return the versions of a key that follow the markers."""
    if key != key_marker:
        return versions if key > key_marker else ()
    ids = [each.version_id for each in versions]
    return versions[ids.index(id_marker) + 1 :] if id_marker in ids else ()


def delete_many(call: OssCall) -> Answer:
    """DeleteMultipleObjects: like DeleteObject for each of up to 1,000 keys or versions."""
    encode = KeyEncoder(call.request)
    body, digest = call.request.body.whole(max_bytes=MAX_DELETE_BYTES), content_md5(call.request.headers)
    if digest is None:
        raise OssError(
            400, "MissingArgument", "Missing Some Required Arguments.", extra=[("ArgumentName", "Content-MD5")]
        )
    if hashlib.md5(body, usedforsecurity=False).digest() != digest:
        raise invalid_digest()
    tree = parse(call.request, "Delete")
    # A key is not stripped: it may begin or end with blanks.
    objects = [
        (each.findtext("Key") or "", (each.findtext("VersionId") or "").strip()) for each in tree.findall("Object")
    ]
    if not 1 <= len(objects) <= MAX_DELETED or not all(key for key, _ in objects):
        raise malformed_xml()
    with call.state.lock:
        deleted = [_deleted(call, encode, key, version_id) for key, version_id in objects]
    if (tree.findtext("Quiet") or "").strip().lower() == "true":
        return Answer(200)
    return xml_answer("DeleteResult", {"EncodingType": encode.type, "Deleted": deleted})


def _deleted(call: OssCall, encode: KeyEncoder, key: str, version_id: str) -> Tree:
    version = delete_version(call, key, version_id)
    marker = version is not None and version.delete_marker
    return {
        "Key": encode(key),
        "VersionId": version_id or None,
        "DeleteMarker": True if marker else None,
        "DeleteMarkerVersionId": version.version_id if version is not None and marker else None,
    }


def get_bucket_stat(call: OssCall) -> Answer:
    """GetBucketStat: of all versions, at the present time. The numbers of the service are up to an hour old."""
    with call.state.lock:
        stored = [each for found in call.bucket.versions.values() for each in found]
        uploads = len(call.bucket.uploads)
    objects = [each for each in stored if not each.delete_marker]
    standard = [each for each in objects if each.storage_class == "Standard"]
    return xml_answer(
        "BucketStat",
        {
            "Storage": sum(each.size for each in objects),
            "ObjectCount": len(objects),
            "MultipartUploadCount": uploads,
            "LiveChannelCount": 0,
            "LastModifiedTime": int(call.now_s),
            "StandardStorage": sum(each.size for each in standard),
            "StandardObjectCount": len(standard),
            "DeleteMarkerCount": len(stored) - len(objects),
        },
    )
