"""Checks of VHDs: checksums, sizes, truncation, CHS padding, blocks within the file; and the removal of the padding.

ECS answers 403 InvalidVHDImage.IncorrectSize when the size does not fit MaxTableEntries * BlockSize, and
InvalidBlockSize.NotSupport for some block sizes (ImportImage, error table); the rest is the format's own specification.
"""

import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, pairwise

from aliyun_import.disk.containers import vhd
from aliyun_import.disk.containers.interface import (
    COPY_AGAIN,
    ContainerFormat,
    Neighbours,
    OpenedContainer,
    Promise,
    Source,
    Upload,
    broken_file,
    damaged,
)
from aliyun_import.disk.reader import Bad, Missing, Reader, ReadProblem, Window, data_pieces
from aliyun_import.disk.report import DiskReport, Problem
from aliyun_import.limits import GIB, MIB
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskFormat

TRUNCATED = "vhd-truncated"
CHS_PADDED = "vhd-chs-padded"
_CHUNK_BYTES = 4 * MIB
_GPT_ALTERNATE_AT = 32
# What every current tool writes: 2 MiB, and 512 KiB as the specification allows.
_USUAL_BLOCKS = (2 * MIB, MIB // 2)
_NOT_WHOLE = "the disk was not inspected: it is not whole without the parent of this differencing VHD"
_AS_RAW = "Convert it, `qemu-img convert -f vpc -O raw DISK.vhd DISK.raw`, and push the RAW."


def _open(own: ContainerFormat, file: Reader, source: Source) -> OpenedContainer:
    del own
    found = vhd.find_footer(file)
    if found is None:
        raise AssertionError("a VHD is recognised by its footer")
    footer, at = found
    return open_vhd(file, footer, at=at, neighbours=source.neighbours)


def _has_type(*types: int) -> Callable[[Reader, bytes], bool]:
    def matches(file: Reader, _head: bytes) -> bool:
        found = vhd.find_footer(file)
        return found is not None and (not types or found[0].type in types)

    return matches


FIXED = ContainerFormat(
    name="vhd-fixed",
    open=_open,
    upload=Upload.AS_IS,
    matches=_has_type(vhd.FIXED),
    judged_by_head=False,
    promise=Promise(
        suffixes=(".vhd", ".vpc"),
        title="VHD",
        content="a footer that begins with `conectix` in its last 512 bytes",
        code="vhd-no-footer",
        where="last 512 bytes",
    ),
)
DIFFERENCING = ContainerFormat(
    name="vhd-differencing",
    open=_open,
    upload=Upload.MERGED,
    matches=_has_type(vhd.DIFFERENCING),
    judged_by_head=False,
)
# A footer with an unknown type counts as this one, and is reported as damaged.
DYNAMIC = ContainerFormat(
    name="vhd-dynamic",
    open=_open,
    upload=Upload.AS_IS,
    matches=_has_type(),
    unpacked_format=DiskFormat.VHD,
    judged_by_head=False,
)
_FORMATS = {vhd.FIXED: FIXED, vhd.DIFFERENCING: DIFFERENCING}


def open_vhd(
    file: Reader,
    footer: vhd.Footer,
    *,
    at: int,
    neighbours: Neighbours | None = None,
    children: tuple[bytes, ...] = (),
) -> OpenedContainer:
    """Open and check a VHD whose footer, or its copy, is at `at`. Raises OSError only.

    The parent of a differencing one is searched among the neighbours, if there are any. `children` are the unique ids
    of the VHDs that this one is a parent of.
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
            parents, parent = _open_parent(file, header, problems, neighbours, children=(*children, footer.unique_id))
            if parent is None:
                return _opened(footer, problems, unknowns=(_NOT_WHOLE,))
            disk = vhd.DifferencingReader(file, size=footer.current_bytes, header=header, table=table, parent=parent)
            return _opened(footer, problems, disk=disk, parents=parents)
        raise Bad(f"the footer names type {footer.type}, which is not 2, 3 or 4", offset=at + 60)
    except Bad as problem:
        return _opened(footer, [*problems, damaged("vhd-damaged", "The VHD is damaged", problem)])
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
    container = _FORMATS.get(footer.type, DYNAMIC)
    # ECS takes no differencing VHD: it is merged with its parents into a RAW disk.
    merged = DiskFormat.RAW if disk else None
    return OpenedContainer(
        container=container,
        format=merged if container is DIFFERENCING else DiskFormat.VHD,
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
            broken_file(
                "vhd-size-mismatch",
                f"The footer gives the disk {footer.current_bytes} bytes, but the file contains {held}.",
                where=f"footer, byte {at + 48}",
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
            broken_file(
                TRUNCATED,
                "The footer's copy is at the beginning, but no footer is at the end: the file was cut short.",
                where=f"byte {max(file.size - vhd.SECTOR, 0)}",
            )
        )
    header = vhd.read_header(file, footer)
    if not header.checksum_right:
        problems.append(
            broken_file(
                "vhd-header-checksum",
                "The second header does not match its checksum: it is damaged.",
                where=f"second header, byte {header.at + 36}",
            )
        )
    if header.blocks * header.block_bytes < footer.current_bytes:
        problems.append(
            broken_file(
                "vhd-table-too-small",
                f"The block table has {header.blocks} blocks of {header.block_bytes} bytes, less than "
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
    children: tuple[bytes, ...],
) -> tuple[tuple[str, ...], Reader | None]:
    """Open the parent of a differencing VHD, and its parents: their names, and the disk, None when it can't be read."""
    try:
        parent = vhd.find_parent(file, header, neighbours=neighbours, children=children)
    except Missing as problem:
        problems.append(_not_whole(header, problem))
        return (), None
    opened = open_vhd(parent.neighbour.file, parent.footer, at=parent.at, neighbours=neighbours, children=children)
    problems += [
        replace(problem, seen=f"In its parent {parent.name!r}: {problem.seen}")
        for problem in opened.problems
        if problem.severity is Severity.BLOCKS
    ]
    if opened.disk is None:
        return (), None
    problems.append(_made_whole(parent.name))
    if vhd.modified_since(parent, header):
        problems.append(_parent_modified(parent.name))
    return (parent.name, *opened.parents), opened.disk


def _size_problems(footer: vhd.Footer, *, at: int) -> list[Problem]:
    """Check for the padding that `qemu-img convert -O vpc` makes without force_size: up to the next CHS geometry."""
    over = footer.current_bytes % MIB
    if not over:
        return []
    if footer.creator == "qemu" and footer.geometry_bytes == footer.current_bytes:
        return [
            Problem(
                code="vhd-chs-padded",
                severity=Severity.WARNS,
                seen=f"qemu-img enlarged the disk to {footer.current_bytes} bytes, the next CHS geometry: it may "
                "need a GiB more, and the backup of a GPT is not at its end. A push removes the padding.",
                where=f"footer, byte {at + 48}",
                remedy="To correct the file too, make it again: `qemu-img convert -O vpc` with `-o force_size=on`.",
                convertible=True,
            )
        ]
    return [
        Problem(
            code="vhd-size-not-mib",
            severity=Severity.NOTE,
            seen=f"The virtual size, {footer.current_bytes} bytes, is not a whole number of MiB: Azure refuses such a "
            "VHD; whether ECS does is unknown.",
            where=f"footer, byte {at + 48}",
            remedy="If the import fails on its size, convert it to RAW.",
        )
    ]


def _block_problems(file: Reader, header: vhd.DynamicHeader, table: "array.array[int]") -> list[Problem]:
    """Check that every block ends within the file and before the next one."""
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
            )
        ]
    sectors = block // vhd.SECTOR
    if any(other - one < sectors for one, other in pairwise(used)):
        return [
            broken_file(
                "vhd-blocks-overlap",
                "Two entries of the block table name the same sectors: one of two blocks was overwritten.",
                where=f"block table at byte {header.table_at}",
            )
        ]
    return []


