"""The services, accounts and identity of a Linux system, as far as they matter on ECS."""

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.report import Accounts, CloudInit, Evidence, Firewall, Sshd
from aliyun_import.disk.reader import Missing

_UNIT_DIRECTORIES = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
# OpenRC, and runit of Void.
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
    """Return whether a unit, or a service of its name, is started at boot; None without systemd if nothing shows it.

    A masked unit (a link to /dev/null) is not enabled.
    """
    if _is_masked(tree, unit):
        return False
    if {unit, unit.rsplit(".", 1)[0]} & _started(tree, _UNIT_DIRECTORIES):
        return True
    return False if has_systemd(tree) else None


def enabled_units(tree: Tree) -> tuple[str, ...]:
    """Return the names of all units and services that an administrator or an installer enabled."""
    return tuple(sorted(name for name in _started(tree, _UNIT_DIRECTORIES[:1]) if not _is_masked(tree, name)))


def _started(tree: Tree, directories: Sequence[str]) -> set[str]:
    """Return what is started at boot: units that a .wants or .requires of the directories has, and services."""
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


def _is_masked(tree: Tree, unit: str) -> bool:
    return tree.link(f"{_UNIT_DIRECTORIES[0]}/{unit}") == "/dev/null"


def has_systemd(tree: Tree) -> bool:
    """Return whether systemd is installed as the init system."""
    return any(
        tree.exists(path) for path in ("/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/run/current-system")
    )


def read_sshd(tree: Tree) -> Sshd:
    """Return the SSH server, and its configuration of root and ports: the first value of each wins."""
    enabled = [is_enabled(tree, unit) for unit in _SSHD_UNITS]
    # Where programs have other paths (NixOS), an enabled unit shows that there is one.
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
    """Return the mode in which SELinux starts ("enforcing", ...); None where there is no configuration of it.

    The kernel's `arguments` win: selinux=0, and enforcing=.
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
    """Return QEMU's guest agent."""
    path = next((path for path in _GUEST_AGENTS if tree.exists(path)), None)
    return Evidence(what="qemu-ga", where=path) if path else None


