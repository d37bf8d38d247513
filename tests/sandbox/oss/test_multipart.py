"""Tests of multipart uploads through oss2: parts, completion, and the CRC-64 of the object."""

import hashlib
import os

import oss2
import pytest

from aliyun_import.sandbox.core.blob_store import Content, Segment, crc64_update, crc64_zeros
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.oss.multipart import MAX_PART_NUMBER
from aliyun_import.sandbox.oss.state import StoredPart
from aliyun_import.sandbox.server import Sandbox
from tests.rows import each_row
from tests.sandbox.oss_sdk import PART, complete, do, refused, stored_bucket

KEY = "dir/disk.raw"


def _start(bucket: oss2.Bucket, **headers: str) -> str:
    return str(bucket.init_multipart_upload(KEY, headers=headers).upload_id)


def test_completed_parts_are_one_object(bucket: oss2.Bucket) -> None:
    """Parts can be sent in any order and with gaps in their numbers; the object has the CRC of all bytes."""
    first, second, third = os.urandom(PART), bytes(PART), b"the end"
    upload_id = bucket.init_multipart_upload(KEY, headers={"x-oss-meta-a": "b"}).upload_id
    e9 = bucket.upload_part(KEY, upload_id, 9, third)
    e2 = bucket.upload_part(KEY, upload_id, 2, first)
    e4 = bucket.upload_part(KEY, upload_id, 4, second)
    assert e2.etag == hashlib.md5(first).hexdigest().upper()
    assert e2.crc == crc64_update(first)
    assert not bucket.object_exists(KEY)
    done = complete(bucket, KEY, upload_id, [(2, e2.etag), (4, e4.etag), (9, e9.etag)])
    assert done.headers["x-oss-hash-crc64ecma"] == str(crc64_update(first + second + third))
    got = bucket.get_object(KEY)
    assert got.read() == first + second + third
    assert got.headers["x-oss-meta-a"] == "b"
    assert got.headers["x-oss-object-type"] == "Multipart"
    with refused() as answer:
        complete(bucket, KEY, upload_id, [(2, e2.etag)])
    assert answer == (404, "NoSuchUpload")


def test_a_part_that_is_sent_again_is_replaced(bucket: oss2.Bucket) -> None:
    """The last upload of a part is used. The ETag of an earlier upload is refused at completion."""
    upload_id = _start(bucket)
    old = bucket.upload_part(KEY, upload_id, 1, b"old").etag
    new = bucket.upload_part(KEY, upload_id, 1, b"new").etag
    with refused() as answer:
        complete(bucket, KEY, upload_id, [(1, old)])
    assert answer == (400, "InvalidPart")
    complete(bucket, KEY, upload_id, [(1, new)])
    assert bucket.get_object(KEY).read() == b"new"


def test_sizes_are_checked_at_completion_only(bucket: oss2.Bucket) -> None:
    """A part below 100 KiB is accepted, and refused at completion if it is not the last. The upload is kept."""
    upload_id = _start(bucket)
    small = bucket.upload_part(KEY, upload_id, 1, b"s" * (PART - 1)).etag
    last = bucket.upload_part(KEY, upload_id, 2, b"last").etag
    with refused() as answer:
        complete(bucket, KEY, upload_id, [(1, small), (2, last)])
    assert answer == (400, "EntityTooSmall")
    enough = bucket.upload_part(KEY, upload_id, 1, b"s" * PART).etag
    complete(bucket, KEY, upload_id, [(1, enough), (2, last)])


def test_part_numbers_must_be_ascending(bucket: oss2.Bucket) -> None:
    """Unordered and repeated numbers are refused."""
    upload_id = _start(bucket)
    etags = {number: bucket.upload_part(KEY, upload_id, number, b"x" * PART).etag for number in (1, 2)}
    for order in ((2, 1), (1, 1)):
        with refused() as answer:
            complete(bucket, KEY, upload_id, [(number, etags[number]) for number in order])
        assert answer == (400, "InvalidPartOrder")


