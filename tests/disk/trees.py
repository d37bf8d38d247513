"""Directory trees for the tests: corner cases of file systems, and small guests.

fixtures/make.py writes the same trees into the images of fixtures/.
"""

import gzip
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from tests.disk.hive import Keys, hive

Tree = dict[str, "bytes | Link"]

ROOT_UUID = "11111111-2222-4333-8444-555555555501"
BOOT_UUID = "11111111-2222-4333-8444-555555555502"
DRIVERS = ("virtio_blk", "virtio_pci", "virtio_net", "nvme")


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


def corner_tree() -> Tree:
    """Return a tree with every kind of file, directory and link that file systems store differently."""
    tree: Tree = {
        "/empty": b"",
        "/tiny": b"forty bytes of a file in its own inode...",
        "/small": b"a hundred and more bytes, which is too much for the inode of 128 bytes but not " * 2,
        "/block": _text(5000),
        "/large": _text(400_000),
        "/deep" + "/down" * 30 + "/file": b"at the bottom",
        "/sch\u00f6n/\u65e5\u672c": "\U0001f600".encode(),
        "/links/to-block": Link("../block"),
        "/links/absolute": Link("/links/to-block"),
        "/links/directory": Link("/deep/down"),
        "/links/outside": Link("../../../../../../tiny"),
        "/links/nowhere": Link("/nowhere"),
        "/links/a": Link("b"),
        "/links/b": Link("a"),
        "/links/chain-0": Link("../tiny"),
    }
    tree |= {f"/links/chain-{number}": Link(f"chain-{number - 1}") for number in range(1, 20)}
    tree |= {f"/links/long-{length}": Link("y" * length) for length in (59, 60, 61, 200, 1000)}
    tree |= {f"/many/a-name-that-is-rather-long-{number:04}": b"" for number in range(700)}
    return tree


def cpio(names: Iterable[str]) -> bytes:
    """Return a cpio archive in the "newc" format with empty files."""
    pieces = []
    for number, name in enumerate((*names, "TRAILER!!!")):
        raw = name.encode() + b"\0"
        fields = (number + 1, 0o100644, 0, 0, 1, 0, 0, 0, 0, 0, 0, len(raw), 0)
        entry = b"070701" + b"%08x" * len(fields) % fields + raw
        pieces.append(entry + bytes(-len(entry) % 4))
    archive = b"".join(pieces)
    return archive + bytes(-len(archive) % 512)


def module_paths(names: Iterable[str], *, suffix: str = ".ko") -> list[str]:
    """Return the paths of kernel modules in an initramfs or modules.dep, some with dashes."""
    return [f"kernel/drivers/{name.replace('virtio_', 'virtio-') if 'pci' in name else name}{suffix}" for name in names]


def initramfs(names: Iterable[str], *, version: str, suffix: str = ".ko") -> bytes:
    """Return a compressed initramfs with these modules after an early archive with microcode."""
    early = cpio(["kernel/x86/microcode/GenuineIntel.bin"])
    paths = [f"usr/lib/modules/{version}/{path}" for path in module_paths(names, suffix=suffix)]
    return early + gzip.compress(cpio(["init", "usr/bin/sh", *paths]), mtime=0)


