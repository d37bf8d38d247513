"""LVM2: the metadata of a physical volume, and readers of its linear logical volumes.

Only volumes in linear segments of this physical volume are read; installers create these. Stripes, mirrors, RAID, thin
pools, caches, snapshots and volumes on several physical volumes are Unsupported.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from aliyun_import.disk.reader import Bad, Missing, PiecewiseReader, Reader, Unsupported, read_exactly

_SECTOR = 512
_AREA_MAGIC = b" LVM2 x[5A%r0N*>"
_AREA_HEADER_BYTES = 512
# The metadata of a volume group with hundreds of volumes has about 100 KiB.
_MAX_TEXT_BYTES = 4 << 20
_MAX_TOKENS = 400_000
_MAX_DEPTH = 12
_MAX_VOLUMES = 256
_MAX_SEGMENTS = 10_000
# The possessive repetitions (*+) do not backtrack. With plain ones, a string of 4 MiB takes half a GiB to match.
_TOKEN = re.compile(r'\s+|#[^\n]*|("(?:[^"\\]|\\.)*+"|[A-Za-z0-9_.+/-]+|[={}\[\],])')

Value = str | int | float | list["Value"] | dict[str, "Value"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A range of a logical volume: `size` bytes at `start`, stored at `position` of the physical volume."""

    start: int
    size: int
    position: int


@dataclass(frozen=True, slots=True)
class LogicalVolume:
    """A logical volume. `reason` is a predicate with the reason why it can't be read, empty if it can."""

    name: str
    size_bytes: int
    segments: tuple[Segment, ...]
    reason: str = ""

    def open(self, physical: Reader) -> "LinearReader":
        """Return a reader of the volume. Raises Unsupported if it is not linear."""
        if self.reason:
            raise Unsupported(f"the logical volume {self.name} {self.reason}")
        return LinearReader(physical, self)


@dataclass(frozen=True, slots=True)
class VolumeGroup:
    """A volume group, from the metadata of one of its physical volumes."""

    name: str
    volumes: tuple[LogicalVolume, ...]


class LinearReader(PiecewiseReader):
    """A Reader of a linear logical volume."""

    def __init__(self, physical: Reader, volume: LogicalVolume) -> None:
        super().__init__(volume.size_bytes)
        self._physical, self._segments = physical, volume.segments

    def _piece(self, offset: int, length: int) -> bytes:
        for segment in self._segments:
            within = offset - segment.start
            if 0 <= within < segment.size:
                return self._physical.pread(segment.position + within, min(length, segment.size - within))
        return b""


def read_volume_group(physical: Reader) -> VolumeGroup:
    """Read the volume group of a physical volume. Raises Bad, Unsupported or Missing."""
    text, own_uuid = _metadata(physical)
    parsed = parse_metadata(text)
    name, group = next(((key, value) for key, value in parsed.items() if isinstance(value, dict)), ("", None))
    if not isinstance(group, dict):
        raise Bad("the LVM metadata have no volume group")
    own, extent_bytes, first_extent_at = _physical(group, own_uuid)
    volumes = []
    for volume_name, volume in list(_section(group, "logical_volumes", optional=True).items())[:_MAX_VOLUMES]:
        if isinstance(volume, dict) and not _is_hidden(volume):
            volumes.append(_logical(volume_name, volume, own, extent_bytes=extent_bytes, at=first_extent_at))
    return VolumeGroup(name, tuple(volumes))


def parse_metadata(text: str) -> dict[str, Value]:
    """Parse the text format of LVM: `name = value`, `name { ... }`, lists in brackets, comments after #."""
    tokens = _tokens(text)
    return _block(tokens, depth=0)


def _metadata(physical: Reader) -> tuple[str, str]:
    """Return the text of the first metadata area with one, and the UUID, by the label in the first four sectors."""
    for sector in range(4):
        label = physical.pread(sector * _SECTOR, _SECTOR)
        if label[:8] == b"LABELONE" and label[24:32] == b"LVM2 001":
            break
    else:
        raise Missing("there is no LVM label")
    (header_at,) = struct.unpack_from("<I", label, 20)
    if not 32 <= header_at <= _SECTOR - 56:
        raise Bad("the LVM label refers to bytes outside of its sector")
    uuid = label[header_at : header_at + 32].decode("ascii", "replace")
    areas = _areas(label, header_at + 40)
    for at, size in areas:
        text = _area_text(physical, at, size)
        if text:
            return text, uuid
    raise Missing("all metadata areas of LVM are empty")


def _areas(label: bytes, at: int) -> list[tuple[int, int]]:
    """Return the metadata areas: the second of two lists of (offset, size) that end with zeros."""
    lists: list[list[tuple[int, int]]] = [[], []]
    for found in lists:
        while at + 16 <= len(label):
            offset, size = struct.unpack_from("<QQ", label, at)
            at += 16
            if offset == 0:
                break
            found.append((offset, size))
    return lists[1][:4]


