"""Tests of uploads to the sandbox over HTTP, with faults of networks and services."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aliyun_import.cleanup import LeftoverKind, Places, find_leftovers, remove_leftover
from aliyun_import.cloud.credentials.keys import Keys
from aliyun_import.cloud.credentials.providers import FoundKeys
from aliyun_import.cloud.credentials.source import CredentialsSource
from aliyun_import.cloud.endpoints import resolve_endpoints
from aliyun_import.cloud.oss.store import OssStore
from aliyun_import.cloud.transport.settings import Timeouts
from aliyun_import.errors import AccessError, TransientError
from aliyun_import.events import Noted, PartRetried, UploadPlanned, UploadResumed, Warned
from aliyun_import.limits import MIB
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from aliyun_import.sizes import size
from aliyun_import.upload import plan
from aliyun_import.upload.context import TransferOptions
from tests.upload.upload_setup import PART, UNIT, UploadSetup

pytestmark = pytest.mark.usefixtures("small_parts")

DENSE = "abc"
SPARSE = "ab" + "." * 6 + "c0d"
# Enough zeros that a zero object is grown on the server.
MANY_ZEROS = "ab" + "." * 150 + "c0d"
# `read` holds the range in memory, and permits 64 MiB at most.
READ_BYTES = 32 * MIB


class Cloud:
    """A bucket in a sandbox, and a disk to upload."""

    def __init__(self, sandbox: Sandbox, setup: UploadSetup) -> None:
        self.sandbox = sandbox
        self.setup = setup
        self.keys = [sandbox.access_key]
        self.store = self.connect()
        self.store.create_bucket()
        sandbox.requests.clear()

    def connect(self, *, part_timeout_s: float = 20.0) -> OssStore:
        """Return a store for the bucket that uses the newest of the keys each time it reads credentials."""

        def find() -> FoundKeys:
            key = self.keys[-1]
            return FoundKeys("the test", lambda: Keys(key.id, key.secret, key.token))

        return OssStore(
            "example-bucket",
            endpoints=resolve_endpoints("cn-hangzhou", endpoint_url=self.sandbox.url),
            credentials=CredentialsSource(find),
            timeouts=Timeouts(part_s=part_timeout_s),
        )

    def fault(self, operation: str, effect: str, **options: Any) -> None:
        """Add a fault to the sandbox."""
        self.sandbox.faults.add(Fault(operation=operation, effect=effect, **options))

    def push(self) -> str:
        """Push the disk, assert that the object equals it, and return the key."""
        key = self.setup.push(store=self.store).key
        self.assert_equals_disk(key)
        return key

    def assert_equals_disk(self, key: str) -> None:
        """Assert that an object has the bytes of the disk."""
        stored = self.store.head(key)
        assert stored is not None
        assert stored.size_bytes == self.setup.path.stat().st_size
        with self.setup.path.open("rb") as disk:
            for start in range(0, stored.size_bytes, READ_BYTES):
                assert self.store.read(key, start=start, length=READ_BYTES) == disk.read(READ_BYTES)

    def sent_bytes(self) -> int:
        """Return the number of bytes that the sandbox received as parts and objects."""
        return sum(entry.body_bytes for entry in self.sandbox.requests.entries("UploadPart", "PutObject"))

    def count(self, operation: str) -> int:
        """Return the number of calls of an operation."""
        return len(self.sandbox.requests.entries(operation))


@pytest.fixture
def cloud(sandbox: Sandbox, setup: UploadSetup) -> Cloud:
    """Return a bucket and an upload whose disk is not written yet."""
    return Cloud(sandbox, setup)


def test_a_sparse_disk_is_uploaded_and_only_its_data_is_sent(cloud: Cloud) -> None:
    """Zeros are copied on the server; only the object remains, and the plan has the exact number of requests."""
    cloud.setup.write_disk(MANY_ZEROS)
    key = cloud.setup.push(store=cloud.store).key
    (planned,) = cloud.setup.events_of(UploadPlanned)
    assert len(cloud.sandbox.requests.entries()) == planned.requests
    assert cloud.store.read(key) == cloud.setup.path.read_bytes()
    assert cloud.sent_bytes() == 4 * UNIT + 1 * MIB
    assert [kept_bytes.key for kept_bytes in cloud.store.list_objects("")] == [key]
    assert cloud.store.list_uploads("") == ()
    assert cloud.count("UploadPart") == 3


def test_the_plan_under_a_rate_limit_has_the_requests_of_its_pieces(cloud: Cloud) -> None:
    """Parts that would take long at the limit are split; the plan has the number of sent parts."""
    cloud.setup.write_disk("abcdefgh" * 2)
    cloud.setup.options = TransferOptions(limit_rate_bytes_s=0.75 * MIB)
    cloud.setup.push(store=cloud.store)
    (planned,) = cloud.setup.events_of(UploadPlanned)
    assert planned.parts == cloud.count("UploadPart") > 1
    assert len(cloud.sandbox.requests.entries()) == planned.requests


def test_a_later_build_sends_only_the_changes(cloud: Cloud) -> None:
    """The base is found by the image name, guarded by its ETag, and proven."""
    cloud.setup.options = TransferOptions(jobs=2, keep_object=True)
    cloud.setup.write_disk("abcdefgh", unit=1 * MIB)
    cloud.push()
    cloud.sandbox.requests.clear()
    cloud.setup.write_disk("abCdefgh", unit=1 * MIB)
    cloud.push()
    assert cloud.sent_bytes() <= 1.2 * MIB
    assert cloud.count("UploadPartCopy") >= 2


def test_an_upload_is_found_by_another_machine(cloud: Cloud) -> None:
    """It uses ListMultipartUploads below the key, ListParts with CRC-64, and its own copy of the disk."""
    cloud.setup.write_disk(DENSE, unit=PART)
    cloud.setup.options = TransferOptions(jobs=1)
    cloud.fault("UploadPart", "answer", nth=2, count=None, status=403, code="AccessDenied", message="AccessDenied.")
    with pytest.raises(AccessError):
        cloud.push()
    cloud.sandbox.faults.clear()
    kept_bytes = sum(
        part.size_bytes for up in cloud.store.list_uploads("") for part in cloud.store.list_parts(up.key, up.upload_id)
    )
    assert kept_bytes
    cloud.sandbox.requests.clear()
    cloud.setup.state = "another machine"
    cloud.push()
    assert cloud.sent_bytes() == 3 * PART - kept_bytes
    assert cloud.setup.events_of(UploadResumed)[0].done_bytes == kept_bytes


@pytest.mark.parametrize(
    ("operation", "effect", "options"),
    [
        ("UploadPart", "cut-before", {}),
        ("UploadPart", "cut-body", {"after_bytes": 1 * MIB}),
        ("UploadPart", "lose-answer", {}),
        ("UploadPart", "cut-answer", {"after_bytes": 0}),
        ("UploadPart", "answer", {"status": 503, "headers": {"x-oss-qos-delay-time": "3000"}}),
        ("UploadPart", "answer", {"status": 500, "code": "InternalError", "count": 3}),
        ("UploadPart", "answer", {"status": 400, "code": "RequestTimeout"}),
        ("InitiateMultipartUpload", "lose-answer", {}),
        ("CompleteMultipartUpload", "lose-answer", {}),
        ("CompleteMultipartUpload", "cut-before", {}),
        ("UploadPartCopy", "lose-answer", {}),
        ("UploadPartCopy", "answer", {}),
        ("ListParts", "cut-before", {}),
        ("HeadObject", "cut-before", {}),
        ("PutObject", "lose-answer", {}),
        ("DeleteObject", "lose-answer", {}),
    ],
    ids=str,
)
def test_a_transient_failure_is_retried(cloud: Cloud, operation: str, effect: str, options: dict[str, object]) -> None:
    """A call may be cut, be refused for a while, or lose its answer; the object equals the disk and is sent once."""
    cloud.setup.write_disk(SPARSE)
    cloud.fault(operation, effect, **options)
    cloud.push()
    assert cloud.count("UploadPart") <= 3 + 3
    assert [entry.fault for entry in cloud.sandbox.requests.entries(operation)].count(effect) >= 1


def test_throttled_parts_are_retried_after_the_requested_wait(cloud: Cloud) -> None:
    """Each part succeeds in the end."""
    cloud.setup.write_disk(DENSE, unit=PART)
    header = {"x-oss-qos-delay-time": "5000"}
    cloud.fault("UploadPart", "answer", count=4, status=503, code="UploadTrafficRateLimitExceeded", headers=header)
    cloud.push()
    assert len(cloud.setup.events_of(PartRetried)) == 4
    assert all(retried.wait_s >= 5.0 for retried in cloud.setup.events_of(PartRetried))


def test_a_corrupted_part_is_sent_again_and_then_fails_by_name(cloud: Cloud) -> None:
    """The CRC-64 of the received bytes shows the corruption."""
    cloud.setup.write_disk(DENSE, unit=PART)
    cloud.fault("UploadPart", "corrupt")
    cloud.push()
    assert len(cloud.setup.events_of(PartRetried)) == 1
    cloud.setup.write_disk("cba", unit=PART)
    cloud.fault("UploadPart", "corrupt", count=None)
    with pytest.raises(TransientError) as raised:
        cloud.push()
    assert raised.value.code == "part-corrupted"


def test_an_upload_that_vanishes_is_started_again_once(cloud: Cloud) -> None:
    """A lifecycle rule or a user aborted it during the transfer."""
    cloud.setup.write_disk(DENSE, unit=PART)
    cloud.fault("UploadPart", "forget-upload", nth=2)
    cloud.push()
    assert [warned.code for warned in cloud.setup.events_of(Warned)] == ["upload-vanished"]
    assert cloud.count("InitiateMultipartUpload") == 2


def test_a_token_that_expires_is_renewed(cloud: Cloud) -> None:
    """The credentials are read again, and the part is sent again; nothing warns."""
    for number in (1, 2):
        cloud.keys.append(
            cloud.sandbox.state.add_key(
                AccessKey(id=f"STS.ExampleKey{number}", secret="example-secret", token=f"example-token-{number}")
            )
        )
    newest = cloud.keys.pop()
    cloud.store = cloud.connect()
    cloud.keys.append(newest)
    cloud.setup.write_disk(DENSE, unit=PART)
    cloud.fault("UploadPart", "expire-token", nth=2)
    cloud.push()
    assert cloud.setup.events_of(Warned) == []
    assert any(
        entry.code in ("SecurityTokenExpired", "InvalidSecurityToken") for entry in cloud.sandbox.requests.entries()
    )


def test_a_token_that_cannot_be_renewed_stops_and_the_same_command_resumes(cloud: Cloud) -> None:
    """With new credentials, finished parts are not sent again."""
    expiring = AccessKey(id="STS.ExampleKey", secret="example-secret", token="example-token")
    cloud.keys.append(cloud.sandbox.state.add_key(expiring))
    cloud.store = cloud.connect()
    cloud.setup.write_disk(DENSE, unit=PART)
    cloud.fault("UploadPart", "expire-token", nth=3)
    with pytest.raises(AccessError) as raised:
        cloud.push()
    assert raised.value.resumable
    assert "MiB are kept" in str(raised.value.remedy)
    cloud.keys.append(cloud.sandbox.access_key)
    cloud.store = cloud.connect()
    cloud.push()
    assert cloud.setup.events_of(UploadResumed)[0].done_bytes >= PART


def test_the_disk_is_uploaded_to_a_store_without_copies(cloud: Cloud) -> None:
    """The zeros are sent, and a warning has their number of bytes."""
    cloud.setup.write_disk(SPARSE)
    cloud.fault("UploadPartCopy", "answer", count=None, status=501, code="NotImplemented")
    cloud.push()
    (warned,) = cloud.setup.events_of(Warned)
    assert warned.code == "copy-refused"
    assert size(7 * UNIT) in warned.message


def test_without_the_right_to_copy_the_zeros_are_sent(cloud: Cloud) -> None:
    """A policy of the bucket may refuse an operation that the credentials permit."""
    cloud.setup.write_disk("ab" + "." * 6)
    cloud.fault("UploadPartCopy", "answer", count=None, status=403, code="AccessDenied", message="AccessDenied.")
    cloud.push()
    assert [warned.code for warned in cloud.setup.events_of(Warned)] == ["copy-refused"]


def test_the_disk_is_uploaded_to_a_store_without_object_checksums(cloud: Cloud) -> None:
    """If only ListParts reports CRC-64, the parts prove the object, and the result states so."""
    cloud.setup.write_disk(SPARSE)
    cloud.fault("*", "no-crc", count=None)
    uploaded = cloud.setup.push(store=cloud.store)
    assert uploaded.proof.split(";")[0] == "CRC-64 of every part"
    cloud.sandbox.faults.clear()
    assert cloud.store.read(uploaded.key) == cloud.setup.path.read_bytes()


def test_a_wrong_crc_of_the_object_is_never_a_success(cloud: Cloud) -> None:
    """HeadObject reports it at the end, and the push fails."""
    cloud.setup.write_disk("ab")
    cloud.fault("HeadObject", "wrong-crc", nth=2, count=None)
    cloud.fault("CompleteMultipartUpload", "wrong-crc", count=None)
    with pytest.raises(TransientError) as raised:
        cloud.push()
    assert raised.value.code == "object-corrupted"


def test_on_a_slow_network_parts_are_split(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that times out is sent in pieces."""
    monkeypatch.setattr(plan, "MIN_SEND_BYTES", 4 * PART)
    cloud.setup.write_disk(DENSE, unit=4 * PART)
    cloud.store = cloud.connect(part_timeout_s=0.4)
    cloud.fault("UploadPart", "delay", count=2, delay_s=1.5)
    cloud.push()
    assert any("split into" in noted.message for noted in cloud.setup.events_of(Noted))
    assert cloud.count("UploadPart") >= 3 * 4


