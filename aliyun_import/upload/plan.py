"""Plan of an upload: which ranges of a disk are sent and which are copied, in at most 10,000 parts. Pure.

    disk    ████░░░░░░░░████▒▒▒▒▒▒▒▒██      █ data   ░ zeros   ▒ as in the base
    plan    send   zero  send  base send

A part is sent (UploadPart), or copied on the server (UploadPartCopy) from the zero object or from the base. If more
than 10,000 parts would be needed, the gaps that cost the fewest bytes are sent: see `gap_packing`. The same disk has
the same plan on every machine, so that an upload can be resumed without its journal.
"""

import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import itemgetter

from aliyun_import.limits import GIB, KIB, MAX_PARTS, MIB, MIN_PART_BYTES
from aliyun_import.upload.gap_packing import choose_sent_gaps

# A broken connection loses the whole part, so parts are small. They are longer only if the data needs more than 10,000
# parts otherwise (more than 625 GiB).
MAX_SEND_BYTES = 64 * MIB
# Smaller disks have smaller parts: about this number keeps all workers busy to the end, and a kill loses less.
SEND_PARTS_WANTED = 64
MIN_SEND_BYTES = 8 * MIB
# UploadPartCopy can copy 5 GiB; the response for 1 GiB arrives well within a socket's timeout.
MAX_COPY_BYTES = 1 * GIB
# Sizes of the zero object, each grown from the previous one by 32 copies, with the number of requests to create and
# remove it: head, list, put and delete; then start, copies, complete, head and delete for each step.
ZERO_SOURCES = ((1 * MIB, 4), (32 * MIB, 40), (1 * GIB, 76))
# The smallest zero object is sent.
ZERO_SEED_BYTES = ZERO_SOURCES[0][0]
# Other requests of a push: three to find an object, a base and an upload; start, complete and the final head.
OTHER_REQUESTS = 6
# Parts per response of ListParts; all are listed before complete.
LISTED_AT_ONCE = 1000
# Alignment of parts: the usual block size of file systems.
ALIGN_BYTES = 4 * KIB

# Zeros that may always be sent; they take seconds on any connection for disks.
FREE_ZERO_BYTES = 64 * MIB

Range = tuple[int, int]


