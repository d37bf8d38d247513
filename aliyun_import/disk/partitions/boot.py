"""Evidence that BIOS or UEFI can boot a disk."""

import struct
from dataclasses import dataclass, field

from aliyun_import.disk.filesystems.fat import Fat
from aliyun_import.disk.filesystems.interface import Kind
from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.partitions.gpt import BIOS_BOOT_TYPE, ESP_TYPE, FREEBSD_BOOT_TYPE
from aliyun_import.disk.partitions.table import Table
from aliyun_import.disk.reader import Bad, Missing, Reader, ReadProblem, Window
from aliyun_import.disk.report import BootEvidence, Loader, Partition, TableKind
from aliyun_import.model.request import Architecture

MBR_ESP_TYPE = "0xef"
_CODE_BYTES = 440
# boot.img of GRUB 2: the sector of the next stage, 64 bits (GRUB_BOOT_MACHINE_KERNEL_SECTOR).
_GRUB_NEXT_AT = 0x5C
# stage1 of GRUB legacy: its version (3.2), and the sector of stage 1.5 or 2, 32 bits.
_LEGACY_VERSION_AT, _LEGACY_VERSION, _LEGACY_NEXT_AT = 0x3E, b"\3\2", 0x44
# The next stage of both begins with `push %dx` (diskboot.S, start.S). It is lost if the sector begins like a GPT header
# or the boot sector of a file system.
_GRUB_STAGE = b"\x52"
_NO_STAGES = (b"EFI PART", b"\xeb", b"\xe9", b"XFSB", b"LUKS")
# altmbr.bin of SYSLINUX starts the partition with the number in the last byte of the code. mbr.bin begins like it, and
# contains "Multiple active partitions".
_ALTMBR = bytes.fromhex("33c0fa8ed88ed0bc007c89e606578ec0fbfcbf0006b90001f3a5ea1f0600005252b441")
# The package mbr: its name, and a byte with the partition to start in its low 3 bits, counted from 0 (7: the active
# one).
_MBR_NAME_AT, _MBR_CHOICE_AT = 0x18C, 0x1AF
# Boot records that only start the active partition: of Microsoft, of SYSLINUX (mbr.bin, gptmbr.bin), of parted.
_NEEDS_ACTIVE = (b"Invalid partition table", b"Multiple active partitions")
_PARTED = bytes.fromhex("fab800108ed0bc00b0b800008ed88ec0")
# Texts in the boot sectors of mkfs.fat, mkntfs and mformat.
_NOT_BOOTABLE = (b"This is not a bootable disk", b"This disk is not bootable")
# A vendor's directory has three to eight programs.
_MAX_LOADERS = 32
_MAX_VENDORS = 32
_MAX_FAT_PARTITIONS = 8
_REMOVABLE = "EFI/BOOT"
# ECS has no 32-bit UEFI firmware: i386 boots with BIOS.
_WITH_UEFI = (Architecture.X86_64, Architecture.ARM64)


@dataclass(slots=True)
class _Notes:
    """The evidence while it is collected."""

    bios: list[str] = field(default_factory=list)
    uefi: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    loaders: list[Loader] = field(default_factory=list)
    unknowns: list[str] = field(default_factory=list)
    unknown_code: str = ""


def read_boot(disk: Reader, table: Table) -> tuple[BootEvidence, tuple[str, ...]]:
    """Return the evidence for both boot modes, and clauses about parts that could not be read. Raises OSError only."""
    found = _Notes()
    _find_bios(disk, table, found)
    fat = [part for part in table.partitions if part.type_id in (ESP_TYPE, MBR_ESP_TYPE) or part.filesystem == "vfat"]
    for partition in fat[:_MAX_FAT_PARTITIONS]:
        _find_uefi(disk, partition, found)
    if len(fat) > _MAX_FAT_PARTITIONS:
        found.unknowns.append(f"only the first {_MAX_FAT_PARTITIONS} of {len(fat)} FAT partitions were inspected")
    architectures = {loader.architecture: None for loader in found.loaders if loader.architecture is not None}
    evidence = BootEvidence(
        bios=tuple(found.bios),
        uefi=tuple(found.uefi),
        notes=tuple(found.notes),
        loaders=tuple(found.loaders),
        architectures=tuple(architectures),
        unknown_code=found.unknown_code,
    )
    return evidence, tuple(found.unknowns)


