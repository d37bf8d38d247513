"""The facts that the network's configuration is read for, and the files in which it is."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.report import Evidence

_MAX_FILES = 200
# Files that editors and package managers leave, which the tools do not read.
_IGNORED = re.compile(
    r"(~|\.(bak|old|orig|save|swp|rpmsave|rpmnew|rpmorig|augnew|augsave|dpkg-\w+|ucf-\w+|pacnew|pacsave))$"
)
# Interfaces that are none of the instance's, and those that are made of others.
_OTHER = re.compile(r"(lo\d*|docker\d*|virbr.*|veth.*|br-.*|tun.*|tap.*|dummy.*|wl.*|ww.*|wg.*)$")
# The first card by the name that the kernel gives, and patterns of such names.
_BY_KERNEL = re.compile(r"eth(0|\*|\?|\[[^\]]*\])\*?")
_MADE = re.compile(r"(bond|team).*")
# Names by the place of a card (systemd, biosdevname), and cards that the kernel counts behind the first.
_BY_PLACE = re.compile(r"(en|eth|ib|sl)[ospxbcdvXP][\w.]*|em\d+(_\d+)?|p\d+p\d+(_\d+)?|eth[1-9]\d*|vmnic\d+|net\d+")
# What cloud-init writes into the files that it makes anew on each new instance.
_CLOUD_INIT = re.compile(r"(created by cloud-init|cloud-init|provided by\s+(the|cloud).*datasource)", re.IGNORECASE)
_HEAD_CHARS = 500


@dataclass(slots=True)
class Facts:
    """The evidence while it is collected. `by_manager`: NetworkManager is enabled."""

    by_manager: bool
    dhcp: list[Evidence] = field(default_factory=list)
    static: list[Evidence] = field(default_factory=list)
    static_ipv6: list[Evidence] = field(default_factory=list)
    bound: list[Evidence] = field(default_factory=list)
    renamed: list[Evidence] = field(default_factory=list)
    names: list[Evidence] = field(default_factory=list)
    kernel_names: list[Evidence] = field(default_factory=list)
    cards: dict[str, Evidence] = field(default_factory=dict)
    any_card: bool = False
    made_by_cloud_init: set[str] = field(default_factory=set)

    def address(self, value: str, evidence: Evidence) -> None:
        """Add a fixed address to those of its kind."""
        (self.static_ipv6 if value.count(":") > 1 else self.static).append(evidence)

    def card(self, name: str, where: str) -> None:
        """Add an interface that the boot brings up."""
        if not is_other(name) and not _MADE.match(name):
            self.cards.setdefault(name, Evidence(what=name, where=where))

    def configured(self, name: str, where: str, *, dhcp: bool) -> None:
        """Add the interface that a configuration is for. An empty name stands for any card.

        A pattern of any card is right on ECS, a name by the place of a card is not, and eth0 is where udev keeps it.
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

    def of_the_image(self, found: list[Evidence]) -> tuple[Evidence, ...]:
        """Return the evidence without that from files that cloud-init makes anew on each instance."""
        return tuple(one for one in found if one.where.rsplit(":", 1)[0] not in self.made_by_cloud_init)


def is_other(interface: str) -> bool:
    """Return whether an interface is none of the instance's network cards."""
    return _OTHER.fullmatch(interface) is not None


def files_in(tree: Tree, directory: str, suffix: str = "") -> Iterator[str]:
    """Yield the files of a directory with a suffix, without those that the tools ignore."""
    for name in tree.names(directory)[:_MAX_FILES]:
        if name.endswith(suffix) and not name.startswith(".") and not _IGNORED.search(name):
            yield f"{directory}/{name}"


def lines_of(tree: Tree, path: str, facts: Facts) -> Iterator[Evidence]:
    """Yield the lines of a file, without comments."""
    if _CLOUD_INIT.search((tree.text(path) or "")[:_HEAD_CHARS]) or "cloud-init" in path:
        facts.made_by_cloud_init.add(path)
    for number, line in tree.lines(path):
        plain = line.strip()
        if plain and not plain.startswith(("#", ";")):
            yield Evidence(what=plain, where=f"{path}:{number}")


def is_true(value: str) -> bool:
    """Return whether a value is one of the usual words for true."""
    return value.lower() in ("yes", "true", "on", "1", "y", "t")
