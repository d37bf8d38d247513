"""Tests of whole and split parts: which count as done, and which remain."""

from hypothesis import given
from hypothesis import strategies as st

from aliyun_import.limits import GIB, MAX_PARTS, MIB, MIN_PART_BYTES
from aliyun_import.model.objects import RemotePart
from aliyun_import.upload.plan import PlannedPart, plan_upload
from aliyun_import.upload.resume import reconcile
from aliyun_import.upload.transfer.parts import DonePart, PartSplitter

PLAN = plan_upload(1 * GIB, [(0, 512 * MIB)])
SPLITTER = PartSplitter(PLAN)


def done(part: PlannedPart, *, crc64: int = 7) -> DonePart:
    """Return a planned part as done."""
    return DonePart(number=part.number, start=part.start, length=part.length, crc64=crc64, etag="E", proof="crc64")


def listed(part: PlannedPart, *, crc64: int | None = 7, etag: str = "E") -> RemotePart:
    """Return a part as the server lists it."""
    return RemotePart(number=part.number, size_bytes=part.length, etag=etag, crc64=crc64)


def test_without_done_parts_the_whole_plan_remains() -> None:
    """All parts remain, in order."""
    assert SPLITTER.remaining(()) == (PLAN.parts, ())


def test_done_parts_do_not_remain() -> None:
    """The other parts remain, in order."""
    finished = [done(part) for part in PLAN.parts[::2]]
    left, counted = SPLITTER.remaining(finished)
    assert left == PLAN.parts[1::2]
    assert list(counted) == finished


def test_a_part_with_another_offset_does_not_count() -> None:
    """An equal number alone proves nothing."""
    first = PLAN.parts[0]
    moved = DonePart(number=first.number, start=first.start + 1, length=first.length, crc64=7, etag="E", proof="crc64")
    left, counted = SPLITTER.remaining([moved])
    assert (left, counted) == (PLAN.parts, ())


@given(st.integers(0, len(PLAN.parts) - 1), st.integers(1, 200), st.sets(st.integers(0, 199)))
def test_a_split_part_continues_with_its_pieces(index: int, most_mib: int, finished: set[int]) -> None:
    """Whichever pieces are done, they and the remaining ones make the part, without overlap, in its numbers."""
    part = PLAN.parts[index]
    pieces = SPLITTER.split(part, max_bytes=most_mib * MIB)
    assert pieces[0].number == part.number
    assert pieces[-1].number < (PLAN.parts[index + 1].number if index + 1 < len(PLAN.parts) else MAX_PARTS + 1)
    assert all(piece.length >= MIN_PART_BYTES for piece in pieces)
    finished_pieces = [done(piece) for piece_index, piece in enumerate(pieces) if piece_index in finished]
    left, counted = SPLITTER.remaining(finished_pieces)
    assert sorted(counted, key=lambda one: one.number) == finished_pieces
    covered = sorted([(one.start, one.length) for one in left] + [(one.start, one.length) for one in counted])
    position = 0
    for start, length in covered:
        assert start == position
        position += length
    assert position == PLAN.size_bytes


@given(st.integers(0, len(PLAN.parts) - 1), st.integers(1, 64), st.integers(0, 63))
def test_the_candidates_of_a_piece_contain_its_true_range(index: int, most_mib: int, piece_index: int) -> None:
    """Without a journal, only the number and the length of a piece are known."""
    part = PLAN.parts[index]
    pieces = SPLITTER.split(part, max_bytes=most_mib * MIB)
    piece = pieces[piece_index % len(pieces)]
    assert (piece.start, piece.length) in [
        (place.start, place.length) for place in SPLITTER.candidates(piece.number, piece.length)
    ]


def test_a_piece_is_not_split_again() -> None:
    """The numbers behind it are in use; it is retried as it is."""
    part = PLAN.parts[0]
    piece = SPLITTER.split(part, max_bytes=2 * MIB)[0]
    assert SPLITTER.split(piece, max_bytes=1 * MIB) == (piece,)
    assert SPLITTER.can_split(part)
    assert not SPLITTER.can_split(piece)


# Comparison of the journal with the server.


def test_a_part_in_the_journal_and_on_the_server_counts() -> None:
    """It is not read again."""
    part = PLAN.parts[0]
    reconciled = reconcile(SPLITTER, {part.number: done(part)}, [listed(part)])
    assert reconciled.counted == (done(part),)
    assert reconciled.to_prove == ()


def test_a_part_with_different_crcs_is_to_be_proven() -> None:
    """The server may be right, since another run may have sent the part later."""
    part = PLAN.parts[0]
    reconciled = reconcile(SPLITTER, {part.number: done(part, crc64=8)}, [listed(part)])
    assert reconciled.counted == ()
    assert [(place.start, place.length) for place, _ in reconciled.to_prove] == [(part.start, part.length)]


def test_a_part_that_is_not_in_the_journal_is_to_be_proven() -> None:
    """A kill may have come between the part and its journal line."""
    part = PLAN.parts[0]
    assert len(reconcile(SPLITTER, {}, [listed(part)]).to_prove) == 1


def test_without_a_crc_the_etag_must_equal_that_of_the_journal() -> None:
    """A part with another ETag is sent again."""
    part = PLAN.parts[0]
    known = {part.number: done(part)}
    assert reconcile(SPLITTER, known, [listed(part, crc64=None)]).counted == (done(part),)
    assert reconcile(SPLITTER, known, [listed(part, crc64=None, etag="F")]).counted == ()
    assert reconcile(SPLITTER, {}, [listed(part, crc64=None)]).to_prove == ()


def test_a_part_that_is_only_in_the_journal_does_not_count() -> None:
    """The server is the truth about parts."""
    part = PLAN.parts[0]
    assert reconcile(SPLITTER, {part.number: done(part)}, []).counted == ()
