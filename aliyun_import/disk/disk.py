"""A disk image: a regular file or a block device, opened once.

The inspection in a child process, the fingerprint and the upload share one descriptor. So they use the same file, even
if the path names another one meanwhile. The tools of QEMU, conversions and the parents of a differencing VHD open their
files by name; a conversion compares the fingerprints before and after.
"""

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self, TypeVar

from aliyun_import.disk.containers.blocks import KEPT_FOR_MANY_BYTES, BlockReader
from aliyun_import.disk.containers.compressed import open_blocks
from aliyun_import.disk.containers.registry import identify
from aliyun_import.disk.fingerprint import (
    Extent,
    Fingerprint,
    find_extents,
    keeps_ctime,
    read_mounts,
    reason_to_distrust,
)
from aliyun_import.disk.reader import FileReader, ReadProblem
from aliyun_import.errors import DiskChanged, DiskEmpty, DiskError, DiskTruncated
from aliyun_import.limits import KIB, MIB

T = TypeVar("T")
# Ranges of the content sample. The head contains the partition table, the boot loader and the superblock of a first
# partition at 1 MiB, in which file systems write the time of each mount. The tail contains the backup GPT or the footer
# of a VHD. The spots are spread over the rest. About 3 MiB in all: a second on a slow disk.
SAMPLE_HEAD_BYTES = 2 * MIB
SAMPLE_TAIL_BYTES = 64 * KIB
SAMPLE_SPOTS = 256
SAMPLE_SPOT_BYTES = 4 * KIB


