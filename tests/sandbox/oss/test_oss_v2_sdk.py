"""Tests of OSS through the vendor's newer SDK, which signs, escapes and parses differently."""

import gc
import os
import warnings
from collections.abc import Iterator

import alibabacloud_oss_v2 as oss
import pytest

from aliyun_import.sandbox.core.blob_store import crc64_update
from aliyun_import.sandbox.server import Sandbox
from tests.sandbox.oss_sdk import PART

BUCKET, KEY = "disks", "dir/a b+ü.raw"


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[oss.Client]:
    """Yield a client after the creation of a bucket."""
    key = sandbox.access_key
    config = oss.config.load_default()
    config.credentials_provider = oss.credentials.StaticCredentialsProvider(key.id, key.secret)
    config.region, config.endpoint, config.use_path_style = "cn-hangzhou", sandbox.url, True
    config.retry_max_attempts = 1
    client = oss.Client(config)
    client.put_bucket(oss.PutBucketRequest(bucket=BUCKET))
    yield client
    client._client._options.http_client.close()
    # This SDK does not read empty responses to their end, so the garbage collector closes its connections.
    del client
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_a_multipart_upload_is_completed(client: oss.Client) -> None:
    """Uploaded and copied parts are listed with their CRCs and completed, and the object can be read."""
    data = os.urandom(PART)
    client.put_object(oss.PutObjectRequest(bucket=BUCKET, key="source", body=data))
    started = client.initiate_multipart_upload(oss.InitiateMultipartUploadRequest(bucket=BUCKET, key=KEY))
    upload = {"bucket": BUCKET, "key": KEY, "upload_id": started.upload_id}
    assert started.key == KEY
    sent = client.upload_part(oss.UploadPartRequest(part_number=1, body=data, **upload))
    copied = client.upload_part_copy(
        oss.UploadPartCopyRequest(
            part_number=2, source_bucket=BUCKET, source_key="source", source_range="bytes=0-9", **upload
        )
    )
    listed = client.list_parts(oss.ListPartsRequest(**upload))
    assert [(part.part_number, part.size, part.etag, part.hash_crc64) for part in listed.parts] == [
        (1, PART, sent.etag, str(crc64_update(data))),
        (2, 10, copied.etag, str(crc64_update(data[:10]))),
    ]
    uploads = client.list_multipart_uploads(oss.ListMultipartUploadsRequest(bucket=BUCKET, prefix="dir/"))
    assert [(each.key, each.upload_id) for each in uploads.uploads] == [(KEY, started.upload_id)]
    parts = [oss.UploadPart(part_number=part.part_number, etag=part.etag) for part in listed.parts]
    done = client.complete_multipart_upload(
        oss.CompleteMultipartUploadRequest(
            complete_multipart_upload=oss.CompleteMultipartUpload(parts=parts), forbid_overwrite=True, **upload
        )
    )
    assert done.hash_crc64 == str(crc64_update(data + data[:10]))
    got = client.get_object(oss.GetObjectRequest(bucket=BUCKET, key=KEY, range_header=f"bytes={PART - 2}-"))
    assert got.body.read() == (data + data[:10])[-12:]
    assert client.head_object(oss.HeadObjectRequest(bucket=BUCKET, key=KEY)).content_length == PART + 10


def test_buckets_and_objects_are_listed(client: oss.Client) -> None:
    """The SDK parses buckets, lists and errors."""
    client.put_object(oss.PutObjectRequest(bucket=BUCKET, key=KEY, body=b"x"))
    info = client.get_bucket_info(oss.GetBucketInfoRequest(bucket=BUCKET)).bucket_info
    assert (info.name, info.location) == (BUCKET, "oss-cn-hangzhou")
    assert [each.name for each in client.list_buckets(oss.ListBucketsRequest()).buckets] == [BUCKET]
    assert client.get_bucket_location(oss.GetBucketLocationRequest(bucket=BUCKET)).location == "oss-cn-hangzhou"
    listed = client.list_objects_v2(oss.ListObjectsV2Request(bucket=BUCKET, prefix="dir/"))
    assert [(each.key, each.size) for each in listed.contents] == [(KEY, 1)]
    client.delete_object(oss.DeleteObjectRequest(bucket=BUCKET, key=KEY))
    with pytest.raises(oss.exceptions.OperationError) as caught:
        client.head_object(oss.HeadObjectRequest(bucket=BUCKET, key=KEY))
    assert caught.value.unwrap().code == "NoSuchKey"


def test_an_upload_is_aborted(client: oss.Client) -> None:
    """An aborted upload is unknown afterwards."""
    upload_id = client.initiate_multipart_upload(oss.InitiateMultipartUploadRequest(bucket=BUCKET, key=KEY)).upload_id
    for expected in (204, "NoSuchUpload"):
        request = oss.AbortMultipartUploadRequest(bucket=BUCKET, key=KEY, upload_id=upload_id)
        if isinstance(expected, int):
            assert client.abort_multipart_upload(request).status_code == expected
            continue
        with pytest.raises(oss.exceptions.OperationError) as caught:
            client.abort_multipart_upload(request)
        assert caught.value.unwrap().code == expected
