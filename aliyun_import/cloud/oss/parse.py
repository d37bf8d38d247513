"""This file reads OSS's answers: XML bodies, whatever their namespace, and headers."""

import calendar
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import unquote_plus

from aliyun_import.cloud.endpoints import region_of_location
from aliyun_import.errors import TransientError
from aliyun_import.model.objects import BucketInfo, RemoteObject, RemotePart, RemoteUpload

_META = "x-oss-meta-"


def parse(body: bytes, root: str) -> ET.Element:
    """Read an XML body whose outermost element is `root`, in any namespace.

    Raises TransientError "answer-unreadable" for anything else, such as the web page of a portal.
    """
    try:
        found = ET.fromstring(body)  # noqa: S314 -- it comes from the store that is trusted with the whole disk
    except ET.ParseError:
        found = None
    if found is None or found.tag.rpartition("}")[2] != root:
        raise TransientError(
            "OSS's answer can't be read.",
            code="answer-unreadable",
            cause=f"A {root} was expected; the answer begins with {body[:60]!r}.",
            remedy="Check whether a portal or a proxy stands in between, and run the same command again.",
            resumable=True,
        )
    return found


def text_of(element: ET.Element, path: str) -> str:
    """Give the text at a path of element names; empty where it is missing. Any namespace will do."""
    found = element.find("/".join(f"{{*}}{name}" for name in path.split("/")))
    return (found.text or "").strip() if found is not None else ""


def unquoted(etag: str) -> str:
    """Give an ETag without its quotes."""
    return etag.strip().strip('"')


def bucket_of(body: bytes) -> BucketInfo:
    """Read GetBucketInfo's answer."""
    root = parse(body, "BucketInfo")
    bucket = root.find("{*}Bucket")
    bucket = root if bucket is None else bucket
    algorithm = text_of(bucket, "ServerSideEncryptionRule/SSEAlgorithm")
    return BucketInfo(
        name=text_of(bucket, "Name"),
        region=region_of_location(text_of(bucket, "Location")),
        owner_id=text_of(bucket, "Owner/ID"),
        storage_class=text_of(bucket, "StorageClass"),
        encryption=None if algorithm in ("", "None") else algorithm,
        versioning=text_of(bucket, "Versioning") or None,
        acl=text_of(bucket, "AccessControlList/Grant"),
    )


def object_of_headers(
    key: str,
    headers: Mapping[str, str],
    *,
    size_bytes: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> RemoteObject:
    """Read an object from the headers of an answer; size and metadata are given where the answer has none of them."""
    lower = {name.lower(): value for name, value in headers.items()}
    found = {name.removeprefix(_META): value for name, value in lower.items() if name.startswith(_META)}
    return RemoteObject(
        key=key,
        size_bytes=int(lower.get("content-length", 0)) if size_bytes is None else size_bytes,
        etag=unquoted(lower.get("etag", "")),
        crc64=_crc64(lower.get("x-oss-hash-crc64ecma")),
        storage_class=lower.get("x-oss-storage-class", "Standard"),
        # HTTP knows no case in the names of headers.
        metadata=found if metadata is None else {name.lower(): value for name, value in metadata.items()},
        last_modified_s=_http_date_s(lower.get("last-modified")),
        version_id=lower.get("x-oss-version-id") or None,
    )


def part_of_headers(number: int, size_bytes: int, headers: Mapping[str, str]) -> RemotePart:
    """Read a part from the headers of the answer to it."""
    crc64 = _crc64(headers.get("x-oss-hash-crc64ecma"))
    return RemotePart(number=number, size_bytes=size_bytes, etag=unquoted(headers.get("etag") or ""), crc64=crc64)


def list_of_objects(body: bytes) -> tuple[list[RemoteObject], str]:
    """Read a page of ListObjectsV2 and the token of the next page, empty after the last."""
    root = parse(body, "ListBucketResult")
    found = [
        RemoteObject(
            key=_name(root, text_of(one, "Key")),
            size_bytes=int(text_of(one, "Size") or 0),
            etag=unquoted(text_of(one, "ETag")),
            crc64=None,
            storage_class=text_of(one, "StorageClass") or "Standard",
            last_modified_s=_iso_s(text_of(one, "LastModified")),
        )
        for one in root.iterfind("{*}Contents")
    ]
    return found, text_of(root, "NextContinuationToken") if _more(root) else ""


def list_of_parts(body: bytes) -> tuple[list[RemotePart], str]:
    """Read a page of ListParts and the marker of the next page, empty after the last."""
    root = parse(body, "ListPartsResult")
    found = [
        RemotePart(
            number=int(text_of(one, "PartNumber")),
            size_bytes=int(text_of(one, "Size")),
            etag=unquoted(text_of(one, "ETag")),
            crc64=_crc64(text_of(one, "HashCrc64ecma")),
        )
        for one in root.iterfind("{*}Part")
    ]
    return found, text_of(root, "NextPartNumberMarker") if _more(root) else ""


def list_of_uploads(body: bytes) -> tuple[list[RemoteUpload], dict[str, str]]:
    """Read a page of ListMultipartUploads and the parameters of the next page, empty after the last."""
    root = parse(body, "ListMultipartUploadsResult")
    found = [
        RemoteUpload(
            key=_name(root, text_of(one, "Key")),
            upload_id=text_of(one, "UploadId"),
            initiated_s=_iso_s(text_of(one, "Initiated")) or 0.0,
        )
        for one in root.iterfind("{*}Upload")
    ]
    if not _more(root):
        return found, {}
    next_key = _name(root, text_of(root, "NextKeyMarker"))
    return found, {"key-marker": next_key, "upload-id-marker": text_of(root, "NextUploadIdMarker")}


def _more(root: ET.Element) -> bool:
    return text_of(root, "IsTruncated").lower() == "true"


def _name(root: ET.Element, text: str) -> str:
    return unquote_plus(text) if text_of(root, "EncodingType") == "url" else text


def _crc64(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _iso_s(text: str) -> float | None:
    """Read a time such as 2012-02-23T07:01:34.000Z."""
    try:
        return float(calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return None


def _http_date_s(text: str | None) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except ValueError:
        return None
