"""This file finds out how a Linux system would bring up its network: by DHCP, by fixed addresses, bound to a card.

Five ways of configuring are read, each only as far as these questions go: ifupdown, ifcfg files (Red Hat, SUSE),
NetworkManager's keyfiles, systemd-networkd, and netplan, which is in a file of its own.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.netplan import Key, read_keys
from aliyun_import.disk.guest.report import Evidence, Network
from aliyun_import.disk.guest.services import is_enabled

_MAX_FILES = 200
_IFCFG_DIRECTORIES = ("/etc/sysconfig/network-scripts", "/etc/sysconfig/network")
_NETPLAN = ("/etc/netplan", "/run/netplan", "/lib/netplan")
_NETPLAN_KINDS = ("ethernets", "bonds", "bridges", "vlans", "wifis")
_NETWORKD = ("/etc/systemd/network", "/usr/lib/systemd/network", "/lib/systemd/network")
_KEYFILES = "/etc/NetworkManager/system-connections"
_UDEV = "/etc/udev/rules.d"
# Files that udev generators write with the MAC addresses of the machine they ran on.
_PERSISTENT = re.compile(r"\d+-persistent-net\.rules$")
# What an ifcfg file says to be brought up at the start; NetworkManager brings up the cards that are there instead.
_AT_THE_START = (("ONBOOT", "yes"), ("STARTMODE", "auto"), ("STARTMODE", "onboot"))
# Interfaces that are none of the instance's.
_OTHER_INTERFACES = ("lo", "docker", "virbr", "veth", "br-", "bond", "tun", "tap", "dummy")
_OTHER_NETWORK_FILES = re.compile(r"(container|80-vm|80-wifi|80-6rd|80-auto-link-local|89-ethernet\.network\.example)")


@dataclass(slots=True)
class _Seen:
    by_manager: bool
    dhcp: list[Evidence] = field(default_factory=list)
    static: list[Evidence] = field(default_factory=list)
    static_ipv6: list[Evidence] = field(default_factory=list)
    bound: list[Evidence] = field(default_factory=list)
    renamed: list[Evidence] = field(default_factory=list)
    cards: dict[str, Evidence] = field(default_factory=dict)

    def address(self, value: str, sighting: Evidence) -> None:
        """Add a fixed address to those of its kind."""
        (self.static_ipv6 if value.count(":") > 1 else self.static).append(sighting)

    def card(self, name: str, where: str) -> None:
        """Add an interface that the start brings up."""
        if not _is_other(name):
            self.cards.setdefault(name, Evidence(what=name, where=where))


def read_network(tree: Tree) -> Network:
    """Read every configuration there is; which of them is in force is not decided here."""
    seen = _Seen(by_manager=is_enabled(tree, "NetworkManager.service") is True)
    _ifupdown(tree, seen)
    _ifcfg(tree, seen)
    _netplan(tree, seen)
    _networkd(tree, seen)
    _network_manager(tree, seen)
    _persistent_rules(tree, seen)
    return Network(
        dhcp=tuple(seen.dhcp),
        static=tuple(seen.static),
        static_ipv6=tuple(seen.static_ipv6),
        bound=tuple(seen.bound),
        renamed=tuple(seen.renamed),
        cards=tuple(seen.cards.values()),
        manager=Evidence(what="NetworkManager", where="NetworkManager.service") if seen.by_manager else None,
    )


def _lines(tree: Tree, path: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate((tree.text(path) or "").splitlines()[:20_000], start=1):
        plain = line.strip()
        if plain and not plain.startswith("#"):
            yield number, plain


def _files(tree: Tree, directory: str, suffix: str) -> Iterator[str]:
    for name in tree.names(directory)[:_MAX_FILES]:
        if name.endswith(suffix):
            yield f"{directory}/{name}"


def _is_other(interface: str) -> bool:
    return interface == "lo" or interface.startswith(_OTHER_INTERFACES[1:])


def _ifupdown(tree: Tree, seen: _Seen) -> None:
    directory = "/etc/network/interfaces.d"
    for path in ("/etc/network/interfaces", *_files(tree, directory, "")):
        for number, line in _lines(tree, path):
            words, where = line.split(), f"{path}:{number}"
            if words[0] == "auto":  # "allow-hotplug" waits for nothing
                for name in words[1:]:
                    seen.card(name, where)
            if words[0] != "iface" or len(words) < 4 or _is_other(words[1]):
                continue
            if words[2:4] == ["inet", "dhcp"]:
                seen.dhcp.append(Evidence(what=line, where=where))
            elif words[3] == "static":
                (seen.static_ipv6 if words[2] == "inet6" else seen.static).append(Evidence(what=line, where=where))


def _ifcfg(tree: Tree, seen: _Seen) -> None:
    for directory in _IFCFG_DIRECTORIES:
        for path in _files(tree, directory, ""):
            name = path.rsplit("/", 1)[1]
            if not name.startswith("ifcfg-") or _is_other(name.removeprefix("ifcfg-")) or name.endswith((".bak", "~")):
                continue
            _ifcfg_file(tree, path, name.removeprefix("ifcfg-"), seen)


def _ifcfg_file(tree: Tree, path: str, card: str, seen: _Seen) -> None:
    for number, line in _lines(tree, path):
        key, _, value = line.partition("=")
        value = value.strip("\"' ").lower()
        sighting = Evidence(what=line, where=f"{path}:{number}")
        if key == "BOOTPROTO" and value in ("dhcp", "dhcp4", "dhcp+autoip", "bootp"):
            seen.dhcp.append(sighting)
        elif key == "BOOTPROTO" and value == "static":
            seen.static.append(sighting)
        elif re.fullmatch(r"IPADDR\d*|IPV6ADDR", key) and value:
            seen.address(value, sighting)
        elif key in ("HWADDR", "MACADDR", "LLADDR") and value:
            seen.bound.append(sighting)
        elif (key, value) in _AT_THE_START and "." not in card and not seen.by_manager:
            seen.card(card, sighting.where)


def _netplan(tree: Tree, seen: _Seen) -> None:
    for directory in _NETPLAN:
        for path in _files(tree, directory, ".yaml"):
            keys, cards = read_keys(tree.text(path) or ""), dict(seen.cards)
            for key in keys:
                _netplan_key(key, f"{path}:{key.line}", seen)
            if any(key.path[-1] == "renderer" and key.values == ["networkmanager"] for key in keys):
                seen.cards = cards  # it does not wait for a card that is not there


def _netplan_key(key: Key, where: str, seen: _Seen) -> None:
    kind, card, name = ("", "", *key.path)[-3:]
    on = key.values[:1] in (["true"], ["yes"], ["on"])
    sighting = Evidence(what=key.text, where=where)
    if card == "ethernets":
        seen.card(name, where)
    elif kind == "ethernets" and (name == "match" or (name == "optional" and on)):
        seen.cards.pop(card, None)  # such a card is not waited for, or may be any
    elif kind not in _NETPLAN_KINDS:
        return
    elif name == "dhcp4" and on:
        seen.dhcp.append(sighting)
    elif name == "addresses":
        for value in key.values:
            seen.address(value, sighting)
    elif name == "macaddress":
        seen.bound.append(sighting)


def _networkd(tree: Tree, seen: _Seen) -> None:
    if not is_enabled(tree, "systemd-networkd.service"):
        return
    for directory in _NETWORKD:
        for path in _files(tree, directory, ".network"):
            if _OTHER_NETWORK_FILES.search(path):
                continue
            for number, line in _lines(tree, path):
                key, _, value = (part.strip() for part in line.partition("="))
                sighting = Evidence(what=line, where=f"{path}:{number}")
                if key == "DHCP" and value.lower() in ("yes", "true", "ipv4", "both", "v4"):
                    seen.dhcp.append(sighting)
                elif key == "Address" and value:
                    seen.address(value, sighting)
                elif key in ("MACAddress", "PermanentMACAddress") and value:
                    seen.bound.append(sighting)


def _network_manager(tree: Tree, seen: _Seen) -> None:
    if not seen.by_manager:
        return
    profiles = list(_files(tree, _KEYFILES, ".nmconnection"))
    for path in profiles:
        _profile(tree, path, seen)
    # Without any profile NetworkManager makes one with DHCP for each card, unless it is told not to.
    if not profiles and not seen.static and not _no_auto_default(tree):
        seen.dhcp.append(Evidence(what="NetworkManager without profiles uses DHCP", where=_KEYFILES))


def _profile(tree: Tree, path: str, seen: _Seen) -> None:
    section = ""
    for number, line in _lines(tree, path):
        if line.startswith("["):
            section = line.strip("[]")
            continue
        key, _, value = (part.strip() for part in line.partition("="))
        sighting = Evidence(what=f"[{section}] {line}", where=f"{path}:{number}")
        match section, key:
            case "ipv4", "method":
                (seen.dhcp if value == "auto" else seen.static if value == "manual" else []).append(sighting)
            case "ipv6", "method" if value == "manual":
                seen.static_ipv6.append(sighting)
            case (("ethernet" | "802-3-ethernet"), "mac-address") if value:
                seen.bound.append(sighting)


def _no_auto_default(tree: Tree) -> bool:
    paths = ["/etc/NetworkManager/NetworkManager.conf", *_files(tree, "/etc/NetworkManager/conf.d", ".conf")]
    return any(
        re.match(r"no-auto-default\s*=\s*\*", line) is not None
        for path in paths
        for _number, line in _lines(tree, path)
    )


def _persistent_rules(tree: Tree, seen: _Seen) -> None:
    for path in _files(tree, _UDEV, ".rules"):
        if not _PERSISTENT.search(path):
            continue
        for number, line in _lines(tree, path):
            if "ATTR{address}" in line or "ATTRS{address}" in line:
                seen.renamed.append(Evidence(what=line[:200], where=f"{path}:{number}"))