def _find_bios(disk: Reader, table: Table, found: _Notes) -> None:
    record = table.boot_record
    code = record[:_CODE_BYTES]
    if record[510:512] != b"\x55\xaa":
        return
    if not any(code):
        found.notes.append("the boot record contains no code for BIOS (bytes 0-440 are zeros)")
    elif b"GRUB" in code:
        _check_grub(disk, table, found)
    elif record[6:10] == b"LILO":
        found.bios.append("LILO is in the boot record")
    else:
        _check_other_code(disk, table, found)


def _check_grub(disk: Reader, table: Table, found: _Notes) -> None:
    """Check the next stage of GRUB, which is found by a sector number. An active partition is not required."""
    code, name = table.boot_record, "GRUB"
    if code[_LEGACY_VERSION_AT : _LEGACY_VERSION_AT + 2] == _LEGACY_VERSION:
        name, sector = "GRUB legacy", int.from_bytes(code[_LEGACY_NEXT_AT : _LEGACY_NEXT_AT + 4], "little")
    else:
        sector = int.from_bytes(code[_GRUB_NEXT_AT : _GRUB_NEXT_AT + 8], "little")
    try:
        stage = disk.pread(sector * 512, 512)
    except ReadProblem:
        stage = b""
    missing = f"{name} is in the boot record, but sector {sector}, the place of its next stage,"
    if not any(stage):
        found.notes.append(f"{missing} is empty")
    elif stage.startswith(_NO_STAGES):
        found.notes.append(f"{missing} has other data: the boot code is from an earlier installation")
    elif not stage.startswith(_GRUB_STAGE):
        found.unknown_code = f"{missing} begins with unknown code"
    else:
        found.bios.append(f"{name} is in the boot record, and its next stage in sector {sector}")
        for partition in table.partitions:
            if partition.type_id == BIOS_BOOT_TYPE:
                found.bios.append(f"partition {partition.number} is a BIOS boot partition")


def _check_other_code(disk: Reader, table: Table, found: _Notes) -> None:
    """Check other boot code, which starts a marked partition or one with a number in the code."""
    code = table.boot_record[:_CODE_BYTES]
    for partition in table.partitions:
        if partition.number in table.legacy_boot:  # SYSLINUX
            found.bios.append(
                f"the boot record contains code, and partition {partition.number} has the legacy BIOS attribute"
            )
        elif partition.type_id == FREEBSD_BOOT_TYPE:
            found.bios.append(
                f"the boot record contains code, and partition {partition.number} is a FreeBSD boot partition"
            )
    starts = dict(table.active)
    chosen = 0
    if code.startswith(_ALTMBR) and not any(words in code for words in _NEEDS_ACTIVE):
        chosen = code[-1]
    elif code[_MBR_NAME_AT : _MBR_NAME_AT + 4] == b"MBR ":
        chosen = (code[_MBR_CHOICE_AT] & 7) + 1
    starts |= {part.number: part.start_bytes for part in table.partitions if part.number == chosen}
    for number, start in starts.items():
        _check_boot_sector(disk, number, start, found)
    if found.bios or starts:
        return
    if any(words in code for words in _NEEDS_ACTIVE) or code.startswith(_PARTED):
        kind = "GPT partition" if table.kind in (TableKind.GPT, TableKind.HYBRID) else "partition"
        found.notes.append(f"the boot record contains code, but no {kind} is marked active for it to start")
    else:
        found.unknown_code = "the boot record contains unknown code, and no partition is marked active"


def _check_boot_sector(disk: Reader, number: int, start: int, found: _Notes) -> None:
    try:
        sector = disk.pread(start, 512)
    except ReadProblem:
        sector = b""
    if sector[510:512] != b"\x55\xaa":
        found.notes.append(f"partition {number} is active, but its boot sector does not end in 55 AA")
    elif any(words in sector for words in _NOT_BOOTABLE):
        found.notes.append(f"partition {number} is active, but its boot sector only prints that it is not bootable")
    else:
        found.bios.append(f"the boot record contains code, and partition {number} is active and has a boot sector")


