"""This file reads as much YAML as netplan's files consist of: keys by their indentation, scalars, lists, short maps.

Anything else of YAML (anchors, quoted keys, multi-line strings) is passed over: a key that is not read says nothing.
"""

import re
from dataclasses import dataclass, field

_MAX_LINES = 20_000
# Netplan's own files are five deep, and a line of theirs is a sentence; what exceeds these is made to cost time.
_MAX_DEPTH, _MAX_LINE_CHARS = 20, 4096
_KEY = re.compile(r"(?P<indent> *)(?P<name>[\w.*/-]+|\"[^\"]+\"|'[^']+'):(?:\s+(?P<value>.*))?$")
_SHORT = re.compile(r"([\w-]+):\s*(\[[^\]]*\]|[^,}]+)")


@dataclass(slots=True)
class Key:
    """A key with its path from the top, its own name last, the line that it stands in, and the values of it."""

    path: tuple[str, ...]
    line: int
    text: str
    values: list[str] = field(default_factory=list)
    below: list[str] = field(default_factory=list)


def read_keys(text: str) -> list[Key]:
    """Give all keys in the order of the file."""
    keys: list[Key] = []
    above: list[tuple[int, Key]] = []
    for number, raw in enumerate(text.splitlines()[:_MAX_LINES], start=1):
        line = re.sub(r"(^|\s)#.*$", "", raw[:_MAX_LINE_CHARS]).rstrip()
        item = re.match(r"\s*-\s+(?P<value>\S.*)$", line)
        match = _KEY.match(line)
        if item and above:
            above[-1][1].values.append(_scalar(item["value"]))
        elif match:
            indent = len(match["indent"])
            while above and above[-1][0] >= indent:
                above.pop()
            if len(above) >= _MAX_DEPTH:
                continue
            key = _key(match["name"].strip("\"'"), above, number, line.strip())
            keys.append(key)
            above.append((indent, key))
            keys += _values(key, match["value"] or "")
    return keys


def _key(name: str, above: list[tuple[int, Key]], line: int, text: str) -> Key:
    parent = above[-1][1] if above else None
    if parent is not None:
        parent.below.append(name)
    return Key((*parent.path, name) if parent else (name,), line, text)


def _values(key: Key, value: str) -> list[Key]:
    """Take what stands behind the colon; the keys of a short map, {a: b}, are given."""
    if value.startswith("{"):
        found = []
        for name, inner in _SHORT.findall(value):
            short = Key((*key.path, name), key.line, key.text)
            short.values = _listed(inner)
            key.below.append(name)
            found.append(short)
        return found
    key.values += _listed(value)
    return []


def _listed(value: str) -> list[str]:
    if value.startswith("["):
        return [_scalar(part) for part in value.strip("[]").split(",") if part.strip()]
    return [_scalar(value)] if value.strip() else []


def _scalar(value: str) -> str:
    return value.strip().strip("\"'").lower()
