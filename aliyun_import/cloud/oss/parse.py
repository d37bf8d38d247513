"""Readers of the XML bodies, in any namespace, and headers of OSS's answers; addition of a lifecycle rule.

All raise ServiceUnreachable "answer-unreadable" for an answer that can't be read: another server sent it.
"""

import base64
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import unquote_plus
from xml.sax.saxutils import escape

from aliyun_import.cloud.endpoints import region_of_location
from aliyun_import.cloud.transport.answer import Answer, document_of, seconds_of
from aliyun_import.errors import ServiceUnreachable
from aliyun_import.model.objects import BucketInfo, RemoteObject, RemotePart, RemoteUpload

Entry = TypeVar("Entry")
_META = "x-oss-meta-"
# A page has 1,000 entries; a list with more pages is treated as endless.
_MAX_PAGES = 10_000
_RULE_ID = "aliyun-import-abort"
_RULES_END = b"</LifecycleConfiguration>"


def unreadable(cause: str) -> ServiceUnreachable:
    """Return the error of an answer that can't be read."""
    return ServiceUnreachable(
        "OSS's answer can't be read.",
        code="answer-unreadable",
        cause=cause,
        remedy="Check for a portal or a proxy between this machine and OSS, and run the same command again.",
        resumable=True,
    )


def parse(body: bytes, root: str) -> ET.Element:
    """Return the root element of an XML body; it must be named `root`, in any namespace."""
    found = _document(body)
    if found is None or found.tag.rpartition("}")[2] != root:
        raise unreadable(f"A {root} was expected; the answer begins with {body[:60]!r}.")
    return found


def _document(body: bytes) -> ET.Element | None:
    try:
        return ET.fromstring(body)  # noqa: S314 -- expat bounds entities; the body is bounded by the transport
    except (ET.ParseError, ValueError, LookupError):  # the latter two: encodings that expat does not support
        return None


def text_of(element: ET.Element, path: str) -> str:
    """Return the text at a path of element names, in any namespace; empty if it is missing."""
    found = element.find("/".join(f"{{*}}{name}" for name in path.split("/")))
    return (found.text or "").strip() if found is not None else ""


def required(element: ET.Element, path: str) -> str:
    """Return the text at a path. Raises "answer-unreadable" if it is missing."""
    found = text_of(element, path)
    if not found:
        raise unreadable(f"The {element.tag.rpartition('}')[2]} has no {path}.")
    return found


def unquoted(etag: str) -> str:
    """Return an ETag without its quotes."""
    return etag.strip().strip('"')


def error_fields(answer: Answer) -> Mapping[str, str]:
    """Return the fields of an <Error> (Code, Message, ...); empty for a success and for any other body.

    An answer to HEAD has no body; its error is in a header. Some gateways before OSS send JSON.
    """
    if answer.status // 100 == 2:
        return {}
    body = answer.body
    if not body and "x-oss-err" in answer.headers:
        try:
            body = base64.b64decode(answer.headers["x-oss-err"])
        except ValueError:
            body = b""
    root = _document(body)
    if root is None:
        return {name: value[:1000] for name, value in document_of(answer).items() if isinstance(value, str)}
    if root.tag.rpartition("}")[2] != "Error":
        return {}
    return {child.tag.rpartition("}")[2]: (child.text or "").strip()[:1000] for child in root}


def all_pages(read_page: Callable[[dict[str, str]], tuple[list[Entry], dict[str, str]]]) -> list[Entry]:
    """Return the entries of all pages of a list.

    `read_page` takes the parameters of a page (empty: the first) and returns its entries and the parameters of the next
    page (empty: there is none). Repeated parameters are refused, since the list would be endless.
    """
    found: list[Entry] = []
    marker: dict[str, str] = {}
    used: set[tuple[tuple[str, str], ...]] = set()
    while len(used) < _MAX_PAGES:
        page, marker = read_page(marker)
        found += page
        key = tuple(sorted(marker.items()))
        if not marker:
            return found
        if key in used or not any(marker.values()):
            break
        used.add(key)
    raise unreadable(f"The list is endless: page {len(used) + 1} continues at {marker}.")


