"""Network configurations of systemd-networkd and NetworkManager, link files, and rules of udev."""

import re
from collections.abc import Iterator
from dataclasses import replace

from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.network.facts import Facts, files_in, is_true, lines_of
from aliyun_import.disk.guest.report import Evidence
from aliyun_import.disk.guest.services import has_systemd
from aliyun_import.disk.guest.systems import read_os_release

_NETWORKD = ("/etc/systemd/network", "/run/systemd/network", "/usr/lib/systemd/network", "/lib/systemd/network")
_OTHER_NETWORK_FILES = re.compile(r"(container|80-vm|80-wifi|80-6rd|80-auto-link-local|89-ethernet\.network\.example)")
_KEYFILES = ("/etc/NetworkManager/system-connections", "/usr/lib/NetworkManager/system-connections")
_WIRED = ("", "ethernet", "802-3-ethernet", "bond", "bridge", "team", "vlan")
_MADE_MAC = ("preserve", "permanent", "random", "stable", "stable-ssid")
_UDEV = "/etc/udev/rules.d"
_UDEV_PACKAGED = ("/usr/lib/udev/rules.d", "/lib/udev/rules.d")
_NAMING = ("80-net-name-slot.rules", "80-net-setup-link.rules")
_GENERATOR = "75-persistent-net-generator.rules"
# Files that generators of udev write, with the MAC addresses of the machine on which they run.
_PERSISTENT = re.compile(r"\d+-persistent-net\.rules$")
# Matches of a rule for a card with a certain address or slot.
_RULE_MATCH = re.compile(
    r"""(ATTRS?\{address\}|KERNELS|DEVPATH|ENV\{ID_PATH\w*\}|ENV\{ID_NET_NAME\w*\}|ENV\{INTERFACE\})\s*=="""
)
_MAC = re.compile(r"\b([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b")


def read_networkd(tree: Tree, facts: Facts) -> None:
    """Read the .network files of systemd-networkd with their drop-ins. A file in /etc replaces one in /usr."""
    names: set[str] = set()
    for directory in _NETWORKD:
        for path in files_in(tree, directory, ".network"):
            name = path.rsplit("/", 1)[1]
            if name in names or _OTHER_NETWORK_FILES.search(path):
                continue
            names.add(name)
            drop_ins = [one for place in _NETWORKD for one in files_in(tree, f"{place}/{name}.d", ".conf")]
            _network_file(tree, [path, *drop_ins], facts)


def _network_file(tree: Tree, paths: list[str], facts: Facts) -> None:
    names, dhcp, is_bound = [""], False, False
    where = paths[0]
    for path in paths:
        for section, key, value, evidence in _settings(tree, path, facts):
            if key == "DHCP" and (is_true(value) or value.lower() in ("ipv4", "both", "v4")):
                dhcp = True
                facts.dhcp.append(evidence)
            elif key == "Address" and value:
                facts.address(value, evidence)
            elif key in ("MACAddress", "PermanentMACAddress", "Path") and value and section in ("Match", "Link"):
                is_bound = True
                facts.bound.append(evidence)
            elif section == "Match" and key == "Name" and value:
                names, where = value.split(), evidence.where
    for name in names if not is_bound else ():
        facts.configured(name, where, dhcp=dhcp)


def read_links(tree: Tree, facts: Facts) -> None:
    """Read the .link files in /etc, which name cards."""
    for path in files_in(tree, _NETWORKD[0], ".link"):
        settings = list(_settings(tree, path, facts))
        named = any(section == "Link" and key == "Name" for section, key, _value, _evidence in settings)
        by = next(
            (
                evidence
                for section, key, _value, evidence in settings
                if section == "Match" and key in ("MACAddress", "PermanentMACAddress", "Path")
            ),
            None,
        )
        if named and by is not None:
            facts.renamed.append(by)


def read_network_manager(tree: Tree, facts: Facts) -> None:
    """Read the profiles of NetworkManager."""
    profiles = [path for directory in _KEYFILES for path in files_in(tree, directory)]
    for path in profiles:
        _profile(tree, path, facts)
    # Without profiles, NetworkManager creates one with DHCP for each card, unless that is disabled.
    if not profiles and not facts.static and makes_profiles(tree, facts):
        facts.dhcp.append(Evidence(what="NetworkManager without profiles uses DHCP", where=_KEYFILES[0]))
        facts.any_card = True


