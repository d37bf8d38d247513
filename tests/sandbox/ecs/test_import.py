"""Tests of ImportImage rule by rule: refusals with their codes, and accepted requests."""

from typing import Any

import pytest
from aliyunsdkcore.acs_exception.exceptions import ServerException

from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.ecs.state import ATTRIBUTES, Attribute
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from tests.rows import each_row
from tests.sandbox.disks import MIB, dynamic_vhd, qcow2
from tests.sandbox.prepared import (
    BUCKET,
    GIB,
    POLICY,
    ROLE,
    TRUST,
    make_bucket,
    make_role,
    mapping,
    prepare,
    put,
    put_zeros,
)
from tests.sandbox.vendor_sdk import call, refusal, send, signed

DISK = {"DiskDeviceMappings": [mapping()]}


@pytest.fixture
def ready(sandbox: Sandbox) -> Sandbox:
    """Return a sandbox with a role, a bucket and a disk for an import."""
    return prepare(sandbox)


def _import(sandbox: Sandbox, **fields: Any) -> dict[str, Any]:
    return call(sandbox, "ImportImage", **{**DISK, **fields})


def _refused(sandbox: Sandbox, **fields: Any) -> tuple[int, str]:
    return refusal(sandbox, "ImportImage", **{**DISK, **fields})


def _image(sandbox: Sandbox, image_id: str) -> dict[str, Any]:
    (image,) = call(sandbox, "DescribeImages", ImageId=image_id, Status="ALL")["Images"]["Image"]
    assert isinstance(image, dict)
    return image


@each_row("attribute", [one for one in ATTRIBUTES.values() if one.values])
def test_each_listed_value_of_an_attribute_is_accepted_and_no_other(ready: Sandbox, attribute: Attribute) -> None:
    """The image has the value; another one is refused with the code of the attribute."""
    name, _, member = attribute.parameter.partition(".")
    for value in attribute.values:
        image_id = _import(ready, ImageName=f"is-{member or name}-{value}", **{attribute.parameter: value})["ImageId"]
        shown = _image(ready, image_id)[name]
        assert (shown[member] if member else shown) == value
    assert _refused(ready, **{attribute.parameter: "no-such-value"}) == (400, attribute.code)


