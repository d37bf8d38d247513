"""Builder of small registry hives, after "Windows NT Registry File (REGF) format" of libregf."""

import struct
from collections.abc import Mapping

Value = str | int | tuple[str, ...]
Keys = Mapping[str, Mapping[str, Value]]
_STRING, _NUMBER, _STRINGS = 1, 4, 7


def hive(keys: Keys) -> bytes:
    """Build a hive with the given keys (paths with backslashes) and values; parent keys are added."""
    tree: dict[str, object] = {}
    for path in keys:
        node = tree
        for part in path.split("\\"):
            node = node.setdefault(part, {})  # type: ignore[assignment]
    writer = _Writer(keys)
    root = writer.key("ROOT", "", tree, parent=0, is_root=True)
    return writer.finish(root)


class _Writer:
    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._cells = bytearray(32)  # the header of the only bin is written last

    def _cell(self, data: bytes) -> int:
        """Add an allocated cell, and return its offset from the first bin."""
        at = len(self._cells)
        size = -(-(len(data) + 4) // 8) * 8
        self._cells += struct.pack("<i", -size) + data + bytes(size - 4 - len(data))
        return at

    def key(self, name: str, path: str, below: Mapping[str, object], *, parent: int, is_root: bool = False) -> int:
        """Add a key with its subkeys and values."""
        values = self._keys.get(path, {})
        value_list = self._cell(b"".join(struct.pack("<I", self._value(*item)) for item in values.items()))
        children = [
            (child, self.key(child, f"{path}\\{child}".lstrip("\\"), inner, parent=parent))  # type: ignore[arg-type]
            for child, inner in sorted(below.items(), key=lambda item: item[0].upper())
        ]
        leaves = b"".join(struct.pack("<I4s", at, child.encode()[:4]) for child, at in children)
        child_list = self._cell(b"lf" + struct.pack("<H", len(children)) + leaves)
        raw = name.encode("latin-1")
        flags = 0x20 | (0x0C if is_root else 0)
        return self._cell(
            b"nk"
            + struct.pack("<HQIIII", flags, 0, 0, parent, len(children), 0)
            + struct.pack("<II", child_list if children else 0xFFFFFFFF, 0xFFFFFFFF)
            + struct.pack("<II", len(values), value_list if values else 0xFFFFFFFF)
            + struct.pack("<II", 0xFFFFFFFF, 0xFFFFFFFF)
            + struct.pack("<IIIIIHH", 0, 0, 0, 0, 0, len(raw), 0)
            + raw
        )

    def _value(self, name: str, value: Value) -> int:
        raw = name.encode("latin-1")
        if isinstance(value, int):
            kind, size, data_or_offset = _NUMBER, 4 | 0x80000000, value
        else:
            kind = _STRING if isinstance(value, str) else _STRINGS
            text = value if isinstance(value, str) else "\0".join((*value, ""))
            data = (text + "\0").encode("utf-16-le")
            size, data_or_offset = len(data), self._cell(data)
        return self._cell(b"vk" + struct.pack("<HIIIHH", len(raw), size, data_or_offset, kind, 1, 0) + raw)

    def finish(self, root: int) -> bytes:
        """Return the hive with its headers."""
        size = -(-len(self._cells) // 4096) * 4096
        rest = size - len(self._cells)
        if rest:
            self._cells += struct.pack("<i", rest) + bytes(rest - 4)
        struct.pack_into("<4sIIQQI", self._cells, 0, b"hbin", 0, size, 0, 0, 0)
        header = bytearray(4096)
        struct.pack_into("<4sIIQIIIIII", header, 0, b"regf", 1, 1, 0, 1, 5, 0, 1, root, size)
        struct.pack_into("<I", header, 44, 1)
        checksum = 0
        for (word,) in struct.iter_unpack("<I", bytes(header[:508])):
            checksum ^= word
        struct.pack_into("<I", header, 508, checksum)
        return bytes(header) + bytes(self._cells)
