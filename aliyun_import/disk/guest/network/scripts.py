"""Network configurations of ifupdown, ifcfg files, netctl, netifrc, Slackware and OpenWrt, and DHCP clients."""

import re
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase

from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.network.facts import Facts, files_in, is_other, lines_of
from aliyun_import.disk.guest.report import Evidence

_INTERFACES = "/etc/network/interfaces"
# DHCP clients of ifupdown, in the order of its search.
_DHCP_CLIENTS = ("dhclient", "pump", "udhcpc", "dhcpcd")
# Cloud images of Debian run it for each card. It writes a stanza with DHCP.
_CLOUD_HELPER = "/etc/network/cloud-ifupdown-helper"
_MAX_SOURCES = 64
_STANZAS = ("iface", "auto", "mapping", "source", "source-directory", "template", "no-auto-down", "no-scripts")
_IFCFG_DIRECTORIES = ("/etc/sysconfig/network-scripts", "/etc/sysconfig/network")
_IFCFG_DHCP = ("dhcp", "dhcp4", "dhcp+autoip", "bootp", "auto")
# Services of DHCP clients, which configure all cards.
_CLIENTS = ("dhcpcd", "connman", "connmand", "dhclient", "udhcpc", "wickedd-dhcp4")


def read_ifupdown(tree: Tree, facts: Facts) -> None:
    """Read /etc/network/interfaces and the files that it includes."""
    for path in _sources(tree, facts):
        _interfaces(tree, path, facts)
    if tree.exists(_CLOUD_HELPER):
        facts.any_card = True


def _sources(tree: Tree, facts: Facts) -> list[str]:
    """Return the files in the order in which they are read."""
    found, pending = dict[str, None](), [_INTERFACES]
    while pending and len(found) < _MAX_SOURCES:
        path = pending.pop(0)
        if path in found or not tree.exists(path):
            continue
        found[path] = None
        for line in lines_of(tree, path, facts):
            words = line.what.split()
            if words[0] in ("source", "source-directory"):
                for pattern in words[1:]:
                    pending += _matching(tree, pattern, whole=words[0] == "source-directory")
    return list(found)


def _matching(tree: Tree, pattern: str, *, whole: bool) -> Iterator[str]:
    pattern = pattern if pattern.startswith("/") else f"/etc/network/{pattern}"
    directory, name = (pattern.rstrip("/"), "*") if whole else tuple(pattern.rsplit("/", 1))
    for path in files_in(tree, directory):
        last = path.rsplit("/", 1)[1]
        if fnmatchcase(last, name) and (not whole or re.fullmatch(r"[\w-]+", last)):
            yield path


def has_dhcp_client(tree: Tree) -> bool:
    """Return whether a DHCP client of ifupdown is installed."""
    places = ("/sbin", "/usr/sbin", "/bin", "/usr/bin", "/usr/local/sbin")
    return any(tree.has_name(f"{place}/{name}") for place in places for name in _DHCP_CLIENTS)


def _interfaces(tree: Tree, path: str, facts: Facts) -> None:
    stanzas: list[list[Evidence]] = []
    for line in lines_of(tree, path, facts):
        if not stanzas or line.what.split()[0] in _STANZAS or line.what.startswith("allow-"):
            stanzas.append([line])
        else:
            stanzas[-1].append(line)
    for first, *options in stanzas:
        words = first.what.split()
        if words[0] == "auto":  # with "allow-hotplug" the boot does not wait
            for card in words[1:]:
                facts.card(card, first.where)
        elif words[0] == "iface" and len(words) > 1 and not is_other(words[1]):
            _interface(words, first, options, facts)


def _interface(words: list[str], first: Evidence, options: list[Evidence], facts: Facts) -> None:
    dhcp = [first] if words[2:4] == ["inet", "dhcp"] else []
    if words[3:4] == ["static"]:
        (facts.static_ipv6 if words[2] == "inet6" else facts.static).append(first)
    for option in options:
        if re.match(
            r"use\b.*\bdhcp\b|(pre-|post-)?up\b.*\b(dhclient|udhcpc|dhcpcd)\b", option.what
        ):  # ifupdown-ng: use
            dhcp.append(option)
        elif re.match(r"hwaddress\s+(ether\s+)?[0-9a-fA-F]{2}:", option.what):
            facts.bound.append(option)
    facts.dhcp += dhcp
    facts.configured(re.sub(r"^/|=.*$", "", words[1]), first.where, dhcp=bool(dhcp))


def read_ifcfg(tree: Tree, facts: Facts) -> None:
    """Read the ifcfg files of Red Hat and SUSE."""
    for directory in _IFCFG_DIRECTORIES:
        for path in files_in(tree, directory):
            name = path.rsplit("/", 1)[1]
            if name.startswith("ifcfg-") and not is_other(name.removeprefix("ifcfg-")):
                _ifcfg_file(tree, path, name.removeprefix("ifcfg-"), facts)


