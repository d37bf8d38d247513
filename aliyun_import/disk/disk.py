"""This file reads a disk image: a regular file or a block device, read-only, from any thread.

It tells how long the disk is, which ranges hold data (SEEK_DATA, SEEK_HOLE), and whether the disk is still the one
that it was. Every read gives exactly the bytes that were asked for, or a DiskError that names the offset.
"""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from aliyun_import.disk.fingerprint import Fingerprint
from aliyun_import.disk.io.held import keeps_ctime, read_mounts
from aliyun_import.errors import DiskEmpty, DiskError, DiskTruncated
from aliyun_import.limits import KIB, MIB

# What the content sample reads: the head holds the partition table, the boot loader and the superblock of a first
# partition that begins at 1 MiB, which file systems stamp at each mount; the tail holds the backup GPT or the footer
# of a VHD. The rest is spread. About 4 MiB in all: a second on a slow disk.
SAMPLE_HEAD_BYTES = 2 * MIB
SAMPLE_TAIL_BYTES = 64 * KIB
SAMPLE_SPOTS = 256
SAMPLE_SPOT_BYTES = 4 * KIB
# SEEK_DATA is answered with these where the file system, or the kind of file, does not know holes.
_NO_HOLES_HERE = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.ESPIPE})


@dataclass(frozen=True, slots=True)
class Extent:
    """A range of the disk that may hold data: [start, end), in bytes."""

    start: int
    end: int


