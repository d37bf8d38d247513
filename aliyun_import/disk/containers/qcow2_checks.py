"""This file opens a QCOW2 and judges it: what it refers to, how it was left, and whether it is all there."""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import chain

from aliyun_import.disk.containers import qcow2
from aliyun_import.disk.containers.interface import OpenedContainer
from aliyun_import.disk.io.reader import Bad, Reader, ReadProblem, read_exactly
from aliyun_import.disk.report import Container, Problem
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskFormat

_FLATTEN = "Make one file of it: `qemu-img convert -f qcow2 -O qcow2 DISK.qcow2 WHOLE.qcow2`, and push that."
_COPY_AGAIN = "Copy the file again from its source, and compare the sizes (and a checksum) of both."
# The pass over the L2 tables takes 0.1 s for 40 GiB; with 512-byte clusters a disk may have millions of tables. These
# are of 512 GiB with the usual clusters of 64 KiB.
_MAX_TABLES_BYTES = 64 * 1024 * 1024
_PLAIN_END, _COMPRESSED_END, _COPIED_END = 1 << 62, 2 << 62, 3 << 62


def open_qcow2(file: Reader) -> OpenedContainer:
    """Look at a file that begins as a QCOW2. Raises OSError only."""
    try:
        header = qcow2.read_header(file)
    except Bad as problem:
        return OpenedContainer(container=Container.QCOW2, format=DiskFormat.QCOW2, problems=(_damaged(problem),))
    except ReadProblem as problem:
        return OpenedContainer(
            container=Container.QCOW2,
            format=DiskFormat.QCOW2,
            unknowns=(f"the QCOW2 can't be read: {problem.message}",),
        )
    problems = [*_references(header), *_states(header)]
    disk: Reader | None = None
    unknowns: tuple[str, ...] = ()
    try:
        l1 = qcow2.read_l1(file, header)
        problems += _truncation(file, header, l1)
        disk = qcow2.Qcow2Reader(file, header, l1)
    except Bad as problem:
        problems.append(_damaged(problem))
    except ReadProblem as problem:
        unknowns = (f"the disk in the QCOW2 was not looked into: {problem.message}",)
    return OpenedContainer(
        container=Container.QCOW2,
        format=DiskFormat.QCOW2,
        virtual_bytes=header.virtual_bytes,
        disk=disk,
        problems=tuple(problems),
        unknowns=unknowns,
    )


def _references(header: qcow2.Header) -> list[Problem]:
    """Find what makes the file less than a whole disk."""
    problems = []
    if header.has_backing:
        problems.append(
            Problem(
                code="qcow2-backing-file",
                severity=Severity.BLOCKS,
                seen=f"The QCOW2 holds only the differences to its backing file {header.backing!r}.",
                where="header, byte 8",
                remedy=_FLATTEN,
            )
        )
    if header.incompatible & qcow2.EXTERNAL_DATA:
        problems.append(
            Problem(
                code="qcow2-external-data",
                severity=Severity.BLOCKS,
                seen=f"The data of the QCOW2 lies in another file, {header.data_file!r}.",
                where="header, byte 72, bit 2",
                remedy=_FLATTEN,
            )
        )
    if header.encryption:
        problems.append(
            Problem(
                code="qcow2-encrypted",
                severity=Severity.BLOCKS,
                seen=f"The QCOW2 is encrypted ({'LUKS' if header.encryption == 2 else 'AES'}).",
                where="header, byte 32",
                remedy="Decrypt it: `qemu-img convert --object secret,id=s,file=KEYFILE --image-opts "
                "driver=qcow2,encrypt.key-secret=s,file.filename=DISK.qcow2 -O qcow2 PLAIN.qcow2`, and push that.",
            )
        )
    return problems


