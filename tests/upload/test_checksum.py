"""Tests of OSS's CRC-64: its published check value, and combined values equal to those of the bytes."""

from hypothesis import given
from hypothesis import strategies as st

from aliyun_import.upload.crc64 import combine, combine_all, crc64, crc64_of_zeros


def test_crc64_is_the_variant_of_oss() -> None:
    """The check value of CRC-64/XZ is the one in OSS's documentation."""
    assert crc64(b"123456789") == 11051210869376104954
    assert crc64(b"") == 0


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_a_continued_and_a_combined_crc_equal_the_whole(first: bytes, second: bytes) -> None:
    """The CRC of two pieces is the same when it is computed at once, continued, or combined."""
    whole = crc64(first + second)
    assert crc64(second, crc64(first)) == whole
    assert combine(crc64(first), crc64(second), len(second)) == whole


@given(st.lists(st.binary(max_size=100), max_size=8))
def test_the_crcs_of_many_pieces_combine_to_the_whole(pieces: list[bytes]) -> None:
    """Parts in their order combine to the CRC of the object, whatever their sizes."""
    assert combine_all((crc64(piece), len(piece)) for piece in pieces) == crc64(b"".join(pieces))


@given(st.integers(0, 200_000))
def test_the_closed_form_for_zeros_equals_the_crc_of_the_bytes(length: int) -> None:
    """The closed form is correct for any number of zeros."""
    assert crc64_of_zeros(length) == crc64(bytes(length))


def test_the_closed_form_holds_for_more_zeros_than_fit_in_memory() -> None:
    """The CRCs of two halves of 1 TiB combine to that of 2 TiB."""
    half = 1 << 40
    assert combine(crc64_of_zeros(half), crc64_of_zeros(half), half) == crc64_of_zeros(2 * half)
