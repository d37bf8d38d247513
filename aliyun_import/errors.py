"""Exceptions of the package, grouped by exit code.

    AliyunImportError        code, exit_code, summary, cause, remedy, details, resumable
    ├── UsageError       2   the command line or a setting is invalid
    ├── DiskError        3   fix or convert the disk
    ├── AccessError      4   fix credentials or permissions
    ├── RefusedError     5   change the request
    ├── TransientError   6   transient failure: network error, throttling, service unavailable; run the command again
    ├── ImportFailed     7   the import itself failed: read the service's reason
    ├── StillRunning     8   the import continues: `aliyun-import task wait`
    ├── LocalStateError  9   the journal, a local file, or a disk that changed
    └── Interrupted    130   stopped by the user or by a signal

Exit code 0 is success, 1 a bug in this tool. The exit code groups failures by what the caller should do next;
`code` (kebab-case, stable) names the failure itself, and `error_codes.ErrorCode` lists every code with its class.

A failure on which code branches has its own subclass: catch the class, never compare codes.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self

from aliyun_import.redact import remove_secrets


class Exit(IntEnum):
    """Exit codes of the command. They are stable; the table of docs/exit-codes.md is generated from them."""

    meaning: str
    next_step: str

    def __new__(cls, value: int, meaning: str, next_step: str) -> Self:
        """Create a member whose value is the number."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.next_step = next_step
        return member

    DONE = 0, "success: the result is on stdout", "use it"
    BUG = 1, "a bug in this tool", "report it with the text on stderr"
    USAGE = 2, "the command line is invalid, or a setting is missing", "correct the command"
    DISK = 3, "the disk can't be read, can't be imported, or would not boot in ECS", "fix or convert the disk"
    ACCESS = 4, "credentials are missing or refused, or a permission is missing", "fix credentials or permissions"
    REFUSED = 5, "the service refuses the request, or this tool does by a rule of the service", "change the request"
    TRANSIENT = (
        6,
        "transient failure: network error, throttling, service unavailable",
        "run the same command again; it resumes where it stopped",
    )
    IMPORT_FAILED = (
        7,
        "the import itself failed, or the image does not boot",
        "read the reason, which is in the error or the verdict",
    )
    STILL_RUNNING = (
        8,
        "the wait ended (`--timeout`), the import continues",
        "`aliyun-import task wait TASK --region REGION`",
    )
    LOCAL_STATE = (
        9,
        "local state prevents the run: the journal, its lock, a local file, or a disk that changed during the upload",
        "check the path in the error",
    )
    INTERRUPTED = 130, "stopped by the user or by a signal", "run the same command again; it resumes where it stopped"


