"""Services, accounts and identity of a Linux system, as far as the checks need them."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.report import Accounts, Evidence, Firewall, Sshd
from aliyun_import.disk.reader import Missing

_UNIT_DIRECTORIES = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
# Directories of OpenRC, and of runit in Void.
_RUNLEVELS = ("/etc/runlevels/default", "/etc/runlevels/boot", "/etc/runit/runsvdir/default", "/var/service")
_SSHD_PROGRAMS = (
    "/usr/sbin/sshd",
    "/usr/bin/sshd",
    "/usr/local/sbin/sshd",
    "/usr/sbin/dropbear",
    "/run/current-system/sw/bin/sshd",
)
_SSHD_UNITS = ("ssh.service", "sshd.service", "ssh.socket", "sshd.socket", "dropbear.service")
_GUEST_AGENTS = ("/usr/bin/qemu-ga", "/usr/sbin/qemu-ga")
_MAX_INCLUDES = 64


def is_enabled(tree: Tree, unit: str) -> bool | None:
    """Return whether a unit, or a service with its name, is started at boot. None if it is not known.

    It is not known without systemd if the unit is not found. A masked unit (a link to /dev/null) is not enabled.
    """
    if is_masked(tree, unit):
        return False
    if {unit, unit.rsplit(".", 1)[0]} & _started(tree, _UNIT_DIRECTORIES):
        return True
    return False if has_systemd(tree) else None


def enabled_units(tree: Tree) -> tuple[str, ...]:
    """Return the names of the units that are enabled in /etc, and of the services that are started."""
    return tuple(sorted(name for name in _started(tree, _UNIT_DIRECTORIES[:1]) if not is_masked(tree, name)))


def _started(tree: Tree, directories: Sequence[str]) -> set[str]:
    """Return the units in .wants and .requires of the directories, and the services that are started at boot."""
    found: set[str] = set()
    for directory in directories:
        for name in tree.names(directory):
            if name.endswith((".wants", ".requires")):
                found.update(tree.names(f"{directory}/{name}"))
    for directory in _RUNLEVELS:
        found.update(tree.names(directory))
    for level in ("2", "3", "5", "S"):
        for directory in (f"/etc/rc{level}.d", f"/etc/rc.d/rc{level}.d"):
            found.update(name[3:] for name in tree.names(directory) if re.match(r"S\d\d", name))
    return found


def is_masked(tree: Tree, unit: str) -> bool:
    """Return whether a unit is a link to /dev/null, so that nothing starts it."""
    return tree.link(f"{_UNIT_DIRECTORIES[0]}/{unit}") == "/dev/null"


def has_systemd(tree: Tree) -> bool:
    """Return whether systemd is installed as the init system."""
    return any(
        tree.exists(path) for path in ("/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/run/current-system")
    )


def read_sshd(tree: Tree) -> Sshd:
    """Return the SSH server, and its configuration of root and ports. The first value of a keyword counts."""
    enabled = [is_enabled(tree, unit) for unit in _SSHD_UNITS]
    # If programs have other paths (NixOS), an enabled unit shows that one is installed.
    units = (unit for unit, state in zip(_SSHD_UNITS, enabled, strict=True) if state)
    program = next((path for path in _SSHD_PROGRAMS if tree.exists(path)), next(units, ""))
    permit_root: Evidence | None = None
    ports: list[Evidence] = []
    for where, words in _sshd_lines(tree, "/etc/ssh/sshd_config", set()):
        keyword = words[0].lower()
        if keyword == "match":
            break  # the rest applies to some connections only
        if keyword == "permitrootlogin" and permit_root is None:
            permit_root = Evidence(what=words[1].lower(), where=where)
        elif keyword == "port":
            ports.append(Evidence(what=words[1], where=where))
    keys = tuple(
        f"/etc/ssh/{name}" for name in tree.names("/etc/ssh") if re.fullmatch(r"ssh_host_\w+_key", name) is not None
    )
    return Sshd(
        where=program,
        enabled=True if True in enabled else None if None in enabled else False,
        permit_root=permit_root,
        ports=tuple(ports),
        host_keys=keys,
    )


def read_selinux(tree: Tree, arguments: str = "") -> Evidence | None:
    """Return the mode in which SELinux starts ("enforcing", ...), or None without a configuration.

    selinux=0 and enforcing= in the `arguments` of the kernel take precedence.
    """
    path = "/etc/selinux/config"
    for word in arguments.split():
        if word in ("selinux=0", "enforcing=0", "enforcing=1"):
            mode = {"selinux=0": "disabled", "enforcing=1": "enforcing"}.get(word, "permissive")
            return Evidence(what=mode, where="the kernel's arguments")
    for number, line in tree.lines(path):
        match = re.match(r"\s*SELINUX\s*=\s*(\w+)", line)
        if match:
            return Evidence(what=match[1].lower(), where=f"{path}:{number}")
    return None


def read_guest_agent(tree: Tree) -> Evidence | None:
    """Return the program of QEMU's guest agent, or None."""
    path = next((path for path in _GUEST_AGENTS if tree.exists(path)), None)
    return Evidence(what="qemu-ga", where=path) if path else None