@each_row(
    ("fields", "expected"),
    [
        # mappings
        ({"DiskDeviceMappings": []}, (403, "MissingParameter.DiskDeviceMapping")),
        ({"DiskDeviceMappings": [{"OSSObject": "disk.raw"}]}, (400, "MissingParameter")),
        ({"DiskDeviceMappings": [{"OSSBucket": BUCKET}]}, (400, "MissingParameter")),
        ({"DiskDeviceMappings": [mapping(OSSBucket="B_K")]}, (400, "InvalidOSSBucket.Malformed")),
        ({"DiskDeviceMappings": [mapping(OSSBucket="b")]}, (400, "InvalidOSSBucket.Malformed")),
        ({"DiskDeviceMappings": [mapping(OSSBucket="-bkt")]}, (400, "InvalidOSSBucket.Malformed")),
        ({"DiskDeviceMappings": [mapping("/disk.raw")]}, (400, "InvalidOSSObject.Malformed")),
        ({"DiskDeviceMappings": [mapping("\\disk.raw")]}, (400, "InvalidOSSObject.Malformed")),
        ({"DiskDeviceMappings": [mapping("é" * 512 + ".raw")]}, (400, "InvalidOSSObject.Malformed")),
        ({"DiskDeviceMappings": [mapping("disk.img")]}, (400, "UnsupportedSuffix.OSSObject")),
        ({"DiskDeviceMappings": [mapping("dir.raw/disk.2")]}, (400, "UnsupportedSuffix.OSSObject")),
        ({"DiskDeviceMappings": [mapping("disk.iso")]}, (400, "UnsupportedSuffix.OSSObject")),
        ({"DiskDeviceMappings": [mapping(Format="ISO")]}, (400, "InvalidImageFormat.Malformed")),
        ({"DiskDeviceMappings": [mapping(Device="sda")]}, (403, "InvalidParameter.Malformed")),
        ({"DiskDeviceMappings": [mapping(DiskImageSize="0")]}, (400, "InvalidImageSize")),
        ({"DiskDeviceMappings": [mapping(DiskImageSize="2049")]}, (400, "InvalidImageSize")),
        ({"DiskDeviceMappings": [mapping(DiskImageSize="5.5")]}, (400, "InvalidImageSize")),
        ({"DiskDeviceMappings": [mapping(), mapping(DiskImageSize="0")]}, (400, "InvalidDataDiskSize")),
        ({"DiskDeviceMappings": [mapping(), mapping(DiskImageSize="2049")]}, (400, "InvalidDataDiskSize")),
        # name, description
        ({"ImageName": "x"}, (400, "InvalidImageName.Malformed")),
        ({"ImageName": "x" * 129}, (400, "InvalidImageName.Malformed")),
        ({"ImageName": "1disk"}, (400, "InvalidImageName.Malformed")),
        ({"ImageName": "_disk"}, (400, "InvalidImageName.Malformed")),
        ({"ImageName": "my disk"}, (400, "InvalidImageName.Malformed")),
        ({"ImageName": "disk/1"}, (400, "InvalidImageName.Malformed")),
        ({"ImageName": "aliyun-disk"}, (400, "InvalidImageName.Malformed")),
        ({"ImageName": "acs:disk"}, (400, "InvalidImageName.Malformed")),
        ({"ImageName": "http://disk"}, (400, "InvalidImageName.Malformed")),
        ({"Description": "x"}, (400, "InvalidDescription.Malformed")),
        ({"Description": "x" * 257}, (400, "InvalidDescription.Malformed")),
        ({"Description": "http://x"}, (400, "InvalidDescription.Malformed")),
        ({"Description": "https://x"}, (400, "InvalidDescription.Malformed")),
        # other parameters
        ({"Architecture": "x86"}, (400, "InvalidArchitecture.Malformed")),
        ({"Architecture": "ARM64"}, (400, "InvalidArchitecture.Malformed")),
        ({"OSType": "bsd"}, (400, "InvalidOSType.Malformed")),
        ({"Platform": "Other Linux"}, (400, "InvalidPlatform.Malformed")),
        ({"Platform": "debian"}, (400, "InvalidPlatform.Malformed")),
        ({"Architecture": "arm64", "OSType": "windows"}, (403, "InvalidArchitecture.PlatformUnsupported")),
        (
            {"Architecture": "arm64", "Platform": "Windows Server 2022"},
            (403, "InvalidArchitecture.PlatformUnsupported"),
        ),
        ({"Architecture": "i386", "Platform": "Rocky Linux"}, (403, "InvalidArchitecture.PlatformUnsupported")),
        ({"BootMode": "uefi"}, (400, "InvalidBootMode.Malformed")),
        ({"BootMode": "UEFI-Preferred"}, (400, "InvalidBootMode.Malformed")),
        ({"BootMode": "BIOS", "Architecture": "arm64"}, (400, "InvalidBootMode.NotSupport")),
        ({"LicenseType": "byol"}, (400, "InvalidLicenseType.NotSupported")),
        ({"LicenseType": "Aliyun", "Platform": "Other Windows"}, (400, "InvalidLicenseType.BYOLOnly")),
        ({"DetectionStrategy": "standard"}, (400, "InvalidParameter.DetectionStrategy")),
        ({"DetectionStrategy": "Standard", "OSType": "windows"}, (403, "ImageCheckUnsupported.WindowsImage")),
        (
            {"DetectionStrategy": "Standard", "Platform": "Windows Server 2019", "OSType": "linux"},
            (403, "ImageCheckUnsupported.WindowsImage"),
        ),
        ({"Features": {"ImdsSupport": "v3"}}, (400, "InvalidParameter.FeaturesImdsSupport")),
        ({"Features": {"NvmeSupport": "yes"}}, (400, "InvalidParameter.FeaturesNvmeSupport")),
        ({"ResourceGroupId": "rg-none"}, (404, "InvalidResourceGroup.NotFound")),
        ({"ClientToken": "x" * 65}, (400, "InvalidClientToken.Malformed")),
        ({"ClientToken": "é"}, (400, "InvalidClientToken.Malformed")),
        ({"DryRun": "maybe"}, (400, "InvalidParameter")),
        (
            {"StorageLocationArn": "arn:acs:cloudbox:cn-hangzhou:1:cloudbox/cb-1"},
            (403, "InvalidStorageLocation.NotFound"),
        ),
        # tags
        ({"Tags": [{"Key": f"k{n}", "Value": ""} for n in range(21)]}, (400, "NumberExceed.Tags")),
        ({"Tags": [{"Key": "", "Value": "v"}]}, (400, "InvalidTagKey.Malformed")),
        ({"Tags": [{"Key": "x" * 129, "Value": "v"}]}, (400, "InvalidTagKey.Malformed")),
        ({"Tags": [{"Key": "aliyunx", "Value": "v"}]}, (400, "InvalidTagKey.Malformed")),
        ({"Tags": [{"Key": "acs:x", "Value": "v"}]}, (400, "InvalidTagKey.Malformed")),
        ({"Tags": [{"Key": "xhttp://", "Value": "v"}]}, (400, "InvalidTagKey.Malformed")),
        ({"Tags": [{"Key": "k", "Value": "x" * 129}]}, (400, "InvalidTagValue.Malformed")),
        ({"Tags": [{"Key": "k", "Value": "acs:x"}]}, (400, "InvalidTagValue.Malformed")),
        ({"Tags": [{"Key": "k", "Value": "see https://x"}]}, (400, "InvalidTagValue.Malformed")),
        ({"Tags": [{"Key": "k", "Value": "1"}, {"Key": "K", "Value": "2"}]}, (403, "TagKey.Duplication")),
    ],
)
def test_an_invalid_parameter_is_refused(ready: Sandbox, fields: dict[str, Any], expected: tuple[int, str]) -> None:
    """A violated rule is refused with its code, and no import starts."""
    assert _refused(ready, **fields) == expected
    assert call(ready, "DescribeTasks")["TotalCount"] == 0


