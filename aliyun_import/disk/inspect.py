"""This file answers "what is this disk?" for the rest of the tool: one call, one report, whatever the disk does."""

import errno
import os
import stat
from dataclasses import replace
from pathlib import Path

from aliyun_import.disk.bounded import Limits, call_bounded
from aliyun_import.disk.report import Container, DiskReport
from aliyun_import.errors import DiskError

_SURVEY = "aliyun_import.disk.survey:survey"


def inspect_disk(path: Path, *, limits: Limits | None = None) -> DiskReport:
    """Look at a disk image or a block device from outside: container, partitions, boot.

    The disk is read in a child process with limits; where that fails, the report holds what is known without it and
    says in `unknowns` what happened. Takes about 0.2 s. Raises DiskError when there is no disk to look at:
    "disk-missing", "disk-not-a-file", "disk-unreadable".
    """
    file_bytes = _openable_bytes(path)
    outcome = call_bounded(_SURVEY, [str(path.absolute())], limits=limits or Limits())
    if isinstance(outcome.value, DiskReport):
        return replace(outcome.value, path=path)
    return DiskReport(
        path=path,
        container=Container.UNKNOWN,
        format=None,
        file_bytes=file_bytes,
        virtual_bytes=None,
        unknowns=(f"the disk was not looked into: the inspection ended early, {outcome.failure}",),
    )


def _openable_bytes(path: Path) -> int:
    """Open the disk once, so that a missing file is told here and not by the child; gives its size."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _cannot_open(path, error) from error
    try:
        mode = os.fstat(descriptor).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise DiskError(
                f"{path} is {_kind(mode)}, not a disk image.",
                code="disk-not-a-file",
                remedy="Give the path of a disk image (RAW, VHD, QCOW2) or of a block device.",
                details={"path": str(path)},
            )
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)


def _cannot_open(path: Path, error: OSError) -> DiskError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return DiskError(
            f"There is no file {path}.",
            code="disk-missing",
            remedy=f"Check the path; the current directory is {Path.cwd()}.",
            details={"path": str(path)},
        )
    denied = error.errno in (errno.EACCES, errno.EPERM)
    return DiskError(
        f"{path} can't be opened.",
        code="disk-unreadable",
        cause=error.strerror or str(error),
        remedy=f"Make it readable for you (`ls -l {path}` shows whose it is), or run the command as its owner."
        if denied
        else "Look at the system's log (`dmesg`) for the disk that it is on.",
        details={"path": str(path)},
    )


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a character device")
