"""This file holds what ImportImage answers: the parameters, the object in OSS, the disk in it.

Codes: the ImportImage page of today, and its older ones, whose codes may still come.
"""

from aliyun_import.cloud.errors.mapping import ErrorMapping
from aliyun_import.errors import (
    AccessError,
    AliyunImportError,
    BucketMissing,
    ClientTokenReused,
    NameTaken,
    ObjectMissing,
    RefusedError,
    RoleNotAuthorized,
    RoleNotVisible,
    Throttled,
)

_BUG = "Please report this with the request id: the tool should not have sent such a request."
_VHD = "Convert it anew with `qemu-img convert -O vpc`, or push the disk as RAW."
_NAME = (
    "Pass --name with 2 to 128 characters: a letter first, then letters, digits, period, colon, underscore or hyphen; "
    "not beginning with aliyun or acs:, and without http:// or https://."
)
_REGION = "Pass --region with one of `aliyun ecs DescribeRegions`."
_ROLE_RIGHTS = (
    "Check with `aliyun-import role show` that {role} has AliyunECSImageImportRolePolicy, and that no bucket policy of "
    "{bucket} denies it; the bucket must belong to this account."
)


def _row(code: str, kind: type[AliyunImportError], ours: str, means: str, remedy: str | None) -> ErrorMapping:
    return ErrorMapping(code=code, kind=kind, ours=ours, means=means, remedy=remedy, services=("ECS",))


