"""Checks of what ties the guest to the machine or the cloud that it comes from."""

from aliyun_import.checks.registry import AppliesTo, Found, GuestSubject, Source, check
from aliyun_import.disk.guest.report import DriverPlace, SourceTie, TieKind
from aliyun_import.model.finding import Severity


@check(
    "foreign-agent",
    {Severity.WARNS: "", Severity.NOTE: "for the tools of a hypervisor"},
    source=Source.JUDGEMENT,
    applies_to=AppliesTo.GUEST,
)
def foreign_agent(subject: GuestSubject) -> Found | None:
    """Check that no agent of another cloud is enabled.

    It waits for a metadata service that is not there, and may change accounts, keys, routes and the host name. The same
    is read from the kernel's arguments (ignition.platform.id, ds=, cloud-init=disabled) and ds-identify.cfg. The tools
    of VMware, VirtualBox, Hyper-V, Xen and Parallels do nothing on ECS.
    """
    clouds = _ties(subject, TieKind.CLOUD)
    tools = _ties(subject, TieKind.HYPERVISOR)
    if not clouds and not tools:
        return None
    if not clouds:
        return Found(
            f"Tools of another hypervisor start at boot, and do nothing on ECS: {_texts(tools)}.",
            "Remove them on the source system, or leave them.",
            tools[0].where,
            Severity.NOTE,
        )
    return Found(
        f"The system is set up for another cloud: {_texts(clouds)}. On ECS it waits for a service that is not there, "
        "or gets no metadata.",
        "Disable or remove it on the source system (systemctl disable), or set it to aliyun.",
        clouds[0].where,
    )


@check("rescue-start", Severity.WARNS, source=Source.JUDGEMENT, applies_to=AppliesTo.GUEST)
def rescue_start(subject: GuestSubject) -> Found | None:
    """Check that the kernel's arguments start the whole system.

    single, emergency, rd.break, init=/bin/sh and systemd.unit=rescue.target end in a shell on the console.
    """
    ties = _ties(subject, TieKind.RESCUE)
    if not ties:
        return None
    return Found(
        f"The boot loader passes {_texts(ties)} to the kernel: the boot ends in a shell, and the instance cannot be "
        "reached.",
        "Remove it from the boot loader's configuration (GRUB: GRUB_CMDLINE_LINUX in /etc/default/grub).",
        ties[0].where,
    )


@check(
    "driver-blacklisted",
    {Severity.WARNS: "", Severity.BLOCKS: "for the driver of the disk in the kernel's arguments"},
    source=Source.VIRTIO,
    applies_to=AppliesTo.GUEST,
)
def driver_blacklisted(subject: GuestSubject) -> Found | None:
    """Check that no virtio or nvme driver is excluded from being loaded.

    The check reads module_blacklist, modprobe.blacklist and rd.driver.blacklist of the kernel's arguments, and
    blacklist and install in modprobe.d. A driver that is built into the kernel is not affected.
    """
    built_in = {
        driver.name
        for kernel in subject.guest.kernels[:1]
        for driver in kernel.drivers
        if driver.place is DriverPlace.BUILT_IN
    }
    ties = [tie for tie in _ties(subject, TieKind.DRIVER) if not any(name in _plain(tie) for name in built_in)]
    if not ties:
        return None
    in_arguments = [tie for tie in ties if "=" in tie.what]
    disk = any(name in _plain(tie) for tie in in_arguments for name in ("virtio_blk", "virtio_pci"))
    return Found(
        f"A driver that the instance needs is excluded: {_texts(ties)}.",
        "Remove it on the source system, and create the initramfs again.",
        ties[0].where,
        Severity.BLOCKS if disk else None,
    )


@check("source-device", Severity.WARNS, source=Source.JUDGEMENT, applies_to=AppliesTo.GUEST)
def source_device(subject: GuestSubject) -> Found | None:
    """Check that the kernel's arguments and LVM name no device that only the source machine has.

    The boot waits for a device of resume= or rd.lvm.lv= that is not on the disk, for minutes or for ever. With a list
    of devices (/etc/lvm/devices/system.devices) LVM uses no others, and the list names the hardware of the source.
    """
    ties = _ties(subject, TieKind.DEVICE)
    if not ties:
        return None
    return Found(
        f"The system refers to a device that is not on ECS: {_texts(ties)}. The first boot waits for it, or does "
        "not use its volumes.",
        "Remove it on the source system: the argument from the boot loader's configuration, RESUME from "
        "initramfs-tools (then update-initramfs -u), or system.devices (LVM then uses every device).",
        ties[0].where,
    )


@check("source-network", Severity.WARNS, source=Source.JUDGEMENT, applies_to=AppliesTo.GUEST)
def source_network(subject: GuestSubject) -> Found | None:
    """Check that no setting beside the network cards is that of the source's network.

    The check reads ip= with an address, ifname= and BOOTIF= of the kernel's arguments, and GATEWAY, GATEWAYDEV and
    NETWORKING in /etc/sysconfig/network.
    """
    ties = _ties(subject, TieKind.NETWORK)
    if not ties:
        return None
    return Found(
        f"A setting is that of the source's network: {_texts(ties)}.",
        "Remove it on the source system: ECS assigns address and gateway by DHCP.",
        ties[0].where,
    )


def _ties(subject: GuestSubject, kind: TieKind) -> list[SourceTie]:
    return [tie for tie in subject.guest.source_ties if tie.kind is kind]


def _texts(ties: list[SourceTie]) -> str:
    return ", ".join(tie.what for tie in ties[:4])


def _plain(tie: SourceTie) -> str:
    return tie.what.replace("-", "_")
