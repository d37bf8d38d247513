"""Error codes of OSS.

Sources: the pages of OSS on error responses, endpoints, custom domains and signatures. OSS uses some codes for several
cases; their rows differ in `variant`.
"""

from functools import partial

from aliyun_import.cloud.errors.mapping import ErrorMapping
from aliyun_import.error_codes import ErrorCode

_HOST = ErrorCode.ENDPOINT_HOST.remedy

_row = partial(ErrorMapping, services=("OSS",))


_ACCESS = (
    _row("InvalidAccessKeyId", ErrorCode.ACCESS_KEY_UNKNOWN),
    _row("SignatureDoesNotMatch", ErrorCode.SECRET_WRONG),
    _row(
        "SignatureDoesNotMatch",
        ErrorCode.ENDPOINT_HOST,
        "The domain of --oss-endpoint is not bound to the bucket {bucket}, or the secret is wrong.",
        "Pass the --bucket that the domain is bound to, or the domain of {bucket}; check the secret if that is right.",
        variant="custom domain",
    ),
    _row(
        "RequestTimeTooSkewed",
        ErrorCode.CLOCK_SKEWED,
        "The clock of this machine is {skew} the clock of OSS; the maximum is 15 minutes.",
    ),
    _row("InvalidSecurityToken", ErrorCode.TOKEN_INVALID),
    _row("SecurityTokenExpired", ErrorCode.TOKEN_EXPIRED),
    _row("AccessKeyIdAndSecurityTokenNotMatch", ErrorCode.TOKEN_MISMATCHED),
    _row(
        "SecurityTokenNotSupported",
        ErrorCode.TOKEN_NOT_SUPPORTED,
        "OSS rejects temporary credentials for {operation}.",
    ),
    _row(
        "AccessDenied",
        ErrorCode.NO_RIGHT,
        "These credentials lack the permission for {operation} on the bucket {bucket}.",
        "Ask an administrator to grant the permission {action}; `aliyun-import role policy --bucket {bucket}` prints a "
        "policy with it. If the bucket {bucket} belongs to another account, pass another --bucket.",
    ),
    _row(
        "AccessDenied PermanentRedirect",
        ErrorCode.BUCKET_REGION,
        "The bucket {bucket} is in {bucket_region}, not in {region}.",
        "Pass --region {bucket_region}, or another --bucket: image, bucket and object must be in one region.",
        variant="other region",
    ),
    *(
        _row(
            service_code,
            ErrorCode.BUCKET_REGION,
            "The bucket {bucket} is not reachable through this endpoint.",
            "Pass the --region of the bucket, or another --bucket.",
            variant=variant,
        )
        for service_code, variant in (
            ("AccessDenied", "other endpoint"),
            ("PermanentRedirect", "other endpoint"),
            ("PermanentRedirect", ""),
        )
    ),
    *(
        _row(
            service_code,
            ErrorCode.BUCKET_OWNER,
            "The bucket {bucket} belongs to another account.",
            variant=variant,
        )
        for service_code, variant in (("AccessDenied", "foreign"), ("BucketNotBelongTo", ""))
    ),
    _row("UserDisable", ErrorCode.ACCOUNT_DISABLED),
    _row("BucketDisable", ErrorCode.BUCKET_DISABLED, "The bucket {bucket} is disabled."),
    _row(
        "AbnormalBucketOwnerStatus",
        ErrorCode.ACCOUNT_DISABLED,
        "OSS is disabled for the account that owns the bucket {bucket}.",
        "Pay the owner's bills in the console, or pass another --bucket.",
    ),
)

_ENDPOINT = (
    _row(
        "PublicEndpointForbidden",
        ErrorCode.PUBLIC_ENDPOINT_FORBIDDEN,
        "This account can't use OSS's public endpoint in {region} for data.",
        "Bind a custom domain to the bucket {bucket} and pass --oss-endpoint https://DOMAIN --oss-cname; or run this "
        "on a machine in {region} with --oss-endpoint-type internal; or import in a region outside the mainland and "
        "copy the image. Accounts that started to use OSS before 2025-03-20 are exempt.",
    ),
    _row("SecondLevelDomainForbidden", ErrorCode.ENDPOINT_STYLE),
    _row("NonStandardHostForbidden", ErrorCode.ENDPOINT_HOST),
    _row("InvalidHostPutBucket", ErrorCode.ENDPOINT_HOST, "Buckets can't be created through this endpoint."),
    _row(
        "TransferAccelerationDisabled",
        ErrorCode.ACCELERATION_DISABLED,
        "Transfer acceleration is not enabled for the bucket {bucket}.",
    ),
)