class PartKind(StrEnum):
    """Source of a part's bytes."""

    SEND = "send"
    ZERO = "zero"
    BASE = "base"


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """A part: its number in the upload, its kind, and its range on the disk."""

    number: int
    kind: PartKind
    start: int
    length: int

    @property
    def end(self) -> int:
        """The offset of the first byte after it."""
        return self.start + self.length


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseObject:
    """Object from which ranges are copied, with its ETag when it was proven."""

    key: str
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanShape:
    """Bounds of a plan."""

    max_parts: int = MAX_PARTS
    min_part_bytes: int = MIN_PART_BYTES
    max_send_bytes: int = MAX_SEND_BYTES
    max_copy_bytes: int = MAX_COPY_BYTES
    zero_sources: tuple[tuple[int, int], ...] = ZERO_SOURCES
    seed_bytes: int = ZERO_SEED_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPlan:
    """Plan of one disk's upload. The parts cover the disk completely, in order.

    `gap_bytes` are bytes that are sent although the server could copy them, because of the limit of 10,000 parts or the
    minimum size of a part. `zero_source_bytes` is the size of the zero object that the plan needs, 0 for none.
    """

    size_bytes: int
    parts: tuple[PlannedPart, ...]
    gap_bytes: int
    zero_source_bytes: int
    base: BaseObject | None = None

    def bytes_of(self, kind: PartKind) -> int:
        """Return the bytes of one kind."""
        return sum(part.length for part in self.parts if part.kind is kind)

    @property
    def requests(self) -> int:
        """The number of requests of an uninterrupted push."""
        growth = next((count for size, count in ZERO_SOURCES if size == self.zero_source_bytes), 0)
        return len(self.parts) + OTHER_REQUESTS + -(-len(self.parts) // LISTED_AT_ONCE) + growth

    def seconds_at(self, rate_bytes_s: float) -> float:
        """Return the seconds that the sent bytes take at a rate."""
        return self.bytes_of(PartKind.SEND) / rate_bytes_s


@dataclass(slots=True)
class Segment:
    """Range of one kind during planning."""

    kind: PartKind
    start: int
    end: int

    @property
    def length(self) -> int:
        """Its length in bytes."""
        return self.end - self.start


def max_zeros_sent(plan: UploadPlan) -> int:
    """Return how many bytes of zeros may be sent without --send-zeros, if OSS refuses to create them.

    As many as the plan sends, so that at most twice the planned bytes are sent; at least 64 MiB.
    """
    return max(plan.bytes_of(PartKind.SEND), FREE_ZERO_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Result of `preview_upload`: the key and the plan, None if the disk is already in OSS.

    `kept_bytes` of the plan are already in OSS, in an unfinished upload that would be resumed.
    """

    key: str
    size_bytes: int
    plan: UploadPlan | None
    kept_bytes: int = 0


def plan_upload(
    size_bytes: int,
    data: Sequence[Range],
    *,
    unchanged: Sequence[Range] = (),
    base: BaseObject | None = None,
    shape: PlanShape | None = None,
) -> UploadPlan:
    """Return the plan for a disk of this size.

    `data` are the ranges that are not zero, `unchanged` those equal to the same range of `base`; both are ascending and
    disjoint. All other ranges are zeros.
    """
    shape = shape or PlanShape()
    segments = list(_segments(size_bytes, data, unchanged))
    needed = sum(segment.length for segment in segments if segment.kind is PartKind.SEND)
    _send_few_zeros(segments, shape.seed_bytes)
    segments = _apply_min_size(segments, shape.min_part_bytes)
    caps = _caps(segments, shape) if len(segments) <= shape.max_parts else None
    if caps is None or sum(_count(segment, caps) for segment in segments) > shape.max_parts:
        segments, caps = _with_sent_gaps(segments, shape)
    pieces = [piece for segment in segments for piece in _split(segment, caps[segment.kind])]
    parts = number_parts([(piece.kind, piece.start, piece.length) for piece in pieces], max_parts=shape.max_parts)
    sent = sum(part.length for part in parts if part.kind is PartKind.SEND)
    has_zeros = any(part.kind is PartKind.ZERO for part in parts)
    return UploadPlan(
        size_bytes=size_bytes,
        parts=parts,
        gap_bytes=sent - needed,
        zero_source_bytes=caps[PartKind.ZERO] if has_zeros else 0,
        base=base if any(part.kind is PartKind.BASE for part in parts) else None,
    )


def number_parts(ranges: Sequence[tuple[PartKind, int, int]], *, max_parts: int = MAX_PARTS) -> tuple[PlannedPart, ...]:
    """Return (kind, start, length) ranges as parts with evenly spaced numbers, so that each can be split later."""
    stride = max(1, max_parts // len(ranges))
    return tuple(
        PlannedPart(1 + index * stride, kind, start, length) for index, (kind, start, length) in enumerate(ranges)
    )


def without_copies(plan: UploadPlan) -> UploadPlan:
    """Return the plan of the same disk for a store that refuses UploadPartCopy: all bytes are sent."""
    return plan_upload(plan.size_bytes, [(0, plan.size_bytes)])


def _segments(size_bytes: int, data: Sequence[Range], unchanged: Sequence[Range]) -> Iterator[Segment]:
    """Yield the disk as ranges of one kind; unchanged has priority over data, and the rest is zeros."""
    position = 0
    for kind, start, end in _labelled(data, unchanged):
        if start > position:
            yield Segment(PartKind.ZERO, position, start)
        yield Segment(kind, start, end)
        position = end
    if position < size_bytes:
        yield Segment(PartKind.ZERO, position, size_bytes)


def _labelled(data: Sequence[Range], unchanged: Sequence[Range]) -> Iterator[tuple[PartKind, int, int]]:
    changed = ((PartKind.SEND, start, end) for start, end in (subtract(data, unchanged) if unchanged else data))
    kept = ((PartKind.BASE, start, end) for start, end in unchanged)
    return heapq.merge(changed, kept, key=itemgetter(1)) if unchanged else changed


def subtract(ranges: Iterable[Range], holes: Sequence[Range]) -> Iterator[Range]:
    """Yield ascending ranges without the ascending holes."""
    index = 0
    for start, end in ranges:
        position = start
        while index < len(holes) and holes[index][1] <= position:
            index += 1
        cursor = index
        while cursor < len(holes) and holes[cursor][0] < end:
            if holes[cursor][0] > position:
                yield position, holes[cursor][0]
            position = max(position, holes[cursor][1])
            cursor += 1
        if position < end:
            yield position, end


def _send_few_zeros(segments: Sequence[Segment], seed_bytes: int) -> None:
    """Send the zeros if they are at most as many as the seed of the zero object, which would be sent too."""
    zeros = [segment for segment in segments if segment.kind is PartKind.ZERO]
    if sum(segment.length for segment in zeros) <= seed_bytes:
        for segment in zeros:
            segment.kind = PartKind.SEND


def _apply_min_size(segments: list[Segment], minimum: int) -> list[Segment]:
    """Make every segment except the last at least as long as the minimum size of a part.

    A gap that is too short is sent. Data that is too short is extended into the gaps beside it, or takes a whole gap if
    too little of it would remain.
    """
    result: list[Segment] = []
    final_end = segments[-1].end
    for segment in segments:
        if segment.kind is not PartKind.SEND and segment.length < minimum and segment.end != final_end:
            segment.kind = PartKind.SEND
        _append(result, segment)
    index = 0
    while index < len(result):
        short = minimum - result[index].length
        if short > 0 and result[index].end != final_end:
            index = _lengthen(result, index, short=short, minimum=minimum)
        else:
            index += 1
    return result


def _append(segments: list[Segment], segment: Segment) -> None:
    if segments and segments[-1].kind is segment.kind is PartKind.SEND:
        segments[-1].end = segment.end
    else:
        segments.append(segment)


def _lengthen(segments: list[Segment], index: int, *, short: int, minimum: int) -> int:
    """Extend a segment that is too short into its neighbours; return the index to continue at."""
    left = segments[index - 1] if index else None
    right = segments[index + 1] if index + 1 < len(segments) else None
    # Take from each neighbour what exceeds the minimum. The last part may have any size, and is joined if it is small.
    is_last = right is segments[-1]
    if not (right and is_last and right.length <= short):
        of_right = min(short, max(0, right.length - (1 if is_last else minimum))) if right else 0
        of_left = min(short - of_right, max(0, left.length - minimum)) if left else 0
        if of_right + of_left == short:
            segments[index].start -= of_left
            segments[index].end += of_right
            if left:
                left.end -= of_left
            if right:
                right.start += of_right
            return index + 1
    # Join the shorter neighbour, and the data beyond it.
    take = index + 1 if right and (not left or right.length <= left.length) else index - 1
    first, last = min(take, index), max(take, index)
    if first > 0 and segments[first - 1].kind is PartKind.SEND:
        first -= 1
    if last + 1 < len(segments) and segments[last + 1].kind is PartKind.SEND:
        last += 1
    segments[first : last + 1] = [Segment(PartKind.SEND, segments[first].start, segments[last].end)]
    return first


def _caps(segments: Sequence[Segment], shape: PlanShape) -> dict[PartKind, int]:
    """Return the maximum length of a part of each kind."""
    sent = sum(segment.length for segment in segments if segment.kind is PartKind.SEND)
    wanted = max(MIN_SEND_BYTES, -(-sent // SEND_PARTS_WANTED))
    runs = [segment.length for segment in segments if segment.kind is PartKind.ZERO]
    return {
        PartKind.SEND: min(shape.max_send_bytes, wanted),
        PartKind.BASE: shape.max_copy_bytes,
        PartKind.ZERO: min(
            shape.zero_sources, key=lambda source: source[1] + sum(-(-run // source[0]) for run in runs)
        )[0],
    }


def _count(segment: Segment, caps: dict[PartKind, int]) -> int:
    return -(-segment.length // caps[segment.kind])


def _with_sent_gaps(segments: list[Segment], shape: PlanShape) -> tuple[list[Segment], dict[PartKind, int]]:
    """Send the cheapest gaps until there are few enough parts; use longer parts only if that does not suffice."""
    sent = sum(segment.length for segment in segments if segment.kind is PartKind.SEND)
    caps = {
        PartKind.SEND: max(shape.max_send_bytes, -(-sent // shape.max_parts)),
        PartKind.BASE: shape.max_copy_bytes,
        PartKind.ZERO: shape.zero_sources[-1][0],
    }
    while True:
        sent_gaps = choose_sent_gaps(
            [(one.end - one.start, caps[one.kind], one.kind is PartKind.SEND) for one in segments],
            send_cap=caps[PartKind.SEND],
            max_parts=shape.max_parts,
        )
        if sent_gaps is not None:
            break
        caps[PartKind.SEND] += max(1, caps[PartKind.SEND] // 8)
    result: list[Segment] = []
    for index, segment in enumerate(segments):
        kind = PartKind.SEND if index in sent_gaps else segment.kind
        if result and result[-1].kind is kind is PartKind.SEND:
            result[-1].end = segment.end
        else:
            result.append(Segment(kind, segment.start, segment.end))
    return result, caps


def _split(segment: Segment, cap: int) -> Iterator[Segment]:
    """Yield a segment as the fewest parts that the cap allows, of even length, and aligned if they stay even."""
    count = -(-segment.length // cap)
    piece = -(-segment.length // count)
    piece += -piece % ALIGN_BYTES
    if piece <= cap and piece * (count - 1) + piece // 2 <= segment.length:
        edges = [segment.start + piece * index for index in range(count)]
    else:
        edges = [segment.start + segment.length * index // count for index in range(count)]
    for start, end in itertools.pairwise([*edges, segment.end]):
        yield Segment(segment.kind, start, end)
