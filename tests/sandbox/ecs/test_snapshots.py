"""Tests of snapshots of images, tags of all resources, and exports."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import oss2
import pytest
from aliyunsdkcore.acs_exception.exceptions import ServerException

from aliyun_import.sandbox.server import Sandbox
from tests.rows import each_row
from tests.sandbox.disks import MIB, fixed_vhd
from tests.sandbox.oss_sdk import Oss
from tests.sandbox.prepared import BUCKET, TRUST, make_bucket, make_role, mapping, prepare, put
from tests.sandbox.vendor_sdk import call, refusal

NETWORK: dict[str, Any] = {"VSwitchId": "vsw-sandbox-cn-hangzhou-a", "SecurityGroupId": "sg-sandbox-cn-hangzhou"}


@pytest.fixture
def ready(sandbox: Sandbox) -> Sandbox:
    """Return a sandbox in which imports take no time and snapshots are retained for an hour."""
    sandbox.state.configure(import_s=0.0, image_ready_s=0.0, snapshot_held_s=3600.0)
    return prepare(sandbox)


def _import(sandbox: Sandbox, **fields: Any) -> str:
    fields.setdefault("DiskDeviceMappings", [mapping()])
    return str(call(sandbox, "ImportImage", **fields)["ImageId"])


def _snapshots(sandbox: Sandbox, **fields: Any) -> list[dict[str, Any]]:
    found = call(sandbox, "DescribeSnapshots", **fields)["Snapshots"]["Snapshot"]
    assert isinstance(found, list)
    return found


def test_a_snapshot_is_retained_after_the_deletion_of_its_image(ready: Sandbox) -> None:
    """DeleteSnapshot answers SnapshotCreatedImage while the image exists and for a time after its deletion."""
    image_id = _import(ready, ImageName="disk")
    (snapshot,) = _snapshots(ready)
    assert (snapshot["SnapshotName"], snapshot["Usage"], snapshot["Status"]) == (
        "SnapshotForImage-disk",
        "image",
        "accomplished",
    )
    parameters: dict[str, Any] = {"SnapshotId": snapshot["SnapshotId"]}
    assert refusal(ready, "DeleteSnapshot", **parameters) == (403, "SnapshotCreatedImage")
    call(ready, "DeleteImage", ImageId=image_id)
    assert [each["Usage"] for each in _snapshots(ready)] == ["none"]
    assert refusal(ready, "DeleteSnapshot", **parameters) == (403, "SnapshotCreatedImage")
    ready.clock.advance(3600)
    call(ready, "DeleteSnapshot", **parameters)
    assert _snapshots(ready) == []
    assert refusal(ready, "DeleteSnapshot", **parameters) == (404, "InvalidSnapshotId.NotFound")


def test_a_snapshot_with_disks_is_deleted_only_with_force(ready: Sandbox) -> None:
    """The image needs Force too."""
    image_id = _import(ready)
    call(ready, "RunInstances", ImageId=image_id, InstanceType="ecs.g7.large", **NETWORK)
    assert [each["Usage"] for each in _snapshots(ready)] == ["image_disk"]
    assert call(ready, "DescribeImages", Usage="instance", ImageOwnerAlias="self")["TotalCount"] == 1
    assert refusal(ready, "DeleteImage", ImageId=image_id) == (403, "ImageUsingByInstance")
    call(ready, "DeleteImage", ImageId=image_id, Force="true")
    ready.clock.advance(3600)
    (snapshot,) = _snapshots(ready, Usage="disk")
    assert refusal(ready, "DeleteSnapshot", SnapshotId=snapshot["SnapshotId"]) == (403, "SnapshotCreatedDisk")
    call(ready, "DeleteSnapshot", SnapshotId=snapshot["SnapshotId"], Force="true")


def test_the_snapshot_of_a_running_import_has_the_status_failed(ready: Sandbox) -> None:
    """This follows the page about imports, so a client must not rely on the status."""
    ready.state.configure(import_s=3600.0)
    _import(ready)
    assert [each["Status"] for each in _snapshots(ready)] == ["failed"]


def test_snapshots_are_filtered_and_paged(ready: Sandbox) -> None:
    """Ids, name and tags are filters; pages have numbers or tokens."""
    for name in ("disk-1", "disk-2", "disk-3"):
        _import(ready, ImageName=name)
    ids = [each["SnapshotId"] for each in _snapshots(ready)]
    call(ready, "TagResources", ResourceType="snapshot", ResourceIds=ids[:1], Tags=[{"Key": "k", "Value": "v"}])
    assert len(_snapshots(ready, PageSize=2)) == 2
    assert [each["SnapshotId"] for each in _snapshots(ready, Tags=[{"Key": "k"}])] == ids[:1]
    assert len(_snapshots(ready, SnapshotName="SnapshotForImage-disk-2")) == 1
    assert len(_snapshots(ready, SnapshotIds=f'["{ids[0]}","{ids[2]}"]')) == 2
    first = call(ready, "DescribeSnapshots", MaxResults=2)
    rest = call(ready, "DescribeSnapshots", MaxResults=2, NextToken=first["NextToken"])
    assert [each["SnapshotId"] for page in (first, rest) for each in page["Snapshots"]["Snapshot"]] == ids
    assert rest["NextToken"] == ""
    assert refusal(ready, "DescribeSnapshots", SnapshotIds="s-1") == (403, "InvalidSnapshotIds.Malformed")
    assert refusal(ready, "DescribeSnapshots", Usage="all") == (404, "InvalidUsage")


def test_images_snapshots_and_instances_have_tags(ready: Sandbox) -> None:
    """Tags are added, listed by resource or by tag, counted, and removed by key or all together."""
    image_id = _import(ready)
    (snapshot,) = _snapshots(ready)
    answer = call(ready, "RunInstances", ImageId=image_id, InstanceType="ecs.g7.large", **NETWORK)
    (instance_id,) = answer["InstanceIdSets"]["InstanceIdSet"]
    tags = [{"Key": "k", "Value": "v"}, {"Key": "l", "Value": "w"}]
    for kind, each in (("image", image_id), ("snapshot", snapshot["SnapshotId"]), ("instance", instance_id)):
        call(ready, "TagResources", ResourceType=kind, ResourceIds=[each], Tags=tags)
        listed = call(ready, "ListTagResources", ResourceType=kind, ResourceIds=[each])["TagResources"]["TagResource"]
        assert [(tag["TagKey"], tag["TagValue"]) for tag in listed] == [("k", "v"), ("l", "w")]
        by_tag = call(ready, "ListTagResources", ResourceType=kind, Tags=[{"Key": "k", "Value": "v"}])
        assert {tag["ResourceId"] for tag in by_tag["TagResources"]["TagResource"]} == {each}
    counts = call(ready, "DescribeTags")["Tags"]["Tag"]
    assert [(tag["TagKey"], tag["ResourceTypeCount"]) for tag in counts] == [
        ("k", {"Image": 1, "Snapshot": 1, "Instance": 1, "Securitygroup": 0}),
        ("l", {"Image": 1, "Snapshot": 1, "Instance": 1, "Securitygroup": 0}),
    ]
    call(ready, "UntagResources", ResourceType="image", ResourceIds=[image_id], TagKeys=["k"])
    assert call(ready, "DescribeImages", Tags=[{"Key": "l"}])["TotalCount"] == 1
    call(ready, "UntagResources", ResourceType="image", ResourceIds=[image_id], All="true")
    assert call(ready, "DescribeImages", Tags=[{"Key": "l"}])["TotalCount"] == 0
    assert refusal(ready, "UntagResources", ResourceType="image", ResourceIds=[image_id])[1] == "MissingParameter"
    assert refusal(ready, "UntagResources", ResourceType="disk", ResourceIds=["d"], All="true") == (
        404,
        "InvalidResourceType.NotFound",
    )


@pytest.fixture
def exporting(ready: Sandbox) -> Sandbox:
    """Return the sandbox with the role for exports."""
    make_role(ready, name="AliyunECSImageExportDefaultRole", policy="AliyunECSImageExportRolePolicy", trust=TRUST)
    return ready


def test_an_export_writes_the_disk_into_the_bucket(exporting: Sandbox, oss: Oss) -> None:
    """It has a task. The object has the imported bytes, also after a change of the original object."""
    image_id = _import(exporting)
    bucket = oss.bucket(BUCKET)
    bucket.delete_object("disk.raw")
    exporting.state.configure(import_s=100.0)
    task_id = call(exporting, "ExportImage", ImageId=image_id, OSSBucket=BUCKET, OSSPrefix="out")["TaskId"]
    (task,) = call(exporting, "DescribeTasks", TaskAction="ExportImage")["TaskSet"]["Task"]
    assert (task["TaskId"], task["ResourceId"], task["TaskAction"]) == (task_id, image_id, "ExportImage")
    assert refusal(exporting, "DeleteImage", ImageId=image_id) == (403, "ImageIsExporting")
    parameters: dict[str, Any] = {"ImageId": image_id, "OSSBucket": BUCKET}
    assert refusal(exporting, "ExportImage", **parameters) == (403, "ImageIsExporting")
    exporting.clock.advance(100)
    assert call(exporting, "DescribeTaskAttribute", TaskId=task_id)["TaskStatus"] == "Finished"
    assert bucket.get_object(f"out_{image_id}_system.raw").read() == b"disk"
    call(exporting, "DeleteImage", ImageId=image_id)


def test_an_export_into_a_deleted_bucket_fails(exporting: Sandbox, oss: Oss) -> None:
    """A cancelled export writes no object, and the image is kept."""
    image_id = _import(exporting)
    oss.bucket("out-bucket").create_bucket()
    exporting.state.configure(import_s=100.0)
    task_id = call(exporting, "ExportImage", ImageId=image_id, OSSBucket="out-bucket")["TaskId"]
    oss.bucket("out-bucket").delete_bucket()
    exporting.clock.advance(100)
    assert call(exporting, "DescribeTaskAttribute", TaskId=task_id)["TaskStatus"] == "Failed"
    other = call(exporting, "ExportImage", ImageId=image_id, OSSBucket=BUCKET)["TaskId"]
    call(exporting, "CancelTask", TaskId=other)
    exporting.clock.advance(100)
    assert [each.key for each in oss2.ObjectIterator(oss.bucket(BUCKET))] == ["disk.raw"]
    assert call(exporting, "DescribeImages", ImageId=image_id)["TotalCount"] == 1


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is missing")
@each_row(
    ("source", "target", "driver"),
    [
        ("RAW", "qcow2", "qcow2"),
        ("RAW", "VHD", "vpc"),
        ("RAW", "Vmdk", "vmdk"),
        ("RAW", "vdi", "vdi"),
        ("VHD", "raw", "raw"),
        ("QCOW2", "raw", "raw"),
        ("QCOW2", "vhd", "vpc"),
    ],
)
def test_an_export_is_converted_to_the_requested_format(
    exporting: Sandbox, oss: Oss, tmp_path: Path, source: str, target: str, driver: str
) -> None:
    """The object is a disk of that format with the imported bytes."""
    raw = bytes(MIB) + b"disk".ljust(512, b"\x07") + bytes(MIB)
    raw_path, qcow2_path = tmp_path / "disk.raw", tmp_path / "disk.qcow2"
    raw_path.write_bytes(raw)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw_path, qcow2_path], check=True)
    put(exporting, "source", {"RAW": raw, "VHD": fixed_vhd(raw), "QCOW2": qcow2_path.read_bytes()}[source])
    image_id = _import(exporting, DiskDeviceMappings=[mapping("source", Format=source)])
    exporting.state.configure(import_s=0.0)
    task_id = call(exporting, "ExportImage", ImageId=image_id, OSSBucket=BUCKET, ImageFormat=target)["TaskId"]
    assert call(exporting, "DescribeTaskAttribute", TaskId=task_id)["TaskStatus"] == "Finished"
    exported, converted = tmp_path / "exported", tmp_path / "converted"
    exported.write_bytes(oss.bucket(BUCKET).get_object(f"{image_id}_system.{target.lower()}").read())
    subprocess.run(["qemu-img", "convert", "-f", driver, "-O", "raw", exported, converted], check=True)
    assert converted.read_bytes() == raw


def test_an_export_without_qemu_img_is_refused(
    exporting: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without qemu-img, the answer is 501 with the reason. If qemu-img fails, the task fails."""
    image_id = _import(exporting)
    parameters: dict[str, Any] = {"ImageId": image_id, "OSSBucket": BUCKET, "ImageFormat": "qcow2"}
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerException, match=r"as QCOW2: it needs qemu-img, which is not in PATH") as caught:
        call(exporting, "ExportImage", **parameters)
    assert (caught.value.http_status, caught.value.error_code) == (501, "NotImplementedBySandbox")
    failing = tmp_path / "qemu-img"
    failing.write_text("#!/bin/sh\nexit 1\n")
    failing.chmod(0o700)
    exporting.state.configure(import_s=0.0)
    task = call(exporting, "DescribeTaskAttribute", TaskId=call(exporting, "ExportImage", **parameters)["TaskId"])
    assert task["TaskStatus"] == "Failed"
    assert "ExportImageFailed" in json.dumps(task)
    assert call(exporting, "ExportImage", **(parameters | {"ImageFormat": "raw"}))["TaskId"]


