"""Network configuration of a Linux system: DHCP, fixed addresses, bindings to a card of the source machine.

All configurations on the disk are read, as far as these facts need. Which of them is in effect is not determined.
"""

import re

from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.network.facts import Facts
from aliyun_import.disk.guest.network.netplan import read_netplan, read_network_yaml
from aliyun_import.disk.guest.network.scripts import has_dhcp_client, read_ifcfg, read_ifupdown, read_small_tools
from aliyun_import.disk.guest.network.units import (
    makes_profiles,
    read_links,
    read_naming,
    read_network_manager,
    read_networkd,
    read_rules,
)
from aliyun_import.disk.guest.report import CloudInit, Evidence, Network
from aliyun_import.disk.guest.services import enabled_units, is_enabled


def read_network(tree: Tree, cloud_init: CloudInit | None = None, arguments: str = "") -> Network:
    """Read all configurations. `arguments` are those of the default kernel.

    Settings in files that cloud-init writes again on each instance are ignored.
    """
    facts = Facts(uses_network_manager=is_enabled(tree, "NetworkManager.service") is True)
    read_ifupdown(tree, facts)
    read_ifcfg(tree, facts)
    read_netplan(tree, facts)
    if is_enabled(tree, "systemd-networkd.service"):
        read_networkd(tree, facts)
    read_links(tree, facts)
    if facts.uses_network_manager:
        read_network_manager(tree, facts)
    read_small_tools(tree, facts, enabled_units(tree))
    read_rules(tree, facts)
    if cloud_init is not None and cloud_init.network_fixed and cloud_init.enabled is not False:
        read_network_yaml(tree, cloud_init.network_fixed.rsplit(":", 1)[0], facts)
    if re.search(r"(^|\s)ip=(dhcp|on|any|[^\s:]+:dhcp)(\s|$)", arguments):
        facts.dhcp.append(Evidence(what="ip=dhcp", where="the kernel's arguments"))
        facts.any_card = True
    any_card = facts.any_card or (facts.uses_network_manager and makes_profiles(tree, facts))
    if not writes_network(cloud_init):
        facts.written_by_cloud_init.clear()
    manager = Evidence(what="NetworkManager", where="NetworkManager.service") if facts.uses_network_manager else None
    return Network(
        dhcp=tuple(facts.dhcp),
        static=facts.without_cloud_init_files(facts.static),
        static_ipv6=facts.without_cloud_init_files(facts.static_ipv6),
        bound=facts.without_cloud_init_files(facts.bound),
        renamed=facts.without_cloud_init_files(facts.renamed),
        names=() if facts.any_card or facts.kernel_names else facts.without_cloud_init_files(facts.names),
        kernel_names=() if any_card else facts.without_cloud_init_files(facts.kernel_names),
        names_by_place=read_naming(tree, facts, arguments),
        cards=facts.without_cloud_init_files(list(facts.cards.values())),
        manager=manager,
        has_dhcp_client=not _is_ifupdown(facts) or has_dhcp_client(tree),
    )


def _is_ifupdown(facts: Facts) -> bool:
    """Return whether only ifupdown uses DHCP. The other tools have their own clients."""
    return bool(facts.dhcp) and all(one.where.startswith("/etc/network/") for one in facts.dhcp)


def writes_network(cloud_init: CloudInit | None) -> bool:
    """Return whether cloud-init writes the network configuration of a new instance."""
    return (
        cloud_init is not None
        and cloud_init.enabled is not False
        and bool(cloud_init.where)
        and (not cloud_init.network_fixed)
    )
