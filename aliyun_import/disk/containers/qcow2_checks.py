"""The checks of a QCOW2 file: what it refers to, how it was closed, and whether it is complete."""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import chain

from aliyun_import.disk.containers import qcow2
from aliyun_import.disk.containers.interface import (
    COPY_AGAIN,
    ContainerFormat,
    OpenedContainer,
    Promise,
    Source,
    Upload,
)
from aliyun_import.disk.reader import Bad, Reader, ReadProblem, read_exactly
from aliyun_import.disk.report import Problem
from aliyun_import.limits import MIB
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskFormat

# The pass over the L2 tables takes 0.1 s for 40 GiB; with 512-byte clusters a disk may have millions of tables. These
# are of 512 GiB with the usual clusters of 64 KiB.
_MAX_TABLES_BYTES = 64 * MIB
_PLAIN_END, _COMPRESSED_END, _COPIED_END = 1 << 62, 2 << 62, 3 << 62
_FLATTEN = "Make one file of it: `qemu-img convert -f qcow2 -O qcow2 DISK.qcow2 WHOLE.qcow2`, and push that."


def _open(own: ContainerFormat, file: Reader, source: Source) -> OpenedContainer:
    """Open the disk in a QCOW2; check what the file refers to, how it was closed, and whether it is complete."""
    del source
    try:
        header = qcow2.read_header(file)
    except Bad as problem:
        return OpenedContainer(container=own, format=DiskFormat.QCOW2, problems=(_damaged(problem),))
    except ReadProblem as problem:
        return OpenedContainer(
            container=own, format=DiskFormat.QCOW2, unknowns=(f"the QCOW2 can't be read: {problem.message}",)
        )
    problems = _header_problems(header)
    disk: Reader | None = None
    unknowns: tuple[str, ...] = ()
    try:
        l1 = qcow2.read_l1(file, header)
        problems += _truncation(file, header, l1)
        disk = qcow2.Qcow2Reader(file, header, l1)
    except Bad as problem:
        problems.append(_damaged(problem))
    except ReadProblem as problem:
        unknowns = (f"the disk in the QCOW2 was not inspected: {problem.message}",)
    return OpenedContainer(
        container=own,
        format=DiskFormat.QCOW2,
        virtual_bytes=header.virtual_bytes,
        disk=disk,
        problems=tuple(problems),
        unknowns=unknowns,
    )


QCOW2 = ContainerFormat(
    name="qcow2",
    open=_open,
    upload=Upload.AS_IS,
    signatures=((0, qcow2.MAGIC),),
    unpacked_format=DiskFormat.QCOW2,
    judged_by_head=False,
    promise=Promise(suffixes=(".qcow2",), title="QCOW2", content="`QFI` in its first bytes", code="suffix-not-content"),
)


def _header_problems(header: qcow2.Header) -> list[Problem]:
    """Return what the header declares: references to other files, damage, snapshots, unknown features."""
    unknown = header.incompatible & ~qcow2.KNOWN_INCOMPATIBLE
    declared = (
        (header.has_backing, _of_header(
            "qcow2-backing-file", Severity.BLOCKS, "byte 8",
            f"The QCOW2 contains only the differences to its backing file {header.backing!r}.", _FLATTEN,
        )),
        (header.incompatible & qcow2.EXTERNAL_DATA, _of_header(
            "qcow2-external-data", Severity.BLOCKS, "byte 72, bit 2",
            f"The data of the QCOW2 is in another file, {header.data_file!r}.", _FLATTEN,
        )),
        (header.encryption, _of_header(
            "qcow2-encrypted", Severity.BLOCKS, "byte 32",
            f"The QCOW2 is encrypted ({'LUKS' if header.encryption == 2 else 'AES'}).",
            "Decrypt it: `qemu-img convert --object secret,id=s,file=KEYFILE --image-opts "
            "driver=qcow2,encrypt.key-secret=s,file.filename=DISK.qcow2 -O qcow2 PLAIN.qcow2`, and push that.",
        )),
        (header.incompatible & qcow2.CORRUPT, _of_header(
            "qcow2-corrupt", Severity.BLOCKS, "byte 72, bit 1", "The QCOW2 is marked as corrupt.",
            "Repair it on a copy: `qemu-img check -r all DISK.qcow2`.",
        )),
        (header.incompatible & qcow2.DIRTY, _of_header(
            "qcow2-dirty", Severity.WARNS, "byte 72, bit 0",
            "The QCOW2 was not closed properly (dirty bit): a machine is using it, or was killed.",
            "Stop the machine that uses it, and run `qemu-img check -r leaks DISK.qcow2`.",
        )),
        (unknown, _of_header(
            "qcow2-unknown-feature", Severity.WARNS, "byte 72",
            f"The QCOW2 uses features that this tool does not know (bits {unknown:#x}), and ECS may not know either.",
            _FLATTEN,
        )),
        (header.incompatible & qcow2.EXTENDED_L2, _of_header(
            "qcow2-extended-l2", Severity.WARNS, "byte 72, bit 4",
            "The QCOW2 uses extended L2 entries (subclusters), which only QEMU 5.2 and later can read.", _FLATTEN,
        )),
        (header.compression == qcow2.ZSTD, _of_header(
            "qcow2-zstd", Severity.WARNS, "byte 104",
            "The QCOW2 is compressed with zstd, which the service's pages do not name, and older software cannot read.",
            "Compress it with zlib: `qemu-img convert -f qcow2 -O qcow2 -c -o compression_type=zlib DISK.qcow2 "
            "ZLIB.qcow2`, and push that.",
        )),
        (header.snapshots, _of_header(
            "qcow2-snapshots", Severity.NOTE, "byte 60",
            f"The QCOW2 contains internal snapshots ({header.snapshots}), which are uploaded to no use.", _FLATTEN,
        )),
    )  # fmt: skip
    return [problem for is_so, problem in declared if is_so]