class DiskSource:
    """An open disk. All reads are positional, so threads share it; `close` ends them all.

    `most_readers` says how many threads can read on at a time without hindering each other, None for any number.
    """

    most_readers: int | None = None

    def __init__(self, path: Path, handle: int, size_bytes: int) -> None:
        self.path = path
        self.size_bytes = size_bytes
        self._handle = handle

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the whole buffer from offset.

        Raises DiskError "disk-truncated" where the disk ends before, and "disk-read" where it can't be read; both
        name the offset.
        """
        filled = 0
        while filled < len(buffer):
            try:
                count = os.preadv(self._handle, [buffer[filled:]], offset + filled)
            except OSError as error:
                raise _read_failed(self.path, offset + filled, error) from error
            if count == 0:
                raise _truncated(self.path, offset + filled, self.size_bytes)
            filled += count

    def read(self, offset: int, length: int) -> bytes:
        """Give exactly `length` bytes from offset; raises as read_into."""
        buffer = bytearray(length)
        self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def extents(self) -> tuple[Extent, ...]:
        """List the ranges that may hold data, ascending and apart; what lies between reads as zeros.

        One extent for the whole disk where the file system does not know holes, and for block devices.
        """
        return tuple(self._walk_extents())

    def fingerprint(self) -> Fingerprint:
        """Look at the disk as it is now. Raises DiskError, for one "disk-truncated" when it became shorter."""
        self.forget_cached()
        try:
            status = os.fstat(self._handle)
            size_bytes = os.lseek(self._handle, 0, os.SEEK_END)
        except OSError as error:
            raise _read_failed(self.path, 0, error) from error
        if size_bytes < self.size_bytes:
            raise _truncated(self.path, size_bytes, self.size_bytes)
        is_block = stat.S_ISBLK(status.st_mode)
        number = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
        has_ctime = not is_block and keeps_ctime(number, read_mounts())
        return Fingerprint(
            size_bytes=size_bytes,
            mtime_ns=status.st_mtime_ns,
            device=status.st_rdev if is_block else status.st_dev,
            inode=status.st_ino,
            sample=self._sample(),
            ctime_ns=status.st_ctime_ns if has_ctime else None,
            is_block=is_block,
        )

    def forget_cached(self) -> None:
        """Have the system read a block device anew: what was written to it by another way is not in its cache."""
        with contextlib.suppress(OSError):
            if stat.S_ISBLK(os.fstat(self._handle).st_mode):
                os.posix_fadvise(self._handle, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Close the file; a read that comes later is a DiskError."""
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _walk_extents(self) -> Iterator[Extent]:
        end = 0
        while end < self.size_bytes:
            try:
                start = self._seek(end, os.SEEK_DATA)
                next_end = self._seek(start, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole is left
                    return
                if error.errno in _NO_HOLES_HERE:
                    yield Extent(end, self.size_bytes)
                    return
                raise _read_failed(self.path, end, error) from error
            if start >= self.size_bytes:
                return
            end = min(next_end, self.size_bytes)
            yield Extent(start, end)

    def _seek(self, offset: int, whence: int) -> int:
        return os.lseek(self._handle, offset, whence)

    def _sample(self) -> str:
        digest = hashlib.sha256(self.size_bytes.to_bytes(8, "big"))
        for offset, length in sample_ranges(self.size_bytes):
            digest.update(self.read(offset, length))
        return digest.hexdigest()


def sample_ranges(size_bytes: int) -> tuple[tuple[int, int], ...]:
    """Tell which (offset, length) ranges the content sample of a disk of this size reads; by the size alone."""
    if size_bytes <= SAMPLE_HEAD_BYTES + SAMPLE_TAIL_BYTES + SAMPLE_SPOTS * SAMPLE_SPOT_BYTES:
        return ((0, size_bytes),)
    tail = size_bytes - SAMPLE_TAIL_BYTES
    step = (tail - SAMPLE_HEAD_BYTES) // SAMPLE_SPOTS
    spots = ((SAMPLE_HEAD_BYTES + index * step, SAMPLE_SPOT_BYTES) for index in range(SAMPLE_SPOTS))
    return ((0, SAMPLE_HEAD_BYTES), *spots, (tail, SAMPLE_TAIL_BYTES))


def open_source(path: Path) -> DiskSource:
    """Open a disk image for reading. Symbolic links are followed (/dev/disk/by-id is made of them).

    Raises DiskError: "disk-missing", "disk-unreadable", "disk-empty", or "disk-kind" for a directory, a character
    device, a FIFO or a socket, which are not even opened.
    """
    try:
        _refuse_other_kinds(path, path.stat().st_mode)
        # O_NONBLOCK: a FIFO that took the file's place since would keep the open waiting for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise _not_opened(path, error) from error
    try:
        _refuse_other_kinds(path, os.fstat(handle).st_mode)
        size_bytes = os.lseek(handle, 0, os.SEEK_END)
        if size_bytes == 0:
            raise DiskEmpty(
                f"The disk {path} is empty.",
                code="disk-empty",
                remedy=f"Check how {path} was written: an image has at least a boot sector.",
            )
    except OSError as error:
        os.close(handle)
        raise _not_opened(path, error) from error
    except BaseException:
        os.close(handle)
        raise
    return DiskSource(path, handle, size_bytes)


_KINDS = (
    (stat.S_ISDIR, "is a directory", "Name the disk image inside it."),
    (stat.S_ISCHR, "is a character device", "Name a file or a block device (/dev/vda, /dev/nvme0n1)."),
    (
        stat.S_ISFIFO,
        "is a pipe",
        "Write what comes out of the pipe to a file first: an upload that can go on reads twice.",
    ),
    (stat.S_ISSOCK, "is a socket", "Name a file or a block device."),
)


def _refuse_other_kinds(path: Path, mode: int) -> None:
    for is_kind, words, remedy in _KINDS:
        if is_kind(mode):
            raise DiskError(f"{path} {words}, not a disk image.", code="disk-kind", remedy=remedy)


def _not_opened(path: Path, error: OSError) -> DiskError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return DiskError(
            f"There is no disk {path}.", code="disk-missing", cause=error.strerror, remedy="Check the path of the disk."
        )
    return DiskError(
        f"The disk {path} can't be opened.",
        code="disk-unreadable",
        cause=error.strerror or str(error),
        remedy=f"Make {path} readable for this user; block devices usually want root or the group disk.",
    )


def _read_failed(path: Path, offset: int, error: OSError) -> DiskError:
    return DiskError(
        f"The disk {path} can't be read at byte {offset}.",
        code="disk-read",
        cause=error.strerror or str(error),
        remedy=f"Copy {path} to healthy storage (ddrescue helps), and push the copy.",
        details={"offset": str(offset)},
        resumable=True,
    )


def _truncated(path: Path, offset: int, size_bytes: int) -> DiskError:
    return DiskTruncated(
        f"The disk {path} ends at byte {offset} or before, and had {size_bytes} bytes.",
        code="disk-truncated",
        cause="It became shorter since it was opened.",
        remedy=f"See that nothing writes to {path}, and run the same command again.",
        details={"offset": str(offset), "size": str(size_bytes)},
    )
