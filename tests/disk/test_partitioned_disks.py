"""Tests of the reports of disks that system tools partitioned, in every container."""

import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from aliyun_import.disk.inspect import inspect_disk
from aliyun_import.disk.report import DiskReport, TableKind
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import Architecture, OsType
from tests.disk import build
from tests.disk.fixtures import image
from tests.disk.fixtures.make import make_ext
from tests.disk.tools import need, run
from tests.disk.trees import debian, elf

pytestmark = pytest.mark.root

MIB = 1 << 20
CONTAINERS = {
    "fixed VHD": "-O vpc -o subformat=fixed,force_size=on",
    "dynamic VHD": "-O vpc -o subformat=dynamic,force_size=on",
    "QCOW2 version 2": "-O qcow2 -o compat=0.10",
    "QCOW2 version 3": "-O qcow2",
    "QCOW2 version 2 with zlib": "-c -O qcow2 -o compat=0.10",
    "QCOW2 with zlib": "-c -O qcow2",
    "QCOW2 with zstd": "-c -O qcow2 -o compression_type=zstd",
    "VMDK": "-O vmdk",
    "VMDK as a stream": "-O vmdk -o subformat=streamOptimized",
    "VHDX": "-O vhdx",
    "VDI": "-O vdi",
}


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Return the path of a sparse disk of 128 MiB."""
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.truncate(128 * MIB)
    return path


def _write(disk: Path, at: int, data: bytes) -> None:
    with disk.open("r+b") as file:
        file.seek(at)
        file.write(data)


def _esp(loader: str, machine: int) -> bytes:
    return build.fat({f"EFI/BOOT/{loader}": build.pe_program(machine)}, size=8 * MIB)


def _debian_under_bios(disk: Path) -> None:
    need("parted")
    run("parted", "-s", disk, "mklabel", "msdos", "mkpart", "primary", "ext4", "1MiB", "100%", "set", "1", "boot", "on")
    _write(disk, 0, build.grub_code()[:440])
    _write(disk, 512, b"\x52GRUB core")
    _write(disk, MIB, image("guest-debian"))


def _ubuntu_under_uefi(disk: Path) -> None:
    need("sgdisk")
    run("sgdisk", "-n1:2048:+8M", "-t1:ef00", "-n2:0:0", "-t2:8300", disk)
    _write(disk, MIB, _esp("BOOTX64.EFI", build.X86_64))
    _write(disk, 9 * MIB, image("guest-ubuntu"))


def _arm64(disk: Path) -> None:
    need("sgdisk", "mkfs.ext4")
    volume = disk.parent / "root"
    make_ext(volume, debian(**{"/usr/bin/dash": elf(183)}), [])
    run("sgdisk", "-n1:2048:+8M", "-t1:ef00", "-n2:0:0", "-t2:8305", disk)
    _write(disk, MIB, _esp("BOOTAA64.EFI", build.ARM64))
    _write(disk, 9 * MIB, volume.read_bytes())


def _rhel_on_lvm(disk: Path) -> None:
    """Write an ESP, /boot on XFS, and a physical volume of lvm2 with root in two segments."""
    need("sgdisk", "pvcreate", "losetup")
    run("sgdisk", "-n1:2048:+8M", "-t1:ef00", "-n2:0:+24M", "-t2:8300", "-n3:0:0", "-t3:8e00", disk)
    _write(disk, MIB, _esp("BOOTX64.EFI", build.X86_64))
    _write(disk, 9 * MIB, image("guest-rhel-boot"))
    loop = run("losetup", "-f", "--show", "-o", str(33 * MIB), "--sizelimit", str(94 * MIB), disk).strip()
    no_kernel = ("--driverloaded", "n", "-y", "-Zn", "-Wn", "-an")
    try:
        run("pvcreate", "-y", loop)
        run("vgcreate", "-s", "1M", "rl", loop)
        for name, size in (("root", "6M"), ("swap", "4M")):
            run("lvcreate", *no_kernel, "-L", size, "-n", name, "rl")
        run("lvextend", "--driverloaded", "n", "-L", "16M", "rl/root")
    finally:
        run("losetup", "-d", loop)
    root = image("guest-rhel-root")
    # The first extent begins 1 MiB into the volume; swap is between the two segments of root.
    _write(disk, 34 * MIB, root[: 6 * MIB])
    _write(disk, (34 + 10) * MIB, root[6 * MIB :])


def _windows(disk: Path) -> None:
    need("parted")
    run("parted", "-s", disk, "mklabel", "msdos", "mkpart", "primary", "ntfs", "1MiB", "100%", "set", "1", "boot", "on")
    _write(disk, 0, b"\xfa\x33\xc0".ljust(440, b"\x90"))
    _write(disk, MIB, image("guest-windows"))


def _data_disk(disk: Path) -> None:
    """Write a data disk with logical partitions, each with its own file system."""
    need("parted", "mkfs.ext4", "mkswap", "mkntfs")
    marks = ["mkpart", "primary", "1MiB", "2MiB", "mkpart", "extended", "2MiB", "100%"]
    marks += ["mkpart", "logical", "3MiB", "8MiB", "mkpart", "logical", "9MiB", "14MiB"]
    run("parted", "-s", disk, "mklabel", "msdos", *marks)
    for at, program in ((1, ["mkswap", "-q"]), (3, ["mkfs.ext4", "-q", "-F"]), (9, ["mkntfs", "-q", "-F", "-Q"])):
        volume = disk.parent / "volume"
        volume.write_bytes(bytes({1: 1, 3: 5, 9: 5}[at] * MIB))
        subprocess.run([*program, volume], check=True, capture_output=True)
        _write(disk, at * MIB, volume.read_bytes())


Facts = tuple[TableKind, list[str], Architecture | None, OsType | None, str, str]
DISKS: dict[str, tuple[Callable[[Path], None], Facts]] = {
    "Debian, MBR, BIOS": (
        _debian_under_bios,
        (TableKind.MBR, ["ext4"], Architecture.X86_64, OsType.LINUX, "debian 12", "bios"),
    ),
    "Ubuntu, GPT, UEFI": (
        _ubuntu_under_uefi,
        (TableKind.GPT, ["vfat", "ext4"], Architecture.X86_64, OsType.LINUX, "ubuntu 24.04", "uefi"),
    ),
    "Debian for arm64": (
        _arm64,
        (TableKind.GPT, ["vfat", "ext4"], Architecture.ARM64, OsType.LINUX, "debian 12", "uefi"),
    ),
    "Rocky Linux on LVM": (
        _rhel_on_lvm,
        (TableKind.GPT, ["vfat", "xfs", "lvm"], Architecture.X86_64, OsType.LINUX, "rocky 9.4", "uefi"),
    ),
    "Windows": (_windows, (TableKind.MBR, ["ntfs"], Architecture.X86_64, OsType.WINDOWS, "", "bios")),
    "data": (_data_disk, (TableKind.MBR, ["swap", "", "ext4", "ntfs"], None, None, "", "")),
}


@pytest.mark.parametrize("name", DISKS)
def test_a_disk_has_the_right_report_in_every_container(name: str, disk: Path) -> None:
    """Table, file systems, architecture, system and boot mode are right; only fields of the container differ."""
    need("qemu-img", "qemu-nbd")
    make, facts = DISKS[name]
    if name == "Windows":
        pytest.importorskip("pyfsntfs", reason="the extra `windows` is not installed")
    make(disk)
    raw = inspect_disk(disk)
    assert _facts(raw) == facts
    assert [problem for problem in raw.container_problems if problem.severity is not Severity.NOTE] == []
    if name != "data":
        assert (raw.unknowns, raw.guest and raw.guest.unknowns) == ((), ())
    for container, options in CONTAINERS.items():
        other = disk.parent / "disk.img"
        run("qemu-img", "convert", "-f", "raw", *options.split(), disk, other)
        report = inspect_disk(other)
        same = dataclasses.replace(
            report,
            path=raw.path,
            container=raw.container,
            format=raw.format,
            file_bytes=raw.file_bytes,
            container_problems=raw.container_problems,
        )
        assert same == raw, container
        assert {problem.code for problem in report.container_problems} <= {"container-foreign", "qcow2-zstd"}, container


def _facts(report: DiskReport) -> Facts:
    guest = report.guest
    release = guest.os_release if guest else None
    return (
        report.table,
        [part.filesystem for part in report.partitions],
        report.architecture,
        guest.os_type if guest else None,
        f"{release.id} {release.version_id}" if release else "",
        "bios" if report.boot.bios else "uefi" if report.boot.uefi else "",
    )
