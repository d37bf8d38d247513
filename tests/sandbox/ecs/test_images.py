"""Tests of operations on images: list, modify, delete and tag."""

import json
from pathlib import Path
from typing import Any

import pytest

from aliyun_import.sandbox.core.state import AccessKey, State
from aliyun_import.sandbox.ecs.state import Ecs
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from tests.rows import each_row
from tests.sandbox.prepared import mapping, prepare, put
from tests.sandbox.vendor_sdk import call, refusal, send, signed


@pytest.fixture
def ready(sandbox: Sandbox) -> Sandbox:
    """Return a sandbox in which imports take no time."""
    sandbox.state.configure(import_s=0.0, image_ready_s=0.0)
    return prepare(sandbox)


def _import(sandbox: Sandbox, **fields: Any) -> str:
    """Import the disk, and return the id of the image."""
    answer = call(sandbox, "ImportImage", DiskDeviceMappings=[mapping()], **fields)
    return str(answer["ImageId"])


def _found(sandbox: Sandbox, **fields: Any) -> list[str]:
    """Return the names of the images that DescribeImages finds."""
    return [image["ImageName"] for image in call(sandbox, "DescribeImages", **fields)["Images"]["Image"]]


def _one(sandbox: Sandbox, image_id: str) -> dict[str, Any]:
    (image,) = call(sandbox, "DescribeImages", ImageId=image_id, Status="ALL")["Images"]["Image"]
    assert isinstance(image, dict)
    return image


def test_only_available_images_are_listed_without_a_status(ready: Sandbox) -> None:
    """A call without a status does not return an image whose import runs."""
    ready.state.configure(import_s=3600.0)
    image_id = _import(ready, ImageName="disk")
    own = {"ImageOwnerAlias": "self"}
    assert _found(ready, **own) == []
    assert _found(ready, ImageId=image_id) == []
    assert _found(ready, Status="Creating,Available", **own) == ["disk"]
    assert _found(ready, Status="ALL", **own) == ["disk"]
    assert _found(ready, Status="UnAvailable", **own) == []
    assert refusal(ready, "DescribeImages", Status="ALL,Creating") == (400, "InvalidParamter")
    assert refusal(ready, "DescribeImages", Status="creating") == (400, "InvalidParamter")


def test_system_images_are_listed_unless_the_owner_is_self(ready: Sandbox) -> None:
    """A call without an owner alias also returns system images."""
    _import(ready, ImageName="disk")
    assert len(_found(ready)) > 1
    assert _found(ready, ImageOwnerAlias="self") == ["disk"]
    assert "disk" not in _found(ready, ImageOwnerAlias="system")
    assert _found(ready, ImageOwnerAlias="others") == _found(ready, ImageOwnerAlias="marketplace") == []
    assert "disk" not in _found(ready, IsPublic="true")


def test_names_are_matched_by_substring(ready: Sandbox) -> None:
    """A client has to compare for equality itself."""
    for name in ("disk", "disk-2", "mydisk", "other"):
        _import(ready, ImageName=name)
    assert sorted(_found(ready, ImageName="disk", ImageOwnerAlias="self")) == ["disk", "disk-2", "mydisk"]


def test_images_are_filtered(ready: Sandbox) -> None:
    """Id, architecture, system, group, snapshot, tags, time and usage are filters, which are combined."""
    first = _import(ready, ImageName="first", Architecture="arm64", Tags=[{"Key": "k", "Value": "1"}])
    _import(
        ready,
        ImageName="second",
        OSType="windows",
        ResourceGroupId="rg-sandbox",
        Tags=[{"Key": "k", "Value": "2"}, {"Key": "l", "Value": ""}],
    )

    def found(**fields: Any) -> list[str]:
        return _found(ready, ImageOwnerAlias="self", **fields)

    snapshot = _one(ready, first)["DiskDeviceMappings"]["DiskDeviceMapping"][0]["SnapshotId"]
    assert found() == ["second", "first"]
    assert found(ImageId=f"{first},m-none") == ["first"]
    assert found(ImageId="m-none") == []
    assert found(Architecture="arm64") == ["first"]
    assert found(OSType="windows") == ["second"]
    assert found(ResourceGroupId="rg-sandbox") == ["second"]
    assert found(SnapshotId=snapshot) == ["first"]
    assert found(Usage="none") == ["second", "first"]
    assert found(Usage="instance") == []
    assert found(Tags=[{"Key": "k"}]) == ["second", "first"]
    assert found(Tags=[{"Key": "k", "Value": "2"}, {"Key": "l"}]) == ["second"]
    assert found(Tags=[{"Key": "k", "Value": "1"}], OSType="windows") == []
    assert found(Filters=[{"Key": "CreationStartTime", "Value": "2024-06-01T00:00Z"}]) == ["second", "first"]
    assert found(Filters=[{"Key": "CreationEndTime", "Value": "2024-06-01T00:00Z"}]) == []