def _ifcfg_file(tree: Tree, path: str, suffix: str, facts: Facts) -> None:
    values: dict[str, tuple[str, Evidence]] = {}
    for line in lines_of(tree, path, facts):
        key, value = _assignment(line.what)
        values[key] = value, line
    named = {key: value.lower() for key, (value, _evidence) in values.items()}
    card = named.get("DEVICE", suffix)
    starts = named.get("ONBOOT", "yes") in ("yes", "true", "1", "y", "t") and named.get("STARTMODE") not in (
        "off",
        "manual",
    )
    dhcp = starts and named.get("BOOTPROTO") in _IFCFG_DHCP
    waits = starts and "." not in suffix and not facts.uses_network_manager
    for key, (value, evidence) in values.items():
        if key == "BOOTPROTO" and dhcp:
            facts.dhcp.append(evidence)
        elif key == "BOOTPROTO" and value.lower() == "static":
            facts.static.append(evidence)
        elif re.fullmatch(r"IPADDR\d*|IPV6ADDR", key) and value:
            facts.address(value, evidence)
        elif key in ("HWADDR", "MACADDR", "LLADDR") and value:
            facts.bound.append(evidence)
        elif key in ("ONBOOT", "STARTMODE") and waits and value.lower() in ("yes", "auto", "onboot"):
            facts.card(card, evidence.where)
    if starts and ("HWADDR" not in values or "DEVICE" in values):
        facts.configured(card, values["DEVICE"][1].where if "DEVICE" in values else path, dhcp=dhcp)


def _assignment(line: str) -> tuple[str, str]:
    """Return the name and the value of an assignment in a shell script, without quotes and comment."""
    key, _, value = line.partition("=")
    match = re.match(r"""\s*(?:"([^"]*)"|'([^']*)'|([^\s#]*))""", value)
    text = next((group for group in match.groups() if group is not None), "") if match else ""
    return key.removeprefix("export ").strip(), text.strip()


def read_small_tools(tree: Tree, facts: Facts, enabled: Collection[str]) -> None:
    """Read the files of netctl, netifrc, Slackware and OpenWrt, and the services of DHCP clients."""
    for unit in enabled:
        service = unit.removesuffix(".service")
        name, at, instance = service.partition("@")
        if name in _CLIENTS or re.fullmatch(r"dhcpcd-\w+", name):
            facts.dhcp.append(Evidence(what=name, where=unit))
            facts.configured(instance if at else "", unit, dhcp=True)
        elif name in ("netctl", "netctl-auto", "netctl-ifplugd"):
            profiles = [f"/etc/netctl/{instance}"] if name == "netctl" else [*files_in(tree, "/etc/netctl")]
            for path in profiles:
                _assigned(tree, path, facts, dhcp=r"IP$", address=r"Address$", card=r"Interface$")
        elif name.startswith("net.") and name != "net.lo":
            _netifrc(tree, name.removeprefix("net."), facts)
    _assigned(tree, "/etc/rc.d/rc.inet1.conf", facts, dhcp=r"USE_DHCP\[\d+\]$", address=r"IPADDR\[\d+\]$")
    _assigned(tree, "/etc/rc.conf", facts, dhcp=r"ifconfig_\w+$|interface$", address=r"address$")
    for line in lines_of(tree, "/etc/config/network", facts):
        words = [word.strip("'\"") for word in line.what.split()]
        if words[:2] == ["option", "proto"] and words[2:3] in (["dhcp"], ["static"]):
            facts.any_card = facts.any_card or words[2] == "dhcp"
            (facts.dhcp if words[2] == "dhcp" else facts.static).append(line)


def _netifrc(tree: Tree, card: str, facts: Facts) -> None:
    """Read /etc/conf.d/net of Gentoo for a card that a runlevel starts. Without a line for the card, it uses DHCP."""
    path = "/etc/conf.d/net"
    value, where = "dhcp", path
    for line in lines_of(tree, path, facts):
        key, text = _assignment(line.what)
        if key == f"config_{card}":
            value, where = text, line.where
        elif key == f"mac_{card}":
            facts.bound.append(line)
    is_dhcp = "dhcp" in value
    (facts.dhcp if is_dhcp else facts.static).append(Evidence(what=f"config_{card}={value}", where=where))
    facts.configured(card, where, dhcp=is_dhcp)


def _assigned(tree: Tree, path: str, facts: Facts, *, dhcp: str, address: str, card: str = "") -> None:
    """Read a file of assignments. `dhcp`, `address` and `card` are patterns of the names of its variables."""
    name, is_dhcp = "", False
    for line in lines_of(tree, path, facts):
        key, value = _assignment(line.what)
        if re.match(dhcp, key) and re.match(r"(dhcp|yes|syncdhcp)", value, re.IGNORECASE):
            is_dhcp = True
            facts.dhcp.append(line)
        elif re.match(address, key) and value.strip("()'\" "):
            facts.static.append(line)
        elif card and re.match(card, key):
            name = value
    if is_dhcp:
        facts.configured(name, path, dhcp=True)
