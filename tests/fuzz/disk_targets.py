"""Fuzz targets: containers, partition tables, boot loaders and whole disks."""

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from aliyun_import.disk.containers.interface import Sibling
from aliyun_import.disk.containers.registry import open_container
from aliyun_import.disk.filesystems.fat import Fat
from aliyun_import.disk.filesystems.registry import probe_filesystem
from aliyun_import.disk.guest.inspection import inspect_guest
from aliyun_import.disk.partitions.boot import read_boot
from aliyun_import.disk.partitions.table import read_partitions
from aliyun_import.disk.reader import BytesReader, Reader, ReadProblem
from tests.disk import build
from tests.disk.build import MIB, Part
from tests.disk.fixtures import image
from tests.fuzz.checksums import repaired_gpt, repaired_vhd, repaired_xz_index
from tests.fuzz.guest_targets import walk
from tests.fuzz.target import Target

_PATH = Path("disk.img")


def _read_disk(file: Reader) -> None:
    """Inspect a disk without its guest, and read its contents."""
    disk = open_container(file, _PATH).disk
    if disk is not None:
        _read_all(disk)


def _read_all(disk: Reader) -> None:
    read_boot(disk, read_partitions(disk))
    for offset in range(0, min(disk.size, 16 * MIB), MIB):
        with suppress(ReadProblem):
            disk.pread(offset, MIB)
    with suppress(ReadProblem):
        disk.pread(max(disk.size - 512, 0), 512)


def _inspect(file: Reader) -> None:
    """Inspect a disk with its guest."""
    disk = open_container(file, _PATH).disk
    if disk is None:
        return
    table = read_partitions(disk)
    read_boot(disk, table)
    inspect_guest(disk, table.partitions)


def _read_child(file: Reader) -> None:
    """Read a damaged differencing VHD with an intact parent."""
    _read_differencing({"child.vhd": file, "base.vhd": BytesReader(_parent())})


def _read_parent(file: Reader) -> None:
    """Read an intact differencing VHD with a damaged parent."""
    _read_differencing({"child.vhd": BytesReader(_child()), "base.vhd": file})


def _read_differencing(files: Mapping[str, Reader]) -> None:
    def open_sibling(name: str) -> Sibling | None:
        return Sibling(files[name], 0) if name in files else None

    disk = open_container(files["child.vhd"], _PATH, open_sibling=open_sibling).disk
    if disk is not None:
        _read_all(disk)


@cache
def _parent() -> bytes:
    return build.vhd_dynamic(_BASE, block=65536)


@cache
def _child() -> bytes:
    disk = build.write_at(bytearray(_BASE), MIB + 5000, b"of the child" * 1000)
    return build.vhd_differencing(disk, _BASE, parent="C:\\base.vhd", locator=".\\base.vhd")


def read_fat(reader: Reader) -> None:
    """Read every name and every file of a FAT."""
    with suppress(ReadProblem):
        walk(Fat(reader))


def _probe(reader: Reader) -> None:
    with suppress(ReadProblem):
        probe_filesystem(reader)


def _mbr() -> bytes:
    parts = [Part(2048, 1000, 0x83, active=True), Part(3072, 4000, 5)]
    logical = [Part(3136, 300, 0x83), Part(3600, 300, 0x82), Part(4000, 300, 0xEF)]
    disk = build.mbr(4 * MIB, parts, code=build.grub_code(), logical=logical)
    build.write_at(disk, MIB, build.ext4(size=65536))
    return bytes(build.write_at(disk, 4000 * 512, build.fat({"EFI/BOOT/BOOTX64.EFI": build.pe_program()}, size=131072)))


