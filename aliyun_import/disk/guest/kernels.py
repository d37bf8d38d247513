"""This file finds the kernels of a Linux system, and where each has the drivers that it needs on ECS."""

import re
import time
from collections.abc import Sequence

from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.boot_config import boot_path, version_key
from aliyun_import.disk.guest.initramfs import module_name, modules_in
from aliyun_import.disk.guest.report import DRIVERS, BootEntry, Driver, DriverPlace, Kernel
from aliyun_import.disk.io.reader import ReadProblem, Unsupported

# Each costs one pass over an initramfs. Distributions keep two or three kernels.
_MAX_KERNELS = 4
# bzip2 unpacks at 25 MiB/s, and the child that does it has 60 seconds: a third such initramfs is not worth the report.
_ENOUGH_CPU_S = 20
_MODULE_DIRECTORIES = ("/lib/modules", "/usr/lib/modules")
_IMAGES = ("/boot/vmlinuz-{0}", "/boot/vmlinux-{0}", "/boot/Image-{0}", "/boot/kernel-{0}", "/lib/modules/{0}/vmlinuz")
_INITRAMFS = (
    "/boot/initrd.img-{0}",
    "/boot/initramfs-{0}.img",
    "/boot/initrd-{0}",
    "/boot/initrd-{0}.img",
    "/boot/initramfs-{0}",
    "/lib/modules/{0}/initramfs.img",
    "/lib/modules/{0}/initrd",
)
_CONFIG = {
    "virtio_blk": "CONFIG_VIRTIO_BLK",
    "virtio_pci": "CONFIG_VIRTIO_PCI",
    "virtio_net": "CONFIG_VIRTIO_NET",
    "nvme": "CONFIG_BLK_DEV_NVME",
    "fw_cfg": "CONFIG_FW_CFG_SYSFS",
}


def find_kernels(tree: Tree, entries: Sequence[BootEntry], *, separate_boot: bool) -> tuple[Kernel, ...]:
    """Look at the kernels that have modules: the one that the boot loader starts by itself, then the newest.

    `entries` come in the loader's order, the one that it starts by itself first.
    """
    directory = next((place for place in _MODULE_DIRECTORIES if tree.names(place)), _MODULE_DIRECTORIES[0])
    versions = [name for name in tree.names(directory) if tree.names(f"{directory}/{name}")]
    # Directories that a removed kernel left behind (modules of DKMS) have no image; nobody starts them.
    versions = [version for version in versions if _image(tree, version)] or versions
    versions.sort(key=version_key, reverse=True)
    started = _version_of(tree, entries[0], versions, separate_boot=separate_boot) if entries else None
    if started is not None:
        versions.remove(started)
        versions.insert(0, started)
    until_cpu_s = time.process_time() + _ENOUGH_CPU_S
    return tuple(
        _kernel(
            tree,
            version,
            entries,
            directory=directory,
            separate_boot=separate_boot,
            default=version == started,
            until_cpu_s=until_cpu_s,
        )
        for version in versions[:_MAX_KERNELS]
    )


def _version_of(tree: Tree, entry: BootEntry, versions: Sequence[str], *, separate_boot: bool) -> str | None:
    """Tell which version an entry starts: by its kernel's name, or by the only one that there is."""
    name = entry.kernel.rsplit("/", 1)[-1]
    named = [version for version in versions if version in name]
    if named:
        return max(named, key=len)
    target = boot_path(tree, entry.kernel, separate_boot=separate_boot) if entry.kernel else None
    linked = (tree.link(target) or "") if target else ""
    named = [version for version in versions if version in linked]
    if named:
        return max(named, key=len)
    return versions[0] if len(versions) == 1 and target else None


def _kernel(
    tree: Tree,
    version: str,
    entries: Sequence[BootEntry],
    *,
    directory: str,
    separate_boot: bool,
    default: bool,
    until_cpu_s: float,
) -> Kernel:
    initramfs = _initramfs(tree, version, entries if default else (), separate_boot=separate_boot)
    built_in = _module_names(tree, f"{directory}/{version}/modules.builtin")
    on_disk = _module_names(tree, f"{directory}/{version}/modules.dep")
    config = _configuration(tree, version)
    wanted = [name for name in DRIVERS if name not in (built_in or ())]
    problem, packed = "", frozenset[str]()
    if initramfs and wanted:
        try:
            if time.process_time() > until_cpu_s:
                raise Unsupported("it was not unpacked: what was before it took too long")
            packed = modules_in(tree.open(initramfs), wanted)
        except ReadProblem as trouble:
            problem = trouble.message
    drivers = []
    for name in DRIVERS:
        if name in (built_in or ()) or config.get(name) == "y":
            place = DriverPlace.BUILT_IN
        elif name in packed:
            place = DriverPlace.INITRAMFS
        elif problem:
            place = DriverPlace.UNKNOWN
        elif name in (on_disk or ()):
            place = DriverPlace.MODULE
        elif (built_in is None or on_disk is None) and name not in config:
            place = DriverPlace.UNKNOWN
        else:
            place = DriverPlace.ABSENT
        drivers.append(Driver(name=name, place=place))
    return Kernel(
        version=version,
        image=_image(tree, version),
        initramfs=initramfs,
        initramfs_problem=problem,
        default=default,
        fw_cfg=config["fw_cfg"] in ("y", "m") if config else None,
        drivers=tuple(drivers),
    )


def _image(tree: Tree, version: str) -> str:
    return next((path for path in (form.format(version) for form in _IMAGES) if tree.exists(path)), "")


def _initramfs(tree: Tree, version: str, entries: Sequence[BootEntry], *, separate_boot: bool) -> str:
    """Find the initramfs of a version: where the entry that starts it says, else by the usual names."""
    if entries and entries[0].initramfs:
        named = boot_path(tree, entries[0].initramfs, separate_boot=separate_boot)
        if named:
            return named
    return next((path for path in (form.format(version) for form in _INITRAMFS) if tree.exists(path)), "")


def _module_names(tree: Tree, path: str) -> frozenset[str] | None:
    """Give the modules that modules.builtin or modules.dep name, one path at the beginning of each line."""
    text = tree.text(path)
    if text is None:
        return None
    return frozenset(module_name(line.split(":", 1)[0]) or "" for line in text.splitlines())


def _configuration(tree: Tree, version: str) -> dict[str, str]:
    """Read what the kernel's configuration says: "y", "m" or "n"; empty when it is not there."""
    text = tree.text(f"/boot/config-{version}") or tree.text(f"/lib/modules/{version}/config")
    if not text:
        return {}
    values = {}
    for driver, option in _CONFIG.items():
        match = re.search(rf"^{option}=([ym])$", text, re.MULTILINE)
        values[driver] = match[1] if match else "n"
    return values
