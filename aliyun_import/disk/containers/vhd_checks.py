"""This file opens a VHD and judges it: checksums, sizes, truncation, CHS padding, blocks within the file.

ECS answers 403 InvalidVHDImage.IncorrectSize when the size does not fit MaxTableEntries * BlockSize, and
InvalidBlockSize.NotSupport for some block sizes (ImportImage, error table); the rest is the format's own specification.
"""

import array
from bisect import bisect_left
from dataclasses import replace
from itertools import pairwise

from aliyun_import.disk.containers import vhd
from aliyun_import.disk.containers.interface import OpenedContainer
from aliyun_import.disk.containers.vhd_parent import Neighbours, bare_name, find_parent, modified_since
from aliyun_import.disk.io.reader import Bad, Missing, Reader, ReadProblem, Window
from aliyun_import.disk.report import Container, Problem
from aliyun_import.limits import MIB
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskFormat

TRUNCATED = "vhd-truncated"
_COPY_AGAIN = "Copy the file again from its source, and compare the sizes (and a checksum) of both."
# What every tool of today writes: 2 MiB, and 512 KiB as the specification allows.
_USUAL_BLOCKS = (2 * MIB, MIB // 2)
_CONTAINERS = {vhd.FIXED: Container.VHD_FIXED, vhd.DIFFERENCING: Container.VHD_DIFFERENCING}
_NOT_WHOLE = "the disk was not looked into: it is not whole without the parent of this differencing VHD"


def open_vhd(
    file: Reader,
    footer: vhd.Footer,
    *,
    at: int,
    neighbours: Neighbours | None = None,
    chain: tuple[bytes, ...] = (),
) -> OpenedContainer:
    """Look at a VHD whose footer (or its copy) was found at `at`. Raises OSError only.

    The parent of a differencing one is looked for among the neighbours, if there are any. `chain` are the unique ids of
    the VHDs that this one is a parent of.
    """
    problems = [] if footer.checksum_right else [_checksum_wrong(footer, at)]
    try:
        if footer.type == vhd.FIXED:
            return _open_fixed(file, footer, problems, at=at)
        if footer.type == vhd.DYNAMIC:
            header, table = _read_tables(file, footer, problems, at=at)
            disk = vhd.DynamicReader(file, size=footer.current_bytes, header=header, table=table)
            return _opened(footer, problems, disk=disk)
        if footer.type == vhd.DIFFERENCING:
            header, table = _read_tables(file, footer, problems, at=at)
            parents, parent = _open_parent(file, header, problems, neighbours, chain=(*chain, footer.unique_id))
            if parent is None:
                return _opened(footer, problems, unknowns=(_NOT_WHOLE,))
            disk = vhd.DifferencingReader(file, size=footer.current_bytes, header=header, table=table, parent=parent)
            return _opened(footer, problems, disk=disk, parents=parents)
        raise Bad(f"the footer says that it is a VHD of type {footer.type}; 2, 3 and 4 are known", offset=at + 60)
    except Bad as problem:
        return _opened(footer, [*problems, _damaged(problem)])
    except ReadProblem as problem:
        return _opened(footer, problems, unknowns=(f"the VHD can't be read: {problem.message}",))


def _opened(
    footer: vhd.Footer,
    problems: list[Problem],
    *,
    disk: Reader | None = None,
    parents: tuple[str, ...] = (),
    unknowns: tuple[str, ...] = (),
) -> OpenedContainer:
    container = _CONTAINERS.get(footer.type, Container.VHD_DYNAMIC)
    # ECS takes no differencing one, so that it is made whole as a RAW disk.
    whole = DiskFormat.RAW if disk else None
    return OpenedContainer(
        container=container,
        format=whole if container is Container.VHD_DIFFERENCING else DiskFormat.VHD,
        virtual_bytes=footer.current_bytes,
        disk=disk,
        problems=tuple(problems),
        unknowns=unknowns,
        parents=parents,
    )


def _open_fixed(file: Reader, footer: vhd.Footer, problems: list[Problem], *, at: int) -> OpenedContainer:
    if at == 0 and file.size != vhd.SECTOR:
        raise Bad("the footer of a fixed VHD is at its beginning and not at its end", offset=0)
    held = file.size - vhd.SECTOR
    if held != footer.current_bytes:
        problems.append(
            Problem(
                code="vhd-size-mismatch",
                severity=Severity.BLOCKS,
                seen=f"The footer says that the disk has {footer.current_bytes} bytes, but the file holds {held}.",
                where=f"footer, byte {at + 48}",
                remedy=_COPY_AGAIN,
            )
        )
    problems += _size_problems(footer, at=at)
    return _opened(footer, problems, disk=Window(file, start=0, size=min(held, footer.current_bytes)))


def _read_tables(
    file: Reader, footer: vhd.Footer, problems: list[Problem], *, at: int
) -> tuple[vhd.DynamicHeader, "array.array[int]"]:
    """Read what dynamic and differencing VHDs have besides a footer, and judge it."""
    if at == 0:
        problems.append(
            Problem(
                code=TRUNCATED,
                severity=Severity.BLOCKS,
                seen="The footer's copy is at the beginning, but no footer is at the end: the file was cut short.",
                where=f"byte {max(file.size - vhd.SECTOR, 0)}",
                remedy=_COPY_AGAIN,
            )
        )
    header = vhd.read_header(file, footer)
    if not header.checksum_right:
        problems.append(_header_checksum_wrong(header))
    if header.blocks * header.block_bytes < footer.current_bytes:
        problems.append(
            Problem(
                code="vhd-table-too-small",
                severity=Severity.BLOCKS,
                seen=f"The block table has room for {header.blocks} blocks of {header.block_bytes} bytes, less than "
                f"the {footer.current_bytes} bytes of the disk.",
                where=f"second header, byte {header.at + 28}",
                remedy=_AS_RAW,
            )
        )
    table = vhd.read_table(file, header)
    problems += [problem for problem in _block_problems(file, header, table) if at or problem.code != TRUNCATED]
    if footer.type == vhd.DYNAMIC:  # what matters to ECS, which gets no differencing one
        problems += [] if header.block_bytes in _USUAL_BLOCKS else [_odd_blocks(header)]
        problems += _size_problems(footer, at=at)
    return header, table


def _open_parent(
    file: Reader,
    header: vhd.DynamicHeader,
    problems: list[Problem],
    neighbours: Neighbours | None,
    *,
    chain: tuple[bytes, ...],
) -> tuple[tuple[str, ...], Reader | None]:
    """Open the parent of a differencing VHD, and its parents: their names, and the disk, None when it can't be read."""
    try:
        parent = find_parent(file, header, neighbours=neighbours, chain=chain)
    except Missing as problem:
        problems.append(_not_whole(header, problem))
        return (), None
    opened = open_vhd(parent.neighbour.file, parent.footer, at=parent.at, neighbours=neighbours, chain=chain)
    problems += [
        replace(problem, seen=f"In its parent {parent.name!r}: {problem.seen}")
        for problem in opened.problems
        if problem.severity is Severity.BLOCKS
    ]
    if opened.disk is None:
        return (), None
    problems.append(_made_whole(parent.name))
    if modified_since(parent, header):
        problems.append(_parent_modified(parent.name))
    return (parent.name, *opened.parents), opened.disk


def _size_problems(footer: vhd.Footer, *, at: int) -> list[Problem]:
    """Look for the padding that `qemu-img convert -O vpc` makes without force_size: up to the next CHS geometry."""
    over = footer.current_bytes % MIB
    if not over:
        return []
    if footer.creator == "qemu" and footer.geometry_bytes == footer.current_bytes:
        return [
            Problem(
                code="vhd-chs-padded",
                severity=Severity.WARNS,
                seen=f"The disk was made larger than it was, {footer.current_bytes} bytes, by qemu-img to fit a "
                "geometry (CHS): it may take a GiB more, and a GPT's backup is not at its end. A push cuts it back.",
                where=f"footer, byte {at + 48}",
                remedy="To have it right in the file, convert it again with `-o force_size=on`: "
                "`qemu-img convert -f SOURCE_FORMAT -O vpc -o subformat=dynamic,force_size=on SOURCE DISK.vhd`.",
                convertible=True,
            )
        ]
    return [
        Problem(
            code="vhd-size-not-mib",
            severity=Severity.NOTE,
            seen=f"The virtual size, {footer.current_bytes} bytes, is not a whole number of MiB: Azure refuses such a "
            "VHD, of ECS nothing is known.",
            where=f"footer, byte {at + 48}",
            remedy="If the import fails on its size, convert it to RAW.",
        )
    ]


def _block_problems(file: Reader, header: vhd.DynamicHeader, table: "array.array[int]") -> list[Problem]:
    """Hold every block against the end of the file, and against the next one."""
    if not table:
        return []
    # Not a set of them: of four million entries it would take 400 MiB.
    used = sorted(table)
    del used[bisect_left(used, vhd.HOLE) :]
    block = vhd.bitmap_bytes(header.block_bytes) + header.block_bytes
    if used and used[-1] * vhd.SECTOR + block > file.size:
        return [
            Problem(
                code=TRUNCATED,
                severity=Severity.BLOCKS,
                seen=f"The block table names a block that ends at byte {used[-1] * vhd.SECTOR + block}, but the file "
                f"has {file.size}: it was cut short.",
                where=f"block table at byte {header.table_at}",
                remedy=_COPY_AGAIN,
            )
        ]
    sectors = block // vhd.SECTOR
    if any(other - one < sectors for one, other in pairwise(used)):
        return [
            Problem(
                code="vhd-blocks-overlap",
                severity=Severity.BLOCKS,
                seen="Two entries of the block table name the same place: one of two blocks was overwritten.",
                where=f"block table at byte {header.table_at}",
                remedy=_COPY_AGAIN,
            )
        ]
    return []


_AS_RAW = "Convert it, `qemu-img convert -f vpc -O raw DISK.vhd DISK.raw`, and push the RAW."


def _checksum_wrong(footer: vhd.Footer, at: int) -> Problem:
    return Problem(
        code="vhd-footer-checksum",
        severity=Severity.BLOCKS,
        seen=f"The footer does not match its checksum ({footer.checksum:#010x}): it is damaged.",
        where=f"footer, byte {at + 64}",
        remedy=f"{_COPY_AGAIN} If only the footer is wrong: {_AS_RAW[0].lower()}{_AS_RAW[1:]}",
    )


def _header_checksum_wrong(header: vhd.DynamicHeader) -> Problem:
    return Problem(
        code="vhd-header-checksum",
        severity=Severity.BLOCKS,
        seen="The second header does not match its checksum: it is damaged.",
        where=f"second header, byte {header.at + 36}",
        remedy=_COPY_AGAIN,
    )


def _odd_blocks(header: vhd.DynamicHeader) -> Problem:
    return Problem(
        code="vhd-block-size",
        severity=Severity.WARNS,
        seen=f"Its blocks have {header.block_bytes} bytes; ECS refuses some block sizes (2 MiB is usual).",
        where=f"second header, byte {header.at + 32}",
        remedy=_AS_RAW,
    )


def _damaged(problem: Bad) -> Problem:
    return Problem(
        code="vhd-damaged",
        severity=Severity.BLOCKS,
        seen=f"The VHD is damaged: {problem.message}.",
        where="" if problem.offset is None else f"byte {problem.offset}",
        remedy=_COPY_AGAIN,
    )


def _not_whole(header: vhd.DynamicHeader, problem: Missing) -> Problem:
    named = f" {header.parent!r}" if header.parent else ""
    return Problem(
        code="vhd-differencing",
        severity=Severity.BLOCKS,
        seen=f"It is a differencing VHD, which holds only the differences to its parent{named}, and the parent was not "
        f"found: {problem.message}.",
        where="footer, byte 60 (type 4)",
        # Not qemu-img, which takes it for a whole disk, without a word.
        remedy=f"Put its parent {bare_name(header.parent)!r} into the same folder; or merge the two (`Merge-VHD` on "
        "Windows, `VBoxManage clonemedium disk CHILD.vhd WHOLE.vhd --format VHD`), and push the merged disk.",
    )


def _made_whole(parent: str) -> Problem:
    return Problem(
        code="vhd-differencing",
        severity=Severity.NOTE,
        seen=f"It is a differencing VHD: it holds only the differences to its parent, {parent!r} in the same folder. "
        "The two are made one disk on the way.",
        where="footer, byte 60 (type 4)",
        remedy="To keep the whole disk, merge the two: `Merge-VHD` on Windows.",
        convertible=True,
    )


def _parent_modified(parent: str) -> Problem:
    return Problem(
        code="vhd-parent-modified",
        severity=Severity.WARNS,
        seen=f"Its parent {parent!r} was modified at another time than the differencing VHD remembers. Where the "
        "parent was copied without its times, that means nothing; where it was written to, the disk is spoiled.",
        where="second header, byte 56",
        remedy="If a machine ran on the parent since, take both files from a backup of the same moment.",
    )
