"""Done parts, pieces of split parts, and remaining parts. Pure.

The first piece of a part keeps its number; the others take the free numbers that follow it.
"""

import bisect
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

from aliyun_import.limits import MAX_PARTS, MIN_PART_BYTES
from aliyun_import.upload.plan import PartKind, PlannedPart, UploadPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class DonePart:
    """A part that is in OSS.

    `crc64` is the CRC-64 of the local bytes. `proof` is the checksum of the service that agreed with it: "crc64", "md5"
    (the ETag), "copy" (source and range, of a proven source), or "" for none.
    """

    number: int
    start: int
    length: int
    crc64: int
    etag: str
    proof: str


def in_pieces(plan: UploadPlan, *, max_bytes: int) -> UploadPlan:
    """Return a plan with the parts that the transfer makes of it, if it sends pieces of at most this size."""
    splitter = PartSplitter(plan)
    parts = (
        splitter.split(part, max_bytes=max_bytes) if part.kind is PartKind.SEND else (part,) for part in plan.parts
    )
    return replace(plan, parts=tuple(chain.from_iterable(parts)))


class PartSplitter:
    """Parts of a plan, and the pieces into which each can be split by the free numbers that follow it."""

    def __init__(self, plan: UploadPlan) -> None:
        self._parts = plan.parts
        self._numbers = [part.number for part in plan.parts]

    def split(self, part: PlannedPart, *, max_bytes: int) -> tuple[PlannedPart, ...]:
        """Return even pieces of at most this size to send; longer ones if there are too few free numbers.

        A piece, or a part that is short enough, is returned unchanged.
        """
        if part.length <= max_bytes or not self.is_whole(part):
            return (part,)
        wanted = -(-part.length // max(max_bytes, MIN_PART_BYTES))
        return _pieces(part, min(self._free_numbers(part), wanted, max(1, part.length // MIN_PART_BYTES)))

    def can_split(self, part: PlannedPart) -> bool:
        """Return whether there are free numbers to split a part."""
        return self.is_whole(part) and self._free_numbers(part) > 1

    def is_whole(self, part: PlannedPart) -> bool:
        """Return whether this is a planned part, not a piece."""
        owner = self._owner(part.number)
        return owner is not None and (owner.number, owner.length) == (part.number, part.length)

    def candidates(self, number: int, length: int) -> Iterator[PlannedPart]:
        """Yield the ranges of the disk that a part of this number and length may have, as a planned part or a piece.

        For an upload without its journal; the CRC-64 proves a candidate.
        """
        owner = self._owner(number)
        if owner is None or length <= 0:
            return
        for count in sorted({owner.length // length, -(-owner.length // length)}):
            pieces = _pieces(owner, count) if 0 < count <= self._free_numbers(owner) else ()
            if number - owner.number < len(pieces) and pieces[number - owner.number].length == length:
                yield pieces[number - owner.number]

    def remaining(self, done: Iterable[DonePart]) -> tuple[tuple[PlannedPart, ...], tuple[DonePart, ...]]:
        """Return the remaining parts, and the done parts that count.

        A split part continues with the same pieces; done pieces of another split do not count.
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
                existing = known_pieces.get(piece.number)
                if existing and (existing.start, existing.length) == (piece.start, piece.length):
                    counted.append(existing)
                else:
                    left.append(piece)
        return tuple(left), tuple(counted)

    def kind_of(self, number: int) -> PartKind:
        """Return the kind of the planned part to which this number belongs."""
        owner = self._owner(number)
        return owner.kind if owner else PartKind.SEND

    def _owner(self, number: int) -> PlannedPart | None:
        """Return the planned part to which this number belongs."""
        index = bisect.bisect_right(self._numbers, number) - 1
        return self._parts[index] if index >= 0 else None

    def _free_numbers(self, part: PlannedPart) -> int:
        """Return how many numbers a planned part may use, including its own."""
        index = bisect.bisect_right(self._numbers, part.number)
        return (self._numbers[index] if index < len(self._numbers) else MAX_PARTS + 1) - part.number

    def _pieces_of(self, part: PlannedPart, done: dict[int, DonePart]) -> tuple[PlannedPart, ...]:
        """Return the pieces of the split that contains the done ones, or the part itself."""
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
