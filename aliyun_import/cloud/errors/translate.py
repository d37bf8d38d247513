"""This file turns every answer of the services that is not a success into one of our errors.

There is one table, made of the rows of `answers_oss`, `answers_import`, `answers_ecs` and
`answers_ram`; docs/errors.md shows it. A code
that has no row falls to a rule for its family, then for its HTTP status, and keeps its own words. Nothing here
returns normally for a refusal: the caller raises what it is given.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from aliyun_import.cloud.actions import action_of
from aliyun_import.cloud.errors.ecs import ECS_ROWS
from aliyun_import.cloud.errors.import_image import IMPORT_ROWS
from aliyun_import.cloud.errors.mapping import ErrorMapping, fill
from aliyun_import.cloud.errors.oss import OSS_ROWS
from aliyun_import.cloud.errors.ram import COMMON_ROWS, RAM_ROWS
from aliyun_import.errors import (
    AliyunImportError,
    PermissionDenied,
    RefusedError,
    Throttled,
    TransientError,
)
from aliyun_import.redact import redact

TABLE: tuple[ErrorMapping, ...] = (*OSS_ROWS, *IMPORT_ROWS, *ECS_ROWS, *RAM_ROWS, *COMMON_ROWS)
_BY_CODE: Mapping[tuple[str, str, str], ErrorMapping] = {
    (service, row.code, row.variant): row for row in TABLE for service in row.services
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A refusal as it came: who gave it, to which operation, and in which words.

    `operands` are the values that the sentences name: bucket, key, region, name, role, policy, task, image. `skew` says
    how far this machine's clock is from the service's ("20 min 3 s ahead of"), where it is far. `variant` tells apart
    what a service says with one code.
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


def translate(answer: Answer) -> AliyunImportError:
    """Give our error for a refusal. It holds the service's code, message and request id, and no secret."""
    row = _BY_CODE.get((answer.service, answer.code, answer.variant)) or _family(answer) or _by_status(answer)
    message = redact(answer.message).strip()
    action = action_of(answer.service, answer.operation)
    details = {"service": answer.service, "operation": answer.operation, "action": action, **answer.operands}
    operands = {name: value for name, value in details.items() if value}
    operands |= {"message": message, "skew": answer.skew or "too far from"}
    details |= {"service_code": answer.code, "http_status": str(answer.status), "request_id": answer.request_id}
    known = f"{answer.service} answered {answer.operation} with {answer.code or 'no code'} (HTTP {answer.status})"
    return row.kind(
        fill(row.means, operands),
        code=row.ours,
        cause=f"{known}: {message}" if message else f"{known}.",
        remedy=fill(row.remedy, operands) if row.remedy else None,
        details={name: value for name, value in details.items() if value},
        resumable=issubclass(row.kind, TransientError),
        retry_after_s=answer.retry_after_s,
    )


def is_expired(code: str) -> bool:
    """Tell whether a service's code says that the security token has expired, so that a new one may help."""
    return code in ("SecurityTokenExpired", "InvalidSecurityToken.Expired")


def _family(answer: Answer) -> ErrorMapping | None:
    """Find a rule for codes that come in families, of which the documents list only some."""
    code = answer.code
    if code.startswith("Throttling") or "RateLimitExceeded" in code or "QpsLimitExceeded" in code:
        return _row(code, Throttled, "throttled", "{service} asks to be asked less often.", _AGAIN)
    if code.startswith(("InternalError", "ServiceUnavailable", "UnknownError")):
        return _row(code, TransientError, "service-unwell", "{service} has trouble of its own.", _AGAIN)
    if code.startswith(("Forbidden", "NoPermission", "AccessDenied")):
        return _row(code, PermissionDenied, "no-right", "These credentials may not do this ({action}).", _GRANT)
    if code.startswith("InvalidParameter"):
        return _row(code, RefusedError, "request-invalid", "{service} does not take a parameter: {message}", _READ)
    if code.startswith(("QuotaExceed", "LimitExceeded")):
        return _row(code, RefusedError, "quota-exceeded", "A quota of the account is used up.", _QUOTA)
    return None


def _by_status(answer: Answer) -> ErrorMapping:
    status, means = answer.status, "{service} refused {operation}: {message}"
    if status >= 500 or status in (408, 429):
        return _row(answer.code, TransientError, "service-unwell", "{service} has trouble of its own.", _AGAIN)
    # ECS says 403 to much that has nothing to do with rights: sizes, quotas, states.
    if status in (401, 403) and answer.service != "ECS":
        return _row(answer.code, PermissionDenied, "access-denied", means, _GRANT)
    return _row(answer.code, RefusedError, "refused", means, _READ)


def _row(code: str, kind: type[AliyunImportError], ours: str, means: str, remedy: str) -> ErrorMapping:
    return ErrorMapping(code=code, kind=kind, ours=ours, means=means, remedy=remedy)


_AGAIN = "Run the same command again; it goes on where it stopped."
_GRANT = "Have an administrator grant {action}; `aliyun-import role policy` prints a policy with it."
_QUOTA = "Delete what is not needed any more, or have the quota raised in the console's Quota Center."
_READ = "Read the service's own words above; with the request id its support can tell more."