@each_row(
    "fields",
    [
        {"ImageName": "ab"},
        {"ImageName": "x" * 128},
        {"ImageName": "磁盘.1:a_b-c"},
        {"ImageName": "ディスク"},
        {"Description": ""},
        {"Description": "see http://x"},
        {"OSType": "Windows"},
        {"OSType": "Linux"},
        {"Platform": "Customized Linux"},
        {"Platform": "Windows Server 2022", "OSType": "windows", "LicenseType": "Aliyun"},
        {"Platform": "Other Windows", "LicenseType": "BYOL"},
        {"LicenseType": "Auto"},
        {"Architecture": "i386"},
        {"Architecture": "arm64"},
        {"Architecture": "arm64", "BootMode": "UEFI"},
        {"BootMode": "UEFI"},
        {"RoleName": ROLE},
        {"ResourceGroupId": "rg-sandbox"},
        {"DetectionStrategy": "Standard"},
        {"Features": {"NvmeSupport": "supported", "ImdsSupport": "v2"}},
        {"Tags": [{"Key": f"k{n}", "Value": "v"} for n in range(20)]},
        {"Tags": [{"Key": "k", "Value": ""}]},
        {"DiskDeviceMappings": [mapping(Format="raw")]},
        {"DiskDeviceMappings": [mapping(Format="RAW", DiskImageSize="2048")]},
        {"DiskDeviceMappings": [mapping(Device="/dev/xvda")]},
        {"DryRun": "false"},
    ],
)
def test_a_valid_parameter_is_accepted(ready: Sandbox, fields: dict[str, Any]) -> None:
    """Limits are inclusive, and older spellings are accepted."""
    answer = _import(ready, **fields)
    assert answer["ImageId"].startswith("m-sandbox")
    assert answer["TaskId"].startswith("t-sandbox")
    assert answer["RegionId"] == "cn-hangzhou"


def test_the_image_has_the_requested_parameters(ready: Sandbox) -> None:
    """DescribeImages returns every parameter."""
    put(ready, "data.vhd", dynamic_vhd(4 * MIB))
    answer = _import(
        ready,
        ImageName="disk",
        Description="a disk",
        Architecture="arm64",
        Platform="Debian",
        LicenseType="BYOL",
        ResourceGroupId="rg-sandbox",
        Features={"NvmeSupport": "supported", "ImdsSupport": "v2"},
        Tags=[{"Key": "k", "Value": "v"}],
        DiskDeviceMappings=[mapping(DiskImageSize="40"), mapping("data.vhd", Format="VHD")],
    )
    image = _image(ready, answer["ImageId"])
    assert {name: image[name] for name in ("ImageName", "Description", "Architecture", "BootMode", "Platform")} == {
        "ImageName": "disk",
        "Description": "a disk",
        "Architecture": "arm64",
        "BootMode": "UEFI",
        "Platform": "Debian",
    }
    assert (image["OSType"], image["LicenseType"], image["ResourceGroupId"]) == ("linux", "BYOL", "rg-sandbox")
    assert image["Features"].items() >= {"NvmeSupport": "supported", "ImdsSupport": "v2"}.items()
    assert image["Tags"]["Tag"] == [{"TagKey": "k", "TagValue": "v"}]
    assert (image["Size"], image["ImageOwnerAlias"], image["IsSelfShared"]) == (40, "self", "False")
    disks = image["DiskDeviceMappings"]["DiskDeviceMapping"]
    assert [(disk["Device"], disk["Type"], disk["Size"], disk["Format"]) for disk in disks] == [
        ("/dev/xvda", "system", "40", "RAW"),
        ("/dev/xvdb", "data", "1", "VHD"),
    ]
    assert [disk["ImportOSSObject"] for disk in disks] == ["disk.raw", "data.vhd"]