_REQUEST = (
    _row("MissingParameter.DiskDeviceMapping", RefusedError, "request-invalid", "The request names no disk.", _BUG),
    _row("InvalidParameter.Malformed", RefusedError, "request-invalid", "ECS does not take a parameter.", _BUG),
    _row("InvalidParameter", RefusedError, "request-invalid", "ECS does not take a parameter: {message}", _BUG),
    _row("InvalidParamter", RefusedError, "request-invalid", "ECS does not take a parameter: {message}", _BUG),
    _row("InvalidImageName.Malformed", RefusedError, "name-invalid", "ECS does not take the name {name}.", _NAME),
    _row(
        "InvalidImageName.Duplicated",
        NameTaken,
        "image-name-taken",
        "There is an image {name} in {region} already.",
        "Pass another --name, or --replace to put the new image in its place.",
    ),
    _row(
        "InvalidDescription.Malformed",
        RefusedError,
        "description-invalid",
        "ECS does not take the description.",
        "Pass --description with 2 to 256 characters that does not begin with http:// or https://.",
    ),
    _row(
        "InvalidArchitecture.Malformed",
        RefusedError,
        "architecture-invalid",
        "ECS does not know the architecture.",
        "Pass --architecture i386, x86_64 or arm64.",
    ),
    _row(
        "InvalidArchitecture.PlatformUnsupported",
        RefusedError,
        "architecture-platform",
        "The platform does not go with the architecture.",
        "Pass another --platform, or another --architecture.",
    ),
    _row(
        "InvalidPlatform.Malformed",
        RefusedError,
        "platform-invalid",
        "ECS does not know the platform.",
        'Pass --platform with a name from docs/usage.md, such as Debian or "Others Linux".',
    ),
    _row(
        "InvalidOSType.Malformed",
        RefusedError,
        "os-type-invalid",
        "ECS does not know the OS type.",
        "Pass --os-type linux or windows.",
    ),
    _row(
        "InvalidBootMode.Malformed",
        RefusedError,
        "boot-mode-invalid",
        "ECS does not know the boot mode.",
        "Pass --boot-mode BIOS or UEFI.",
    ),
    _row(
        "InvalidBootMode.NotSupport",
        RefusedError,
        "boot-mode-architecture",
        "The boot mode does not go with the architecture.",
        "Pass --boot-mode UEFI: arm64 starts with nothing else.",
    ),
    _row(
        "InvalidLicenseType.NotSupported",
        RefusedError,
        "license-type-invalid",
        "ECS does not take the license type.",
        "Pass --license-type Aliyun or BYOL, or leave it out.",
    ),
    _row(
        "InvalidLicenseType.BYOLOnly",
        RefusedError,
        "license-type-byol",
        "The platform can be imported with a license of one's own only.",
        "Pass --license-type BYOL.",
    ),
    _row(
        "InvalidParameter.DetectionStrategy",
        RefusedError,
        "detection-invalid",
        "ECS does not know the detection strategy.",
        "Pass --detection-strategy Standard, or leave it out.",
    ),
    _row(
        "ImageCheckUnsupported.WindowsImage",
        RefusedError,
        "detection-windows",
        "ECS does not check Windows images.",
        "Leave --detection-strategy out.",
    ),
    _row(
        "InvalidParameter.FeaturesImdsSupport",
        RefusedError,
        "imds-support-invalid",
        "ECS does not take the metadata mode.",
        "Pass --imds-support v1 or v2, or leave it out.",
    ),
    _row(
        "InvalidParameter.FeaturesNvmeSupport",
        RefusedError,
        "nvme-support-invalid",
        "ECS does not take the NVMe mode.",
        "Pass --nvme-support supported or unsupported, or leave it out.",
    ),
    _row(
        "InvalidClientToken.Malformed",
        RefusedError,
        "client-token-invalid",
        "ECS does not take the client token.",
        "Pass --client-token with at most 64 ASCII characters, or leave it out.",
    ),
    _row(
        "IdempotentParameterMismatch",
        ClientTokenReused,
        "client-token-reused",
        "The client token was used for another request.",
        "Pass another --client-token, or leave it out.",
    ),
    _row(
        "InvalidResourceGroup.NotFound",
        RefusedError,
        "resource-group-missing",
        "There is no such resource group.",
        "Pass --resource-group with an id of `aliyun resourcemanager ListResourceGroups`, or leave it out.",
    ),
    _row("InvalidRegionId.NotFound", RefusedError, "region-unknown", "There is no region {region}.", _REGION),
    _row("RegionId.NotFound", RefusedError, "region-unknown", "There is no region {region}.", _REGION),
    _row(
        "InvalidRegion.NotSupport",
        RefusedError,
        "region-no-import",
        "The region {region} does not import images.",
        "Pass another --region, and copy the image to {region} afterwards.",
    ),
    _row(
        "InvalidStorageLocation.NotFound",
        RefusedError,
        "storage-location-missing",
        "There is no such CloudBox.",
        "Pass --storage-location-arn as arn:acs:cloudbox:REGION:ACCOUNT:cloudbox/ID, or leave it out.",
    ),
    _row(
        "InvalidOperation.CloudBoxImageImportRoleRequired",
        RoleNotVisible,
        "cloudbox-role",
        "The role for imports from a CloudBox is not there.",
        "Create AliyunECSCloudBoxImageImportDefaultRole with the policy AliyunECSCloudBoxImageImportRolePolicy.",
    ),
    _row(
        "InvalidOperation.CloudBoxImageImportUnsupported",
        RefusedError,
        "cloudbox-unsupported",
        "Images can't be imported from this CloudBox.",
        "Leave --storage-location-arn out and import from a bucket of the region.",
    ),
)

