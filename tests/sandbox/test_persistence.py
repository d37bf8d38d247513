"""A sandbox that keeps its state: state after a restart and after a kill."""

import contextlib
import http.client
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import oss2
import pytest

from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.core.records import Table
from aliyun_import.sandbox.core.state import AccessKey, Clock, Settings
from aliyun_import.sandbox.core.store import UnreadableStateError
from aliyun_import.sandbox.directory import DirectoryInUseError, ForeignDirectoryError, reset, server_info
from aliyun_import.sandbox.ecs.state import Ecs
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from tests.sandbox.oss_sdk import PART, Oss, stored_bucket
from tests.sandbox.prepared import make_role, mapping
from tests.sandbox.vendor_sdk import call

START_S = 1_795_000_000.0


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Sandbox]:
    """Start a persistent sandbox with a standing clock."""
    with Sandbox.start(tmp_path / "kept", keep=True, clock=_still()) as running:
        yield running


@pytest.fixture
def bucket(kept: Sandbox) -> Iterator[oss2.Bucket]:
    """Create a bucket in the persistent sandbox."""
    oss = Oss(kept)
    opened = oss.bucket("disks")
    opened.create_bucket()
    yield opened
    oss.close()


def _still() -> Clock:
    return Clock(start_s=START_S, running=False)


@contextmanager
def _killed(sandbox: Sandbox, tmp_path: Path) -> Iterator[Sandbox]:
    """Start a sandbox with the files that a kill at this time leaves."""
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(sandbox.state.directory, copy)
    with Sandbox.start(copy, keep=True, clock=_still()) as running:
        yield running


def _plain(sandbox: Sandbox, value: Any) -> Any:
    """Return a value with the rows of its tables, in their order, to compare two sandboxes."""
    if isinstance(value, Table):
        return [(key, _plain(sandbox, row)) for key, row in value.items()]
    if is_dataclass(value):
        return {item.name: _plain(sandbox, getattr(value, item.name)) for item in fields(value)}
    return sandbox.state.codec.encode(value)


def _everything(sandbox: Sandbox) -> dict[str, Any]:
    return {name: _plain(sandbox, table) for name, table in sandbox.state.tables.items()}


def _use(sandbox: Sandbox, bucket: oss2.Bucket) -> str:
    """Create a record of every kind, and return the id of the upload."""
    bucket.put_object("disk.raw", b"disk" * PART + bytes(64 << 10))
    bucket.put_bucket_versioning(oss2.models.BucketVersioningConfig("Enabled"))
    bucket.put_object("versioned", b"one", headers={"x-oss-meta-a": "b"})
    bucket.put_object("versioned", b"two")
    bucket.delete_object("versioned")
    bucket.copy_object("disks", "disk.raw", "copy.raw")
    upload_id = str(bucket.init_multipart_upload("big").upload_id)
    bucket.upload_part("big", upload_id, 1, b"a" * PART)
    bucket.upload_part_copy("disks", "disk.raw", (0, PART - 1), "big", upload_id, 2)
    make_role(sandbox)
    sandbox.state.configure(import_s=100.0, cnames={"a.example.com": "disks"}, formats_refused=("VMDK",))
    call(sandbox, "ImportImage", ImageName="web", DiskDeviceMappings=[mapping(OSSBucket="disks")], ClientToken="t-1")
    sandbox.clock.advance(50)
    call(sandbox, "DescribeTasks")
    sandbox.faults.add(Fault(operation="AbortMultipartUpload", nth=2, count=3))
    sandbox.state.add_key(AccessKey(id="STS.X", secret="S", token="T", expires_s=START_S + 900))
    sandbox.state.deny("oss:DeleteBucket")
    sandbox.state.commit()
    return upload_id


def test_all_state_is_there_after_a_kill(kept: Sandbox, bucket: oss2.Bucket, tmp_path: Path) -> None:
    """All tables have the same rows in the same order."""
    _use(kept, bucket)
    before = _everything(kept)
    used = {"buckets", "files", "images", "tasks", "reads", "snapshots", "tokens", "nonces", "roles", "keys", "faults"}
    assert not [name for name in used if not before[name]]
    with _killed(kept, tmp_path) as risen:
        assert _everything(risen) == before


