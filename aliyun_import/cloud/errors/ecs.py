"""Error codes of ECS: ImportImage, tags, the account, tasks and images.

Sources: the pages of ImportImage (current and older ones, whose codes may still occur), DescribeTasks,
DescribeTaskAttribute, CancelTask, DescribeImages, DeleteImage, ModifyImageAttribute and TagResources.
"""

from functools import partial

from aliyun_import.cloud.errors.mapping import GRANT, ErrorMapping
from aliyun_import.error_codes import ErrorCode

_TICKET = "Open a ticket with Alibaba Cloud that contains the request id."

_row = partial(ErrorMapping, services=("ECS",))


_REQUEST = (
    _row("MissingParameter.DiskDeviceMapping", ErrorCode.REQUEST_INVALID, "The request contains no disk."),
    _row(
        "InvalidParameter.Malformed InvalidParameter InvalidParamter",
        ErrorCode.REQUEST_INVALID,
        "ECS rejects a parameter of {operation}.",
    ),
    _row("InvalidImageName.Malformed", ErrorCode.NAME_INVALID, "The image name {name} is invalid."),
    _row(
        "InvalidImageName.Duplicated",
        ErrorCode.IMAGE_NAME_TAKEN,
        "An image with the name {name} exists in {region}.",
    ),
    _row("InvalidDescription.Malformed", ErrorCode.DESCRIPTION_INVALID),
    _row("InvalidArchitecture.Malformed", ErrorCode.ARCHITECTURE_INVALID),
    _row("InvalidArchitecture.PlatformUnsupported", ErrorCode.ARCHITECTURE_PLATFORM),
    _row(
        "InvalidPlatform.Malformed",
        ErrorCode.PLATFORM_INVALID,
        remedy='Pass --platform with one of these names: {platforms}; or "Others Linux" for any other Linux.',
    ),
    _row("InvalidOSType.Malformed", ErrorCode.OS_TYPE_INVALID),
    _row("InvalidBootMode.Malformed", ErrorCode.BOOT_MODE_INVALID),
    _row("InvalidBootMode.NotSupport", ErrorCode.BOOT_MODE_ARCHITECTURE),
    _row("InvalidLicenseType.NotSupported", ErrorCode.LICENSE_TYPE_INVALID),
    _row("InvalidLicenseType.BYOLOnly", ErrorCode.LICENSE_TYPE_BYOL),
    _row("InvalidParameter.DetectionStrategy", ErrorCode.DETECTION_INVALID),
    _row("ImageCheckUnsupported.WindowsImage", ErrorCode.DETECTION_WINDOWS),
    _row("InvalidParameter.FeaturesImdsSupport", ErrorCode.IMDS_SUPPORT_INVALID),
    _row("InvalidParameter.FeaturesNvmeSupport", ErrorCode.NVME_SUPPORT_INVALID),
    _row("InvalidClientToken.Malformed", ErrorCode.CLIENT_TOKEN_INVALID),
    _row("IdempotentParameterMismatch", ErrorCode.CLIENT_TOKEN_REUSED),
    _row("InvalidResourceGroup.NotFound", ErrorCode.RESOURCE_GROUP_MISSING),
    _row("InvalidRegionId.NotFound RegionId.NotFound", ErrorCode.REGION_UNKNOWN, "The region {region} does not exist."),
    _row(
        "InvalidRegion.NotSupport",
        ErrorCode.REGION_NO_IMPORT,
        "The region {region} does not support importing images.",
        "Pass another --region, and copy the image to {region} afterwards.",
    ),
    _row("InvalidStorageLocation.NotFound", ErrorCode.STORAGE_LOCATION_MISSING),
    _row(
        "InvalidOperation.CloudBoxImageImportRoleRequired",
        ErrorCode.CLOUDBOX_ROLE,
        remedy="Create AliyunECSCloudBoxImageImportDefaultRole with the policy AliyunECSCloudBoxImageImportRolePolicy.",
    ),
    _row("InvalidOperation.CloudBoxImageImportUnsupported", ErrorCode.CLOUDBOX_UNSUPPORTED),
    _row(
        "InvalidImageOwnerAlias.ValueNotSupported InvalidInstanceType.ValueNotSupported "
        "InvalidFilterKey.NotFound InvalidUsage InvalidOSType InvalidArchitecture",
        ErrorCode.REQUEST_INVALID,
        "ECS rejects a filter of {operation}.",
    ),
)