def _sshd_lines(tree: Tree, path: str, done: set[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the lines of a configuration and of the files that it includes, in the order in which sshd reads them.

    A file or pattern that was read before is skipped, because only the first value of a keyword counts.
    """
    done.add(path)
    for number, line in tree.lines(path):
        words = line.replace("=", " ", 1).split()
        if len(words) < 2 or words[0].startswith("#"):
            continue
        if words[0].lower() != "include":
            yield f"{path}:{number}", words
            continue
        for pattern in words[1:]:
            if pattern in done or len(done) > _MAX_INCLUDES:
                continue
            done.add(pattern)
            for included in _matching(tree, pattern):
                if included not in done:
                    yield from _sshd_lines(tree, included, done)


def _matching(tree: Tree, pattern: str) -> list[str]:
    pattern = pattern if pattern.startswith("/") else f"/etc/ssh/{pattern}"
    directory, name = pattern.rsplit("/", 1)
    return [f"{directory}/{entry}" for entry in tree.names(directory) if fnmatchcase(entry, name)][:_MAX_INCLUDES]


_FIREWALL_UNITS = {
    "firewalld.service": "firewalld",
    "ufw.service": "ufw",
    "iptables.service": "iptables",
    "nftables.service": "nftables",
    "SuSEfirewall2.service": "SuSEfirewall2",
}
# The files with the rules of each firewall (the first one that exists counts), and the pattern of a rule that allows
# SSH. {zone} is the default zone of firewalld. Its file in /etc replaces the one of the package.
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
# A rule has some hundred characters. The time of the patterns can grow with the square of the length of a line.
_MAX_LINE_CHARS = 2000
# Rules that refuse nothing allow SSH, too, such as the default rules of nftables in Debian.
_REFUSES = re.compile(r"\b(drop|reject)\b", re.IGNORECASE)


def read_firewall(tree: Tree) -> tuple[Firewall, ...]:
    """Return the firewalls that start at boot. The unit of ufw is always enabled, so ENABLED in ufw.conf counts."""
    found = []
    for unit, name in _FIREWALL_UNITS.items():
        if not is_enabled(tree, unit):
            continue
        if name == "ufw" and not re.search(
            r"^ENABLED=[\"']?yes", tree.text("/etc/ufw/ufw.conf") or "", re.MULTILINE | re.IGNORECASE
        ):
            continue
        found.append(Firewall(name=name, where=unit, ssh=_ssh_rule(tree, name)))
    return tuple(found)


def _ssh_rule(tree: Tree, name: str) -> Evidence | None:
    places, pattern = _RULES[name]
    zone = _default_zone(tree)
    place = next((path for path in (place.format(zone=zone) for place in places) if tree.exists(path)), None)
    if place is None:
        return None
    lines = list(_lines(tree, place))
    for number, line in lines:
        if re.search(pattern, line):
            return Evidence(what=line[:200], where=f"{place}:{number}")
    if name in ("iptables", "nftables") and not any(_REFUSES.search(line) for _number, line in lines):
        return Evidence(what="it refuses nothing", where=place)
    return None


def _default_zone(tree: Tree) -> str:
    match = re.search(r"^DefaultZone=([\w-]+)", tree.text("/etc/firewalld/firewalld.conf") or "", re.MULTILINE)
    return match[1] if match else "public"


def _lines(tree: Tree, path: str) -> Iterator[tuple[int, str]]:
    for number, line in tree.lines(path):
        plain = line[:_MAX_LINE_CHARS].strip()
        if plain and not plain.startswith("#"):
            yield number, plain


_PASSWD_PROGRAMS = ("/usr/bin/passwd", "/bin/passwd")
_ISSUE_CHARS = 1000
_LIBRARIES = ("/lib", "/lib64")


def read_accounts(tree: Tree) -> Accounts:
    """Read /etc/passwd, /etc/shadow and the passwd command."""
    text = tree.text("/etc/passwd")
    root = None
    for number, line in enumerate((text or "").splitlines(), start=1):
        if line.startswith("root:"):
            root = Evidence(what=":".join(line.split(":")[:4]), where=f"/etc/passwd:{number}")
            break
    program = next((path for path in _PASSWD_PROGRAMS if tree.exists(path)), None)
    try:
        immutable = tree.node("/etc/shadow").immutable
    except Missing:
        immutable = False
    return Accounts(
        root=root,
        passwd=Evidence(what="passwd", where=program) if program else None,
        shadow_immutable=immutable,
        readable=text is not None,
    )


def read_absolute_lib_links(tree: Tree) -> tuple[Evidence, ...]:
    """Return /lib and /lib64 if they are absolute symbolic links."""
    links = ((path, tree.link(path)) for path in _LIBRARIES)
    return tuple(Evidence(what=f"{path} -> {to}", where=path) for path, to in links if to and to.startswith("/"))


def read_local_clock(tree: Tree) -> Evidence | None:
    """Return line 3 of /etc/adjtime if the hardware clock is in local time."""
    lines = (tree.text("/etc/adjtime") or "").splitlines()
    if len(lines) >= 3 and lines[2].strip() == "LOCAL":
        return Evidence(what="LOCAL", where="/etc/adjtime:3")
    return None


def read_machine_id(tree: Tree) -> Evidence | None:
    """Return the machine id, or None if it is empty or not initialized."""
    text = (tree.text("/etc/machine-id") or "").strip()
    if text and text != "uninitialized":
        return Evidence(what=text[:32], where="/etc/machine-id:1")
    return None


def read_issue(tree: Tree) -> str | None:
    """Return the beginning of /etc/issue, or None if it does not exist."""
    text = tree.text("/etc/issue")
    return None if text is None else text[:_ISSUE_CHARS]


# Field of GuestReport -> its name in `unknowns`, and the function that reads it. Facts that need more than the files of
# the system, such as the arguments of the kernel, are collected in `inspection`.
FACTS: Mapping[str, tuple[str, Callable[[Tree], Any]]] = MappingProxyType(
    {
        "sshd": ("the SSH server", read_sshd),
        "accounts": ("the accounts", read_accounts),
        "firewall": ("the firewall", read_firewall),
        "guest_agent": ("QEMU's guest agent", read_guest_agent),
        "absolute_lib_links": ("/lib", read_absolute_lib_links),
        "local_clock": ("/etc/adjtime", read_local_clock),
        "machine_id": ("/etc/machine-id", read_machine_id),
        "issue": ("/etc/issue", read_issue),
        "systemd": ("the init system", has_systemd),
    }
)