def _states(header: qcow2.Header) -> list[Problem]:
    """Find what the file says of itself: damaged, not closed, with snapshots, with features of a later time."""
    problems = []
    if header.incompatible & qcow2.CORRUPT:
        problems.append(
            _of_header(
                "qcow2-corrupt", Severity.BLOCKS, "The QCOW2 says of itself that it is corrupt.",
                where="byte 72, bit 1", remedy="Repair it on a copy: `qemu-img check -r all DISK.qcow2`.",
            )
        )  # fmt: skip
    if header.incompatible & qcow2.DIRTY:
        problems.append(
            _of_header(
                "qcow2-dirty", Severity.WARNS,
                "The QCOW2 was not closed properly (dirty bit): a machine is using it, or one was killed.",
                where="byte 72, bit 0",
                remedy="Stop the machine that uses it, and run `qemu-img check -r leaks DISK.qcow2`.",
            )
        )  # fmt: skip
    unknown = header.incompatible & ~qcow2.KNOWN_INCOMPATIBLE
    if unknown:
        problems.append(
            _of_header(
                "qcow2-unknown-feature", Severity.WARNS,
                f"The QCOW2 uses features that this tool does not know (bits {unknown:#x}); nor may ECS.",
                where="byte 72", remedy=_FLATTEN,
            )
        )  # fmt: skip
    if header.incompatible & qcow2.EXTENDED_L2:
        problems.append(
            _of_header(
                "qcow2-extended-l2", Severity.WARNS,
                "The QCOW2 uses extended L2 entries (subclusters), which only QEMU 5.2 and later can read.",
                where="byte 72, bit 4", remedy=_FLATTEN,
            )
        )  # fmt: skip
    if header.snapshots:
        problems.append(
            _of_header(
                "qcow2-snapshots", Severity.NOTE,
                f"The QCOW2 holds internal snapshots ({header.snapshots}): they are sent, too, for nothing.",
                where="byte 60", remedy=_FLATTEN,
            )
        )  # fmt: skip
    return problems


def _truncation(file: Reader, header: qcow2.Header, l1: Iterable[int]) -> list[Problem]:
    """Hold every table and every cluster against the end of the file, in one pass over the L2 tables."""
    cluster = 1 << header.cluster_bits
    if header.refcount_at + header.refcount_clusters * cluster > file.size:
        return [_truncated("its refcount table", header.refcount_at + header.refcount_clusters * cluster, file)]
    tables = sorted(map(qcow2.OFFSET_MASK.__and__, l1))
    if tables and tables[-1] + cluster > file.size:
        return [_truncated("an L2 table", tables[-1] + cluster, file)]
    if header.incompatible & qcow2.EXTENDED_L2:
        return []
    # Files grow at their end: the last clusters are those of the last tables.
    newest = set(tables[-_MAX_TABLES_BYTES // cluster :]) - {0}
    last = max((_last_byte(file, at, header) for at in newest), default=0)
    return [_truncated("a cluster", last, file)] if last > file.size else []


def _last_byte(file: Reader, table_at: int, header: qcow2.Header) -> int:
    """Give the end of the last cluster that an L2 table names.

    No step of it is taken entry by entry in Python: a table has up to 262,144 of them.
    """
    cluster = 1 << header.cluster_bits
    entries = sorted(qcow2.words(read_exactly(file, table_at, cluster)))
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
        seen=f"The QCOW2 was cut short: {what} ends at byte {end}, but the file has {file.size}.",
        where=f"byte {file.size}",
        remedy=_COPY_AGAIN,
    )


def _of_header(code: str, severity: Severity, seen: str, *, where: str, remedy: str) -> Problem:
    return Problem(code=code, severity=severity, seen=seen, where=f"header, {where}", remedy=remedy)


def _damaged(problem: Bad) -> Problem:
    return Problem(
        code="qcow2-damaged",
        severity=Severity.BLOCKS,
        seen=f"The QCOW2 is damaged: {problem.message}.",
        where="" if problem.offset is None else f"byte {problem.offset}",
        remedy=_COPY_AGAIN,
    )
