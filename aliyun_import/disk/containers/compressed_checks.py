"""This file opens compressed files and says what becomes of them: read block by block, or unpacked to a file first."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from aliyun_import.disk.containers.compressed import KEPT_BYTES, PackedReader
from aliyun_import.disk.containers.compressed_xz import unpack_xz, xz_blocks
from aliyun_import.disk.containers.interface import OpenedContainer
from aliyun_import.disk.io.reader import BytesReader, Reader, ReadProblem, Unsupported
from aliyun_import.disk.io.unpack import unpacked, unpacked_stream
from aliyun_import.disk.report import Container, Problem
from aliyun_import.limits import MIB
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskFormat

COMPRESSED: Mapping[Container, str] = {
    Container.GZIP: "gzip",
    Container.XZ: "xz",
    Container.ZSTD: "zstd",
    Container.BZIP2: "bzip2",
    Container.ZIP: "zip",
}
# What a disk in these would be sent as, and whose beginning alone does not show whether they are sound.
_FORMATS = {Container.QCOW2: DiskFormat.QCOW2, Container.VHD_DYNAMIC: DiskFormat.VHD}
_TOLD_BY_THE_WHOLE = frozenset(
    {*_FORMATS, Container.RAW, Container.VHD_FIXED, Container.VHD_DIFFERENCING, Container.EMPTY}
)
# Puts out what a file unpacks to; `{path}` is the file.
_UNPACKERS = {
    Container.GZIP: "gzip -dc {path}",
    Container.XZ: "xz -dc {path}",
    Container.ZSTD: "zstd -dc {path}",
    Container.BZIP2: "bzip2 -dc {path}",
    Container.ZIP: "unzip -p {path}",
}


def open_blocks(file: Reader, container: Container, *, kept_bytes: int = KEPT_BYTES) -> PackedReader:
    """Open what is in a compressed file, if it is packed in blocks of their own.

    Raises Unsupported, which says why it is not, and Bad when the file contradicts its format.
    """
    if container is Container.XZ:
        return PackedReader(file, xz_blocks(file), unpack_xz, kept_bytes=kept_bytes)
    if container is Container.ZSTD:
        # Python before 3.14 has zstd from a package, which costs 20 ms to import.
        from aliyun_import.disk.containers.compressed_zstd import unpack_zstd, zstd_blocks

        return PackedReader(file, zstd_blocks(file), unpack_zstd, kept_bytes=kept_bytes)
    raise Unsupported(f"{COMPRESSED[container]} can only be unpacked from its beginning")


def open_compressed(
    file: Reader, container: Container, *, path: Path, open_inner: Callable[[Reader, Path], OpenedContainer]
) -> OpenedContainer:
    """Say what will become of the file, and open the disk in it if it can be read at any place. Raises OSError only."""
    try:
        disk = open_blocks(file, container)
        # The name without ".xz" is the one of what is in it.
        inner = open_inner(disk, Path(path.stem))
    except Unsupported as problem:
        return _by_its_beginning(file, container, path, open_inner, why=problem.message)
    except ReadProblem as problem:
        return OpenedContainer(
            container=container, format=DiskFormat.RAW, problems=(_damaged(path, container, problem),)
        )
    if inner.container is Container.RAW:
        return replace(inner, container=container, problems=(_as_it_is(container, disk), *inner.problems))
    if inner.container in COMPRESSED:
        return replace(inner, container=container, problems=(_packed_twice(path, inner.container),))
    unlooked = () if inner.disk or inner.unknowns else ("the disk was not looked into before it is unpacked",)
    return replace(
        inner,
        container=container,
        # Without its footer a fixed VHD is a RAW disk.
        format=DiskFormat.RAW if inner.container is Container.VHD_FIXED else inner.format,
        problems=(_to_a_file(path, container, f"it holds {inner.container}", inner=inner.container), *inner.problems),
        unknowns=(*inner.unknowns, *unlooked),
    )


def _by_its_beginning(
    file: Reader, container: Container, path: Path, open_inner: Callable[[Reader, Path], OpenedContainer], *, why: str
) -> OpenedContainer:
    """Say what can be said of a file that has to be unpacked to know more; its beginning is unpacked here."""
    head = _beginning(file, container, path)
    inner = OpenedContainer(container=Container.RAW) if head is None else open_inner(BytesReader(head), Path(path.stem))
    problems = [_to_a_file(path, container, why, inner=inner.container)]
    if inner.container in COMPRESSED:
        problems.append(_packed_twice(path, inner.container))
    elif inner.container not in _TOLD_BY_THE_WHOLE:
        problems += [problem for problem in inner.problems if problem.severity is Severity.BLOCKS]
    return OpenedContainer(
        container=container,
        format=_FORMATS.get(inner.container, DiskFormat.RAW),
        problems=tuple(problems),
        unknowns=(f"the disk was not looked into: it is compressed ({container})",),
    )


def _beginning(file: Reader, container: Container, path: Path) -> bytes | None:
    """Unpack the first piece; None when that can't be done, which is for the whole to tell."""
    is_zip = container is Container.ZIP
    pieces = unpacked(path, container) if is_zip else unpacked_stream(BytesIO(file.pread(0, MIB)), container)
    try:
        return next(pieces, b"")
    except ReadProblem:
        return None
    finally:
        pieces.close()


def _as_it_is(container: Container, disk: PackedReader) -> Problem:
    return Problem(
        code="container-compressed",
        severity=Severity.NOTE,
        seen=f"The file is compressed with {container}, in {disk.blocks} blocks of at most "
        f"{disk.block_bytes / MIB:.3g} MiB: it is sent as it is unpacked, without a temporary file.",
        where="first bytes",
    )


def _to_a_file(path: Path, container: Container, why: str, *, inner: Container) -> Problem:
    unpack = _UNPACKERS[container].format(path=shlex.quote(path.name))
    packed = shlex.quote(f"{path.stem}.blocks.xz")
    return Problem(
        code="container-compressed",
        severity=Severity.NOTE,
        seen=f"The file is compressed with {container} and is unpacked to a temporary file on the way: {why}.",
        where="first bytes",
        remedy="Packed in blocks it needs no such file, and is checked before anything is sent: "
        f"`{unpack} | xz -T0 --block-size=16MiB > {packed}`."
        if inner is Container.RAW
        else None,
        convertible=True,
    )


def _packed_twice(path: Path, inner: Container) -> Problem:
    return Problem(
        code="container-compressed",
        severity=Severity.BLOCKS,
        seen=f"The file is compressed twice: there is {inner} data in it.",
        where="first bytes",
        remedy=f"Unpack {path.name} once, and push what comes out.",
    )


def _damaged(path: Path, container: Container, problem: ReadProblem) -> Problem:
    return Problem(
        code="container-damaged",
        severity=Severity.BLOCKS,
        seen=f"The file is compressed with {container}, and damaged: {problem.message}.",
        where="" if problem.offset is None else f"byte {problem.offset}",
        remedy=f"Copy {path.name} again from its source, and compare the sizes (and a checksum) of both.",
    )