def test_an_image_without_a_name_is_named_after_its_id(ready: Sandbox) -> None:
    """ImageName is optional."""
    answer = _import(ready)
    assert _image(ready, answer["ImageId"])["ImageName"] == answer["ImageId"]


def test_more_than_seventeen_disks_are_ignored(ready: Sandbox) -> None:
    """DiskDeviceMapping.18 is ignored."""
    answer = _import(ready, DiskDeviceMappings=[mapping()] * 17 + [mapping("no-such-suffix")])
    assert len(_image(ready, answer["ImageId"])["DiskDeviceMappings"]["DiskDeviceMapping"]) == 17


def test_the_old_name_of_the_size_is_accepted(ready: Sandbox) -> None:
    """DiskImSize is used if DiskImageSize is not given."""
    answer = _import(ready, DiskDeviceMappings=[mapping(DiskImSize="30")])
    assert _image(ready, answer["ImageId"])["Size"] == 30


def test_disks_are_numbered_from_one_without_gaps(ready: Sandbox) -> None:
    """A missing number is refused with the name of its bucket parameter."""
    fields = {"DiskDeviceMapping.2.OSSBucket": BUCKET, "DiskDeviceMapping.2.OSSObject": "disk.raw"}
    answer = send(ready, signed(ready, "ImportImage", {"RegionId": "cn-hangzhou", **fields}))
    assert 'parameter \\"DiskDeviceMapping.1.OSSBucket\\" that' in answer.text


def test_the_region_is_mandatory(ready: Sandbox) -> None:
    """MissingParameter contains its name."""
    answer = send(ready, signed(ready, "ImportImage"))
    assert (answer.status, 'parameter \\"RegionId\\" that' in answer.text) == (400, True)


def test_an_unknown_region_is_refused(ready: Sandbox) -> None:
    """All calls with a region answer InvalidRegionId.NotFound."""
    expected = (400, "InvalidRegionId.NotFound")
    assert _refused(ready, region="cn-nowhere") == expected
    for action in ("DescribeTasks", "DescribeTaskAttribute", "CancelTask", "DescribeImages", "DeleteImage"):
        assert refusal(ready, action, region="cn-nowhere") == expected


# The role


def test_without_the_role_an_import_is_refused(sandbox: Sandbox) -> None:
    """The code has one c in "Acount", and precedes the checks of the object."""
    assert _refused(sandbox) == (403, "NoSetRoletoECSServiceAcount")
    make_bucket(sandbox)
    put(sandbox, "disk.raw")
    assert _refused(sandbox) == (403, "NoSetRoletoECSServiceAcount")


@pytest.mark.parametrize("trusted", ["rds.aliyuncs.com", "ecs.amazonaws.com"])
def test_a_role_that_does_not_trust_ecs_is_refused(sandbox: Sandbox, trusted: str) -> None:
    """The code is the same as without the role."""
    make_bucket(sandbox)
    put(sandbox, "disk.raw")
    make_role(sandbox, trust=TRUST.replace("ecs.aliyuncs.com", trusted))
    assert _refused(sandbox) == (403, "NoSetRoletoECSServiceAcount")


def test_a_new_role_is_unknown_for_a_while(sandbox: Sandbox) -> None:
    """With role_propagation_s=40, the import is refused for 40 s."""
    sandbox.state.configure(role_propagation_s=40.0)
    prepare(sandbox)
    assert _refused(sandbox) == (403, "NoSetRoletoECSServiceAcount")
    sandbox.clock.advance(39)
    assert _refused(sandbox) == (403, "NoSetRoletoECSServiceAcount")
    sandbox.clock.advance(2)
    assert _import(sandbox)


