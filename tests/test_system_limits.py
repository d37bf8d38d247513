"""Tests of the errors of limits of this machine: none of them is a bug."""

import errno
import os

from aliyun_import.errors import Exit
from aliyun_import.system_limits import file_error, limit_error
from tests.rows import each_row


def os_error(number: int, filename: str | None = None) -> OSError:
    """Return the OSError of an error number."""
    return OSError(number, os.strerror(number), filename)


@each_row(
    ("error", "what", "setting"),
    [
        (MemoryError(), "memory", "ulimit -v"),
        (os_error(errno.ENOMEM), "memory", "ulimit -v"),
        (ImportError("libx.so: failed to map segment from shared object"), "memory", "ulimit -v"),
        (RuntimeError("can't start new thread"), "threads", "ulimit -u"),
        (os_error(errno.EAGAIN), "threads", "--pids-limit"),
        (os_error(errno.EMFILE, "/etc/passwd"), "open files", "ulimit -n"),
        (os_error(errno.ENFILE), "open files", "ulimit -n"),
    ],
)
def test_a_limit_is_named_with_the_setting_that_raises_it(error: Exception, what: str, setting: str) -> None:
    """The error is of the local state, and the same command resumes."""
    translated = limit_error(error)
    assert translated is not None
    assert (translated.code, translated.exit_code, translated.resumable) == ("system-limit", Exit.LOCAL_STATE, True)
    assert what in translated.summary
    assert setting in str(translated.remedy)


@each_row("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EIO])
def test_a_file_that_the_system_refuses_is_named(number: int) -> None:
    """The cause is the message of the system."""
    translated = file_error(os_error(number, "/srv/state/a"))
    assert translated is not None
    assert (translated.code, translated.exit_code) == ("file-unwritable", Exit.LOCAL_STATE)
    assert "/srv/state/a" in translated.summary
    assert os.strerror(number) in str(translated.cause)


def test_a_missing_directory_for_temporary_files_names_the_variable() -> None:
    """The remedy is TMPDIR."""
    error = FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")
    translated = file_error(error)
    assert translated is not None
    assert "TMPDIR" in str(translated.remedy)


@each_row(
    "error",
    [ValueError("x"), RuntimeError("x"), KeyError("x"), OSError("x"), os_error(errno.EPIPE), os_error(errno.EBADF)],
)
def test_other_errors_are_not_translated(error: Exception) -> None:
    """They are bugs."""
    assert limit_error(error) is None
    assert file_error(error) is None