def _checksum_wrong(footer: vhd.Footer, at: int) -> Problem:
    return Problem(
        code="vhd-footer-checksum",
        severity=Severity.BLOCKS,
        seen=f"The footer does not match its checksum ({footer.checksum:#010x}): it is damaged.",
        where=f"footer, byte {at + 64}",
        remedy=f"{COPY_AGAIN} If only the footer is wrong: {_AS_RAW[0].lower()}{_AS_RAW[1:]}",
    )


def _odd_blocks(header: vhd.DynamicHeader) -> Problem:
    return Problem(
        code="vhd-block-size",
        severity=Severity.WARNS,
        seen=f"Its blocks have {header.block_bytes} bytes; ECS refuses some block sizes (2 MiB is usual).",
        where=f"second header, byte {header.at + 32}",
        remedy=_AS_RAW,
    )


def _not_whole(header: vhd.DynamicHeader, problem: Missing) -> Problem:
    named = f" {header.parent!r}" if header.parent else ""
    return Problem(
        code="vhd-differencing",
        severity=Severity.BLOCKS,
        seen=f"It is a differencing VHD, which contains only the differences to its parent{named}, and the parent was "
        f"not found: {problem.message}.",
        where="footer, byte 60 (type 4)",
        # Not qemu-img, which silently takes it for a whole disk.
        remedy=f"Put its parent {vhd.bare_name(header.parent)!r} into the same folder; or merge them (`Merge-VHD` on "
        "Windows, `VBoxManage clonemedium disk CHILD.vhd WHOLE.vhd --format VHD`), and push the merged disk.",
    )


