"""Tests of the findings of many guests: distributions, boot loaders, initramfs, file systems and networks."""

import bz2
import gzip
import lzma
import re
from functools import partial

from aliyun_import.checks.run import run_disk_checks
from aliyun_import.disk.guest.report import DRIVERS
from aliyun_import.disk.report import DiskReport
from aliyun_import.model.finding import Severity
from tests.checks.reports import request
from tests.disk import build
from tests.disk.guest.builders import (
    BOOT_UUID,
    MICROCODE,
    NETWORKS,
    ROOT_UUID,
    Files,
    GuestDisk,
    PartitionSpec,
    bios,
    distribution,
    enabled_units,
    grub_menu,
    initramfs_image,
    kernel,
    legacy_code,
    mbr,
    report_of,
    root,
    system,
    uefi,
    unified,
)
from tests.disk.guest.test_kernels import ZSTD, lz4_frame
from tests.disk.trees import Link, cpio, elf, every_linux, module_paths
from tests.rows import each_row

XZ = partial(lzma.compress, preset=0)

VERSION, ARGUMENTS = "6.6.30", f"root=UUID={ROOT_UUID} ro quiet net.ifnames=0"
USR_TYPE = "5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6"
ARCH = system(distribution("arch", ""), version=VERSION) | {f"/usr/lib/modules/{VERSION}/pkgbase": b"linux\n"}
XFS_BOOT = f"UUID={ROOT_UUID} / xfs defaults 0 0\nUUID={BOOT_UUID} /boot xfs defaults 0 0\n".encode()
BLS = "title {0}\nversion {1}\nlinux {2}/vmlinuz-{1}\ninitrd {2}/initramfs-{1}.img\noptions {3}\n"
# The standard boot record of Microsoft, and an unknown one.
STANDARD, UNKNOWN_CODE = b"\x33\xc0\x8e\xd0\xbc\x00\x7cInvalid partition table", b"\xea\x05\x00\xc0\x07" + b"\x90" * 90
BOOTABLE = b"\xeb\x58\x90SYSLINUX".ljust(510, b"\0") + b"\x55\xaa"


def debian(
    name: str = "debian",
    version: str = "12",
    *,
    network: str = "ifupdown",
    arguments: str = ARGUMENTS,
    more: Files | None = None,
) -> Files:
    """Return a Debian or a derivative with GRUB 2 and initramfs-tools."""
    menu = grub_menu((name, f"/boot/vmlinuz-{VERSION}", f"/boot/initrd.img-{VERSION}"), arguments=arguments)
    tree = system(distribution(name, version, "debian"), version=VERSION) | {
        f"/boot/vmlinuz-{VERSION}": kernel(VERSION), f"/boot/initrd.img-{VERSION}": initramfs_image(),
        "/boot/grub/grub.cfg": menu,
        "/usr/sbin/update-initramfs": b"#!",
    }  # fmt: skip
    return tree | NETWORKS[network] | (more or {})


def redhat(name: str = "rocky", version: str = "9.3", *, network: str = "manager", more: Files | None = None) -> Files:
    """Return a system of the Red Hat family with BLS entries and dracut."""
    tree = system(distribution(name, version, "rhel fedora"), version=VERSION) | {
        f"/boot/vmlinuz-{VERSION}": kernel(VERSION), f"/boot/initramfs-{VERSION}.img": initramfs_image(),
        f"/boot/loader/entries/m-{VERSION}.conf": BLS.format(name, VERSION, "/boot", ARGUMENTS).encode(),
        "/boot/grub2/grub.cfg": b"blscfg\n", "/usr/bin/dracut": b"#!",
    }  # fmt: skip
    return tree | NETWORKS[network] | (more or {})


def without_loader(
    name: str, *, network: str, systemd: bool = True, version: str = "1", more: Files | None = None
) -> Files:
    """Return a system without a boot loader."""
    return system(distribution(name, version), version=VERSION, systemd=systemd) | NETWORKS[network] | (more or {})


def flavours(name: str, flavour: dict[str, str], image: str, initrd: str, *, network: str, first: str) -> Files:
    """Return a system with several kernels whose file names have a flavour and no version."""
    tree = without_loader(name, network=network, systemd=network != "openrc")
    entries = []
    for one, version in flavour.items():
        drivers = DRIVERS if one == first else ("nvme",)
        tree |= system(distribution(name), version=version, systemd=network != "openrc")
        tree |= {image.format(one): kernel(), initrd.format(one): initramfs_image(version, drivers)}
        entries.append((one, image.format(one), initrd.format(one)))
    return tree | NETWORKS[network] | {"/boot/grub/grub.cfg": grub_menu(*entries, default=first)}


def without(tree: Files, *paths: str) -> Files:
    """Return a system without the given paths."""
    return {path: content for path, content in tree.items() if path not in paths}


def without_rule(tree: Files) -> Files:
    """Return a system without the rule of systemd 209 and later that names network interfaces."""
    return without(tree, SETUP_LINK)


