"""Operations on tags and ACLs of buckets and objects."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from xml.etree import ElementTree

from aliyun_import.sandbox.core.http_types import Answer
from aliyun_import.sandbox.oss.attributes import BUCKET_ACLS, MAX_OBJECT_TAGS, OBJECT_ACLS, checked_tags
from aliyun_import.sandbox.oss.objects import find
from aliyun_import.sandbox.oss.protocol import (
    OssCall,
    OssError,
    invalid_argument,
    malformed_xml,
    owner,
    parse,
    version_header,
    xml_answer,
)
from aliyun_import.sandbox.oss.state import StoredObject

MAX_BUCKET_TAGS = 20


def put_bucket_acl(call: OssCall) -> Answer:
    """PutBucketAcl: the header is required."""
    call.change_bucket(acl=_acl(call, "x-oss-acl", BUCKET_ACLS))
    return Answer(200)


def get_bucket_acl(call: OssCall) -> Answer:
    """GetBucketAcl."""
    return _shown_acl(call, call.bucket.acl)


def put_object_acl(call: OssCall) -> Answer:
    """PutObjectACL: of the current version or the given one; the header is required."""
    acl = _acl(call, "x-oss-object-acl", OBJECT_ACLS)
    return _changed(call, lambda stored: replace(stored, acl=acl))


def get_object_acl(call: OssCall) -> Answer:
    """GetObjectACL: `default` means that of the bucket."""
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
    """PutBucketTags: replaces all tags."""
    call.change_bucket(tags=_sent_tags(call, most=MAX_BUCKET_TAGS, key_chars=64, value_chars=128))
    return Answer(200)


def get_bucket_tags(call: OssCall) -> Answer:
    """GetBucketTags."""
    return _shown_tags(call.bucket.tags)


def delete_bucket_tags(call: OssCall) -> Answer:
    """DeleteBucketTags: all of them."""
    if call.request.param("tagging"):
        raise OssError(501, "NotImplemented", "The sandbox does not do DeleteBucketTags with the keys to delete.")
    call.change_bucket(tags={})
    return Answer(204)


def put_object_tags(call: OssCall) -> Answer:
    """PutObjectTagging: replaces all tags; the object's time stays."""
    tags = _sent_tags(call, most=MAX_OBJECT_TAGS, key_chars=128, value_chars=256)
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
    """Change a version of an object in its place."""
    with call.state.lock:
        stored = find(call.bucket, call.key, call.request.param("versionId"))
        call.oss.change_object(call.bucket, change(stored))
    return Answer(status, version_header(call.bucket, stored))


def _shown_tags(tags: Mapping[str, str], *, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    tree = {"TagSet": {"Tag": [{"Key": key, "Value": value} for key, value in tags.items()]}}
    return xml_answer("Tagging", tree, headers=headers)


def _sent_tags(call: OssCall, *, most: int, key_chars: int, value_chars: int) -> dict[str, str]:
    """Return the tags of a body."""
    tag_set = parse(call.request, "Tagging").find("TagSet")
    if tag_set is None:
        raise malformed_xml()
    pairs = [(_text(tag, "Key"), _text(tag, "Value")) for tag in tag_set.findall("Tag")]
    return checked_tags(pairs, most=most, key_chars=key_chars, value_chars=value_chars)


def _text(parent: ElementTree.Element, name: str) -> str:
    child = parent.find(name)
    if child is None:
        raise malformed_xml()
    return child.text or ""
