"""Checks of the guest's network (addresses, network cards, firewalls), and of settings for its source environment."""

from aliyun_import.checks.registry import Found, GuestSubject, Source, check, places
from aliyun_import.disk.guest.network.configuration import writes_network
from aliyun_import.disk.guest.report import DriverPlace, GuestReport, Network, SourceTie, TieKind
from aliyun_import.model.finding import Severity

# On versions 6 and 7 of these distributions image_check requires the network service in place of NetworkManager.
_RED_HAT = ("centos", "rhel")


@check("no-dhcp", Severity.WARNS, source=Source.CHECK_ITEMS)
def no_dhcp(subject: GuestSubject) -> Found | None:
    """Check that the network is configured with DHCP.

    ECS assigns addresses by DHCP. The check reads ifupdown, ifcfg files, netplan, systemd-networkd, NetworkManager,
    netctl, netifrc, the files of Slackware and OpenWrt, and the services dhcpcd, dhclient and ConnMan. If nothing is
    configured and cloud-init is enabled, cloud-init writes the configuration.
    """
    guest, network = subject.guest, subject.guest.network
    if network is None or network.dhcp:
        return None
    if network.static:
        return Found(
            f"The network has static addresses ({network.static[0].what}) and no DHCP: the instance cannot be reached.",
            "Set the first network card to DHCP on the source system.",
            places(network.static),
        )
    if guest.cloud_init is None or writes_network(guest.cloud_init):
        return None  # cloud-init writes a configuration with DHCP at the first boot
    return Found(
        "No network configuration uses DHCP, and cloud-init, which would write one, is not enabled, or is configured "
        "not to write one.",
        "Set the first network card to DHCP on the source system, or install cloud-init.",
        "/etc/network, /etc/netplan, /etc/systemd/network, /etc/sysconfig, /etc/NetworkManager",
    )


@check("dhcp-client", Severity.WARNS, source=Source.JUDGEMENT)
def dhcp_client(subject: GuestSubject) -> Found | None:
    """Check that ifupdown has a DHCP client.

    ifupdown uses dhclient, pump, udhcpc or dhcpcd, and without one of them the network does not start. The package of
    ifupdown only recommends a client, and small images omit recommended packages. NetworkManager and systemd-networkd
    have their own.
    """
    network = subject.guest.network
    if network is None or network.has_dhcp_client:
        return None
    return Found(
        "ifupdown is configured for DHCP, and no DHCP client is installed: the instance gets no address, and cannot be "
        "reached.",
        "Install a DHCP client on the source system: apt-get install isc-dhcp-client, or dhcpcd-base on Debian 13.",
        places(network.dhcp),
    )


@check("static-ipv6", Severity.WARNS, source=Source.GUIDE_2021)
def static_ipv6(subject: GuestSubject) -> Found | None:
    """Check that no static IPv6 address is configured.

    An address of the source network is not valid in a VPC.
    """
    fixed = (subject.guest.network or Network()).static_ipv6
    if not fixed:
        return None
    return Found(
        f"The network has a static IPv6 address ({fixed[0].what}), which is not valid in the network of an instance.",
        "Remove it from the configuration on the source system.",
        places(fixed),
    )


@check("several-network-cards", Severity.WARNS, source=Source.GUIDE_2021)
def several_network_cards(subject: GuestSubject) -> Found | None:
    """Check that at most one network card is brought up at boot.

    An instance has one card unless more are attached. The boot waits for cards with auto (ifupdown), ONBOOT=yes or
    STARTMODE=auto (ifcfg files), or without optional: true (netplan). NetworkManager does not wait.
    """
    cards = (subject.guest.network or Network()).cards
    if len(cards) < 2:
        return None
    return Found(
        f"{len(cards)} network cards are brought up at boot ({', '.join(card.what for card in cards[:4])}), and an "
        "instance has one unless more are attached: the boot may wait for the others.",
        "Bring up only the first one: remove auto or ONBOOT=yes of the others, or set optional: true in netplan.",
        places(cards),
    )


@check("network-bound-to-mac", Severity.WARNS, source=Source.GUIDE_2021)
def network_bound_to_mac(subject: GuestSubject) -> Found | None:
    """Check that the network configuration is not bound to a MAC address.

    With HWADDR and similar settings, a configuration applies to the network card of the source machine only.
    """
    bound = (subject.guest.network or Network()).bound
    if not bound:
        return None
    return Found(
        f"The network configuration is bound to a MAC address ({bound[0].what}); a new instance has another one.",
        "Remove HWADDR, MACADDR, macaddress or mac-address from it on the source system.",
        places(bound),
    )


