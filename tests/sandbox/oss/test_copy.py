"""Tests of server-side copies: ranges, conditions and checksums."""

import os

import oss2
import pytest

from aliyun_import.sandbox.core.blob_store import crc64_combine, crc64_update, crc64_zeros
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from tests.sandbox.oss_sdk import Reply, complete, do, refused, stored_bucket

SOURCE = "base/old disk+ü.raw"
KEY = "dir/new.raw"


@pytest.fixture
def data(bucket: oss2.Bucket) -> bytes:
    """Upload a source object with a hole, and return its bytes."""
    data = os.urandom(150_000) + bytes(300_000) + os.urandom(50_000)
    bucket.put_object(SOURCE, data)
    return data


@pytest.fixture
def upload_id(bucket: oss2.Bucket) -> str:
    """Start an upload, and return its id."""
    return str(bucket.init_multipart_upload(KEY).upload_id)


def test_a_copied_range_is_inclusive(bucket: oss2.Bucket, data: bytes, upload_id: str) -> None:
    """bytes=a-b includes b. Copied and uploaded parts form one object with its CRC-64."""
    copied = bucket.upload_part_copy("disks", SOURCE, (100_000, 399_999), KEY, upload_id, 1)
    sent = bucket.upload_part(KEY, upload_id, 2, b"sent")
    expected = data[100_000:400_000] + b"sent"
    done = complete(bucket, KEY, upload_id, [(1, copied.etag), (2, sent.etag)])
    assert bucket.get_object(KEY).read() == expected
    assert done.headers["x-oss-hash-crc64ecma"] == str(crc64_update(expected))


def test_the_response_has_the_etag_in_its_body_too(bucket: oss2.Bucket, data: bytes, upload_id: str) -> None:
    """CopyPartResult is documented; oss2 reads the header."""
    answer = do(
        bucket,
        "PUT",
        KEY,
        params={"uploadId": upload_id, "partNumber": "1"},
        headers={"x-oss-copy-source": f"/disks/{oss2.compat.urlquote(SOURCE, '')}"},
    )
    body = answer.body.decode()
    assert f"<ETag>{answer.headers['ETag']}</ETag>" in body
    assert "<CopyPartResult>" in body


@pytest.mark.parametrize("range_header", ["bytes=5-1", "bytes=a-b", "0-99"])
def test_a_malformed_range_copies_everything(
    bucket: oss2.Bucket, data: bytes, upload_id: str, range_header: str
) -> None:
    """This follows the documents."""
    params = {"uploadId": upload_id, "partNumber": "1"}
    source = {
        "x-oss-copy-source": f"/disks/{oss2.compat.urlquote(SOURCE, '')}",
        "x-oss-copy-source-range": range_header,
    }
    do(bucket, "PUT", KEY, params=params, headers=source)
    assert [part.size for part in bucket.list_parts(KEY, upload_id).parts] == [len(data)]


def test_a_range_beyond_the_source_is_refused(bucket: oss2.Bucket, data: bytes, upload_id: str) -> None:
    """A part cannot contain bytes beyond the end of its source."""
    with refused() as answer:
        bucket.upload_part_copy("disks", SOURCE, (0, len(data)), KEY, upload_id, 1)
    assert answer == (416, "InvalidRange")


def test_a_changed_source_is_refused_with_if_match(bucket: oss2.Bucket, data: bytes, upload_id: str) -> None:
    """x-oss-copy-source-if-match refuses a source that has changed."""
    etag = bucket.head_object(SOURCE).etag
    bucket.upload_part_copy(
        "disks", SOURCE, (0, 9), KEY, upload_id, 1, headers={"x-oss-copy-source-if-match": f'"{etag}"'}
    )
    bucket.put_object(SOURCE, b"changed")
    with refused() as answer:
        bucket.upload_part_copy(
            "disks", SOURCE, (0, 5), KEY, upload_id, 1, headers={"x-oss-copy-source-if-match": f'"{etag}"'}
        )
    assert answer == (412, "PreconditionFailed")