def test_work_goes_on_after_a_kill(kept: Sandbox, bucket: oss2.Bucket, tmp_path: Path) -> None:
    """Uploads, tasks, client tokens and faults continue."""
    upload_id = _use(kept, bucket)
    data = bucket.get_object("disk.raw").read()
    with _killed(kept, tmp_path) as risen:
        oss = Oss(risen)
        again = oss.bucket("disks")
        assert again.get_object("disk.raw").read() == again.get_object("copy.raw").read() == data
        again.upload_part("big", upload_id, 3, b"c")
        parts = again.list_parts("big", upload_id).parts
        assert [part.size for part in parts] == [PART, PART, 1]
        again.complete_multipart_upload("big", upload_id, parts)
        assert again.get_object("big").read() == b"a" * PART + data[:PART] + b"c"
        image = call(
            risen, "ImportImage", ImageName="web", DiskDeviceMappings=[mapping(OSSBucket="disks")], ClientToken="t-1"
        )
        assert image["ImageId"] in risen.state.part(Ecs).images
        (task,) = call(risen, "DescribeTasks")["TaskSet"]["Task"]
        assert call(risen, "DescribeTaskAttribute", TaskId=task["TaskId"])["TaskProcess"] == "49%"
        risen.clock.advance(60)
        assert call(risen, "DescribeTaskAttribute", TaskId=task["TaskId"])["TaskStatus"] == "Finished"
        (fault,) = risen.faults.active()
        assert fault.count == 3
        oss.close()


