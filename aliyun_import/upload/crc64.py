"""CRC-64 of OSS (CRC-64/XZ, "ECMA"): of bytes, of zeros in closed form, and of concatenated parts.

`crc64` runs at memory speed and releases the interpreter lock; the CRC-64 of oss2 holds it. Appending n zero bytes is a
linear map over GF(2), x^(8n) modulo the polynomial, so a terabyte of zeros costs as much as a kilobyte: some table
lookups.
"""

import functools
from collections.abc import Iterable

from fastcrc.crc64 import xz

# The polynomial 0x42F0E1EBA9EA3693, bit-reversed, for a CRC that shifts right.
_POLYNOMIAL = 0xC96C5795D7870F42
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_Table = tuple[tuple[int, ...], ...]


def crc64(data: bytes | bytearray | memoryview, crc: int = 0) -> int:
    """Return the CRC-64 of data that follows bytes with the CRC-64 `crc`. Releases the interpreter lock."""
    value: int = xz(data, crc)
    return value


def combine(first: int, second: int, second_bytes: int) -> int:
    """Return the CRC-64 of two concatenated byte strings, from their CRC-64 and the length of the second."""
    return _append_zeros(first, second_bytes) ^ second


def combine_all(pieces: Iterable[tuple[int, int]]) -> int:
    """Return the CRC-64 of concatenated byte strings, each given as (crc64, length)."""
    whole = 0
    for crc, length in pieces:
        whole = combine(whole, crc, length)
    return whole


def crc64_of_zeros(length: int) -> int:
    """Return the CRC-64 of this many zero bytes."""
    return _append_zeros(_ALL_ONES, length) ^ _ALL_ONES


def _append_zeros(register: int, count: int) -> int:
    power = 0
    while count:
        if count & 1:
            table = _table(power)
            register = (
                table[0][register & 0xFF]
                ^ table[1][register >> 8 & 0xFF]
                ^ table[2][register >> 16 & 0xFF]
                ^ table[3][register >> 24 & 0xFF]
                ^ table[4][register >> 32 & 0xFF]
                ^ table[5][register >> 40 & 0xFF]
                ^ table[6][register >> 48 & 0xFF]
                ^ table[7][register >> 56]
            )
        count >>= 1
        power += 1
    return register


@functools.cache
def _table(power: int) -> _Table:
    """Return the tables for appending 2**power zero bytes, by byte of the register; 64 KiB each, at most 64 powers."""
    columns = _columns(power)
    return tuple(_spanned(columns[8 * byte : 8 * byte + 8]) for byte in range(8))


def _spanned(columns: tuple[int, ...]) -> tuple[int, ...]:
    """Return the linear map of every value of a byte, from those of its bits."""
    values = [0]
    for column in columns:
        values += [value ^ column for value in values]
    return tuple(values)


@functools.cache
def _columns(power: int) -> tuple[int, ...]:
    """Return the 64 columns of the linear map "append 2**power zero bytes"."""
    if power == 0:
        return tuple(_append_one(1 << bit) for bit in range(64))
    half = _columns(power - 1)
    return tuple(_apply(half, column) for column in half)


def _append_one(register: int) -> int:
    for _ in range(8):
        register = register >> 1 ^ (_POLYNOMIAL if register & 1 else 0)
    return register


def _apply(columns: tuple[int, ...], vector: int) -> int:
    result = 0
    while vector:
        low = vector & -vector
        result ^= columns[low.bit_length() - 1]
        vector ^= low
    return result
