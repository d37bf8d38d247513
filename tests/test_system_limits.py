"""Tests of the errors of this machine's limits: none of them is a bug."""

import errno
import os

from aliyun_import.errors import Exit
from aliyun_import.system_limits import file_error, limit_error
from tests.rows import each_row


def failed(number: int, filename: str | None = None) -> OSError:
    """Return an OSError as the system raises it."""
    return OSError(number, os.strerror(number), filename)


@each_row(
    ("error", "what", "setting"),
    [
        (MemoryError(), "memory", "ulimit -v"),
        (failed(errno.ENOMEM), "memory", "ulimit -v"),
        (ImportError("libx.so: failed to map segment from shared object"), "memory", "ulimit -v"),
        (RuntimeError("can't start new thread"), "threads", "ulimit -u"),
        (failed(errno.EAGAIN), "threads", "--pids-limit"),
        (failed(errno.EMFILE, "/etc/passwd"), "open files", "ulimit -n"),
        (failed(errno.ENFILE), "open files", "ulimit -n"),
    ],
)
def test_a_limit_is_named_with_the_setting_that_raises_it(error: Exception, what: str, setting: str) -> None:
    """It is a matter of this machine, and the same command resumes."""
    ours = limit_error(error)
    assert ours is not None
    assert (ours.code, ours.exit_code, ours.resumable) == ("system-limit", Exit.LOCAL_STATE, True)
    assert what in ours.summary
    assert setting in str(ours.remedy)


@each_row("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EIO])
def test_a_file_that_the_system_refuses_is_named(number: int) -> None:
    """The cause is the system's own."""
    ours = file_error(failed(number, "/srv/state/a"))
    assert ours is not None
    assert (ours.code, ours.exit_code) == ("file-unwritable", Exit.LOCAL_STATE)
    assert "/srv/state/a" in ours.summary
    assert os.strerror(number) in str(ours.cause)


def test_no_directory_for_temporary_files() -> None:
    """The remedy is the variable that names one."""
    error = FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")
    ours = file_error(error)
    assert ours is not None
    assert "TMPDIR" in str(ours.remedy)


@each_row(
    "error", [ValueError("x"), RuntimeError("x"), KeyError("x"), OSError("x"), failed(errno.EPIPE), failed(errno.EBADF)]
)
def test_anything_else_is_none_of_these(error: Exception) -> None:
    """A bug stays a bug."""
    assert limit_error(error) is None
    assert file_error(error) is None