def _of_header(code: str, severity: Severity, where: str, seen: str, remedy: str) -> Problem:
    return Problem(code=code, severity=severity, seen=seen, where=f"header, {where}", remedy=remedy)


def _truncation(file: Reader, header: qcow2.Header, l1: Iterable[int]) -> list[Problem]:
    """Check that every table and every cluster ends within the file, in one pass over the L2 tables."""
    cluster = 1 << header.cluster_bits
    if header.refcount_at + header.refcount_clusters * cluster > file.size:
        return [_truncated("its refcount table", header.refcount_at + header.refcount_clusters * cluster, file)]
    tables = sorted(map(qcow2.OFFSET_MASK.__and__, l1))
    if tables and tables[-1] + cluster > file.size:
        return [_truncated("an L2 table", tables[-1] + cluster, file)]
    if header.incompatible & qcow2.EXTERNAL_DATA:
        return []  # the clusters are in the other file
    # Files grow at their end: the last clusters are those of the last tables.
    newest = set(tables[-_MAX_TABLES_BYTES // cluster :]) - {0}
    last = max((_last_byte(file, at, header) for at in newest), default=0)
    return [_truncated("a cluster", last, file)] if last > file.size else []


def _last_byte(file: Reader, table_at: int, header: qcow2.Header) -> int:
    """Return the end of the last cluster that an L2 table names.

    No step of it is taken entry by entry in Python: a table has up to 262,144 of them.
    """
    cluster = 1 << header.cluster_bits
    # Every second number of a table with extended entries is a bitmap.
    step = 2 if header.incompatible & qcow2.EXTENDED_L2 else 1
    entries = sorted(qcow2.numbers(read_exactly(file, table_at, cluster))[::step])
    plain_end, compressed_end, copied_end = (
        bisect_left(entries, end) for end in (_PLAIN_END, _COMPRESSED_END, _COPIED_END)
    )
    plain = chain(entries[:plain_end], entries[compressed_end:copied_end])
    last = max(map(qcow2.OFFSET_MASK.__and__, plain), default=0)
    # At least one byte of it: its length is rounded up to sectors, and may reach past the end of the file.
    compressed = chain(entries[plain_end:compressed_end], entries[copied_end:])
    last_compressed = max(map(qcow2.compressed_mask(header.cluster_bits).__and__, compressed), default=-1)
    return max(last + cluster if last else 0, last_compressed + 1)


def _truncated(what: str, end: int, file: Reader) -> Problem:
    return Problem(
        code="qcow2-truncated",
        severity=Severity.BLOCKS,
        seen=f"The QCOW2 was cut short: {what} ends at byte {end}, but the file has {file.size} bytes.",
        where=f"byte {file.size}",
        remedy=COPY_AGAIN,
    )


def _damaged(problem: Bad) -> Problem:
    return Problem(
        code="qcow2-damaged",
        severity=Severity.BLOCKS,
        seen=f"The QCOW2 is damaged: {problem.message}.",
        where="" if problem.offset is None else f"byte {problem.offset}",
        remedy=COPY_AGAIN,
    )