@each_row(
    ("fields", "expected"),
    [
        ({"OSSBucket": "none-such"}, (400, "InvalidOSSBucket.NotFound")),
        ({"OSSPrefix": "a/b"}, (400, "InvalidOSSPrefix.Malformed")),
        ({"ImageFormat": "iso"}, (400, "InvalidImageFormat.Malformed")),
        ({"ImageId": "m-none"}, (404, "InvalidImageId.NotFound")),
        ({"RoleName": "Other"}, (403, "NoSetRoletoECSServiceAcount")),
        ({"DryRun": "true"}, (400, "DryRunOperation")),
    ],
)
def test_an_invalid_export_is_refused(exporting: Sandbox, fields: dict[str, Any], expected: tuple[int, str]) -> None:
    """The answer is the code of the service."""
    image_id = _import(exporting)
    assert refusal(exporting, "ExportImage", **{"ImageId": image_id, "OSSBucket": BUCKET, **fields}) == expected


def test_an_export_needs_its_role(ready: Sandbox) -> None:
    """The role of imports is not sufficient."""
    put(ready, "disk.vhd", fixed_vhd(b"x" * 512))
    parameters: dict[str, Any] = {"ImageId": _import(ready), "OSSBucket": BUCKET}
    assert refusal(ready, "ExportImage", **parameters) == (403, "NoSetRoletoECSServiceAcount")