_OBJECT = (
    _row(
        "UnsupportedSuffix.OSSObject",
        RefusedError,
        "key-suffix",
        "ECS does not take the ending of the key {key}.",
        "Pass --key with the ending of the format: .raw, .vhd, .qcow2 or .vmdk.",
    ),
    _row(
        "InvalidOSSBucket.Malformed",
        RefusedError,
        "bucket-name-invalid",
        "{bucket} can't be the name of a bucket.",
        "Pass --bucket with 3 to 63 of a-z, 0-9 and -.",
    ),
    _row(
        "InvalidOSSObject.Malformed",
        RefusedError,
        "key-invalid",
        "ECS does not take the key {key}.",
        "Pass --key with plain letters, digits, slashes and hyphens.",
    ),
    _row(
        "InvalidOSSBucket.NotFound",
        BucketMissing,
        "bucket-missing",
        "ECS sees no bucket {bucket} in {region}.",
        "Check that the bucket exists and is in {region}; pass another --bucket or --region.",
    ),
    _row(
        "InvalidOSSObject.NotFound",
        ObjectMissing,
        "object-missing",
        "ECS sees no object {key} in {bucket}.",
        "Check the key, or push the disk again.",
    ),
    _row("InvalidOSSObject.Size", RefusedError, "object-empty", "The object {key} is empty.", "Push the disk again."),
    _row(
        "InvalidOSSObject.NeedRestore",
        RefusedError,
        "object-archived",
        "The object {key} is archived and can't be read.",
        "Restore the object in the console first, or upload the disk again: pushes use the class Standard.",
    ),
    _row(
        "InvalidOSSBucket.NotMatched",
        RefusedError,
        "bucket-mismatch",
        "ECS can't use the bucket {bucket}: {message}",
        "Pass another --bucket, or leave it out to have one made.",
    ),
    _row(
        "InvalidOSSBucket.FlowLimit",
        Throttled,
        "throttled",
        "The bucket {bucket} is at the limit of its bandwidth: {message}",
        "Run the same command again later; nothing is uploaded twice.",
    ),
    _row(
        "InvalidOSSBucket.EncryptUnsupported",
        RefusedError,
        "bucket-encrypted",
        "The bucket {bucket} encrypts, and ECS can't import from an encrypted one.",
        "Pass a --bucket without default encryption, and push the disk again.",
    ),
    _row(
        "InvalidOSS.NotAuthorized",
        RoleNotAuthorized,
        "oss-not-authorized",
        "ECS may not read {key} in {bucket} as {role}.",
        _ROLE_RIGHTS,
    ),
    _row(
        "InvalidAccountStatus.OSSDisabled",
        AccessError,
        "account-disabled",
        "OSS is disabled for the account.",
        "Activate OSS or settle the account's bills in the console, then run the same command again.",
    ),
    # The page's prose and its error table spell it differently; both mean the same, also: not visible yet.
    *(
        _row(
            code,
            RoleNotVisible,
            "role-not-visible",
            "ECS does not see the role {role} that lets it read the bucket.",
            "Run `aliyun-import role ensure`, wait a minute, and run the same command again.",
        )
        for code in ("NoSetRoletoECSServiceAcount", "NoSetRoletoECSServiceAccount")
    ),
)

_DISK = (
    *(
        _row(
            code,
            RefusedError,
            "format-wrong",
            "ECS does not find the format in the object that it was told: {message}",
            "Leave --format out to have it read from the disk, or convert the disk with qemu-img.",
        )
        for code in ("InvalidImageFormat.Malformed", "InvalidFormat.Malformed")
    ),
    _row(
        "InvalidImageFormat.RegionNotSupported",
        RefusedError,
        "format-region",
        "The region {region} does not import this format.",
        "Push the disk as RAW or VHD, or pass another --region.",
    ),
    _row(
        "InvalidImageSize",
        RefusedError,
        "disk-size",
        "The size of the system disk does not fit: {message}",
        "Pass --disk-size with at least the virtual size of the disk, from 1 to 2048 GiB.",
    ),
    _row(
        "InvalidDataDiskSize",
        RefusedError,
        "disk-size",
        "The size of a data disk does not fit.",
        "Pass --data-disk PATH,size=GIB with at least the virtual size of the disk, from 1 to 2048 GiB.",
    ),
    _row("InvalidBlockSize.NotSupport", RefusedError, "vhd-block-size", "The VHD has odd blocks: {message}", _VHD),
    _row("InvalidVHDImage.IncorrectSize", RefusedError, "vhd-size", "The VHD's header and size disagree.", _VHD),
)

IMPORT_ROWS: tuple[ErrorMapping, ...] = (*_REQUEST, *_OBJECT, *_DISK)