@each_row(
    ("fields", "expected"),
    [
        ({"ImageOwnerAlias": "me"}, (400, "InvalidImageOwnerAlias.ValueNotSupported")),
        ({"Architecture": "x86"}, (404, "InvalidArchitecture")),
        ({"OSType": "bsd"}, (404, "InvalidOSType")),
        ({"Usage": "all"}, (404, "InvalidUsage")),
        ({"Filters": [{"Key": "Size", "Value": "1"}]}, (404, "InvalidFilterKey.NotFound")),
        ({"Filters": [{"Key": "CreationEndTime", "Value": "today"}]}, (400, "InvalidParamter")),
        ({"Tags": [{"Key": "", "Value": "v"}]}, (400, "InvalidTag.Mismatch")),
        ({"Tags": [{"Key": f"k{number}"} for number in range(21)]}, (400, "InvalidTagCount")),
        ({"PageSize": 101}, (400, "InvalidParameter")),
        ({"PageNumber": 0}, (400, "InvalidParameter")),
        ({"DryRun": "true"}, (400, "DryRunOperation")),
    ],
)
def test_an_invalid_filter_is_refused(ready: Sandbox, fields: dict[str, Any], expected: tuple[int, str]) -> None:
    """The answer is the code of the service."""
    assert refusal(ready, "DescribeImages", **fields) == expected


def test_images_are_filtered_by_owner_and_instance_type(ready: Sandbox) -> None:
    """The owner id selects an account; the instance type selects images that start on it."""
    for name, architecture in (("intel", "x86_64"), ("arm", "arm64")):
        _import(ready, ImageName=name, Architecture=architecture, BootMode="UEFI" if name == "arm" else "BIOS")
    assert _found(ready, ImageOwnerId=42) == []
    assert sorted(_found(ready, ImageOwnerId=int(ready.account_id))) == ["arm", "intel"]
    assert _found(ready, ImageOwnerAlias="self", InstanceType="ecs.g7.large") == ["intel"]
    assert _found(ready, ImageOwnerAlias="self", InstanceType="ecs.g8y.large") == ["arm"]


def test_usable_needs_a_status(ready: Sandbox) -> None:
    """With a status, it filters by usability."""
    _import(ready, ImageName="disk")
    fields = {"RegionId": "cn-hangzhou", "Usable": "true"}
    assert '"MissingParameter"' in send(ready, signed(ready, "DescribeImages", fields)).text
    answer = send(ready, signed(ready, "DescribeImages", {**fields, "Status": "Available,Creating"}))
    assert '"ImageName":"disk"' in answer.text
    answer = send(ready, signed(ready, "DescribeImages", {**fields, "Status": "Creating"}))
    assert '"TotalCount":0' in answer.text


def test_images_are_paged(ready: Sandbox) -> None:
    """A page has 10 images by default and at most 100, newest first."""
    for number in range(12):
        _import(ready, ImageName=f"disk-{number}")
    own: dict[str, Any] = {"ImageOwnerAlias": "self"}
    assert _found(ready, **own) == [f"disk-{number}" for number in range(11, 1, -1)]
    assert _found(ready, PageNumber=2, **own) == ["disk-1", "disk-0"]
    assert len(_found(ready, PageSize=100, **own)) == 12
    answer = call(ready, "DescribeImages", PageNumber=3, **own)
    assert (answer["TotalCount"], answer["PageNumber"], answer["Images"]["Image"]) == (12, 3, [])


def test_images_belong_to_account_and_region(ready: Sandbox) -> None:
    """Other accounts and regions do not list them."""
    image_id = _import(ready, ImageName="disk")
    other = ready.state.add_key(AccessKey(id="OTHER", secret="x", account_id="2000000000000000"))
    assert call(ready, "DescribeImages", key=other, ImageId=image_id)["TotalCount"] == 0
    assert call(ready, "DescribeImages", region="cn-shanghai", ImageId=image_id)["TotalCount"] == 0
    assert refusal(ready, "DeleteImage", key=other, ImageId=image_id) == (404, "InvalidImageId.NotFound")


def test_an_image_is_deleted(ready: Sandbox) -> None:
    """A second deletion finds no image, and the name can be used again."""
    image_id = _import(ready, ImageName="disk")
    assert refusal(ready, "DeleteImage", ImageId=image_id, DryRun="true") == (400, "DryRunOperation")
    call(ready, "DeleteImage", ImageId=image_id)
    assert refusal(ready, "DeleteImage", ImageId=image_id) == (404, "InvalidImageId.NotFound")
    assert _import(ready, ImageName="disk") != image_id