def test_bytes_are_removed_with_the_last_image_or_object(exporting: Sandbox, oss: Oss) -> None:
    """A copy and an exported object reference them; tasks do not."""
    objects = exporting.state.directory / "objects"
    bucket = oss.bucket(BUCKET)
    bucket.put_object("data.raw", b"data")
    bucket.delete_object("disk.raw")
    exporting.state.configure(copy_s=0.0)
    image_id = _import(exporting, DiskDeviceMappings=[mapping("data.raw")])
    bucket.delete_object("data.raw")
    assert len(list(objects.iterdir())) == 1
    copy = call(exporting, "CopyImage", ImageId=image_id, DestinationRegionId="cn-beijing")["ImageId"]
    call(exporting, "DeleteImage", ImageId=image_id)
    make_bucket(exporting, "beijing-bucket", region="cn-beijing")
    call(exporting, "CancelTask", region="cn-beijing", TaskId=_export(exporting, copy, seconds=100.0))
    _export(exporting, copy, seconds=0.0)
    call(exporting, "DeleteImage", region="cn-beijing", ImageId=copy)
    assert len(list(objects.iterdir())) == 1
    oss.bucket("beijing-bucket", region="cn-beijing").delete_object(f"{copy}_system.raw")
    assert list(objects.iterdir()) == []


def _export(sandbox: Sandbox, image_id: str, *, seconds: float) -> str:
    """Start an export of an image in Beijing that takes some time."""
    sandbox.state.configure(import_s=seconds)
    parameters: dict[str, Any] = {"ImageId": image_id, "OSSBucket": "beijing-bucket"}
    return str(call(sandbox, "ExportImage", region="cn-beijing", **parameters)["TaskId"])