_OBJECT = (
    _row("UnsupportedSuffix.OSSObject", ErrorCode.KEY_SUFFIX, "ECS rejects the suffix of the key {key}."),
    _row("InvalidOSSBucket.Malformed", ErrorCode.BUCKET_NAME_INVALID, "The bucket name {bucket} is invalid."),
    _row(
        "InvalidOSSObject.Malformed",
        ErrorCode.KEY_INVALID,
        "ECS rejects the key {key}.",
        "Pass --key with plain letters, digits, slashes and hyphens.",
    ),
    _row(
        "InvalidOSSBucket.NotFound",
        ErrorCode.BUCKET_MISSING,
        "ECS finds no bucket {bucket} in {region}.",
        "Check that the bucket exists and is in {region}; pass another --bucket or --region.",
    ),
    _row("InvalidOSSObject.NotFound", ErrorCode.OBJECT_MISSING, "ECS finds no object {key} in the bucket {bucket}."),
    _row("InvalidOSSObject.Size", ErrorCode.OBJECT_EMPTY, "The object {key} has no bytes."),
    _row(
        "InvalidOSSObject.NeedRestore",
        ErrorCode.OBJECT_ARCHIVED,
        "The object {key} is archived and can't be read.",
        "Restore the object in the console first, or upload the disk again: pushes use the class Standard.",
    ),
    _row("InvalidOSSBucket.NotMatched", ErrorCode.BUCKET_MISMATCH, "ECS can't use the bucket {bucket}."),
    _row(
        "InvalidOSSBucket.FlowLimit",
        ErrorCode.THROTTLED,
        "The bucket {bucket} has reached its bandwidth limit.",
        "Run the same command again later; nothing is uploaded twice.",
    ),
    _row(
        "InvalidOSSBucket.EncryptUnsupported",
        ErrorCode.BUCKET_ENCRYPTED,
        "The bucket {bucket} encrypts its objects, which ECS can't import.",
    ),
    _row(
        "InvalidOSS.NotAuthorized",
        ErrorCode.OSS_NOT_AUTHORIZED,
        "ECS can't read the object {key} in the bucket {bucket} with the role {role}.",
        "Check with `aliyun-import role show --role-name {role}` that the role has AliyunECSImageImportRolePolicy, and "
        "that no policy of the bucket {bucket} denies it; the bucket must belong to this account.",
    ),
    _row("InvalidAccountStatus.OSSDisabled", ErrorCode.ACCOUNT_DISABLED),
    # The text and the error table of the page spell it differently. It also means: the role is not visible yet.
    _row(
        "NoSetRoletoECSServiceAcount NoSetRoletoECSServiceAccount",
        ErrorCode.ROLE_NOT_VISIBLE,
        "ECS does not find the role {role}, with which it reads the bucket.",
    ),
)

_DISK = (
    _row("InvalidImageFormat.Malformed InvalidFormat.Malformed", ErrorCode.FORMAT_WRONG),
    _row(
        "InvalidImageFormat.RegionNotSupported",
        ErrorCode.FORMAT_REGION,
        "The region {region} does not import this format.",
    ),
    _row("InvalidImageSize", ErrorCode.DISK_SIZE, "The size of the system disk is wrong."),
    _row(
        "InvalidDataDiskSize",
        ErrorCode.DISK_SIZE,
        "The size of a data disk is wrong.",
        "Pass --data-disk PATH,size=GIB with at least the virtual size of the disk, from 1 to 2048 GiB.",
    ),
    _row("InvalidBlockSize.NotSupport", ErrorCode.VHD_BLOCK_SIZE),
    _row("InvalidVHDImage.IncorrectSize", ErrorCode.VHD_SIZE),
)

_TAGS = (
    _row("TagKey.Duplication", ErrorCode.TAG_DUPLICATE, "Two tags differ by case only."),
    _row("Duplicate.TagKey", ErrorCode.TAG_DUPLICATE),
    _row("NumberExceed.Tags", ErrorCode.TAG_COUNT),
    _row("InvalidTagCount", ErrorCode.TAG_COUNT),
    _row(
        "InvalidTagKey.Malformed",
        ErrorCode.TAG_INVALID,
        "ECS rejects the key of a tag.",
        "Pass --tag with a key of 1 to 128 characters, not beginning with aliyun or acs:, and without http(s)://.",
    ),
    _row(
        "InvalidTagValue.Malformed",
        ErrorCode.TAG_INVALID,
        "ECS rejects the value of a tag.",
        "Pass --tag with a value of at most 128 characters, not beginning with acs:, and without http(s)://.",
    ),
    _row(
        "InvalidTag.Mismatch",
        ErrorCode.TAG_INVALID,
        "The key and the value of a tag do not match.",
        ErrorCode.REQUEST_INVALID.remedy,
    ),
    _row(
        "NoPermission.Tag",
        ErrorCode.NO_RIGHT,
        "These credentials lack the permission to tag images.",
        "Ask an administrator to grant ecs:TagResources; `{policy_command}` prints a policy with it.",
    ),
    _row("InvalidResourceId.NotFound", ErrorCode.IMAGE_MISSING, "The image {image} does not exist.", None),
)