SYSTEMD_BOOT = {
    "loader/loader.conf": b"default arch.conf\n",
    "loader/entries/arch.conf": b"title Arch\nlinux /vmlinuz-linux\ninitrd /intel-ucode.img\n"
    b"initrd /initramfs-linux.img\noptions " + ARGUMENTS.encode() + b"\n",
    "loader/entries/old.conf": b"title Old\nlinux /vmlinuz-old\noptions root=/dev/sda2\n",
}
REFIND = {
    "EFI/refind/refind.conf": b'menuentry "Arch" {\n loader /vmlinuz-linux\n initrd /initramfs-linux.img\n'
    + f' options "{ARGUMENTS}"\n}}\n'.encode()
}
LIMINE = {
    "limine.conf": f"timeout: 3\n/Arch Linux\n protocol: linux\n path: boot():/vmlinuz-linux\n cmdline: {ARGUMENTS}\n"
    " module_path: boot():/intel-ucode.img\n module_path: boot():/initramfs-linux.img\n".encode()
}
EXTLINUX = (
    "DEFAULT arch\nLABEL old\n LINUX ../vmlinuz-old\n APPEND root=/dev/sda1\nLABEL arch\n LINUX ../vmlinuz-linux\n"
    f" APPEND {ARGUMENTS}\n INITRD ../intel-ucode.img,../initramfs-linux.img\n"
).encode()
LILO = "boot=/dev/sda\ndefault=linux\nimage=/boot/vmlinuz\n label=linux\n initrd=/boot/initrd.gz\n root={}\n"
ARCH_BOOT = {
    "/boot/vmlinuz-linux": kernel(),
    "/boot/initramfs-linux.img": initramfs_image(),
    "/boot/intel-ucode.img": MICROCODE,
}
BTRFS = PartitionSpec("btrfs", uuid=ROOT_UUID)
DEBIAN = debian()
ARCH_ESP = {"vmlinuz-linux": kernel(), "initramfs-linux.img": initramfs_image(), "intel-ucode.img": MICROCODE}
STATIC = b"auto eth0\niface eth0 inet static\n address 192.0.2.7/24\n"
LEGACY = (
    "default=1\ntitle Old\n kernel /boot/vmlinuz-old root=/dev/hda1\ntitle New\n root (hd0,0)\n"
    f" kernel /boot/vmlinuz-{VERSION} {ARGUMENTS}\n initrd /boot/initrd-{VERSION}.img\n"
).encode()
FEDORA_ESP = (
    f"title Fedora\nversion {VERSION}\nlinux /m/6.6.30/linux\ninitrd /m/6.6.30/initrd\noptions {ARGUMENTS}\n".encode()
)
BY_ID = (
    f"title S\n kernel /boot/vmlinuz-{VERSION} root=/dev/disk/by-id/ata-DISK-part2\n initrd /boot/initrd-{VERSION}\n"
).encode()
ALPINE = f"DEFAULT lts\nLABEL lts\n LINUX vmlinuz-lts\n INITRD initramfs-lts\n APPEND {ARGUMENTS}\n".encode()
BUILT_IN = b"CONFIG_VIRTIO_BLK=y\nCONFIG_VIRTIO_PCI=y\nCONFIG_VIRTIO_NET=y\nCONFIG_BLK_DEV_NVME=y\n"
WINDOWS_FIRST = b"menuentry 'Windows' {\n chainloader +1\n}\n" + grub_menu(
    ("Debian", f"/boot/vmlinuz-{VERSION}", f"/boot/initrd.img-{VERSION}")
)
NIXOS = (
    f"title NixOS\nlinux /EFI/nixos/k.efi\ninitrd /EFI/nixos/i.efi\noptions init=/nix/store/s/init {ARGUMENTS}\n"
).encode()
CENTOS_6 = without_loader("centos", network="ifcfg", systemd=False, version="6.10") | {
    f"/boot/vmlinuz-{VERSION}": kernel(VERSION),
    f"/boot/initrd-{VERSION}.img": initramfs_image(),
    "/boot/grub/grub.conf": LEGACY,
}
OSTREE = "/ostree/deploy/fedora-coreos/deploy/0123.0"
COREOS_BOOT: Files = {
    "/loader": Link("loader.1"),
    "/loader.1/entries/ostree-1.conf": BLS.format(
        "CoreOS", VERSION, "/ostree/c", f"{ARGUMENTS} ostree=/ostree/boot.1/c/0 ignition.platform.id=aliyun"
    ).encode(),
    f"/ostree/c/vmlinuz-{VERSION}": kernel(VERSION),
    f"/ostree/c/initramfs-{VERSION}.img": initramfs_image(),
}
DEPLOYED = without_loader("fedora", network="manager") | {
    "/usr/lib/os-release": b"ID=fedora\nVARIANT_ID=coreos\nVERSION_ID=40\n"
}
COREOS_ROOT: Files = {
    "/etc/os-release": Link("../usr/lib/os-release"),
    "/usr/.k": b"",
    "/bin": Link("usr/bin"),
    **{path: content for path, content in every_linux().items() if path.startswith("/etc/")},
}
# Names of network interfaces: predictable ones of systemd, or those of the kernel.
RULES, LIBRARY = "/etc/udev/rules.d", "/usr/lib/udev/rules.d"
SETUP_LINK = f"{LIBRARY}/80-net-setup-link.rules"
PREDICTABLE = f"root=UUID={ROOT_UUID} ro quiet"
NAME_SLOT: Files = {f"{LIBRARY}/80-net-name-slot.rules": b"NAME=x"}
NETPLAN_ETH0 = b"network: {ethernets: {eth0: {dhcp4: true}}}\n"
NETWORKD_ETH0 = b"[Match]\nName=eth*\n[Network]\nDHCP=yes\n"
MANAGER_ETH0: Files = {
    "/etc/NetworkManager/system-connections/a": b"[connection]\ntype=ethernet\ninterface-name=eth0\n"
}
NO_AUTO_DEFAULT: Files = {"/usr/lib/NetworkManager/conf.d/00-server.conf": b"[main]\nno-auto-default=*\n"}
EXTLINUX_PREDICTABLE = (
    f"DEFAULT a\nLABEL a\n LINUX /boot/vmlinuz-{VERSION}\n APPEND {PREDICTABLE}\n INITRD /boot/initrd.img-{VERSION}\n"
).encode()
# The drivers are at the beginning of the archive.
LONG = gzip.compress(
    cpio(
        [
            *(f"usr/lib/modules/{VERSION}/{path}" for path in module_paths(DRIVERS)),
            *(f"bin/{n:05d}" for n in range(20_000)),
        ]
    )
)
NO_VIRTIO = initramfs_image(drivers=("nvme",))
UKI = unified(initrd=initramfs_image())

