"""This file opens a disk for the upload: the bytes of a file, or what they unpack to if they are packed in blocks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from aliyun_import.disk.containers import vhd
from aliyun_import.disk.containers.compressed import KEPT_FOR_MANY_BYTES, PackedReader
from aliyun_import.disk.containers.compressed_checks import COMPRESSED, open_blocks
from aliyun_import.disk.containers.registry import identify
from aliyun_import.disk.disk import DiskSource, Extent, open_source
from aliyun_import.disk.fingerprint import Fingerprint
from aliyun_import.disk.io.reader import ReadProblem
from aliyun_import.errors import DiskError

T = TypeVar("T")


class PackedSource(DiskSource):
    """The disk in a file of blocks, read as if it were unpacked."""

    def __init__(self, file: DiskSource, disk: PackedReader) -> None:
        self.path = file.path
        self.size_bytes = disk.size
        self._file = file
        self._disk = disk
        # Whoever reads on needs the block where it stands, and copies may be proven beside what is sent.
        self.most_readers = disk.most_kept // 2

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the whole buffer from offset. Raises DiskError: "unpack-failed" for a block that is damaged."""
        data = _unpacking(self.path, lambda: self._disk.pread(offset, len(buffer)))
        if len(data) != len(buffer):
            raise _failed(self.path, f"the disk in it ends at byte {self.size_bytes}")
        buffer[:] = data

    def extents(self) -> tuple[Extent, ...]:
        """Give all of the disk: where its zeros are is known when it is unpacked."""
        return (Extent(0, self.size_bytes),)

    def fingerprint(self) -> Fingerprint:
        """Look at the file as it is now. The sample is of what is packed: that of the disk would unpack all of it."""
        return replace(self._file.fingerprint(), size_bytes=self.size_bytes)

    def forget_cached(self) -> None:
        """Have what is packed read and unpacked anew."""
        self._file.forget_cached()
        self._disk.forget()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _File:
    """A source with the face of a Reader."""

    def __init__(self, source: DiskSource) -> None:
        self._source = source

    @property
    def size(self) -> int:
        return self._source.size_bytes

    def pread(self, offset: int, length: int) -> bytes:
        return self._source.read(offset, max(min(length, self.size - offset), 0))


def open_disk(path: Path) -> DiskSource:
    """Open a disk that is sent as it is: what is packed is packed in blocks, else it would have been unpacked before.

    Raises DiskError as `open_source` does, and "unpack-failed" for a packed file that is damaged.
    """
    source = open_source(path)
    try:
        file = _File(source)
        if vhd.find_footer(file) is not None or (container := identify(file)) not in COMPRESSED:
            return source
        return PackedSource(
            source, _unpacking(path, lambda: open_blocks(file, container, kept_bytes=KEPT_FOR_MANY_BYTES))
        )
    except BaseException:
        source.close()
        raise


def _unpacking(path: Path, read: Callable[[], T]) -> T:
    try:
        return read()
    except ReadProblem as problem:
        raise _failed(path, problem.message, offset=problem.offset) from problem


def _failed(path: Path, cause: str, *, offset: int | None = None) -> DiskError:
    return DiskError(
        f"{path} can't be unpacked.",
        code="unpack-failed",
        cause=cause,
        remedy=f"Copy {path.name} again from its source, or unpack it yourself and push the disk in it.",
        details={} if offset is None else {"offset": str(offset)},
    )
