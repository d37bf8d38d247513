"""This file finds out whether a Linux system lets the import and a person in: accounts, links, clock, identity."""

import re

from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.report import Accounts, CloudInit, Evidence
from aliyun_import.disk.guest.services import is_enabled
from aliyun_import.disk.io.reader import Missing

_PASSWD_PROGRAMS = ("/usr/bin/passwd", "/bin/passwd")
_ISSUE_CHARS = 1000
_LIBRARIES = ("/lib", "/lib64")


def read_accounts(tree: Tree) -> Accounts:
    """Look at /etc/passwd, /etc/shadow and the passwd command."""
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
    """Find /lib and /lib64 as absolute links: who mounts the disk below another root follows them to its own."""
    links = ((path, tree.link(path)) for path in _LIBRARIES)
    return tuple(Evidence(what=f"{path} -> {to}", where=path) for path, to in links if to and to.startswith("/"))


def read_local_clock(tree: Tree) -> Evidence | None:
    """Find out whether the system believes the hardware clock to be in local time: line 3 of /etc/adjtime."""
    lines = (tree.text("/etc/adjtime") or "").splitlines()
    if len(lines) >= 3 and lines[2].strip() == "LOCAL":
        return Evidence(what="LOCAL", where="/etc/adjtime:3")
    return None


def read_machine_id(tree: Tree) -> Evidence | None:
    """Find a machine id that every instance of the image would share."""
    text = (tree.text("/etc/machine-id") or "").strip()
    if text and text != "uninitialized":
        return Evidence(what=text[:32], where="/etc/machine-id:1")
    return None


def read_issue(tree: Tree) -> str | None:
    """Give the first lines of /etc/issue, by which older parts of the service tell the distribution."""
    text = tree.text("/etc/issue")
    return None if text is None else text[:_ISSUE_CHARS]


_PROGRAMS = ("/usr/bin/cloud-init", "/usr/local/bin/cloud-init", "/bin/cloud-init")
# Newer versions are run by a generator or by units of other names.
_UNITS = (
    "cloud-init.service",
    "cloud-init-local.service",
    "cloud-init-main.service",
    "cloud-init-network.service",
    "cloud-config.service",
    "cloud-final.service",
)
_UNIT_DIRECTORIES = ("/usr/lib/systemd/system", "/lib/systemd/system", "/etc/systemd/system")
_GENERATOR = "lib/systemd/system-generators/cloud-init-generator"
_GROWPART = ("/usr/bin/growpart", "/usr/sbin/growpart", "/bin/growpart")
# 1-5 MiB on servers.
_MAX_STATUS_BYTES = 16 << 20
_PYTHON_PLACES = ("/usr/lib", "/usr/local/lib", "/usr/lib64", "/usr/local/lib64")


def read_cloud_init(tree: Tree) -> CloudInit:
    """Look for cloud-init; `where` is empty when it is not there."""
    program = next((path for path in _PROGRAMS if tree.exists(path)), "")
    growpart = any(tree.exists(path) for path in _GROWPART)
    if not program:
        return CloudInit(enabled=False, growpart=growpart)
    sources, sources_where = _sources(tree)
    return CloudInit(
        version=_version(tree),
        enabled=_enabled(tree),
        sources=sources,
        sources_where=sources_where,
        where=program,
        growpart=growpart,
    )


def _enabled(tree: Tree) -> bool | None:
    if tree.exists("/etc/cloud/cloud-init.disabled"):
        return False
    states = [is_enabled(tree, unit) for unit in _UNITS]
    if True in states:
        return True
    generated = tree.exists(f"/usr/{_GENERATOR}") or tree.exists(f"/{_GENERATOR}")
    masked = any(tree.link(f"/etc/systemd/system/{unit}") == "/dev/null" for unit in _UNITS)
    if generated and not masked:
        return None  # the generator decides at boot
    return None if None in states else False


def _sources(tree: Tree) -> tuple[tuple[str, ...] | None, str]:
    """Read datasource_list, and the line that sets it; the file read last wins, as in cloud-init."""
    found: tuple[tuple[str, ...] | None, str] = None, ""
    directory = "/etc/cloud/cloud.cfg.d"
    for path in (
        "/etc/cloud/cloud.cfg",
        *(f"{directory}/{name}" for name in tree.names(directory) if name.endswith(".cfg")),
    ):
        text = re.sub(r"^[ \t]*#.*$", "", tree.text(path) or "", flags=re.MULTILINE)
        # Bounded, so that a text of many beginnings without an end is not walked once for each of them.
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
