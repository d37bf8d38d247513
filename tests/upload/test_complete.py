"""Tests of the proof that an object equals the disk."""

from dataclasses import replace

import pytest

from aliyun_import.errors import TransientError
from aliyun_import.model.objects import RemoteObject, RemotePart
from aliyun_import.upload.complete import (
    BY_OBJECT,
    BY_SIZE,
    TAG_NAME,
    agree,
    check_object,
    completion_of,
    crc64_of_disk,
    is_ours,
    proof_words,
)
from aliyun_import.upload.crc64 import crc64
from aliyun_import.upload.transfer.parts import DonePart
from tests.rows import each_row

FIRST, SECOND = b"first " * 1000, b"second " * 1000
DONE = (
    DonePart(number=1, start=0, length=len(FIRST), crc64=crc64(FIRST), etag="A", proof="crc64"),
    DonePart(number=5, start=len(FIRST), length=len(SECOND), crc64=crc64(SECOND), etag="B", proof="copy"),
)
REMOTE = RemoteObject(key="k", size_bytes=len(FIRST + SECOND), etag="E", crc64=crc64(FIRST + SECOND))


def listed(part: DonePart, *, crc: int | None) -> RemotePart:
    """Return a part as the server lists it."""
    return RemotePart(number=part.number, size_bytes=part.length, etag=part.etag, crc64=crc)


def test_the_crcs_of_the_parts_combine_to_the_crc_of_the_disk() -> None:
    """The result equals the CRC of the disk's bytes."""
    assert crc64_of_disk(DONE) == crc64(FIRST + SECOND)


def test_parts_with_a_gap_are_a_value_error() -> None:
    """A disk with a missing range is never completed."""
    with pytest.raises(ValueError, match="part 5"):
        crc64_of_disk(DONE[1:])


def test_parts_that_the_server_does_not_list_are_sent_again() -> None:
    """A part that is missing, or has another size or CRC-64, is sent again."""
    good = [listed(part, crc=part.crc64) for part in DONE]
    assert agree(DONE, good)[1] == ()
    assert {part.proof for part in agree(DONE, good)[0]} == {"crc64"}
    assert agree(DONE, good[:1]) == (agree(DONE[:1], good)[0], DONE[1:])
    assert agree(DONE, [good[0], replace(good[1], size_bytes=1)])[1] == DONE[1:]
    assert agree(DONE, [good[0], replace(good[1], crc64=1)])[1] == DONE[1:]


def test_without_a_listed_crc_the_parts_keep_their_own_proof() -> None:
    """The proof from the time when the part was made remains."""
    good, bad = agree(DONE, [listed(part, crc=None) for part in DONE])
    assert bad == ()
    assert [part.proof for part in good] == ["crc64", "copy"]


@each_row(
    ("proofs", "proof"),
    [
        ({"crc64"}, "CRC-64 of every part"),
        ({"crc64", "copy"}, "CRC-64 of every part sent, source and range of every part copied"),
        ({"md5"}, "MD5 of every part"),
        ({"md5", "copy"}, "MD5 of every part sent, source and range of every part copied"),
        ({"md5", "crc64"}, "CRC-64 or MD5 of every part"),
        ({"md5", ""}, BY_SIZE),
    ],
)
def test_the_proof_is_that_of_the_weakest_part(proofs: set[str], proof: str) -> None:
    """The result claims no more than is known."""
    parts = [replace(DONE[0], proof=proof) for proof in sorted(proofs)]
    assert proof_words(parts, by_object=False) == proof
    assert proof_words(parts, by_object=True) == BY_OBJECT


def test_an_object_that_differs_is_an_error() -> None:
    """Another size or another CRC-64 is "object-corrupted"."""
    assert check_object(REMOTE, DONE) == BY_OBJECT
    for wrong in (replace(REMOTE, crc64=1), replace(REMOTE, size_bytes=1), replace(REMOTE, size_bytes=1, crc64=None)):
        with pytest.raises(TransientError) as raised:
            check_object(wrong, DONE)
        assert raised.value.code == "object-corrupted"


def test_an_object_is_ours_by_its_crc_or_else_by_our_tag() -> None:
    """After a lost answer to complete, the CRC-64 decides; without one, the tag and the size do."""
    completion = completion_of("k", "U", DONE, tag="t")
    assert is_ours(REMOTE, completion)
    assert not is_ours(replace(REMOTE, crc64=1, metadata={TAG_NAME: "t"}), completion)
    without = replace(REMOTE, crc64=None)
    assert not is_ours(without, completion)
    assert is_ours(replace(without, metadata={TAG_NAME: "t"}), completion)
    assert not is_ours(replace(without, metadata={TAG_NAME: "t"}, size_bytes=1), completion)
