"""Tests of imports with the rest of the sandbox: uploads, lost responses, concurrency and XML."""

import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import oss2
import pytest
from aliyunsdkcore.acs_exception.exceptions import ClientException

from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.server import Sandbox
from tests.sandbox.disks import MIB, fixed_vhd
from tests.sandbox.oss_sdk import PART
from tests.sandbox.prepared import make_role, mapping, prepare
from tests.sandbox.vendor_sdk import call, send, signed


def _import(sandbox: Sandbox, bucket: str, key: str, **fields: Any) -> dict[str, Any]:
    disk = {"OSSBucket": bucket, "OSSObject": key}
    return call(sandbox, "ImportImage", DiskDeviceMappings=[disk], **fields)


def _status(sandbox: Sandbox, started: dict[str, Any]) -> str:
    return str(call(sandbox, "DescribeTaskAttribute", TaskId=started["TaskId"])["TaskStatus"])


def test_a_disk_uploaded_in_parts_is_imported(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """Uploaded and copied parts are one disk with its footer."""
    disk = fixed_vhd(b"x" * (3 * PART - 512))
    bucket.put_object("base", disk[:PART])
    upload_id = bucket.init_multipart_upload("disk.vhd").upload_id
    bucket.upload_part_copy("disks", "base", None, "disk.vhd", upload_id, 1)
    bucket.upload_part("disk.vhd", upload_id, 2, disk[PART : 2 * PART])
    bucket.upload_part("disk.vhd", upload_id, 3, disk[2 * PART :])
    bucket.complete_multipart_upload("disk.vhd", upload_id, bucket.list_parts("disk.vhd", upload_id).parts)
    make_role(sandbox)
    started = call(
        sandbox,
        "ImportImage",
        DiskDeviceMappings=[{"OSSBucket": "disks", "OSSObject": "disk.vhd", "Format": "VHD"}],
    )
    sandbox.clock.advance(60)
    assert _status(sandbox, started) == "Finished"


def test_deleting_the_object_through_oss_fails_the_import(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """A removal before the end fails the import, also if the task is read late. After the end, it has no effect."""
    make_role(sandbox)
    sandbox.state.configure(import_s=600.0)
    for key in ("early.raw", "late.raw"):
        bucket.put_object(key, b"x" * MIB)
    early, late = (_import(sandbox, "disks", key) for key in ("early.raw", "late.raw"))
    bucket.delete_object("early.raw")
    sandbox.clock.advance(700)
    bucket.delete_object("late.raw")
    assert (_status(sandbox, early), _status(sandbox, late)) == ("Failed", "Finished")


def test_a_call_whose_response_was_lost_has_taken_effect(sandbox: Sandbox) -> None:
    """Repeated with its ClientToken, it returns the same import."""
    prepare(sandbox)
    sandbox.faults.add(Fault(operation="ImportImage", effect="lose-answer"))
    with pytest.raises(ClientException):
        call(sandbox, "ImportImage", DiskDeviceMappings=[mapping()], ClientToken="t1")
    again = call(sandbox, "ImportImage", DiskDeviceMappings=[mapping()], ClientToken="t1")
    listed = call(sandbox, "DescribeTasks")
    assert [task["TaskId"] for task in listed["TaskSet"]["Task"]] == [again["TaskId"]]


def test_concurrent_calls_with_one_token_start_one_import(sandbox: Sandbox) -> None:
    """Calls are executed one after the other."""
    prepare(sandbox)

    def begin(_: int) -> str:
        return str(call(sandbox, "ImportImage", DiskDeviceMappings=[mapping()], ClientToken="t1")["ImageId"])

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(begin, range(8)))) == 1


def test_a_name_is_used_by_one_import(sandbox: Sandbox) -> None:
    """Of several concurrent calls with one name, one starts an import."""
    prepare(sandbox)

    def begin(number: int) -> str:
        fields = {
            "RegionId": "cn-hangzhou",
            "ImageName": "disk",
            "ClientToken": f"t{number}",
            "DiskDeviceMapping.1.OSSBucket": "bkt",
            "DiskDeviceMapping.1.OSSObject": "disk.raw",
        }
        return send(sandbox, signed(sandbox, "ImportImage", fields)).text

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(begin, range(8)))
    assert sum("TaskId" in answer for answer in answers) == 1
    assert sum('"ImageIsImporting"' in answer for answer in answers) == 7


def test_lists_in_xml_are_repeated_elements(sandbox: Sandbox) -> None:
    """Tasks and images have the form of the documents."""
    prepare(sandbox)
    for name in ("one", "two"):
        call(sandbox, "ImportImage", ImageName=name, DiskDeviceMappings=[mapping()])
    fields = {"RegionId": "cn-hangzhou", "Format": "XML"}
    tasks = ET.fromstring(send(sandbox, signed(sandbox, "DescribeTasks", fields)).text)
    assert tasks.tag == "DescribeTasksResponse"
    assert [task.findtext("SupportCancel") for task in tasks.findall("TaskSet/Task")] == ["true", "true"]
    fields |= {"Status": "Creating"}
    images = ET.fromstring(send(sandbox, signed(sandbox, "DescribeImages", fields)).text)
    assert [image.findtext("ImageName") for image in images.findall("Images/Image")] == ["two", "one"]
    disk = images.find("Images/Image/DiskDeviceMappings/DiskDeviceMapping")
    assert disk is not None
    assert disk.findtext("Device") == "/dev/xvda"