def _find_uefi(disk: Reader, partition: Partition, found: _Notes) -> None:
    is_esp = partition.type_id in (ESP_TYPE, MBR_ESP_TYPE)
    try:
        files = Fat(Window(disk, start=partition.start_bytes, size=partition.size_bytes))
        loaders = _loaders(files, partition.number)
    except Missing:
        loaders = []
    except ReadProblem as problem:
        if is_esp:
            found.unknowns.append(
                f"partition {partition.number}, an EFI system partition, can't be read: {problem.message}"
            )
        return
    if is_esp and not loaders:
        found.notes.append(f"partition {partition.number} is an EFI system partition without a loader")
    found.loaders += loaders
    # Firmware may read FAT partitions of other types, too (EDK II does), although the specification requires the type.
    kind = "EFI system" if is_esp else f"FAT, of type {partition.type_name}"
    for loader in loaders:
        line = f"partition {partition.number} ({kind}) contains {loader.path} for {loader.machine}"
        if loader.removable and loader.architecture in _WITH_UEFI:
            found.uefi.append(line)
        elif loader.removable:
            found.notes.append(f"{line}, and instances have UEFI for x86_64 and arm64 only")
        else:
            found.notes.append(f"{line}, which needs a boot entry that a new instance does not have")


def _loaders(files: Fat, number: int) -> list[Loader]:
    """Return the programs in EFI/BOOT and in the directories of vendors. Raises Missing without the directory EFI."""
    tree = Tree(files)

    def names(path: str, kind: Kind) -> list[str]:
        listed = files.entries(tree.node(path).number)
        return [name for name, child in listed if files.node(child).kind is kind]

    loaders: list[Loader] = []
    for vendor in sorted(names("EFI", Kind.DIRECTORY)[:_MAX_VENDORS], key=lambda name: (name.upper() != "BOOT", name)):
        for name in names(f"EFI/{vendor}", Kind.FILE):
            if not name.lower().endswith(".efi") or len(loaders) >= _MAX_LOADERS:
                continue
            path = f"EFI/{vendor}/{name}"
            machine, architecture = _machine(tree, path)
            removable = f"EFI/{vendor}".upper() == _REMOVABLE and _default_for(name) == machine
            loaders.append(
                Loader(path=path, partition=number, architecture=architecture, machine=machine, removable=removable)
            )
    return loaders


def _machine(tree: Tree, path: str) -> tuple[str, Architecture | None]:
    try:
        return pe_machine(tree.open(path).pread(0, HEAD_BYTES))
    except ReadProblem as problem:
        return f"an unknown machine ({problem.message})", None


def _default_for(name: str) -> str | None:
    """Return the machine with firmware that starts a program of this name by default (UEFI 2.10, table 3-4)."""
    return {
        "BOOTX64.EFI": "x86_64", "BOOTAA64.EFI": "arm64", "BOOTIA32.EFI": "i386", "BOOTARM.EFI": "arm",
        "BOOTRISCV64.EFI": "riscv64", "BOOTLOONGARCH64.EFI": "loongarch64",
    }.get(name.upper())  # fmt: skip


# The COFF header of every known loader is in the first KiB; 4 KiB allow for long DOS stubs.
HEAD_BYTES = 4096
_MACHINES = {
    0x8664: ("x86_64", Architecture.X86_64),
    0xAA64: ("arm64", Architecture.ARM64),
    0x014C: ("i386", Architecture.I386),
    0x01C2: ("arm", None),
    0x01C4: ("arm", None),
    0x5064: ("riscv64", None),
    0x6264: ("loongarch64", None),
    0x0EBC: ("EFI byte code", None),
}


def pe_machine(head: bytes) -> tuple[str, Architecture | None]:
    """Return the machine in the first HEAD_BYTES of a PE file, and its architecture in ECS (None: there is none).

    Raises Bad if it is not a PE file.
    """
    (machine,) = struct.unpack_from("<H", head, pe_header_at(head) + 4)
    return _MACHINES.get(machine, (f"machine {machine:#06x}", None))


def pe_header_at(head: bytes) -> int:
    """Return the offset of the PE header, which is complete in `head`. Raises Bad if it is not a PE file."""
    if head[:2] != b"MZ" or len(head) < 0x40:
        raise Bad("not a PE file: it does not begin with MZ", offset=0)
    (at,) = struct.unpack_from("<I", head, 0x3C)
    if head[at : at + 4] != b"PE\0\0" or at + 24 > len(head):
        raise Bad(f"not a PE file: there is no PE header at byte {at}", offset=at)
    return int(at)
