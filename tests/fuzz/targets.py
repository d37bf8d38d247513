"""This file lists what is fuzzed: an image, where its metadata lies, and what reads it."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from aliyun_import.disk.boot import read_boot
from aliyun_import.disk.detect import open_container
from aliyun_import.disk.fat import FatVolume
from aliyun_import.disk.partitions import read_partitions
from aliyun_import.disk.probe import probe_filesystem
from aliyun_import.disk.reader import BytesReader, Reader, ReadProblem
from aliyun_import.disk.vhd_parent import Neighbour
from tests.disk import build
from tests.disk.build import MIB, Part
from tests.fuzz.guest_targets import GUEST_TARGETS
from tests.fuzz.target import Fuzzed, Target

_PATH = Path("disk.img")
_CHUNK = MIB


def _read_disk(disk: Reader) -> None:
    """Do with a disk what an inspection does, and read all of it besides."""
    read_boot(disk, read_partitions(disk))
    for offset in range(0, min(disk.size, 16 * MIB), _CHUNK):
        with suppress(ReadProblem):
            disk.pread(offset, _CHUNK)
    with suppress(ReadProblem):
        disk.pread(max(disk.size - 512, 0), 512)


def _read_container(image: bytes) -> None:
    opened = open_container(BytesReader(image), _PATH)
    if opened.disk is not None:
        _read_disk(opened.disk)


def _read_child(image: bytes) -> None:
    """Read a differencing VHD with a sound parent."""
    _read_family({"child.vhd": image, "base.vhd": build.vhd_dynamic(_BASE, block=65536)})


def _read_parent(image: bytes) -> None:
    """Read a sound differencing VHD with this parent."""
    _read_family({"child.vhd": _child(), "base.vhd": image})


def _read_family(files: Mapping[str, bytes]) -> None:
    def neighbour(name: str) -> Neighbour | None:
        return Neighbour(BytesReader(files[name]), 0) if name in files else None

    opened = open_container(BytesReader(files["child.vhd"]), _PATH, neighbours=neighbour)
    if opened.disk is not None:
        _read_disk(opened.disk)


def _child() -> bytes:
    disk = build.place(bytearray(_BASE), MIB + 5000, b"of the child" * 1000)
    return build.vhd_differencing(disk, _BASE, parent="C:\\base.vhd", locator=".\\base.vhd")


def _read_fat(image: bytes) -> None:
    with suppress(ReadProblem):
        volume = FatVolume(BytesReader(image))
        pending = [("", 0)]
        while pending and len(pending) < 1000:
            folder, depth = pending.pop()
            with suppress(ReadProblem):
                for entry in volume.entries(folder)[:100]:
                    path = f"{folder}/{entry.name}"
                    if entry.is_directory and depth < 4:
                        pending.append((path, depth + 1))
                    with suppress(ReadProblem):
                        volume.read(path, length=MIB)


def _probe(image: bytes) -> None:
    with suppress(ReadProblem):
        probe_filesystem(BytesReader(image))


def _mbr() -> bytes:
    parts = [Part(2048, 1000, 0x83, active=True), Part(3072, 4000, 5)]
    logical = [Part(3136, 300, 0x83), Part(3600, 300, 0x82), Part(4000, 300, 0xEF)]
    disk = build.mbr(4 * MIB, parts, code=build.grub_code(), logical=logical)
    build.place(disk, MIB, build.ext4(size=65536))
    return bytes(build.place(disk, 4000 * 512, build.fat({"EFI/BOOT/BOOTX64.EFI": build.pe_program()}, size=131072)))


def _fat(size: int) -> bytes:
    files = {f"EFI/BOOT/a rather long name {number}.efi": bytes(range(256)) * 20 for number in range(8)}
    return build.fat(files | {"EFI/BOOT/BOOTX64.EFI": build.pe_program()}, size=size)


_RAW_DISK = ((0, 512), (512, 1024), (1024, 2048), (4 * MIB - 33 * 512, 4 * MIB), (MIB, MIB + 16384))
_EBRS = tuple((sector * 512 + 440, sector * 512 + 512) for sector in (0, 3072, 3599, 3999))
_BASE = bytes(build.uefi_disk())
_VHD = ((512, 1536), (1536, 2048), (0, 512))

DISK_TARGETS: dict[str, Target] = {
    "mbr": Target(_mbr, (*_EBRS, (4000 * 512, 4000 * 512 + 8192)), _read_container),
    "gpt": Target(lambda: bytes(build.uefi_disk()), _RAW_DISK, _read_container),
    "fat12": Target(lambda: _fat(MIB), ((0, 512), (512, 8192), (8192, 65536)), _read_fat),
    "fat16": Target(lambda: _fat(4 * MIB), ((0, 512), (512, 4096), (32768, 65536)), _read_fat),
    "vhd-fixed": Target(
        lambda: build.vhd_fixed(build.bios_disk()), ((4 * MIB, 4 * MIB + 512), (0, 512)), _read_container
    ),
    "vhd-dynamic": Target(lambda: build.vhd_dynamic(build.uefi_disk(), block=65536), _VHD, _read_container),
    "vhd-child": Target(_child, (*_VHD, (2048, 2560), (2560, 8192)), _read_child),
    "vhd-parent": Target(lambda: build.vhd_dynamic(_BASE, block=65536), _VHD, _read_parent),
    "qcow2": Target(
        lambda: bytes(build.qcow2(build.uefi_disk(), cluster_bits=12)),
        ((0, 120), (4096, 4160), (8192, 16384)),
        _read_container,
    ),
    "qcow2-zlib": Target(
        lambda: bytes(build.qcow2(build.uefi_disk(), cluster_bits=12, compression="zlib")),
        ((0, 120), (4096, 4160), (8192, 16384), (16384, 65536)),
        _read_container,
    ),
    "qcow2-zstd": Target(
        lambda: bytes(build.qcow2(build.uefi_disk(), compression="zstd")),
        ((0, 120), (65536, 65600), (131072, 133000), (196608, 262144)),
        _read_container,
    ),
    "signatures": Target(lambda: build.ext4(size=300_000), ((0, 4096), (65536, 70000)), _probe),
}
TARGETS: Mapping[str, Fuzzed] = {**DISK_TARGETS, **GUEST_TARGETS}
