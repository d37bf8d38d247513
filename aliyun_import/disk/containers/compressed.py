"""Compressed files. They are read by blocks if these are independent, else unpacked to a temporary file."""

import shlex
from bz2 import BZ2Decompressor
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from aliyun_import.disk.containers.blocks import (
    KEPT_BYTES,
    BlockReader,
    unpack_xz,
    unpack_zstd,
    xz_blocks,
    zstd_blocks,
)
from aliyun_import.disk.containers.interface import (
    COPY_AGAIN,
    Compression,
    ContainerFormat,
    OpenedContainer,
    Source,
    Upload,
    damaged,
)
from aliyun_import.disk.decompress import new_gzip, new_xz, new_zstd, unpacked, unzipped
from aliyun_import.disk.reader import BytesReader, FileReader, Reader, ReadProblem, Unsupported
from aliyun_import.disk.report import Problem
from aliyun_import.limits import MIB
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskFormat


def open_blocks(file: Reader, container: ContainerFormat, *, kept_bytes: int = KEPT_BYTES) -> BlockReader:
    """Open the content of a compressed file with independent blocks.

    Raises Unsupported with the reason for other files, and Bad for a damaged file.
    """
    compression = container.compression
    if compression is None or compression.open_blocks is None:
        raise Unsupported(f"{container.name} can only be unpacked from its beginning")
    return compression.open_blocks(file, kept_bytes)


def unpacked_file(path: Path, container: ContainerFormat) -> Generator[bytes]:
    """Yield the content of a compressed file. Raises Bad, Unsupported and OSError."""
    if container.compression is None:
        raise Unsupported(f"{container.name} is not a compressed format")
    with path.open("rb") as file:
        yield from container.compression.unpack(file)


def _open(own: ContainerFormat, file: Reader, source: Source) -> OpenedContainer:
    """Open the disk in a compressed file if it can be read at any offset, else examine its beginning."""
    path = source.path
    try:
        disk = open_blocks(file, own)
        # The name without ".xz" is the name of the content.
        inner = source.open_inner(disk, Path(path.stem))
    except Unsupported as problem:
        return _open_beginning(own, file, source, reason=problem.message)
    except ReadProblem as problem:
        what, remedy = f"The file is compressed with {own.name}, and damaged", COPY_AGAIN.replace("the file", path.name)
        found = damaged("container-damaged", what, problem, remedy=remedy)
        return OpenedContainer(container=own, format=DiskFormat.RAW, problems=(found,))
    if inner.container.compression:
        return replace(inner, container=own, problems=(compressed_twice(path, inner.container),))
    if inner.disk is disk:  # the content is a RAW disk
        return replace(inner, container=own, problems=(_sent_by_blocks(own, disk), *inner.problems))
    unread = () if inner.disk or inner.unknowns else ("the disk is inspected after it is unpacked",)
    note = _unpacked_first(path, own, f"it contains {inner.container.name}", is_raw=False)
    return replace(
        inner,
        container=own,
        format=inner.format and inner.container.unpacked_format,
        problems=(note, *inner.problems),
        unknowns=(*inner.unknowns, *unread),
    )


def _open_beginning(own: ContainerFormat, file: Reader, source: Source, *, reason: str) -> OpenedContainer:
    """Examine the beginning of a file that has to be unpacked to a temporary file."""
    path, head = source.path, _beginning(own, file)
    unknowns = (f"the disk is inspected after it is unpacked: it is compressed ({own.name})",)
    if head is None:
        note = _unpacked_first(path, own, reason, is_raw=True)
        return OpenedContainer(container=own, format=DiskFormat.RAW, problems=(note,), unknowns=unknowns)
    content = BytesReader(head)
    inner = source.open_inner(content, Path(path.stem))
    problems = [_unpacked_first(path, own, reason, is_raw=inner.disk is content)]
    if inner.container.compression:
        problems.append(compressed_twice(path, inner.container))
    elif inner.container.judged_by_head:
        problems += [problem for problem in inner.problems if problem.severity is Severity.BLOCKS]
    return OpenedContainer(
        container=own, format=inner.container.unpacked_format, problems=tuple(problems), unknowns=unknowns
    )


