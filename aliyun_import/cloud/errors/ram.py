"""Error codes of RAM, and codes that all RPC services share.

Sources: "Error messages" of RAM; "Common error codes" of ECS, whose gateway is the same.
"""

from functools import partial

from aliyun_import.cloud.errors.mapping import ErrorMapping
from aliyun_import.error_codes import ErrorCode

_ram = partial(ErrorMapping, services=("RAM",))

_common = partial(ErrorMapping, services=("ECS", "RAM", "STS", "VPC"))


RAM_ROWS: tuple[ErrorMapping, ...] = (
    _ram("EntityNotExist.Role", ErrorCode.ROLE_MISSING, "The role {role} does not exist."),
    _ram("EntityNotExist.Policy", ErrorCode.POLICY_MISSING, "The policy {policy} does not exist."),
    _ram("EntityAlreadyExists.Role", ErrorCode.ROLE_EXISTS, "The role {role} already exists."),
    _ram(
        "EntityAlreadyExists.Role.Policy",
        ErrorCode.POLICY_ATTACHED,
        "The policy {policy} is already attached to the role {role}.",
    ),
    _ram("EntityAlreadyExists.Policy", ErrorCode.POLICY_EXISTS, "The policy {policy} already exists."),
    _ram(
        "EntityNotExist.Role.Policy",
        ErrorCode.POLICY_NOT_ATTACHED,
        "The policy {policy} is not attached to the role {role}.",
    ),
    _ram(
        "LimitExceeded.Role",
        ErrorCode.QUOTA_EXCEEDED,
        "The account has the maximum number of roles.",
        "Delete a role that is not needed, or have the quota raised in the Quota Center.",
    ),
    _ram(
        "LimitExceeded.Role.Policy",
        ErrorCode.QUOTA_EXCEEDED,
        "The role {role} has the maximum number of policies.",
        "Detach a policy that is not needed from the role {role}.",
    ),
    _ram(
        "LimitExceeded.Policy",
        ErrorCode.QUOTA_EXCEEDED,
        "The account has the maximum number of policies.",
        "Delete a policy that is not needed.",
    ),
    _ram(
        "NoPermission",
        ErrorCode.NO_RIGHT,
        "These credentials lack the permission for {operation}.",
        "Ask an administrator to run `aliyun-import role ensure` once, or to grant the permission {action}; "
        "`{policy_command}` prints a policy with it.",
    ),
    _ram("Inactive", ErrorCode.RAM_INACTIVE),
    _ram(
        "MalformedPolicyDocument",
        ErrorCode.POLICY_MALFORMED,
        remedy="Check the trust policy of the role {role}; `aliyun-import role policy` prints a valid policy.",
    ),
    _ram(
        "InvalidParameter.RoleName.InvalidChars InvalidParameter.RoleName.Length",
        ErrorCode.ROLE_NAME_INVALID,
        "The role name {role} is invalid.",
        "Pass --role-name with 1 to 64 letters, digits, periods and hyphens.",
    ),
)

COMMON_ROWS: tuple[ErrorMapping, ...] = (
    _common("InvalidAccessKeyId.NotFound", ErrorCode.ACCESS_KEY_UNKNOWN),
    _common("InvalidAccessKeyId.Inactive", ErrorCode.ACCESS_KEY_DISABLED),
    _common("Forbidden.AccessKeyDisabled", ErrorCode.ACCESS_KEY_DISABLED),
    _common("SignatureDoesNotMatch", ErrorCode.SECRET_WRONG),
    _common("InvalidAccessKeySecret", ErrorCode.SECRET_WRONG),
    _common("InvalidSecurityToken.Expired", ErrorCode.TOKEN_EXPIRED),
    _common("InvalidSecurityToken.Malformed", ErrorCode.TOKEN_INVALID),
    _common("InvalidSecurityToken.MismatchWithAccessKey", ErrorCode.TOKEN_MISMATCHED),
    _common("MissingSecurityToken", ErrorCode.TOKEN_MISSING),
    _common(
        "IllegalTimestamp InvalidTimeStamp.Expired",
        ErrorCode.CLOCK_SKEWED,
        "The clock of this machine is {skew} the clock of {service}; the maximum is 15 minutes.",
    ),
    _common("SignatureNonceUsed", ErrorCode.REQUEST_REPEATED),
    _common("IncompleteSignature", ErrorCode.REQUEST_INVALID, "The signature of {operation} is incomplete."),
    _common("MissingParameter", ErrorCode.REQUEST_INVALID, "A parameter of {operation} is missing."),
    _common("UnsupportedOperation", ErrorCode.NOT_SUPPORTED, "{service} does not support {operation}."),
    _common("UnsupportedHTTPMethod", ErrorCode.NOT_SUPPORTED, "{service} does not support the HTTP method."),
    _common(
        "Throttling Throttling.User Throttling.Api",
        ErrorCode.THROTTLED,
        "{service} limits the rate of requests.",
        "Wait a minute and run the same command again; it resumes where it stopped.",
    ),
    # A call with the same client token is still running.
    _common("IdempotentProcessing", ErrorCode.SERVICE_UNWELL, "{service} still processes an earlier {operation}."),
    _common(
        "InternalError ServiceUnavailable",
        ErrorCode.SERVICE_UNWELL,
        "{service} is unavailable or has an internal error.",
    ),
)
