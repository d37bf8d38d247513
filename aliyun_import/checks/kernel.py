"""Checks of kernels, their initramfs and their drivers."""

from aliyun_import.checks.platform import import_adds_virtio, platform_of
from aliyun_import.checks.registry import Found, GuestSubject, Source, check
from aliyun_import.checks.remedies import rebuild_initramfs, regenerate_menu, start_command
from aliyun_import.disk.guest.report import DriverPlace, GuestReport, Kernel
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import Architecture

# ImportImage, usage notes: the service sets passwords and keys through QEMU's fw_cfg on these platforms and on arm64.
_FW_CFG_PLATFORMS = ("CentOS Stream", "Anolis", "AlmaLinux", "UOS", "Kylin", "Rocky Linux")
# Places from which a kernel cannot load the driver of its disk.
_NOT_AT_BOOT = (DriverPlace.MODULE, DriverPlace.ABSENT)


@check(
    "virtio-drivers",
    {
        Severity.BLOCKS: "",
        Severity.WARNS: "if the import adds the drivers, or another kernel has them",
        Severity.UNKNOWN: "if it is not known which kernel starts, or which drivers it has",
    },
    source=Source.VIRTIO,
)
def virtio_drivers(subject: GuestSubject) -> Found | None:
    """Check that the kernel has the drivers of virtio disks.

    Disks of ECS are virtio disks. virtio_blk and virtio_pci must be built into the kernel or be in its initramfs: the
    kernel cannot load a module from a disk that it cannot read yet. The service documents that the import adds them to
    CentOS 6-8, Ubuntu 12 and later, Debian 7 and later, and SUSE 11 and later, unless Platform is Others Linux or
    Customized Linux. The check reads modules.builtin, modules.dep, the configuration of the kernel, and the file names
    in the initramfs of the boot loader's default entry.
    """
    guest = subject.guest
    kernels = guest.default_kernels
    missing = [kernel for kernel in kernels if _missing(kernel)]
    if not missing:
        return _drivers_unknown(kernels)
    first = missing[0]
    drivers = ", ".join(f"{name} is {first.place(name)}" for name in _missing(first))
    platform = _platform(subject)
    added = import_adds_virtio(guest.os_release, platform)
    other_boots = len(missing) < len(kernels)
    started, where = _is_started(guest), first.initramfs or first.image or f"/lib/modules/{first.version}"
    remedy = rebuild_initramfs(guest, first)
    by_import = f" The import is documented to add the drivers for {platform}." if added else ""
    if not started and not added and not other_boots:
        return Found(
            f"It is not known whether the kernel {_title(first)} finds its disk on ECS: no configuration of a boot "
            f"loader was found that starts it. With {first.initramfs or 'no initramfs'} it would not: {drivers}.",
            f"Start it: {start_command(subject.report.path)}. Or add the drivers. {remedy}",
            where,
            Severity.UNKNOWN,
        )
    return Found(
        f"{'The' if started else 'With the usual initramfs, the'} kernel {_title(first)} would not find its disk on "
        f"ECS: {drivers}.{by_import}",
        remedy,
        where,
        Severity.WARNS if added or other_boots else None,
    )


@check("initramfs-unread", Severity.UNKNOWN, source=Source.VIRTIO)
def initramfs_unread(subject: GuestSubject) -> Found | None:
    """Check that the initramfs could be read.

    An initramfs is not read if it is damaged or too large, or if its compression is unknown (lzo).
    """
    kernel = next((kernel for kernel in subject.guest.default_kernels if kernel.initramfs_problem), None)
    if kernel is None or all(kernel.place(name) is not DriverPlace.UNKNOWN for name in ("virtio_blk", "virtio_pci")):
        return None
    return Found(
        f"It is not known whether the kernel {_title(kernel)} has the virtio drivers: its initramfs could not be read, "
        f"{kernel.initramfs_problem}.",
        "Search it for virtio_blk and virtio_pci on the source system: lsinitramfs or lsinitrd.",
        kernel.initramfs,
    )


@check("virtio-network", {Severity.BLOCKS: "", Severity.WARNS: "if the import adds the drivers"}, source=Source.VIRTIO)
def virtio_network(subject: GuestSubject) -> Found | None:
    """Check that the kernel has the driver of virtio network cards.

    Network cards of ECS are virtio cards. Without virtio_net the instance boots, but has no network.
    """
    kernels = subject.guest.default_kernels
    if not kernels or any(kernel.place("virtio_net") is not DriverPlace.ABSENT for kernel in kernels):
        return None
    added = import_adds_virtio(subject.guest.os_release, _platform(subject))
    return Found(
        f"The kernel {kernels[0].version} has no virtio_net, neither built in nor as a module: no network on ECS.",
        "Install a kernel with CONFIG_VIRTIO_NET, or the package with its modules.",
        f"/lib/modules/{kernels[0].version}/modules.dep",
        Severity.WARNS if added else None,
    )