def test_two_machines_that_push_the_same_disk_at_once_share_the_work(cloud: Cloud, tmp_path: Path) -> None:
    """Both return the same object, and neither fails."""
    cloud.setup.write_disk(DENSE, unit=PART)
    content = cloud.setup.path.read_bytes()
    other = replace(cloud.setup, state="another machine", events=[])
    results: list[str] = []

    def push(setup: UploadSetup) -> None:
        results.append(setup.push(store=cloud.store).key)

    threads = [threading.Thread(target=push, args=(setup,)) for setup in (cloud.setup, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    assert results[0] == results[1]
    assert cloud.store.read(results[0]) == content


def test_leftovers_are_found_and_removed(cloud: Cloud) -> None:
    """They are an unfinished upload and a zero object, with their sizes."""
    cloud.setup.write_disk("abcd" + "." * 8, unit=PART)
    cloud.setup.options = TransferOptions(jobs=1)
    cloud.fault("UploadPart", "answer", nth=2, count=None, status=403, code="AccessDenied", message="AccessDenied.")
    with pytest.raises(AccessError):
        cloud.push()
    cloud.sandbox.faults.clear()
    found = find_leftovers(cloud.store, Places(prefix="aliyun-import/"))
    assert {left.kind for left in found} == {LeftoverKind.UPLOAD, LeftoverKind.ZEROS}
    assert all(left.size_bytes > 0 and left.since_s for left in found)
    for left in found:
        remove_leftover(cloud.store, left)
    assert find_leftovers(cloud.store, Places(prefix="aliyun-import/")) == ()


def test_in_a_bucket_with_versions_no_old_version_remains(cloud: Cloud) -> None:
    """Zero objects are removed by version id: a plain deletion keeps their bytes, which are paid for."""
    bucket = cloud.sandbox.state.part(OssState).change("example-bucket", versioning="Enabled")
    cloud.setup.write_disk(MANY_ZEROS)
    cloud.fault("UploadPart", "answer", nth=2, count=None, status=403, code="AccessDenied", message="AccessDenied.")
    with pytest.raises(AccessError):
        cloud.push()
    assert any("zeros" in key for key in bucket.versions)
    cloud.sandbox.faults.clear()
    key = cloud.push()
    assert list(bucket.versions) == [key]
    (left,) = find_leftovers(cloud.store, Places(prefix="aliyun-import/"))
    remove_leftover(cloud.store, left)
    assert bucket.versions == {}


@pytest.mark.slow
def test_more_parts_than_a_page_of_list_parts_are_resumed(cloud: Cloud) -> None:
    """2,200 parts are listed in three pages, resumed and completed."""
    cloud.setup.write_disk("a..." * 1100, unit=UNIT)
    cloud.fault("UploadPart", "answer", nth=900, count=None, status=403, code="AccessDenied", message="AccessDenied.")
    with pytest.raises(AccessError):
        cloud.push()
    cloud.sandbox.faults.clear()
    cloud.sandbox.requests.clear()
    cloud.push()
    assert cloud.count("UploadPart") <= 202
    assert cloud.setup.events_of(UploadResumed)[0].done_parts > 1000
