"""Builders of guests in memory, from a distribution, a boot loader, an initramfs and a network configuration."""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aliyun_import.disk.filesystems.interface import FileSystem
from aliyun_import.disk.filesystems.registry import Volume, find_volumes, open_volume
from aliyun_import.disk.guest.inspection import inspect_volumes
from aliyun_import.disk.partitions.boot import read_boot
from aliyun_import.disk.partitions.table import read_partitions
from aliyun_import.disk.reader import BytesReader, ReadProblem
from aliyun_import.disk.report import DiskReport
from aliyun_import.limits import GIB
from aliyun_import.model.request import DiskFormat
from tests.disk import build
from tests.disk.build import BIOS_BOOT, ESP, LINUX, MIB, Part
from tests.disk.memory import MemoryFiles
from tests.disk.trees import DRIVERS, Link, Tree, cpio, elf, every_linux, initramfs, module_paths

ROOT_UUID = "11111111-2222-4333-8444-5555555555aa"
BOOT_UUID = "11111111-2222-4333-8444-5555555555bb"
ROOT_ARGUMENTS = f"root=UUID={ROOT_UUID} ro quiet net.ifnames=0"
Files = dict[str, "bytes | Link"]


@dataclass(frozen=True)
class PartitionSpec:
    """A partition: a file system with its tree (None: it cannot be read), or the bytes of a FAT."""

    filesystem: str
    tree: Mapping[str, "bytes | Link"] | None = None
    uuid: str = ""
    label: str = ""
    name: str = ""
    kind: str = LINUX
    fat: bytes = b""
    active: bool = False
    attributes: int = 0


@dataclass(frozen=True)
class GuestDisk:
    """A disk: its partitions, boot code, and whether its table is an MBR."""

    parts: Sequence[PartitionSpec]
    code: bytes = b""
    stage: bytes = b""
    mbr: bool = False
    sectors: Mapping[int, bytes] = field(default_factory=dict)


def report_of(guest: GuestDisk) -> DiskReport:
    """Inspect a guest disk whose table, boot code and FATs are bytes, and whose other file systems are in memory."""
    size = (2 + len(guest.parts)) * MIB
    offsets = [MIB + MIB * index for index in range(len(guest.parts))]
    parts = [
        Part(offset // 512, MIB // 512, _mbr_kind(part) if guest.mbr else part.kind, part.active, part.name,
             part.attributes)
        for offset, part in zip(offsets, guest.parts, strict=True)
    ]  # fmt: skip
    disk = (build.mbr if guest.mbr else build.gpt)(size, parts, code=guest.code)
    if guest.stage:
        build.write_at(disk, 512 if guest.mbr else offsets[0], guest.stage)
    for offset, part in zip(offsets, guest.parts, strict=True):
        build.write_at(disk, offset, part.fat)
    for index, data in guest.sectors.items():
        build.write_at(disk, offsets[index], data)
    reader = BytesReader(bytes(disk))
    table = read_partitions(reader)
    boot, unknown = read_boot(reader, table)
    partitions = [
        known if part.fat else replace(known, filesystem=part.filesystem, uuid=part.uuid, label=part.label)
        for known, part in zip(table.partitions, guest.parts, strict=True)
    ]
    unknowns: list[str] = []
    opened: dict[Volume, FileSystem] = {}
    volumes = find_volumes(reader, partitions, unknowns)
    for volume, part in zip(volumes, guest.parts, strict=True):
        try:
            files = MemoryFiles(part.tree) if part.tree is not None else open_volume(volume)
        except ReadProblem as problem:
            unknowns.append(f"{volume.title}: {problem.message}")
            continue
        if files is not None:
            opened[volume] = files
    system = inspect_volumes(volumes, opened, partitions, unknowns)
    return DiskReport(
        path=Path("disk.raw"), container="raw", format=DiskFormat.RAW, file_bytes=40 * GIB, virtual_bytes=40 * GIB,
        container_problems=tuple(table.problems), table=table.kind, partitions=tuple(partitions), boot=boot,
        architecture=boot.architectures[0] if boot.architectures else system.architecture, guest=system,
        unknowns=unknown,
    )  # fmt: skip


