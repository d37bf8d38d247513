"""Tests of operations on objects through oss2."""

import base64
import hashlib

import oss2
import pytest

from aliyun_import.sandbox.core.blob_store import crc64_update
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from tests.sandbox.oss_sdk import do, refused, stored_bucket

KEY = "dir/a b+中.raw"
DATA = bytes(range(256)) * 40


def test_an_uploaded_object_can_be_downloaded(bucket: oss2.Bucket) -> None:
    """Bytes, metadata and a key with a slash, a space, a plus and non-ASCII characters are preserved."""
    put = bucket.put_object(KEY, DATA, headers={"x-oss-meta-digest": "abc", "Content-Type": "application/x-raw"})
    assert put.etag == hashlib.md5(DATA).hexdigest().upper()
    got = bucket.get_object(KEY)
    assert got.read() == DATA
    assert got.headers["x-oss-meta-digest"] == "abc"
    assert got.content_type == "application/x-raw"
    head = bucket.head_object(KEY)
    assert head.content_length == len(DATA)
    assert head.headers["x-oss-hash-crc64ecma"] == str(crc64_update(DATA))
    assert head.object_type == "Normal"
    meta = bucket.get_object_meta(KEY)
    assert (meta.content_length, meta.etag) == (len(DATA), put.etag)


@pytest.mark.parametrize(
    ("range_header", "first", "last"),
    [("bytes=3-9", 3, 9), ("bytes=10200-", 10200, 10239), ("bytes=-5", 10235, 10239), ("bytes=0-0", 0, 0)],
)
def test_a_range_is_inclusive(bucket: oss2.Bucket, range_header: str, first: int, last: int) -> None:
    """A range in the object is returned with 206 and the CRC of the whole object."""
    bucket.put_object(KEY, DATA)
    got = do(bucket, "GET", KEY, headers={"Range": range_header})
    assert got.status == 206
    assert got.body == DATA[first : last + 1]
    assert got.headers["content-range"] == f"bytes {first}-{last}/{len(DATA)}"
    assert got.headers["x-oss-hash-crc64ecma"] == str(crc64_update(DATA))


@pytest.mark.parametrize("range_header", ["bytes=9-3", "bytes=a-b", "bytes=20000-", "bytes=3-20000", "bytes=-"])
def test_an_invalid_range_returns_the_whole_object(bucket: oss2.Bucket, range_header: str) -> None:
    """OSS ignores such a range unless the standard behaviour is requested."""
    bucket.put_object(KEY, DATA)
    got = do(bucket, "GET", KEY, headers={"Range": range_header})
    assert (got.status, got.body) == (200, DATA)


def test_the_standard_range_behaviour_can_be_requested(bucket: oss2.Bucket) -> None:
    """With x-oss-range-behavior a range is limited to the object, and a range past its end is refused."""
    bucket.put_object(KEY, DATA)
    standard = {"x-oss-range-behavior": "standard"}
    got = do(bucket, "GET", KEY, headers={"Range": "bytes=10000-20000", **standard})
    assert (got.status, got.body) == (206, DATA[10000:])
    with refused() as answer:
        do(bucket, "GET", KEY, headers={"Range": "bytes=20000-", **standard})
    assert answer == (416, "InvalidRange")


def test_a_missing_object_is_404_for_head_too(bucket: oss2.Bucket) -> None:
    """GET has a body; HEAD has the error in x-oss-err."""
    with refused() as answer:
        bucket.get_object("none")
    assert answer == (404, "NoSuchKey")
    with refused() as answer:
        bucket.head_object("none")
    assert answer == (404, "NoSuchKey")
    assert not bucket.object_exists("none")


def test_deleting_a_missing_object_succeeds(bucket: oss2.Bucket) -> None:
    """DeleteObject returns 204 in both cases."""
    bucket.put_object(KEY, DATA)
    assert bucket.delete_object(KEY).status == 204
    assert bucket.delete_object(KEY).status == 204
    assert not bucket.object_exists(KEY)


def test_overwriting_can_be_forbidden(bucket: oss2.Bucket) -> None:
    """x-oss-forbid-overwrite refuses a second object with the same key, and the first is not changed."""
    forbid = {"x-oss-forbid-overwrite": "true"}
    bucket.put_object(KEY, b"first", headers=forbid)
    with refused() as answer:
        bucket.put_object(KEY, b"second", headers=forbid)
    assert answer == (409, "FileAlreadyExists")
    assert bucket.get_object(KEY).read() == b"first"
    bucket.put_object(KEY, b"third")
    assert bucket.get_object(KEY).read() == b"third"