def _beginning(own: ContainerFormat, file: Reader) -> bytes | None:
    """Return the first piece of the content, or None if it can't be unpacked. The conversion reports that error."""
    compression = own.compression
    if compression is None:
        return None
    # Only a FileReader has an end to read; the content of a compressed file is not opened as compressed again.
    whole = file if compression.reads_end and isinstance(file, FileReader) else None
    opened: BinaryIO = whole.open() if whole else BytesIO(file.pread(0, MIB))
    with opened:
        pieces = compression.unpack(opened)
        try:
            return next(pieces, b"")
        except ReadProblem:
            return None
        finally:
            pieces.close()


def _sent_by_blocks(own: ContainerFormat, disk: BlockReader) -> Problem:
    return Problem(
        code="container-compressed",
        severity=Severity.NOTE,
        message=f"The file is compressed with {own.name}, in {disk.blocks} blocks of at most "
        f"{disk.block_bytes / MIB:.3g} MiB: it is unpacked during the upload, without a temporary file.",
        where="first bytes",
    )


def _unpacked_first(path: Path, own: ContainerFormat, reason: str, *, is_raw: bool) -> Problem:
    command = own.compression.command if own.compression else ""
    unpack, target = command.format(path=shlex.quote(path.name)), shlex.quote(f"{path.stem}.blocks.xz")
    return Problem(
        code="container-compressed",
        severity=Severity.NOTE,
        message=f"The file is compressed with {own.name} and is unpacked to a temporary file first: {reason}.",
        where="first bytes",
        remedy="To avoid the temporary file, and to check the disk before the upload, compress it in blocks: "
        f"`{unpack} | xz -T0 --block-size=16MiB > {target}`."
        if is_raw
        else None,
        convertible=True,
    )


def compressed_twice(path: Path, inner: ContainerFormat) -> Problem:
    """Return the problem of a compressed file that contains another one."""
    return Problem(
        code="container-compressed",
        severity=Severity.BLOCKS,
        message=f"The file is compressed twice: it contains {inner.name} data.",
        where="first bytes",
        remedy=f"Unpack {path.name} once, and push the result.",
    )


def _is_bzip2(_file: Reader, head: bytes) -> bool:
    """Check the bytes after the signature, which has three bytes only: boot code may begin with them."""
    return head[3:4].isdigit() and head[4:10] in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")


def _format(
    name: str,
    suffix: str,
    signature: bytes,
    compression: Compression,
    *,
    matches: Callable[[Reader, bytes], bool] | None = None,
) -> ContainerFormat:
    return ContainerFormat(
        name=name,
        open=_open,
        upload=Upload.UNPACKED,
        signatures=((0, signature),),
        matches=matches,
        suffixes=(suffix,),
        compression=compression,
    )


GZIP = _format("gzip", ".gz", b"\x1f\x8b\x08", Compression("gzip -dc {path}", partial(unpacked, new=new_gzip)))
XZ = _format(
    "xz",
    ".xz",
    b"\xfd7zXZ\0",
    Compression(
        "xz -dc {path}",
        partial(unpacked, new=new_xz),
        open_blocks=lambda file, kept_bytes: BlockReader(file, xz_blocks(file), unpack_xz, kept_bytes=kept_bytes),
    ),
)
ZSTD = _format(
    "zstd",
    ".zst",
    b"\x28\xb5\x2f\xfd",
    Compression(
        "zstd -dc {path}",
        partial(unpacked, new=new_zstd),
        open_blocks=lambda file, kept_bytes: BlockReader(file, zstd_blocks(file), unpack_zstd, kept_bytes=kept_bytes),
    ),
)
BZIP2 = _format(
    "bzip2", ".bz2", b"BZh", Compression("bzip2 -dc {path}", partial(unpacked, new=BZ2Decompressor)), matches=_is_bzip2
)


def zip_of(disk_suffixes: tuple[str, ...]) -> ContainerFormat:
    """Return the format of a zip archive with one disk: its only file, or its only file with one of these suffixes."""
    unpack = partial(unzipped, disk_suffixes=disk_suffixes)
    return _format("zip", ".zip", b"PK\x03\x04", Compression("unzip -p {path}", unpack, reads_end=True))