def debian(**changes: "bytes | Link | None") -> Tree:
    """Return a Debian 12 with ifupdown and GRUB, without faults; `changes` are by path (None removes)."""
    version = "6.1.0-30-amd64"
    entry = f"linux /boot/vmlinuz-{version} root=UUID={ROOT_UUID} ro quiet\n initrd /boot/initrd.img-{version}\n"
    tree = _linux(version) | {
        "/etc/os-release": Link("../usr/lib/os-release"),
        "/usr/lib/os-release": b'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\n'
        b'VERSION_ID="12"\nID=debian\n',
        f"/boot/vmlinuz-{version}": b"MZ",
        f"/boot/initrd.img-{version}": initramfs(DRIVERS, version=version),
        "/boot/grub/grub.cfg": f"set timeout=5\nmenuentry 'Debian' {{\n {entry}}}\n".encode(),
        "/etc/network/interfaces": b"auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet dhcp\n",
        "/usr/sbin/dhclient": elf(),
        "/usr/bin/cloud-init": b"#!/usr/bin/python3\n",
        "/var/lib/dpkg/status": b"Package: adduser\nVersion: 3.134\n\nPackage: cloud-init\nStatus: install ok\n"
        b"Version: 22.4.2-1+deb12u4\n\n",
        "/etc/cloud/cloud.cfg": b"# datasource_list: [ Ec2 ]\n",
        "/etc/cloud/cloud.cfg.d/90_dpkg.cfg": b"datasource_list: [ NoCloud, AliYun, None ]\n",
        "/etc/systemd/system/cloud-init.target.wants/cloud-init.service": Link(
            "/lib/systemd/system/cloud-init.service"
        ),
        "/etc/systemd/system/multi-user.target.wants/ssh.service": Link("/lib/systemd/system/ssh.service"),
        "/usr/bin/growpart": b"#!/bin/sh\n",
    }
    return _changed(tree, changes)


def ubuntu(**changes: "bytes | Link | None") -> Tree:
    """Return an Ubuntu 24.04 with netplan, and modules in an uncompressed early archive as by newer mkinitramfs."""
    version = "6.8.0-45-generic"
    modules = cpio([f"usr/lib/modules/{version}/{path}" for path in module_paths(DRIVERS, suffix=".ko.zst")])
    microcode = cpio(["kernel/x86/microcode/AuthenticAMD.bin"])
    entry = f"linux /boot/vmlinuz-{version} root=UUID={ROOT_UUID} ro  quiet splash $vt_handoff\n"
    tree = _linux(version) | {
        "/etc/os-release": Link("../usr/lib/os-release"),
        "/usr/lib/os-release": b'PRETTY_NAME="Ubuntu 24.04.1 LTS"\nNAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\n'
        b"ID_LIKE=debian\n",
        f"/boot/vmlinuz-{version}": b"MZ",
        f"/boot/initrd.img-{version}": microcode + modules + gzip.compress(cpio(["init", "scripts/local"]), mtime=0),
        "/boot/vmlinuz": Link(f"vmlinuz-{version}"),
        "/boot/grub/grub.cfg": f"menuentry 'Ubuntu' {{\n {entry} initrd /boot/initrd.img-{version}\n}}\n".encode(),
        "/etc/netplan/50-cloud-init.yaml": b"network:\n  version: 2\n  ethernets:\n    ens3:\n      dhcp4: true\n",
        "/usr/bin/cloud-init": b"#!/usr/bin/python3\n",
        "/etc/cloud/cloud.cfg.d/90_dpkg.cfg": b"datasource_list:\n- NoCloud\n- AliYun\n",
        "/usr/lib/python3/dist-packages/cloud_init-24.1.3.egg-info": b"",
        "/etc/systemd/system/cloud-init.target.wants/cloud-init.service": Link(
            "/lib/systemd/system/cloud-init.service"
        ),
        "/etc/systemd/system/sockets.target.wants/ssh.socket": Link("/lib/systemd/system/ssh.socket"),
        "/etc/systemd/system/multi-user.target.wants/ufw.service": Link("/lib/systemd/system/ufw.service"),
        "/etc/ufw/ufw.conf": b"ENABLED=no\n",
        "/usr/bin/growpart": b"#!/bin/sh\n",
    }
    return _changed(tree, changes)


