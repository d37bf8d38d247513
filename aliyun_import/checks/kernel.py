"""This file holds the rules about kernels and their drivers: whether the guest would find its disk and its network."""

from aliyun_import.checks.context import API, CHECK_ITEMS, LINUX_2026, VIRTIO, Rule, RuleContext
from aliyun_import.checks.platforms import import_adds_virtio, platform_of
from aliyun_import.disk.guest.report import DriverPlace, GuestReport, Kernel
from aliyun_import.model.finding import Finding, Severity
from aliyun_import.model.request import Architecture

_STARTS_WITH = (DriverPlace.BUILT_IN, DriverPlace.INITRAMFS)
# ImportImage, usage notes: platforms whose passwords and keys are set through QEMU's fw_cfg; all of arm64 too.
_FW_CFG_PLATFORMS = ("CentOS Stream", "Anolis", "AlmaLinux", "UOS", "Kylin", "Rocky Linux")


def virtio_drivers(subject: RuleContext) -> Finding | None:
    """Block kernels that can't find a virtio disk; warn where the service says that it adds the driver itself."""
    guest = subject.guest
    kernels = _started(guest)
    if guest is None or not kernels:
        return None
    lacking = {kernel.version: _lacking(kernel) for kernel in kernels if _lacking(kernel)}
    if not lacking:
        return None
    first = next(kernel for kernel in kernels if kernel.version in lacking)
    places = ", ".join(f"{name} is {first.place(name)}" for name in lacking[first.version])
    # Not the one that starts by itself, and others are fine: it will start.
    minor = len(lacking) < len(kernels)
    platform = subject.request.platform or platform_of(guest)
    added = import_adds_virtio(guest.os_release, platform)
    return subject.finding(
        "virtio-drivers",
        Severity.WARNS if added or minor else Severity.BLOCKS,
        f"The kernel {first.version} would not find its disk on ECS: {places}."
        + (f" For {platform} the import says that it adds the drivers itself." if added else ""),
        remedy=_rebuild(guest, first),
        where=first.initramfs or first.image or f"/lib/modules/{first.version}",
        source=VIRTIO,
    )


def initramfs_unread(subject: RuleContext) -> Finding | None:
    """Say that an initramfs could not be read, so that nobody knows which drivers are in it."""
    kernel = next((kernel for kernel in _started(subject.guest) if kernel.initramfs_problem), None)
    if kernel is None or all(kernel.place(name) is not DriverPlace.UNKNOWN for name in ("virtio_blk", "virtio_pci")):
        return None
    return subject.finding(
        "initramfs-unread",
        Severity.UNKNOWN,
        f"Whether the kernel {kernel.version} has the virtio drivers is not known: its initramfs could not be read, "
        f"{kernel.initramfs_problem}.",
        remedy="Look for virtio_blk and virtio_pci in it on the source system: lsinitramfs or lsinitrd.",
        where=kernel.initramfs,
        source=VIRTIO,
    )


def virtio_network(subject: RuleContext) -> Finding | None:
    """Block kernels without any virtio_net: the instance would have no network."""
    guest = subject.guest
    kernels = _started(guest)
    if guest is None or not kernels or any(kernel.place("virtio_net") is not DriverPlace.ABSENT for kernel in kernels):
        return None
    platform = subject.request.platform or platform_of(guest)
    added = import_adds_virtio(guest.os_release, platform)
    return subject.finding(
        "virtio-network",
        Severity.WARNS if added else Severity.BLOCKS,
        f"The kernel {kernels[0].version} has no virtio_net, neither built in nor as a module: no network on ECS.",
        remedy="Install a kernel with CONFIG_VIRTIO_NET, or the package with its modules.",
        where=f"/lib/modules/{kernels[0].version}/modules.dep",
        source=VIRTIO,
    )


def nvme_driver(subject: RuleContext) -> Finding | None:
    """Warn that the guest would not start on the instance types whose disks are NVMe."""
    guest = subject.guest
    kernels = _started(guest)
    without = next((k for k in kernels if k.place("nvme") in (DriverPlace.MODULE, DriverPlace.ABSENT)), None)
    if guest is None or without is None:
        return None
    asked = subject.request.nvme_support == "supported"
    return subject.finding(
        "nvme-driver",
        Severity.BLOCKS if asked else Severity.WARNS,
        f"The kernel {without.version} can't start from NVMe disks: nvme is {without.place('nvme')}. Newer instance "
        "types have such disks only" + (", and --nvme-support supported was given." if asked else "."),
        remedy=_rebuild(guest, without),
        where=without.initramfs or f"/lib/modules/{without.version}",
        source=CHECK_ITEMS,
    )


