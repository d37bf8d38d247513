"""Report of the inspection of a disk: frozen values for the checks and the push."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from aliyun_import.disk.fingerprint import Held
from aliyun_import.disk.guest.report import GuestReport
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import Architecture, DiskFormat

# The container of a file with an unknown format.
UNKNOWN = "unknown"


class TableKind(StrEnum):
    """The kind of partition table."""

    MBR = "mbr"
    GPT = "gpt"
    HYBRID = "hybrid"  # a GPT whose MBR has some of its partitions, too
    NONE = "none"  # no partition table: the disk is blank, or a file system
    UNREADABLE = "unreadable"  # the table is damaged, or the container could not be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem of the container or the partition table. `code` is the id of its check, stable and kebab-case.

    `message` is a sentence, `where` the position in the file, `remedy` None if there is none. `convertible`: it
    is the reason for which `convert.prepare` makes another file, if the tools for that are installed.
    """

    code: str
    severity: Severity
    message: str
    where: str = ""
    remedy: str | None = None
    convertible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A partition, or the whole disk as number 0 if it is a file system without a partition table.

    `type_id` is the MBR type in hexadecimal ("0x83") or the GPT type GUID, `type_name` its usual name. `filesystem` is
    the content by its first bytes ("ext4", "xfs", "vfat", "ntfs", "btrfs", "swap", "lvm", "luks", "bitlocker",
    "mdraid", ...), empty if unknown. `uuid` and `label` are those of the file system, `part_uuid` is the PARTUUID in
    the form of Linux, `name` the GPT name. `active` is the boot flag of the MBR.
    """

    number: int
    start_bytes: int
    size_bytes: int
    type_name: str
    type_id: str
    name: str = ""
    active: bool = False
    filesystem: str = ""
    label: str = ""
    uuid: str = ""
    part_uuid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """A UEFI program on the ESP. `removable`: firmware starts it without a boot entry (EFI/BOOT)."""

    path: str
    partition: int
    architecture: Architecture | None
    machine: str
    removable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BootEvidence:
    """The evidence for both boot modes, as texts for messages.

    `bios` is empty unless the disk has everything that BIOS needs to boot it, `uefi` unless a loader is in the
    removable path. Incomplete evidence is in `notes`. `unknown_code` is a clause about boot code that this tool does
    not know, and that may boot the disk.
    """

    bios: tuple[str, ...] = ()
    uefi: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    loaders: tuple[Loader, ...] = ()
    architectures: tuple[Architecture, ...] = ()
    unknown_code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskReport:
    """The result of the inspection of a disk.

    `path` is the file that the user gave, even if a file converted from it was inspected. `format` is the DiskFormat
    for ECS, None if ECS does not accept the container. `virtual_bytes` is the size of the disk, None if unknown.
    `unknowns` are clauses about parts that could not be read. `parents` are the parent files of a differencing VHD, the
    nearest first. `held` are the users of a block device. `architecture` is that of the UEFI loaders, or else of the
    guest. `guest` is None if it was not inspected.
    """

    path: Path
    container: str
    format: DiskFormat | None
    file_bytes: int
    virtual_bytes: int | None
    container_problems: tuple[Problem, ...] = ()
    table: TableKind = TableKind.UNREADABLE
    partitions: tuple[Partition, ...] = ()
    boot: BootEvidence = BootEvidence()
    architecture: Architecture | None = None
    guest: GuestReport | None = None
    unknowns: tuple[str, ...] = ()
    sector_bytes: int = 512
    parents: tuple[Path, ...] = ()
    held: Held | None = None
