"""Tests of lists and their pages, through oss2's iterators and single requests."""

import oss2
import pytest

from tests.rows import each_row
from tests.sandbox.oss_sdk import PART, do, refused

KEYS = ["a b+ü", "a/1", "a/2", "a/b/3", "b", "c/1", "c/2"]


@pytest.fixture
def filled(bucket: oss2.Bucket) -> oss2.Bucket:
    """Return a bucket with small objects of many names."""
    for key in KEYS:
        bucket.put_object(key, key.encode())
    return bucket


@each_row("iterator", [oss2.ObjectIterator, oss2.ObjectIteratorV2])
@each_row("page", [1, 2, 3, 100])
def test_all_objects_are_listed_in_pages(filled: oss2.Bucket, iterator: type, page: int) -> None:
    """Both versions of the list return every key once, in order, for every page size."""
    assert [each.key for each in iterator(filled, max_keys=page)] == KEYS
    assert [each.key for each in iterator(filled, prefix="a/", max_keys=page)] == KEYS[1:4]


@each_row("iterator", [oss2.ObjectIterator, oss2.ObjectIteratorV2])
@each_row("page", [1, 2, 100])
def test_a_delimiter_groups_names_by_prefix(filled: oss2.Bucket, iterator: type, page: int) -> None:
    """Names with the same part up to the delimiter are one common prefix, also across pages."""
    found = [(each.key, each.is_prefix()) for each in iterator(filled, delimiter="/", max_keys=page)]
    assert sorted(found) == [("a b+ü", False), ("a/", True), ("b", False), ("c/", True)]
    below = [each.key for each in iterator(filled, prefix="a/", delimiter="/", max_keys=page)]
    assert sorted(below) == ["a/1", "a/2", "a/b/"]


def test_a_listed_object_has_the_fields_of_the_object(filled: oss2.Bucket) -> None:
    """Size, ETag, type, class and owner are those of the object."""
    listed, head = filled.list_objects("b").object_list[0], filled.head_object("b")
    assert (listed.size, listed.etag, listed.type, listed.storage_class) == (1, head.etag, "Normal", "Standard")
    assert filled.list_objects_v2("b", fetch_owner=True).object_list[0].owner.id == "1000000000000000"


def test_the_parameters_of_a_page_are_checked(filled: oss2.Bucket) -> None:
    """A page has 1 to 1000 entries; only the encoding url is supported."""
    for params in ({"max-keys": "0"}, {"max-keys": "1001"}, {"max-keys": "x"}, {"encoding-type": "rot13"}):
        with refused() as answer:
            do(filled, "GET", params=params)
        assert answer == (400, "InvalidArgument")
    with refused() as answer:
        do(filled, "GET", params={"list-type": "2", "continuation-token": "not base64"})
    assert answer == (400, "InvalidArgument")


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_all_uploads_are_listed_in_pages(bucket: oss2.Bucket, page: int) -> None:
    """Uploads of the same key are distinguished across pages by the upload id."""
    started = [(key, bucket.init_multipart_upload(key).upload_id) for key in ("a/ü", "a/ü", "a/ü", "b")]
    found = [(each.key, each.upload_id) for each in oss2.MultipartUploadIterator(bucket, max_uploads=page)]
    assert found == started
    found = [(each.key, each.upload_id) for each in oss2.MultipartUploadIterator(bucket, prefix="b", max_uploads=page)]
    assert found == started[3:]


def test_parts_are_listed_in_pages(bucket: oss2.Bucket) -> None:
    """Parts are ordered by number, and have a CRC-64, which oss2 ignores."""
    upload_id = bucket.init_multipart_upload("k").upload_id
    sent = {number: bucket.upload_part("k", upload_id, number, b"x" * number) for number in (7, 2, 10000)}
    found = list(oss2.PartIterator(bucket, "k", upload_id, max_parts=1))
    assert [(part.part_number, part.size, part.etag) for part in found] == [
        (number, number, sent[number].etag) for number in (2, 7, 10000)
    ]
    body = do(bucket, "GET", "k", params={"uploadId": upload_id, "max-parts": "2"}).body.decode()
    assert f"<HashCrc64ecma>{sent[2].crc}</HashCrc64ecma>" in body
    assert "<NextPartNumberMarker>7</NextPartNumberMarker>" in body
    assert "<IsTruncated>true</IsTruncated>" in body
    with refused() as answer:
        do(bucket, "GET", "k", params={"uploadId": upload_id, "max-parts": str(PART)})
    assert answer == (400, "InvalidArgument")


def test_bodies_have_no_namespace(filled: oss2.Bucket) -> None:
    """Clients such as oss2 cannot read bodies with a namespace."""
    upload_id = filled.init_multipart_upload("k").upload_id
    for params in ({}, {"list-type": "2"}, {"uploads": ""}, {"bucketInfo": ""}, {"location": ""}, {"acl": ""}):
        assert b"xmlns" not in do(filled, "GET", params=params).body
    assert b"xmlns" not in do(filled, "GET", "k", params={"uploadId": upload_id}).body
