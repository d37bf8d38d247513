"""The network configuration of a Linux system: DHCP, fixed addresses, bindings to a card.

Five kinds of configuration are read, each only as far as these facts need: ifupdown, ifcfg files (Red Hat, SUSE),
NetworkManager's keyfiles, systemd-networkd and netplan.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.report import Evidence, Network
from aliyun_import.disk.guest.services import is_enabled

if TYPE_CHECKING:
    from yaml import Event

_MAX_FILES = 200
# netplan's own files have some KiB and are five levels deep.
_MAX_YAML_CHARS, _MAX_YAML_EVENTS, _MAX_YAML_KEYS, _MAX_YAML_DEPTH = 256 << 10, 40_000, 10_000, 20
_MAX_LINE_CHARS = 4096
_IFCFG_DIRECTORIES = ("/etc/sysconfig/network-scripts", "/etc/sysconfig/network")
_NETPLAN = ("/etc/netplan", "/run/netplan", "/lib/netplan")
_NETPLAN_KINDS = ("ethernets", "bonds", "bridges", "vlans", "wifis")
_NETWORKD = ("/etc/systemd/network", "/usr/lib/systemd/network", "/lib/systemd/network")
_KEYFILES = "/etc/NetworkManager/system-connections"
_UDEV = "/etc/udev/rules.d"
# Files that udev generators write with the MAC addresses of the machine they ran on.
_PERSISTENT = re.compile(r"\d+-persistent-net\.rules$")
# The settings in an ifcfg file that configure a card at boot; NetworkManager configures the existing cards instead.
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

    def address(self, value: str, evidence: Evidence) -> None:
        """Add a fixed address to those of its kind."""
        (self.static_ipv6 if value.count(":") > 1 else self.static).append(evidence)

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
        evidence = Evidence(what=line, where=f"{path}:{number}")
        if key == "BOOTPROTO" and value in ("dhcp", "dhcp4", "dhcp+autoip", "bootp"):
            seen.dhcp.append(evidence)
        elif key == "BOOTPROTO" and value == "static":
            seen.static.append(evidence)
        elif re.fullmatch(r"IPADDR\d*|IPV6ADDR", key) and value:
            seen.address(value, evidence)
        elif key in ("HWADDR", "MACADDR", "LLADDR") and value:
            seen.bound.append(evidence)
        elif (key, value) in _AT_THE_START and "." not in card and not seen.by_manager:
            seen.card(card, evidence.where)


@dataclass(frozen=True, slots=True)
class _Key:
    """A key of a YAML file: its path from the top, its own name last, its line, the text of that line, its values."""

    path: tuple[str, ...]
    line: int
    text: str
    values: tuple[str, ...]


# A node of a YAML file: a scalar, a list, or (key, line, value) of each key of a map.
_Yaml = str | list["_Yaml"] | tuple[tuple[str, int, "_Yaml"], ...]


def _netplan(tree: Tree, seen: _Seen) -> None:
    for directory in _NETPLAN:
        for path in _files(tree, directory, ".yaml"):
            keys, cards = read_yaml_keys(tree.text(path) or ""), dict(seen.cards)
            for key in keys:
                _netplan_key(key, f"{path}:{key.line}", seen)
            if any(key.path[-1] == "renderer" and key.values == ("networkmanager",) for key in keys):
                seen.cards = cards  # it does not wait for a missing card


def _netplan_key(key: _Key, where: str, seen: _Seen) -> None:
    kind, card, name = ("", "", *key.path)[-3:]
    on = key.values[:1] in (("true",), ("yes",), ("on",))
    evidence = Evidence(what=key.text, where=where)
    if card == "ethernets":
        seen.card(name, where)
    elif kind == "ethernets" and (name == "match" or (name == "optional" and on)):
        seen.cards.pop(card, None)  # the start does not wait for such a card, or it may be any
    elif kind not in _NETPLAN_KINDS:
        return
    elif name == "dhcp4" and on:
        seen.dhcp.append(evidence)
    elif name == "addresses":
        for value in key.values:
            seen.address(value, evidence)
    elif name == "macaddress":
        seen.bound.append(evidence)


def read_yaml_keys(text: str) -> list[_Key]:
    """Return the keys of a YAML file in their order, those of aliased maps at each alias.

    A file that is no valid YAML has no keys, as netplan itself refuses it; nor has one that exceeds the limits. libyaml
    reports events one by one, so that neither deep nesting nor aliases of aliases (10 lines can stand for 10^9 values)
    take more than the limits allow.
    """
    if len(text) > _MAX_YAML_CHARS:
        return []
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        events = islice(yaml.parse(text, Loader=loader), _MAX_YAML_EVENTS)
        roots = [_node(event, events, {}, depth=0) for event in events if isinstance(event, yaml.NodeEvent)]
    except (yaml.YAMLError, StopIteration):
        return []
    lines = text.splitlines()
    found = (key for root in roots for key in _keys(root, (), lines))
    return list(islice(found, _MAX_YAML_KEYS))


def _node(event: "Event", events: "Iterator[Event]", anchors: dict[str, _Yaml], *, depth: int) -> _Yaml:
    """Build the node that an event begins. Raises StopIteration at the end of the events, also for too deep ones."""
    import yaml

    if depth > _MAX_YAML_DEPTH:
        raise StopIteration
    if isinstance(event, yaml.AliasEvent):
        return anchors.get(event.anchor or "", "")  # a node within itself is not known yet
    node: _Yaml = ""
    if isinstance(event, yaml.ScalarEvent):
        node = event.value
    elif isinstance(event, yaml.SequenceStartEvent):
        items: list[_Yaml] = []
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            items.append(_node(item, events, anchors, depth=depth + 1))
        node = items
    elif isinstance(event, yaml.MappingStartEvent):
        pairs: list[tuple[str, int, _Yaml]] = []
        while not isinstance(name := next(events), yaml.MappingEndEvent):
            key = _node(name, events, anchors, depth=depth + 1)
            value = _node(next(events), events, anchors, depth=depth + 1)
            line = name.start_mark.line if name.start_mark else 0
            pairs.append((key if isinstance(key, str) else "", line, value))
        node = tuple(pairs)
    if isinstance(event, yaml.NodeEvent) and event.anchor:
        anchors[event.anchor] = node
    return node


def _keys(node: _Yaml, path: tuple[str, ...], lines: list[str]) -> Iterator[_Key]:
    if not isinstance(node, tuple) or len(path) > _MAX_YAML_DEPTH:
        return
    for name, line, value in node:
        text = re.sub(r"(^|\s)#.*$", "", lines[line][:_MAX_LINE_CHARS]).strip()
        items = value if isinstance(value, list) else [value]
        # An address may be a map of one key, its options below it.
        values = (item[0][0] if isinstance(item, tuple) and item else item for item in items[:_MAX_YAML_KEYS])
        plain = tuple(one.lower() for one in values if isinstance(one, str) and one)
        yield _Key((*path, name), line + 1, text, () if isinstance(value, tuple) else plain)
        yield from _keys(value, (*path, name), lines)


def _networkd(tree: Tree, seen: _Seen) -> None:
    if not is_enabled(tree, "systemd-networkd.service"):
        return
    for directory in _NETWORKD:
        for path in _files(tree, directory, ".network"):
            if _OTHER_NETWORK_FILES.search(path):
                continue
            for number, line in _lines(tree, path):
                key, _, value = (part.strip() for part in line.partition("="))
                evidence = Evidence(what=line, where=f"{path}:{number}")
                if key == "DHCP" and value.lower() in ("yes", "true", "ipv4", "both", "v4"):
                    seen.dhcp.append(evidence)
                elif key == "Address" and value:
                    seen.address(value, evidence)
                elif key in ("MACAddress", "PermanentMACAddress") and value:
                    seen.bound.append(evidence)


def _network_manager(tree: Tree, seen: _Seen) -> None:
    if not seen.by_manager:
        return
    profiles = list(_files(tree, _KEYFILES, ".nmconnection"))
    for path in profiles:
        _profile(tree, path, seen)
    # Without any profile NetworkManager creates one with DHCP for each card, unless that is disabled.
    if not profiles and not seen.static and not _no_auto_default(tree):
        seen.dhcp.append(Evidence(what="NetworkManager without profiles uses DHCP", where=_KEYFILES))


def _profile(tree: Tree, path: str, seen: _Seen) -> None:
    section = ""
    for number, line in _lines(tree, path):
        if line.startswith("["):
            section = line.strip("[]")
            continue
        key, _, value = (part.strip() for part in line.partition("="))
        evidence = Evidence(what=f"[{section}] {line}", where=f"{path}:{number}")
        match section, key:
            case "ipv4", "method":
                (seen.dhcp if value == "auto" else seen.static if value == "manual" else []).append(evidence)
            case "ipv6", "method" if value == "manual":
                seen.static_ipv6.append(evidence)
            case (("ethernet" | "802-3-ethernet"), "mac-address") if value:
                seen.bound.append(evidence)


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