@check("nvme-driver", {Severity.WARNS: "", Severity.BLOCKS: "with --nvme-support supported"}, source=Source.CHECK_ITEMS)
def nvme_driver(subject: GuestSubject) -> Found | None:
    """Check that the kernel can boot from NVMe disks.

    Newer instance types have NVMe disks only. The parameter NvmeSupport states that the image can boot from them.
    """
    guest = subject.guest
    without = next((kernel for kernel in guest.default_kernels if kernel.place("nvme") in _NOT_AT_BOOT), None)
    if without is None:
        return None
    requested = subject.request.nvme_support == "supported"
    return Found(
        f"The kernel {without.version} cannot boot from NVMe disks: nvme is {without.place('nvme')}. Newer instance "
        "types have such disks only" + (", and --nvme-support supported was given." if requested else "."),
        rebuild_initramfs(guest, without),
        without.initramfs or f"/lib/modules/{without.version}",
        Severity.BLOCKS if requested else None,
    )


@check(
    "kernel-missing",
    {Severity.BLOCKS: "", Severity.WARNS: "if a boot loader other than GRUB may find a kernel that is not read"},
    source=Source.CHECK_ITEMS,
)
def kernel_missing(subject: GuestSubject) -> Found | None:
    """Check that a kernel that the boot loader refers to is on the disk.

    Unified kernel images (EFI/Linux on the ESP) and the map of LILO count as kernels.
    """
    guest, boot = subject.guest, subject.report.boot
    entries = guest.started
    if guest.root is None or _boots_otherwise(subject):
        return None
    remedy = f"Install a kernel on the source system, and regenerate the boot loader's menu: {regenerate_menu(guest)}."
    if entries and all(entry.kernel_found is False for entry in entries):
        message = f"The boot loader would load {entries[0].kernel}, which is missing or empty."
        return Found(message, remedy, entries[0].where)
    is_unclear = guest.unknowns or guest.unread or guest.image_based
    if entries or is_unclear or any(kernel.image for kernel in guest.kernels):
        return None
    # GRUB without a configuration stops at its prompt. Other loaders may find a kernel in ways that are not read, and
    # UEFI may start a kernel itself.
    certain = not boot.uefi and any("GRUB" in line for line in boot.bios)
    return Found(
        "There is no kernel in /boot, and no boot loader configuration that refers to one.",
        remedy,
        "/boot, /lib/modules",
        None if certain else Severity.WARNS,
    )


@check("boot-loader-config", Severity.WARNS, source=Source.LINUX_2026)
def boot_loader_config(subject: GuestSubject) -> Found | None:
    """Check that the configuration of a boot loader refers to the kernels in /boot.

    The check reads the configurations of GRUB 2, GRUB legacy, BLS (systemd-boot), SYSLINUX, LILO, rEFInd and Limine,
    and unified kernel images. A boot loader with another kind of configuration is not recognised.
    """
    guest = subject.guest
    is_unclear = guest.unknowns or guest.unread or guest.image_based
    if guest.root is None or is_unclear or guest.boot_entries or _boots_otherwise(subject):
        return None
    kernel = next((kernel for kernel in guest.kernels if kernel.image), None)
    if kernel is None:
        return None
    return Found(
        f"No configuration of a boot loader was found that loads {kernel.image}: the boot loader may stop at its "
        "prompt.",
        f"Generate it on the source system: {regenerate_menu(guest)}.",
        "/boot/grub, /boot/grub2, /boot/loader/entries, /boot/extlinux, EFI on the ESP",
    )


@check("initramfs-missing", Severity.BLOCKS, source=Source.CHECK_ITEMS)
def initramfs_missing(subject: GuestSubject) -> Found | None:
    """Check that an initramfs that the boot loader refers to is on the disk."""
    guest, entries = subject.guest, subject.guest.started
    if not entries or not all(entry.initramfs_found is False for entry in entries):
        return None
    first = entries[0]
    kernel = next((kernel for kernel in guest.kernels if kernel.default), Kernel(version="", initramfs=first.initramfs))
    return Found(
        f"The boot loader would load {', '.join(first.initrds) or first.initramfs}, which is missing or empty.",
        rebuild_initramfs(guest, kernel),
        first.where,
    )


@check("initramfs-damaged", Severity.WARNS, source=Source.JUDGEMENT)
def initramfs_damaged(subject: GuestSubject) -> Found | None:
    """Check that the initramfs that the boot loader loads can be unpacked to its end.

    An initramfs is truncated if the file system was full when it was written. The kernel unpacks as much as it can, and
    continues. If a required file is missing then, it cannot mount the root. An initramfs in xz, lzma or bzip2 is read
    only until the drivers are found.
    """
    kernel = next((kernel for kernel in subject.guest.kernels if kernel.default and kernel.initramfs_damage), None)
    if kernel is None:
        return None
    return Found(
        f"The initramfs of the kernel {_title(kernel)} is damaged, and the kernel may not find its root: "
        f"{kernel.initramfs_damage}.",
        rebuild_initramfs(subject.guest, kernel),
        kernel.initramfs,
    )


