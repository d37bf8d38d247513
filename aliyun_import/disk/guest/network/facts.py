"""Facts about the network, collected from its configuration files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.report import Evidence

_MAX_FILES = 200
# Suffixes of files by editors and package managers, which the network tools do not read.
_IGNORED = re.compile(
    r"(~|\.(bak|old|orig|save|swp|rpmsave|rpmnew|rpmorig|augnew|augsave|dpkg-\w+|ucf-\w+|pacnew|pacsave))$"
)
# Interfaces that are not network cards of an instance: loopback, virtual and wireless ones.
_OTHER = re.compile(r"(lo\d*|docker\d*|virbr.*|veth.*|br-.*|tun.*|tap.*|dummy.*|wl.*|ww.*|wg.*)$")
# The name of the kernel for the first card, and patterns that match it.
_BY_KERNEL = re.compile(r"eth(0|\*|\?|\[[^\]]*\])\*?")
_COMBINED = re.compile(r"(bond|team).*")
# Names by the slot of a card (systemd, biosdevname), and names of the kernel for further cards.
_BY_PLACE = re.compile(r"(en|eth|ib|sl)[ospxbcdvXP][\w.]*|em\d+(_\d+)?|p\d+p\d+(_\d+)?|eth[1-9]\d*|vmnic\d+|net\d+")
# Text in the files that cloud-init writes again on each new instance.
_CLOUD_INIT = re.compile(r"(created by cloud-init|cloud-init|provided by\s+(the|cloud).*datasource)", re.IGNORECASE)
_HEAD_CHARS = 500


@dataclass(slots=True)
class Facts:
    """The facts while they are collected. `uses_network_manager`: NetworkManager is enabled."""

    uses_network_manager: bool
    dhcp: list[Evidence] = field(default_factory=list)
    static: list[Evidence] = field(default_factory=list)
    static_ipv6: list[Evidence] = field(default_factory=list)
    bound: list[Evidence] = field(default_factory=list)
    renamed: list[Evidence] = field(default_factory=list)
    names: list[Evidence] = field(default_factory=list)
    kernel_names: list[Evidence] = field(default_factory=list)
    cards: dict[str, Evidence] = field(default_factory=dict)
    any_card: bool = False
    written_by_cloud_init: set[str] = field(default_factory=set)

    def address(self, value: str, evidence: Evidence) -> None:
        """Add a fixed IPv4 or IPv6 address."""
        (self.static_ipv6 if value.count(":") > 1 else self.static).append(evidence)

    def card(self, name: str, where: str) -> None:
        """Add an interface that the boot brings up."""
        if not is_other(name) and not _COMBINED.match(name):
            self.cards.setdefault(name, Evidence(what=name, where=where))

    def configured(self, name: str, where: str, *, dhcp: bool) -> None:
        """Add the interface of a configuration. An empty name stands for any card.

        On ECS a pattern for any card matches, a name by the slot does not, and eth0 does if udev keeps this name.
        """
        if is_other(name):
            return
        card, evidence = name.split(".")[0].split(":")[0], Evidence(what=name, where=where)
        if _BY_PLACE.fullmatch(card):
            self.names.append(evidence)
        elif dhcp and _BY_KERNEL.fullmatch(card):
            self.kernel_names.append(evidence)
        elif dhcp:
            self.any_card = True

    def without_cloud_init_files(self, found: list[Evidence]) -> tuple[Evidence, ...]:
        """Return the evidence that is not from files that cloud-init writes again on each instance."""
        return tuple(one for one in found if one.where.rsplit(":", 1)[0] not in self.written_by_cloud_init)


def is_other(interface: str) -> bool:
    """Return whether an interface is not a network card of an instance."""
    return _OTHER.fullmatch(interface) is not None


def files_in(tree: Tree, directory: str, suffix: str = "") -> Iterator[str]:
    """Yield the files in a directory with a suffix, without those that network tools ignore."""
    for name in tree.names(directory)[:_MAX_FILES]:
        if name.endswith(suffix) and not name.startswith(".") and not _IGNORED.search(name):
            yield f"{directory}/{name}"


def lines_of(tree: Tree, path: str, facts: Facts) -> Iterator[Evidence]:
    """Yield the lines of a file without comments, and record whether cloud-init wrote the file."""
    if _CLOUD_INIT.search((tree.text(path) or "")[:_HEAD_CHARS]) or "cloud-init" in path:
        facts.written_by_cloud_init.add(path)
    for number, line in tree.lines(path):
        plain = line.strip()
        if plain and not plain.startswith(("#", ";")):
            yield Evidence(what=plain, where=f"{path}:{number}")


def is_true(value: str) -> bool:
    """Return whether a value is a common word for true."""
    return value.lower() in ("yes", "true", "on", "1", "y", "t")