def kernel_missing(subject: RuleContext) -> Finding | None:
    """Block a system without a kernel: none that its boot loader names, or none at all."""
    guest = subject.guest
    if guest is None or guest.root is None or _starts_otherwise(subject):
        return None
    entries, severity = guest.boot_entries, Severity.BLOCKS
    if entries and all(entry.kernel_found is False for entry in entries):
        seen = f"The boot loader would start {entries[0].kernel}, and no kernel that it names is on the disk."
    elif not entries and not guest.unknowns and not any(kernel.image for kernel in guest.kernels):
        seen = "There is no kernel in /boot, and no configuration of a boot loader that names one."
        # GRUB without a configuration stops at its prompt. Other loaders may find a kernel in ways that are not read
        # here, and what UEFI starts may be one itself.
        boot = subject.report.boot
        certain = not boot.uefi and any("GRUB" in line for line in boot.bios)
        severity = Severity.BLOCKS if certain else Severity.WARNS
    else:
        return None
    return subject.finding(
        "kernel-missing",
        severity,
        seen,
        remedy="Install a kernel on the source system, and write the boot loader's configuration anew.",
        where=entries[0].where if entries else "/boot, /lib/modules",
        source=CHECK_ITEMS,
    )


def boot_loader_config(subject: RuleContext) -> Finding | None:
    """Warn of kernels that no configuration of a boot loader names, as far as any was found."""
    guest = subject.guest
    if guest is None or guest.root is None or guest.unknowns or guest.boot_entries or _starts_otherwise(subject):
        return None
    kernel = next((kernel for kernel in guest.kernels if kernel.image), None)
    if kernel is None:
        return None
    return subject.finding(
        "boot-loader-config",
        Severity.WARNS,
        f"No configuration of GRUB, BLS or extlinux was found that would start {kernel.image}: the boot loader may "
        "stop at its prompt.",
        remedy="Write it on the source system: update-grub, or grub2-mkconfig -o /boot/grub2/grub.cfg.",
        where="/boot/grub, /boot/grub2, /boot/loader/entries, /boot/extlinux, EFI on the ESP",
        source=LINUX_2026,
    )


def initramfs_missing(subject: RuleContext) -> Finding | None:
    """Block a system whose boot loader loads an initramfs that is not there."""
    guest = subject.guest
    entries = guest.boot_entries if guest is not None else ()
    if not entries or not all(entry.initramfs_found is False for entry in entries):
        return None
    return subject.finding(
        "initramfs-missing",
        Severity.BLOCKS,
        f"The boot loader would load {entries[0].initramfs}, which is not on the disk.",
        remedy="Make it on the source system: update-initramfs -u -k all, or dracut -f --regenerate-all.",
        where=entries[0].where,
        source=CHECK_ITEMS,
    )


def kernel_fw_cfg(subject: RuleContext) -> Finding | None:
    """Warn of a kernel without CONFIG_FW_CFG_SYSFS where the service sets passwords and keys through it."""
    guest = subject.guest
    kernel = next((kernel for kernel in _started(guest) if kernel.fw_cfg is False), None)
    if guest is None or kernel is None:
        return None
    platform = subject.request.platform or platform_of(guest)
    if platform not in _FW_CFG_PLATFORMS and guest.architecture is not Architecture.ARM64:
        return None
    return subject.finding(
        "kernel-fw-cfg",
        Severity.WARNS,
        f"The kernel {kernel.version} was made without CONFIG_FW_CFG_SYSFS, through which the service sets passwords "
        f"and keys on {'arm64' if guest.architecture is Architecture.ARM64 else platform}.",
        remedy="Install the distribution's own kernel, or one with CONFIG_FW_CFG_SYSFS.",
        where=f"/boot/config-{kernel.version}",
        source=API,
    )


def _started(guest: GuestReport | None) -> tuple[Kernel, ...]:
    """Give the kernel that starts by itself where that is known, else all of them."""
    kernels = guest.kernels if guest is not None else ()
    return tuple(kernel for kernel in kernels if kernel.default) or kernels


def _starts_otherwise(subject: RuleContext) -> bool:
    """Tell what names kernels in ways that are not read here: unified images on an ESP, and LILO's map."""
    boot = subject.report.boot
    unified = any(loader.path.upper().startswith("EFI/LINUX/") for loader in boot.loaders)
    return unified or any("LILO" in line for line in boot.bios)


def _lacking(kernel: Kernel) -> list[str]:
    """List the drivers without which this kernel finds no virtio disk; unknown ones are not among them."""
    bad = (DriverPlace.MODULE, DriverPlace.ABSENT)
    return [name for name in ("virtio_blk", "virtio_pci") if kernel.place(name) in bad]


def _rebuild(guest: GuestReport, kernel: Kernel) -> str:
    """Say how to put the drivers into the initramfs, with the tool that the system has."""
    drivers = "virtio_blk, virtio_pci, virtio_net and nvme"
    if guest.architecture is Architecture.I386:
        drivers = "virtio_blk, virtio_pci and virtio_net"
    if "initrd.img" in kernel.initramfs:
        return (
            f"On the source system add {drivers} to /etc/initramfs-tools/modules, one to a line, then run "
            f"update-initramfs -u -k {kernel.version}."
        )
    modules = drivers.replace(",", "").replace(" and", "")
    return f'On the source system run: dracut -f --add-drivers "{modules}" {kernel.initramfs} {kernel.version}'


KERNEL_RULES: dict[str, Rule] = {
    "virtio-drivers": virtio_drivers,
    "initramfs-unread": initramfs_unread,
    "virtio-network": virtio_network,
    "nvme-driver": nvme_driver,
    "kernel-missing": kernel_missing,
    "boot-loader-config": boot_loader_config,
    "initramfs-missing": initramfs_missing,
    "kernel-fw-cfg": kernel_fw_cfg,
}
