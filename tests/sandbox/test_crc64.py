"""This file tests the CRC-64 arithmetic against plain computation over the bytes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from aliyun_import.sandbox.core import crc64


def test_the_check_value() -> None:
    """The variant is CRC-64/XZ, whose check value is published."""
    assert crc64.update(b"123456789") == 11051210869376104954
    assert crc64.update(b"") == 0


@given(st.binary(max_size=300), st.binary(max_size=300))
@settings(max_examples=50, deadline=None)
def test_joining_needs_no_bytes(first: bytes, second: bytes) -> None:
    """Combining two checksums gives that of the joined bytes."""
    combined = crc64.combine(crc64.update(first), crc64.update(second), len(second))
    assert combined == crc64.update(first + second) == crc64.update(second, crc64.update(first))


@given(st.integers(0, 5000))
@settings(max_examples=30, deadline=None)
def test_a_run_of_zeros_needs_no_reading(length: int) -> None:
    """The closed form gives what reading the zeros gives."""
    assert crc64.zeros(length) == crc64.update(bytes(length))


def test_a_terabyte_of_zeros() -> None:
    """The closed form and joining agree where nobody could read along."""
    half = crc64.zeros(1 << 39)
    assert crc64.combine(half, half, 1 << 39) == crc64.zeros(1 << 40)