_ACCOUNT = (
    _row(
        "DRYRUN.SUCCESS DryRunOperation",
        ErrorCode.DRY_RUN_PASSED,
        "The request would have succeeded; it was a dry run.",
    ),
    _row("Account.Arrearage", ErrorCode.ACCOUNT_IN_DEBT),
    _row(
        "InsufficientBalance",
        ErrorCode.ACCOUNT_IN_DEBT,
        "The balance of the account is too low.",
        "Add money to the account in the console, then run the same command again.",
    ),
    # The spelling is that of the service.
    _row("Forbbiden", ErrorCode.IMPORT_NOT_ENABLED, "Importing images is not enabled for the account."),
    _row(
        "UserNotInTheWhiteList",
        ErrorCode.IMPORT_NOT_ENABLED,
        "The account is not enabled for this kind of import (VMDK requires an invitation).",
        "Convert the disk to RAW, or open a ticket with Alibaba Cloud.",
    ),
    _row(
        "Forbidden.RAM",
        ErrorCode.NO_RIGHT,
        "These credentials lack the permission for {operation}.",
        f"{GRANT} Permissions for tasks are effective on all resources (*) only.",
    ),
    _row("Forbidden.RiskControl", ErrorCode.RISK_CONTROL),
    _row(
        "QuotaExceed.Image",
        ErrorCode.QUOTA_EXCEEDED,
        "The account has the maximum number of images in {region}.",
        "Delete images that are not needed, or have the quota raised in the Quota Center.",
    ),
    _row(
        "QuotaExceed.Snapshot",
        ErrorCode.QUOTA_EXCEEDED,
        "The account has the maximum number of snapshots in {region}.",
        "Delete snapshots that are not needed: deleting an image keeps its snapshot.",
    ),
)

_STATE = (
    _row("ImageIsImporting", ErrorCode.IMAGE_IMPORTING),
    _row("ImportImageFailed", ErrorCode.IMPORT_FAILED, "ECS could not start the import.", _TICKET),
    _row("IncorrectImageStatus", ErrorCode.IMAGE_STATE, "The state of the image does not allow {operation}."),
    _row(
        "InvalidTaskId.NotFound",
        ErrorCode.TASK_UNKNOWN,
        "The task {task} does not exist in {region}.",
        "Check the id with `aliyun-import task list --region {region}`.",
    ),
    _row(
        "InvalidTaskId.TaskActionNotSupport",
        ErrorCode.TASK_NOT_CANCELLABLE,
        "The task {task} is of a kind that can't be cancelled.",
    ),
    _row(
        "InvalidTaskId.IncorrectTaskStatus",
        ErrorCode.TASK_OVER,
        "The task {task} has ended.",
        "Show it with `aliyun-import task show {task} --region {region}`.",
    ),
    _row("CancelTaskFailed", ErrorCode.TASK_NOT_CANCELLED, "The task {task} could not be cancelled."),
    _row("InvalidImageId.NotFound", ErrorCode.IMAGE_MISSING, "The image {image} does not exist in {region}."),
    _row(
        "ImageUsingByInstance",
        ErrorCode.IMAGE_IN_USE,
        "Instances were created from the image {image}.",
        "Delete the image in the console with force, or keep it.",
    ),
    _row(
        "ImageUseShared",
        ErrorCode.IMAGE_IN_USE,
        "The image {image} is shared with other accounts.",
        "Stop sharing it in the console first.",
    ),
    _row(
        "OperationDenied.ImageCopying",
        ErrorCode.IMAGE_IN_USE,
        "The image {image} is being copied.",
        "Wait until the copy is done, then run the same command again.",
    ),
    _row(
        "ImageIsExporting",
        ErrorCode.IMAGE_IN_USE,
        "The image {image} is being exported.",
        "Wait until the export is done, then run the same command again.",
    ),
    _row(
        "OperationConflict",
        ErrorCode.SERVICE_BUSY,
        "ECS still processes an earlier request for the same resource.",
    ),
    _row(
        "LastTokenProcessing",
        ErrorCode.SERVICE_BUSY,
        "ECS still processes the first request with this client token.",
    ),
)

_INSTANCE = (
    _row(
        "OperationDenied.NoStock Zone.NotOnSale InvalidInstanceType.ZoneNotSupported ImageNotSupportInstanceType",
        ErrorCode.INSTANCE_TYPE_UNAVAILABLE,
        "ECS can't start an instance of this type.",
    ),
    _row(
        "InvalidVSwitchId.NotFound InvalidSecurityGroupId.NotFound InvalidParameter.Mismatch",
        ErrorCode.REQUEST_INVALID,
        "ECS can't start an instance in the vSwitch {vswitch} with the security group {group}.",
        "Pass --vswitch and --security-group of one VPC in {region}.",
    ),
    _row(
        "InvalidParameter.NotMatch",
        ErrorCode.INSTANCE_TYPE_UNAVAILABLE,
        "The instance type can't start an image without support for NVMe.",
        "Import the disk with --nvme-support supported if its initramfs has the driver, or pass --vswitch of a "
        "zone with other instance types in stock.",
    ),
    _row("OperationDenied.ImageNotValid", ErrorCode.IMAGE_STATE, "The image {image} can't be started yet."),
    _row("IncorrectInstanceStatus.Initializing", ErrorCode.SERVICE_BUSY, "ECS is still creating the instance."),
)

ECS_ROWS: tuple[ErrorMapping, ...] = (*_REQUEST, *_OBJECT, *_DISK, *_TAGS, *_ACCOUNT, *_STATE, *_INSTANCE)