def test_another_name_of_the_role_is_refused(ready: Sandbox) -> None:
    """This follows the documents; a setting allows other names."""
    make_role(ready, name="importer")
    assert _refused(ready, RoleName="importer") == (403, "NoSetRoletoECSServiceAcount")
    ready.state.configure(any_role_name=True)
    assert _import(ready, RoleName="importer")
    assert _refused(ready, RoleName="nobody") == (403, "NoSetRoletoECSServiceAcount")


@pytest.mark.parametrize(
    ("statements", "sufficient"),
    [
        ('[{"Effect":"Allow","Action":["oss:GetObject","oss:GetBucketLocation"],"Resource":"*"}]', False),
        ('[{"Effect":"Allow","Action":"oss:Get*","Resource":"*"}]', True),
        ('[{"Effect":"Allow","Action":"oss:Get*","Resource":["acs:oss:*:*:bkt","acs:oss:*:*:bkt/*"]}]', True),
        ('[{"Effect":"Allow","Action":"oss:Get*","Resource":["acs:oss:*:*:bkt/*"]}]', False),
        ('[{"Effect":"Allow","Action":"oss:Get*","Resource":["acs:oss:*:*:other","acs:oss:*:*:other/*"]}]', False),
        (
            '[{"Effect":"Allow","Action":"oss:*","Resource":"*"},'
            '{"Effect":"Deny","Action":"oss:GetObject","Resource":"acs:oss:*:*:bkt/disk*"}]',
            False,
        ),
    ],
)
def test_the_role_needs_three_permissions(sandbox: Sandbox, statements: str, sufficient: bool) -> None:
    """GetObject, GetBucketLocation and GetBucketInfo (missing on the old page) are needed for the bucket."""
    make_bucket(sandbox)
    put(sandbox, "disk.raw")
    call(sandbox, "CreateRole", RoleName=ROLE, AssumeRolePolicyDocument=TRUST)
    assert _refused(sandbox) == (403, "InvalidOSS.NotAuthorized")
    call(sandbox, "CreatePolicy", PolicyName="p", PolicyDocument=f'{{"Version":"1","Statement":{statements}}}')
    call(sandbox, "AttachPolicyToRole", RoleName=ROLE, PolicyName="p", PolicyType="Custom")
    if sufficient:
        assert _import(sandbox)
    else:
        assert _refused(sandbox) == (403, "InvalidOSS.NotAuthorized")


# The bucket and the object


def test_a_bucket_of_another_region_is_not_found(ready: Sandbox) -> None:
    """It does not exist, or is in another region."""
    make_bucket(ready, "elsewhere", region="cn-shanghai")
    for bucket in ("nowhere", "elsewhere"):
        assert _refused(ready, DiskDeviceMappings=[mapping(OSSBucket=bucket)]) == (400, "InvalidOSSBucket.NotFound")


def test_a_bucket_of_another_account_is_not_allowed(ready: Sandbox) -> None:
    """Image and bucket belong to one account."""
    make_bucket(ready, "others", owner_id="2000000000000000")
    assert _refused(ready, DiskDeviceMappings=[mapping(OSSBucket="others")]) == (403, "InvalidOSS.NotAuthorized")


def test_an_encrypted_bucket_is_not_read(ready: Sandbox) -> None:
    """The same holds for an encrypted object. AES256 is allowed."""
    put(ready, "secret.raw", encryption="KMS")
    expected = (403, "InvalidOSSBucket.EncryptUnsupported")
    assert _refused(ready, DiskDeviceMappings=[mapping("secret.raw")]) == expected
    ready.state.part(OssState).change(BUCKET, encryption="KMS")
    assert _refused(ready) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("none.raw", (400, "InvalidOSSObject.NotFound")),
        ("empty.raw", (400, "InvalidOSSObject.Size")),
        ("cold.raw", (400, "InvalidOSSObject.NeedRestore")),
    ],
)
def test_an_object_that_cannot_be_read_is_refused(ready: Sandbox, key: str, expected: tuple[int, str]) -> None:
    """A missing, an empty and an archived object have different codes."""
    put(ready, "empty.raw", b"")
    put(ready, "cold.raw", storage_class="Archive")
    assert _refused(ready, DiskDeviceMappings=[mapping(key)]) == expected
    assert _refused(ready, DiskDeviceMappings=[mapping(), mapping(key)]) == expected


