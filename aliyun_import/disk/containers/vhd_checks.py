"""Checks of VHDs (checksums, sizes, truncation, CHS padding, block table), and the removal of CHS padding.

ECS answers 403 InvalidVHDImage.IncorrectSize if the size is larger than MaxTableEntries * BlockSize, and
InvalidBlockSize.NotSupport for some block sizes (error table of ImportImage). The other rules are those of the format.
"""

import array
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from aliyun_import.disk.containers import vhd
from aliyun_import.disk.containers.interface import (
    COPY_AGAIN,
    ContainerFormat,
    OpenedContainer,
    OpenSibling,
    Source,
    SuffixRule,
    Upload,
    broken_file,
    damaged,
)
from aliyun_import.disk.reader import Bad, Missing, Reader, ReadProblem, Window
from aliyun_import.disk.report import DiskReport, Problem
from aliyun_import.limits import GIB, MIB
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskFormat

TRUNCATED = "vhd-truncated"
CHS_PADDED = "vhd-chs-padded"
NEEDS_PARENT = "vhd-differencing"
_CHUNK_BYTES = 4 * MIB
_GPT_ALTERNATE_AT = 32
# Block sizes of current tools: 2 MiB, and 512 KiB as the specification allows.
_USUAL_BLOCKS = (2 * MIB, MIB // 2)
_NOT_WHOLE = "the disk was not inspected: it is not whole without the parent of this differencing VHD"
_AS_RAW = "Convert it, `qemu-img convert -f vpc -O raw {file} {file}.raw`, and push the RAW."


def _open(own: ContainerFormat, file: Reader, source: Source) -> OpenedContainer:
    del own
    found = vhd.find_footer(file)
    if found is None:
        raise AssertionError("a VHD is recognised by its footer")
    footer, at = found
    return open_vhd(file, footer, at=at, open_sibling=source.open_sibling)


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
    suffixes=(".vhd", ".vpc"),
    suffix_rule=SuffixRule(
        title="VHD",
        content="a footer that begins with `conectix` in its last 512 bytes",
        code="vhd-no-footer",
        where="last 512 bytes",
    ),
)
DIFFERENCING = ContainerFormat(
    name="vhd-differencing",
    open=_open,
    upload=Upload.REWRITTEN,
    matches=_has_type(vhd.DIFFERENCING),
)
# A footer with an unknown type counts as this one, and is reported as damaged.
DYNAMIC = ContainerFormat(
    name="vhd-dynamic",
    open=_open,
    upload=Upload.AS_IS,
    matches=_has_type(),
    unpacked_format=DiskFormat.VHD,
)
_FORMATS = {vhd.FIXED: FIXED, vhd.DIFFERENCING: DIFFERENCING}


