"""This file tests that an ImportCall arrives at ECS whole, and that no parameter of ImportImage is forgotten."""

from aliyunsdkecs.request.v20140526.ImportImageRequest import ImportImageRequest

from aliyun_import.cloud.ecs.request import import_request
from aliyun_import.model.request import (
    Architecture,
    BootMode,
    DiskFormat,
    DiskMapping,
    ImportCall,
    ImportRequest,
    OsType,
)
from tests.cloud import reach

WHOLE = ImportCall(
    request=ImportRequest(
        region="cn-hangzhou",
        disks=(),
        name="web-42",
        description="the web server",
        architecture=Architecture.ARM64,
        os_type=OsType.LINUX,
        platform="Others Linux",
        boot_mode=BootMode.UEFI,
        license_type="BYOL",
        role_name="Another",
        resource_group="rg-1",
        nvme_support="supported",
        imds_support="v2",
        detection_strategy="Standard",
        storage_location_arn="arn:acs:cloudbox:cn-hangzhou:1:cloudbox/cb-1",
    ),
    mappings=(
        DiskMapping(bucket="disks", key="a.raw", format=DiskFormat.RAW, size_gib=40),
        DiskMapping(bucket="more", key="b.vhd", format=DiskFormat.VHD, size_gib=None),
        DiskMapping(bucket="more", key="c", format=None, size_gib=7),
    ),
    client_token="token",
    tags={"team": "web", "empty": ""},
    dry_run=True,
)
# What the documents call legacy: "do not send".
LEGACY = {"OwnerId", "ResourceOwnerAccount", "ResourceOwnerId"}


def test_every_parameter_travels() -> None:
    """Under its documented name, with its documented spelling of values."""
    assert import_request(WHOLE).get_query_params() == {
        "RegionId": "cn-hangzhou",
        "ImageName": "web-42",
        "Description": "the web server",
        "Architecture": "arm64",
        "OSType": "linux",
        "Platform": "Others Linux",
        "BootMode": "UEFI",
        "LicenseType": "BYOL",
        "RoleName": "Another",
        "ResourceGroupId": "rg-1",
        "Features.NvmeSupport": "supported",
        "Features.ImdsSupport": "v2",
        "DetectionStrategy": "Standard",
        "StorageLocationArn": "arn:acs:cloudbox:cn-hangzhou:1:cloudbox/cb-1",
        "DiskDeviceMapping.1.OSSBucket": "disks",
        "DiskDeviceMapping.1.OSSObject": "a.raw",
        "DiskDeviceMapping.1.Format": "RAW",
        "DiskDeviceMapping.1.DiskImageSize": "40",
        "DiskDeviceMapping.2.OSSBucket": "more",
        "DiskDeviceMapping.2.OSSObject": "b.vhd",
        "DiskDeviceMapping.2.Format": "VHD",
        "DiskDeviceMapping.3.OSSBucket": "more",
        "DiskDeviceMapping.3.OSSObject": "c",
        "DiskDeviceMapping.3.DiskImageSize": "7",
        "Tag.1.Key": "team",
        "Tag.1.Value": "web",
        "Tag.2.Key": "empty",
        "Tag.2.Value": "",
        "ClientToken": "token",
        "DryRun": "true",
    }


def test_what_is_left_open_is_left_out() -> None:
    """The service's own defaults count then."""
    sent = import_request(reach.import_call()).get_query_params()
    assert set(sent) == {
        "RegionId",
        "ImageName",
        "Platform",
        "RoleName",
        "ClientToken",
        "DiskDeviceMapping.1.OSSBucket",
        "DiskDeviceMapping.1.OSSObject",
        "DiskDeviceMapping.1.Format",
        "DiskDeviceMapping.1.DiskImageSize",
        "Tag.1.Key",
        "Tag.1.Value",
    }


def test_no_setter_of_the_sdk_is_forgotten() -> None:
    """A parameter that a newer SDK brings fails this test until it is sent or said to be legacy."""
    setters = {name.removeprefix("set_") for name in vars(ImportImageRequest) if name.startswith("set_")} - LEGACY
    sent = {name.split(".")[0] for name in import_request(WHOLE).get_query_params()} - {"RegionId"}
    plural = {"DiskDeviceMappings": "DiskDeviceMapping", "Tags": "Tag"}
    assert {plural.get(name, name) for name in setters} == sent