def _profile(tree: Tree, path: str, facts: Facts) -> None:
    settings = list(_settings(tree, path, facts))
    values = {(section, key): (value, evidence) for section, key, value, evidence in settings}

    def value_of(section: str, key: str, default: str = "") -> str:
        return values.get((section, key), (default, None))[0]

    if value_of("connection", "type") not in _WIRED or value_of("connection", "autoconnect", "true") == "false":
        return
    method = values.get(("ipv4", "method"))
    if method is None:
        method = "auto", Evidence(what="a profile without [ipv4] uses DHCP", where=path)
    dhcp = method[0] == "auto"
    (facts.dhcp if dhcp else facts.static if method[0] == "manual" else []).append(method[1])
    if value_of("ipv6", "method") == "manual":
        facts.static_ipv6.append(values["ipv6", "method"][1])
    bound = [
        evidence
        for section, key, value, evidence in settings
        if section in ("ethernet", "802-3-ethernet")
        and key in ("mac-address", "cloned-mac-address")
        and value
        and value.lower() not in _MADE_MAC
    ]
    bound += [evidence for section, key, value, evidence in settings if (section, key) == ("match", "path") and value]
    facts.bound += bound
    name = values.get(("connection", "interface-name")) or values.get(("match", "interface-name"))
    if not bound:
        facts.configured(name[0].rstrip(";") if name else "", name[1].where if name else path, dhcp=dhcp)


def makes_profiles(tree: Tree, facts: Facts) -> bool:
    """Return whether NetworkManager creates a profile with DHCP for a card without one."""
    paths = [
        "/etc/NetworkManager/NetworkManager.conf",
        *files_in(tree, "/usr/lib/NetworkManager/conf.d", ".conf"),
        *files_in(tree, "/etc/NetworkManager/conf.d", ".conf"),
    ]
    lines = (line.what for path in paths for line in lines_of(tree, path, facts))
    return not any(re.match(r"no-auto-default\s*=\s*\*", line) for line in lines)


def _settings(tree: Tree, path: str, facts: Facts) -> Iterator[tuple[str, str, str, Evidence]]:
    """Yield section, key, value and evidence of each line. The evidence in a keyfile includes the section."""
    section = ""
    is_keyfile = "NetworkManager" in path
    for line in lines_of(tree, path, facts):
        if line.what.startswith("["):
            section = line.what.strip("[]")
            continue
        key, _, value = (part.strip() for part in line.what.partition("="))
        yield section, key, value, replace(line, what=f"[{section}] {line.what}") if is_keyfile else line


def read_naming(tree: Tree, facts: Facts, arguments: str) -> bool | None:
    """Return whether udev names network cards by their slot unless net.ifnames=0 is set, or None if it is not known.

    systemd 197 introduced these names with a rule, and version 209 replaced it by another rule and 99-default.link.
    Debian 8 and Ubuntu 14.04 have these files, but use the older generator of rules unless net.ifnames=1 is set, and so
    do SLE and Leap before 16 (SUSE, support document 000020417).
    """
    rules = {name for place in _UDEV_PACKAGED for name in tree.names(place)}
    if not rules:
        return None if has_systemd(tree) else False
    if tree.names("/etc/runlevels") and not any(
        name.startswith("udev") for name in tree.names("/etc/runlevels/sysinit")
    ):
        return False  # OpenRC does not start udev, and mdev of BusyBox does not rename cards
    if _is_old_suse(tree) or (_GENERATOR in rules and not _is_masked(tree, f"{_UDEV}/{_GENERATOR}")):
        return "net.ifnames=1" in arguments.split()
    names = [name for name in _NAMING if name in rules and not _is_masked(tree, f"{_UDEV}/{name}")]
    return _NAMING[0] in names or (bool(names) and _links_by_place(tree, facts))


def _is_old_suse(tree: Tree) -> bool:
    release = read_os_release(tree)
    if release is None or not re.fullmatch(r"sle[sd]?([_-].*)?|suse|opensuse(-leap)?", release.id):
        return False
    major = release.version_id.split(".")[0]
    return not major.isdigit() or int(major) < 16 or int(major) == 42  # Leap 42 came before 15


def _links_by_place(tree: Tree, facts: Facts) -> bool:
    """Return whether no .link file in /etc gives all cards names that are not by their slot."""
    if _is_masked(tree, f"{_NETWORKD[0]}/99-default.link"):
        return False
    for path in files_in(tree, _NETWORKD[0], ".link"):
        settings = {(section, key): value for section, key, value, _evidence in _settings(tree, path, facts)}
        if any(settings.get(("Match", key)) for key in ("MACAddress", "PermanentMACAddress", "Path")):
            continue
        policy = settings.get(("Link", "NamePolicy"))
        if ("Link", "Name") in settings and not policy:
            return False
        if policy is not None:
            return any(name in policy.split() for name in ("onboard", "slot", "path", "mac"))
    return True


def _is_masked(tree: Tree, path: str) -> bool:
    return tree.has_name(path) and not (tree.text(path) or "").strip()


def read_rules(tree: Tree, facts: Facts) -> None:
    """Read the rules of udev, and the tables of older tools, that name a card with a certain address or slot."""
    for path in files_in(tree, _UDEV, ".rules"):
        for line in lines_of(tree, path, facts):
            names_a_card = re.search(r"\bNAME\s*:?=[^=]", line.what) and "net" in line.what
            if _RULE_MATCH.search(line.what) and (names_a_card or _PERSISTENT.search(path)):
                facts.renamed.append(replace(line, what=line.what[:200]))
    for path in ("/etc/iftab", "/etc/mactab"):
        for line in lines_of(tree, path, facts):
            if _MAC.search(line.what):
                facts.renamed.append(replace(line, what=line.what[:200]))
