"""Parts that are done, pieces that a part can be split into, and the parts that are left. Pure.

The first piece of a part keeps its number; the others take the free numbers that follow it.
"""

import bisect
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aliyun_import.limits import MAX_PARTS, MIN_PART_BYTES
from aliyun_import.upload.plan import PartKind, PlannedPart, UploadPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class DonePart:
    """A part that is in OSS.

    `crc64` is the CRC-64 of the local bytes. `proof` is what the service reported that agreed with it: "crc64", "md5"
    (its ETag), "copy" (source and range, where the source is proven), or "" for nothing.
    """

    number: int
    start: int
    length: int
    crc64: int
    etag: str
    proof: str


class PartSplitter:
    """Parts of a plan, and the pieces that each can be split into by the free numbers that follow it."""

    def __init__(self, plan: UploadPlan) -> None:
        self._parts = plan.parts
        self._numbers = [part.number for part in plan.parts]

    def split(self, part: PlannedPart, *, most_bytes: int) -> tuple[PlannedPart, ...]:
        """Return even pieces of at most this size, longer where numbers run out, to be sent.

        A part that is a piece already, or short enough, is returned as it is.
        """
        if part.length <= most_bytes or not self.is_whole(part):
            return (part,)
        wanted = -(-part.length // max(most_bytes, MIN_PART_BYTES))
        return _pieces(part, min(self._free_numbers(part), wanted, max(1, part.length // MIN_PART_BYTES)))

    def can_split(self, part: PlannedPart) -> bool:
        """Return whether there are numbers left to split a part."""
        return self.is_whole(part) and self._free_numbers(part) > 1

    def is_whole(self, part: PlannedPart) -> bool:
        """Return whether this is a planned part and not a piece of one."""
        owner = self._owner(part.number)
        return owner is not None and (owner.number, owner.length) == (part.number, part.length)

    def candidates(self, number: int, length: int) -> Iterator[PlannedPart]:
        """Yield the ranges of the disk that a part of this number and length may be: a planned part or a piece.

        For an upload without its journal. The CRC-64 of the range proves a candidate.
        """
        owner = self._owner(number)
        if owner is None or length <= 0:
            return
        for count in sorted({owner.length // length, -(-owner.length // length)}):
            pieces = _pieces(owner, count) if 0 < count <= self._free_numbers(owner) else ()
            if number - owner.number < len(pieces) and pieces[number - owner.number].length == length:
                yield pieces[number - owner.number]

    def still_to_do(self, done: Iterable[DonePart]) -> tuple[tuple[PlannedPart, ...], tuple[DonePart, ...]]:
        """Return the parts that are left, and the done parts that count.

        A split part is continued in the same pieces; done pieces of another split do not count.
        """
        by_owner: defaultdict[int, dict[int, DonePart]] = defaultdict(dict)
        for known in done:
            owner = self._owner(known.number)
            if owner:
                by_owner[owner.number][known.number] = known
        left: list[PlannedPart] = []
        counted: list[DonePart] = []
        for part in self._parts:
            known_pieces = by_owner.get(part.number, {})
            for piece in self._pieces_of(part, known_pieces):
                there = known_pieces.get(piece.number)
                if there and (there.start, there.length) == (piece.start, piece.length):
                    counted.append(there)
                else:
                    left.append(piece)
        return tuple(left), tuple(counted)

    def kind_of(self, number: int) -> PartKind:
        """Return the kind of the planned part that a part of this number is, or is a piece of."""
        owner = self._owner(number)
        return owner.kind if owner else PartKind.SEND

    def _owner(self, number: int) -> PlannedPart | None:
        """Return the planned part to which this number belongs."""
        index = bisect.bisect_right(self._numbers, number) - 1
        return self._parts[index] if index >= 0 else None

    def _free_numbers(self, part: PlannedPart) -> int:
        """Return how many numbers a planned part may use, its own included."""
        index = bisect.bisect_right(self._numbers, part.number)
        return (self._numbers[index] if index < len(self._numbers) else MAX_PARTS + 1) - part.number

    def _pieces_of(self, part: PlannedPart, done: dict[int, DonePart]) -> tuple[PlannedPart, ...]:
        """Return the pieces of which the done ones are some; the part alone where there are none."""
        for known in sorted(done.values(), key=lambda piece: piece.length):
            identity = (known.number, known.start, known.length)
            guess = part.length // known.length
            for count in (guess, guess + 1):
                pieces = _pieces(part, count) if 0 < count <= self._free_numbers(part) else ()
                if any((piece.number, piece.start, piece.length) == identity for piece in pieces):
                    return pieces
        return (part,)


def _pieces(part: PlannedPart, count: int) -> tuple[PlannedPart, ...]:
    if count == 1:
        return (part,)
    edges = [part.start + part.length * index // count for index in range(count + 1)]
    return tuple(
        PlannedPart(part.number + index, PartKind.SEND, edges[index], edges[index + 1] - edges[index])
        for index in range(count)
    )
