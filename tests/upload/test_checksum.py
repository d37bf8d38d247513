"""OSS's CRC-64: the published value, and arithmetic that agrees with going over the bytes."""

from hypothesis import given
from hypothesis import strategies as st

from aliyun_import.upload.crc64 import combine, combine_all, crc64, crc64_of_zeros


def test_it_is_the_variant_of_oss() -> None:
    """The check value of CRC-64/XZ, as OSS's documentation names it."""
    assert crc64(b"123456789") == 11051210869376104954
    assert crc64(b"") == 0


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_it_continues_and_combines(first: bytes, second: bytes) -> None:
    """In one go, continued, and combined from two: always the same."""
    whole = crc64(first + second)
    assert crc64(second, crc64(first)) == whole
    assert combine(crc64(first), crc64(second), len(second)) == whole


@given(st.lists(st.binary(max_size=100), max_size=8))
def test_a_whole_of_many_pieces(pieces: list[bytes]) -> None:
    """Parts in order, of any sizes, have the CRC of the object."""
    assert combine_all((crc64(piece), len(piece)) for piece in pieces) == crc64(b"".join(pieces))


@given(st.integers(0, 200_000))
def test_zeros_in_closed_form(length: int) -> None:
    """The closed form is the CRC of the bytes."""
    assert crc64_of_zeros(length) == crc64(bytes(length))


def test_zeros_beyond_any_memory() -> None:
    """Two halves of 2 TiB combine to the whole."""
    half = 1 << 40
    assert combine(crc64_of_zeros(half), crc64_of_zeros(half), half) == crc64_of_zeros(2 * half)
