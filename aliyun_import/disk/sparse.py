"""Files with holes for zeros, written within the free space of their file system."""

import os
from collections.abc import Iterable
from pathlib import Path

from aliyun_import.errors import DiskError, LocalStateError
from aliyun_import.limits import GIB, KIB, MAX_DISK_GIB, MIB

# Aligned zeros of this size become holes, as with `qemu-img convert -S 64k`. These are 16 blocks of most file systems.
_HOLE_BYTES = 64 * KIB
_ZEROS = bytes(_HOLE_BYTES)
# Free space that is never used.
RESERVE_BYTES = 256 * MIB
_CHECK_EVERY_BYTES = 64 * MIB


def write_sparse(pieces: Iterable[bytes | int], target: Path) -> int:
    """Write the pieces to a new file, zeros as holes, and return the size in bytes.

    A number stands for a hole with this many bytes. Raises DiskError "disk-too-large" over the maximum of ECS,
    LocalStateError "no-space" before the file system is full, FileExistsError, and other OSErrors. The partial file
    stays then.
    """
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        size, checked = 0, 0
        for piece in pieces:
            if isinstance(piece, int):
                size += piece
            else:
                _write_data(handle, piece, size)
                size += len(piece)
            if size > MAX_DISK_GIB * GIB:
                raise _too_large()
            if size - checked >= _CHECK_EVERY_BYTES:
                require_space(target.parent, 0)
                checked = size
        os.ftruncate(handle, size)
        os.fsync(handle)
        return size
    finally:
        os.close(handle)


def require_space(directory: Path, needed_bytes: int) -> None:
    """Raise LocalStateError "no-space" unless the directory has space for `needed_bytes` and the reserve."""
    space = os.statvfs(directory)
    free = space.f_bavail * space.f_frsize
    if free < needed_bytes + RESERVE_BYTES:
        raise LocalStateError(
            f"There is not enough free space in {directory}: {free / GIB:.1f} GiB are free, and at least "
            f"{(needed_bytes + RESERVE_BYTES) / GIB:.1f} GiB are needed.",
            code="no-space",
            remedy="Free some space, or name a directory with more: --work-dir DIRECTORY.",
            details={"directory": str(directory), "free_bytes": str(free)},
        )


def _write_data(handle: int, piece: bytes, offset: int) -> None:
    """Write a piece without its aligned zeros, in runs as long as possible."""
    view = memoryview(piece)
    # Holes are aligned to the disk, not to the piece.
    at = 0
    start: int | None = None
    while at < len(view):
        end = min(at + _HOLE_BYTES - (offset + at) % _HOLE_BYTES, len(view))
        # Comparing the view instead compares byte by byte: 20 s for 4 GiB, and 1 s with startswith.
        zeros = piece.startswith(_ZEROS[: end - at], at)
        if zeros and start is not None:
            _write_all(handle, view[start:at], offset + start)
            start = None
        elif not zeros and start is None:
            start = at
        at = end
    if start is not None:
        _write_all(handle, view[start:], offset + start)


def _write_all(handle: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(handle, data, offset)
        data, offset = data[written:], offset + written


def _too_large() -> DiskError:
    return DiskError(
        f"The unpacked disk is larger than {MAX_DISK_GIB} GiB, the maximum of ECS.",
        code="disk-too-large",
        remedy="Shrink the disk before it is compressed, or move part of its data to a data disk.",
    )
