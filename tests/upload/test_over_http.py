"""The upload against the sandbox: the same promises over real HTTP, with the faults that lines and services have."""

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
from tests.upload.scene import PART, UNIT, Scene

pytestmark = pytest.mark.usefixtures("small_parts")

DENSE = "abc"
SPARSE = "ab" + "." * 6 + "c0d"
# So many zeros that growing an object of them on the server pays.
GROWN = "ab" + "." * 150 + "c0d"


class Cloud:
    """A bucket in a sandbox, and a disk that goes there."""

    def __init__(self, sandbox: Sandbox, scene: Scene) -> None:
        self.sandbox = sandbox
        self.scene = scene
        self.keys = [sandbox.access_key]
        self.store = self.connect()
        self.store.create_bucket()
        sandbox.requests.clear()

    def connect(self, *, part_s: float = 20.0) -> OssStore:
        """Return a store for the bucket, with the newest of the keys each time credentials are looked for."""

        def find() -> FoundKeys:
            key = self.keys[-1]
            return FoundKeys("the test", lambda: Keys(key.id, key.secret, key.token))

        return OssStore(
            "example-bucket",
            endpoints=resolve_endpoints("cn-hangzhou", endpoint_url=self.sandbox.url),
            credentials=CredentialsSource(find),
            timeouts=Timeouts(part_s=part_s),
        )

    def fault(self, operation: str, effect: str, **more: Any) -> None:
        """Order a fault."""
        self.sandbox.faults.add(Fault(operation=operation, effect=effect, **more))

    def push(self) -> str:
        """Push the disk, check that the object equals the disk, and return its key."""
        uploaded = self.scene.push(store=self.store)
        assert self.store.read(uploaded.key) == self.scene.path.read_bytes()
        return uploaded.key

    def sent_bytes(self) -> int:
        """Sum what came in as bodies of parts and objects."""
        return sum(entry.body_bytes for entry in self.sandbox.requests.entries("UploadPart", "PutObject"))

    def count(self, operation: str) -> int:
        """Count the calls of an operation."""
        return len(self.sandbox.requests.entries(operation))


@pytest.fixture
def cloud(sandbox: Sandbox, scene: Scene) -> Cloud:
    """Return a bucket and an empty scene."""
    return Cloud(sandbox, scene)


def test_a_sparse_disk_is_uploaded_and_only_its_data_is_sent(cloud: Cloud) -> None:
    """Zeros are grown on the server; nothing but the object is left."""
    cloud.scene.write_disk(GROWN)
    key = cloud.scene.push(store=cloud.store).key
    (planned,) = cloud.scene.said(UploadPlanned)
    assert len(cloud.sandbox.requests.entries()) == planned.requests
    assert cloud.store.read(key) == cloud.scene.path.read_bytes()
    assert cloud.sent_bytes() == 4 * UNIT + 1 * MIB
    assert [there.key for there in cloud.store.list_objects("")] == [key]
    assert cloud.store.list_uploads("") == ()
    assert cloud.count("UploadPart") == 3


def test_the_plan_under_a_rate_limit_has_the_requests_of_its_pieces(cloud: Cloud) -> None:
    """Parts that would take long at the limit are split; the plan counts what is sent."""
    cloud.scene.write_disk("abcdefgh" * 2)
    cloud.scene.options = TransferOptions(limit_rate_bytes_s=0.75 * MIB)
    cloud.scene.push(store=cloud.store)
    (planned,) = cloud.scene.said(UploadPlanned)
    assert planned.parts == cloud.count("UploadPart") > 1
    assert len(cloud.sandbox.requests.entries()) == planned.requests


def test_of_a_later_build_only_the_changes_are_sent(cloud: Cloud) -> None:
    """The base is found by the image name, guarded by its ETag, and proven."""
    cloud.scene.options = TransferOptions(jobs=2, keep_object=True)
    cloud.scene.write_disk("abcdefgh", unit=1 * MIB)
    cloud.push()
    cloud.sandbox.requests.clear()
    cloud.scene.write_disk("abCdefgh", unit=1 * MIB)
    cloud.push()
    assert cloud.sent_bytes() <= 1.2 * MIB
    assert cloud.count("UploadPartCopy") >= 2


