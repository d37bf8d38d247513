"""This file holds every kind of failure there is, and what each tells the caller to do.

    AliyunImportError        code, exit_code, summary, cause, remedy, details, resumable
    ├── UsageError       2   the command line
    ├── DiskError        3   fix or convert the disk
    ├── AccessError      4   fix credentials or rights
    ├── RefusedError     5   change the request
    ├── TransientError   6   passing trouble: run the same command again
    ├── ImportFailed     7   the import itself failed: read the service's reason
    ├── StillRunning     8   the import goes on: `aliyun-import task wait`
    ├── LocalStateError  9   look at the journal, or at the disk that changed
    └── Interrupted    130   a person or a signal stopped it

0 is done, and 1 is a bug in this tool. The exit code groups failures by what the caller should do next;
`code` (kebab-case, stable) names the failure itself.
"""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import ClassVar, Self

from aliyun_import.redact import conceal


class Exit(IntEnum):
    """The exit codes of the command, a promise to scripts: see docs/exit-codes.md."""

    DONE = 0
    BUG = 1
    USAGE = 2
    DISK = 3
    ACCESS = 4
    REFUSED = 5
    TRANSIENT = 6
    IMPORT_FAILED = 7
    STILL_RUNNING = 8
    LOCAL_STATE = 9
    INTERRUPTED = 130


class AliyunImportError(Exception):
    """A failure that a person can act on.

    `summary` says what happened, `cause` why (as far as it is known, the service's own words included),
    `remedy` what to do: an imperative sentence with the real values in it, or an explicit None.
    `details` are operands for scripts (request_id, service_code, bucket, key, part, offset...), never secrets.
    A secret that is known (see redact.py) is taken out of all of these.
    `resumable` says that the same command goes on where this one stopped.
    `retry_after_s` is the service's own wish for how long to stay away, when it gave one.
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
        self.summary = conceal(summary)
        super().__init__(self.summary)
        self.code = code
        self.remedy = conceal(remedy) if remedy else remedy
        self.cause = conceal(cause) if cause else cause
        self.details: Mapping[str, str] = MappingProxyType(
            {name: conceal(value) for name, value in (details or {}).items()}
        )
        self.resumable = resumable
        self.retry_after_s = retry_after_s

    def advised(self, more: str, *, resumable: bool | None = None) -> Self:
        """Give the same error with a sentence more in its remedy."""
        return type(self)(
            self.summary,
            code=self.code,
            remedy=f"{self.remedy} {more}" if self.remedy else more,
            cause=self.cause,
            details=self.details,
            resumable=self.resumable if resumable is None else resumable,
            retry_after_s=self.retry_after_s,
        )


class UsageError(AliyunImportError):
    """The command line is off."""

    exit_code = Exit.USAGE


class DiskError(AliyunImportError):
    """The disk can't be read, or can't be imported as it is."""

    exit_code = Exit.DISK


class AccessError(AliyunImportError):
    """The credentials are missing or refused, or a right is missing."""

    exit_code = Exit.ACCESS


class RefusedError(AliyunImportError):
    """The service, or a rule of the service that is checked here, refuses the request as it stands."""

    exit_code = Exit.REFUSED


class TransientError(AliyunImportError):
    """Passing trouble: network, throttling, a service that is unwell. The same command may well succeed."""

    exit_code = Exit.TRANSIENT


class ImportFailed(AliyunImportError):
    """The service took the import and failed it."""

    exit_code = Exit.IMPORT_FAILED


class StillRunning(AliyunImportError):
    """The wait ended before the import did; the import goes on."""

    exit_code = Exit.STILL_RUNNING


class LocalStateError(AliyunImportError):
    """Something on this machine is in the way: the journal, its lock, or a disk that changed meanwhile."""

    exit_code = Exit.LOCAL_STATE


class Interrupted(AliyunImportError):
    """A person or a signal stopped the run; what is safe and how to go on stands in the remedy."""

    exit_code = Exit.INTERRUPTED