def test_checksums_of_a_body_are_checked(bucket: oss2.Bucket) -> None:
    """A wrong Content-MD5 or CRC-64 is refused, and no object is stored."""
    md5 = base64.b64encode(hashlib.md5(DATA).digest()).decode()
    bucket.put_object(KEY, DATA, headers={"Content-MD5": md5, "x-oss-hash-crc64ecma": str(crc64_update(DATA))})
    for headers, code in (
        ({"Content-MD5": base64.b64encode(bytes(16)).decode()}, "InvalidDigest"),
        ({"Content-MD5": "bm90IDE2"}, "InvalidDigest"),
        ({"x-oss-hash-crc64ecma": "1"}, "InvalidCRC64"),
    ):
        with refused() as answer:
            bucket.put_object("other", DATA, headers=headers)
        assert answer == (400, code)
    assert not bucket.object_exists("other")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditional_headers_are_evaluated(bucket: oss2.Bucket, method: str) -> None:
    """A condition that does not hold is 412 or 304."""
    etag = bucket.put_object(KEY, DATA).etag
    assert do(bucket, method, KEY, headers={"If-Match": f'"{etag}"'}).status == 200
    with refused() as answer:
        do(bucket, method, KEY, headers={"If-Match": "0" * 32})
    assert answer == (412, "PreconditionFailed")
    with refused() as answer:
        do(bucket, method, KEY, headers={"If-Unmodified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"})
    assert answer == (412, "PreconditionFailed")
    with pytest.raises(oss2.exceptions.NotModified):
        do(bucket, method, KEY, headers={"If-None-Match": etag})


def test_an_archived_object_cannot_be_read(bucket: oss2.Bucket) -> None:
    """GetObject of an archived class is refused, HeadObject is not."""
    bucket.put_object(KEY, DATA, headers={"x-oss-storage-class": "Archive"})
    assert bucket.head_object(KEY).headers["x-oss-storage-class"] == "Archive"
    with refused() as answer:
        bucket.get_object(KEY)
    assert answer == (403, "InvalidObjectState")
    with refused() as answer:
        bucket.put_object(KEY, DATA, headers={"x-oss-storage-class": "NoSuchClass"})
    assert answer == (400, "InvalidArgument")


def test_an_object_keeps_its_encryption(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """An object has the encryption of its upload, or else that of its bucket."""
    bucket.put_object("a", b"", headers={"x-oss-server-side-encryption": "KMS"})
    sandbox.state.part(OssState).change(bucket.bucket_name, encryption="AES256")
    assert bucket.put_object("b", b"").headers["x-oss-server-side-encryption"] == "AES256"
    assert bucket.head_object("a").headers["x-oss-server-side-encryption"] == "KMS"
    with refused() as answer:
        bucket.put_object("c", b"", headers={"x-oss-server-side-encryption": "ROT13"})
    assert answer == (400, "InvalidEncryptionAlgorithmError")


def test_more_than_8_kb_of_metadata_is_refused(bucket: oss2.Bucket) -> None:
    """The limit is for all x-oss-meta- headers together."""
    with refused() as answer:
        bucket.put_object(KEY, b"", headers={f"x-oss-meta-{n}": "v" * 1100 for n in range(8)})
    assert answer == (400, "InvalidArgument")


def test_a_versioned_bucket_keeps_versions(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """With versioning, overwriting adds a version, deleting adds a marker, and a version is removed by its id."""
    bucket.put_bucket_versioning(oss2.models.BucketVersioningConfig("Enabled"))
    first = bucket.put_object(KEY, b"first", headers={"x-oss-forbid-overwrite": "true"}).versionid
    second = bucket.put_object(KEY, b"second", headers={"x-oss-forbid-overwrite": "true"}).versionid
    assert bucket.get_object(KEY, params={"versionId": first}).read() == b"first"
    deleted = bucket.delete_object(KEY)
    assert deleted.delete_marker
    assert not bucket.object_exists(KEY)
    assert bucket.get_object(KEY, params={"versionId": second}).read() == b"second"
    bucket.delete_object(KEY, params={"versionId": deleted.versionid})
    assert bucket.get_object(KEY).read() == b"second"
    bucket.delete_object(KEY, params={"versionId": second})
    assert bucket.get_object(KEY).read() == b"first"
    assert [each.version_id for each in stored_bucket(sandbox).versions[KEY]] == [first]
    with refused() as answer:
        bucket.get_object(KEY, params={"versionId": second})
    assert answer == (404, "NoSuchVersion")


def test_a_bucket_with_suspended_versioning_keeps_earlier_versions(bucket: oss2.Bucket) -> None:
    """There is one version with the id "null" in addition to the earlier versions."""
    bucket.put_bucket_versioning(oss2.models.BucketVersioningConfig("Enabled"))
    old = bucket.put_object(KEY, b"old").versionid
    bucket.put_bucket_versioning(oss2.models.BucketVersioningConfig("Suspended"))
    assert bucket.put_object(KEY, b"new").versionid == "null"
    bucket.put_object(KEY, b"newer")
    assert bucket.delete_object(KEY).versionid == "null"
    assert not bucket.object_exists(KEY)
    assert bucket.get_object(KEY, params={"versionId": old}).read() == b"old"


def test_unsupported_features_are_501_with_their_name(bucket: oss2.Bucket) -> None:
    """Headers, parameters and sub-resources that are not supported are refused."""
    for method, key, params, headers, named in (
        ("PUT", KEY, {}, {"x-oss-traffic-limit": "819200"}, "x-oss-traffic-limit"),
        ("GET", KEY, {"x-oss-process": "image/resize"}, {}, "x-oss-process"),
        ("PUT", "", {"cors": ""}, {}, "PUT ?cors"),
        ("POST", KEY, {"append": "", "position": "0"}, {}, "AppendObject"),
    ):
        with refused() as answer:
            do(bucket, method, key, params=params, headers=headers)
        assert answer == (501, "NotImplemented")
        assert named in answer.details["Message"]
