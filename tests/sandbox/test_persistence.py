"""Tests of persistent sandboxes: the state after a restart and after a kill."""

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
def persistent(tmp_path: Path) -> Iterator[Sandbox]:
    """Yield a persistent sandbox with a stopped clock."""
    with Sandbox.start(tmp_path / "persistent", keep=True, clock=_stopped_clock()) as running:
        yield running


@pytest.fixture
def bucket(persistent: Sandbox) -> Iterator[oss2.Bucket]:
    """Yield a bucket of the persistent sandbox."""
    oss = Oss(persistent)
    opened = oss.bucket("disks")
    opened.create_bucket()
    yield opened
    oss.close()


def _stopped_clock() -> Clock:
    return Clock(start_s=START_S, running=False)


@contextmanager
def _restarted_after_kill(sandbox: Sandbox, tmp_path: Path) -> Iterator[Sandbox]:
    """Start a sandbox with a copy of the files that a kill would leave now."""
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(sandbox.state.directory, copy)
    with Sandbox.start(copy, keep=True, clock=_stopped_clock()) as running:
        yield running


def _plain(sandbox: Sandbox, value: Any) -> Any:
    """Return a value with the rows of its tables in order, so that two sandboxes can be compared."""
    if isinstance(value, Table):
        return [(key, _plain(sandbox, row)) for key, row in value.items()]
    if is_dataclass(value):
        return {item.name: _plain(sandbox, getattr(value, item.name)) for item in fields(value)}
    return sandbox.state.codec.encode(value)


def _all_state(sandbox: Sandbox) -> dict[str, Any]:
    return {name: _plain(sandbox, table) for name, table in sandbox.state.tables.items()}


def _create_state(sandbox: Sandbox, bucket: oss2.Bucket) -> str:
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


def test_all_state_is_restored_after_a_kill(persistent: Sandbox, bucket: oss2.Bucket, tmp_path: Path) -> None:
    """All tables have the same rows in the same order."""
    _create_state(persistent, bucket)
    before = _all_state(persistent)
    used = {"buckets", "files", "images", "tasks", "reads", "snapshots", "tokens", "nonces", "roles", "keys", "faults"}
    assert not [name for name in used if not before[name]]
    with _restarted_after_kill(persistent, tmp_path) as restarted:
        assert _all_state(restarted) == before


def test_operations_continue_after_a_kill(persistent: Sandbox, bucket: oss2.Bucket, tmp_path: Path) -> None:
    """Uploads, tasks, client tokens and faults continue."""
    upload_id = _create_state(persistent, bucket)
    data = bucket.get_object("disk.raw").read()
    with _restarted_after_kill(persistent, tmp_path) as restarted:
        oss = Oss(restarted)
        again = oss.bucket("disks")
        assert again.get_object("disk.raw").read() == again.get_object("copy.raw").read() == data
        again.upload_part("big", upload_id, 3, b"c")
        parts = again.list_parts("big", upload_id).parts
        assert [part.size for part in parts] == [PART, PART, 1]
        again.complete_multipart_upload("big", upload_id, parts)
        assert again.get_object("big").read() == b"a" * PART + data[:PART] + b"c"
        image = call(
            restarted,
            "ImportImage",
            ImageName="web",
            DiskDeviceMappings=[mapping(OSSBucket="disks")],
            ClientToken="t-1",
        )
        assert image["ImageId"] in restarted.state.part(Ecs).images
        (task,) = call(restarted, "DescribeTasks")["TaskSet"]["Task"]
        assert call(restarted, "DescribeTaskAttribute", TaskId=task["TaskId"])["TaskProcess"] == "49%"
        restarted.clock.advance(60)
        assert call(restarted, "DescribeTaskAttribute", TaskId=task["TaskId"])["TaskStatus"] == "Finished"
        (fault,) = restarted.faults.active()
        assert fault.count == 3
        oss.close()


