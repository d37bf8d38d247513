"""Parts, whole and cut: what counts and what is left."""

from hypothesis import given
from hypothesis import strategies as st

from aliyun_import.limits import GIB, MAX_PARTS, MIB, MIN_PART_BYTES
from aliyun_import.model.objects import RemotePart
from aliyun_import.upload.plan import PlannedPart, plan_upload
from aliyun_import.upload.resume import reconcile
from aliyun_import.upload.transfer.parts import DonePart, PartSplitter

PLAN = plan_upload(1 * GIB, [(0, 512 * MIB)])
CUTS = PartSplitter(PLAN)


def done(part: PlannedPart, *, crc64: int = 7, etag: str = "E") -> DonePart:
    """Return that a part is in OSS."""
    return DonePart(number=part.number, start=part.start, length=part.length, crc64=crc64, etag=etag, proof="crc64")


def there(part: PlannedPart, *, crc64: int | None = 7, etag: str = "E") -> RemotePart:
    """Return a part as the server lists it."""
    return RemotePart(number=part.number, size_bytes=part.length, etag=etag, crc64=crc64)


def test_nothing_done_leaves_the_plan() -> None:
    """All of it, in order."""
    assert CUTS.remaining(()) == (PLAN.parts, ())


def test_what_is_done_is_not_left() -> None:
    """And counts."""
    finished = [done(part) for part in PLAN.parts[::2]]
    left, counted = CUTS.remaining(finished)
    assert left == PLAN.parts[1::2]
    assert list(counted) == finished


def test_a_part_of_another_place_does_not_count() -> None:
    """The number alone proves nothing."""
    first = PLAN.parts[0]
    moved = DonePart(number=first.number, start=first.start + 1, length=first.length, crc64=7, etag="E", proof="crc64")
    left, counted = CUTS.remaining([moved])
    assert (left, counted) == (PLAN.parts, ())


@given(st.integers(0, len(PLAN.parts) - 1), st.integers(1, 200), st.sets(st.integers(0, 199)))
def test_a_split_part_continues_with_its_pieces(index: int, most_mib: int, finished: set[int]) -> None:
    """Whichever pieces are done: those left and those counted make the part, without overlap, in its numbers."""
    part = PLAN.parts[index]
    pieces = CUTS.split(part, max_bytes=most_mib * MIB)
    assert pieces[0].number == part.number
    assert pieces[-1].number < (PLAN.parts[index + 1].number if index + 1 < len(PLAN.parts) else MAX_PARTS + 1)
    assert all(piece.length >= MIN_PART_BYTES for piece in pieces)
    some = [done(piece) for at, piece in enumerate(pieces) if at in finished]
    left, counted = CUTS.remaining(some)
    assert sorted(counted, key=lambda one: one.number) == some
    covered = sorted([(one.start, one.length) for one in left] + [(one.start, one.length) for one in counted])
    position = 0
    for start, length in covered:
        assert start == position
        position += length
    assert position == PLAN.size_bytes


@given(st.integers(0, len(PLAN.parts) - 1), st.integers(1, 64), st.integers(0, 63))
def test_a_piece_is_placed_by_its_number_and_length(index: int, most_mib: int, at: int) -> None:
    """Without a journal, the true place is among the guesses."""
    part = PLAN.parts[index]
    pieces = CUTS.split(part, max_bytes=most_mib * MIB)
    piece = pieces[at % len(pieces)]
    assert (piece.start, piece.length) in [
        (place.start, place.length) for place in CUTS.candidates(piece.number, piece.length)
    ]


def test_a_piece_is_not_cut_again() -> None:
    """Its numbers are taken; it is tried again as it is."""
    part = PLAN.parts[0]
    piece = CUTS.split(part, max_bytes=2 * MIB)[0]
    assert CUTS.split(piece, max_bytes=1 * MIB) == (piece,)
    assert CUTS.can_split(part)
    assert not CUTS.can_split(piece)


# Journal against server.


def test_what_both_agree_on_counts() -> None:
    """And is not read again."""
    part = PLAN.parts[0]
    seen = reconcile(CUTS, {part.number: done(part)}, [there(part)])
    assert seen.counted == (done(part),)
    assert seen.to_prove == ()


def test_what_they_disagree_on_is_to_be_proven() -> None:
    """The server may be right: another run may have sent it since."""
    part = PLAN.parts[0]
    seen = reconcile(CUTS, {part.number: done(part, crc64=8)}, [there(part)])
    assert seen.counted == ()
    assert [(place.start, place.length) for place, _ in seen.to_prove] == [(part.start, part.length)]


def test_what_the_journal_does_not_know_is_to_be_proven() -> None:
    """A kill may have come between the part and its line."""
    part = PLAN.parts[0]
    assert len(reconcile(CUTS, {}, [there(part)]).to_prove) == 1


def test_without_a_crc_there_the_etag_must_be_the_journals() -> None:
    """Otherwise it is sent again."""
    part = PLAN.parts[0]
    known = {part.number: done(part)}
    assert reconcile(CUTS, known, [there(part, crc64=None)]).counted == (done(part),)
    assert reconcile(CUTS, known, [there(part, crc64=None, etag="F")]).counted == ()
    assert reconcile(CUTS, {}, [there(part, crc64=None)]).to_prove == ()


def test_what_is_only_in_the_journal_does_not_count() -> None:
    """The server is the truth about parts."""
    part = PLAN.parts[0]
    assert reconcile(CUTS, {part.number: done(part)}, []).counted == ()