def test_what_follows_an_import_goes_on_after_a_kill(kept: Sandbox, bucket: oss2.Bucket, tmp_path: Path) -> None:
    """Copies and their queue, shares, tags, instances and their end, exports, users with their keys, ACLs."""
    bucket.put_object("disk.raw", b"disk", headers={"x-oss-tagging": "a=1", "x-oss-object-acl": "private"})
    bucket.put_bucket_acl("public-read")
    make_role(kept)
    make_role(kept, name="AliyunECSImageExportDefaultRole", policy="AliyunECSImageExportRolePolicy")
    kept.state.configure(import_s=0.0, image_ready_s=0.0, copy_s=100.0, instance_console="boots")
    image_id = call(kept, "ImportImage", ImageName="web", DiskDeviceMappings=[mapping(OSSBucket="disks")])["ImageId"]
    kept.state.configure(import_s=100.0)
    call(kept, "ModifyImageSharePermission", ImageId=image_id, AddAccounts=["2000000000000000"])
    call(kept, "TagResources", ResourceType="image", ResourceIds=[image_id], Tags=[{"Key": "k", "Value": "v"}])
    for _ in range(6):
        call(kept, "CopyImage", ImageId=image_id, DestinationRegionId="cn-beijing")
    network = {"VSwitchId": "vsw-sandbox-cn-hangzhou-a", "SecurityGroupId": "sg-sandbox-cn-hangzhou"}
    ends = datetime.fromtimestamp(START_S + 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    order: dict[str, Any] = {"ImageId": image_id, "InstanceType": "ecs.g7.large", "AutoReleaseTime": ends, **network}
    call(kept, "RunInstances", **order)
    call(kept, "ExportImage", ImageId=image_id, OSSBucket="disks", OSSPrefix="out")
    call(kept, "CreateUser", UserName="ci")
    call(kept, "AttachPolicyToUser", UserName="ci", PolicyType="System", PolicyName="AliyunECSReadOnlyAccess")
    made = call(kept, "CreateAccessKey", UserName="ci")["AccessKey"]
    document = '{"Version":"1","Statement":[{"Effect":"Allow","Action":"ecs:*","Resource":"*"}]}'
    call(kept, "CreatePolicy", PolicyName="p", PolicyDocument=document)
    call(kept, "CreatePolicyVersion", PolicyName="p", PolicyDocument=document)
    kept.clock.advance(50)
    kept.state.commit()
    before = _everything(kept)
    with _killed(kept, tmp_path) as risen:
        assert _everything(risen) == before
        user = AccessKey(id=made["AccessKeyId"], secret=made["AccessKeySecret"])
        shown = call(risen, "DescribeImages", key=user, region="cn-beijing", Status="ALL", ImageOwnerAlias="self")
        assert sorted(image["Status"] for image in shown["Images"]["Image"]) == ["Creating"] * 5 + ["Waiting"]
        risen.clock.advance(150)
        copied = call(risen, "DescribeImages", region="cn-beijing", ImageOwnerAlias="self")
        assert copied["TotalCount"] == 6
        oss = Oss(risen)
        assert oss.bucket("disks").get_object(f"out_{image_id}_system.raw").read() == b"disk"
        oss.close()
        risen.clock.advance(3600)
        assert call(risen, "DescribeInstances")["TotalCount"] == 0


def test_an_object_removed_after_a_kill_fails_its_import(kept: Sandbox, bucket: oss2.Bucket, tmp_path: Path) -> None:
    """The import still reads the object."""
    bucket.put_object("disk.raw", b"disk" * PART)
    make_role(kept)
    kept.state.configure(import_s=100.0)
    call(kept, "ImportImage", DiskDeviceMappings=[mapping(OSSBucket="disks")])
    with _killed(kept, tmp_path) as risen:
        risen.clock.advance(50)
        oss = Oss(risen)
        oss.bucket("disks").delete_object("disk.raw")
        oss.close()
        risen.clock.advance(1000)
        (task,) = call(risen, "DescribeTasks")["TaskSet"]["Task"]
        assert task["TaskStatus"] == "Failed"


def test_ids_are_unique(kept: Sandbox, bucket: oss2.Bucket, tmp_path: Path) -> None:
    """Ids of uploads, images, files and requests differ in two sandboxes that start with the same state."""

    def ids(sandbox: Sandbox) -> set[str]:
        oss = Oss(sandbox)
        opened = oss.bucket("disks")
        done = opened.put_object("k", b"x")
        made = {done.request_id, opened.init_multipart_upload("k").upload_id, sandbox.state.part(Ecs).new_id("m")}
        oss.close()
        return made | set(sandbox.state.tables["files"])

    del bucket
    with _killed(kept, tmp_path) as first:
        one = ids(first)
    with _killed(kept, tmp_path) as second:
        two = ids(second)
    assert len(one | two) == 8


def test_files_are_removed_with_their_last_object(kept: Sandbox, bucket: oss2.Bucket, tmp_path: Path) -> None:
    """Files without a reference are removed, also those of incomplete bodies."""
    files = kept.state.directory / "objects"
    bucket.put_object("a", b"1" * 5000)
    bucket.copy_object("disks", "a", "b")
    bucket.delete_object("a")
    assert len(list(files.iterdir())) == 1
    connection = http.client.HTTPConnection("127.0.0.1", kept.port, timeout=10)
    (files / "0123-half-received").write_bytes(b"x")
    with _killed(kept, tmp_path) as risen:
        assert stored_bucket(risen).current("b").content.pread(0, 9) == b"1" * 9  # type: ignore[union-attr]
        assert len(list((risen.state.directory / "objects").iterdir())) == 1
    connection.close()
    bucket.delete_object("b")
    bucket.get_bucket_info()
    assert [each.name for each in files.iterdir()] == ["0123-half-received"]


def test_a_restart_keeps_all_and_takes_new_settings(tmp_path: Path) -> None:
    """A restarted sandbox continues. Given settings replace the stored ones."""
    with Sandbox.start(tmp_path, keep=True) as first:
        first.state.part(OssState).add_bucket("disks", region="cn-hangzhou", owner_id=first.account_id)
        first.state.configure(import_s=7.0)
        first.clock.set_skew(5)
    with Sandbox.start(tmp_path, keep=True) as second:
        assert (list(second.state.part(OssState).buckets), second.state.settings.import_s) == (["disks"], 7.0)
        assert second.clock.adjustment.skew_s == 5
    with Sandbox.start(tmp_path, keep=True, settings=Settings(import_s=8.0)) as third:
        assert (list(third.state.part(OssState).buckets), third.state.settings.import_s) == (["disks"], 8.0)


def test_a_call_that_cannot_be_stored_is_not_answered(
    kept: Sandbox, bucket: oss2.Bucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is dropped, the log has the reason, and the next call writes the changes."""
    with contextlib.closing(sqlite3.connect(kept.state.directory / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert kept.state.store is not None
        kept.state.store._database.execute("PRAGMA busy_timeout = 1")
        with pytest.raises(oss2.exceptions.RequestError):
            bucket.put_object("k", b"x")
        other.execute("ROLLBACK")
    assert "cannot write its state" in caplog.text
    bucket.get_bucket_info()
    with _killed(kept, tmp_path) as risen:
        assert list(stored_bucket(risen).versions) == ["k"]


def test_one_directory_has_one_sandbox(kept: Sandbox, tmp_path: Path) -> None:
    """A second sandbox and a reset are refused while the first serves, and change nothing."""
    with pytest.raises(DirectoryInUseError):
        Sandbox.start(tmp_path / "kept", keep=True)
    with pytest.raises(DirectoryInUseError):
        reset(tmp_path / "kept")
    assert (kept.state.directory / "state.db").exists()


def test_a_reset_removes_the_state_and_no_other_files(tmp_path: Path) -> None:
    """A directory with other files is refused by a reset and by a start."""
    with Sandbox.start(tmp_path / "kept", keep=True) as sandbox:
        sandbox.state.part(OssState).add_bucket("disks", region="cn-hangzhou", owner_id=sandbox.account_id)
    (tmp_path / "kept" / "notes").write_text("of its owner")
    reset(tmp_path / "kept")
    assert {each.name for each in (tmp_path / "kept").iterdir()} <= {"notes", "lock"}
    for refused in (reset, lambda directory: Sandbox.start(directory, keep=True)):
        with pytest.raises(ForeignDirectoryError):
            refused(tmp_path / "kept")
    reset(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_failed_start_leaves_the_directory_free(kept: Sandbox, tmp_path: Path) -> None:
    """A failed start (port in use, damaged state) releases the lock."""
    with pytest.raises(OSError, match="in use"):
        Sandbox.start(tmp_path / "other", keep=True, port=kept.port)
    (tmp_path / "other" / "state.db").write_bytes(b"damaged" * 999)
    with pytest.raises(UnreadableStateError):
        Sandbox.start(tmp_path / "other", keep=True)
    reset(tmp_path / "other")
    assert server_info(tmp_path / "other") is None