def _system() -> bytes:
    """Build a UEFI disk with a Debian on its second partition and an LVM physical volume on its third."""
    root, volume = image("guest-debian"), image("lvm-head")
    parts = [
        Part(2048, 2048, build.ESP),
        Part(4096, len(root) // 512, build.LINUX),
        Part(4096 + len(root) // 512, 8192, build.LINUX),
    ]
    disk = build.gpt(4 * MIB + len(root) + 4 * MIB, parts)
    build.write_at(disk, MIB, build.fat({"EFI/BOOT/BOOTX64.EFI": build.pe_program()}))
    build.write_at(disk, 2 * MIB, root)
    return bytes(build.write_at(disk, 2 * MIB + len(root), volume))


def _fat(size: int) -> bytes:
    files = {f"EFI/BOOT/a rather long name {number}.efi": bytes(range(256)) * 20 for number in range(8)}
    return build.fat(files | {"EFI/BOOT/BOOTX64.EFI": build.pe_program()}, size=size)


_RAW_DISK = ((0, 512), (512, 1024), (1024, 2048), (4 * MIB - 33 * 512, 4 * MIB), (MIB, MIB + 16384))
_EBRS = tuple((sector * 512 + 440, sector * 512 + 512) for sector in (0, 3072, 3599, 3999))
_BASE = bytes(build.uefi_disk())
_XZ = build.xz(_BASE, block=100_000)
_ZSTD = build.zstd_frames(_BASE, frame=100_000, table=True)
_VHD = ((512, 1536), (1536, 2048), (0, 512))

DISK_TARGETS: dict[str, Target] = {
    "mbr": Target(_mbr, _read_disk, (*_EBRS, (4000 * 512, 4000 * 512 + 8192))),
    "gpt": Target(lambda: bytes(build.uefi_disk()), _read_disk, _RAW_DISK, repair=repaired_gpt),
    "system": Target(_system, _inspect, repair=repaired_gpt),
    "fat12": Target(lambda: _fat(MIB), read_fat, ((0, 512), (512, 8192), (8192, 65536))),
    "fat16": Target(lambda: _fat(4 * MIB), read_fat, ((0, 512), (512, 4096), (32768, 65536))),
    "fat32": Target(lambda: _fat(40 * MIB), read_fat),
    "vhd-fixed": Target(
        lambda: build.vhd_fixed(build.bios_disk()), _read_disk, ((4 * MIB, 4 * MIB + 512), (0, 512)),
        repair=repaired_vhd,
    ),
    "vhd-dynamic": Target(
        lambda: build.vhd_dynamic(build.uefi_disk(), block=65536), _read_disk, _VHD, repair=repaired_vhd
    ),
    "vhd-child": Target(_child, _read_child, (*_VHD, (2048, 2560), (2560, 8192)), repair=repaired_vhd),
    "vhd-parent": Target(
        _parent, _read_parent, _VHD, repair=repaired_vhd
    ),
    "qcow2": Target(
        lambda: bytes(build.qcow2(build.uefi_disk(), cluster_bits=12)),
        _read_disk,
        ((0, 120), (4096, 4160), (8192, 16384)),
    ),
    "qcow2-zlib": Target(
        lambda: bytes(build.qcow2(build.uefi_disk(), cluster_bits=12, compression="zlib")),
        _read_disk,
        ((0, 120), (4096, 4160), (8192, 16384), (16384, 65536)),
    ),
    "qcow2-zstd": Target(
        lambda: bytes(build.qcow2(build.uefi_disk(), compression="zstd")),
        _read_disk,
        ((0, 120), (65536, 65600), (131072, 133000), (196608, 262144)),
    ),
    "xz-blocks": Target(lambda: _XZ, _read_disk, ((0, 64), (64, len(_XZ)), (len(_XZ) - 300, len(_XZ)))),
    "xz-index": Target(
        lambda: _XZ, _read_disk, ((len(_XZ) - 300, len(_XZ) - 16), (12, 64)), repair=repaired_xz_index
    ),
    "zstd-frames": Target(
        lambda: build.zstd_frames(_BASE, frame=100_000), _read_disk, ((0, 32), (0, 2000), (1000, 16384))
    ),
    "zstd-table": Target(lambda: _ZSTD, _read_disk, ((0, 2000), (len(_ZSTD) - 400, len(_ZSTD)))),
    "signatures": Target(lambda: build.ext4(size=300_000), _probe, ((0, 4096), (65536, 70000))),
}  # fmt: skip