def test_an_upload_is_found_by_another_machine(cloud: Cloud) -> None:
    """ListMultipartUploads below the key, ListParts with CRC-64s, and the disk's own bytes."""
    cloud.scene.write_disk(DENSE, unit=PART)
    cloud.scene.options = TransferOptions(jobs=1)
    cloud.fault("UploadPart", "answer", nth=2, count=None, status=403, code="AccessDenied", message="AccessDenied.")
    with pytest.raises(AccessError):
        cloud.push()
    cloud.sandbox.faults.clear()
    there = sum(
        part.size_bytes for up in cloud.store.list_uploads("") for part in cloud.store.list_parts(up.key, up.upload_id)
    )
    assert there
    cloud.sandbox.requests.clear()
    cloud.scene.state = "another machine"
    cloud.push()
    assert cloud.sent_bytes() == 3 * PART - there
    assert cloud.scene.said(UploadResumed)[0].done_bytes == there


@pytest.mark.parametrize(
    ("operation", "effect", "more"),
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
def test_passing_trouble_passes(cloud: Cloud, operation: str, effect: str, more: dict[str, object]) -> None:
    """Each call may be cut, refused for a while, or lose its answer; the object is the disk, sent once."""
    cloud.scene.write_disk(SPARSE)
    cloud.fault(operation, effect, **more)
    cloud.push()
    assert cloud.count("UploadPart") <= 3 + 3
    assert [entry.fault for entry in cloud.sandbox.requests.entries(operation)].count(effect) >= 1


def test_throttling_is_waited_out(cloud: Cloud) -> None:
    """The wait that the service requests is respected, and each part is sent."""
    cloud.scene.write_disk(DENSE, unit=PART)
    header = {"x-oss-qos-delay-time": "5000"}
    cloud.fault("UploadPart", "answer", count=4, status=503, code="UploadTrafficRateLimitExceeded", headers=header)
    cloud.push()
    assert len(cloud.scene.said(PartRetried)) == 4
    assert all(retried.wait_s >= 5.0 for retried in cloud.scene.said(PartRetried))


def test_a_corrupted_part_is_sent_again_and_then_fails_by_name(cloud: Cloud) -> None:
    """A bit that turned on the way is seen by the CRC-64 of what arrived."""
    cloud.scene.write_disk(DENSE, unit=PART)
    cloud.fault("UploadPart", "corrupt")
    cloud.push()
    assert len(cloud.scene.said(PartRetried)) == 1
    cloud.scene.write_disk("cba", unit=PART)
    cloud.fault("UploadPart", "corrupt", count=None)
    with pytest.raises(TransientError) as raised:
        cloud.push()
    assert raised.value.code == "part-corrupted"


def test_an_upload_that_vanishes_is_one_fresh_start(cloud: Cloud) -> None:
    """A lifecycle rule or a user aborted it during the transfer."""
    cloud.scene.write_disk(DENSE, unit=PART)
    cloud.fault("UploadPart", "forget-upload", nth=2)
    cloud.push()
    assert [warned.code for warned in cloud.scene.said(Warned)] == ["upload-vanished"]
    assert cloud.count("InitiateMultipartUpload") == 2


def test_a_token_that_expires_is_renewed(cloud: Cloud) -> None:
    """The credentials are read again, and the part is sent again; the push continues."""
    for number in (1, 2):
        cloud.keys.append(
            cloud.sandbox.state.add_key(
                AccessKey(id=f"STS.ExampleKey{number}", secret="example-secret", token=f"example-token-{number}")
            )
        )
    newest = cloud.keys.pop()
    cloud.store = cloud.connect()
    cloud.keys.append(newest)
    cloud.scene.write_disk(DENSE, unit=PART)
    cloud.fault("UploadPart", "expire-token", nth=2)
    cloud.push()
    assert cloud.scene.said(Warned) == []
    assert any(
        entry.code in ("SecurityTokenExpired", "InvalidSecurityToken") for entry in cloud.sandbox.requests.entries()
    )


def test_a_token_that_cannot_be_renewed_stops_and_the_same_command_resumes(cloud: Cloud) -> None:
    """With new credentials, existing parts are not sent again."""
    expiring = AccessKey(id="STS.ExampleKey", secret="example-secret", token="example-token")
    cloud.keys.append(cloud.sandbox.state.add_key(expiring))
    cloud.store = cloud.connect()
    cloud.scene.write_disk(DENSE, unit=PART)
    cloud.fault("UploadPart", "expire-token", nth=3)
    with pytest.raises(AccessError) as raised:
        cloud.push()
    assert raised.value.resumable
    assert "MiB are kept" in str(raised.value.remedy)
    cloud.keys.append(cloud.sandbox.access_key)
    cloud.store = cloud.connect()
    cloud.push()
    assert cloud.scene.said(UploadResumed)[0].done_bytes >= PART


def test_a_store_without_copies_gets_the_disk(cloud: Cloud) -> None:
    """The zeros are sent, and a warning states how many."""
    cloud.scene.write_disk(SPARSE)
    cloud.fault("UploadPartCopy", "answer", count=None, status=501, code="NotImplemented")
    cloud.push()
    (warned,) = cloud.scene.said(Warned)
    assert warned.code == "copy-refused"
    assert size(7 * UNIT) in warned.message


def test_without_the_right_to_copy_the_zeros_are_sent(cloud: Cloud) -> None:
    """A policy of the bucket may refuse what the credentials may do."""
    cloud.scene.write_disk("ab" + "." * 6)
    cloud.fault("UploadPartCopy", "answer", count=None, status=403, code="AccessDenied", message="AccessDenied.")
    cloud.push()
    assert [warned.code for warned in cloud.scene.said(Warned)] == ["copy-refused"]


def test_a_store_without_checksums_gets_the_disk(cloud: Cloud) -> None:
    """If only ListParts reports CRC-64, the parts prove the object, and the result states so."""
    cloud.scene.write_disk(SPARSE)
    cloud.fault("*", "no-crc", count=None)
    uploaded = cloud.scene.push(store=cloud.store)
    assert uploaded.proof.split(";")[0] == "CRC-64 of every part"
    cloud.sandbox.faults.clear()
    assert cloud.store.read(uploaded.key) == cloud.scene.path.read_bytes()


def test_a_wrong_crc_of_the_object_is_never_a_success(cloud: Cloud) -> None:
    """HeadObject reports it at the end: the push fails with its code."""
    cloud.scene.write_disk("ab")
    cloud.fault("HeadObject", "wrong-crc", nth=2, count=None)
    cloud.fault("CompleteMultipartUpload", "wrong-crc", count=None)
    with pytest.raises(TransientError) as raised:
        cloud.push()
    assert raised.value.code == "object-corrupted"


def test_a_line_that_is_too_slow_for_a_part_gets_smaller_ones(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that times out is cut into pieces, which pass."""
    monkeypatch.setattr(plan, "MIN_SEND_BYTES", 4 * PART)
    cloud.scene.write_disk(DENSE, unit=4 * PART)
    cloud.store = cloud.connect(part_s=0.4)
    cloud.fault("UploadPart", "delay", count=2, delay_s=1.5)
    cloud.push()
    assert any("split into" in noted.message for noted in cloud.scene.said(Noted))
    assert cloud.count("UploadPart") >= 3 * 4


def test_two_machines_that_push_the_same_disk_at_once_share_the_work(cloud: Cloud, tmp_path: Path) -> None:
    """Both come to the same object, and neither fails."""
    cloud.scene.write_disk(DENSE, unit=PART)
    content = cloud.scene.path.read_bytes()
    other = replace(cloud.scene, state="another machine", events=[])
    results: list[str] = []

    def push(scene: Scene) -> None:
        results.append(scene.push(store=cloud.store).key)

    threads = [threading.Thread(target=push, args=(scene,)) for scene in (cloud.scene, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    assert results[0] == results[1]
    assert cloud.store.read(results[0]) == content


def test_leftovers_are_found_and_removed(cloud: Cloud) -> None:
    """An unfinished upload and an object of zeros, with their sizes."""
    cloud.scene.write_disk("abcd" + "." * 8, unit=PART)
    cloud.scene.options = TransferOptions(jobs=1)
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


def test_in_a_bucket_that_keeps_versions_none_is_left(cloud: Cloud) -> None:
    """The objects of zeros are removed by their versions: a deletion alone would leave their bytes, and their price."""
    bucket = cloud.sandbox.state.part(OssState).change("example-bucket", versioning="Enabled")
    cloud.scene.write_disk(GROWN)
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
def test_more_parts_than_a_page_of_list_parts(cloud: Cloud) -> None:
    """2,200 parts: resumed, listed in three pages, completed."""
    cloud.scene.write_disk("a..." * 1100, unit=UNIT)
    cloud.fault("UploadPart", "answer", nth=900, count=None, status=403, code="AccessDenied", message="AccessDenied.")
    with pytest.raises(AccessError):
        cloud.push()
    cloud.sandbox.faults.clear()
    cloud.sandbox.requests.clear()
    cloud.push()
    assert cloud.count("UploadPart") <= 202
    assert cloud.scene.said(UploadResumed)[0].done_parts > 1000
