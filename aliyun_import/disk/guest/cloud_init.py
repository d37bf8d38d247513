"""cloud-init in a Linux system: whether it starts, and what configures it."""

import re

from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.report import CloudInit
from aliyun_import.disk.guest.services import is_enabled, is_masked

_PROGRAMS = ("/usr/bin/cloud-init", "/usr/local/bin/cloud-init", "/bin/cloud-init")
# Newer versions are started by a generator, or have units with other names.
_UNITS = (
    "cloud-init.service",
    "cloud-init-local.service",
    "cloud-init-main.service",
    "cloud-init-network.service",
    "cloud-config.service",
    "cloud-final.service",
)
_GENERATOR = "lib/systemd/system-generators/cloud-init-generator"
_GROWPART = ("/usr/bin/growpart", "/usr/sbin/growpart", "/bin/growpart")
# The status file of dpkg has 1-5 MiB on servers.
_MAX_STATUS_BYTES = 16 << 20
_PYTHON_PLACES = ("/usr/lib", "/usr/local/lib", "/usr/lib64", "/usr/local/lib64")


def read_cloud_init(tree: Tree) -> CloudInit:
    """Return the facts about cloud-init. `where` is empty if it is not installed."""
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
        network_fixed=_network_fixed(tree),
        where=program,
        growpart=growpart,
    )


def _network_fixed(tree: Tree) -> str:
    """Return the line in the configuration of cloud-init that disables or defines the network. The last file counts."""
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
    states = [is_enabled(tree, unit) for unit in _UNITS]
    if True in states:
        return True
    generated = tree.exists(f"/usr/{_GENERATOR}") or tree.exists(f"/{_GENERATOR}")
    masked = any(is_masked(tree, unit) for unit in _UNITS)
    if generated and not masked:
        return None  # the generator decides at boot
    return None if None in states else False


def _sources(tree: Tree) -> tuple[tuple[str, ...] | None, str]:
    """Return datasource_list, and the line that sets it. As in cloud-init, the last file counts."""
    found: tuple[tuple[str, ...] | None, str] = None, ""
    for path in _cloud_files(tree):
        text = re.sub(r"^[ \t]*#.*$", "", tree.text(path) or "", flags=re.MULTILINE)
        # The length is limited: a text with many "datasource_list: [" and no "]" would be searched to its end for each.
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
    """Return the version of cloud-init in the status of dpkg, or in the name of the installed Python package."""
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