def test_operations_on_images_continue_after_a_kill(persistent: Sandbox, bucket: oss2.Bucket, tmp_path: Path) -> None:
    """Copies in their queue, shares, tags, instances, exports, users with keys, and ACLs are restored."""
    bucket.put_object("disk.raw", b"disk", headers={"x-oss-tagging": "a=1", "x-oss-object-acl": "private"})
    bucket.put_bucket_acl("public-read")
    make_role(persistent)
    make_role(persistent, name="AliyunECSImageExportDefaultRole", policy="AliyunECSImageExportRolePolicy")
    persistent.state.configure(import_s=0.0, image_ready_s=0.0, copy_s=100.0, instance_console="boots")
    image_id = call(persistent, "ImportImage", ImageName="web", DiskDeviceMappings=[mapping(OSSBucket="disks")])[
        "ImageId"
    ]
    persistent.state.configure(import_s=100.0)
    call(persistent, "ModifyImageSharePermission", ImageId=image_id, AddAccounts=["2000000000000000"])
    call(persistent, "TagResources", ResourceType="image", ResourceIds=[image_id], Tags=[{"Key": "k", "Value": "v"}])
    for _ in range(6):
        call(persistent, "CopyImage", ImageId=image_id, DestinationRegionId="cn-beijing")
    network = {"VSwitchId": "vsw-sandbox-cn-hangzhou-a", "SecurityGroupId": "sg-sandbox-cn-hangzhou"}
    ends = datetime.fromtimestamp(START_S + 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    parameters: dict[str, Any] = {
        "ImageId": image_id,
        "InstanceType": "ecs.g7.large",
        "AutoReleaseTime": ends,
        **network,
    }
    call(persistent, "RunInstances", **parameters)
    call(persistent, "ExportImage", ImageId=image_id, OSSBucket="disks", OSSPrefix="out")
    call(persistent, "CreateUser", UserName="ci")
    call(persistent, "AttachPolicyToUser", UserName="ci", PolicyType="System", PolicyName="AliyunECSReadOnlyAccess")
    key = call(persistent, "CreateAccessKey", UserName="ci")["AccessKey"]
    document = '{"Version":"1","Statement":[{"Effect":"Allow","Action":"ecs:*","Resource":"*"}]}'
    call(persistent, "CreatePolicy", PolicyName="p", PolicyDocument=document)
    call(persistent, "CreatePolicyVersion", PolicyName="p", PolicyDocument=document)
    persistent.clock.advance(50)
    persistent.state.commit()
    before = _all_state(persistent)
    with _restarted_after_kill(persistent, tmp_path) as restarted:
        assert _all_state(restarted) == before
        user = AccessKey(id=key["AccessKeyId"], secret=key["AccessKeySecret"])
        shown = call(restarted, "DescribeImages", key=user, region="cn-beijing", Status="ALL", ImageOwnerAlias="self")
        assert sorted(image["Status"] for image in shown["Images"]["Image"]) == ["Creating"] * 5 + ["Waiting"]
        restarted.clock.advance(150)
        copied = call(restarted, "DescribeImages", region="cn-beijing", ImageOwnerAlias="self")
        assert copied["TotalCount"] == 6
        oss = Oss(restarted)
        assert oss.bucket("disks").get_object(f"out_{image_id}_system.raw").read() == b"disk"
        oss.close()
        restarted.clock.advance(3600)
        assert call(restarted, "DescribeInstances")["TotalCount"] == 0


def test_an_object_removed_after_a_kill_fails_its_import(
    persistent: Sandbox, bucket: oss2.Bucket, tmp_path: Path
) -> None:
    """The restored import depends on the object."""
    bucket.put_object("disk.raw", b"disk" * PART)
    make_role(persistent)
    persistent.state.configure(import_s=100.0)
    call(persistent, "ImportImage", DiskDeviceMappings=[mapping(OSSBucket="disks")])
    with _restarted_after_kill(persistent, tmp_path) as restarted:
        restarted.clock.advance(50)
        oss = Oss(restarted)
        oss.bucket("disks").delete_object("disk.raw")
        oss.close()
        restarted.clock.advance(1000)
        (task,) = call(restarted, "DescribeTasks")["TaskSet"]["Task"]
        assert task["TaskStatus"] == "Failed"


def test_ids_are_unique(persistent: Sandbox, bucket: oss2.Bucket, tmp_path: Path) -> None:
    """Ids of uploads, images, files and requests differ in two sandboxes that start with the same state."""

    def ids(sandbox: Sandbox) -> set[str]:
        oss = Oss(sandbox)
        opened = oss.bucket("disks")
        done = opened.put_object("k", b"x")
        new_ids = {done.request_id, opened.init_multipart_upload("k").upload_id, sandbox.state.part(Ecs).new_id("m")}
        oss.close()
        return new_ids | set(sandbox.state.tables["files"])

    del bucket
    with _restarted_after_kill(persistent, tmp_path) as first:
        one = ids(first)
    with _restarted_after_kill(persistent, tmp_path) as second:
        two = ids(second)
    assert len(one | two) == 8


def test_files_are_removed_with_their_last_object(persistent: Sandbox, bucket: oss2.Bucket, tmp_path: Path) -> None:
    """Files without a reference are removed, also those of incomplete bodies."""
    files = persistent.state.directory / "objects"
    bucket.put_object("a", b"1" * 5000)
    bucket.copy_object("disks", "a", "b")
    bucket.delete_object("a")
    assert len(list(files.iterdir())) == 1
    connection = http.client.HTTPConnection("127.0.0.1", persistent.port, timeout=10)
    (files / "0123-half-received").write_bytes(b"x")
    with _restarted_after_kill(persistent, tmp_path) as restarted:
        assert stored_bucket(restarted).current("b").content.pread(0, 9) == b"1" * 9  # type: ignore[union-attr]
        assert len(list((restarted.state.directory / "objects").iterdir())) == 1
    connection.close()
    bucket.delete_object("b")
    bucket.get_bucket_info()
    assert [each.name for each in files.iterdir()] == ["0123-half-received"]


def test_a_restart_keeps_the_state_and_applies_new_settings(tmp_path: Path) -> None:
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


def test_a_call_whose_changes_cannot_be_stored_has_no_response(
    persistent: Sandbox, bucket: oss2.Bucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is dropped, the log has the reason, and the next call writes the changes."""
    with contextlib.closing(sqlite3.connect(persistent.state.directory / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert persistent.state.store is not None
        persistent.state.store._database.execute("PRAGMA busy_timeout = 1")
        with pytest.raises(oss2.exceptions.RequestError):
            bucket.put_object("k", b"x")
        other.execute("ROLLBACK")
    assert "cannot write its state" in caplog.text
    bucket.get_bucket_info()
    with _restarted_after_kill(persistent, tmp_path) as restarted:
        assert list(stored_bucket(restarted).versions) == ["k"]


def test_a_directory_is_used_by_one_sandbox(persistent: Sandbox, tmp_path: Path) -> None:
    """A second sandbox and a reset are refused while the first serves, and change nothing."""
    with pytest.raises(DirectoryInUseError):
        Sandbox.start(tmp_path / "persistent", keep=True)
    with pytest.raises(DirectoryInUseError):
        reset(tmp_path / "persistent")
    assert (persistent.state.directory / "state.db").exists()


def test_a_reset_removes_the_state_and_no_other_files(tmp_path: Path) -> None:
    """A directory with other files is refused by a reset and by a start."""
    with Sandbox.start(tmp_path / "persistent", keep=True) as sandbox:
        sandbox.state.part(OssState).add_bucket("disks", region="cn-hangzhou", owner_id=sandbox.account_id)
    (tmp_path / "persistent" / "notes").write_text("other data")
    reset(tmp_path / "persistent")
    assert {each.name for each in (tmp_path / "persistent").iterdir()} <= {"notes", "lock"}
    for refused in (reset, lambda directory: Sandbox.start(directory, keep=True)):
        with pytest.raises(ForeignDirectoryError):
            refused(tmp_path / "persistent")
    reset(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_failed_start_releases_the_lock_of_the_directory(persistent: Sandbox, tmp_path: Path) -> None:
    """This applies to a port in use and to a damaged state."""
    with pytest.raises(OSError, match="in use"):
        Sandbox.start(tmp_path / "other", keep=True, port=persistent.port)
    (tmp_path / "other" / "state.db").write_bytes(b"damaged" * 999)
    with pytest.raises(UnreadableStateError):
        Sandbox.start(tmp_path / "other", keep=True)
    reset(tmp_path / "other")
    assert server_info(tmp_path / "other") is None
