"""Error codes of ECS, RAM and STS, with their published HTTP statuses and messages.

Sources: the ImportImage page (English, May 2025, and the older Japanese page), the ECS API reference, the RAM "Error
messages" page, and reports of users for codes that are not on these pages. Spelling mistakes are those of the services.
"%s" is the part of a message that depends on the call.
"""

from collections.abc import Mapping
from types import MappingProxyType

from aliyun_import.sandbox.core.faults import Fault

_NOT_SUPPLIED = 'An input parameter "%s" that is mandatory for processing the request is not supplied.'
_NO_ROLE = (
    "ECS service account Have no right to access your OSS."
    "please attach a role of access your oss to ECS service account."
)

# Common to all services: keys, tokens, signatures, clocks, rates.
_GATEWAY: dict[str, tuple[int, str]] = {
    "MissingParameter": (400, _NOT_SUPPLIED),
    "IncompleteSignature": (400, "The request signature does not conform to Aliyun standards."),
    # The SDK takes the text after the first colon for the string to sign of the server, and fails without a colon.
    "SignatureDoesNotMatch": (
        400,
        "Specified signature is not matched with our calculation. server string to sign is:%s",
    ),
    "SignatureNonceUsed": (400, "Specified signature nonce was used already."),
    "IllegalTimestamp": (400, "Specified time stamp or date value is expired."),
    "InvalidTimeStamp.Expired": (400, "Specified time stamp or date value is expired."),
    # 400 in the old table of common errors, 404 in reports of users.
    "InvalidAccessKeyId.NotFound": (404, "Specified access key is not found."),
    "InvalidAccessKeyId.Inactive": (400, "Specified access key is disabled."),
    "Forbidden.AccessKeyDisabled": (403, "The Access Key is disabled."),
    "MissingSecurityToken": (400, "SecurityToken is mandatory for this action."),
    "InvalidSecurityToken.Expired": (400, "Specified SecurityToken is expired."),
    "InvalidSecurityToken.Malformed": (400, "Specified SecurityToken is malformed."),
    "InvalidSecurityToken.MismatchWithAccessKey": (400, "Specified SecurityToken mismatch with the AccessKey."),
    "Throttling": (400, "Request was denied due to request throttling."),
    "Throttling.User": (400, "Request was denied due to user flow control."),
    "Throttling.Api": (400, "Request was denied due to api flow control."),
    "UnsupportedOperation": (400, "The specified action is not supported."),
    "UnsupportedHTTPMethod": (405, "This http method is not supported."),
    "InsufficientBalance": (400, "Your account does not have enough balance."),
    "OperationConflict": (409, "Request was denied due to conflict with a previous request."),
    "LastTokenProcessing": (403, "The last token request is processing."),
    "Forbidden.RiskControl": (403, "This operation is forbidden by Aliyun RiskControl system."),
    "InternalError": (500, "The request processing has failed due to some unknown error."),
    "ServiceUnavailable": (503, "The request has failed due to a temporary failure of the server."),
    "NotImplementedBySandbox": (501, "The sandbox does not know %s."),
}

