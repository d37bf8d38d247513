"""Errors caused by limits of this machine: memory, threads, open files, space. They can occur anywhere."""

import errno
import os
from collections.abc import Mapping
from types import MappingProxyType

from aliyun_import.error_codes import ErrorCode
from aliyun_import.errors import LocalStateError

_AGAIN = "and run the same command again; it resumes where it stopped."
_MEMORY = ("memory", f"Raise the limit (ulimit -v, or that of the container) or free memory, lower --jobs, {_AGAIN}")
_THREADS = (
    "threads or processes",
    f"Raise the limit (ulimit -u, ulimit -v, --pids-limit of a container), lower --jobs, {_AGAIN}",
)
_FILES = ("open files", f"Raise the limit (ulimit -n), lower --jobs, {_AGAIN}")
_BY_NUMBER: Mapping[int, tuple[str, str]] = MappingProxyType({
    errno.ENOMEM: _MEMORY,
    errno.EAGAIN: _THREADS,
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.ENOBUFS: _MEMORY,
})  # fmt: skip
# Texts of CPython for errors without a number.
_BY_TEXT = (
    ("can't start new thread", _THREADS),
    ("can't allocate lock", _MEMORY),
    ("failed to map segment", _MEMORY),
    ("annot allocate memory", _MEMORY),
)


def limit_error(error: BaseException) -> LocalStateError | None:
    """Return the error for an exception that a limit on memory, threads or open files caused, None for any other."""
    found = _limit_of(error)
    if found is None:
        return None
    what, remedy = found
    return LocalStateError(
        f"This machine permits no more {what}.",
        code=ErrorCode.SYSTEM_LIMIT,
        cause=_text(error),
        remedy=remedy,
        resumable=True,
    )


def file_error(error: BaseException) -> LocalStateError | None:
    """Return the error for a file operation that the system refused, None for any other exception."""
    if not isinstance(error, OSError) or error.errno is None:
        return None
    if error.errno == errno.ENOENT and "temporary directory" in str(error.strerror):
        return LocalStateError(
            "There is no directory for temporary files.",
            code=ErrorCode.FILE_UNWRITABLE,
            cause=_text(error),
            remedy="Set TMPDIR to a writable directory, and run the same command again.",
            resumable=True,
        )
    if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
        return None
    return LocalStateError(
        f"The system refused an operation on {_name(error)}.",
        code=ErrorCode.FILE_UNWRITABLE,
        cause=_text(error),
        remedy="Free space, make it readable and writable, or pass another path, and run the same command again.",
        resumable=True,
    )


def _limit_of(error: BaseException) -> tuple[str, str] | None:
    if isinstance(error, MemoryError):
        return _MEMORY
    if isinstance(error, OSError) and error.errno is not None:
        return _BY_NUMBER.get(error.errno)
    if isinstance(error, (RuntimeError, ImportError)):
        return next((limit for text, limit in _BY_TEXT if text in str(error)), None)
    return None


def _name(error: OSError) -> str:
    return os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else "a file"


def _text(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return f"{type(error).__name__}: {text}." if text else f"{type(error).__name__}."