@each_row(
    ("body", "code"),
    [
        (b"", "MalformedXML"),
        (b"<CompleteMultipartUpload></CompleteMultipartUpload>", "MalformedXML"),
        (b"<Other/>", "MalformedXML"),
        (b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>", "MalformedXML"),
        (
            b"<CompleteMultipartUpload><Part><PartNumber>3</PartNumber><ETag>E</ETag></Part></CompleteMultipartUpload>",
            "InvalidPart",
        ),
    ],
)
def test_a_completion_must_list_existing_parts(bucket: oss2.Bucket, body: bytes, code: str) -> None:
    """An empty, malformed or wrong list is refused."""
    upload_id = _start(bucket)
    bucket.upload_part(KEY, upload_id, 1, b"x")
    with refused() as answer:
        do(bucket, "POST", KEY, params={"uploadId": upload_id}, data=body)
    assert answer == (400, code)


def test_all_parts_can_be_completed_without_a_list(bucket: oss2.Bucket) -> None:
    """x-oss-complete-all uses every part, and excludes a list."""
    upload_id = _start(bucket)
    etag = bucket.upload_part(KEY, upload_id, 2, b"b").etag
    bucket.upload_part(KEY, upload_id, 1, b"a" * PART)
    with refused() as answer:
        complete(bucket, KEY, upload_id, [(2, etag)], x_oss_complete_all="yes")
    assert answer == (400, "InvalidArgument")
    do(bucket, "POST", KEY, params={"uploadId": upload_id}, headers={"x-oss-complete-all": "yes"})
    assert bucket.get_object(KEY).read() == b"a" * PART + b"b"


def test_overwriting_can_be_forbidden_at_start_and_completion(bucket: oss2.Bucket) -> None:
    """An existing object is refused at the start, a new one at completion. The parts stay."""
    upload_id = _start(bucket)
    etag = bucket.upload_part(KEY, upload_id, 1, b"part").etag
    bucket.put_object(KEY, b"meanwhile")
    with refused() as answer:
        complete(bucket, KEY, upload_id, [(1, etag)], x_oss_forbid_overwrite="true")
    assert answer == (409, "FileAlreadyExists")
    with refused() as answer:
        bucket.init_multipart_upload(KEY, headers={"x-oss-forbid-overwrite": "true"})
    assert answer == (409, "FileAlreadyExists")
    complete(bucket, KEY, upload_id, [(1, etag)])
    assert bucket.get_object(KEY).read() == b"part"


@each_row("number", ["0", "10001", "x", "-1"])
def test_part_numbers_go_from_1_to_10000(bucket: oss2.Bucket, number: str) -> None:
    """Other numbers are refused with the name of the argument."""
    upload_id = _start(bucket)
    with refused() as answer:
        do(bucket, "PUT", KEY, params={"partNumber": number, "uploadId": upload_id}, data=b"x")
    assert answer == (400, "InvalidArgument")
    assert answer.details["ArgumentName"] == "PartNumber"


def test_a_part_needs_its_number(bucket: oss2.Bucket) -> None:
    """A PUT with only an upload id is not a PutObject."""
    with refused() as answer:
        do(bucket, "PUT", KEY, params={"uploadId": _start(bucket)}, data=b"x")
    assert answer == (400, "InvalidArgument")
    assert not bucket.object_exists(KEY)


def test_an_upload_belongs_to_its_key(bucket: oss2.Bucket) -> None:
    """The id is unknown with another key, and after an abort."""
    upload_id = _start(bucket)
    with refused() as answer:
        bucket.upload_part("other", upload_id, 1, b"x")
    assert answer == (404, "NoSuchUpload")
    bucket.abort_multipart_upload(KEY, upload_id)
    for act in (bucket.list_parts, bucket.abort_multipart_upload):
        with refused() as answer:
            act(KEY, upload_id)
        assert answer == (404, "NoSuchUpload")


def test_encryption_is_set_at_the_start(bucket: oss2.Bucket) -> None:
    """The object has the encryption of InitiateMultipartUpload; UploadPart must not set it."""
    upload_id = _start(bucket, **{"x-oss-server-side-encryption": "AES256", "x-oss-storage-class": "IA"})
    with refused() as answer:
        bucket.upload_part(KEY, upload_id, 1, b"x", headers={"x-oss-server-side-encryption": "AES256"})
    assert answer == (400, "InvalidArgument")
    complete(bucket, KEY, upload_id, [(1, bucket.upload_part(KEY, upload_id, 1, b"x").etag)])
    head = bucket.head_object(KEY).headers
    assert (head["x-oss-server-side-encryption"], head["x-oss-storage-class"]) == ("AES256", "IA")


def test_a_lifecycle_rule_aborts_old_uploads(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """After seven days, only the upload with the prefix of the rule is removed."""
    rule = oss2.models.LifecycleRule(
        "abort", "dir/", abort_multipart_upload=oss2.models.AbortMultipartUpload(days=7), status="Enabled"
    )
    bucket.put_bucket_lifecycle(oss2.models.BucketLifecycle([rule]))
    upload_id = _start(bucket)
    other = bucket.init_multipart_upload("elsewhere").upload_id
    sandbox.clock.advance(7 * 86_400 - 60)
    assert bucket.list_parts(KEY, upload_id).parts == []
    sandbox.clock.advance(120)
    with refused() as answer:
        bucket.upload_part(KEY, upload_id, 1, b"x")
    assert answer == (404, "NoSuchUpload")
    assert [each.upload_id for each in bucket.list_multipart_uploads().upload_list] == [other]


def test_ten_thousand_parts_are_completed_without_being_read(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """The CRC-64 of an object of 10,000 parts and 48 TB is computed from those of the parts."""
    upload_id, size = _start(bucket), 5 << 30
    crc = crc64_zeros(size)
    stored_bucket(sandbox).uploads[upload_id].parts.update(
        (
            number,
            StoredPart(number=number, content=Content([Segment(None, 0, size)]), etag="E", crc64=crc, modified_s=0.0),
        )
        for number in range(1, MAX_PART_NUMBER + 1)
    )
    done = complete(bucket, KEY, upload_id, [(number, "E") for number in range(1, MAX_PART_NUMBER + 1)])
    assert done.headers["x-oss-hash-crc64ecma"] == str(crc64_zeros(MAX_PART_NUMBER * size))
    assert bucket.head_object(KEY).content_length == MAX_PART_NUMBER * size


def test_a_completion_whose_response_was_lost_has_taken_effect(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """The object exists. Repeating the completion finds no upload, HeadObject finds the object."""
    upload_id = _start(bucket)
    etag = bucket.upload_part(KEY, upload_id, 1, b"x").etag
    sandbox.faults.add(Fault(operation="CompleteMultipartUpload", effect="lose-answer"))
    with pytest.raises(oss2.exceptions.RequestError):
        complete(bucket, KEY, upload_id, [(1, etag)])
    with refused() as answer:
        complete(bucket, KEY, upload_id, [(1, etag)])
    assert answer == (404, "NoSuchUpload")
    assert bucket.get_object(KEY).read() == b"x"


def test_faults_apply_to_parts(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """Faults omit or change the CRC-64, change the ETag, flip a bit, and remove an upload, each once."""
    upload_id, data = _start(bucket), b"some bytes"

    def send() -> oss2.models.PutObjectResult:
        return bucket.upload_part(KEY, upload_id, 1, data)

    sandbox.faults.add(Fault(operation="UploadPart", effect="no-crc"))
    assert send().crc is None
    sandbox.faults.add(Fault(operation="UploadPart", effect="wrong-etag"))
    assert send().etag == "0" * 32
    for effect in ("wrong-crc", "corrupt"):
        sandbox.faults.add(Fault(operation="UploadPart", effect=effect))
        with pytest.raises(oss2.exceptions.InconsistentError):
            send()
    assert stored_bucket(sandbox).uploads[upload_id].parts[1].content.pread(0, 20) == b"rome bytes"
    assert send().crc == crc64_update(data)
    sandbox.faults.add(Fault(operation="UploadPart", effect="forget-upload"))
    with refused() as answer:
        send()
    assert answer == (404, "NoSuchUpload")
    assert [entry.fault for entry in sandbox.requests.entries("UploadPart")] == [
        "no-crc", "wrong-etag", "wrong-crc", "corrupt", "", "forget-upload",
    ]  # fmt: skip


def test_a_fault_can_throttle_with_a_delay(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """The answer of a fault can have headers, like the throttling of the service."""
    upload_id = _start(bucket)
    sandbox.faults.add(
        Fault(operation="UploadPart", code="UploadTrafficRateLimitExceeded", headers={"x-oss-qos-delay-time": "300"})
    )
    with pytest.raises(oss2.exceptions.ServerError) as caught:
        bucket.upload_part(KEY, upload_id, 1, b"x")
    assert (caught.value.status, caught.value.code) == (503, "UploadTrafficRateLimitExceeded")
    assert sandbox.requests.entries("UploadPart")[0].body_bytes == 1
