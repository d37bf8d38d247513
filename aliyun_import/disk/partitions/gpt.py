"""GUID partition tables: both headers, both arrays, and their checksums (UEFI 2.10, chapter 5)."""

import struct
import uuid
import zlib
from dataclasses import dataclass

from aliyun_import.disk.reader import Bad, Reader, ReadProblem, read_exactly
from aliyun_import.disk.report import Partition, Problem
from aliyun_import.model.finding import Severity

SIGNATURE = b"EFI PART"
ESP_TYPE = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
BIOS_BOOT_TYPE = "21686148-6449-6e6f-744e-656564454649"
FREEBSD_BOOT_TYPE = "83bd6b9d-7f41-11dc-be0b-001560b84f0f"
_LEGACY_BOOT = 1 << 2
# The usual array has 128 entries of 128 bytes; 16,384 entries are more than any tool writes.
_MAX_ARRAY_BYTES = 2 * 1024 * 1024
# Partitions are numbered by their slot, as in Linux, `parted` and `sgdisk`. More of them indicate damage.
_MAX_PARTITIONS = 256
_TYPE_NAMES = {
    ESP_TYPE: "EFI system",
    BIOS_BOOT_TYPE: "BIOS boot",
    "0fc63daf-8483-4772-8e79-3d69d8477de4": "Linux",
    "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f": "Linux swap",
    "e6d6d379-f507-44c2-a23c-238f2a3df928": "Linux LVM",
    "a19d880f-05fc-4d3b-a006-743f0f84911e": "Linux RAID",
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709": "Linux root (x86-64)",
    "b921b045-1df0-41c3-af44-4c6f280d3fae": "Linux root (arm64)",
    "bc13c2ff-59e6-4262-a352-b275fd6f7172": "Linux /boot",
    "933ac7e1-2eb4-4f13-b844-0e14e2aef915": "Linux /home",
    "ca7d7ccb-63ed-4c53-861c-1742536059cc": "LUKS",
    "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7": "Windows data",
    "e3c9e316-0b5c-4db8-817d-f92df00215ae": "Windows reserved",
    "de94bba4-06d1-4d40-a16a-bfd50179d6ac": "Windows recovery",
    "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3": "Windows LDM metadata",
    "af9b60a0-1431-4f62-bc68-3311714a69ad": "Windows LDM data",
    "516e7cb4-6ecf-11d6-8ff8-00022d09712b": "FreeBSD",
    "516e7cb6-6ecf-11d6-8ff8-00022d09712b": "FreeBSD UFS",
    FREEBSD_BOOT_TYPE: "FreeBSD boot",
    "516e7cba-6ecf-11d6-8ff8-00022d09712b": "FreeBSD ZFS",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpt:
    """The GPT of a disk. `legacy_boot` are the numbers of partitions with the legacy BIOS bootable attribute."""

    partitions: tuple[Partition, ...] = ()
    problems: tuple[Problem, ...] = ()
    legacy_boot: tuple[int, ...] = ()
    sector_bytes: int = 512
    unreadable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """A header with its partition array. Both checksums are valid."""

    alternate: int
    array: bytes
    entry_bytes: int


def read_gpt(disk: Reader, *, protective: bool) -> Gpt | None:
    """Read the GPT, None if there is none. `protective`: the MBR has an entry of type 0xEE. Raises OSError only."""
    sector = next((size for size in (512, 4096) if disk.pread(size, 8) == SIGNATURE), 0)
    if not sector and not protective:
        return None
    problems = []
    if not protective:
        problems.append(_no_protective_mbr())
    if sector == 4096:
        problems.append(_sectors_of_4096())
    sector = sector or 512
    try:
        header = _header(disk, 1, sector)
        problems += _backup_problems(disk, header, sector)
    except ReadProblem as primary:
        try:
            header = _header(disk, disk.size // sector - 1, sector)
        except ReadProblem as backup:
            return Gpt(problems=(_both_damaged(primary, backup),), sector_bytes=sector, unreadable=True)
        problems.append(_primary_damaged(primary))
    partitions, legacy_boot = _entries(header, sector)
    if len(partitions) > _MAX_PARTITIONS:
        return Gpt(problems=(_too_many(len(partitions)),), sector_bytes=sector, unreadable=True)
    return Gpt(partitions=partitions, problems=tuple(problems), legacy_boot=legacy_boot, sector_bytes=sector)


def _header(disk: Reader, lba: int, sector: int) -> _Header:
    """Read a header and its array. Raises Bad if a checksum or a number is wrong."""
    at = lba * sector
    raw = read_exactly(disk, at, sector)
    if raw[:8] != SIGNATURE:
        raise Bad(f"there is no GPT header in sector {lba}", offset=at)
    size, checksum = struct.unpack_from("<II", raw, 12)
    if not 92 <= size <= sector:
        raise Bad(f"the GPT header in sector {lba} has an impossible length of {size} bytes", offset=at)
    if zlib.crc32(raw[:16] + bytes(4) + raw[20:size]) != checksum:
        raise Bad(f"the GPT header in sector {lba} does not match its checksum", offset=at)
    own, alternate = struct.unpack_from("<QQ", raw, 24)
    array_lba, count, entry_bytes, array_checksum = struct.unpack_from("<QIII", raw, 72)
    if own != lba:
        raise Bad(f"the GPT header in sector {lba} is for sector {own}", offset=at)
    if entry_bytes < 128 or entry_bytes % 8 or count * entry_bytes > _MAX_ARRAY_BYTES:
        raise Bad(f"the GPT has an impossible array of {count} entries of {entry_bytes} bytes", offset=at)
    array = read_exactly(disk, array_lba * sector, count * entry_bytes)
    if zlib.crc32(array) != array_checksum:
        raise Bad(
            f"the entries of the GPT in sector {array_lba} do not match their checksum in the header in sector {lba}",
            offset=array_lba * sector,
        )
    return _Header(alternate=alternate, array=array, entry_bytes=entry_bytes)


def _entries(header: _Header, sector: int) -> tuple[tuple[Partition, ...], tuple[int, ...]]:
    partitions, legacy_boot = [], []
    for number, at in enumerate(range(0, len(header.array), header.entry_bytes), start=1):
        entry = header.array[at : at + 128]
        if not any(entry[:16]):
            continue
        first, last, attributes = struct.unpack_from("<QQQ", entry, 32)
        type_id = str(uuid.UUID(bytes_le=entry[:16]))
        partitions.append(
            Partition(
                number=number,
                start_bytes=first * sector,
                size_bytes=max(last - first + 1, 0) * sector,
                type_name=_TYPE_NAMES.get(type_id, f"type {type_id}"),
                type_id=type_id,
                name=entry[56:128].decode("utf-16-le", "replace").split("\0")[0],
                part_uuid=str(uuid.UUID(bytes_le=entry[16:32])),
            )
        )
        if attributes & _LEGACY_BOOT:
            legacy_boot.append(number)
    return tuple(partitions), tuple(legacy_boot)


def _backup_problems(disk: Reader, primary: _Header, sector: int) -> list[Problem]:
    """Check the backup header, at the position in the primary header."""
    last = disk.size // sector - 1
    if primary.alternate > last:
        return [
            Problem(
                code="gpt-backup-missing",
                severity=Severity.WARNS,
                message=f"The backup GPT should be in sector {primary.alternate}, but the last sector of the disk is "
                f"{last}: the file was truncated, or the disk was shrunk.",
                where=f"sector {last}",
                remedy="Copy the disk again from its source. If it was shrunk on purpose, run `sgdisk -e` on it.",
            )
        ]
    try:
        backup = _header(disk, primary.alternate, sector)
    except ReadProblem as problem:
        return [_backup_damaged(problem)]
    if backup.array != primary.array:
        return [_backup_damaged(Bad("its entries differ from the primary GPT", offset=primary.alternate * sector))]
    if primary.alternate < last:
        return [
            Problem(
                code="gpt-backup-not-at-end",
                severity=Severity.NOTE,
                message=f"The backup GPT is in sector {primary.alternate}, {last - primary.alternate} sectors before "
                "the end of the disk: the disk was enlarged after it was partitioned.",
                where=f"sector {primary.alternate}",
                remedy="Nothing has to be done; `sgdisk -e` moves it to the end.",
            )
        ]
    return []


def _no_protective_mbr() -> Problem:
    return Problem(
        code="gpt-no-protective-mbr",
        severity=Severity.BLOCKS,
        message="There is a GPT, but the MBR has no protective entry (0xee): UEFI and Linux ignore the GPT.",
        where="bytes 446-510",
        remedy="Write the protective MBR again: `sgdisk -e` does it when it saves the table.",
    )


def _sectors_of_4096() -> Problem:
    return Problem(
        code="gpt-4096-byte-sectors",
        severity=Severity.BLOCKS,
        message="The GPT was written for sectors of 4096 bytes. The disks of ECS have sectors of 512 bytes, so the "
        "table is not found there.",
        where="byte 4096",
        remedy="Write the table again on a disk with 512-byte sectors, each partition at the same byte as now.",
    )


def _primary_damaged(problem: ReadProblem) -> Problem:
    return Problem(
        code="gpt-primary-damaged",
        severity=Severity.BLOCKS,
        message=f"The primary GPT is damaged: {problem.message}. Linux does not use the intact backup by default.",
        where=f"byte {problem.offset}",
        remedy="Restore it from the backup: `gdisk DISK`, then r, b and w.",
    )


def _both_damaged(primary: ReadProblem, backup: ReadProblem) -> Problem:
    return Problem(
        code="gpt-damaged",
        severity=Severity.BLOCKS,
        message=f"Both copies of the GPT are damaged: {primary.message}; {backup.message}.",
        where=f"bytes {primary.offset} and {backup.offset}",
        remedy="Copy the disk again from its source; `testdisk` finds lost partitions.",
    )


def _backup_damaged(problem: ReadProblem) -> Problem:
    return Problem(
        code="gpt-backup-damaged",
        severity=Severity.WARNS,
        message=f"The backup GPT is damaged: {problem.message}.",
        where=f"byte {problem.offset}",
        remedy="Write it again: `sgdisk -e` does it when it saves the table.",
    )


def _too_many(count: int) -> Problem:
    return Problem(
        code="gpt-damaged",
        severity=Severity.BLOCKS,
        message=f"The GPT has {count} partitions, and at most {_MAX_PARTITIONS} are plausible.",
        where="sector 2",
        remedy="Copy the disk again from its source.",
    )
