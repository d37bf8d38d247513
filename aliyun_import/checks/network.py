"""This file holds the rules about the network of the guest: addresses, network cards, firewalls."""

from aliyun_import.checks.context import CHECK_ITEMS, COMPLIANCE, GUIDE_2021, Rule, RuleContext, places
from aliyun_import.model.finding import Finding, Severity

# Distributions whose versions 6 and 7 image_check wanted without NetworkManager.
_RED_HAT = ("centos", "rhel")


def no_dhcp(subject: RuleContext) -> Finding | None:
    """Warn of a network that does not ask DHCP."""
    guest = subject.guest
    network = guest.network if guest is not None else None
    if guest is None or network is None or network.dhcp:
        return None
    if network.static:
        return subject.finding(
            "no-dhcp",
            Severity.WARNS,
            f"The network has fixed addresses ({network.static[0].what}) and asks DHCP nowhere: the instance can't be "
            "reached.",
            remedy="Set the first network card to DHCP on the source system.",
            where=places(network.static),
            source=CHECK_ITEMS,
        )
    if guest.cloud_init is None or guest.cloud_init.enabled is not False:
        return None  # cloud-init writes a configuration with DHCP at the first start
    return subject.finding(
        "no-dhcp",
        Severity.WARNS,
        "Nothing was found that asks DHCP for an address, and cloud-init, which would see to it, does not start.",
        remedy="Set the first network card to DHCP on the source system, or install cloud-init.",
        where="/etc/network, /etc/netplan, /etc/systemd/network, /etc/sysconfig, /etc/NetworkManager",
        source=CHECK_ITEMS,
    )


def network_bound_to_mac(subject: RuleContext) -> Finding | None:
    """Warn of a configuration that holds for one MAC address only."""
    guest = subject.guest
    bound = guest.network.bound if guest is not None and guest.network is not None else ()
    if not bound:
        return None
    return subject.finding(
        "network-bound-to-mac",
        Severity.WARNS,
        f"The network's configuration is bound to a MAC address ({bound[0].what}); a new instance has another one.",
        remedy="Remove HWADDR, MACADDR, macaddress or mac-address from it on the source system.",
        where=places(bound),
        source=GUIDE_2021,
    )


def persistent_net_rules(subject: RuleContext) -> Finding | None:
    """Warn of udev rules that give the name eth0 to the card of the source machine."""
    guest = subject.guest
    renamed = guest.network.renamed if guest is not None and guest.network is not None else ()
    if not renamed:
        return None
    return subject.finding(
        "persistent-net-rules",
        Severity.WARNS,
        "A udev rule keeps the network name of the source machine's card, so the instance's card gets another name.",
        remedy=f"Delete {renamed[0].where.rsplit(':', 1)[0]} on the source system.",
        where=places(renamed),
        source=GUIDE_2021,
    )


def static_ipv6(subject: RuleContext) -> Finding | None:
    """Warn of a fixed IPv6 address, which is that of another network."""
    guest = subject.guest
    fixed = guest.network.static_ipv6 if guest is not None and guest.network is not None else ()
    if not fixed:
        return None
    return subject.finding(
        "static-ipv6",
        Severity.WARNS,
        f"The network has a fixed IPv6 address ({fixed[0].what}), which is not one of the instance's network.",
        remedy="Remove it from the configuration on the source system.",
        where=places(fixed),
        source=GUIDE_2021,
    )


def several_network_cards(subject: RuleContext) -> Finding | None:
    """Warn of a start that brings up more network cards than a new instance has."""
    guest = subject.guest
    cards = guest.network.cards if guest is not None and guest.network is not None else ()
    if len(cards) < 2:
        return None
    return subject.finding(
        "several-network-cards",
        Severity.WARNS,
        f"The start brings up {len(cards)} network cards ({', '.join(card.what for card in cards[:4])}), and an "
        "instance has one unless more are attached: it may wait for the others.",
        remedy="Leave only the first to be brought up: remove auto or ONBOOT=yes of the others, or write optional: "
        "true in netplan.",
        where=places(cards),
        source=GUIDE_2021,
    )


def network_manager(subject: RuleContext) -> Finding | None:
    """Say that NetworkManager runs on a Red Hat 6 or 7, whose old network service the image checks want."""
    guest = subject.guest
    manager = guest.network.manager if guest is not None and guest.network is not None else None
    release = guest.os_release if guest is not None else None
    if manager is None or release is None or release.id not in _RED_HAT:
        return None
    if release.version_id.split(".")[0] not in ("6", "7"):
        return None
    return subject.finding(
        "network-manager",
        Severity.NOTE,
        f"NetworkManager starts on {release.pretty_name or release.name}; the service's image_check asks for the "
        "network service instead on versions 6 and 7.",
        remedy="On the source system: systemctl disable NetworkManager, and systemctl enable network.",
        where=manager.where,
        source=COMPLIANCE,
    )


def firewall(subject: RuleContext) -> Finding | None:
    """Warn of a firewall that starts by itself; it is a note only where it lets SSH in."""
    guest = subject.guest
    found = guest.firewall if guest is not None else ()
    if not found:
        return None
    shut = [one for one in found if one.ssh is None]
    names = ", ".join(one.name for one in shut or found)
    door = found[0].ssh
    return subject.finding(
        "firewall",
        Severity.WARNS if shut else Severity.NOTE,
        f"A firewall starts with the system: {names}. "
        + ("No rule was found that lets SSH in." if shut or door is None else f"It lets SSH in ({door.what})."),
        remedy="Disable it on the source system, or let SSH in; security groups do its work on ECS.",
        where=shut[0].where if shut or door is None else door.where,
        source=GUIDE_2021,
    )


NETWORK_RULES: dict[str, Rule] = {
    "no-dhcp": no_dhcp,
    "static-ipv6": static_ipv6,
    "several-network-cards": several_network_cards,
    "network-bound-to-mac": network_bound_to_mac,
    "persistent-net-rules": persistent_net_rules,
    "network-manager": network_manager,
    "firewall": firewall,
}
