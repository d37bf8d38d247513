"""Tests of the CRC-64 arithmetic against the computation over all bytes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from aliyun_import.sandbox.core.blob_store import crc64_combine, crc64_update, crc64_zeros


def test_the_check_value() -> None:
    """The variant is CRC-64/XZ, whose check value is published."""
    assert crc64_update(b"123456789") == 11051210869376104954
    assert crc64_update(b"") == 0


@given(st.binary(max_size=300), st.binary(max_size=300))
@settings(max_examples=50, deadline=None)
def test_combined_checksums_are_those_of_the_joined_bytes(first: bytes, second: bytes) -> None:
    """The combination needs only checksums and the length."""
    combined = crc64_combine(crc64_update(first), crc64_update(second), len(second))
    assert combined == crc64_update(first + second) == crc64_update(second, crc64_update(first))


@given(st.integers(0, 5000))
@settings(max_examples=30, deadline=None)
def test_the_checksum_of_zeros_has_a_closed_form(length: int) -> None:
    """The closed form is equal to the computation over the zeros."""
    assert crc64_zeros(length) == crc64_update(bytes(length))


def test_the_closed_form_holds_for_a_terabyte() -> None:
    """The closed form and the combination are equal for a size that is too large to compute."""
    half = crc64_zeros(1 << 39)
    assert crc64_combine(half, half, 1 << 39) == crc64_zeros(1 << 40)
