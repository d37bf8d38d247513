"""This file finds the firewalls that start with a Linux system, and the line with which each lets SSH in."""

import re
from collections.abc import Iterator

from aliyun_import.disk.guest.services import is_enabled
from aliyun_import.disk.guest_report import Firewall, Sighting
from aliyun_import.disk.tree import Tree

_UNITS = {
    "firewalld.service": "firewalld",
    "ufw.service": "ufw",
    "iptables.service": "iptables",
    "nftables.service": "nftables",
    "SuSEfirewall2.service": "SuSEfirewall2",
}
# Where each has its rules (the first file that is there counts), and the line of one that lets SSH in. {zone} is
# firewalld's default zone, whose file in /etc replaces that of the package.
_RULES = {
    "firewalld": (
        ("/etc/firewalld/zones/{zone}.xml", "/usr/lib/firewalld/zones/{zone}.xml"),
        r"""service name=["']ssh["']|port=["']22["']|target=["']ACCEPT["']""",
    ),
    "ufw": (
        ("/etc/ufw/user.rules", "/lib/ufw/user.rules"),
        r"-A \S+ .*--dports? (\S+,)?22\b.*-j (ACCEPT|ufw-user-limit)",
    ),
    "iptables": (
        ("/etc/sysconfig/iptables", "/etc/iptables/rules.v4"),
        r"-A (INPUT|RH-Firewall\S*) .*--dports? (\S+,)?(22|ssh)\b.*-j ACCEPT",
    ),
    "nftables": (("/etc/nftables.conf", "/etc/sysconfig/nftables.conf"), r"dport\b.*\b(22|ssh)\b.*\baccept"),
    "SuSEfirewall2": (
        ("/etc/sysconfig/SuSEfirewall2",),
        r"FW_(SERVICES_EXT_TCP|CONFIGURATIONS_EXT)=.*\b(22|ssh|sshd)\b",
    ),
}
# A rule is a line of some hundred characters; the patterns take the square of a line's length at worst.
_MAX_LINE_CHARS = 2000
# Rules that refuse nothing let SSH in, too: what Debian's nftables comes with.
_REFUSES = re.compile(r"\b(drop|reject)\b", re.IGNORECASE)


def read_firewall(tree: Tree) -> tuple[Firewall, ...]:
    """Name the firewalls that start at boot. ufw's unit is always enabled; its own switch counts."""
    found = []
    for unit, name in _UNITS.items():
        if not is_enabled(tree, unit):
            continue
        if name == "ufw" and not re.search(
            r"^ENABLED=[\"']?yes", tree.text("/etc/ufw/ufw.conf") or "", re.MULTILINE | re.IGNORECASE
        ):
            continue
        found.append(Firewall(name=name, where=unit, ssh=_ssh_rule(tree, name)))
    return tuple(found)


def _ssh_rule(tree: Tree, name: str) -> Sighting | None:
    places, pattern = _RULES[name]
    zone = _default_zone(tree)
    place = next((path for path in (place.format(zone=zone) for place in places) if tree.exists(path)), None)
    if place is None:
        return None
    lines = list(_lines(tree, place))
    for number, line in lines:
        if re.search(pattern, line):
            return Sighting(what=line[:200], where=f"{place}:{number}")
    if name in ("iptables", "nftables") and not any(_REFUSES.search(line) for _number, line in lines):
        return Sighting(what="it refuses nothing", where=place)
    return None


def _default_zone(tree: Tree) -> str:
    match = re.search(r"^DefaultZone=([\w-]+)", tree.text("/etc/firewalld/firewalld.conf") or "", re.MULTILINE)
    return match[1] if match else "public"


def _lines(tree: Tree, path: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate((tree.text(path) or "").splitlines()[:20_000], start=1):
        plain = line[:_MAX_LINE_CHARS].strip()
        if plain and not plain.startswith("#"):
            yield number, plain