def _sshd_lines(tree: Tree, path: str, done: set[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the lines of a configuration, with the included files where they are included.

    A file or pattern that was read before is skipped: the first value of each keyword wins.
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
    """Return the firewalls that start at boot. ufw's unit is always enabled; its own switch counts."""
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
    """Return /lib and /lib64 if they are absolute links: below another root they lead out of the mounted disk."""
    links = ((path, tree.link(path)) for path in _LIBRARIES)
    return tuple(Evidence(what=f"{path} -> {to}", where=path) for path, to in links if to and to.startswith("/"))


def read_local_clock(tree: Tree) -> Evidence | None:
    """Return the evidence that the hardware clock is in local time: line 3 of /etc/adjtime."""
    lines = (tree.text("/etc/adjtime") or "").splitlines()
    if len(lines) >= 3 and lines[2].strip() == "LOCAL":
        return Evidence(what="LOCAL", where="/etc/adjtime:3")
    return None


def read_machine_id(tree: Tree) -> Evidence | None:
    """Return a machine id that every instance of the image would share."""
    text = (tree.text("/etc/machine-id") or "").strip()
    if text and text != "uninitialized":
        return Evidence(what=text[:32], where="/etc/machine-id:1")
    return None


def read_issue(tree: Tree) -> str | None:
    """Return the first lines of /etc/issue, by which older parts of the service recognise the distribution."""
    text = tree.text("/etc/issue")
    return None if text is None else text[:_ISSUE_CHARS]


_CLOUD_INIT_PROGRAMS = ("/usr/bin/cloud-init", "/usr/local/bin/cloud-init", "/bin/cloud-init")
# Newer versions are run by a generator or by units of other names.
_CLOUD_INIT_UNITS = (
    "cloud-init.service",
    "cloud-init-local.service",
    "cloud-init-main.service",
    "cloud-init-network.service",
    "cloud-config.service",
    "cloud-final.service",
)
_GENERATOR = "lib/systemd/system-generators/cloud-init-generator"
_GROWPART = ("/usr/bin/growpart", "/usr/sbin/growpart", "/bin/growpart")
# 1-5 MiB on servers.
_MAX_STATUS_BYTES = 16 << 20
_PYTHON_PLACES = ("/usr/lib", "/usr/local/lib", "/usr/lib64", "/usr/local/lib64")


def read_cloud_init(tree: Tree) -> CloudInit:
    """Return the facts of cloud-init; `where` is empty when it is absent."""
    program = next((path for path in _CLOUD_INIT_PROGRAMS if tree.exists(path)), "")
    growpart = any(tree.exists(path) for path in _GROWPART)
    if not program:
        return CloudInit(enabled=False, growpart=growpart)
    sources, sources_where = _sources(tree)
    return CloudInit(
        version=_version(tree),
        enabled=_enabled(tree),
        sources=sources,
        sources_where=sources_where,
        network_fixed=_network_fixed(tree),
        where=program,
        growpart=growpart,
    )


def _network_fixed(tree: Tree) -> str:
    """Return the line of cloud-init's configuration that disables or gives the network; the last file wins."""
    found = ""
    for path in _cloud_files(tree):
        text = tree.text(path) or ""
        match = re.search(r"^network:", text, re.MULTILINE)
        if match:
            found = f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
    return found


def _cloud_files(tree: Tree) -> list[str]:
    directory = "/etc/cloud/cloud.cfg.d"
    names = [f"{directory}/{name}" for name in tree.names(directory) if name.endswith(".cfg")]
    return ["/etc/cloud/cloud.cfg", *names]


def _enabled(tree: Tree) -> bool | None:
    if tree.exists("/etc/cloud/cloud-init.disabled"):
        return False
    states = [is_enabled(tree, unit) for unit in _CLOUD_INIT_UNITS]
    if True in states:
        return True
    generated = tree.exists(f"/usr/{_GENERATOR}") or tree.exists(f"/{_GENERATOR}")
    masked = any(_is_masked(tree, unit) for unit in _CLOUD_INIT_UNITS)
    if generated and not masked:
        return None  # the generator decides at boot
    return None if None in states else False


def _sources(tree: Tree) -> tuple[tuple[str, ...] | None, str]:
    """Return datasource_list, and the line that sets it; the last file wins, as in cloud-init."""
    found: tuple[tuple[str, ...] | None, str] = None, ""
    for path in _cloud_files(tree):
        text = re.sub(r"^[ \t]*#.*$", "", tree.text(path) or "", flags=re.MULTILINE)
        # Bounded, so that a text of many beginnings without an end is not searched once for each of them.
        match = re.search(
            r"^datasource_list:\s*\[(?P<inline>[^\]]{0,600})\]"
            r"|^datasource_list:[ \t]*\n(?P<block>(?:\s*-\s*\S+[ \t]*\n?)+)",
            text,
            re.MULTILINE,
        )
        if match:
            words = match["inline"].split(",") if match["inline"] is not None else match["block"].splitlines()
            names = tuple(word.strip(" -\n\t\"'") for word in words if word.strip())
            found = names, f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
    return found


def _version(tree: Tree) -> str:
    """Read the version from dpkg's status, or from the name of the installed Python package."""
    status = tree.text("/var/lib/dpkg/status", limit=_MAX_STATUS_BYTES) or ""
    match = re.search(r"^Package: cloud-init\n(?:.+\n){0,30}?Version: (\S+)", status, re.MULTILINE)
    if match:
        return re.sub(r"^\d+:|-[^-]*$", "", match[1])
    for place in _PYTHON_PLACES:
        for python in tree.names(place):
            if not python.startswith("python"):
                continue
            for packages in ("site-packages", "dist-packages"):
                for name in tree.names(f"{place}/{python}/{packages}"):
                    found = re.match(r"cloud_init-([\w.+!]+?)(?:-py[\d.]+)?\.(?:dist|egg)-info", name)
                    if found:
                        return found[1]
    return ""