def rhel_root(**changes: "bytes | Link | None") -> Tree:
    """Return the root of a Rocky Linux 9 with NetworkManager and a separate /boot."""
    version = "5.14.0-427.el9.x86_64"
    tree = _linux(version) | {
        "/etc/os-release": b'NAME="Rocky Linux"\nVERSION_ID="9.4"\nID="rocky"\nID_LIKE="rhel centos fedora"\n'
        b'PRETTY_NAME="Rocky Linux 9.4 (Blue Onyx)"\n',
        "/boot/.below-the-mount": b"",
        "/etc/fstab": f"/dev/mapper/rl-root / xfs defaults 0 0\nUUID={BOOT_UUID} /boot xfs defaults 0 0\n".encode(),
        "/etc/NetworkManager/system-connections/eth0.nmconnection": b"[connection]\nid=eth0\n[ipv4]\nmethod=auto\n",
        "/etc/systemd/system/multi-user.target.wants/NetworkManager.service": Link("/usr/lib/systemd/system/x"),
        "/etc/systemd/system/multi-user.target.wants/sshd.service": Link("/usr/lib/systemd/system/sshd.service"),
        "/etc/systemd/system/multi-user.target.wants/cloud-init.service": Link("/usr/lib/systemd/system/x"),
        "/usr/bin/cloud-init": b"#!/usr/bin/python3\n",
        "/usr/lib/python3.9/site-packages/cloud_init-23.4-py3.9.egg-info/PKG-INFO": b"",
        "/etc/cloud/cloud.cfg": b"datasource_list: ['AliYun', 'None']\n",
        "/etc/selinux/config": b"# SELINUX= can take\nSELINUX=permissive\nSELINUXTYPE=targeted\n",
        "/usr/bin/growpart": b"#!/bin/sh\n",
    }
    return _changed(tree, changes)


def rhel_boot(**changes: "bytes | Link | None") -> Tree:
    """Return the /boot of that Rocky Linux: BLS entries, a rescue kernel, an initramfs of dracut."""
    version, rescue = "5.14.0-427.el9.x86_64", "0-rescue-0123456789abcdef0123456789abcdef"
    options = "options root=/dev/mapper/rl-root ro crashkernel=1G-4G:192M rd.lvm.lv=rl/root $tuned_params\n"
    entry = "title Rocky Linux\nversion {0}\nlinux /vmlinuz-{0}\ninitrd /initramfs-{0}.img $tuned_initrd\n" + options
    tree: Tree = {
        f"/vmlinuz-{version}": b"MZ",
        f"/vmlinuz-{rescue}": b"MZ",
        f"/initramfs-{version}.img": initramfs(DRIVERS, version=version, suffix=".ko.xz"),
        f"/initramfs-{rescue}.img": initramfs((), version=version),
        f"/loader/entries/0123456789abcdef-{version}.conf": entry.format(version).encode(),
        f"/loader/entries/0123456789abcdef-{rescue}.conf": entry.format(rescue).encode(),
        "/grub2/grub.cfg": b"set timeout=5\ninsmod blscfg\nblscfg\n",
        "/grub2/grubenv": b"# GRUB Environment Block\nsaved_entry=0123456789abcdef-5.14.0-427.el9.x86_64\n####",
    }
    return _changed(tree, changes)


