"""Partition tables: MBR with its logical partitions, GPT, or none."""

import struct
from dataclasses import dataclass, field, replace
from itertools import pairwise

from aliyun_import.disk.filesystems.interface import Signature
from aliyun_import.disk.filesystems.registry import probe_filesystem
from aliyun_import.disk.partitions import gpt
from aliyun_import.disk.reader import Bad, Reader, ReadProblem, Window, read_exactly
from aliyun_import.disk.report import Partition, Problem, TableKind
from aliyun_import.model.finding import Severity

# More than any disk has: Linux numbers partitions up to 15 on SCSI-like disks.
MAX_LOGICAL = 128
EXTENDED_TYPES = (0x05, 0x0F, 0x85)
PROTECTIVE_TYPE = 0xEE
EXTENDED = "extended"
_TYPE_NAMES = {
    0x01: "FAT12", 0x04: "FAT16", 0x05: EXTENDED, 0x06: "FAT16", 0x07: "NTFS or exFAT", 0x0B: "FAT32", 0x0C: "FAT32",
    0x0E: "FAT16", 0x0F: EXTENDED, 0x27: "Windows recovery", 0x42: "Windows dynamic disk", 0x82: "Linux swap",
    0x83: "Linux", 0x85: EXTENDED, 0x8E: "Linux LVM", 0xA5: "FreeBSD", 0xA6: "OpenBSD", 0xA9: "NetBSD", 0xE8: "LUKS",
    0xEE: "GPT protective", 0xEF: "EFI system", 0xFD: "Linux RAID",
}  # fmt: skip


@dataclass(slots=True)
class Table:
    """A partition table: its kind, the partitions in the order of their numbers, and its problems.

    `boot_record` is the first sector, empty if the disk has none. `active` are number and first byte of the active
    entries of the MBR; on a GPT disk these numbers are not those of the GPT. `legacy_boot` are the numbers of GPT
    partitions with the legacy BIOS bootable attribute.
    """

    kind: TableKind
    partitions: list[Partition] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    boot_record: bytes = b""
    active: tuple[tuple[int, int], ...] = ()
    legacy_boot: tuple[int, ...] = ()
    sector_bytes: int = 512


@dataclass(frozen=True, slots=True)
class _Entry:
    """One of the four entries of a boot record. `start` and `count` are sectors."""

    flag: int
    type: int
    start: int
    count: int


def read_partitions(disk: Reader) -> Table:
    """Read the partition table, and recognise the content of each partition. Raises OSError only.

    A disk without a table has the kind NONE, and one partition with number 0 if the whole disk is a file system.
    """
    try:
        table = _table(disk)
    except ReadProblem as problem:
        return Table(TableKind.UNREADABLE, problems=[_unreadable(problem)])
    table.partitions = [_probed(disk, partition, table) for partition in table.partitions]
    misplaced = _for_4096_byte_sectors(disk, table)
    table.problems += [misplaced] if misplaced else _placement(disk, table)
    return table


def entry_problem(record: bytes) -> str:
    """Return a clause with the reason why a boot record has no partition table, empty if it has one."""
    if record[510:512] != b"\x55\xaa":
        return "it does not end in 55 AA"
    for number, entry in enumerate(_entries(record), start=1):
        if entry.flag & 0x7F:
            return f"entry {number} has the boot flag {entry.flag:#04x}, which is neither 0x00 nor 0x80"
        if entry.type and entry.count and not entry.start:
            return f"entry {number} begins in the boot record"
    return ""


