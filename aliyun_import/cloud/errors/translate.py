"""Translation of unsuccessful answers of the services into errors of this package.

`TABLE` has the rows of the other modules of this folder; docs/errors.md lists it. A code without a row is mapped by
its prefix, then by the HTTP status. Every error keeps the service's code, message and request id.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from aliyun_import.cloud.errors.ecs import ECS_ROWS
from aliyun_import.cloud.errors.mapping import GRANT, ErrorMapping, fill
from aliyun_import.cloud.errors.oss import OSS_ROWS
from aliyun_import.cloud.errors.ram import COMMON_ROWS, RAM_ROWS
from aliyun_import.error_codes import ErrorCode
from aliyun_import.errors import AliyunImportError, TransientError
from aliyun_import.redact import redact
from aliyun_import.services import permissions_of, policy_command

TABLE: tuple[ErrorMapping, ...] = tuple(
    replace(row, service_code=service_code)
    for row in (*OSS_ROWS, *ECS_ROWS, *RAM_ROWS, *COMMON_ROWS)
    for service_code in row.service_code.split()
)
_BY_CODE: Mapping[tuple[str, str, str], ErrorMapping] = {
    (service, row.service_code, row.variant): row for row in TABLE for service in row.services
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Unsuccessful answer of a service.

    code: the service's code; empty if the answer has none, such as an answer to HEAD or from a gateway.
    variant: see ErrorMapping.
    operands: values for summaries and remedies: bucket, key, region, name, role, policy, task, image, vswitch, group.
    skew: the difference between this machine's clock and the service's, such as "20 min 3 s ahead of", if large.
    """

    service: str
    operation: str
    status: int
    code: str
    message: str
    request_id: str
    variant: str = ""
    operands: Mapping[str, str] = field(default_factory=dict)
    skew: str = ""
    retry_after_s: float | None = None


def translate(answer: Refusal) -> AliyunImportError:
    """Return the error for an answer, without secrets."""
    row = _BY_CODE.get((answer.service, answer.code, answer.variant)) or _by_prefix(answer.code) or _by_status(answer)
    message = redact(answer.message).strip()
    action = " and ".join(permissions_of(answer.operation))
    details = {"service": answer.service, "operation": answer.operation, "action": action, **answer.operands}
    operands = {
        **details,
        "bucket_region": details.get("there", ""),  # "there" is its name in the JSON of errors, which is stable
        "skew": answer.skew or "too far from",
        "policy_command": policy_command(answer.operation),
    }
    details |= {"service_code": answer.code, "http_status": str(answer.status), "request_id": answer.request_id}
    known = f"{answer.service} answered {answer.operation} with {answer.code or 'no code'} (HTTP {answer.status})"
    return row.kind(
        fill(row.summary, operands),
        code=row.code,
        cause=f"{known}: {message}" if message else f"{known}.",
        remedy=fill(row.remedy, operands) if row.remedy else None,
        details={name: value for name, value in details.items() if value},
        resumable=issubclass(row.kind, TransientError),
        retry_after_s=answer.retry_after_s,
    )


def is_expired(code: str) -> bool:
    """Return whether a service's code means that the security token has expired."""
    return code in ("SecurityTokenExpired", "InvalidSecurityToken.Expired")


_LACK = "These credentials lack the permission for {operation}."
# The documentation lists only some codes of each of these prefixes.
_BY_PREFIX: tuple[tuple[tuple[str, ...], ErrorMapping], ...] = (
    (("Throttling",), ErrorMapping("", ErrorCode.THROTTLED, "{service} limits the rate of requests.")),
    (("InternalError", "ServiceUnavailable", "UnknownError"), ErrorMapping("", ErrorCode.SERVICE_UNWELL)),
    (("Forbidden", "NoPermission", "AccessDenied"), ErrorMapping("", ErrorCode.NO_RIGHT, _LACK, GRANT)),
    (
        ("InvalidParameter",),
        ErrorMapping("", ErrorCode.REQUEST_INVALID, "{service} rejects a parameter of {operation}."),
    ),
    (("QuotaExceed", "LimitExceeded"), ErrorMapping("", ErrorCode.QUOTA_EXCEEDED)),
)
_RATE_LIMITS = ("RateLimitExceeded", "QpsLimitExceeded")


def _by_prefix(code: str) -> ErrorMapping | None:
    if any(part in code for part in _RATE_LIMITS):
        return ErrorMapping("", ErrorCode.THROTTLED, "{service} limits the rate of requests.")
    return next((row for prefixes, row in _BY_PREFIX if code.startswith(prefixes)), None)


def _by_status(answer: Refusal) -> ErrorMapping:
    refused = "{service} refuses {operation}."
    if answer.status >= 500 or answer.status in (408, 429):
        return ErrorMapping("", ErrorCode.SERVICE_UNWELL, "{service} is unavailable or has an internal error.")
    # ECS also answers 403 for wrong sizes, quotas and states.
    if answer.status in (401, 403) and answer.service != "ECS":
        return ErrorMapping(
            "", ErrorCode.ACCESS_DENIED, refused, "Ask an administrator to grant the permission {action}."
        )
    return ErrorMapping("", ErrorCode.REFUSED, refused)