def _made_whole(parent: str) -> Problem:
    return Problem(
        code="vhd-differencing",
        severity=Severity.NOTE,
        seen=f"It is a differencing VHD: it contains only the differences to its parent {parent!r} in the same folder. "
        "The two are merged into one disk first.",
        where="footer, byte 60 (type 4)",
        remedy="To keep the merged disk, merge the two: `Merge-VHD` on Windows.",
        convertible=True,
    )


def _parent_modified(parent: str) -> Problem:
    return Problem(
        code="vhd-parent-modified",
        severity=Severity.WARNS,
        seen=f"Its parent {parent!r} was modified at another time than the differencing VHD recorded. If the "
        "parent was copied without its times, this is harmless; if it was written to, the disk is damaged.",
        where="second header, byte 56",
        remedy="If a machine has used the parent since, take both files from a backup of the same moment.",
    )


def rebuilt(disk: Reader, report: DiskReport) -> Iterator[bytes | int]:
    """Yield the content of the file to upload: bytes, and numbers of zero bytes.

    A differencing VHD becomes a RAW disk, a padded VHD a fixed VHD without padding. Both are read by our own reader:
    qemu-img takes a differencing VHD for a dynamic one.
    """
    if report.container == DIFFERENCING.name:
        return data_pieces(disk, disk.size)
    size = _unpadded_bytes(disk, report)
    return chain(data_pieces(disk, size), [vhd.fixed_footer(size)])


def _unpadded_bytes(disk: Reader, report: DiskReport) -> int:
    """Return the size before the padding: up to the GPT's backup, else the whole GiB or MiB below without data behind.

    The padding is a cylinder at most, 2 MiB.
    """
    head = disk.pread(512, 512)
    alternate = int.from_bytes(head[_GPT_ALTERNATE_AT : _GPT_ALTERNATE_AT + 8], "little")
    has_gpt = head.startswith(b"EFI PART")
    sizes = [(alternate + 1) * 512] if has_gpt else [disk.size // unit * unit for unit in (GIB, MIB)]
    used = max((partition.start_bytes + partition.size_bytes for partition in report.partitions), default=0)
    for size in sizes:
        if max(used, disk.size - _CHUNK_BYTES) <= size <= disk.size and not any(disk.pread(size, _CHUNK_BYTES)):
            return size
    return disk.size