_BUCKET = (
    _row(
        "NoSuchBucket",
        ErrorCode.BUCKET_MISSING,
        "The bucket {bucket} does not exist.",
        "Check --bucket, or leave it out to have one created.",
    ),
    _row("BucketAlreadyExists", ErrorCode.BUCKET_TAKEN, "Another account has a bucket with the name {bucket}."),
    _row("InvalidBucketName", ErrorCode.BUCKET_NAME_INVALID, "The bucket name {bucket} is invalid."),
    _row(
        "TooManyBuckets",
        ErrorCode.QUOTA_EXCEEDED,
        "The account has the maximum number of buckets in {region}.",
        "Pass --bucket with one that exists, or delete one.",
    ),
    _row("BucketNotEmpty", ErrorCode.BUCKET_NOT_EMPTY, "The bucket {bucket} is not empty."),
    _row("NoSuchLifecycle", ErrorCode.LIFECYCLE_MISSING, "The bucket {bucket} has no lifecycle rules."),
    _row(
        "KmsServiceNotEnabled",
        ErrorCode.BUCKET_ENCRYPTED,
        "The bucket {bucket} encrypts with KMS, which is not enabled for the account.",
        "Pass a --bucket without default encryption: ECS can't import from an encrypted one.",
    ),
    _row("InvalidEncryptionAlgorithmError", ErrorCode.REQUEST_INVALID, "OSS does not know the encryption algorithm."),
)

_OBJECT = (
    _row("NoSuchKey", ErrorCode.OBJECT_MISSING, "The object {key} does not exist in the bucket {bucket}."),
    _row("FileAlreadyExists", ErrorCode.OBJECT_EXISTS, "The object {key} already exists in the bucket {bucket}."),
    _row(
        "FileImmutable",
        ErrorCode.OBJECT_IMMUTABLE,
        "A retention policy of the bucket {bucket} protects the object {key}.",
    ),
    _row(
        "InvalidObjectName",
        ErrorCode.KEY_INVALID,
        "The key {key} is invalid.",
        "Pass --key with at most 1023 bytes that does not begin with / or \\.",
    ),
    _row("InvalidObjectState", ErrorCode.OBJECT_ARCHIVED, "The object {key} is archived and can't be read."),
    _row(
        "RestoreAlreadyInProgress",
        ErrorCode.OBJECT_ARCHIVED,
        "The object {key} is being restored from the archive.",
        "Wait until it is restored, then run the same command again.",
    ),
    _row("PreconditionFailed", ErrorCode.OBJECT_CHANGED, "The object {key} has changed since it was checked."),
    _row("InvalidRange", ErrorCode.OBJECT_CHANGED, "The object {key} is shorter than the requested range."),
)

_UPLOAD = (
    _row(
        "NoSuchUpload",
        ErrorCode.UPLOAD_VANISHED,
        "OSS has no such multipart upload to {key}: it was aborted or completed.",
    ),
    _row("InvalidPart", ErrorCode.PART_MISSING, "OSS does not have every part of {key} that it confirmed."),
    _row("FilePartNotExist", ErrorCode.PART_MISSING, "A part of {key} was deleted during the upload."),
    _row("InvalidPartOrder", ErrorCode.REQUEST_INVALID, "The parts of {key} were not in ascending order."),
    _row("EntityTooSmall", ErrorCode.PART_SIZE, "A part of {key} is smaller than 100 KB."),
    _row("EntityTooLarge", ErrorCode.PART_SIZE, "The object {key} is larger than OSS accepts in one request."),
    _row("InlineDataTooLarge", ErrorCode.PART_SIZE, "The object {key} is larger than OSS accepts in one request."),
    _row("InvalidDigest", ErrorCode.PART_CORRUPTED),
    _row("InvalidCRC64", ErrorCode.PART_CORRUPTED),
    _row("IncompleteBody", ErrorCode.CONNECTION_LOST, "OSS received only some of the bytes."),
)

_REQUEST = (
    _row("InvalidArgument", ErrorCode.REQUEST_INVALID, "OSS rejects an argument of {operation}."),
    _row("MissingArgument", ErrorCode.REQUEST_INVALID, "An argument of {operation} is missing."),
    _row("MalformedXML", ErrorCode.REQUEST_INVALID, "OSS can't parse the document of {operation}."),
    _row("MissingContentLength", ErrorCode.REQUEST_INVALID, "A proxy removed the length of the body.", _HOST),
    _row("MethodNotAllowed", ErrorCode.NOT_SUPPORTED, "This store does not support {operation}.", _HOST),
    _row("NotImplemented", ErrorCode.NOT_SUPPORTED, "This store does not support {operation}.", _HOST),
    _row(
        "OperationNotSupported",
        ErrorCode.NOT_SUPPORTED,
        "OSS does not support {operation} for the object {key} in its present state.",
        "Pass another --key or --bucket; an archived or an appendable object can't be used.",
    ),
)

_TRANSIENT = (
    _row("RequestTimeout", ErrorCode.TIMED_OUT, "OSS waited too long for bytes."),
    _row("InternalError", ErrorCode.SERVICE_UNWELL, "OSS has an internal error."),
    _row("ServiceUnavailable", ErrorCode.THROTTLED, "OSS is overloaded."),
    _row(
        "UploadTrafficRateLimitExceeded DownloadTrafficRateLimitExceeded TotalQpsLimitExceeded "
        "MetaOperationQpsLimitExceeded",
        ErrorCode.THROTTLED,
        "OSS limits the rate of requests or bytes.",
        "Lower --jobs, or set --limit-rate.",
    ),
)

OSS_ROWS: tuple[ErrorMapping, ...] = (*_ACCESS, *_ENDPOINT, *_BUCKET, *_OBJECT, *_UPLOAD, *_REQUEST, *_TRANSIENT)