def windows() -> Tree:
    """Return a Windows Server 2022 with virtio drivers and a filter; viostor does not start at boot."""
    control = "ControlSet002"
    services = rf"{control}\Services"
    software: Keys = {
        r"Microsoft\Windows NT\CurrentVersion": {
            "ProductName": "Windows Server 2022 Standard",
            "CurrentBuildNumber": "20348",
            "InstallationType": "Server",
        },
        r"Microsoft\Windows\CurrentVersion\Setup\State": {"ImageState": "IMAGE_STATE_COMPLETE"},
        r"Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending": {},
    }
    system: Keys = {
        "Select": {"Current": 2},
        "Setup": {"SystemSetupInProgress": 0},
        rf"{services}\viostor": {"Start": 3},
        rf"{services}\netkvm": {"Start": 3},
        rf"{services}\stornvme": {"Start": 0},
        rf"{services}\SharedAccess\Parameters\FirewallPolicy\PublicProfile": {"EnableFirewall": 1},
        rf"{services}\SharedAccess\Parameters\FirewallPolicy\FirewallRules": {
            "RemoteDesktop-UserMode-In-TCP": "v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=3389|"
        },
        rf"{control}\Control\Terminal Server": {"fDenyTSConnections": 1},
        rf"{control}\Control\Terminal Server\WinStations\RDP-Tcp": {"PortNumber": 3390},
        rf"{control}\Control\Session Manager\Environment": {"PROCESSOR_ARCHITECTURE": "AMD64"},
        rf"{control}\Control\Class\{{4d36e967-e325-11ce-bfc1-08002be10318}}": {"UpperFilters": ("partmgr", "leftover")},
    }
    return {
        "/Windows/System32/config/SOFTWARE": hive(software),
        "/Windows/System32/config/SYSTEM": hive(system),
        "/Windows/System32/drivers/viostor.sys": b"MZ",
        "/Windows/System32/drivers/netkvm.sys": b"MZ",
        "/Windows/System32/drivers/stornvme.sys": b"MZ",
        "/Boot/BCD": b"regf",
        "/hiberfil.sys": b"HIBR" + bytes(4092),
        "/Program Files/Qemu-ga/qemu-ga.exe": b"MZ",
    }


def elf(machine: int = 62, *, interpreter: str = "") -> bytes:
    """Return the ELF header of a program for a machine (62 is x86-64, 183 aarch64), with its interpreter if given."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, machine)
    if not interpreter:
        return head + bytes(44)
    head = (head + bytes(12) + struct.pack("<Q", 64)).ljust(0x36, b"\0") + struct.pack("<HH", 56, 2)
    empty, name = bytes(56), interpreter.encode() + b"\0"
    return head.ljust(64, b"\0") + empty + struct.pack("<IIQQQQQQ", 3, 4, 176, 176, 176, len(name), len(name), 1) + name


def every_linux() -> Tree:
    """Return the files that each Linux of the tests has: merged directories, accounts, an SSH server, no identity."""
    return {
        "/bin": Link("usr/bin"),
        "/sbin": Link("usr/sbin"),
        "/lib": Link("usr/lib"),
        "/usr/bin/sh": Link("dash"),
        "/usr/bin/dash": elf(),
        "/usr/bin/passwd": elf(),
        "/usr/sbin/sshd": elf(),
        "/etc/passwd": b"root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/usr/sbin/nologin\n",
        "/etc/shadow": b"root:*:19000:0:99999:7:::\n",
        "/etc/machine-id": b"",
    }


def _linux(version: str) -> Tree:
    """Return what the guests of fixtures/ share: besides the files of every Linux, modules and an fstab by UUID."""
    dep = "".join(f"{path}:\n" for path in module_paths(DRIVERS))
    return every_linux() | {
        "/usr/lib/systemd/systemd": elf(),
        "/etc/ssh/sshd_config": b"Include /etc/ssh/sshd_config.d/*.conf\n#PermitRootLogin no\nUsePAM yes\n",
        "/etc/ssh/sshd_config.d/10-own.conf": b"PasswordAuthentication no\n",
        "/etc/fstab": f"# <file system>\nUUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\n".encode(),
        f"/usr/lib/modules/{version}/modules.dep": dep.encode(),
        f"/usr/lib/modules/{version}/modules.builtin": b"kernel/fs/ext4/ext4.ko\nkernel/drivers/virtio/virtio.ko\n",
    }


def _changed(tree: Tree, changes: "dict[str, bytes | Link | None]") -> Tree:
    for path, content in changes.items():
        if content is None:
            del tree[path]
        else:
            tree[path] = content
    return tree


def _text(size: int) -> bytes:
    """Return compressible text in which every line is unique."""
    return b"".join(b"line %08d\n" % number for number in range(size // 14 + 1))[:size]