def bucket_of(body: bytes) -> BucketInfo:
    """Read the answer to GetBucketInfo. An owner is required, because callers compare it with the account."""
    root = parse(body, "BucketInfo")
    bucket = root.find("{*}Bucket")
    bucket = root if bucket is None else bucket
    algorithm = text_of(bucket, "ServerSideEncryptionRule/SSEAlgorithm")
    return BucketInfo(
        name=required(bucket, "Name"),
        region=region_of_location(required(bucket, "Location")),
        owner_id=required(bucket, "Owner/ID"),
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
    """Read an object from the headers of an answer; size and metadata are arguments if the answer has none."""
    lower = {name.lower(): value for name, value in headers.items()}
    found = {name.removeprefix(_META): value for name, value in lower.items() if name.startswith(_META)}
    return RemoteObject(
        key=key,
        size_bytes=number(lower.get("content-length", "0"), "Content-Length") if size_bytes is None else size_bytes,
        etag=unquoted(lower.get("etag", "")),
        crc64=_crc64(lower.get("x-oss-hash-crc64ecma")),
        storage_class=lower.get("x-oss-storage-class", "Standard"),
        # Names of headers are case-insensitive.
        metadata=found if metadata is None else {name.lower(): value for name, value in metadata.items()},
        last_modified_s=seconds_of(lower.get("last-modified", "")),
        version_id=lower.get("x-oss-version-id") or None,
    )


def part_of_headers(number: int, size_bytes: int, headers: Mapping[str, str]) -> RemotePart:
    """Read a part from the headers of the answer to sending or copying it."""
    crc64 = _crc64(headers.get("x-oss-hash-crc64ecma"))
    return RemotePart(number=number, size_bytes=size_bytes, etag=unquoted(headers.get("etag") or ""), crc64=crc64)


def list_of_objects(body: bytes) -> tuple[list[RemoteObject], dict[str, str]]:
    """Read a page of ListObjectsV2 and the parameters of the next page, empty after the last."""
    root = parse(body, "ListBucketResult")
    found = [
        RemoteObject(
            key=_name(root, text_of(one, "Key")),
            size_bytes=number(text_of(one, "Size") or "0", "Size"),
            etag=unquoted(text_of(one, "ETag")),
            crc64=None,
            storage_class=text_of(one, "StorageClass") or "Standard",
            last_modified_s=seconds_of(text_of(one, "LastModified")),
        )
        for one in root.iterfind("{*}Contents")
    ]
    return found, {"continuation-token": text_of(root, "NextContinuationToken")} if _more(root) else {}


def list_of_parts(body: bytes) -> tuple[list[RemotePart], dict[str, str]]:
    """Read a page of ListParts and the parameters of the next page, empty after the last."""
    root = parse(body, "ListPartsResult")
    found = [
        RemotePart(
            number=number(text_of(one, "PartNumber"), "PartNumber"),
            size_bytes=number(text_of(one, "Size"), "Size"),
            etag=unquoted(text_of(one, "ETag")),
            crc64=_crc64(text_of(one, "HashCrc64ecma")),
        )
        for one in root.iterfind("{*}Part")
    ]
    return found, {"part-number-marker": text_of(root, "NextPartNumberMarker")} if _more(root) else {}


def list_of_uploads(body: bytes) -> tuple[list[RemoteUpload], dict[str, str]]:
    """Read a page of ListMultipartUploads and the parameters of the next page, empty after the last."""
    root = parse(body, "ListMultipartUploadsResult")
    found = [
        RemoteUpload(
            key=_name(root, text_of(one, "Key")),
            upload_id=text_of(one, "UploadId"),
            initiated_s=seconds_of(text_of(one, "Initiated")) or 0.0,
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


def number(text: str, name: str) -> int:
    """Return a whole number of an answer; `name` names the field in the error."""
    # int() accepts digits of any script, signs and underscores, and fails for more than 4,300 digits.
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise unreadable(f"{name} is {text[:40]!r}, not a number.")
    return int(text)


def _crc64(text: str | None) -> int | None:
    """Return a CRC-64; None if the store reports none."""
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,20}", text) or int(text) >= 1 << 64:
        raise unreadable(f"The CRC-64 is {text[:40]!r}, not a number of 64 bits.")
    return int(text)


def with_abort_rule(document: bytes | None, *, prefix: str, days: int) -> bytes | None:
    """Return lifecycle rules with one more that aborts unfinished uploads below prefix; None if a rule suffices.

    `document` is the bucket's LifecycleConfiguration, None if it has none; its rules are kept byte for byte. An
    existing rule suffices if it is enabled, covers the prefix and aborts after at most `days` days.
    """
    ids = set()
    if document is not None:
        for rule in parse(document, "LifecycleConfiguration").iterfind("{*}Rule"):
            ids.add(text_of(rule, "ID"))
            after = text_of(rule, "AbortMultipartUpload/Days")
            covers = text_of(rule, "Status") == "Enabled" and prefix.startswith(text_of(rule, "Prefix"))
            narrowed = any(rule.find(f"{{*}}{name}") is not None for name in ("Tag", "Filter"))
            if covers and not narrowed and re.fullmatch(r"[0-9]{1,9}", after) and int(after) <= days:
                return None
    name = next(one for one in (_RULE_ID, *(f"{_RULE_ID}-{n}" for n in range(2, len(ids) + 3))) if one not in ids)
    ours = (
        f"<Rule><ID>{name}</ID><Prefix>{escape(prefix)}</Prefix><Status>Enabled</Status>"
        f"<AbortMultipartUpload><Days>{days}</Days></AbortMultipartUpload></Rule>"
    ).encode()
    if document is None:
        return b"<LifecycleConfiguration>" + ours + _RULES_END
    before, end, after_end = document.rpartition(_RULES_END)
    if not end:  # <LifecycleConfiguration/>, or a namespace prefix; OSS sends neither
        raise unreadable(f"A LifecycleConfiguration with an end tag was expected, not {document[:60]!r}.")
    return before + ours + _RULES_END + after_end