def test_an_image_that_is_being_imported_is_not_deleted(ready: Sandbox) -> None:
    """Its task must be cancelled instead."""
    ready.state.configure(import_s=3600.0)
    assert refusal(ready, "DeleteImage", ImageId=_import(ready)) == (403, "ImageIsImporting")


def test_a_failed_image_keeps_its_name_until_it_is_deleted(ready: Sandbox) -> None:
    """An import with the same name is refused."""
    ready.state.configure(import_outcome="failed")
    image_id = _import(ready, ImageName="disk")
    expected = (400, "InvalidImageName.Duplicated")
    assert refusal(ready, "ImportImage", ImageName="disk", DiskDeviceMappings=[mapping()]) == expected
    call(ready, "DeleteImage", ImageId=image_id)
    assert _import(ready, ImageName="disk")


def test_only_the_given_attributes_of_an_image_are_changed(ready: Sandbox) -> None:
    """Attributes that are not given stay unchanged."""
    image_id = _import(ready, ImageName="disk", Description="a disk")
    call(ready, "ModifyImageAttribute", ImageId=image_id, ImageName="disk-2")
    image = _one(ready, image_id)
    assert (image["ImageName"], image["Description"]) == ("disk-2", "a disk")
    call(
        ready,
        "ModifyImageAttribute",
        ImageId=image_id,
        Description="better",
        Status="Deprecated",
        BootMode="UEFI-Preferred",
        LicenseType="BYOL",
        ImageFamily="disks",
        Features={"NvmeSupport": "supported", "ImdsSupport": "v2"},
    )
    image = _one(ready, image_id)
    assert (image["ImageName"], image["Description"], image["Status"]) == ("disk-2", "better", "Deprecated")
    assert (image["BootMode"], image["LicenseType"], image["ImageFamily"]) == ("UEFI-Preferred", "BYOL", "disks")
    assert image["Features"].items() >= {"NvmeSupport": "supported", "ImdsSupport": "v2"}.items()
    assert _found(ready, ImageFamily="disks", Status="ALL") == ["disk-2"]


@pytest.fixture
def image_id(ready: Sandbox) -> str:
    """Return an image; another image has the name "taken"."""
    _import(ready, ImageName="taken")
    return _import(ready, ImageName="disk", Features={"ImdsSupport": "v2"})


@each_row(
    ("fields", "expected"),
    [
        ({"ImageName": "taken"}, (400, "InvalidImageName.Duplicated")),
        ({"ImageName": "x"}, (400, "InvalidImageName.Malformed")),
        ({"Description": "http://x"}, (400, "InvalidDescription.Malformed")),
        ({"Status": "Creating"}, (400, "InvalidParameter")),
        ({"BootMode": "Legacy"}, (400, "InvalidParameter")),
        ({"LicenseType": "Aliyun"}, (400, "InvalidParameter")),
        ({"Features": {"ImdsSupport": "v1"}}, (400, "InvalidParameter.FeaturesImdsSupport")),
        ({"ImageName": "free", "DryRun": "true"}, (400, "DryRunOperation")),
        ({"ImageId": "m-none"}, (404, "InvalidImageId.NotFound")),
    ],
)
def test_a_change_that_is_refused_changes_nothing(
    ready: Sandbox, image_id: str, fields: dict[str, Any], expected: tuple[int, str]
) -> None:
    """The answer is the code of the service."""
    before = _one(ready, image_id)
    assert refusal(ready, "ModifyImageAttribute", **{"ImageId": image_id, **fields}) == expected
    after = _one(ready, image_id)
    assert {**before, "RequestId": ""} == {**after, "RequestId": ""}


def test_an_image_can_be_renamed_to_its_own_name(ready: Sandbox) -> None:
    """The current name of the image is not a duplicate."""
    image_id = _import(ready, ImageName="disk")
    call(ready, "ModifyImageAttribute", ImageId=image_id, ImageName="disk")


def test_an_image_that_is_being_imported_has_no_status_to_change(ready: Sandbox) -> None:
    """Only an Available image can be deprecated."""
    ready.state.configure(import_s=3600.0)
    image_id = _import(ready)
    assert refusal(ready, "ModifyImageAttribute", ImageId=image_id, Status="Deprecated")[1] == "IncorrectImageStatus"


