"""The report of the inspection of a disk: frozen values, which the checks and the push use."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from aliyun_import.disk.fingerprint import Held
from aliyun_import.disk.guest.report import GuestReport
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import Architecture, DiskFormat

# The container of a file whose format was not found.
UNKNOWN = "unknown"


class TableKind(StrEnum):
    """The kind of partition table."""

    MBR = "mbr"
    GPT = "gpt"
    HYBRID = "hybrid"  # a GPT whose MBR names some of its partitions too
    NONE = "none"  # no partition table: blank, or a file system
    UNREADABLE = "unreadable"  # there is one, and it is damaged, or the container could not be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something about the container or the partition table. `code` is stable and kebab-case.

    `seen` is what was found, `where` the position in the file, `remedy` what to do (None where nothing can be done).
    `convertible`: `convert.prepare` makes of it a disk that ECS takes, given the tools it needs.
    """

    code: str
    severity: Severity
    seen: str
    where: str = ""
    remedy: str | None = None
    convertible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One partition, or the whole disk as number 0 where it is a file system without a table.

    `type_id` is the MBR type in hexadecimal ("0x83") or the GPT type GUID; `type_name` the usual name for it.
    `filesystem` is what its first bytes identify ("ext4", "xfs", "vfat", "ntfs", "btrfs", "swap", "lvm", "luks",
    "bitlocker", "mdraid", ...), empty when unknown. `uuid` and `label` are the file system's, `part_uuid` the
    partition's (PARTUUID as Linux spells it), `name` the GPT name. `active` is the MBR's boot flag.
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
    """A UEFI program on the ESP. `removable`: firmware finds it without a boot entry (EFI/BOOT)."""

    path: str
    partition: int
    architecture: Architecture | None
    machine: str
    removable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BootEvidence:
    """The evidence for both boot modes. `bios` and `uefi` are texts for messages, empty without evidence.

    `bios` is not empty only if BIOS has all that it needs to start; incomplete evidence is in `notes`. The same for
    `uefi` with a loader in the removable path. `unknown_code` is a sentence about boot code that may start the disk in
    a way that is not known here.
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

    `path` is the file that the user named, also where it was converted to another one, which was inspected.
    `format` is the DiskFormat for ECS, None when ECS does not take such a file; `virtual_bytes` is the size of the disk
    in it, None when unknown. `unknowns` are sentences about what could not be read, and never findings.
    `parents` are the parent files of a differencing VHD, the nearest first. `held` are the holders of a block device.
    `architecture` is from the UEFI loaders, or else from the guest; `guest` is None when it was not inspected.
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