def _area_text(physical: Reader, at: int, size: int) -> str:
    header = read_exactly(physical, at, _AREA_HEADER_BYTES)
    if header[4:20] != _AREA_MAGIC:
        raise Bad("a metadata area of LVM has no valid header", offset=at)
    offset, length, _checksum, flags = struct.unpack_from("<QQII", header, 40)
    if offset == 0 or flags & 1:
        return ""
    if not _AREA_HEADER_BYTES <= offset < size or length > min(size, _MAX_TEXT_BYTES):
        raise Bad("a metadata area of LVM refers to bytes outside of the area", offset=at)
    # The area is a ring buffer after its header.
    first = min(length, size - offset)
    raw = read_exactly(physical, at + offset, first)
    raw += read_exactly(physical, at + _AREA_HEADER_BYTES, length - first)
    return raw.decode("utf-8", "replace").rstrip("\0")


def _tokens(text: str) -> Iterator[str]:
    at = count = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        count += 1
        if match is None or count > _MAX_TOKENS:
            raise Bad(f"the LVM metadata can't be parsed from character {at} on")
        at = match.end()
        if match[1] is not None:
            yield match[1]


def _block(tokens: Iterator[str], *, depth: int) -> dict[str, Value]:
    if depth > _MAX_DEPTH:
        raise Bad("the LVM metadata are nested too deep")
    found: dict[str, Value] = {}
    for name in tokens:
        if name == "}":
            if depth == 0:
                raise Bad("the LVM metadata have a closing brace too many")
            return found
        sign = next(tokens, "")
        if sign == "{":
            found[name] = _block(tokens, depth=depth + 1)
        elif sign == "=":
            found[name] = _value(tokens)
        else:
            raise Bad(f"the LVM metadata have neither a value nor a block for {name[:40]}")
    if depth:
        raise Bad("a block of the LVM metadata does not end")
    return found


def _value(tokens: Iterator[str]) -> Value:
    word = next(tokens, "")
    if word != "[":
        return _scalar(word)
    values: list[Value] = []
    for word in tokens:
        if word == "]":
            return values
        if word != ",":
            values.append(_scalar(word))
    raise Bad("a list of the LVM metadata does not end")


def _scalar(word: str) -> Value:
    if word.startswith('"'):
        return word[1:-1]
    if re.fullmatch(r"-?\d{1,20}", word):
        return int(word)
    if re.fullmatch(r"-?\d+\.\d+", word):
        return float(word)
    raise Bad(f"the LVM metadata have {word[:40]!r} in place of a value")


def _section(parent: dict[str, Value], name: str, *, optional: bool = False) -> dict[str, Value]:
    value = parent.get(name)
    if isinstance(value, dict):
        return value
    if value is None and optional:
        return {}
    raise Bad(f"the LVM metadata have no block {name}")


def _number(parent: dict[str, Value], name: str) -> int:
    value = parent.get(name)
    if not isinstance(value, int) or value < 0 or value > 1 << 50:
        raise Bad(f"the LVM metadata have no valid {name}")
    return value


def _physical(group: dict[str, Value], own_uuid: str) -> tuple[str, int, int]:
    """Return name, extent size and offset of extent 0 of this physical volume."""
    extent_bytes = _number(group, "extent_size") * _SECTOR
    if extent_bytes == 0:
        raise Bad("the extents of the volume group have 0 bytes")
    for name, volume in _section(group, "physical_volumes").items():
        if isinstance(volume, dict) and str(volume.get("id", "")).replace("-", "") == own_uuid:
            return name, extent_bytes, _number(volume, "pe_start") * _SECTOR
    raise Bad("the volume group does not include the physical volume of its metadata")


def _is_hidden(volume: dict[str, Value]) -> bool:
    """Return whether a volume is a part of other volumes (an image of a mirror, data of a pool)."""
    status = volume.get("status")
    return not (isinstance(status, list) and "VISIBLE" in status)


def _logical(name: str, volume: dict[str, Value], own: str, *, extent_bytes: int, at: int) -> LogicalVolume:
    count = _number(volume, "segment_count")
    if count > _MAX_SEGMENTS:
        raise Bad(f"the logical volume {name} has {count} segments")
    segments: list[Segment] = []
    size = 0
    for index in range(1, count + 1):
        raw = _section(volume, f"segment{index}")
        start, length = _number(raw, "start_extent") * extent_bytes, _number(raw, "extent_count") * extent_bytes
        size = max(size, start + length)
        reason = _not_linear(raw, own)
        if reason:
            return LogicalVolume(name, size, (), reason)
        stripes = raw["stripes"]
        first = stripes[1] if isinstance(stripes, list) else 0
        if not isinstance(first, int) or first < 0:
            raise Bad(f"a segment of the logical volume {name} has no valid start")
        segments.append(Segment(start, length, at + first * extent_bytes))
    return LogicalVolume(name, size, tuple(sorted(segments, key=lambda segment: segment.start)))


def _not_linear(segment: dict[str, Value], own: str) -> str:
    """Return a predicate with the reason why a segment can't be read, empty if it is linear and on this volume."""
    kind, stripes = segment.get("type"), segment.get("stripes")
    if kind not in ("striped", "linear"):
        return f"is of the type {kind}, which is not read"
    if segment.get("stripe_count", 1) != 1 or not isinstance(stripes, list) or len(stripes) != 2:
        return "is striped, which is not read"
    return "" if stripes[0] == own else "is partly on another physical volume"