class AliyunImportError(Exception):
    """Base class of all errors of the package.

    summary: what happened.
    cause: why, as far as it is known, with the service's own message.
    remedy: what to do: imperative sentences that contain the real values, or None.
    details: values for scripts, such as request_id, service_code, bucket, key, part, offset.
    resumable: whether the same command resumes where this one stopped.
    retry_after_s: the shortest wait before a retry, if the service stated one.

    Known secrets (see redact.py) are removed from all texts.
    """

    exit_code: ClassVar[Exit] = Exit.BUG

    def __init__(
        self,
        summary: str,
        *,
        code: str,
        remedy: str | None,
        cause: str | None = None,
        details: Mapping[str, str] | None = None,
        resumable: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        self.summary = remove_secrets(summary)
        super().__init__(self.summary)
        self.code = str(code)
        self.remedy = remove_secrets(remedy) if remedy else remedy
        self.cause = remove_secrets(cause) if cause else cause
        self.details: Mapping[str, str] = MappingProxyType(
            {name: remove_secrets(value) for name, value in (details or {}).items()}
        )
        self.resumable = resumable
        self.retry_after_s = retry_after_s

    def with_remedy(self, more: str, *, resumable: bool | None = None) -> Self:
        """Return a copy of the error with this text added to its remedy."""
        fields = self._fields()
        fields["remedy"] = f"{self.remedy} {more}" if self.remedy else more
        fields["resumable"] = self.resumable if resumable is None else resumable
        return type(self)(self.summary, **fields)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle through the constructor; Exception.__reduce__ passes no keyword arguments."""
        return _rebuild, (type(self), self.summary, self._fields())

    def _fields(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "remedy": self.remedy,
            "cause": self.cause,
            "details": dict(self.details),
            "resumable": self.resumable,
            "retry_after_s": self.retry_after_s,
        }


def _rebuild(kind: type[AliyunImportError], summary: str, fields: Mapping[str, Any]) -> AliyunImportError:
    return kind(summary, **fields)


# In the place of a class of errors: the code is one of `events.Warned`.
WARNING: Final = None


class CodeRow(StrEnum):
    """Base class of ErrorCode and WarningCode: a code with its classes, its meaning and its usual remedy.

    `kinds` are the classes of errors with this code, and WARNING; the first is that of a service's answer.
    """

    kinds: tuple[type[AliyunImportError] | None, ...]
    meaning: str
    remedy: str

    def __new__(
        cls,
        value: str,
        kinds: type[AliyunImportError] | tuple[type[AliyunImportError] | None, ...] | None,
        meaning: str,
        remedy: str = "",
    ) -> Self:
        """Create a member whose value is the code."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        member.meaning = meaning
        member.remedy = remedy
        return member

    @property
    def kind(self) -> type[AliyunImportError]:
        """Return the class of a service's answer with this code. Raises ValueError if the code is only a warning's."""
        kind = self.kinds[0]
        if kind is None:
            raise ValueError(f"{self} is the code of a warning")
        return kind


class UsageError(AliyunImportError):
    """The command line or a setting is invalid."""

    exit_code = Exit.USAGE


class DiskError(AliyunImportError):
    """The disk can't be read, or can't be imported as it is."""

    exit_code = Exit.DISK


class AccessError(AliyunImportError):
    """The credentials are missing or refused, or a permission is missing."""

    exit_code = Exit.ACCESS


class RefusedError(AliyunImportError):
    """The service refuses the request, or this package does by a rule of the service."""

    exit_code = Exit.REFUSED


class TransientError(AliyunImportError):
    """Transient failure: network error, throttling, service unavailable. The same command may succeed."""

    exit_code = Exit.TRANSIENT


class ImportFailed(AliyunImportError):
    """The service accepted the import, and the import failed."""

    exit_code = Exit.IMPORT_FAILED


class StillRunning(AliyunImportError):
    """The wait ended before the import did; the import continues."""

    exit_code = Exit.STILL_RUNNING


class LocalStateError(AliyunImportError):
    """Local state prevents the run: the journal, its lock, a local file, or a disk that changed."""

    exit_code = Exit.LOCAL_STATE


class Interrupted(AliyunImportError):
    """The user or a signal stopped the run; the remedy states what is kept and how to resume."""

    exit_code = Exit.INTERRUPTED


# Failures on which code branches.


class DiskEmpty(DiskError):
    """The disk has no bytes."""


class DiskTruncated(DiskError):
    """The disk ended before the size that it had when it was opened."""


class QemuImgMissing(DiskError):
    """`qemu-img` is needed and not installed."""


class DiskChanged(LocalStateError):
    """The disk changed during the run."""


class PermissionDenied(AccessError):
    """These credentials lack the permission for the operation."""


class RoleNotAuthorized(AccessError):
    """ECS can't read the object with the import's role: a policy is missing, or not in effect yet."""


class BucketMissing(RefusedError):
    """There is no such bucket."""


class ObjectMissing(RefusedError):
    """There is no such object."""


class ObjectExists(RefusedError):
    """An object with this key exists, and the request does not allow overwriting."""


class UploadNotFound(RefusedError):
    """OSS has no multipart upload with this id: it was aborted or completed."""


class CopyRefused(RefusedError):
    """The store does not create parts by copying."""


class BaseChanged(RefusedError):
    """The source object of a copied part changed after the plan was made."""


class NameTaken(RefusedError):
    """An image has this name."""


class ImageImporting(RefusedError):
    """An image with this name or id is being imported."""


class ClientTokenReused(RefusedError):
    """The client token was used for another request."""


class RoleExists(RefusedError):
    """A role with this name exists."""


class RoleNotVisible(RefusedError):
    """ECS does not find the import's role: it does not exist, or was created a moment ago."""


class InstanceTypeUnavailable(RefusedError):
    """The instance type is sold out, or can't start the image."""


class DetectionUnsupported(RefusedError):
    """ECS does not check images of this kind after the import."""


class Throttled(TransientError):
    """The service limits the rate of requests or of bytes."""


class TimedOut(TransientError):
    """The service did not answer in time, or waited too long for bytes, on an open connection."""


class ConnectionLost(TransientError):
    """The connection broke during a request."""


class ServiceUnreachable(TransientError):
    """The service was not reached: name resolution, proxy, TCP or TLS failed, or another server answered."""


class PartCorrupted(TransientError):
    """The bytes of a part in OSS differ from those that were sent."""


class ObjectCorrupted(TransientError):
    """The object in OSS differs from the disk, although each of its parts was correct."""