class Disk:
    """An open disk. All reads are positional, so threads can share it.

    `name` is the file that the user gave; it differs from `path` if this disk was converted. `size_bytes` is the size
    of the file, or of its content if that is read (see `as_sent`). `max_readers` is the number of threads that can
    read at the same time without evicting each other's blocks from the cache, None for any number. `distrust` is the
    reason for which the holes of the file are read, too, empty if there is none.
    """

    def __init__(
        self, path: Path, file: FileReader, content: BlockReader | None = None, *, name: Path | None = None
    ) -> None:
        """Use an open file, and the reader of its content if it is compressed in blocks."""
        self.path = path
        self.name = name or path
        self.size_bytes = file.size if content is None else content.size
        # A reader needs the next block while the current one is used, and copied ranges may be verified meanwhile.
        self.max_readers = None if content is None else content.max_kept // 2
        self._file, self._content = file, content
        self._identity = _identity(os.fstat(file.fileno()))
        self.distrust = ""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the whole buffer from offset.

        Raises DiskError with the offset in its details: "disk-truncated" if the disk ends in the range, "disk-read" for
        an I/O error, "unpack-failed" for a damaged block of a compressed file.
        """
        if self._content is not None:
            content = self._content
            data = _unpacking(self, self._file, lambda: content.pread(offset, len(buffer)))
            if len(data) != len(buffer):
                raise unpack_failed(self.path, f"its content ends at byte {self.size_bytes}")
            buffer[:] = data
            return
        filled = 0
        while filled < len(buffer):
            try:
                count = os.preadv(self._file.fileno(), [buffer[filled:]], offset + filled)
            except OSError as error:
                raise _read_failed(self, offset + filled, error) from error
            if count == 0:
                raise _truncated(self, offset + filled, self.size_bytes)
            filled += count

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from offset. Raises as `read_into`."""
        buffer = bytearray(length)
        self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def extents(self) -> tuple[Extent, ...]:
        """Return the ranges that may contain data, ascending and disjoint. Everything between them reads as zeros.

        The result is one extent for the whole disk if the file system does not report holes or reports wrong ones (see
        `distrust`), for a block device, and for a compressed file, whose zeros are found when it is unpacked.
        """
        whole = (Extent(0, self.size_bytes),)
        if self._content is not None or self.distrust:
            return whole
        descriptor = self._file.fileno()
        try:
            extents = find_extents(descriptor, self.size_bytes)
            status = os.fstat(descriptor)
            number = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
            self.distrust = reason_to_distrust(
                descriptor,
                self.size_bytes,
                extents,
                kinds=frozenset(mount.kind for mount in read_mounts() if mount.device == number),
                allocated_bytes=status.st_blocks * 512,
            )
        except OSError as error:
            raise _read_failed(self, 0, error) from error
        return whole if self.distrust else extents

    @property
    def described(self) -> str:
        """The file in errors: its path, and the file from which it was converted."""
        return str(self.path) if self.name == self.path else f"{self.path}, converted from {self.name},"

    @property
    def unread_bytes(self) -> int:
        """The size of the holes, which are not read."""
        return self.size_bytes - sum(extent.end - extent.start for extent in self.extents())

    @property
    def descriptor(self) -> int:
        """The descriptor of the open file, for a child process. Its file position is undefined."""
        return self._file.fileno()

    def as_sent(self) -> "Disk":
        """Return the disk as it is uploaded: the content of a file that is compressed in blocks, else this disk.

        The result uses the open file of this disk, which closes it. Raises DiskError "unpack-failed" for a damaged
        compressed file.
        """
        file = self._file
        container = _unpacking(self, file, lambda: identify(file))
        if container.compression is None:
            return self
        blocks = _unpacking(self, file, lambda: open_blocks(file, container, kept_bytes=KEPT_FOR_MANY_BYTES))
        return Disk(self.path, file, blocks, name=self.name)

    def refuse_changed(self) -> None:
        """Raise DiskChanged if the path names another file than the open one, or if the file was written to."""
        try:
            identity = _identity(self.path.stat())
        except OSError:
            identity = ()
        if self._identity and identity != self._identity:
            raise DiskChanged(
                f"{self.described} changed since it was inspected.",
                code="disk-changed",
                cause="The file was replaced, removed or written to meanwhile.",
                remedy="Stop the program that writes to it, and run the same command again.",
            )

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of the current state. Raises DiskError, also if the file is empty or became shorter.

        For a compressed file, the sample is taken from the file: a sample of its content would unpack all of it.
        """
        self._drop_page_cache()
        try:
            status = os.fstat(self._file.fileno())
            file_bytes = os.lseek(self._file.fileno(), 0, os.SEEK_END)
        except OSError as error:
            raise _read_failed(self, 0, error) from error
        if self._file.size == 0:
            raise DiskEmpty(
                f"The disk {self.path} is empty.",
                code="disk-empty",
                remedy=f"Check how {self.path} was written: an image has at least a boot sector.",
            )
        if file_bytes < self._file.size:
            raise _truncated(self, file_bytes, self._file.size)
        is_block = stat.S_ISBLK(status.st_mode)
        number = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
        has_ctime = not is_block and keeps_ctime(number, read_mounts())
        return Fingerprint(
            size_bytes=file_bytes if self._content is None else self.size_bytes,
            mtime_ns=status.st_mtime_ns,
            device=status.st_rdev if is_block else status.st_dev,
            inode=status.st_ino,
            sample=self._sample(),
            ctime_ns=status.st_ctime_ns if has_ctime else None,
            is_block=is_block,
        )

    def forget_cached(self) -> None:
        """Drop cached content of the disk, so that later reads return what was written since then."""
        self._drop_page_cache()
        if self._content is not None:
            self._content.forget()

    def close(self) -> None:
        """Close the file; a later read raises DiskError."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _drop_page_cache(self) -> None:
        """Drop the page cache of a block device, which does not have the writes of a file system mounted on it."""
        with contextlib.suppress(OSError):
            if stat.S_ISBLK(os.fstat(self._file.fileno()).st_mode):
                os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def _sample(self) -> str:
        file = self if self._content is None else Disk(self.path, self._file)
        digest = hashlib.sha256(file.size_bytes.to_bytes(8, "big"))
        for offset, length in sample_ranges(file.size_bytes):
            digest.update(file.read(offset, length))
        return digest.hexdigest()


class OpenDisks(ExitStack):
    """Disks by path. Each is opened once, at its first use, and closed at the end of the `with` block."""

    def __init__(self) -> None:
        super().__init__()
        self._disks: dict[Path, Disk] = {}

    def __getitem__(self, path: Path) -> Disk:
        """Return the open disk. Raises as `open_disk`."""
        if path not in self._disks:
            self.open(path)
        return self._disks[path]

    def open(self, path: Path, *, name: Path | None = None) -> None:
        """Open a disk; one that was converted by the name of its source. Raises as `open_disk`."""
        self._disks[path] = self.enter_context(open_disk(path, name=name))


