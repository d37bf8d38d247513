"""This file writes a disk that comes as a stream into a sparse file, without filling the file system to its end."""

import os
from collections.abc import Iterable
from pathlib import Path

from aliyun_import.errors import DiskError, LocalStateError
from aliyun_import.limits import GIB, KIB, MAX_DISK_GIB, MIB

# Zeros in whole pieces of this become holes, as `qemu-img convert -S 64k` does: 16 blocks of most file systems.
_HOLE_BYTES = 64 * KIB
_ZEROS = bytes(_HOLE_BYTES)
# What is left to others on the file system, always.
RESERVE_BYTES = 256 * MIB
_LOOK_EVERY_BYTES = 64 * MIB


def write_sparse(pieces: Iterable[bytes | int], target: Path) -> int:
    """Write the pieces one after the other to a new file, zeros as holes; gives the size in bytes.

    A number stands for so many zeros.
    Raises DiskError "disk-too-large" past what ECS takes at all, LocalStateError "no-space" before the file system is
    full, FileExistsError, and other OSErrors; the file is left as it is then.
    """
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        size, looked = 0, 0
        for piece in pieces:
            if isinstance(piece, int):
                size += piece
            else:
                _write_data(handle, piece, size)
                size += len(piece)
            if size > MAX_DISK_GIB * GIB:
                raise _too_large()
            if size - looked >= _LOOK_EVERY_BYTES:
                require_space(target.parent, 0)
                looked = size
        os.ftruncate(handle, size)
        os.fsync(handle)
        return size
    finally:
        os.close(handle)


def require_space(directory: Path, needed_bytes: int) -> None:
    """Raise LocalStateError "no-space" unless the directory has room for so many bytes and the reserve."""
    space = os.statvfs(directory)
    free = space.f_bavail * space.f_frsize
    if free < needed_bytes + RESERVE_BYTES:
        raise LocalStateError(
            f"There is not enough room in {directory}: {free / GIB:.1f} GiB are free, and at least "
            f"{(needed_bytes + RESERVE_BYTES) / GIB:.1f} GiB are needed.",
            code="no-space",
            remedy="Free some, or name a directory with more: --work-dir DIRECTORY.",
            details={"directory": str(directory), "free_bytes": str(free)},
        )


def _write_data(handle: int, piece: bytes, offset: int) -> None:
    """Write what is not zeros, in runs as long as possible."""
    view = memoryview(piece)
    # Holes lie on whole multiples of the disk, not of the piece.
    at = 0
    start: int | None = None
    while at < len(view):
        end = min(at + _HOLE_BYTES - (offset + at) % _HOLE_BYTES, len(view))
        # Not a comparison of the view, which goes through its bytes one by one: 20 s for 4 GiB, and this 1 s.
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
        f"The disk is larger than {MAX_DISK_GIB} GiB when it is unpacked, which is the most that ECS takes.",
        code="disk-too-large",
        remedy="Shrink the disk before it is packed, or move part of its data to a data disk.",
    )