@check("network-bound-to-name", Severity.WARNS, source=Source.JUDGEMENT)
def network_bound_to_name(subject: GuestSubject) -> Found | None:
    """Check that the network is not configured for a card name of the source machine.

    Names such as ens160, enp0s3, eno1 and em1 depend on the slot of the card. The card of an instance has another name.
    Nothing is reported if a configuration for any card uses DHCP, or if cloud-init writes the configuration.
    """
    guest, network = subject.guest, subject.guest.network
    if network is None or not network.names or writes_network(guest.cloud_init):
        return None
    names = ", ".join(dict.fromkeys(card.what for card in network.names[:4]))
    return Found(
        f"The network is configured for {names}, a name by the slot of the card in the source machine. The card has "
        "another name on ECS, and the instance cannot be reached.",
        'Configure any card on the source system (netplan: match: {name: "e*"}; systemd-networkd: Name=e*), or pass '
        "net.ifnames=0 to the kernel and configure eth0.",
        places(network.names),
    )


@check(
    "network-for-eth0",
    {
        Severity.WARNS: "",
        Severity.UNKNOWN: "if the arguments of the kernel, or the naming rules of udev, are not known",
        Severity.NOTE: "if cloud-init configures the card, and ifupdown has a stanza that fails",
    },
    source=Source.JUDGEMENT,
)
def network_for_eth0(subject: GuestSubject) -> Found | None:
    """Check that the network card is named eth0 if the network is configured for eth0.

    udev of systemd 197 and later names the card of an instance by its slot: ens5 or enp0s5. It keeps the name eth0 if
    the kernel is started with net.ifnames=0, if 99-default.link or 80-net-setup-link.rules is masked in /etc, or if a
    .link file sets it. Debian 8, and SLE and Leap before 16, keep it unless net.ifnames=1 is set. NetworkManager uses
    DHCP on a card without a profile unless no-auto-default=* is set.
    """
    guest, network = subject.guest, subject.guest.network
    if network is None or network.names_by_place is False:
        return None
    found, kept = network.kernel_names, _keeps_kernel_names(guest)
    if not found or kept:
        return None
    name, is_known = found[0].what, kept is False and network.names_by_place is True
    if writes_network(guest.cloud_init):
        stanzas = [one for one in found if one.where.startswith("/etc/network/")]
        return (
            Found(
                f"ifupdown has a stanza for {name}, but udev names the card by its slot on ECS (ens5 or enp0s5). "
                f"cloud-init configures the card, and the boot reports that {name} failed.",
                f"Remove the stanza of {name} on the source system.",
                places(stanzas),
                Severity.NOTE,
            )
            if stanzas and is_known
            else None
        )
    remedy = (
        'Pass net.ifnames=0 to the kernel on the source system, or configure any card (netplan: match: {name: "e*"}; '
        "systemd-networkd: Name=e*)."
    )
    if is_known:
        return Found(
            f"The network is configured for {name} only, but udev names the card by its slot on ECS (ens5 or enp0s5): "
            "the instance cannot be reached.",
            remedy,
            places(found),
        )
    unknown = "the arguments of the kernel" if kept is None else "the naming rules of udev"
    return Found(
        f"The network is configured for {name} only. It is not known whether the card has that name on ECS, because "
        f"{unknown} are not known.",
        remedy,
        places(found),
        Severity.UNKNOWN,
    )


def _keeps_kernel_names(guest: GuestReport) -> bool | None:
    """Return whether the kernel is started with net.ifnames=0; None if its arguments are not known."""
    started = [entry for entry in guest.started if entry.kernel]
    known = [entry.arguments for entry in started or guest.boot_entries if entry.kernel]
    states = {"net.ifnames=0" in arguments.split() for arguments in known}
    if states == {True}:
        return True
    return None if len(states) != 1 or any(not one or "$" in one for one in known) else False


@check("persistent-net-rules", Severity.WARNS, source=Source.GUIDE_2021)
def persistent_net_rules(subject: GuestSubject) -> Found | None:
    """Check that no udev rule or link file reserves a name for the network card of the source machine.

    A rule (70-persistent-net.rules), a .link file or an iftab can reserve the name eth0 for a card with a certain MAC
    address or slot. The card of the instance then becomes eth1.
    """
    renamed = (subject.guest.network or Network()).renamed
    if not renamed:
        return None
    return Found(
        "A rule reserves a name for the network card of the source machine, so the card of the instance gets another "
        f"name ({renamed[0].what}).",
        f"Delete {renamed[0].where.rsplit(':', 1)[0]} on the source system.",
        places(renamed),
    )


@check("network-manager", Severity.NOTE, source=Source.COMPLIANCE)
def network_manager(subject: GuestSubject) -> Found | None:
    """Check that CentOS and Red Hat 6 and 7 use the network service.

    The tool image_check of the service requires it in place of NetworkManager on these versions.
    """
    release = subject.guest.os_release
    manager = (subject.guest.network or Network()).manager
    if manager is None or release is None or release.id not in _RED_HAT:
        return None
    if release.version_id.split(".")[0] not in ("6", "7"):
        return None
    return Found(
        f"NetworkManager is enabled on {release.pretty_name or release.name}. On versions 6 and 7, image_check "
        "requires the network service in its place.",
        "On the source system: systemctl disable NetworkManager, and systemctl enable network.",
        manager.where,
    )


