"""This file holds OSS's part of the table of answers.

Codes: the "HTTP status code" pages of OSS's error responses and its pages on endpoints, custom domains and signatures.
OSS says AccessDenied to three things; the variants of its row tell them apart.
"""

from aliyun_import.cloud.errors.mapping import ErrorMapping
from aliyun_import.errors import (
    AccessError,
    AliyunImportError,
    BucketMissing,
    ConnectionLost,
    ObjectExists,
    ObjectMissing,
    PartCorrupted,
    PermissionDenied,
    RefusedError,
    Throttled,
    TimedOut,
    TransientError,
    UploadNotFound,
)

_AGAIN = "Run the same command again; it goes on where it stopped."
_BUG = "Please report this with the request id: the tool should not have sent such a request."
_BUCKET = "Pass another --bucket, or leave it out to have one made."
_HOST = (
    "Leave --oss-endpoint out, pass --oss-cname with it if it is a custom domain, or give one of OSS's own endpoints."
)
_RENEW = "Renew the credentials, and run the same command again; it goes on where it stopped."


def _row(
    code: str, kind: type[AliyunImportError], ours: str, means: str, remedy: str | None, *, variant: str = ""
) -> ErrorMapping:
    return ErrorMapping(code=code, kind=kind, ours=ours, means=means, remedy=remedy, services=("OSS",), variant=variant)