def sample_ranges(size_bytes: int) -> tuple[tuple[int, int], ...]:
    """Return the (offset, length) ranges of the content sample of a disk with this size. Pure."""
    if size_bytes <= SAMPLE_HEAD_BYTES + SAMPLE_TAIL_BYTES + SAMPLE_SPOTS * SAMPLE_SPOT_BYTES:
        return ((0, size_bytes),)
    tail = size_bytes - SAMPLE_TAIL_BYTES
    step = (tail - SAMPLE_HEAD_BYTES) // SAMPLE_SPOTS
    spots = ((SAMPLE_HEAD_BYTES + index * step, SAMPLE_SPOT_BYTES) for index in range(SAMPLE_SPOTS))
    return ((0, SAMPLE_HEAD_BYTES), *spots, (tail, SAMPLE_TAIL_BYTES))


def open_disk(path: Path, *, name: Path | None = None) -> Disk:
    """Open a file or a block device. Symbolic links are followed (/dev/disk/by-id has them).

    `name` is the file that the user gave, if it is another one. Raises DiskError: "disk-missing", "disk-unreadable", or
    "disk-kind" for a directory, a character device, a FIFO or a socket, which is not opened.
    """
    try:
        _refuse_other_kinds(path, path.stat().st_mode)
        # O_NONBLOCK: if a FIFO has replaced the file since then, opening it would wait for a writer.
        file = FileReader(path, flags=os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise _not_opened(path, error) from error
    try:
        _refuse_other_kinds(path, os.fstat(file.fileno()).st_mode)
    except BaseException:
        file.close()
        raise
    return Disk(path, file, name=name)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """Return values that differ if a file was replaced or written to. Empty for a block device, which has none."""
    if not stat.S_ISREG(status.st_mode):
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


_KINDS = (
    (stat.S_ISDIR, "is a directory", "Name the disk image in it."),
    (stat.S_ISCHR, "is a character device", "Name a file or a block device (/dev/vda, /dev/nvme0n1)."),
    (
        stat.S_ISFIFO,
        "is a pipe",
        "Write the data of the pipe to a file first: an upload that can resume reads it twice.",
    ),
    (stat.S_ISSOCK, "is a socket", "Name a file or a block device."),
)


def _refuse_other_kinds(path: Path, mode: int) -> None:
    for is_kind, kind, remedy in _KINDS:
        if is_kind(mode):
            raise DiskError(f"{path} {kind}, not a disk image.", code="disk-kind", remedy=remedy)


def _unpacking(disk: Disk, file: FileReader, read: Callable[[], T]) -> T:
    """Call `read`, and raise a DiskError for its exceptions."""
    try:
        return read()
    except OSError as error:
        raise _read_failed(disk, 0, error) from error
    except ReadProblem as problem:
        with contextlib.suppress(OSError):
            file_bytes = os.lseek(file.fileno(), 0, os.SEEK_END)
            if file_bytes < file.size:
                raise _truncated(disk, file_bytes, file.size) from problem
        raise unpack_failed(disk.path, problem.message, offset=problem.offset) from problem


def _not_opened(path: Path, error: OSError) -> DiskError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return DiskError(
            f"There is no disk {path}.", code="disk-missing", cause=error.strerror, remedy="Check the path of the disk."
        )
    return DiskError(
        f"The disk {path} cannot be opened.",
        code="disk-unreadable",
        cause=error.strerror or str(error),
        remedy=f"Make {path} readable for this user; block devices usually require root or the group disk.",
    )


def _read_failed(disk: Disk, offset: int, error: OSError) -> DiskError:
    remedy = f"Copy {disk.path} to healthy storage (ddrescue helps), and push the copy."
    if disk.name != disk.path:
        remedy = f"Remove {disk.path}, and name a directory on healthy storage: --work-dir DIRECTORY."
    return DiskError(
        f"The disk {disk.described} can't be read at byte {offset}.",
        code="disk-read",
        cause=error.strerror or str(error),
        remedy=remedy,
        details={"offset": str(offset)},
        resumable=True,
    )


def _truncated(disk: Disk, offset: int, size_bytes: int) -> DiskError:
    return DiskTruncated(
        f"The disk {disk.described} had {size_bytes} bytes, and now ends at byte {offset} or before.",
        code="disk-truncated",
        cause="The file was truncated after it was opened.",
        remedy=f"Stop the program that writes to {disk.path}, and run the same command again.",
        details={"offset": str(offset), "size": str(size_bytes)},
    )


def unpack_failed(path: Path, cause: str, *, offset: int | None = None) -> DiskError:
    """Return the error for a damaged compressed file."""
    return DiskError(
        f"{path} cannot be unpacked.",
        code="unpack-failed",
        cause=cause,
        remedy=f"Copy {path.name} again from its source, or unpack it yourself and push the disk in it.",
        details={} if offset is None else {"offset": str(offset)},
    )