@check("firewall", {Severity.WARNS: "", Severity.NOTE: "if a rule allows SSH"}, source=Source.GUIDE_2021)
def firewall(subject: GuestSubject) -> Found | None:
    """Check that no firewall is enabled: firewalld, ufw, iptables, nftables or SuSEfirewall2.

    The guide asks for no firewall; security groups replace it. The check reads the rules that allow SSH from the
    default zone of firewalld, user.rules of ufw, the saved rules of iptables and nftables, and FW_SERVICES_EXT_TCP.
    """
    found = subject.guest.firewall
    if not found:
        return None
    closed = [one for one in found if one.ssh is None]
    names, ssh = ", ".join(one.name for one in closed or found), found[0].ssh
    remedy = "Disable it on the source system, or allow SSH; security groups replace it on ECS."
    if closed or ssh is None:
        return Found(f"A firewall is enabled: {names}. No rule was found that allows SSH.", remedy, closed[0].where)
    return Found(f"A firewall is enabled: {names}. It allows SSH ({ssh.what}).", remedy, ssh.where, Severity.NOTE)


@check("foreign-agent", {Severity.WARNS: "", Severity.NOTE: "for the tools of a hypervisor"}, source=Source.JUDGEMENT)
def foreign_agent(subject: GuestSubject) -> Found | None:
    """Check that no agent of another cloud is enabled.

    Such an agent waits for a metadata service that does not exist on ECS, and may change accounts, keys, routes and the
    host name. The check also reads the arguments of the kernel (ignition.platform.id, ds=, cloud-init=disabled) and
    ds-identify.cfg. The tools of VMware, VirtualBox, Hyper-V, Xen and Parallels have no effect on ECS.
    """
    clouds = _ties(subject, TieKind.CLOUD)
    tools = _ties(subject, TieKind.HYPERVISOR)
    if not clouds and not tools:
        return None
    if not clouds:
        return Found(
            f"Tools of another hypervisor start at boot, and have no effect on ECS: {_texts(tools)}.",
            "Remove them on the source system, or leave them.",
            tools[0].where,
            Severity.NOTE,
        )
    return Found(
        f"The system is set up for another cloud: {_texts(clouds)}. On ECS it waits for a service that does not exist, "
        "or gets no metadata.",
        "Disable or remove it on the source system (systemctl disable), or set it to aliyun.",
        clouds[0].where,
    )


@check("rescue-start", Severity.WARNS, source=Source.JUDGEMENT)
def rescue_start(subject: GuestSubject) -> Found | None:
    """Check that the arguments of the kernel do not select a rescue shell.

    With single, emergency, rd.break, init=/bin/sh or systemd.unit=rescue.target, the boot ends in a shell on the
    console.
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
    {Severity.WARNS: "", Severity.BLOCKS: "for a driver of the disk in the arguments of the kernel"},
    source=Source.VIRTIO,
)
def driver_blacklisted(subject: GuestSubject) -> Found | None:
    """Check that no virtio or nvme driver is excluded from being loaded.

    The check reads module_blacklist, modprobe.blacklist and rd.driver.blacklist in the arguments of the kernel, and
    blacklist and install in modprobe.d. Drivers that are built into the kernel are not affected.
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


@check("source-device", Severity.WARNS, source=Source.JUDGEMENT)
def source_device(subject: GuestSubject) -> Found | None:
    """Check that the arguments of the kernel and LVM refer to no device of the source machine.

    The boot waits for a device in resume= or rd.lvm.lv= that is not on the disk, for minutes or for ever. If
    /etc/lvm/devices/system.devices exists, LVM uses only the devices in it, which are those of the source machine.
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


@check("source-network", Severity.WARNS, source=Source.JUDGEMENT)
def source_network(subject: GuestSubject) -> Found | None:
    """Check that no general network setting is for the source network.

    The check reads ip= with an address, ifname= and BOOTIF= in the arguments of the kernel, and GATEWAY, GATEWAYDEV and
    NETWORKING in /etc/sysconfig/network.
    """
    ties = _ties(subject, TieKind.NETWORK)
    if not ties:
        return None
    return Found(
        f"A setting is for the source network: {_texts(ties)}.",
        "Remove it on the source system: ECS assigns address and gateway by DHCP.",
        ties[0].where,
    )


def _ties(subject: GuestSubject, kind: TieKind) -> list[SourceTie]:
    return [tie for tie in subject.guest.source_ties if tie.kind is kind]


def _texts(ties: list[SourceTie]) -> str:
    return ", ".join(tie.what for tie in ties[:4])


def _plain(tie: SourceTie) -> str:
    return tie.what.replace("-", "_")
