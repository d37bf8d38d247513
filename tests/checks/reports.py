"""Reports of fictitious disks, for the tests of the checks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from aliyun_import.checks.run import find_check, run_disk_checks
from aliyun_import.disk.guest.report import (
    DRIVERS,
    Accounts,
    BootEntry,
    CloudInit,
    Driver,
    DriverPlace,
    Evidence,
    FstabEntry,
    GuestReport,
    Kernel,
    Network,
    OsRelease,
    RootFileSystem,
    Sshd,
)
from aliyun_import.disk.report import BootEvidence, DiskReport, Loader, Partition, TableKind
from aliyun_import.limits import GIB
from aliyun_import.model.finding import Finding
from aliyun_import.model.request import Architecture, DiskFormat, DiskRequest, ImportRequest, OsType

ROOT = Partition(
    number=1,
    start_bytes=1 << 20,
    size_bytes=40 * GIB - (2 << 20),
    type_name="Linux",
    type_id="0x83",
    active=True,
    filesystem="ext4",
    uuid="11111111-2222-4333-8444-555555555555",
)
ESP = Partition(
    number=1,
    start_bytes=1 << 20,
    size_bytes=128 << 20,
    type_name="EFI system",
    type_id="c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
    filesystem="vfat",
)
LOADER = Loader(
    path="EFI/BOOT/BOOTX64.EFI", partition=1, architecture=Architecture.X86_64, machine="x86-64", removable=True
)
BIOS = BootEvidence(bios=("partition 1 is active and the MBR has boot code",))
UEFI = BootEvidence(uefi=("EFI/BOOT/BOOTX64.EFI on partition 1",), loaders=(LOADER,))


def kernel(**places: DriverPlace) -> Kernel:
    """Return a kernel whose drivers are in its initramfs, except for the given ones."""
    drivers = tuple(Driver(name=name, place=places.get(name, DriverPlace.INITRAMFS)) for name in DRIVERS)
    return Kernel(version="6.1.0", image="/boot/vmlinuz-6.1.0", initramfs="/boot/initrd.img-6.1.0", drivers=drivers)


def entry(**changes: Any) -> BootEntry:
    """Return a valid entry of a GRUB menu with the given changes."""
    default = BootEntry(
        loader="grub",
        where="/boot/grub/grub.cfg:6",
        kernel="/boot/vmlinuz-6.1.0",
        initramfs="/boot/initrd.img-6.1.0",
        root="UUID=1",
        kernel_found=True,
        initramfs_found=True,
        root_found=True,
    )
    return replace(default, **changes)


def guest(**changes: Any) -> GuestReport:
    """Return a Debian without faults with the given changes."""
    default = GuestReport(
        os_type=OsType.LINUX,
        os_release=OsRelease(id="debian", name="Debian GNU/Linux", version_id="12", pretty_name="Debian 12"),
        architecture=Architecture.X86_64,
        machine="x86-64",
        root=RootFileSystem(
            partition=1,
            type="ext4",
            uuid=ROOT.uuid,
            size_bytes=ROOT.size_bytes,
            free_bytes=30 * GIB,
            inodes=2_000_000,
            free_inodes=1_900_000,
        ),
        kernels=(kernel(),),
        fstab=(
            FstabEntry(
                line=1, spec=f"UUID={ROOT.uuid}", mount_point="/", type="ext4", options=("defaults",), found=True
            ),
        ),
        boot_entries=(entry(),),
        network=Network(dhcp=(Evidence(what="iface eth0 inet dhcp", where="/etc/network/interfaces:3"),)),
        cloud_init=CloudInit(
            where="/usr/bin/cloud-init", version="22.4.2", enabled=True, sources=("AliYun", "None"), growpart=True
        ),
        sshd=Sshd(where="/usr/sbin/sshd", enabled=True),
        accounts=Accounts(
            readable=True,
            root=Evidence(what="root:x:0:0", where="/etc/passwd:1"),
            passwd=Evidence(what="passwd", where="/usr/bin/passwd"),
        ),
    )
    return replace(default, **changes)


def report(**changes: Any) -> DiskReport:
    """Return the report of a 40 GiB disk that boots with BIOS and whose guest was not read, with the given changes."""
    default = DiskReport(
        path=Path("disk.raw"),
        container="raw",
        format=DiskFormat.RAW,
        file_bytes=40 * GIB,
        virtual_bytes=40 * GIB,
        table=TableKind.MBR,
        partitions=(ROOT,),
        boot=BIOS,
    )
    return replace(default, **changes)


def request(**changes: Any) -> ImportRequest:
    """Return a request for one disk without options, with the given changes."""
    default = ImportRequest(region="cn-hangzhou", disks=(DiskRequest(path=Path("disk.raw")),), name="debian-12")
    return replace(default, **changes)


def findings(disk: DiskReport, requested: ImportRequest | None = None, *, is_system: bool = True) -> dict[str, Finding]:
    """Run all checks of a disk, and return the findings by id. Assert that each is as its check declares."""
    requested = requested or request()
    if not is_system:
        requested = replace(requested, disks=(*requested.disks, *requested.disks))
    found = run_disk_checks(disk, requested, index=0 if is_system else 1)
    for finding in found:
        assert finding.severity in find_check(finding.rule).severities
        assert finding.source == find_check(finding.rule).source
    assert len({finding.rule for finding in found}) == len(found), "a check has more than one finding"
    return {finding.rule: finding for finding in found}