def _mbr_kind(part: PartitionSpec) -> int:
    return {ESP: 0xEF, LINUX: 0x83}.get(part.kind, 0x83)


def system(release: str, *, version: str = "6.6.30", modules: str = "/usr/lib/modules", systemd: bool = True,
           builtin: Sequence[str] = ()) -> Files:  # fmt: skip
    """Return a root file system without a kernel, a boot loader and a network configuration."""
    dep = "".join(f"{path}:\n" for path in module_paths(name for name in DRIVERS if name not in builtin))
    tree: Files = every_linux() | {
        "/usr/sbin/init": elf(), "/etc/os-release": release.encode(),
        "/usr/bin/cloud-init": b"#!", "/usr/bin/growpart": b"#!",
        "/etc/cloud/cloud.cfg": b"datasource_list: [AliYun]\nnetwork: {config: disabled}\n",
        "/etc/fstab": f"UUID={ROOT_UUID} / ext4 defaults 0 1\n".encode(),
        f"{modules}/{version}/modules.dep": dep.encode(),
        f"{modules}/{version}/modules.builtin": "\n".join(["x", *module_paths(builtin)]).encode(),
    }  # fmt: skip
    if systemd:
        directory = "/etc/systemd/system/multi-user.target.wants"
        tree |= {
            "/usr/lib/systemd/systemd": elf(),
            "/usr/lib/udev/rules.d/80-net-setup-link.rules": b'NAME="$env{ID_NET_NAME}"',
            f"{directory}/sshd.service": Link("x"),
            f"{directory}/cloud-init.service": Link("x"),
        }
    return tree


def distribution(name: str, version: str = "1", like: str = "") -> str:
    """Return the text of an os-release file."""
    return f'ID={name}\nNAME="{name}"\nVERSION_ID="{version}"\nID_LIKE="{like}"\n'


def kernel(version: str = "") -> bytes:
    """Return a bzImage, with a version in its header if one is given."""
    head = bytearray(1024)
    head[0x1F1] = 1
    head[510:520] = b"\x55\xaa\xeb\x6aHdrS\x0f\x02"
    if version:
        struct.pack_into("<H", head, 0x20E, 0x100)
        head[0x300 : 0x300 + len(version) + 9] = version.encode() + b" (build)\0"
    return b"MZ" + bytes(head[2:])


def initramfs_image(
    version: str = "6.6.30",
    drivers: Sequence[str] = DRIVERS,
    pack: Callable[[bytes], bytes] | None = None,
    prefix: str = "usr/lib/modules/{}/",
) -> bytes:
    """Return an initramfs with drivers, compressed by `pack`."""
    if pack is None:
        return initramfs(drivers, version=version)
    return pack(cpio(["init", *(prefix.format(version) + path for path in module_paths(drivers))]))


MICROCODE = cpio(["kernel/x86/microcode/GenuineIntel.bin"])


def unified(version: str = "6.6.30", arguments: str = ROOT_ARGUMENTS, initrd: bytes | None = None) -> bytes:
    """Return a unified kernel image: a PE file with the sections of the stub of systemd."""
    sections = {".linux": kernel(version), ".cmdline": arguments.encode() + b"\n\0", ".uname": version.encode()}
    if initrd is not None:
        sections[".initrd"] = initrd
    head, body = bytearray(1024), b""
    head[:2] = b"MZ"
    struct.pack_into("<I", head, 0x3C, 0x80)
    struct.pack_into("<4sHH12xHH", head, 0x80, b"PE\0\0", 0x8664, len(sections), 0, 0)
    for index, (name, data) in enumerate(sections.items()):
        struct.pack_into("<8sIIII", head, 0x98 + index * 40, name.encode(), len(data), 0, len(data), 1024 + len(body))
        body += data
    return bytes(head) + body