def test_infrequent_access_is_read(ready: Sandbox) -> None:
    """The documents do not exclude the class IA."""
    put(ready, "ia.raw", storage_class="IA")
    assert _import(ready, DiskDeviceMappings=[mapping("ia.raw")])


# Sizes and formats


def test_the_size_is_the_virtual_size(ready: Sandbox) -> None:
    """It is the size of the disk in the container, rounded up to GiB, not of the object."""
    put_zeros(ready, "ten.raw", 10 * GIB + 1)
    put(ready, "ten.qcow2", qcow2(size=10 * GIB, l1_entries=20))
    for key, size in (("ten.raw", 11), ("ten.qcow2", 10)):
        short = [mapping(key, DiskImageSize=str(size - 1))]
        assert _refused(ready, DiskDeviceMappings=short) == (400, "InvalidImageSize")
        assert _refused(ready, DiskDeviceMappings=[mapping(), *short]) == (400, "InvalidImageSize")
        exact = _import(ready, DiskDeviceMappings=[mapping(key, DiskImageSize=str(size))])
        detected = _import(ready, DiskDeviceMappings=[mapping(key)])
        assert _image(ready, exact["ImageId"])["Size"] == _image(ready, detected["ImageId"])["Size"] == size


def test_a_disk_has_at_most_2048_gib(ready: Sandbox) -> None:
    """This holds with and without DiskImageSize."""
    put_zeros(ready, "large.raw", 2048 * GIB)
    put_zeros(ready, "larger.raw", 2048 * GIB + 1)
    assert _import(ready, DiskDeviceMappings=[mapping("large.raw")])
    assert _refused(ready, DiskDeviceMappings=[mapping("larger.raw")]) == (400, "InvalidImageSize")
    assert _refused(ready, DiskDeviceMappings=[mapping(), mapping("larger.raw")]) == (400, "InvalidDataDiskSize")


def test_a_vhd_whose_table_is_too_short_is_refused_at_once(ready: Sandbox) -> None:
    """ImportImage has two codes for the header of a VHD."""
    put(ready, "short.vhd", dynamic_vhd(5 * MIB))
    put(ready, "blocks.vhd", dynamic_vhd(4 * MIB, block_bytes=3 * MIB))
    assert _refused(ready, DiskDeviceMappings=[mapping("short.vhd")]) == (403, "InvalidVHDImage.IncorrectSize")
    assert _refused(ready, DiskDeviceMappings=[mapping("blocks.vhd")]) == (403, "InvalidBlockSize.NotSupport")


def test_vmdk_requires_an_invitation(ready: Sandbox) -> None:
    """The format may be declared or detected."""
    put(ready, "disk.vmdk", b"KDMV" + bytes(8) + (2048).to_bytes(8, "little") + bytes(492))
    for disk in (mapping("disk.vmdk"), mapping("disk.vmdk", Format="VMDK")):
        assert _refused(ready, DiskDeviceMappings=[disk]) == (403, "UserNotInTheWhiteList")
    ready.state.configure(vmdk_allowed=True)
    assert _import(ready, DiskDeviceMappings=[mapping("disk.vmdk")])


# Regions, quotas, names, accounts


def test_a_region_can_refuse_imports_or_formats(ready: Sandbox) -> None:
    """Settings configure both."""
    ready.state.configure(formats_refused=("RAW",))
    assert _refused(ready) == (400, "InvalidImageFormat.RegionNotSupported")
    ready.state.configure(regions_without_import=("cn-hangzhou",))
    assert _refused(ready) == (400, "InvalidRegion.NotSupport")


def test_images_have_a_quota(ready: Sandbox) -> None:
    """The quota is per region."""
    ready.state.configure(images_per_region=1)
    _import(ready)
    assert _refused(ready) == (403, "QuotaExceed.Image")


def test_snapshots_of_deleted_images_count_towards_the_quota(ready: Sandbox) -> None:
    """Each disk creates a snapshot that DeleteImage does not delete."""
    ready.state.configure(snapshots_per_region=2, import_s=0.0, image_ready_s=0.0)
    answer = _import(ready)
    call(ready, "DeleteImage", ImageId=answer["ImageId"])
    assert _refused(ready, DiskDeviceMappings=[mapping(), mapping()]) == (403, "QuotaExceed.Snapshot")
    assert _import(ready)
    assert _refused(ready) == (403, "QuotaExceed.Snapshot")