_ECS: dict[str, tuple[int, str]] = {
    "Forbidden.RAM": (
        403,
        "User not authorized to operate on the specified resource, or this API doesn't support RAM.",
    ),
    "InvalidRegionId.NotFound": (400, "The specified RegionId does not exist."),
    "RegionId.NotFound": (400, "The specified region is not found."),
    "InvalidRegion.NotSupport": (400, "The specified region does not support image import or export."),
    "IdempotentParameterMismatch": (
        400,
        "The request uses the same client token as a previous, but non-identical request.",
    ),
    "InvalidParameter": (400, 'The specified parameter "%s" is not valid.'),
    "InvalidParameter.Malformed": (403, 'The specified parameter "%s" is not valid.'),
    # ImportImage
    "MissingParameter.DiskDeviceMapping": (403, "The specified parameter DiskDeviceMapping is not supplied."),
    "UnsupportedSuffix.OSSObject": (400, "The specified OSS object suffix is not supported."),
    "InvalidImageName.Malformed": (400, "The specified Image name is wrongly formed."),
    "InvalidImageName.Duplicated": (400, "The destination image is exist."),
    "InvalidDescription.Malformed": (400, "The specified Image description is wrongly formed."),
    "InvalidArchitecture.Malformed": (400, "The specified Architecture is wrongly formed."),
    "InvalidArchitecture.PlatformUnsupported": (
        403,
        "The OS platform you selected does not support the specified architecture.",
    ),
    "InvalidPlatform.Malformed": (400, "The specified Platform is wrongly formed."),
    "InvalidOSType.Malformed": (400, "The specified OSType is wrongly formed."),
    "InvalidBootMode.Malformed": (400, 'The specified parameter "BootMode" is malformed.'),
    "InvalidBootMode.NotSupport": (
        400,
        "The specified parameter BootMode is not supported for current image architecture.",
    ),
    "InvalidImageFormat.Malformed": (400, "The specified Image Format is wrongly formed."),
    "InvalidFormat.Malformed": (400, "The specified Image format is wrongly formed."),
    "InvalidImageFormat.RegionNotSupported": (
        400,
        "The specified image format is not supported in current region.",
    ),
    "InvalidImageSize": (400, "%s"),
    "InvalidDataDiskSize": (
        400,
        "The specified DiskDeviceMapping.N.DiskImSize should be in the specified range.",
    ),
    "InvalidBlockSize.NotSupport": (403, "%s"),
    "InvalidVHDImage.IncorrectSize": (
        403,
        "The specified size of the VHD image does not meet the "
        "'header.MaxTableEntries * header.BlockSize' specification.",
    ),
    "InvalidOSSBucket.Malformed": (400, "The specified OSS bucket is wrongly formed."),
    "InvalidOSSObject.Malformed": (400, "The specified OSS object is wrongly formed."),
    "InvalidOSSBucket.NotFound": (400, "The specified OSS bucket does not exist in this region."),
    "InvalidOSSObject.NotFound": (400, "The specified OSS object does not exist in this region."),
    "InvalidOSSObject.Size": (400, "The specified OSS object size is zero."),
    "InvalidOSSObject.NeedRestore": (
        400,
        "The specified OSS object is a archive object, need restore first.",
    ),
    "InvalidOSSBucket.NotMatched": (400, "The specified OSS bucket is incorrect, %s."),
    "InvalidOSSBucket.FlowLimit": (400, "%s"),
    "InvalidOSSBucket.EncryptUnsupported": (
        403,
        "Accessing objects from encrypted OSS bucket is not supported.",
    ),
    "InvalidOSS.NotAuthorized": (403, "The specified OSS bucket or object is not allowed to access."),
    "InvalidAccountStatus.OSSDisabled": (403, "OSS is disabled due to invalid account status."),
    # The service sends "Acount" with one c, as in the error table. The text of the page has two.
    "NoSetRoletoECSServiceAcount": (403, _NO_ROLE),
    "NoSetRoletoECSServiceAccount": (403, _NO_ROLE),
    "InvalidOperation.CloudBoxImageImportRoleRequired": (
        403,
        "The role for cloud box image import is not set to the ECS service.",
    ),
    "InvalidOperation.CloudBoxImageImportUnsupported": (403, "Importing cloud box images is not supported."),
    "InvalidStorageLocation.NotFound": (403, "The specified cloud box storage location %s could not be found."),
    "InvalidLicenseType.NotSupported": (400, "The specified LicenseType is not supported."),
    "InvalidLicenseType.BYOLOnly": (
        400,
        "Only BYOL LicenseType is supported for the current platform provided.",
    ),
    "InvalidParameter.DetectionStrategy": (400, "The specified parameter DetectionStrategy is invalid."),
    "ImageCheckUnsupported.WindowsImage": (403, "Image check is unsupported for windows image."),
    "InvalidParameter.FeaturesImdsSupport": (
        400,
        "The specified parameter Features.ImdsSupport is not supported.",
    ),
    "InvalidParameter.FeaturesNvmeSupport": (
        400,
        "The specified parameter Features.NvmeSupport is not supported.",
    ),
    "InvalidClientToken.Malformed": (400, "The specified parameter clientToken is not valid."),
    "DRYRUN.SUCCESS": (400, "This request is a dryrun request with successful result."),
    "DryRunOperation": (400, "Request validation has been passed with DryRun flag set."),
    "Account.Arrearage": (400, "Your account has an outstanding payment."),
    "Forbbiden": (400, "User not authorized to operate on the specified resource"),
    "UserNotInTheWhiteList": (403, "The user is not in the white list of importing image."),
    "ImageIsImporting": (403, "The specified Image is importing."),
    "ImportImageFailed": (403, "Importing image is failed, Please contact the administrator."),
    "QuotaExceed.Image": (403, "The Image Quota exceeds."),
    "QuotaExceed.Snapshot": (403, "The maximum number of snapshots is exceeded."),
    "TagKey.Duplication": (403, "The TagKey has duplication with others, case-insensitive."),
    "InvalidResourceGroup.NotFound": (404, "The ResourceGroup provided does not exist in our records."),
    # Tags
    "NumberExceed.Tags": (400, "The Tags parameter number is exceed."),
    "Duplicate.TagKey": (400, "The Tag.N.Key contain duplicate key."),
    "InvalidTagKey.Malformed": (400, "The specified Tag.n.Key is not valid."),
    "InvalidTagValue.Malformed": (400, "The specified Tag.n.Value is not valid."),
    "NoPermission.Tag": (403, "The operator is not permission for the tag."),
    "InvalidResourceType.NotFound": (404, "The ResourceType provided does not exist in our records."),
    "InvalidResourceId.NotFound": (404, "The specified ResourceId is not found."),
    "NumberExceed.ResourceIds": (400, "The ResourceIds parameter's number is exceed."),
    # Copies, shares, snapshots, exports
    "SourceRegion.NotFound": (400, "The source region not found"),
    "DestinationRegion.NotFound": (400, "The destination region not found"),
    "OperationDenied.SameRegionOnly": (
        403,
        "The image shared from others can not be copied to another region directly.",
    ),
    "OperationDenied.NotPublished": (
        403,
        "The operation is denied because corresponding marketplace image is not published in destination region.",
    ),
    "RegionNotSupportCopy": (403, "The region not support copy."),
    "IncorrectDestinationRegion": (403, "The destination region is not equal the target region."),
    "SizeExceed.Image": (
        403,
        "The image exceeds the maximum size. Please open a ticket to add the account to the white list.",
    ),
    "InvalidSnapshot.TooOld": (
        403,
        "This operation is denied because the specified snapshot is created before 2013-07-15.",
    ),
    "OperationDeined.EncryptedSnapshot": (403, "The image contains encrypted snapshots, which do not support share."),
    "InvalidParameter.EncryptedIllegal": (
        400,
        "The specified parameter Encrypted must be true when kmsKeyId is not empty.",
    ),
    "InvalidParameter.KMSKeyId.NotFound": (404, "The specified KMSKeyId does not exist."),
    "InvalidParameter.KMSKeyId.CMKNotEnabled": (403, "The CMK needs to be enabled."),
    "InvalidParameter.KMSKeyId.KMSUnauthorized": (403, "ECS service have no right to access your KMS."),
    "ImageCreatedNotFromCopy": (400, "The specified image is not the target image of a copy action."),
    "CancelNotSupported": (400, "The specified image coping can not be cancelled."),
    "InvalidAccount.NotFound": (
        404,
        'The specified parameter "AddAccount.n" or "RemoveAccount.n" does not exist.',
    ),
    "InvalidAccount.Forbbiden": (404, "The specified Account does not yourself."),
    "QuotaExceed.ShareImage": (403, "The shared Image Quota exceeds."),
    "QuotaExceed.ShareImageUser": (403, "The shared Image user Quota exceeds."),
    # Assumed: the documents contain the limits, but no code.
    "QuotaExceed.ImageFamily": (403, "The image family quota exceeds: %s."),
    "InvalidImageId.BidMismatch": (403, "Cannot share image with other bid user."),
    "InvalidGroup.Malformed": (400, "The specified Group is wrongly formed."),
    "InvalidSnapshotId.NotFound": (404, "The specified snapshot is not found"),
    "InvalidSnapshotIds.Malformed": (403, "The amount of specified specified snapshot Ids exceeds the limit."),
    "SnapshotCreatedImage": (403, "The snapshot has been used to create user defined image(s)."),
    "SnapshotCreatedDisk": (403, "The snapshot has been used to create disk(s)."),
    "Operation.Conflict": (403, "The operation may conflicts with others, please retry later."),
    "InvalidOSSPrefix.Malformed": (400, "The specified OSSPrefix format is wrongly formed."),
    "ImageNotSupported": (400, "The specified Image contains encrypted snapshots, do not support export."),
    "InvalidImage.DiskAmountOrSize": (400, "%s"),
    "ExportImageFailed": (403, "Exporting image is failed, Please contact the administrator."),
    "ConcurrentQuotaExceed.ExportImage": (403, "%s"),
    "InvalidAcceptLanguage.NotFound": (404, "Only Chinese (zh-CN), English (en-US), and Japanese (ja) are allowed."),
    # Instances
    "InvalidInstanceType.ValueNotSupported": (
        400,
        "The specified InstanceType does not exist or beyond the permitted range.",
    ),
    "InvalidAutoReleaseTime.Malformed": (400, "The specified parameter AutoReleaseTime is not valid."),
    "InvalidUserData.SizeExceeded": (400, 'The specified parameter "UserData" exceeds the size.'),
    "InvalidSystemDiskCategory.ValueNotSupported": (
        400,
        'The specified parameter "SystemDisk.Category" is not valid.',
    ),
    "InvalidSystemDiskSize.ValueNotSupported": (400, "The specified parameter SystemDisk.Size is not valid."),
    "InvalidSystemDiskSize.LessThanImageSize": (
        404,
        "The specified parameter SystemDisk.Size is less than the image size.",
    ),
    "InvalidSystemDiskSize.LessThanMinSize": (
        404,
        "The specified parameter SystemDisk.Size is less than the min size.",
    ),
    "InvalidSpotStrategy": (400, "The specified SpotStrategy is not valid."),
    "InvalidSpotDuration": (400, "The specified SpotDuration is not valid."),
    "IoOptimized.NotSupported": (404, "The specified instancetype is not support IoOptimized instance"),
    "InvalidVSwitchId.NotFound": (404, "Specified virtual switch does not exist."),
    "InvalidSecurityGroupId.NotFound": (404, "%s"),
    "InvalidParameter.Mismatch": (400, "%s"),
    "InvalidParameter.NotMatch": (403, "%s"),
    "ImageNotSupportInstanceType": (403, "The specified image does not support the specified InstanceType."),
    "InvalidInstanceType.ZoneNotSupported": (403, "The specified zone does not support this instancetype."),
    "OperationDenied.ImageNotValid": (403, "%s"),
    "OperationDenied.NoStock": (
        403,
        "The requested resource is sold out in the specified zone; "
        "try other types of resources or other regions and zones.",
    ),
    "Zone.NotOnSale": (403, "The specified zone is not available for purchase."),
    "QuotaExceed.ElasticQuota": (
        403,
        "The number of the specified ECS instances has exceeded the quota of the specified instance type.",
    ),
    "ImageNotSupportCloudInit": (403, "The specified image does not support cloud-init."),
    "InvalidAccountStatus.NotEnoughBalance": (403, "Your account does not have enough balance."),
    "InvalidInstanceId.NotFound": (404, "The specified InstanceId does not exist."),
    "InvalidStatus.NotFound": (404, "The specified Status is not found"),
    "IncorrectInstanceStatus": (403, "%s"),
    "IncorrectInstanceStatus.Initializing": (403, "The specified instance status does not support this operation."),
    "NotSupported": (405, "%s"),
    "Invalid.Param": (
        400,
        "The input parameter %s that is mandatory for processing this request is not supplied.",
    ),
    "Invalid.NetworkCategory": (404, "The specified NetworkCategory is not valid."),
    "Invalid.IoOptimized": (404, "The specified IoOptimized is not valid."),
    # Tasks and images
    "InvalidTaskId.NotFound": (400, 'The specified "TaskId" is not found.'),
    "InvalidTaskId.TaskActionNotSupport": (403, "The specified task action not support."),
    "InvalidTaskId.IncorrectTaskStatus": (403, "The specified task status is not invalid."),
    "CancelTaskFailed": (403, "The task is failed to cancel, Please contact the administrator."),
    "InvalidImageId.NotFound": (404, "The specified ImageId does not exist."),
    "ImageUsingByInstance": (403, "The specified image has been used to create instances."),
    "ImageUseShared": (403, "The specified image has been shared to others."),
    "OperationDenied.ImageCopying": (403, "The Image is coping."),
    "ImageIsExporting": (403, "The specified Image is exporting."),
    "IncorrectImageStatus": (400, "The specified image is not available."),
    "InvalidImageOwnerAlias.ValueNotSupported": (400, "The specified ImageOwnerAlias value is not supported."),
    "InvalidParamter": (400, 'The specified parameter "%s" is not valid.'),
    "InvalidTag.Mismatch": (400, "The specified Tag.n.Key and Tag.n.Value are not match."),
    "InvalidTagCount": (400, "The specified tags are beyond the permitted range."),
    "InvalidFilterKey.NotFound": (404, "The specified filter key is not found."),
    "InvalidUsage": (404, "The specified Usage is not valid."),
    "InvalidOSType": (404, "The specified OSType is not valid."),
    "InvalidArchitecture": (404, "The specified Architecture is not valid."),
}

