"""This file opens a VHD and judges it: checksums, sizes, truncation, CHS padding, blocks within the file.

ECS answers 403 InvalidVHDImage.IncorrectSize when the size does not fit MaxTableEntries * BlockSize, and
InvalidBlockSize.NotSupport for some block sizes (ImportImage, error table); the rest is the format's own specification.
"""

import array
from itertools import pairwise

from aliyun_import.disk import vhd
from aliyun_import.disk.container import Opened
from aliyun_import.disk.reader import Bad, Reader, ReadProblem, Window
from aliyun_import.disk.report import Container, Problem
from aliyun_import.limits import MIB
from aliyun_import.model import DiskFormat, Severity

TRUNCATED = "vhd-truncated"
_COPY_AGAIN = "Copy the file again from its source, and compare the sizes (and a checksum) of both."
# What every tool of today writes: 2 MiB, and 512 KiB as the specification allows.
_USUAL_BLOCKS = (2 * MIB, MIB // 2)


def find_footer(file: Reader) -> tuple[vhd.Footer, int] | None:
    """Find the footer: in the last 512 bytes, or its copy at the beginning. Gives it and its offset."""
    for at in (file.size - vhd.SECTOR, 0):
        footer = vhd.parse_footer(file.pread(at, vhd.SECTOR)) if at >= 0 else None
        if footer is not None:
            return footer, at
    return None


def open_vhd(file: Reader, footer: vhd.Footer, *, at: int) -> Opened:
    """Look at a VHD whose footer (or its copy) was found at `at`. Raises OSError only."""
    problems = [] if footer.checksum_right else [_checksum_wrong(footer, at)]
    try:
        if footer.type == vhd.FIXED:
            return _open_fixed(file, footer, problems, at=at)
        if footer.type == vhd.DYNAMIC:
            return _open_dynamic(file, footer, problems, at=at)
        if footer.type == vhd.DIFFERENCING:
            return _open_differencing(file, footer, problems)
        raise Bad(f"the footer says that it is a VHD of type {footer.type}; 2, 3 and 4 are known", offset=at + 60)
    except Bad as problem:
        problems.append(_damaged(problem))
        unknowns: tuple[str, ...] = ()
    except ReadProblem as problem:
        unknowns = (f"the VHD can't be read: {problem.message}",)
    return Opened(
        container=Container.VHD_FIXED if footer.type == vhd.FIXED else Container.VHD_DYNAMIC,
        format=DiskFormat.VHD,
        virtual_bytes=footer.current_bytes,
        problems=tuple(problems),
        unknowns=unknowns,
    )


def _open_fixed(file: Reader, footer: vhd.Footer, problems: list[Problem], *, at: int) -> Opened:
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
    return Opened(
        container=Container.VHD_FIXED,
        format=DiskFormat.VHD,
        virtual_bytes=footer.current_bytes,
        disk=Window(file, start=0, size=min(held, footer.current_bytes)),
        problems=tuple(problems),
    )


def _open_dynamic(file: Reader, footer: vhd.Footer, problems: list[Problem], *, at: int) -> Opened:
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
    if header.block_bytes not in _USUAL_BLOCKS:
        problems.append(_odd_blocks(header))
    table = vhd.read_table(file, header)
    problems += [problem for problem in _block_problems(file, header, table) if at or problem.code != TRUNCATED]
    problems += _size_problems(footer, at=at)
    return Opened(
        container=Container.VHD_DYNAMIC,
        format=DiskFormat.VHD,
        virtual_bytes=footer.current_bytes,
        disk=vhd.DynamicReader(file, size=footer.current_bytes, header=header, table=table),
        problems=tuple(problems),
    )


def _open_differencing(file: Reader, footer: vhd.Footer, problems: list[Problem]) -> Opened:
    try:
        parent = vhd.read_header(file, footer).parent
    except ReadProblem:
        parent = ""
    named = f" {parent!r}" if parent else ""
    problems.append(
        Problem(
            code="vhd-differencing",
            severity=Severity.BLOCKS,
            seen=f"It is a differencing VHD: it holds only the differences to its parent{named}.",
            where="footer, byte 60 (type 4)",
            remedy="Merge it with its parent (Merge-VHD on Windows), and push the merged disk.",
        )
    )
    return Opened(
        container=Container.VHD_DIFFERENCING,
        virtual_bytes=footer.current_bytes,
        problems=tuple(problems),
        unknowns=("the disk was not looked into: it is not whole without the parent of this differencing VHD",),
    )


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
    used = sorted(set(table) - {vhd.HOLE})
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
    repeated = len(table) - table.count(vhd.HOLE) != len(used)
    sectors = block // vhd.SECTOR
    if repeated or any(other - one < sectors for one, other in pairwise(used)):
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