def grub_menu(*entries: tuple[str, str, str], default: str = "0", arguments: str = ROOT_ARGUMENTS) -> bytes:
    """Return a grub.cfg of (title, kernel, initramfs)."""
    text = f'set default="{default}"\n'
    for title, image, initrd in entries:
        load = f"\tinitrd {initrd}\n" if initrd else ""
        text += f"menuentry '{title}' --class x {{\n\tlinux {image} {arguments}\n{load}}}\n"
    return text.encode()


# Disks by boot method.
def bios(*parts: PartitionSpec, code: bytes = b"") -> GuestDisk:
    """Return a disk with a GPT, GRUB 2 in the boot record, and a BIOS boot partition."""
    return GuestDisk(
        (PartitionSpec("", kind=BIOS_BOOT), *parts), code=code or build.grub_code(2048), stage=b"\x52\x56GRUB"
    )


def mbr(
    *parts: PartitionSpec, code: bytes = b"", stage: bytes = b"\x52\x56GRUB", sectors: Mapping[int, bytes] = {}
) -> GuestDisk:
    """Return a disk with an MBR, by default with GRUB 2 in it."""
    return GuestDisk(parts, code=code or build.grub_code(1), stage=stage, mbr=True, sectors=sectors)


def uefi(files: Mapping[str, bytes], *parts: PartitionSpec, loader: bool = True) -> GuestDisk:
    """Return a UEFI disk: an ESP with these files, and a loader at the removable path."""
    own = {"EFI/BOOT/BOOTX64.EFI": build.pe_program()} if loader else {}
    return GuestDisk((PartitionSpec("vfat", kind=ESP, fat=build.fat(own | dict(files), size=MIB)), *parts))


def root(tree: Tree, filesystem: str = "ext4", **more: Any) -> PartitionSpec:
    """Return a partition with a root file system."""
    return PartitionSpec(filesystem, tree, **{"uuid": ROOT_UUID} | more)


def legacy_code() -> bytes:
    """Return the part of stage1 of GRUB legacy by which it is recognised."""
    code = bytearray(440)
    code[:3], code[0x3E:0x40], code[0x44] = b"\xeb\x48\x90", b"\3\2", 1
    code[0x180:0x184] = b"GRUB"
    return bytes(code)


def enabled_units(*units: str) -> Files:
    """Return the links that enable systemd units."""
    return {f"/etc/systemd/system/multi-user.target.wants/{unit}": Link("x") for unit in units}


LINK = Link("x")
NETWORKS: dict[str, Files] = {
    "ifupdown": {"/etc/network/interfaces": b"auto eth0\niface eth0 inet dhcp\n", "/usr/sbin/dhclient": elf()},
    "netplan": {"/etc/netplan/1.yaml": b"network: {ethernets: {any: {match: {name: 'e*'}, dhcp4: true}}}\n"},
    "networkd": enabled_units("systemd-networkd.service")
    | {"/etc/systemd/network/a.network": b"[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n"},
    "manager": enabled_units("NetworkManager.service"),
    "ifcfg": {"/etc/sysconfig/network-scripts/ifcfg-eth0": b'BOOTPROTO="dhcp"\nONBOOT=yes\n'},
    "wicked": {"/etc/sysconfig/network/ifcfg-eth0": b"BOOTPROTO='dhcp'\nSTARTMODE='auto'\n"},
    "dhcpcd": enabled_units("dhcpcd.service"),
    "openrc": {"/etc/network/interfaces": b"auto eth0\niface eth0 inet dhcp\n", "/usr/sbin/udhcpc": LINK,
               "/etc/runlevels/default/sshd": LINK},
    "netifrc": {"/etc/conf.d/net": b'config_eth0="dhcp"\n', "/etc/runlevels/default/net.eth0": Link("x")},
    "runit": {"/etc/runit/runsvdir/default/dhcpcd": Link("x"), "/etc/runit/runsvdir/default/sshd": Link("x")},
    "netctl": enabled_units("netctl@e.service") | {"/etc/netctl/e": b"Interface=eth0\nConnection=ethernet\nIP=dhcp\n"},
    "connman": enabled_units("connman.service"),
    "slackware": {"/etc/rc.d/rc.inet1.conf": b'USE_DHCP[0]="yes"\n'},
}  # fmt: skip