_RAM: dict[str, tuple[int, str]] = {
    "NoPermission": (403, "You are not authorized to do this action.%s"),
    "Inactive": (403, "Your ram service is inactive, please activate it."),
    "EntityNotExist.Role": (404, "The role not exists: %s."),
    "EntityNotExist.User": (404, "The user does not exist."),
    "EntityNotExist.User.Policy": (404, "The policy is not attached to the user: %s."),
    "EntityNotExist.User.AccessKey": (404, "The AccessKey does not exist."),
    "EntityNotExist.Policy.Version": (404, "The policy version does not exist."),
    "EntityAlreadyExists.User": (409, "The user does already EXIST."),
    "EntityAlreadyExists.User.Policy": (409, "The user has already been attached this policy."),
    "DeleteConflict.User.Policy": (409, "The user can not been delete while it has policies attached."),
    "DeleteConflict.User.AccessKey": (409, "The user can not been delete while it has AccessKeys."),
    "DeleteConflict.Policy.Entity": (409, "The policy can not been delete while it has entities attached."),
    "DeleteConflict.Policy.Version": (409, "The policy can not been delete while it has other versions."),
    "DeleteConflict.PolicyVersion.Default": (409, "The default version of the policy can not been delete."),
    "LimitExceeded.User": (409, "The count of users beyond the current limits."),
    "LimitExceeded.User.Policy": (409, "The count of policies attached to the user beyond the current limits."),
    "LimitExceeded.User.AccessKey": (409, "The count of AccessKeys beyond the current limits."),
    "LimitExceeded.Policy.Version": (409, "The count of policy versions beyond the current limits."),
    "InvalidParameter.UserName.InvalidChars": (400, 'The parameter - "UserName" contains invalid chars.'),
    "InvalidParameter.UserName.Length": (400, 'The parameter - "UserName" beyond the length limit.'),
    "InvalidParameter.Comments.Length": (400, 'The parameter - "Comments" beyond the length limit.'),
    "InvalidParameter.RoleArn": (400, "The parameter RoleArn is wrongly formed."),
    "InvalidParameter.RoleSessionName": (400, "The parameter RoleSessionName is wrongly formed."),
    "InvalidParameter.DurationSeconds": (400, "The Min/Max value of DurationSeconds is %s."),
    # AssumeRoleWithOIDC
    "AuthenticationFail.NoPermission": (401, "%s"),
    "AuthenticationFail.OIDCToken.AudienceNotMatch": (401, "Invalid audience."),
    "AuthenticationFail.OIDCToken.Expired": (401, "This JsonWebToken is expired."),
    "AuthenticationFail.OIDCToken.Invalid": (401, "%s"),
    "AuthenticationFail.OIDCToken.InvalidSignature": (401, "OIDC token validate failed: invalid signature."),
    "AuthenticationFail.OIDCToken.IssuerConfigurationBroken": (
        401,
        "Get public keys from OIDC Provider failed, the issuer is %s.",
    ),
    "AuthenticationFail.OIDCToken.IssuerNotMatch": (
        401,
        "The issuer in the OIDC Token doesn't match the OIDC Provider registered.",
    ),
    # OIDC providers. Two of the codes are published, in clients; the messages are not.
    "EntityNotExist.OIDCProvider": (404, "The OIDC provider does not exist."),
    "EntityAlreadyExists.OIDCProvider": (409, "The OIDC provider does already EXIST."),
    "EntityAlreadyExists.OIDCProvider.Url": (409, "The issuer does already have an OIDC provider."),
    "LimitExceeded.OIDCProvider": (409, "The count of OIDC providers beyond the current limits."),
    "InvalidParameter.OIDCProviderName.InvalidChars": (
        400,
        'The parameter - "OIDCProviderName" contains invalid chars.',
    ),
    "InvalidParameter.OIDCProviderName.Length": (400, 'The parameter - "OIDCProviderName" beyond the length limit.'),
    "InvalidParameter.IssuerUrl": (400, 'The parameter - "IssuerUrl" is not valid.'),
    "InvalidParameter.PolicyGrammar": (400, "The parameter Policy has not passed grammar check."),
    "InvalidParameter.PolicySize": (400, "The size of Policy must be smaller than %s."),
    "EntityNotExist.Policy": (404, "The policy does not exist."),
    "EntityNotExist.Role.Policy": (404, "The policy is not attached to the role: %s."),
    # The messages of these four are not published; they follow those of similar codes.
    "EntityAlreadyExists.Role": (409, "The role does already EXIST."),
    "EntityAlreadyExists.Role.Policy": (409, "The role has already been attached this policy."),
    "EntityAlreadyExists.Policy": (409, "The policy does already EXIST."),
    "DeleteConflict.Role.Policy": (409, "The role can not been delete while it has policies attached."),
    "LimitExceeded.Role": (409, "The count of roles beyond the current limits."),
    "LimitExceeded.Role.Policy": (409, "The count of policies attached to the role beyond the current limits."),
    "LimitExceeded.Policy": (409, "The count of policy beyond the current limits."),
    "MalformedPolicyDocument": (400, "%s"),
    "InvalidParameter.RoleName.InvalidChars": (400, 'The parameter - "RoleName" contains invalid chars.'),
    "InvalidParameter.RoleName.Length": (400, 'The parameter - "RoleName" beyond the length limit.'),
    "InvalidParameter.PolicyName.InvalidChars": (400, 'The parameter - "PolicyName" contains invalid chars.'),
    "InvalidParameter.PolicyName.Length": (400, 'The parameter - "PolicyName" beyond the length limit.'),
    "InvalidParameter.PolicyDocument.Length": (400, 'The parameter - "PolicyDocument" beyond the length limit.'),
    "InvalidParameter.Description.Length": (400, 'The parameter - "Description" beyond the length limit.'),
    "InvalidParameter.MaxSessionDuration": (400, "The MaxSessionDuration must be between 3600 and 43200."),
    "InvalidParameter.PolicyType": (400, 'The parameter - "PolicyType" is not valid.'),
}

# All codes with which a rule or a fault refuses a call.
REFUSALS: Mapping[str, tuple[int, str]] = MappingProxyType(_GATEWAY | _ECS | _RAM)


class Refusal(Exception):
    """Refusal of a call, with the code, message and HTTP status of the service."""

    def __init__(self, code: str, detail: str = "", *, status: int | None = None) -> None:
        """Take status and message from the table. `detail` replaces "%s" in the message.

        `status` overrides the status for calls that answer the code with another one.
        """
        table_status, message = REFUSALS[code]
        self.code = code
        self.status = table_status if status is None else status
        self.message = message.replace("%s", detail)
        super().__init__(f"{code}: {self.message}")


def fault(operation: str, code: str, *, detail: str = "", nth: int = 1, count: int | None = 1) -> Fault:
    """Return a fault that answers an operation with a code of the table, its message and its status."""
    refused = Refusal(code, detail)
    return Fault(operation=operation, nth=nth, count=count, status=refused.status, code=code, message=refused.message)
