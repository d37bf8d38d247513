"""This file holds what is known of single parts: done ones, how a planned part is cut in pieces, and what is left.

Pure. A part that is cut keeps its number for the first piece; the others take the free numbers behind it.
"""

import bisect
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aliyun_import.limits import MAX_PARTS, MIN_PART_BYTES
from aliyun_import.upload.plan.plan import PartKind, PlannedPart, UploadPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class DonePart:
    """A part that is in OSS. `crc64` is of the local bytes; `proof` is what the server said that agreed with it.

    proof: "crc64", "md5" (its ETag), "copy" (source and range, the source being proven), or "" for nothing.
    """

    number: int
    start: int
    length: int
    crc64: int
    etag: str
    proof: str


class PartSplitter:
    """A plan's parts, and the pieces that each may be cut into by the numbers that are free behind it."""

    def __init__(self, plan: UploadPlan) -> None:
        self._parts = plan.parts
        self._numbers = [part.number for part in plan.parts]

    def cut(self, part: PlannedPart, *, most_bytes: int) -> tuple[PlannedPart, ...]:
        """Cut a planned part into even pieces of at most so many bytes, to be sent; longer where numbers run out.

        A part that is a piece already, or short enough, comes out as it is.
        """
        if part.length <= most_bytes or not self.is_whole(part):
            return (part,)
        wanted = -(-part.length // max(most_bytes, MIN_PART_BYTES))
        return _pieces(part, min(self._room(part), wanted, max(1, part.length // MIN_PART_BYTES)))

    def can_cut(self, part: PlannedPart) -> bool:
        """Tell whether there are numbers to cut a part at all."""
        return self.is_whole(part) and self._room(part) > 1

    def is_whole(self, part: PlannedPart) -> bool:
        """Tell a planned part from a piece of one."""
        owner = self._owner(part.number)
        return owner is not None and (owner.number, owner.length) == (part.number, part.length)

    def places(self, number: int, length: int) -> Iterator[PlannedPart]:
        """Guess which range of the disk a part of this number and length is: the planned one, or a piece of it.

        For an upload whose journal is lost. A guess is proven by the CRC-64 of the range.
        """
        owner = self._owner(number)
        if owner is None or length <= 0:
            return
        for count in sorted({owner.length // length, -(-owner.length // length)}):
            pieces = _pieces(owner, count) if 0 < count <= self._room(owner) else ()
            if number - owner.number < len(pieces) and pieces[number - owner.number].length == length:
                yield pieces[number - owner.number]

    def still_to_do(self, done: Iterable[DonePart]) -> tuple[tuple[PlannedPart, ...], tuple[DonePart, ...]]:
        """Tell which parts are left, and which done ones count.

        A part that was cut goes on in the pieces that it was cut into; done pieces of another cut don't count.
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
            for piece in self._cut_of(part, known_pieces):
                there = known_pieces.get(piece.number)
                if there and (there.start, there.length) == (piece.start, piece.length):
                    counted.append(there)
                else:
                    left.append(piece)
        return tuple(left), tuple(counted)

    def _owner(self, number: int) -> PlannedPart | None:
        """Find the planned part whose numbers this is one of."""
        place = bisect.bisect_right(self._numbers, number) - 1
        return self._parts[place] if place >= 0 else None

    def _room(self, part: PlannedPart) -> int:
        """Tell how many numbers a planned part may use, its own included."""
        place = bisect.bisect_right(self._numbers, part.number)
        return (self._numbers[place] if place < len(self._numbers) else MAX_PARTS + 1) - part.number

    def _cut_of(self, part: PlannedPart, done: dict[int, DonePart]) -> tuple[PlannedPart, ...]:
        """Find the cut that the done pieces are of; the part in one where there is none."""
        for known in sorted(done.values(), key=lambda piece: piece.length):
            place = (known.number, known.start, known.length)
            guess = part.length // known.length
            for count in (guess, guess + 1):
                pieces = _pieces(part, count) if 0 < count <= self._room(part) else ()
                if any((piece.number, piece.start, piece.length) == place for piece in pieces):
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
