"""Tests of versions, the deletion of many keys, and statistics of buckets."""

import base64
import hashlib
from collections.abc import Callable

import oss2
import pytest

from tests.sandbox.oss_sdk import Reply, do, refused


@pytest.fixture
def versioned(bucket: oss2.Bucket) -> oss2.Bucket:
    """Return a bucket with versions: a (twice, then deleted), b, d/1 and d/2."""
    bucket.put_bucket_versioning(oss2.models.BucketVersioningConfig("Enabled"))
    for key in ("a", "a", "b", "d/1", "d/2"):
        bucket.put_object(key, key.encode())
    bucket.delete_object("a")
    return bucket


def _pages(bucket: oss2.Bucket, **options: str) -> list[tuple[str, str, bool]]:
    """Return (key, version id, latest) of all versions, by pages of two, markers first in each page."""
    found, key_marker, id_marker = [], "", ""
    while True:
        page = bucket.list_object_versions(max_keys=2, key_marker=key_marker, versionid_marker=id_marker, **options)
        found += [(each.key, each.versionid, each.is_latest) for each in (*page.delete_marker, *page.versions)]
        if not page.is_truncated:
            return found
        key_marker, id_marker = page.next_key_marker, page.next_versionid_marker


def test_versions_are_listed_in_pages(versioned: oss2.Bucket) -> None:
    """Versions are ordered by key, newest first, and each is listed once."""
    found = _pages(versioned)
    assert [(key, latest) for key, _, latest in found] == [
        ("a", True), ("a", False), ("a", False), ("b", True), ("d/1", True), ("d/2", True),
    ]  # fmt: skip
    assert len({version for _, version, _ in found}) == 6
    assert [key for key, _, _ in _pages(versioned, prefix="d/")] == ["d/1", "d/2"]
    grouped = versioned.list_object_versions(delimiter="/")
    assert grouped.common_prefix == ["d/"]
    assert [each.key for each in grouped.versions] == ["a", "a", "b"]


def test_a_version_marker_needs_a_key_marker(versioned: oss2.Bucket) -> None:
    """The call without a key marker is refused with InvalidArgument."""
    with refused() as answer:
        versioned.list_object_versions(versionid_marker="null")
    assert answer == (400, "InvalidArgument")


def test_a_delete_marker_cannot_be_read(versioned: oss2.Bucket) -> None:
    """A read without version is 404 with the marker's headers, one of the marker 405; a malformed id is 400."""
    marker = versioned.list_object_versions().delete_marker[0].versionid
    for read in (versioned.get_object, versioned.head_object):
        with pytest.raises(oss2.exceptions.NotFound) as caught:
            read("a")
        assert caught.value.headers["x-oss-delete-marker"] == "true"
        assert caught.value.headers["x-oss-version-id"] == marker
        with refused() as answer:
            read("a", params={"versionId": marker})
        assert answer == (405, "MethodNotAllowed")
    for act in (versioned.get_object, versioned.delete_object, versioned.get_object_acl):
        with refused() as answer:
            act("b", params={"versionId": "no id"})
        assert answer == (400, "InvalidArgument")
    with pytest.raises(oss2.exceptions.NoSuchKey) as missing:
        versioned.get_object("never")
    assert "x-oss-delete-marker" not in missing.value.headers


def test_many_keys_are_deleted_in_one_call(bucket: oss2.Bucket) -> None:
    """Missing keys are reported as deleted; the response with Quiet has no body."""
    keys = ["a", "b&<c>", " blank ", "ü"]
    for key in keys:
        bucket.put_object(key, b"x")
    assert bucket.batch_delete_objects([*keys, "missing"]).deleted_keys == [*keys, "missing"]
    assert list(oss2.ObjectIterator(bucket)) == []
    bucket.put_object("q", b"x")
    assert _delete(bucket, "<Quiet>true</Quiet><Object><Key>q</Key></Object>").body == b""
    assert not bucket.object_exists("q")