OSS_ROWS: tuple[ErrorMapping, ...] = (
    # Who asks
    _row(
        "InvalidAccessKeyId",
        AccessError,
        "access-key-unknown",
        "OSS does not know the access key, or it is disabled.",
        "Check ALIBABA_CLOUD_ACCESS_KEY_ID or the profile, and the key's state in the RAM console.",
    ),
    _row(
        "SignatureDoesNotMatch",
        AccessError,
        "secret-wrong",
        "The secret does not belong to the access key.",
        "Check ALIBABA_CLOUD_ACCESS_KEY_SECRET or the profile; the access key itself exists.",
    ),
    _row(
        "RequestTimeTooSkewed",
        AccessError,
        "clock-skewed",
        "The clock of this machine is {skew} the clock of OSS; it may be 15 minutes off at most.",
        "Set the clock of this machine, for example with NTP, and run the same command again.",
    ),
    _row("InvalidSecurityToken", AccessError, "token-invalid", "The security token is not valid.", _RENEW),
    _row("SecurityTokenExpired", AccessError, "token-expired", "The security token has expired.", _RENEW),
    _row(
        "AccessKeyIdAndSecurityTokenNotMatch",
        AccessError,
        "token-mismatched",
        "The access key and the security token do not belong together.",
        "Set key, secret and token from the same answer of STS.",
    ),
    _row(
        "SecurityTokenNotSupported",
        AccessError,
        "token-not-supported",
        "OSS does not take temporary credentials for {operation}.",
        "Use a long-lived access key for this run.",
    ),
    _row(
        "AccessDenied",
        PermissionDenied,
        "no-right",
        "These credentials may not do {operation} on {bucket}.",
        "Have an administrator grant {action}; `aliyun-import role policy --bucket {bucket}` prints a policy with it. "
        "If {bucket} belongs to another account, pass another --bucket.",
    ),
    *(
        _row(
            code,
            RefusedError,
            "bucket-region",
            "The bucket {bucket} is in {there}, not in {region}.",
            "Pass --region {there}, or another --bucket: image, bucket and object must be in one region.",
            variant="other region",
        )
        for code in ("AccessDenied", "PermanentRedirect")
    ),
    *(
        _row(code, AccessError, "bucket-owner", "The bucket {bucket} belongs to another account.", _BUCKET, variant=one)
        for code, one in (("AccessDenied", "foreign"), ("BucketNotBelongTo", ""))
    ),
    _row(
        "PermanentRedirect",
        RefusedError,
        "bucket-region",
        "The bucket {bucket} is not reached through this endpoint.",
        "Pass the --region of the bucket, or another --bucket.",
    ),
    _row(
        "UserDisable",
        AccessError,
        "account-disabled",
        "The account may not use OSS at present; it is probably in debt.",
        "Settle the account's bills in the console, then run the same command again.",
    ),
    _row("BucketDisable", AccessError, "bucket-disabled", "The bucket {bucket} is disabled.", _BUCKET),
    _row(
        "AbnormalBucketOwnerStatus",
        AccessError,
        "account-disabled",
        "The account that owns {bucket} may not use OSS at present.",
        "Settle the owner's bills in the console, or pass another --bucket.",
    ),
    # Which way
    _row(
        "PublicEndpointForbidden",
        RefusedError,
        "public-endpoint-forbidden",
        "OSS does not let this account move data through its public endpoint in {region}; that holds for accounts "
        "that began with OSS after 2025-03-20, in mainland regions.",
        "Bind a custom domain to {bucket} and pass --oss-endpoint https://DOMAIN --oss-cname; or run this on a machine "
        "in {region} with --oss-endpoint-type internal; or import in a region outside the mainland and copy the image.",
    ),
    _row(
        "SecondLevelDomainForbidden",
        RefusedError,
        "endpoint-style",
        "OSS does not take the bucket's name in the path at this endpoint.",
        "Give OSS's own endpoint with --oss-endpoint; --endpoint-url is for a sandbox.",
    ),
    _row(
        "NonStandardHostForbidden", RefusedError, "endpoint-host", "OSS does not serve this bucket at this host.", _HOST
    ),
    _row(
        "InvalidHostPutBucket", RefusedError, "endpoint-host", "No bucket can be created through this endpoint.", _HOST
    ),
    _row(
        "TransferAccelerationDisabled",
        RefusedError,
        "acceleration-disabled",
        "Transfer acceleration is not enabled for {bucket}.",
        "Enable it for the bucket in the console (it costs extra), or pass --oss-endpoint-type public.",
    ),
    # The bucket
    _row(
        "NoSuchBucket",
        BucketMissing,
        "bucket-missing",
        "There is no bucket {bucket}.",
        "Check --bucket, or leave it out to have one made.",
    ),
    _row(
        "BucketAlreadyExists",
        RefusedError,
        "bucket-taken",
        "The bucket name {bucket} is taken by another account.",
        "Pass another --bucket: bucket names are shared by all accounts.",
    ),
    _row("InvalidBucketName", RefusedError, "bucket-name-invalid", "{bucket} can't be the name of a bucket.", _BUCKET),
    _row(
        "TooManyBuckets",
        RefusedError,
        "quota-exceeded",
        "The account has as many buckets in {region} as it may have.",
        "Pass --bucket with one that exists, or delete one.",
    ),
    _row("BucketNotEmpty", RefusedError, "bucket-not-empty", "The bucket {bucket} is not empty.", None),
    _row("NoSuchLifecycle", RefusedError, "lifecycle-missing", "The bucket {bucket} has no lifecycle rules.", None),
    _row(
        "KmsServiceNotEnabled",
        RefusedError,
        "bucket-encrypted",
        "The bucket {bucket} encrypts with KMS, which is not enabled for the account.",
        "Pass a --bucket without default encryption: ECS can't import from an encrypted one.",
    ),
    _row(
        "InvalidEncryptionAlgorithmError", RefusedError, "request-invalid", "OSS does not know this encryption.", _BUG
    ),
    # The object
    _row(
        "NoSuchKey",
        ObjectMissing,
        "object-missing",
        "There is no object {key} in {bucket}.",
        "Check the key, or push the disk again.",
    ),
    _row(
        "FileAlreadyExists",
        ObjectExists,
        "object-exists",
        "There is an object {key} in {bucket} already.",
        "Pass another --key, or remove that object if it is not needed.",
    ),
    _row(
        "FileImmutable",
        RefusedError,
        "object-immutable",
        "The object {key} is kept by a retention policy of {bucket}.",
        "Pass another --key, or a --bucket without a retention policy.",
    ),
    _row(
        "InvalidObjectName",
        RefusedError,
        "key-invalid",
        "{key} can't be the key of an object.",
        "Pass --key with at most 1023 bytes that does not begin with / or \\.",
    ),
    _row(
        "InvalidObjectState",
        RefusedError,
        "object-archived",
        "The object {key} is archived and can't be read.",
        "Restore the object in the console first, or upload the disk again.",
    ),
    _row(
        "RestoreAlreadyInProgress",
        RefusedError,
        "object-archived",
        "The object {key} is being restored from the archive.",
        "Wait until it is restored, then run the same command again.",
    ),
    _row(
        "PreconditionFailed",
        RefusedError,
        "object-changed",
        "The object {key} is not what it was when it was looked at.",
        "Run the same command again; it looks at the object anew.",
    ),
    _row(
        "InvalidRange",
        RefusedError,
        "object-changed",
        "The object {key} is shorter than the range that was asked for.",
        "Run the same command again; it looks at the object anew.",
    ),
    # The upload
    _row(
        "NoSuchUpload",
        UploadNotFound,
        "upload-vanished",
        "OSS does not know the upload to {key} any more: it was aborted or completed.",
        "Run the same command again; it begins a new upload.",
    ),
    _row(
        "InvalidPart",
        RefusedError,
        "part-missing",
        "OSS does not have every part of {key} as it was confirmed.",
        "Run the same command again; it lists the parts anew and sends what is missing.",
    ),
    _row("InvalidPartOrder", RefusedError, "request-invalid", "The parts of {key} were not in order.", _BUG),
    _row(
        "FilePartNotExist",
        RefusedError,
        "part-missing",
        "A part of {key} was deleted meanwhile.",
        "Run the same command again; it lists the parts anew and sends what is missing.",
    ),
    _row("EntityTooSmall", RefusedError, "part-size", "A part of {key} is smaller than 100 KB.", _BUG),
    _row("EntityTooLarge", RefusedError, "part-size", "{key} is larger than OSS takes in one piece.", _BUG),
    _row("InlineDataTooLarge", RefusedError, "part-size", "{key} is larger than OSS takes in one piece.", _BUG),
    _row("InvalidDigest", PartCorrupted, "part-corrupted", "The bytes that OSS received are not those sent.", _AGAIN),
    _row("InvalidCRC64", PartCorrupted, "part-corrupted", "The bytes that OSS received are not those sent.", _AGAIN),
    _row("IncompleteBody", ConnectionLost, "connection-lost", "OSS received a part of the bytes only.", _AGAIN),
    # The request
    _row("InvalidArgument", RefusedError, "request-invalid", "OSS does not take a value of {operation}.", _BUG),
    _row("MissingArgument", RefusedError, "request-invalid", "OSS misses a value of {operation}.", _BUG),
    _row("MalformedXML", RefusedError, "request-invalid", "OSS can't read the document of {operation}.", _BUG),
    _row("MissingContentLength", RefusedError, "request-invalid", "A proxy took the length of the body away.", _HOST),
    _row("MethodNotAllowed", RefusedError, "not-supported", "This store does not do {operation}.", _HOST),
    _row("NotImplemented", RefusedError, "not-supported", "This store does not do {operation}.", _HOST),
    _row(
        "OperationNotSupported",
        RefusedError,
        "not-supported",
        "OSS does not do {operation} with {key} as it is.",
        "Pass another --key or --bucket; an archived or an appendable object can't be used.",
    ),
    # Passing trouble
    _row("RequestTimeout", TimedOut, "timed-out", "OSS waited too long for bytes.", _AGAIN),
    _row("InternalError", TransientError, "service-unwell", "OSS has trouble of its own.", _AGAIN),
    _row("ServiceUnavailable", Throttled, "throttled", "OSS is too busy at present.", _AGAIN),
    *(
        _row(
            code,
            Throttled,
            "throttled",
            "OSS asks to be sent less at a time.",
            "Lower --jobs, or set --limit-rate.",
        )
        for code in (
            "UploadTrafficRateLimitExceeded",
            "DownloadTrafficRateLimitExceeded",
            "TotalQpsLimitExceeded",
            "MetaOperationQpsLimitExceeded",
        )
    ),
)
