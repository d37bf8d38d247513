"""Storage class, encryption, metadata, ACLs and tags: their rules, and the operations on ACLs and tags."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from re import fullmatch
from typing import NamedTuple
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from aliyun_import.sandbox.core.http_types import Answer, Headers
from aliyun_import.sandbox.oss.protocol import (
    OssCall,
    OssError,
    find,
    invalid_argument,
    malformed_xml,
    not_implemented,
    owner,
    parse,
    version_header,
    xml_answer,
)
from aliyun_import.sandbox.oss.state import STORAGE_CLASSES, Bucket, StoredObject

BUCKET_ACLS = ("private", "public-read", "public-read-write")
OBJECT_ACLS = (*BUCKET_ACLS, "default")
MAX_METADATA_BYTES = 8 * 1024  # "Limits": user metadata, names and values together
_STORED = ("cache-control", "content-disposition", "content-encoding", "content-language", "expires")


class TagLimits(NamedTuple):
    """Maximum number of tags, and maximum lengths of their keys and values."""

    tags: int
    key_chars: int
    value_chars: int


OBJECT_TAGS = TagLimits(10, 128, 256)
BUCKET_TAGS = TagLimits(20, 64, 128)
_TAG = r"[\w +\-=._:/]*"  # "PutObjectTagging": letters, digits, blanks and + - = . _ : /


def requested_attributes(call: OssCall) -> StoredObject:
    """Return an object without content, with the attributes that the request sets."""
    headers = call.request.headers
    return StoredObject(
        key=call.key,
        headers=stored_headers(headers),
        storage_class=storage_class(headers, call.bucket.storage_class),
        encryption=encryption(headers, call.bucket),
        acl=object_acl(headers),
        tags=header_tags(headers),
    )


def stored_headers(headers: Headers) -> Mapping[str, str]:
    """Return the headers of an upload that are stored with the object. Raises InvalidArgument."""
    stored = {name: value for name, value in headers.items() if name in _STORED}
    stored["content-type"] = headers.get("content-type") or "application/octet-stream"
    metadata = {name: value for name, value in headers.items() if name.startswith("x-oss-meta-")}
    size = sum(len(name) - len("x-oss-meta-") + len(value.encode(errors="replace")) for name, value in metadata.items())
    if size > MAX_METADATA_BYTES:
        raise invalid_argument("x-oss-meta-", str(size), "The user metadata exceeds 8 KB.")
    return stored | metadata


def storage_class(headers: Headers, default: str) -> str:
    """Return the requested storage class. Raises InvalidArgument."""
    value = headers.get("x-oss-storage-class") or default
    if value not in STORAGE_CLASSES:
        raise invalid_argument("x-oss-storage-class", value, "No such bucket storage class exists.")
    return value


def encryption(headers: Headers, bucket: Bucket) -> str:
    """Return the requested encryption, or that of the bucket. Raises InvalidEncryptionAlgorithmError."""
    value = headers.get("x-oss-server-side-encryption") or bucket.encryption
    return check_encryption(value) if value else ""


def check_encryption(algorithm: str) -> str:
    """Return an encryption algorithm. Raises InvalidEncryptionAlgorithmError."""
    if algorithm not in ("AES256", "KMS", "SM4"):
        raise OssError(400, "InvalidEncryptionAlgorithmError", "The encryption algorithm specified is not valid.")
    return algorithm


def object_acl(headers: Headers) -> str:
    """Return the ACL of x-oss-object-acl, by default `default`. Raises InvalidArgument."""
    acl = headers.get("x-oss-object-acl", "default")
    if acl not in OBJECT_ACLS:
        raise invalid_argument("x-oss-object-acl", acl)
    return acl


def header_tags(headers: Headers) -> dict[str, str]:
    """Return the tags of x-oss-tagging: URL-encoded pairs key=value, joined by &. Raises InvalidTag."""
    pairs = []
    for part in headers.get("x-oss-tagging").split("&"):
        if part.count("=") > 1:
            raise _invalid_tag("The tagging is not in the form of key=value.", ec="0010-00000219")
        if part:
            key, _, value = part.partition("=")
            pairs.append((unquote_plus(key), unquote_plus(value)))
    return _checked_tags(pairs, OBJECT_TAGS)


def _checked_tags(pairs: list[tuple[str, str]], limits: TagLimits) -> dict[str, str]:
    """Return tags as a dict. Raises InvalidTag."""
    if len(pairs) > limits.tags:
        raise _invalid_tag(f"There can not be more than {limits.tags} tags.", ec="0010-00000218")
    for key, value in pairs:
        is_too_long = len(key) > limits.key_chars or len(value) > limits.value_chars
        if not key or is_too_long or not fullmatch(_TAG, key + value):
            raise _invalid_tag("The tag has an invalid key or value.", ec="0010-00000217")
    if len(dict(pairs)) < len(pairs):
        raise _invalid_tag("The tags have duplicate keys.", ec="0010-00000217")
    return dict(pairs)


def _invalid_tag(message: str, *, ec: str) -> OssError:
    return OssError(400, "InvalidTag", message, ec=ec)


def put_bucket_acl(call: OssCall) -> Answer:
    """PutBucketAcl: the header x-oss-acl is required."""
    call.change_bucket(acl=_acl(call, "x-oss-acl", BUCKET_ACLS))
    return Answer(200)


def get_bucket_acl(call: OssCall) -> Answer:
    """GetBucketAcl."""
    return _shown_acl(call, call.bucket.acl)


def put_object_acl(call: OssCall) -> Answer:
    """PutObjectACL: of the current or the given version. The header x-oss-object-acl is required."""
    acl = _acl(call, "x-oss-object-acl", OBJECT_ACLS)
    return _changed(call, lambda stored: replace(stored, acl=acl))


def get_object_acl(call: OssCall) -> Answer:
    """GetObjectACL: `default` is the ACL of the bucket."""
    with call.state.lock:
        stored = find(call.bucket, call.key, call.request.param("versionId"))
    return _shown_acl(call, stored.acl or "default")


def _acl(call: OssCall, header: str, known: tuple[str, ...]) -> str:
    acl = call.request.headers.get(header)
    if acl not in known:
        raise invalid_argument(header, acl)
    return acl


def _shown_acl(call: OssCall, acl: str) -> Answer:
    tree = {"Owner": owner(call.bucket.owner_id), "AccessControlList": {"Grant": acl}}
    return xml_answer("AccessControlPolicy", tree)


def put_bucket_tags(call: OssCall) -> Answer:
    """PutBucketTags: replace all tags."""
    call.change_bucket(tags=_sent_tags(call, BUCKET_TAGS))
    return Answer(200)


def get_bucket_tags(call: OssCall) -> Answer:
    """GetBucketTags."""
    return _shown_tags(call.bucket.tags)


def delete_bucket_tags(call: OssCall) -> Answer:
    """DeleteBucketTags: delete all tags."""
    if call.request.param("tagging"):
        raise not_implemented("DeleteBucketTags with the keys to delete")
    call.change_bucket(tags={})
    return Answer(204)


def put_object_tags(call: OssCall) -> Answer:
    """PutObjectTagging: replace all tags. Last-Modified does not change."""
    tags = _sent_tags(call, OBJECT_TAGS)
    return _changed(call, lambda stored: replace(stored, tags=tags))


def get_object_tags(call: OssCall) -> Answer:
    """GetObjectTagging."""
    with call.state.lock:
        stored = find(call.bucket, call.key, call.request.param("versionId"))
    return _shown_tags(stored.tags, headers=version_header(call.bucket, stored))


def delete_object_tags(call: OssCall) -> Answer:
    """DeleteObjectTagging."""
    return _changed(call, lambda stored: replace(stored, tags={}), status=204)


def _changed(call: OssCall, change: Callable[[StoredObject], StoredObject], *, status: int = 200) -> Answer:
    """Change the requested version of an object, and return the answer."""
    with call.state.lock:
        stored = find(call.bucket, call.key, call.request.param("versionId"))
        call.oss.change_object(call.bucket, change(stored))
    return Answer(status, version_header(call.bucket, stored))


def _shown_tags(tags: Mapping[str, str], *, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    tree = {"TagSet": {"Tag": [{"Key": key, "Value": value} for key, value in tags.items()]}}
    return xml_answer("Tagging", tree, headers=headers)


def _sent_tags(call: OssCall, limits: TagLimits) -> dict[str, str]:
    """Return the tags in the body of a request. Raises MalformedXML and InvalidTag."""
    tag_set = parse(call.request, "Tagging").find("TagSet")
    if tag_set is None:
        raise malformed_xml()
    pairs = [(_text(tag, "Key"), _text(tag, "Value")) for tag in tag_set.findall("Tag")]
    return _checked_tags(pairs, limits)


def _text(parent: ElementTree.Element, name: str) -> str:
    child = parent.find(name)
    if child is None:
        raise malformed_xml()
    return child.text or ""