def test_versions_are_deleted_in_one_call(versioned: oss2.Bucket) -> None:
    """Without a version id, a marker is added and returned; with an id, the version is removed."""
    marked = versioned.batch_delete_objects(["b"])
    assert marked.delete_versions[0].delete_marker_versionid
    versions = oss2.models.BatchDeleteObjectVersionList()
    for key, version_id, _ in _pages(versioned):
        versions.append(oss2.models.BatchDeleteObjectVersion(key=key, versionid=version_id))
    versioned.delete_object_versions(versions)
    assert _pages(versioned) == []
    versioned.delete_bucket()


def _delete(bucket: oss2.Bucket, objects: str, **headers: str) -> Reply:
    body = f"<Delete>{objects}</Delete>".encode()
    md5 = {"Content-MD5": base64.b64encode(hashlib.md5(body).digest()).decode()}
    return do(bucket, "POST", params={"delete": ""}, data=body, headers=md5 | headers)


def test_an_invalid_deletion_of_many_keys_deletes_nothing(bucket: oss2.Bucket) -> None:
    """The digest, the document and the number of keys are checked first."""
    bucket.put_object("a", b"x")
    one = "<Object><Key>a</Key></Object>"
    other = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    for objects, headers, code in (
        (one, {"Content-MD5": other}, "InvalidDigest"),
        (one, {"Content-MD5": ""}, "MissingArgument"),
        ("", {}, "MalformedXML"),
        (f"{one}<Object><Key></Key></Object>", {}, "MalformedXML"),
        (one * 1001, {}, "MalformedXML"),
    ):
        with refused() as answer:
            _delete(bucket, objects, **headers)
        assert answer == (400, code)
    assert bucket.object_exists("a")


def test_a_bucket_has_statistics(versioned: oss2.Bucket) -> None:
    """The statistics include all versions; a delete marker has no bytes."""
    stat = versioned.get_bucket_stat()
    assert (stat.storage_size_in_bytes, stat.object_count) == (9, 5)


def test_only_objects_of_one_upload_have_an_md5(bucket: oss2.Bucket) -> None:
    """Objects of multipart uploads have no Content-MD5."""
    expected = base64.b64encode(hashlib.md5(b"data").digest()).decode()
    assert bucket.put_object("k", b"data").headers["Content-MD5"] == expected
    assert bucket.head_object("k").headers["Content-MD5"] == expected
    assert bucket.get_object("k").headers["Content-MD5"] == expected
    assert "Content-MD5" not in bucket.get_object("k", byte_range=(0, 1)).headers
    upload_id = bucket.init_multipart_upload("p").upload_id
    part = oss2.models.PartInfo(1, bucket.upload_part("p", upload_id, 1, b"data").etag)
    bucket.complete_multipart_upload("p", upload_id, [part])
    assert "Content-MD5" not in bucket.head_object("p").headers


def test_unsupported_operations_are_refused(bucket: oss2.Bucket) -> None:
    """The codes are those for an uploaded object; everything else is answered 501 by name."""
    bucket.put_object("k", b"x")
    bucket.put_object("cold", b"x", headers={"x-oss-storage-class": "Archive"})
    cases: list[tuple[Callable[[], object], tuple[int, str]]] = [
        (lambda: bucket.append_object("k", 0, b"x"), (409, "ObjectNotAppendable")),
        (lambda: bucket.append_object("new", 0, b"x"), (501, "NotImplemented")),
        (lambda: bucket.put_symlink("k", "link"), (501, "NotImplemented")),
        (lambda: bucket.get_symlink("k"), (400, "NotSymlinkObject")),
        (lambda: bucket.get_symlink("none"), (404, "NoSuchKey")),
        (lambda: bucket.restore_object("k"), (400, "OperationNotSupported")),
        (lambda: bucket.restore_object("cold"), (501, "NotImplemented")),
    ]
    for act, expected in cases:
        with refused() as answer:
            act()
        assert answer == expected