# Expected findings except notes, by severity and id. Empty: the guest boots and has no fault.
GUESTS: dict[str, tuple[GuestDisk, str]] = {
    # Debian and its derivatives: GRUB 2, initramfs-tools.
    "debian, GRUB, gzip, ext4, ifupdown": (bios(root(DEBIAN)), ""),
    "debian, GRUB on MBR": (mbr(root(DEBIAN)), ""),
    "debian, GRUB, xz": (bios(root(debian(more={f"/boot/initrd.img-{VERSION}": initramfs_image(pack=XZ)}))), ""),
    "ubuntu, GRUB, zstd, netplan": (
        bios(
            root(
                debian(
                    "ubuntu",
                    "24.04",
                    network="netplan",
                    more={f"/boot/initrd.img-{VERSION}": initramfs_image(pack=ZSTD.compress)},
                )
            )
        ),
        "",
    ),
    "ubuntu, GRUB, lz4, UEFI": (
        uefi(
            {},
            root(
                debian(
                    "ubuntu",
                    "20.04",
                    network="netplan",
                    more={f"/boot/initrd.img-{VERSION}": initramfs_image(pack=lz4_frame)},
                )
            ),
        ),
        "",
    ),
    "linuxmint, GRUB, bzip2, NetworkManager": (
        bios(
            root(
                debian(
                    "linuxmint",
                    "21",
                    network="manager",
                    more={f"/boot/initrd.img-{VERSION}": initramfs_image(pack=bz2.compress)},
                )
            )
        ),
        "",
    ),
    "kali, GRUB, microcode first, lzma": (
        bios(
            root(
                debian(
                    "kali",
                    "2026",
                    more={
                        f"/boot/initrd.img-{VERSION}": MICROCODE
                        + initramfs_image(pack=lambda raw: lzma.compress(raw, lzma.FORMAT_ALONE, preset=0))
                    },
                )
            )
        ),
        "",
    ),
    "devuan, GRUB, sysvinit": (
        bios(root(debian("devuan", "5", more={"/usr/lib/systemd/systemd": Link("nowhere")}))),
        "",
    ),
    "proxmox, GRUB, bridge": (
        bios(
            root(
                debian(
                    "debian",
                    "12",
                    more={"/etc/network/interfaces": b"auto vmbr0\niface vmbr0 inet dhcp\n bridge-ports eth0\n"},
                )
            )
        ),
        "",
    ),
    "debian, GRUB, dracut with squash": (
        bios(root(debian(more={f"/boot/initrd.img-{VERSION}": gzip.compress(cpio(["init", "squashfs-root.img"]))}))),
        "unknown:initramfs-unread",
    ),
    "debian, GRUB, uncompressed": (
        bios(root(debian(more={f"/boot/initrd.img-{VERSION}": initramfs_image(pack=bytes)}))),
        "",
    ),
    # The Red Hat family: BLS, dracut, XFS.
    "rocky, BLS, dracut, NetworkManager": (bios(root(redhat())), ""),
    "almalinux, BLS, XFS and /boot, UEFI": (
        uefi(
            {},
            PartitionSpec(
                "xfs",
                {
                    f"/vmlinuz-{VERSION}": kernel(VERSION),
                    f"/initramfs-{VERSION}.img": initramfs_image(),
                    f"/loader/entries/m-{VERSION}.conf": BLS.format("Alma", VERSION, "", ARGUMENTS).encode(),
                    "/grub2/grub.cfg": b"blscfg\n",
                },
                uuid=BOOT_UUID,
            ),
            root(without_loader("almalinux", network="manager", version="9.3", more={"/etc/fstab": XFS_BOOT}), "xfs"),
        ),
        "",
    ),
    "fedora, kernel-install on the ESP at /efi": (
        uefi(
            {
                "m/6.6.30/linux": kernel(VERSION),
                "m/6.6.30/initrd": initramfs_image(),
                "loader/entries/m-6.6.30.conf": FEDORA_ESP,
            },
            root(without_loader("fedora", network="manager")),
        ),
        "",
    ),
    "oracle, BLS, two kernels": (
        bios(
            root(
                redhat(
                    "ol",
                    "8.9",
                    more={
                        "/boot/vmlinuz-5.4.17": kernel("5.4.17"),
                        "/usr/lib/modules/5.4.17/modules.dep": b"",
                        "/usr/lib/modules/5.4.17/modules.builtin": b"x\n",
                        "/boot/initramfs-5.4.17.img": NO_VIRTIO,
                    },
                )
            )
        ),
        "",
    ),
    "amazon, BLS, networkd": (bios(root(redhat("amzn", "2023", network="networkd"))), ""),
    "openEuler, BLS, ifcfg": (bios(root(redhat("openeuler", "22.03", network="ifcfg"))), ""),
    "centos 6, GRUB legacy, ext4, ifcfg": (
        mbr(root(CENTOS_6, active=True), code=legacy_code()),
        "warns:root-device-name",
    ),
    "centos 6, GRUB legacy without its next stage": (
        mbr(root(CENTOS_6), code=legacy_code(), stage=b"\0"),
        "blocks:nothing-starts warns:root-device-name",
    ),
    "centos 7, BLS-less GRUB, saved entry": (
        bios(
            root(
                without_loader("centos", network="ifcfg", version="7")
                | {
                    f"/boot/vmlinuz-{VERSION}": kernel(VERSION),
                    f"/boot/initramfs-{VERSION}.img": initramfs_image(),
                    "/boot/grub2/grub.cfg": grub_menu(
                        ("old", "/boot/vmlinuz-3", "/boot/initramfs-3.img"),
                        ("new", f"/boot/vmlinuz-{VERSION}", f"/boot/initramfs-{VERSION}.img"),
                        default="${saved_entry}",
                    ),
                    "/boot/grub2/grubenv": b"saved_entry=new\n",
                }
            )
        ),
        "",
    ),
    "fedora coreos, ostree": (
        bios(
            PartitionSpec("ext4", COREOS_BOOT, label="boot", uuid=BOOT_UUID),
            root(
                {f"{OSTREE}{path}": content for path, content in DEPLOYED.items()}
                | {"/ostree/boot.1/fedora-coreos/c/0": Link(f"../../../..{OSTREE[7:]}")},
                label="root",
            ),
        ),
        "",
    ),
    # SUSE: GRUB 2, dracut or mkinitrd, wicked.
    "opensuse, GRUB, dracut, wicked": (
        bios(
            root(
                without_loader("opensuse-leap", network="wicked", version="15.6")
                | {
                    f"/boot/vmlinuz-{VERSION}": kernel(VERSION),
                    f"/boot/initrd-{VERSION}": initramfs_image(),
                    "/boot/grub2/grub.cfg": grub_menu(("SUSE", f"/boot/vmlinuz-{VERSION}", f"/boot/initrd-{VERSION}")),
                }
            )
        ),
        "",
    ),
    "sles 11, GRUB legacy, by-id": (
        mbr(
            root(
                without_loader("sles", network="wicked", systemd=False, version="11.4")
                | {
                    f"/boot/vmlinuz-{VERSION}": kernel(VERSION),
                    f"/boot/initrd-{VERSION}": initramfs_image(),
                    "/boot/grub/menu.lst": BY_ID,
                }
            ),
            code=legacy_code(),
        ),
        "blocks:root-device-name",
    ),
    "opensuse microos, root on btrfs": (
        uefi({}, BTRFS),
        "unknown:guest-unread unknown:no-system warns:root-file-system",
    ),
    # Arch: mkinitcpio, with each boot loader.
    "arch, GRUB, two flavours": (
        bios(
            root(
                flavours(
                    "arch",
                    {"linux": "6.9.1-arch1-1", "linux-lts": "6.6.31-1-lts"},
                    "/boot/vmlinuz-{}",
                    "/boot/initramfs-{}.img",
                    network="dhcpcd",
                    first="linux",
                )
            )
        ),
        "",
    ),
    "arch, GRUB, the other flavour": (
        bios(
            root(
                flavours(
                    "arch",
                    {"linux": "6.9.1-arch1-1", "linux-lts": "6.6.31-1-lts"},
                    "/boot/vmlinuz-{}",
                    "/boot/initramfs-{}.img",
                    network="netctl",
                    first="linux-lts",
                )
            )
        ),
        "",
    ),
    "arch, systemd-boot, microcode": (
        uefi(ARCH_ESP | SYSTEMD_BOOT, root(ARCH | NETWORKS["networkd"])),
        "warns:root-device-name",
    ),
    "arch, unified kernel image": (uefi({"EFI/Linux/arch-linux.efi": UKI}, root(ARCH | NETWORKS["networkd"])), ""),
    "arch, unified image at the removable path": (
        uefi({"EFI/BOOT/BOOTX64.EFI": UKI}, root(ARCH | NETWORKS["networkd"])),
        "",
    ),
    "arch, unified image without virtio": (
        uefi({"EFI/Linux/arch-linux.efi": unified(initrd=NO_VIRTIO)}, root(ARCH | NETWORKS["networkd"])),
        "blocks:virtio-drivers",
    ),
    "arch, unified image that cannot be read": (
        uefi({"EFI/Linux/arch-linux.efi": build.pe_program()}, root(ARCH | NETWORKS["networkd"])),
        "unknown:initramfs-unread",
    ),
    "arch, rEFInd": (uefi(ARCH_ESP | REFIND, root(ARCH | NETWORKS["connman"])), ""),
    "arch, rEFInd finds the kernel itself": (
        uefi(
            {"EFI/refind/refind.conf": b"timeout 5\n"},
            root(
                ARCH | ARCH_BOOT | NETWORKS["netctl"] | {"/boot/refind_linux.conf": f'"Boot" "{ARGUMENTS}"\n'.encode()}
            ),
        ),
        "",
    ),
    "arch, Limine": (uefi(ARCH_ESP | LIMINE, root(ARCH | NETWORKS["dhcpcd"])), ""),
    "arch, SYSLINUX, active partition": (
        mbr(
            root(ARCH | ARCH_BOOT | NETWORKS["dhcpcd"] | {"/boot/syslinux/syslinux.cfg": EXTLINUX}, active=True),
            code=STANDARD,
            sectors={0: BOOTABLE},
        ),
        "warns:root-device-name",
    ),
    "arch, SYSLINUX, GPT with the legacy attribute": (
        GuestDisk(
            (root(ARCH | ARCH_BOOT | NETWORKS["dhcpcd"] | {"/boot/syslinux/syslinux.cfg": EXTLINUX}, attributes=4),),
            code=STANDARD,
        ),
        "warns:root-device-name",
    ),
    "arch, root by its GPT type": (
        uefi(
            {"EFI/Linux/a.efi": unified(arguments="quiet", initrd=initramfs_image())},
            root(ARCH | NETWORKS["networkd"], kind="4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
        ),
        "",
    ),
    "arch, booster": (
        bios(
            root(
                ARCH
                | NETWORKS["networkd"]
                | {
                    "/boot/vmlinuz-linux": kernel(),
                    "/boot/booster-linux.img": initramfs_image(pack=ZSTD.compress, prefix="usr/lib/modules/"),
                    "/boot/grub/grub.cfg": grub_menu(("Arch", "/boot/vmlinuz-linux", "/boot/booster-linux.img")),
                }
            )
        ),
        "",
    ),
    # Small distributions.
    "alpine, GRUB, mkinitfs, two flavours, OpenRC": (
        bios(
            root(
                flavours(
                    "alpine",
                    {"lts": "6.6.22-1-lts", "virt": "6.6.22-1-virt"},
                    "/boot/vmlinuz-{}",
                    "/boot/initramfs-{}",
                    network="openrc",
                    first="virt",
                )
            )
        ),
        "",
    ),
    "alpine, extlinux": (
        mbr(
            root(
                without_loader("alpine", network="openrc", systemd=False)
                | {
                    "/boot/vmlinuz-lts": kernel(),
                    "/boot/initramfs-lts": initramfs_image(),
                    "/boot/extlinux.conf": ALPINE,
                },
                active=True,
            ),
            code=STANDARD,
            sectors={0: BOOTABLE},
        ),
        "",
    ),
    "gentoo, GRUB, genkernel, netifrc": (
        bios(
            root(
                without_loader("gentoo", network="netifrc", systemd=False)
                | {
                    f"/boot/kernel-{VERSION}": kernel(VERSION),
                    f"/boot/initramfs-{VERSION}.img": initramfs_image(),
                    "/boot/grub/grub.cfg": grub_menu(
                        ("Gentoo", f"/boot/kernel-{VERSION}", f"/boot/initramfs-{VERSION}.img")
                    ),
                    "/etc/runlevels/default/sshd": Link("x"),
                }
            )
        ),
        "",
    ),
    "gentoo, drivers built in, no initramfs": (
        bios(
            root(
                system(distribution("gentoo"), version=VERSION, systemd=False, builtin=DRIVERS)
                | NETWORKS["netifrc"]
                | {
                    f"/boot/vmlinuz-{VERSION}": kernel(VERSION),
                    "/boot/grub/grub.cfg": grub_menu(("Gentoo", f"/boot/vmlinuz-{VERSION}", "")),
                }
            )
        ),
        "",
    ),
    "gentoo, drivers as modules, no initramfs": (
        bios(
            root(
                without_loader("gentoo", network="netifrc", systemd=False)
                | {
                    f"/boot/vmlinuz-{VERSION}": kernel(VERSION),
                    "/boot/grub/grub.cfg": grub_menu(("Gentoo", f"/boot/vmlinuz-{VERSION}", "")),
                }
            )
        ),
        "blocks:virtio-drivers warns:nvme-driver",
    ),
    "monolithic kernel without its configuration": (
        bios(
            root(
                {
                    path: content
                    for path, content in without_loader("lfs", network="openrc", systemd=False).items()
                    if "modules" not in path
                }
                | {"/boot/bzImage": kernel("6.6.1"), "/boot/grub/grub.cfg": grub_menu(("LFS", "/boot/bzImage", ""))}
            )
        ),
        "unknown:virtio-drivers",
    ),
    "monolithic kernel with its configuration": (
        bios(
            root(
                {
                    path: content
                    for path, content in without_loader("lfs", network="openrc", systemd=False).items()
                    if "modules" not in path
                }
                | {
                    "/boot/bzImage": kernel("6.6.1"),
                    "/boot/config-6.6.1": BUILT_IN,
                    "/boot/grub/grub.cfg": grub_menu(("LFS", "/boot/bzImage", "")),
                }
            )
        ),
        "",
    ),
    "void, GRUB, dracut, runit": (
        bios(
            root(
                without_loader("void", network="runit", systemd=False)
                | {
                    f"/boot/vmlinuz-{VERSION}": kernel(VERSION),
                    f"/boot/initramfs-{VERSION}.img": initramfs_image(),
                    "/boot/grub/grub.cfg": grub_menu(
                        ("Void", f"/boot/vmlinuz-{VERSION}", f"/boot/initramfs-{VERSION}.img")
                    ),
                }
            )
        ),
        "",
    ),
    "slackware, LILO": (
        mbr(
            root(
                without_loader("slackware", network="slackware", systemd=False)
                | {
                    "/boot/vmlinuz": kernel(VERSION),
                    "/boot/initrd.gz": initramfs_image(),
                    "/etc/lilo.conf": LILO.format(f"UUID={ROOT_UUID}").encode(),
                }
            ),
            code=b"\xfa\xeb\x21\x01\xb4\x01LILO",
        ),
        "",
    ),
    "slackware, LILO, /dev/sda1": (
        mbr(
            root(
                without_loader("slackware", network="slackware", systemd=False)
                | {
                    "/boot/vmlinuz": kernel(VERSION),
                    "/boot/initrd.gz": initramfs_image(),
                    "/etc/lilo.conf": LILO.format("/dev/sda1").encode(),
                }
            ),
            code=b"\xfa\xeb\x21\x01\xb4\x01LILO",
        ),
        "blocks:root-device-name",
    ),
    "nixos, systemd-boot": (
        uefi(
            {
                "EFI/nixos/k.efi": kernel(VERSION),
                "EFI/nixos/i.efi": initramfs_image(prefix="nix/store/x-modules/lib/modules/{}/"),
                "loader/entries/nixos-1.conf": NIXOS,
            },
            root(without_loader("nixos", network="dhcpcd")),
        ),
        "",
    ),
    "openwrt, GRUB, uci": (
        bios(
            root(
                without_loader("openwrt", network="openrc", systemd=False)
                | {
                    "/etc/network/interfaces": b"",
                    "/etc/config/network": b"config interface 'wan'\n\toption proto 'dhcp'\n",
                    f"/boot/vmlinuz-{VERSION}": kernel(VERSION),
                    f"/boot/i-{VERSION}": initramfs_image(),
                    "/boot/grub/grub.cfg": grub_menu(("W", f"/boot/vmlinuz-{VERSION}", f"/boot/i-{VERSION}")),
                }
            )
        ),
        "",
    ),
    "coreos, /usr on its own partition": (
        bios(
            PartitionSpec(
                "ext4",
                {
                    "/lib/os-release": b"ID=coreos\nVERSION_ID=899\n",
                    "/bin/sh": b"x",
                    "/lib/systemd/systemd": b"x",
                    "/sbin/sshd": b"x",
                    "/bin/passwd": b"x",
                    "/bin/cloud-init": b"x",
                },
                name="USR-A",
                label="USR-A",
                kind=USR_TYPE,
            ),
            root(
                COREOS_ROOT | NETWORKS["networkd"] | enabled_units("sshd.service", "cloud-init.service"),
                label="ROOT",
            ),
        ),
        "",
    ),
    # File systems that are not read.
    **{
        f"root on {name}": (
            uefi({}, PartitionSpec(name, uuid=ROOT_UUID)),
            "unknown:guest-unread unknown:no-system warns:root-file-system",
        )
        for name in ("f2fs", "zfs", "jfs", "bcachefs", "reiserfs", "nilfs2", "erofs")
    },
    "freebsd, UFS": (bios(PartitionSpec("ufs")), "unknown:guest-unread unknown:no-system"),
    "root in a RAID": (bios(PartitionSpec("mdraid")), "unknown:guest-unread unknown:no-system"),
    "encrypted root": (
        uefi({}, PartitionSpec("luks", uuid=BOOT_UUID)),
        "blocks:root-encrypted unknown:guest-unread unknown:no-system",
    ),
    "encrypted swap beside a root on btrfs": (
        uefi({}, PartitionSpec("luks", uuid=BOOT_UUID), BTRFS),
        "unknown:guest-unread unknown:no-system unknown:root-encrypted warns:root-file-system",
    ),
    "home on btrfs": (
        bios(
            root(debian(more={"/etc/fstab": f"UUID={ROOT_UUID} / ext4 x\nUUID={BOOT_UUID} /home btrfs x\n".encode()})),
            PartitionSpec("btrfs", uuid=BOOT_UUID),
        ),
        "unknown:guest-unread warns:root-not-last",
    ),
    "empty partition": (uefi({}, PartitionSpec("")), "unknown:no-system"),
    # Disks that cannot boot, and disks for which it is unknown.
    "no boot code": (GuestDisk((root(DEBIAN),)), "blocks:nothing-starts"),
    "unknown boot code": (mbr(root(DEBIAN), code=UNKNOWN_CODE), "unknown:nothing-starts"),
    "standard code without an active partition": (mbr(root(DEBIAN), code=STANDARD), "blocks:nothing-starts"),
    "stale GRUB beside UEFI": (uefi({}, root(DEBIAN)), ""),
    "initramfs is truncated after the drivers": (
        bios(root(debian(more={f"/boot/initrd.img-{VERSION}": LONG[:-1000]}))),
        "warns:initramfs-damaged",
    ),
    "initramfs is truncated, xz": (
        bios(root(debian(more={f"/boot/initrd.img-{VERSION}": initramfs_image(pack=lambda data: XZ(data)[:100])}))),
        "unknown:initramfs-unread warns:initramfs-damaged",
    ),
    "kernel is truncated": (
        bios(root(debian(more={f"/boot/vmlinuz-{VERSION}": kernel(VERSION)[:1000]}))),
        "blocks:kernel-damaged",
    ),
    "kernel for arm64": (
        bios(root(debian(more={f"/boot/vmlinuz-{VERSION}": (bytes(0x38) + b"ARMd").ljust(4096, b"x")}))),
        "blocks:kernel-damaged",
    ),
    "no init": (bios(root(without(DEBIAN, "/usr/sbin/init", "/usr/lib/systemd/systemd"))), "blocks:init-missing"),
    "init without its dynamic linker": (
        bios(root(DEBIAN | {"/usr/sbin/init": elf(interpreter="/lib64/ld-linux-x86-64.so.2")})),
        "blocks:init-missing",
    ),
    "init with its dynamic linker": (
        bios(
            root(
                DEBIAN
                | {
                    "/usr/sbin/init": elf(interpreter="/lib64/ld-linux-x86-64.so.2"),
                    "/lib64": Link("usr/lib64"),
                    "/usr/lib64/ld-linux-x86-64.so.2": elf(),
                }
            )
        ),
        "",
    ),
    "init named by the boot loader": (
        bios(
            root(without(debian(arguments=f"{ARGUMENTS} init=/opt/init"), "/usr/sbin/init", "/usr/lib/systemd/systemd"))
        ),
        "",
    ),
    "fstab names another root, systemd": (
        bios(root(debian(more={"/etc/fstab": f"UUID={BOOT_UUID} / ext4 x 0 1\n".encode()}))),
        "warns:fstab-missing",
    ),
    "fstab names another root, no systemd": (
        bios(
            root(
                without(
                    debian(more={"/etc/fstab": f"UUID={BOOT_UUID} / ext4 x 0 1\n".encode()}), "/usr/lib/systemd/systemd"
                )
            )
        ),
        "blocks:fstab-missing",
    ),
    "ifupdown without a DHCP client": (bios(root(without(DEBIAN, "/usr/sbin/dhclient"))), "warns:dhcp-client"),
    "kernel is empty": (bios(root(debian(more={f"/boot/vmlinuz-{VERSION}": b""}))), "blocks:kernel-missing"),
    "initramfs of another version": (
        bios(root(debian("kali", more={f"/boot/initrd.img-{VERSION}": initramfs_image("6.6.29")}))),
        "blocks:virtio-drivers warns:nvme-driver",
    ),
    "two systems, both menus boot the second": (
        bios(root(debian("ubuntu", "24.04"), uuid=BOOT_UUID), root(debian("kali", "2026"))),
        "",
    ),
    "two systems, each boots itself": (
        bios(
            root(debian("ubuntu", "24.04", arguments=f"root=UUID={BOOT_UUID} net.ifnames=0"), uuid=BOOT_UUID),
            root(debian("kali", "2026")),
        ),
        "unknown:system-uncertain warns:root-not-last",
    ),
    "another system is the default": (
        bios(root(debian(more={"/boot/grub/grub.cfg": WINDOWS_FIRST}))),
        "unknown:system-uncertain",
    ),
    "fstab by /dev/sda": (
        bios(root(debian(more={"/etc/fstab": f"/dev/sda1 / ext4 x\nUUID={ROOT_UUID} /data ext4 x\n".encode()}))),
        "warns:fstab-device-name",
    ),
    "fstab by /dev/sda, /data": (
        bios(root(debian(more={"/etc/fstab": f"UUID={ROOT_UUID} / ext4 x\n/dev/sda2 /data ext4 x\n".encode()}))),
        "blocks:fstab-device-name",
    ),
    "label with a space": (
        bios(
            root(
                debian(
                    more={"/etc/fstab": b"/dev/disk/by-label/my\\x20root / ext4 x\nLABEL=my\\040root /x ext4 noauto\n"}
                ),
                label="my root",
            )
        ),
        "",
    ),
    "stub of GRUB with a stale UUID": (
        uefi(
            {"EFI/debian/grub.cfg": f"search.fs_uuid {BOOT_UUID} root\nset prefix=($root)/boot/grub\n".encode()},
            root(DEBIAN),
        ),
        "blocks:grub-search-stale",
    ),
    "stub of GRUB": (
        uefi({"EFI/debian/grub.cfg": f"search --no-floppy --fs-uuid --set=root {ROOT_UUID}\n".encode()}, root(DEBIAN)),
        "",
    ),
    "hibernated": (bios(root(DEBIAN), PartitionSpec("swap-suspended")), "warns:hibernated warns:root-not-last"),
    # Settings that depend on the source machine.
    "interface with a predictable name": (
        bios(root(debian(more={"/etc/network/interfaces": b"auto enp0s3\niface enp0s3 inet dhcp\n"}))),
        "warns:network-bound-to-name",
    ),
    "debian, eth0 and predictable names": (bios(root(debian(arguments=PREDICTABLE))), "warns:network-for-eth0"),
    "centos 7, eth0 and predictable names": (
        bios(root(without_rule(debian("centos", "7", network="ifcfg", arguments=PREDICTABLE, more=NAME_SLOT)))),
        "warns:network-for-eth0",
    ),
    "netplan, eth0 and predictable names": (
        bios(root(debian(network="netplan", arguments=PREDICTABLE, more={"/etc/netplan/1.yaml": NETPLAN_ETH0}))),
        "warns:network-for-eth0",
    ),
    "sles 15, eth0 and net.ifnames=1": (
        bios(root(debian("sles", "15.6", network="wicked", arguments=f"{PREDICTABLE} net.ifnames=1"))),
        "warns:network-for-eth0",
    ),
    "leap 16, eth0 and predictable names": (
        bios(root(debian("opensuse-leap", "16.0", network="wicked", arguments=PREDICTABLE))),
        "warns:network-for-eth0",
    ),
    "networkd, eth* and predictable names": (
        bios(
            root(
                debian(
                    network="networkd", arguments=PREDICTABLE, more={"/etc/systemd/network/a.network": NETWORKD_ETH0}
                )
            )
        ),
        "warns:network-for-eth0",
    ),
    "NetworkManager without its own profiles, eth0 and predictable names": (
        bios(root(debian(network="manager", arguments=PREDICTABLE, more=MANAGER_ETH0 | NO_AUTO_DEFAULT))),
        "warns:network-for-eth0",
    ),
    "eth0, arguments in a variable": (
        bios(root(debian(arguments=f"{PREDICTABLE} $set_elsewhere"))),
        "unknown:network-for-eth0",
    ),
    "eth0, one of two entries keeps the name": (
        bios(root(debian(more={"/boot/extlinux/extlinux.conf": EXTLINUX_PREDICTABLE}))),
        "unknown:network-for-eth0",
    ),
    "fixed address": (bios(root(debian(more={"/etc/network/interfaces": STATIC}))), "warns:no-dhcp"),
    "resume of a disk that is missing": (
        bios(root(debian(arguments=f"{ARGUMENTS} resume=UUID={BOOT_UUID}"))),
        "warns:source-device",
    ),
    "agent of another cloud": (bios(root(debian(more=enabled_units("walinuxagent.service")))), "warns:foreign-agent"),
    "blacklisted driver": (
        bios(root(debian(arguments=f"{ARGUMENTS} modprobe.blacklist=virtio_blk"))),
        "blocks:driver-blacklisted",
    ),
    "rescue target": (bios(root(debian(arguments=f"{ARGUMENTS} systemd.unit=emergency.target"))), "warns:rescue-start"),
    "mount unit of a device that is missing": (
        bios(
            root(
                debian(
                    more={
                        "/etc/systemd/system/data.mount": b"[Mount]\nWhat=/dev/sdb1\nWhere=/data\nType=ext4\n",
                        "/etc/systemd/system/local-fs.target.requires/data.mount": Link("../data.mount"),
                    }
                )
            )
        ),
        "blocks:fstab-device-name",
    ),
}


# A guest in memory has the size of its partition table only.
_SIZES = ("root-full", "disk-small", "root-larger-than-partition")


def _findings_of(report: DiskReport) -> str:
    """Return the findings except notes and those about the size of the disk."""
    found = run_disk_checks(report, request())
    names = [f"{one.severity}:{one.rule}" for one in found if one.severity is not Severity.NOTE]
    return " ".join(sorted(name for name in names if name.split(":")[1] not in _SIZES))


@each_row("name", GUESTS)
def test_each_guest_has_exactly_its_findings(name: str) -> None:
    """A guest that cannot boot blocks, an uncertain one is unknown, and a bootable one has no finding."""
    guest, expected = GUESTS[name]
    assert _findings_of(report_of(guest)) == expected


@each_row("name", [name for name, (_guest, expected) in GUESTS.items() if "unknown:" in expected])
def test_an_unknown_finding_has_what_is_unknown_and_a_remedy(name: str) -> None:
    """The message does not state that the disk fails."""
    for finding in run_disk_checks(report_of(GUESTS[name][0]), request()):
        if finding.severity is Severity.UNKNOWN:
            assert re.search(r"(not|Nothing is) known|^If this system starts: ", finding.message), finding.message
            assert finding.remedy, finding.message


def test_the_table_has_many_guests() -> None:
    """At least 80 guests are listed, of which 40 or more boot without a finding."""
    assert len(GUESTS) >= 80
    assert sum(not expected for _guest, expected in GUESTS.values()) >= 40


@each_row("network", NETWORKS)
def test_dhcp_is_recognised_for_each_network_tool(network: str) -> None:
    """Without cloud-init, the DHCP configuration of every tool is recognised."""
    tree = without_loader("any", network=network, more={"/usr/bin/cloud-init": Link("nowhere")})
    guest = report_of(bios(root(tree))).guest
    assert guest is not None
    assert guest.network is not None
    assert guest.network.dhcp


LINKS = "/etc/systemd/network"
KEEPS_ETH0: dict[str, Files] = {
    "no systemd, no udev": debian("alpine", arguments=PREDICTABLE) | {"/usr/lib/systemd/systemd": Link("nowhere"),
        "/etc/runlevels/sysinit/mdev": Link("x")},
    "net.ifnames=0": debian(),
    "99-default.link is masked": debian(arguments=PREDICTABLE, more={f"{LINKS}/99-default.link": Link("/dev/null")}),
    "99-default.link has no policy": debian(
        arguments=PREDICTABLE, more={f"{LINKS}/99-default.link": b"[Link]\nNamePolicy=kernel\n"}
    ),
    "a link file names the interface": debian(
        arguments=PREDICTABLE, more={f"{LINKS}/10-a.link": b"[Match]\nDriver=virtio_net\n[Link]\nName=eth0\n"}
    ),
    "the rule is masked": debian(arguments=PREDICTABLE, more={f"{RULES}/80-net-setup-link.rules": Link("/dev/null")}),
    "the rule is empty": debian(arguments=PREDICTABLE, more={f"{RULES}/80-net-setup-link.rules": b""}),
    "the old rule is masked": without_rule(debian(
        network="ifcfg", arguments=PREDICTABLE, more=NAME_SLOT | {f"{RULES}/80-net-name-slot.rules": Link("/dev/null")}
    )),
    "Debian 8": debian(version="8", arguments=PREDICTABLE, more={f"{LIBRARY}/75-persistent-net-generator.rules": b"x"}),
    "CentOS 6": without_rule(debian(
        "centos", "6.10", network="ifcfg", arguments=PREDICTABLE,
        more={f"{LIBRARY}/60-net.rules": b"x", "/usr/lib/systemd/systemd": Link("nowhere")},
    )),
    "SLES 15": debian("sles", "15.6", network="wicked", arguments=PREDICTABLE),
    "SLES 15 for SAP": debian("sles_sap", "15.6", network="wicked", arguments=PREDICTABLE),
    "Leap 42": debian("opensuse", "42.3", network="wicked", arguments=PREDICTABLE),
    "Leap 15": debian("opensuse-leap", "15.6", network="wicked", arguments=PREDICTABLE),
    "Debian's cloud image": debian(arguments=PREDICTABLE, more={"/etc/network/cloud-ifupdown-helper": b"#!"}),
    "other interfaces are configured too": debian(
        arguments=PREDICTABLE, more=NETWORKS["networkd"] | {f"{LINKS}/b.network": NETWORKD_ETH0}
    ),
    "NetworkManager creates a profile": debian(network="manager", arguments=PREDICTABLE, more=MANAGER_ETH0),
    "the kernel uses DHCP": debian(arguments=f"{PREDICTABLE} ip=dhcp"),
    "cloud-init writes netplan": debian(
        network="netplan", arguments=PREDICTABLE,
        more={"/etc/netplan/1.yaml": NETPLAN_ETH0, "/etc/cloud/cloud.cfg": b""},
    ),
}  # fmt: skip


@each_row("name", KEEPS_ETH0)
def test_an_interface_that_keeps_the_name_eth0_has_no_finding(name: str) -> None:
    """There is no finding if udev uses no predictable names, or if another interface is configured."""
    assert _findings_of(report_of(bios(root(KEEPS_ETH0[name])))) == ""


def test_a_stanza_that_cloud_init_does_not_remove_is_a_note() -> None:
    """The instance has a network, but one service fails."""
    tree = debian(arguments=PREDICTABLE, more={"/etc/cloud/cloud.cfg": b"datasource_list: [AliYun]\n"})
    found = run_disk_checks(report_of(bios(root(tree))), request())
    assert [one.severity for one in found if one.rule == "network-for-eth0"] == [Severity.NOTE]


def test_a_system_whose_rules_are_elsewhere_is_unknown() -> None:
    """NixOS has the udev rules in its store, which is not searched."""
    assert (
        _findings_of(report_of(bios(root(without_rule(debian(arguments=PREDICTABLE)))))) == "unknown:network-for-eth0"
    )