@check("kernel-damaged", Severity.BLOCKS, source=Source.JUDGEMENT)
def kernel_damaged(subject: GuestSubject) -> Found | None:
    """Check that the kernel that the boot loader starts is complete, and for the architecture of the system.

    The header of an x86 kernel contains its size. Boot loaders refuse a truncated kernel.
    """
    kernels = [kernel for kernel in subject.guest.kernels if kernel.default]
    if not kernels or not all(kernel.image_damage for kernel in kernels):
        return None
    return Found(
        f"The boot loader cannot start {kernels[0].image}: {kernels[0].image_damage}.",
        "Install the kernel again on the source system.",
        kernels[0].image,
    )


@check("init-missing", Severity.BLOCKS, source=Source.JUDGEMENT)
def init_missing(subject: GuestSubject) -> Found | None:
    """Check that /sbin/init and the dynamic linker that it needs are on the disk.

    Without them the kernel panics, or the initramfs opens a shell. The check is not made if the boot loader passes
    another program with init=.
    """
    guest = subject.guest
    if not guest.init_problem or guest.root is None or guest.image_based or guest.unknowns or guest.unread:
        return None
    return Found(
        f"The system cannot start: {guest.init_problem}.",
        "Install the package of the init system again (systemd-sysv, systemd, sysvinit), or repair the file system.",
        "/sbin/init",
    )


@check("kernel-fw-cfg", Severity.WARNS, source=Source.API)
def kernel_fw_cfg(subject: GuestSubject) -> Found | None:
    """Check that the kernel has CONFIG_FW_CFG_SYSFS if the service requires it.

    The service sets passwords and keys through QEMU's fw_cfg on arm64, and on CentOS Stream, Anolis, AlmaLinux, UOS,
    Kylin and Rocky Linux.
    """
    kernel = next((kernel for kernel in subject.guest.default_kernels if kernel.fw_cfg is False), None)
    if kernel is None:
        return None
    platform, arm = _platform(subject), subject.guest.architecture is Architecture.ARM64
    if platform not in _FW_CFG_PLATFORMS and not arm:
        return None
    return Found(
        f"The kernel {kernel.version} was built without CONFIG_FW_CFG_SYSFS, through which the service sets passwords "
        f"and keys on {'arm64' if arm else platform}.",
        "Install the distribution's own kernel, or one with CONFIG_FW_CFG_SYSFS.",
        f"/boot/config-{kernel.version}",
    )


def _platform(subject: GuestSubject) -> str | None:
    return subject.request.platform or platform_of(subject.guest)


def _is_started(guest: GuestReport) -> bool:
    """Return whether an entry of a boot loader determines the kernel and the initramfs."""
    return any(entry.kernel for entry in guest.started)


def _drivers_unknown(kernels: tuple[Kernel, ...]) -> Found | None:
    """Return the finding that the drivers of all kernels are unknown, unless initramfs-unread reports the reason."""
    unknown = [one for one in kernels if DriverPlace.UNKNOWN in (one.place("virtio_blk"), one.place("virtio_pci"))]
    if not unknown or len(unknown) < len(kernels) or any(kernel.initramfs_problem for kernel in unknown):
        return None
    first = unknown[0]
    return Found(
        f"It is not known whether the kernel {_title(first)} has the virtio drivers: it has no "
        "modules.builtin or configuration on the disk, and its initramfs does not contain them.",
        "Search the configuration of the kernel for CONFIG_VIRTIO_BLK=y and CONFIG_VIRTIO_PCI=y on the source system: "
        "zgrep VIRTIO /proc/config.gz.",
        first.image or first.initramfs or "/lib/modules",
        Severity.UNKNOWN,
    )


def _title(kernel: Kernel) -> str:
    return kernel.version or kernel.image or "of unknown version"


def _boots_otherwise(subject: GuestSubject) -> bool:
    """Return whether kernels are started in a way that is not read: unified images on an ESP, or the map of LILO."""
    boot = subject.report.boot
    unified = any(loader.path.upper().startswith("EFI/LINUX/") for loader in boot.loaders)
    return unified or any("LILO" in line for line in boot.bios)


def _missing(kernel: Kernel) -> list[str]:
    """Return the drivers of virtio disks that the kernel certainly lacks at boot."""
    return [name for name in ("virtio_blk", "virtio_pci") if kernel.place(name) in _NOT_AT_BOOT]