def _table(disk: Reader) -> Table:
    if disk.size < 512:
        return Table(TableKind.NONE)
    record = read_exactly(disk, 0, 512)
    entries = _entries(record) if record[510:512] == b"\x55\xaa" else ()
    protective = any(entry.type == PROTECTIVE_TYPE for entry in entries)
    ordinary = any(entry.type not in (0, PROTECTIVE_TYPE) for entry in entries)
    # UEFI and Linux ignore a GPT without the protective entry, such as a stale one on an MBR disk.
    if protective or not ordinary:
        found = gpt.read_gpt(disk, protective=protective)
        if found is not None:
            kind = TableKind.UNREADABLE if found.unreadable else TableKind.HYBRID if ordinary else TableKind.GPT
            active = tuple(
                (number, entry.start * 512)
                for number, entry in enumerate(entries, start=1)
                if entry.flag == 0x80 and entry.type != PROTECTIVE_TYPE
            )
            return Table(
                kind,
                list(found.partitions),
                list(found.problems),
                record,
                active,
                found.legacy_boot,
                found.sector_bytes,
            )
    reason = entry_problem(record)
    bare = probe_filesystem(disk)
    if reason or (bare is not None and not any(entry.type for entry in entries)):
        return _without_table(disk, record, reason=reason, bare=bare)
    return _mbr(disk, record, entries)


def _without_table(disk: Reader, record: bytes, *, reason: str, bare: Signature | None) -> Table:
    table = Table(TableKind.NONE, boot_record=record if any(record) else b"")
    if bare is not None:
        table.partitions = [
            Partition(number=0, start_bytes=0, size_bytes=disk.size, type_name="whole disk", type_id="")
        ]
    elif record[510:512] == b"\x55\xaa":
        table.kind = TableKind.UNREADABLE
        table.problems.append(
            Problem(
                code="mbr-damaged",
                severity=Severity.BLOCKS,
                message=f"The first sector ends in 55 AA like a boot record, but {reason}.",
                where="bytes 446-510",
                remedy="Check the disk with `fdisk -l`, and write its table again (`testdisk` finds lost partitions).",
            )
        )
    return table


def _entries(record: bytes) -> tuple[_Entry, ...]:
    return tuple(
        _Entry(flag, kind, start, count)
        for flag, kind, start, count in struct.iter_unpack("<B3xB3xII", record[446:510])
    )


def _mbr(disk: Reader, record: bytes, entries: tuple[_Entry, ...]) -> Table:
    table = Table(TableKind.MBR, boot_record=record)
    disk_id = int.from_bytes(record[440:444], "little")
    for number, entry in enumerate(entries, start=1):
        if not entry.type or not entry.count:  # Linux and fdisk skip an entry without a size
            continue
        table.partitions.append(_partition(number, entry, disk_id))
        if entry.type in EXTENDED_TYPES:
            try:
                table.partitions += _logical(disk, entry, disk_id)
            except ReadProblem as problem:
                table.problems.append(_logical_damaged(number, problem))
    table.partitions.sort(key=lambda partition: partition.number)
    table.active = tuple((part.number, part.start_bytes) for part in table.partitions if part.active)
    return table


def _for_4096_byte_sectors(disk: Reader, table: Table) -> Problem | None:
    """Check that the MBR was not written for 4096-byte sectors, with file systems where such a table has partitions."""
    for part in table.partitions if table.kind is TableKind.MBR else ():
        at, size = part.start_bytes * 8, part.size_bytes * 8
        if part.filesystem or part.type_name == EXTENDED or at >= disk.size:
            continue
        try:
            found = probe_filesystem(Window(disk, start=at, size=size))
        except ReadProblem:
            continue
        if found is not None:
            return Problem(
                code="mbr-4096-byte-sectors",
                severity=Severity.BLOCKS,
                message="The partition table was written for sectors of 4096 bytes: the file system of partition "
                f"{part.number} ({found.name}) is at byte {at}. With the 512-byte sectors of ECS, it is expected at "
                f"byte {part.start_bytes}.",
                where=f"partition {part.number}",
                remedy="Write the table again on a disk with 512-byte sectors, each partition at the same byte as now.",
            )
    return None


def _partition(number: int, entry: _Entry, disk_id: int) -> Partition:
    return Partition(
        number=number,
        start_bytes=entry.start * 512,
        size_bytes=entry.count * 512,
        type_name=_TYPE_NAMES.get(entry.type, f"type {entry.type:#04x}"),
        type_id=f"{entry.type:#04x}",
        active=entry.flag == 0x80,
        part_uuid=f"{disk_id:08x}-{number:02x}" if disk_id else "",
    )