def test_images_are_tagged(ready: Sandbox) -> None:
    """New keys are added and existing keys replaced, on all images or on none."""
    first = _import(ready, Tags=[{"Key": "k", "Value": "1"}])
    second = _import(ready)

    def tag(*ids: str, **tags: str) -> dict[str, Any]:
        return {
            "ResourceType": "image",
            "ResourceIds": list(ids),
            "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
        }

    call(ready, "TagResources", **tag(first, second, k="2", l="3"))
    for image_id in (first, second):
        assert sorted(each["TagValue"] for each in _one(ready, image_id)["Tags"]["Tag"]) == ["2", "3"]
    assert refusal(ready, "TagResources", **tag(first, "m-none", k="4")) == (404, "InvalidResourceId.NotFound")
    assert sorted(each["TagValue"] for each in _one(ready, first)["Tags"]["Tag"]) == ["2", "3"]
    twenty = {f"t{number}": "" for number in range(20)}
    assert refusal(ready, "TagResources", **tag(first, **twenty)) == (400, "NumberExceed.Tags")
    assert refusal(ready, "TagResources", **tag(first, k="1", K="2")) == (400, "Duplicate.TagKey")
    assert refusal(ready, "TagResources", **tag(first, aliyun="1")) == (400, "InvalidTagKey.Malformed")
    assert refusal(ready, "TagResources", **tag(first)) == (400, "MissingParameter")
    assert refusal(ready, "TagResources", **tag(k="1")) == (400, "MissingParameter")
    assert refusal(ready, "TagResources", **tag(*[first] * 51, k="1")) == (400, "NumberExceed.ResourceIds")
    disk = {**tag(first, k="1"), "ResourceType": "disk"}
    assert refusal(ready, "TagResources", **disk) == (404, "InvalidResourceType.NotFound")


def test_regions_are_listed(ready: Sandbox) -> None:
    """There are 39, without the two closed ones. Each endpoint is the host of the call."""
    regions = call(ready, "DescribeRegions")["Regions"]["Region"]
    assert len(regions) == 37
    assert {region["RegionEndpoint"] for region in regions} == {ready.url.removeprefix("http://")}
    hangzhou = next(region for region in regions if region["RegionId"] == "cn-hangzhou")
    assert (hangzhou["LocalName"], hangzhou["Status"]) == ("华东1（杭州）", "available")
    english = call(ready, "DescribeRegions", AcceptLanguage="en-US")["Regions"]["Region"]
    assert "China (Hangzhou)" in {region["LocalName"] for region in english}
    assert refusal(ready, "DescribeRegions", AcceptLanguage="la") == (404, "InvalidAcceptLanguage.NotFound")


def test_a_key_without_a_suffix_is_imported(ready: Sandbox) -> None:
    """Packer uses such keys. Other suffixes are refused (test_import)."""
    put(ready, "Packer_123456")
    call(ready, "ImportImage", DiskDeviceMappings=[mapping("Packer_123456")])


def _count(sandbox: Sandbox, **fields: str) -> int:
    """Return the number of own Available images, by a filter that the SDK does not know."""
    query = {"RegionId": "cn-hangzhou", "Status": "Available", "ImageOwnerAlias": "self", **fields}
    return int(json.loads(send(sandbox, signed(sandbox, "DescribeImages", query)).text)["TotalCount"])


def test_an_available_image_may_not_be_usable_yet(ready: Sandbox) -> None:
    """Usable is false, and the image can be neither copied nor started."""
    ready.state.configure(image_usable_s=60.0)
    image_id = _import(ready)
    assert (_one(ready, image_id)["Status"], _one(ready, image_id)["Usable"]) == ("Available", False)
    assert (_count(ready, Usable="true"), _count(ready, Usable="false")) == (0, 1)
    copy: dict[str, Any] = {"ImageId": image_id, "DestinationRegionId": "cn-beijing"}
    assert refusal(ready, "CopyImage", **copy) == (400, "IncorrectImageStatus")
    parameters: dict[str, Any] = {"ImageId": image_id, "InstanceType": "ecs.g7.large"}
    parameters |= {
        "VSwitchId": "vsw-sandbox-cn-hangzhou-a",
        "SecurityGroupId": "sg-sandbox-cn-hangzhou",
        "DryRun": "true",
    }
    assert refusal(ready, "RunInstances", **parameters) == (403, "OperationDenied.ImageNotValid")
    ready.clock.advance(60)
    assert _one(ready, image_id)["Usable"] is True
    call(ready, "CopyImage", **copy)
    assert refusal(ready, "RunInstances", **parameters) == (400, "DryRunOperation")


def test_ids_of_two_sandboxes_differ(tmp_path: Path) -> None:
    """A journal with the id of an image in an earlier sandbox must not find another image."""
    ids = []
    for name in ("first", "second"):
        state = State(tmp_path / name)
        ids += [state.part(Ecs).new_id(kind) for kind in ("m", "t", "s", "m")]
        ids += [state.part(OssState).new_upload_id(), state.part(OssState).new_version_id()]
    assert len(set(ids)) == 12
