"""This file holds RAM's part of the table of answers, and what all RPC services answer alike.

Codes: "Error messages" of RAM, "Common error codes" of ECS, whose gateway is the same.
"""

from aliyun_import.cloud.errors.mapping import ErrorMapping
from aliyun_import.errors import (
    AccessError,
    AliyunImportError,
    PermissionDenied,
    RefusedError,
    RoleExists,
    Throttled,
    TransientError,
)

_AGAIN = "Run the same command again; it goes on where it stopped."
_BUG = "Please report this with the request id: the tool should not have sent such a request."
_RENEW = "Renew the credentials, and run the same command again; it goes on where it stopped."
_KEY = "Check ALIBABA_CLOUD_ACCESS_KEY_ID or the profile, and the key's state in the RAM console."
_SECRET = "Check ALIBABA_CLOUD_ACCESS_KEY_SECRET or the profile; the access key itself exists."  # noqa: S105


def _ram(code: str, kind: type[AliyunImportError], ours: str, means: str, remedy: str | None) -> ErrorMapping:
    return ErrorMapping(code=code, kind=kind, ours=ours, means=means, remedy=remedy, services=("RAM",))


def _common(code: str, kind: type[AliyunImportError], ours: str, means: str, remedy: str | None) -> ErrorMapping:
    return ErrorMapping(code=code, kind=kind, ours=ours, means=means, remedy=remedy, services=("ECS", "RAM", "STS"))


RAM_ROWS: tuple[ErrorMapping, ...] = (
    _ram(
        "EntityNotExist.Role",
        RefusedError,
        "role-missing",
        "There is no role {role}.",
        "Run `aliyun-import role ensure`, which makes it.",
    ),
    _ram(
        "EntityNotExist.Policy",
        RefusedError,
        "policy-missing",
        "There is no policy {policy}.",
        "Check the name of the policy; AliyunECSImageImportRolePolicy is a system policy and need not be made.",
    ),
    _ram(
        "EntityAlreadyExists.Role",
        RoleExists,
        "role-exists",
        "There is a role {role} already.",
        "Run the same command again; it uses the role that is there.",
    ),
    _ram(
        "EntityAlreadyExists.Role.Policy",
        RefusedError,
        "policy-attached",
        "The policy {policy} is attached to {role} already.",
        None,
    ),
    _ram(
        "EntityAlreadyExists.Policy",
        RefusedError,
        "policy-exists",
        "There is a policy {policy} already.",
        None,
    ),
    _ram(
        "EntityNotExist.Role.Policy",
        RefusedError,
        "policy-not-attached",
        "The policy {policy} is not attached to {role}.",
        None,
    ),
    _ram(
        "LimitExceeded.Role",
        RefusedError,
        "quota-exceeded",
        "The account has as many roles as it may have.",
        "Delete a role that is not needed, or have the quota raised in the Quota Center.",
    ),
    _ram(
        "LimitExceeded.Role.Policy",
        RefusedError,
        "quota-exceeded",
        "The role {role} has as many policies as it may have.",
        "Detach a policy of {role} that is not needed.",
    ),
    _ram(
        "LimitExceeded.Policy",
        RefusedError,
        "quota-exceeded",
        "The account has as many policies as it may have.",
        "Delete a policy that is not needed.",
    ),
    _ram(
        "NoPermission",
        PermissionDenied,
        "no-right",
        "These credentials may not do {operation}.",
        "Have an administrator run `aliyun-import role ensure` once, or grant {action}; `aliyun-import role policy` "
        "prints a policy with it.",
    ),
    _ram(
        "Inactive",
        AccessError,
        "ram-inactive",
        "RAM is not activated for the account.",
        "Activate RAM in the console, which costs nothing.",
    ),
    _ram(
        "MalformedPolicyDocument",
        RefusedError,
        "policy-malformed",
        "RAM can't read a policy: {message}",
        "Check the trust policy of {role}; `aliyun-import role policy` prints a right one.",
    ),
    _ram(
        "InvalidParameter.RoleName.InvalidChars",
        RefusedError,
        "role-name-invalid",
        "RAM does not take the role name {role}.",
        "Pass --role-name with 1 to 64 letters, digits, periods and hyphens.",
    ),
    _ram(
        "InvalidParameter.RoleName.Length",
        RefusedError,
        "role-name-invalid",
        "RAM does not take the role name {role}.",
        "Pass --role-name with 1 to 64 letters, digits, periods and hyphens.",
    ),
)

COMMON_ROWS: tuple[ErrorMapping, ...] = (
    _common(
        "InvalidAccessKeyId.NotFound",
        AccessError,
        "access-key-unknown",
        "{service} does not know the access key.",
        _KEY,
    ),
    _common("InvalidAccessKeyId.Inactive", AccessError, "access-key-disabled", "The access key is disabled.", _KEY),
    _common("Forbidden.AccessKeyDisabled", AccessError, "access-key-disabled", "The access key is disabled.", _KEY),
    _common(
        "SignatureDoesNotMatch", AccessError, "secret-wrong", "The secret does not belong to the access key.", _SECRET
    ),
    _common(
        "InvalidAccessKeySecret", AccessError, "secret-wrong", "The secret does not belong to the access key.", _SECRET
    ),
    _common("InvalidSecurityToken.Expired", AccessError, "token-expired", "The security token has expired.", _RENEW),
    _common("InvalidSecurityToken.Malformed", AccessError, "token-invalid", "The security token is not valid.", _RENEW),
    _common(
        "InvalidSecurityToken.MismatchWithAccessKey",
        AccessError,
        "token-mismatched",
        "The access key and the security token do not belong together.",
        "Set key, secret and token from the same answer of STS.",
    ),
    _common(
        "MissingSecurityToken",
        AccessError,
        "token-missing",
        "The access key is a temporary one, and its security token is missing.",
        "Set ALIBABA_CLOUD_SECURITY_TOKEN as well.",
    ),
    *(
        _common(
            code,
            AccessError,
            "clock-skewed",
            "The clock of this machine is {skew} the clock of {service}; it may be 15 minutes off at most.",
            "Set the clock of this machine, for example with NTP, and run the same command again.",
        )
        for code in ("IllegalTimestamp", "InvalidTimeStamp.Expired")
    ),
    _common(
        "SignatureNonceUsed", TransientError, "request-repeated", "{service} has seen this very request before.", _AGAIN
    ),
    _common("IncompleteSignature", RefusedError, "request-invalid", "{service} misses part of the signature.", _BUG),
    _common("MissingParameter", RefusedError, "request-invalid", "{service} misses a parameter: {message}", _BUG),
    _common("UnsupportedOperation", RefusedError, "not-supported", "{service} does not do {operation}.", _BUG),
    _common(
        "UnsupportedHTTPMethod", RefusedError, "not-supported", "{service} does not take the request that way.", _BUG
    ),
    *(
        _common(
            code,
            Throttled,
            "throttled",
            "{service} asks to be asked less often.",
            "Wait a minute and run the same command again; it goes on where it stopped.",
        )
        for code in ("Throttling", "Throttling.User", "Throttling.Api")
    ),
    *(
        _common(code, TransientError, "service-unwell", "{service} has trouble of its own.", _AGAIN)
        for code in ("InternalError", "ServiceUnavailable")
    ),
)