def test_a_name_is_unique_in_a_region(ready: Sandbox) -> None:
    """The code differs during and after the import. Another account can use the name."""
    _import(ready, ImageName="disk")
    assert _refused(ready, ImageName="disk") == (403, "ImageIsImporting")
    ready.clock.advance(60)
    assert _refused(ready, ImageName="disk") == (400, "InvalidImageName.Duplicated")
    other = ready.state.add_key(AccessKey(id="OTHER", secret="x", account_id="2000000000000000"))
    assert _refused(ready, ImageName="disk", key=other) == (403, "NoSetRoletoECSServiceAcount")


def test_the_state_of_an_account_can_refuse_an_import(ready: Sandbox) -> None:
    """A setting contains the code."""
    ready.state.configure(import_refused_with="Account.Arrearage")
    assert _refused(ready) == (400, "Account.Arrearage")


def test_a_cloud_box_is_refused_by_name(ready: Sandbox) -> None:
    """A missing CloudBox, a missing role, and any other CloudBox have different codes."""
    arn = f"arn:acs:cloudbox:cn-hangzhou:{ready.account_id}:cloudbox/cb-sandbox"
    with pytest.raises(ServerException, match=arn):
        _import(ready, StorageLocationArn=arn)
    ready.state.configure(cloud_boxes=(arn,))
    assert _refused(ready, StorageLocationArn=arn)[1] == "InvalidOperation.CloudBoxImageImportRoleRequired"
    make_role(
        ready,
        name="AliyunECSCloudBoxImageImportDefaultRole",
        policy="AliyunECSCloudBoxImageImportRolePolicy",
    )
    assert _refused(ready, StorageLocationArn=arn)[1] == "InvalidOperation.CloudBoxImageImportUnsupported"


# Dry runs and tokens


@pytest.mark.parametrize("code", ["DRYRUN.SUCCESS", "DryRunOperation"])
def test_a_successful_dry_run_is_an_error_with_one_of_two_codes(ready: Sandbox, code: str) -> None:
    """No import starts."""
    ready.state.configure(dry_run_code=code)
    assert _refused(ready, DryRun="true") == (400, code)
    assert call(ready, "DescribeTasks")["TotalCount"] == 0


def test_a_failed_dry_run_has_the_code_of_the_fault(ready: Sandbox) -> None:
    """All checks precede the answer to a dry run."""
    put_zeros(ready, "large.raw", 3 * GIB)
    too_small = [mapping("large.raw", DiskImageSize="2")]
    assert _refused(ready, DryRun="true", DiskDeviceMappings=too_small) == (400, "InvalidImageSize")
    call(ready, "DetachPolicyFromRole", RoleName=ROLE, PolicyName=POLICY, PolicyType="System")
    assert _refused(ready, DryRun="true") == (403, "InvalidOSS.NotAuthorized")


def test_a_client_token_makes_a_call_safe_to_repeat(ready: Sandbox) -> None:
    """A repeated call gets the first answer, also after the import, and starts no import."""
    first = _import(ready, ImageName="disk", ClientToken="t1")
    again = _import(ready, ImageName="disk", ClientToken="t1")
    ready.clock.advance(60)
    late = _import(ready, ImageName="disk", ClientToken="t1")
    assert first["TaskId"] == again["TaskId"] == late["TaskId"]
    assert first["ImageId"] == again["ImageId"] == late["ImageId"]
    assert first["RequestId"] != again["RequestId"]
    assert call(ready, "DescribeTasks")["TotalCount"] == 1


def test_a_client_token_is_valid_for_one_call(ready: Sandbox) -> None:
    """With other parameters, it is refused. Another token starts another import."""
    _import(ready, ImageName="disk", ClientToken="t1")
    assert _refused(ready, ImageName="disk2", ClientToken="t1") == (400, "IdempotentParameterMismatch")
    assert _import(ready, ImageName="disk2", ClientToken="t2")


def test_a_refused_call_and_a_dry_run_do_not_bind_the_token(ready: Sandbox) -> None:
    """A token is bound when its import starts."""
    assert _refused(ready, DiskDeviceMappings=[mapping("none.raw")], ClientToken="t1")
    assert _refused(ready, DryRun="true", ClientToken="t1") == (400, "DRYRUN.SUCCESS")
    assert _import(ready, ClientToken="t1")
