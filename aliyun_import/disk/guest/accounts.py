"""This file finds out whether a Linux system lets the import and a person in: accounts, links, clock, identity."""

from aliyun_import.disk.guest_report import Accounts, Sighting
from aliyun_import.disk.reader import Missing
from aliyun_import.disk.tree import Tree

_PASSWD_PROGRAMS = ("/usr/bin/passwd", "/bin/passwd")
_ISSUE_CHARS = 1000
_LIBRARIES = ("/lib", "/lib64")


def read_accounts(tree: Tree) -> Accounts:
    """Look at /etc/passwd, /etc/shadow and the passwd command."""
    text = tree.text("/etc/passwd")
    root = None
    for number, line in enumerate((text or "").splitlines(), start=1):
        if line.startswith("root:"):
            root = Sighting(what=":".join(line.split(":")[:4]), where=f"/etc/passwd:{number}")
            break
    program = next((path for path in _PASSWD_PROGRAMS if tree.exists(path)), None)
    try:
        immutable = tree.node("/etc/shadow").immutable
    except Missing:
        immutable = False
    return Accounts(
        root=root,
        passwd=Sighting(what="passwd", where=program) if program else None,
        shadow_immutable=immutable,
        readable=text is not None,
    )


def read_absolute_lib_links(tree: Tree) -> tuple[Sighting, ...]:
    """Find /lib and /lib64 as absolute links: who mounts the disk below another root follows them to its own."""
    links = ((path, tree.link(path)) for path in _LIBRARIES)
    return tuple(Sighting(what=f"{path} -> {to}", where=path) for path, to in links if to and to.startswith("/"))


def read_local_clock(tree: Tree) -> Sighting | None:
    """Find out whether the system believes the hardware clock to be in local time: line 3 of /etc/adjtime."""
    lines = (tree.text("/etc/adjtime") or "").splitlines()
    if len(lines) >= 3 and lines[2].strip() == "LOCAL":
        return Sighting(what="LOCAL", where="/etc/adjtime:3")
    return None


def read_machine_id(tree: Tree) -> Sighting | None:
    """Find a machine id that every instance of the image would share."""
    text = (tree.text("/etc/machine-id") or "").strip()
    if text and text != "uninitialized":
        return Sighting(what=text[:32], where="/etc/machine-id:1")
    return None


def read_issue(tree: Tree) -> str | None:
    """Give the first lines of /etc/issue, by which older parts of the service tell the distribution."""
    text = tree.text("/etc/issue")
    return None if text is None else text[:_ISSUE_CHARS]