def _logical(disk: Reader, extended: _Entry, disk_id: int) -> list[Partition]:
    """Return the partitions in the list of extended boot records.

    A link is relative to the extended partition, the start of a partition to its record.
    """
    partitions: list[Partition] = []
    at, visited = extended.start, set[int]()
    while len(partitions) < MAX_LOGICAL:
        if at in visited:
            raise Bad("the list of logical partitions is circular", offset=at * 512)
        visited.add(at)
        record = read_exactly(disk, at * 512, 512)
        reason = entry_problem(record)
        if reason:
            raise Bad(f"the record of a logical partition is damaged: {reason}", offset=at * 512)
        first, link = _entries(record)[:2]
        if first.type and first.count:
            moved = _Entry(first.flag, first.type, at + first.start, first.count)
            partitions.append(_partition(5 + len(partitions), moved, disk_id))
        if link.type not in EXTENDED_TYPES:
            return partitions
        at = extended.start + link.start
    raise Bad(f"more than {MAX_LOGICAL} logical partitions", offset=at * 512)


def _probed(disk: Reader, partition: Partition, table: Table) -> Partition:
    """Return the partition with its recognised content. A read error becomes a problem of the table."""
    if partition.type_name == EXTENDED or partition.start_bytes >= disk.size:
        return partition
    try:
        found = probe_filesystem(Window(disk, start=partition.start_bytes, size=partition.size_bytes))
    except ReadProblem as problem:
        table.problems.append(
            Problem(
                code="partition-unreadable",
                severity=Severity.UNKNOWN,
                message=f"The content of partition {partition.number} is not known, because it can't be read: "
                f"{problem.message}.",
                where=f"byte {partition.start_bytes}",
                remedy="Check the partition on the source machine with `blkid -p` and fsck.",
            )
        )
        return partition
    if found is None:
        return partition
    return replace(partition, filesystem=found.name, label=found.label, uuid=found.uuid)


def _placement(disk: Reader, table: Table) -> list[Problem]:
    """Check that partitions end within the disk and do not overlap."""
    problems = []
    for partition in table.partitions:
        end = partition.start_bytes + partition.size_bytes
        if end > disk.size:
            problems.append(
                Problem(
                    code="partition-outside-disk",
                    severity=Severity.BLOCKS,
                    message=f"Partition {partition.number} ends at byte {end}, {end - disk.size} bytes after the end "
                    "of the disk: the file was truncated, or the disk was shrunk without its partitions.",
                    where=f"partition {partition.number}, bytes {partition.start_bytes}-{end} of {disk.size}",
                    remedy="Copy the disk again from its source, and compare the sizes (and a checksum) of both.",
                )
            )
    placed = sorted(
        (partition for partition in table.partitions if partition.type_name != EXTENDED),
        key=lambda partition: partition.start_bytes,
    )
    for one, other in pairwise(placed):
        if one.start_bytes + one.size_bytes > other.start_bytes:
            problems.append(
                Problem(
                    code="partitions-overlap",
                    severity=Severity.WARNS,
                    message=f"Partitions {one.number} and {other.number} overlap.",
                    where=f"bytes {other.start_bytes}-{one.start_bytes + one.size_bytes}",
                    remedy="Check the disk with `fdisk -l`: one of the two overwrites the other.",
                )
            )
    return problems


def _unreadable(problem: ReadProblem) -> Problem:
    return Problem(
        code="table-unreadable",
        severity=Severity.UNKNOWN,
        message=f"The content of the disk is not known, because its partition table can't be read: {problem.message}.",
        where="" if problem.offset is None else f"byte {problem.offset}",
        remedy="Check the disk with `fdisk -l`; `testdisk` finds lost partitions.",
    )


def _logical_damaged(number: int, problem: ReadProblem) -> Problem:
    return Problem(
        code="mbr-logical-damaged",
        severity=Severity.WARNS,
        message=f"The logical partitions of extended partition {number} can't be read: {problem.message}.",
        where="" if problem.offset is None else f"byte {problem.offset}",
        remedy="Check the disk with `fdisk -l`; `testdisk` finds lost partitions.",
    )