def test_invalid_sources_of_copies_are_refused(
    sandbox: Sandbox, bucket: oss2.Bucket, data: bytes, upload_id: str
) -> None:
    """A missing source, and one in another region, of another account, or archived, have different codes."""
    oss = sandbox.state.part(OssState)
    oss.add_bucket("other-region", region="cn-shanghai", owner_id=sandbox.account_id)
    oss.add_bucket("other-account", region="cn-hangzhou", owner_id="1000000000000009")
    bucket.put_object("archived", b"x", headers={"x-oss-storage-class": "Archive"})
    for name, key, expected in (
        ("disks", "none", (404, "NoSuchKey")),
        ("nowhere", SOURCE, (404, "NoSuchBucket")),
        ("other-region", SOURCE, (403, "AccessDenied")),
        ("other-account", SOURCE, (403, "AccessDenied")),
        ("disks", "archived", (400, "OperationNotSupported")),
    ):
        with refused() as answer:
            bucket.upload_part_copy(name, key, (0, 0), KEY, upload_id, 1)
        assert answer == expected
    sandbox.state.deny("oss:GetObject")
    with refused() as answer:
        bucket.upload_part_copy("disks", SOURCE, (0, 0), KEY, upload_id, 1)
    assert answer == (403, "AccessDenied")


def test_copies_can_be_without_a_crc(sandbox: Sandbox, bucket: oss2.Bucket, data: bytes, upload_id: str) -> None:
    """With crc_of_copies=False, copied parts and their objects have no CRC-64."""
    sandbox.state.configure(crc_of_copies=False)
    copied = bucket.upload_part_copy("disks", SOURCE, None, KEY, upload_id, 1)
    assert copied.crc is None
    done = complete(bucket, KEY, upload_id, [(1, copied.etag)])
    assert "x-oss-hash-crc64ecma" not in done.headers
    assert "x-oss-hash-crc64ecma" not in bucket.head_object(KEY).headers
    assert bucket.copy_object("disks", SOURCE, "other").crc is None


def test_100_gib_of_holes_need_no_more_than_the_data(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """A sparse disk of 100 GiB consists of 1 MiB of uploaded zeros, copies of copies, and 9000 bytes of data."""
    bucket.put_object("mib", bytes(1 << 20))

    def repeat(source: str, size: int, times: int, key: str, *, tail: bytes = b"") -> Reply:
        upload_id = bucket.init_multipart_upload(key).upload_id
        parts = [
            (number, bucket.upload_part_copy("disks", source, (0, size - 1), key, upload_id, number).etag)
            for number in range(1, times + 1)
        ]
        if tail:
            parts.append((times + 1, bucket.upload_part(key, upload_id, times + 1, tail).etag))
        return complete(bucket, key, upload_id, parts)

    repeat("mib", 1 << 20, 16, "16-mib")
    repeat("16-mib", 16 << 20, 16, "256-mib")
    repeat("256-mib", 256 << 20, 20, "5-gib")
    tail = os.urandom(9000)
    done = repeat("5-gib", 5 << 30, 20, "disk", tail=tail)
    assert bucket.head_object("disk").content_length == (100 << 30) + len(tail)
    assert done.headers["x-oss-hash-crc64ecma"] == str(
        crc64_combine(crc64_zeros(100 << 30), crc64_update(tail), len(tail))
    )
    assert bucket.get_object("disk", byte_range=((100 << 30) - 5, (100 << 30) + 4)).read() == bytes(5) + tail[:5]
    stored = stored_bucket(sandbox).current("disk")
    assert stored is not None
    assert list(stored.content.data_extents()) == [(100 << 30, len(tail))]
    assert sum(path.stat().st_blocks * 512 for path in (sandbox.state.directory / "objects").iterdir()) < 1 << 16


def test_an_object_is_copied_with_its_metadata(bucket: oss2.Bucket) -> None:
    """CopyObject copies the metadata of the source, or with REPLACE sets those of the request."""
    bucket.put_object("from", b"bytes", headers={"x-oss-meta-a": "1"})
    bucket.copy_object("disks", "from", "to")
    assert bucket.head_object("to").headers["x-oss-meta-a"] == "1"
    bucket.copy_object("disks", "from", "to", headers={"x-oss-metadata-directive": "REPLACE", "x-oss-meta-b": "2"})
    head = bucket.head_object("to").headers
    assert "x-oss-meta-a" not in head
    assert head["x-oss-meta-b"] == "2"
    assert bucket.get_object("to").read() == b"bytes"
    with refused() as answer:
        bucket.copy_object("disks", "from", "to", headers={"x-oss-copy-source-if-none-match": "*"})
    assert answer.status == 304
