"""Files of netplan, and the network section in the configuration of cloud-init."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.network.facts import Facts, files_in, lines_of
from aliyun_import.disk.guest.report import Evidence

if TYPE_CHECKING:
    from yaml import Event

# Files of netplan have some KiB and five levels.
_MAX_YAML_CHARS, _MAX_YAML_EVENTS, _MAX_YAML_KEYS, _MAX_YAML_DEPTH = 256 << 10, 40_000, 10_000, 20
_MAX_LINE_CHARS = 4096
_DIRECTORIES = ("/etc/netplan", "/run/netplan", "/lib/netplan", "/usr/lib/netplan")
_KINDS = ("ethernets", "bonds", "bridges", "vlans", "wifis")


@dataclass(slots=True)
class _Card:
    """A card in a file: the names by which it is matched, and whether it uses DHCP."""

    where: str
    names: tuple[str, ...] = ()
    dhcp: bool = False
    is_matched: bool = False
    is_bound: bool = False


def read_netplan(tree: Tree, facts: Facts) -> None:
    """Read all files of netplan."""
    for directory in _DIRECTORIES:
        for path in files_in(tree, directory, ".yaml"):
            read_network_yaml(tree, path, facts)


def read_network_yaml(tree: Tree, path: str, facts: Facts) -> None:
    """Read a file in the format of netplan, which cloud-init uses, too."""
    list(lines_of(tree, path, facts))  # records whether cloud-init wrote it
    keys, cards, found = read_yaml_keys(tree.text(path) or ""), dict(facts.cards), dict[str, _Card]()
    for key in keys:
        at = next((at for at, part in enumerate(key.path[:-1]) if part in _KINDS), None)
        if at is not None:
            _key(key, f"{path}:{key.line}", key.path[at], key.path[at + 1], key.path[at + 2 :], facts, found)
    for name, card in found.items():
        for match in card.names or ((name,) if not card.is_matched else ("",)) if not card.is_bound else ():
            facts.configured(match, card.where, dhcp=card.dhcp)
    if any(key.path[-1] == "renderer" and key.values == ("networkmanager",) for key in keys):
        facts.cards = cards  # NetworkManager does not wait for a missing card


def _key(
    key: "_Key", where: str, kind: str, name: str, rest: tuple[str, ...], facts: Facts, found: dict[str, _Card]
) -> None:
    on = key.values[:1] in (("true",), ("yes",), ("on",))
    evidence = Evidence(what=key.text, where=where)
    card = found.setdefault(f"{kind}/{name}", _Card(where=where, names=(name,))) if kind != "wifis" else _Card(where)
    if kind == "ethernets" and not rest:
        facts.card(name, where)
    if kind == "ethernets" and (rest == ("match",) or (rest == ("optional",) and on)):
        facts.cards.pop(name, None)  # the boot does not wait for an optional card, and a match may be for any card
    if rest == ("match",):
        card.names, card.is_matched = (), True
    else:
        _setting(rest, key.values, evidence, card, facts)


def _setting(rest: tuple[str, ...], values: tuple[str, ...], evidence: Evidence, card: _Card, facts: Facts) -> None:
    if rest == ("match", "name"):
        card.names = values
    elif rest in (("match", "macaddress"), ("macaddress",)):
        card.is_bound = True
        facts.bound.append(evidence)
    elif rest == ("dhcp4",) and values[:1] in (("true",), ("yes",), ("on",)):
        card.dhcp = True
        facts.dhcp.append(evidence)
    elif rest == ("addresses",):
        for value in values:
            facts.address(value, evidence)


@dataclass(frozen=True, slots=True)
class _Key:
    """A key of a YAML file: the names from the top down to the key, the number and text of its line, its values."""

    path: tuple[str, ...]
    line: int
    text: str
    values: tuple[str, ...]


# A node of a YAML file: a scalar, a list, or (key, line, value) of each key of a map.
_Yaml = str | list["_Yaml"] | tuple[tuple[str, int, "_Yaml"], ...]


def read_yaml_keys(text: str) -> list[_Key]:
    """Return the keys of a YAML file in their order, and the keys of an aliased map at each alias.

    A file that is not valid YAML or exceeds the limits has no keys; netplan refuses invalid YAML, too. libyaml reports
    events one by one, so the limits also apply to deep nesting and to aliases of aliases (10 lines can stand for 10^9
    values).
    """
    if len(text) > _MAX_YAML_CHARS:
        return []
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        events = islice(yaml.parse(text, Loader=loader), _MAX_YAML_EVENTS)
        roots = [_node(event, events, {}, depth=0) for event in events if isinstance(event, yaml.NodeEvent)]
    except (yaml.YAMLError, StopIteration):
        return []
    lines = text.splitlines()
    found = (key for root in roots for key in _keys(root, (), lines))
    return list(islice(found, _MAX_YAML_KEYS))


def _node(event: "Event", events: "Iterator[Event]", anchors: dict[str, _Yaml], *, depth: int) -> _Yaml:
    """Return the node that begins with an event. Raises StopIteration at the end of the events, or if too deep."""
    import yaml

    if depth > _MAX_YAML_DEPTH:
        raise StopIteration
    if isinstance(event, yaml.AliasEvent):
        return anchors.get(event.anchor or "", "")  # empty for an alias within its own node
    node: _Yaml = ""
    if isinstance(event, yaml.ScalarEvent):
        node = event.value
    elif isinstance(event, yaml.SequenceStartEvent):
        items: list[_Yaml] = []
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            items.append(_node(item, events, anchors, depth=depth + 1))
        node = items
    elif isinstance(event, yaml.MappingStartEvent):
        pairs: list[tuple[str, int, _Yaml]] = []
        while not isinstance(name := next(events), yaml.MappingEndEvent):
            key = _node(name, events, anchors, depth=depth + 1)
            value = _node(next(events), events, anchors, depth=depth + 1)
            line = name.start_mark.line if name.start_mark else 0
            pairs.append((key if isinstance(key, str) else "", line, value))
        node = tuple(pairs)
    if isinstance(event, yaml.NodeEvent) and event.anchor:
        anchors[event.anchor] = node
    return node


def _keys(node: _Yaml, path: tuple[str, ...], lines: list[str]) -> Iterator[_Key]:
    if not isinstance(node, tuple) or len(path) > _MAX_YAML_DEPTH:
        return
    for name, line, value in node:
        text = re.sub(r"(^|\s)#.*$", "", lines[line][:_MAX_LINE_CHARS]).strip()
        items = value if isinstance(value, list) else [value]
        # An address may be a map with one key, whose value has its options.
        values = (item[0][0] if isinstance(item, tuple) and item else item for item in items[:_MAX_YAML_KEYS])
        plain = tuple(one.lower() for one in values if isinstance(one, str) and one)
        yield _Key((*path, name), line + 1, text, () if isinstance(value, tuple) else plain)
        yield from _keys(value, (*path, name), lines)