def open_vhd(
    file: Reader,
    footer: vhd.Footer,
    *,
    at: int,
    open_sibling: OpenSibling | None = None,
    children: tuple[bytes, ...] = (),
) -> OpenedContainer:
    """Open and check a VHD with its footer, or the copy of the footer, at `at`. Raises OSError only.

    The parent of a differencing VHD is opened with `open_sibling`. `children` are the unique ids of the VHDs of which
    this one is a parent.
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
            parents, parent = _open_parent(file, header, problems, open_sibling, children=(*children, footer.unique_id))
            if parent is None:
                return _opened(footer, problems, unknowns=(_NOT_WHOLE,))
            disk = vhd.DifferencingReader(file, size=footer.current_bytes, header=header, table=table, parent=parent)
            return _opened(footer, problems, disk=disk, parents=parents)
        raise Bad(f"the footer has type {footer.type}, which is not 2, 3 or 4", offset=at + 60)
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
    # ECS does not accept a differencing VHD: it is merged with its parents into a RAW disk.
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
    data_bytes = file.size - vhd.SECTOR
    if data_bytes != footer.current_bytes:
        problems.append(
            broken_file(
                "vhd-size-mismatch",
                f"The disk size in the footer is {footer.current_bytes} bytes, but the file has {data_bytes} bytes of "
                "data.",
                where=f"footer, byte {at + 48}",
            )
        )
    problems += _size_problems(footer, at=at)
    return _opened(footer, problems, disk=Window(file, start=0, size=min(data_bytes, footer.current_bytes)))


def _read_tables(
    file: Reader, footer: vhd.Footer, problems: list[Problem], *, at: int
) -> tuple[vhd.DynamicHeader, "array.array[int]"]:
    """Read and check the header and the block table of a dynamic or differencing VHD."""
    if at == 0:
        problems.append(
            broken_file(
                TRUNCATED,
                "The copy of the footer is at the beginning, but there is no footer at the end: the file is truncated.",
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
    if footer.type == vhd.DYNAMIC:  # a differencing VHD is not sent to ECS
        problems += [] if header.block_bytes in _USUAL_BLOCKS else [_odd_blocks(header)]
        problems += _size_problems(footer, at=at)
    return header, table


def _open_parent(
    file: Reader,
    header: vhd.DynamicHeader,
    problems: list[Problem],
    open_sibling: OpenSibling | None,
    *,
    children: tuple[bytes, ...],
) -> tuple[tuple[str, ...], Reader | None]:
    """Open the parent of a differencing VHD. Return the names of all parents, and its disk or None."""
    try:
        parent = vhd.find_parent(file, header, open_sibling=open_sibling, children=children)
    except Missing as problem:
        problems.append(_not_whole(header, problem))
        return (), None
    opened = open_vhd(parent.sibling.file, parent.footer, at=parent.at, open_sibling=open_sibling, children=children)
    problems += [
        replace(problem, message=f"In its parent {parent.name!r}: {problem.message}")
        for problem in opened.problems
        if problem.severity is Severity.BLOCKS
    ]
    if opened.disk is None:
        return (), None
    problems.append(_is_merged(parent.name))
    if vhd.modified_since(parent, header):
        problems.append(_parent_modified(parent.name))
    return (parent.name, *opened.parents), opened.disk


def _size_problems(footer: vhd.Footer, *, at: int) -> list[Problem]:
    """Check for the padding to the next CHS geometry, which `qemu-img convert -O vpc` adds without force_size."""
    over = footer.current_bytes % MIB
    if not over:
        return []
    if footer.creator == "qemu" and footer.geometry_bytes == footer.current_bytes:
        return [
            Problem(
                code=CHS_PADDED,
                severity=Severity.WARNS,
                message=f"qemu-img enlarged the disk to {footer.current_bytes} bytes, the next CHS geometry: the image "
                "may need one GiB more, and the backup of a GPT is not at its end. A push removes the padding.",
                where=f"footer, byte {at + 48}",
                remedy="To correct the file, too, create it again: `qemu-img convert -O vpc` with `-o force_size=on`.",
                convertible=True,
            )
        ]
    return [
        Problem(
            code="vhd-size-not-mib",
            severity=Severity.NOTE,
            message=f"The virtual size, {footer.current_bytes} bytes, is not a multiple of 1 MiB. Azure refuses such a "
            "VHD; it is not known whether ECS does.",
            where=f"footer, byte {at + 48}",
            remedy="If the import fails because of the size, convert the disk to RAW.",
        )
    ]


def _block_problems(file: Reader, header: vhd.DynamicHeader, table: "array.array[int]") -> list[Problem]:
    """Check that blocks end within the file, and do not overlap."""
    if not table:
        return []
    # A list, because a set of four million entries takes 400 MiB.
    used = sorted(table)
    del used[bisect_left(used, vhd.HOLE) :]
    block = vhd.bitmap_bytes(header.block_bytes) + header.block_bytes
    if used and used[-1] * vhd.SECTOR + block > file.size:
        return [
            Problem(
                code=TRUNCATED,
                severity=Severity.BLOCKS,
                message=f"The block table has a block that ends at byte {used[-1] * vhd.SECTOR + block}, but the file "
                f"has {file.size} bytes: it is truncated.",
                where=f"block table at byte {header.table_at}",
            )
        ]
    sectors = block // vhd.SECTOR
    if any(other - one < sectors for one, other in pairwise(used)):
        return [
            broken_file(
                "vhd-blocks-overlap",
                "Two entries of the block table refer to the same sectors: one of the two blocks was overwritten.",
                where=f"block table at byte {header.table_at}",
            )
        ]
    return []


def _checksum_wrong(footer: vhd.Footer, at: int) -> Problem:
    return Problem(
        code="vhd-footer-checksum",
        severity=Severity.BLOCKS,
        message=f"The footer does not match its checksum ({footer.checksum:#010x}): it is damaged.",
        where=f"footer, byte {at + 64}",
        remedy=f"{COPY_AGAIN} If only the footer is wrong: {_AS_RAW[0].lower()}{_AS_RAW[1:]}",
    )


def _odd_blocks(header: vhd.DynamicHeader) -> Problem:
    return Problem(
        code="vhd-block-size",
        severity=Severity.WARNS,
        message=f"The blocks of the VHD have {header.block_bytes} bytes. ECS refuses some block sizes; 2 MiB is usual.",
        where=f"second header, byte {header.at + 32}",
        remedy=_AS_RAW,
    )


def _not_whole(header: vhd.DynamicHeader, problem: Missing) -> Problem:
    named = f" {header.parent!r}" if header.parent else ""
    return Problem(
        code=NEEDS_PARENT,
        severity=Severity.BLOCKS,
        message=f"The file is a differencing VHD, which contains only the differences from its parent{named}. The "
        f"parent was not found: {problem.message}.",
        where="footer, byte 60 (type 4)",
        # Not with qemu-img, which reads it as a whole disk without an error.
        remedy=f"Put the parent {vhd.bare_name(header.parent)!r} into the same directory; or merge them (`Merge-VHD` "
        "on Windows, `VBoxManage clonemedium disk CHILD.vhd WHOLE.vhd --format VHD`), and push the merged disk.",
    )


def _is_merged(parent: str) -> Problem:
    return Problem(
        code=NEEDS_PARENT,
        severity=Severity.NOTE,
        message=f"The file is a differencing VHD, which contains only the differences from its parent {parent!r} in "
        "the same directory. The two are merged into one disk first.",
        where="footer, byte 60 (type 4)",
        remedy="To keep the merged disk, merge the two: `Merge-VHD` on Windows.",
        convertible=True,
    )


def _parent_modified(parent: str) -> Problem:
    return Problem(
        code="vhd-parent-modified",
        severity=Severity.WARNS,
        message=f"The modification time of the parent {parent!r} is not the one that the differencing VHD recorded. If "
        "the parent was copied without its times, this is harmless. If it was written to, the disk is damaged.",
        where="second header, byte 56",
        remedy="If a machine has used the parent since then, take both files from one backup.",
    )


def unpadded_bytes(disk: Reader, report: DiskReport) -> int:
    """Return the size without the padding, which is at most one cylinder (2 MiB).

    This is the end of the backup GPT, or else the next lower multiple of 1 GiB or 1 MiB that is not followed by data.
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
