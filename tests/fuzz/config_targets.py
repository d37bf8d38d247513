"""Fuzz targets: configuration files of a guest, unified kernel images and a FAT."""

from contextlib import suppress

from aliyun_import.disk.guest.kernels import read_unified
from aliyun_import.disk.reader import Reader, ReadProblem
from tests.disk import build
from tests.disk.guest.builders import NETWORKS, ROOT_UUID, Files, grub_menu, initramfs_image, kernel, unified
from tests.disk.guest.test_systems import ALPINE, EXTLINUX, LEGACY, LILO, LIMINE, REFIND, SYSTEMD_BOOT, debian
from tests.disk.guest_disks import inspect_tree
from tests.disk.trees import Tree
from tests.fuzz.disk_targets import read_fat
from tests.fuzz.target import Target

_SEPARATOR = b"\n\0\0#"
# Every configuration file that is read as text. All are damaged as one text, and each is put back at its path.
_TEXTS: Files = {
    "/boot/grub/grub.cfg": grub_menu(("a", "/boot/vmlinuz-a", "/boot/i"), ("b", "/boot/b", ""), default="1>0"),
    "/boot/grub/grubenv": b"saved_entry=a\nkernelopts=root=UUID=1\n",
    "/boot/grub/menu.lst": LEGACY,
    "/boot/extlinux/extlinux.conf": EXTLINUX,
    "/boot/syslinux/syslinux.cfg": ALPINE,
    "/etc/lilo.conf": LILO.format("/dev/sda1").encode(),
    "/etc/fstab": f"UUID={ROOT_UUID} / ext4 x 0 1\n".encode()
    + b"LABEL=a\\040b /x ext4 nofail\n/dev/disk/by-label/a\\x20b /y ext4\n",
    "/etc/crypttab": b"data UUID=1 none luks\n",
    "/etc/os-release": b"ID=debian\nNAME='A'\nVERSION_ID=1\n",
    "/etc/lsb-release": b"DISTRIB_ID=Ubuntu\n",
    "/etc/modprobe.d/a.conf": b"blacklist virtio_net\ninstall nvme /bin/true\n",
    "/etc/cloud/cloud.cfg": b"datasource_list: [AliYun]\nnetwork: {ethernets: {ens3: {dhcp4: true}}}\n",
    "/etc/lvm/devices/system.devices": b"IDTYPE=sys_wwid IDNAME=x\n",
    "/etc/udev/rules.d/70.rules": b'SUBSYSTEM=="net", ATTR{address}=="52:54:00:00:00:01", NAME="eth0"\n',
    "/etc/systemd/network/a.link": b"[Match]\nMACAddress=52:54:00:00:00:01\n[Link]\nName=a\n",
    "/etc/systemd/system/local-fs.target.requires/a.mount": b"[Mount]\nWhat=/dev/sdb\nWhere=/a\n",
    **{f"/boot/{path}": text for files in (SYSTEMD_BOOT, REFIND, LIMINE) for path, text in files.items()},
    **{path: text for files in NETWORKS.values() for path, text in files.items() if isinstance(text, bytes)},
}


def _joined() -> bytes:
    return _SEPARATOR.join(text for text in _TEXTS.values() if isinstance(text, bytes))


def _read_texts(reader: Reader) -> None:
    """Inspect a guest with the damaged texts as its configuration files."""
    texts = reader.pread(0, reader.size).split(_SEPARATOR)
    tree: Tree = debian() | dict(zip(_TEXTS, texts, strict=False))
    inspect_tree(tree)


def _read_unified(reader: Reader) -> None:
    with suppress(ReadProblem):
        image = read_unified(reader)
        if image is not None and image.initramfs is not None:
            image.initramfs.pread(0, image.initramfs.size)


def _fat() -> bytes:
    files = {"EFI/Linux/a.efi": bytes(range(256)) * 200, "loader/loader.conf": b"default a\n", "vmlinuz": kernel("6.1")}
    return build.fat(files)


CONFIG_TARGETS: dict[str, Target] = {
    "configurations": Target(_joined, _read_texts, metadata_bytes=1 << 20),
    "unified": Target(lambda: unified(initrd=initramfs_image()), _read_unified, metadata_bytes=65536),
    "fat-tree": Target(_fat, read_fat),
}
