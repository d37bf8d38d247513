"""This file holds what is known of single parts: done ones, how a planned part is cut in pieces, and what is left.

Pure. A part that is cut keeps its number for the first piece; the others take the free numbers behind it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aliyun_import.limits import MAX_PARTS, MIN_PART_BYTES
from aliyun_import.upload.plan import PartKind, PlannedPart, UploadPlan


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


def rooms(plan: UploadPlan) -> dict[int, int]:
    """Tell for each part's number how many numbers it may use, its own included."""
    numbers = [part.number for part in plan.parts]
    return {
        number: following - number for number, following in zip(numbers, [*numbers[1:], MAX_PARTS + 1], strict=True)
    }


def cut(part: PlannedPart, *, room: int, most_bytes: int) -> tuple[PlannedPart, ...]:
    """Cut a part into even pieces of at most so many bytes, to be sent; longer ones where the numbers run out."""
    count = min(room, -(-part.length // max(most_bytes, MIN_PART_BYTES)), max(1, part.length // MIN_PART_BYTES))
    return _pieces(part, count)


def _pieces(part: PlannedPart, count: int) -> tuple[PlannedPart, ...]:
    if count == 1:
        return (part,)
    edges = [part.start + part.length * index // count for index in range(count + 1)]
    return tuple(
        PlannedPart(part.number + index, PartKind.SEND, edges[index], edges[index + 1] - edges[index])
        for index in range(count)
    )


def places(plan: UploadPlan, number: int, length: int) -> Iterator[PlannedPart]:
    """Guess which range of the disk a part of this number and length is: the planned one, or a piece of it.

    For an upload whose journal is lost. A guess is proven by the CRC-64 of the range.
    """
    owner = next((part for part in reversed(plan.parts) if part.number <= number), None)
    if owner is None or length <= 0:
        return
    for count in sorted({owner.length // length, -(-owner.length // length)}):
        pieces = _pieces(owner, count) if 0 < count <= rooms(plan)[owner.number] else ()
        if number - owner.number < len(pieces) and pieces[number - owner.number].length == length:
            yield pieces[number - owner.number]


def still_to_do(plan: UploadPlan, done: Iterable[DonePart]) -> tuple[tuple[PlannedPart, ...], tuple[DonePart, ...]]:
    """Tell which parts are left, and which done ones count.

    A part that was cut goes on in the pieces that it was cut into; done pieces of another cut don't count.
    """
    room = rooms(plan)
    owners = {
        number: part.number for part in plan.parts for number in range(part.number, part.number + room[part.number])
    }
    by_owner: defaultdict[int, dict[int, DonePart]] = defaultdict(dict)
    for known in done:
        by_owner[owners.get(known.number, 0)][known.number] = known
    left: list[PlannedPart] = []
    counted: list[DonePart] = []
    for part in plan.parts:
        pieces = _cut_of(part, by_owner[part.number], room[part.number])
        for piece in pieces:
            there = by_owner[part.number].get(piece.number)
            if there and (there.start, there.length) == (piece.start, piece.length):
                counted.append(there)
            else:
                left.append(piece)
    return tuple(left), tuple(counted)


def _cut_of(part: PlannedPart, done: dict[int, DonePart], room: int) -> tuple[PlannedPart, ...]:
    """Find the cut that the done pieces are of; the part in one where there is none."""
    for known in sorted(done.values(), key=lambda piece: piece.length):
        guess = part.length // known.length
        for count in (guess, guess + 1):
            if not 0 < count <= room:
                continue
            pieces = _pieces(part, count)
            if any(
                (piece.number, piece.start, piece.length) == (known.number, known.start, known.length)
                for piece in pieces
            ):
                return pieces
    return (part,)
