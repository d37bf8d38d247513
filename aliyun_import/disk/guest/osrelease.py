"""This file finds out which distribution and which processor a Linux system is for."""

import re
import shlex
import struct
from dataclasses import dataclass

from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.report import OsRelease
from aliyun_import.disk.io.reader import Missing
from aliyun_import.model.request import Architecture

_PLACES = ("/etc/os-release", "/usr/lib/os-release")
# Systems from before os-release: CentOS and Red Hat 6, SUSE 11, Debian 6. File, pattern of its first line, ID.
_OLD = (
    ("/etc/centos-release", r"CentOS.* release (?P<version>[\d.]+)", "centos"),
    ("/etc/redhat-release", r"CentOS.* release (?P<version>[\d.]+)", "centos"),
    ("/etc/redhat-release", r"Red Hat.* release (?P<version>[\d.]+)", "rhel"),
    ("/etc/SuSE-release", r"openSUSE (?P<version>[\d.]+)", "opensuse"),
    ("/etc/SuSE-release", r"SUSE Linux Enterprise.* (?P<version>\d+)", "sles"),
    ("/etc/debian_version", r"(?P<version>\d+)", "debian"),
)
# Programs that every system has one of; the first that is there tells the processor.
_PROGRAMS = ("/bin/sh", "/usr/bin/env", "/sbin/init", "/usr/lib/systemd/systemd", "/bin/busybox")
# e_machine of the ELF header.
_MACHINES = {
    3: "i386",
    62: "x86-64",
    183: "aarch64",
    40: "arm",
    21: "ppc64",
    22: "s390x",
    243: "riscv",
    258: "loongarch",
}
_ARCHITECTURES = {3: Architecture.I386, 62: Architecture.X86_64, 183: Architecture.ARM64}


def read_os_release(tree: Tree) -> OsRelease | None:
    """Read os-release, or what older systems had instead; None when there is neither."""
    for place in _PLACES:
        text = tree.text(place)
        fields = parse_os_release(text) if text is not None else {}
        if fields.get("ID") or fields.get("NAME"):
            return OsRelease(
                id=fields.get("ID", "").lower(),
                id_like=tuple(fields.get("ID_LIKE", "").lower().split()),
                name=fields.get("NAME", ""),
                version_id=fields.get("VERSION_ID", ""),
                pretty_name=fields.get("PRETTY_NAME", ""),
                variant_id=fields.get("VARIANT_ID", ""),
                where=place,
            )
    return _old_release(tree)


def parse_os_release(text: str) -> dict[str, str]:
    """Give the assignments of an os-release file, unquoted as a shell would."""
    fields = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if not equals or name.startswith("#"):
            continue
        try:
            fields[name] = " ".join(shlex.split(value))
        except ValueError:  # a quote that is not closed
            fields[name] = value.strip("\"'")
    return fields


@dataclass(frozen=True, slots=True)
class Machine:
    """The processor that programs are for: its usual name, and the service's (None: it has none). Empty: not known."""

    name: str = ""
    architecture: Architecture | None = None


def read_machine(tree: Tree) -> Machine:
    """Tell by the ELF header of the shell, or of another program that every system has, what they are for."""
    for path in _PROGRAMS:
        try:
            head = tree.open(path).pread(0, 20)
        except Missing:
            continue
        if len(head) == 20 and head[:4] == b"\x7fELF":
            (number,) = struct.unpack_from("<H" if head[5] == 1 else ">H", head, 18)
            return Machine(_MACHINES.get(number, f"ELF machine {number}"), _ARCHITECTURES.get(number))
    return Machine()


def _old_release(tree: Tree) -> OsRelease | None:
    for place, pattern, name in _OLD:
        text = tree.text(place)
        match = re.match(pattern, text) if text else None
        if text and match:
            first = text.splitlines()[0]
            return OsRelease(id=name, name=first, pretty_name=first, version_id=match["version"], where=place)
    return None
