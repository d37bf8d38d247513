"""This file computes OSS's CRC-64 over bytes, over runs of zeros without reading them, and over joined pieces.

The variant is CRC-64/XZ: polynomial 0x42F0E1EBA9EA3693, bits reflected, register and result inverted. With inversion
at both ends the checksum of A followed by B is crc(A) * x^(8 * len(B)) + crc(B) in GF(2)[x] modulo the polynomial,
so joining needs one multiplication and no bytes, and so does a run of zeros.
"""

from functools import lru_cache

from fastcrc import crc64 as _crc64

_POLYNOMIAL = 0xC96C5795D7870F42  # 0x42F0E1EBA9EA3693 with its bits reversed; the term x^64 is understood
_ONES = (1 << 64) - 1
_ONE = 1 << 63  # reflected: the highest bit is x^0
_X = 1 << 62


def update(data: bytes | memoryview, crc: int = 0) -> int:
    """Give the checksum of what `crc` is the checksum of, followed by data."""
    return int(_crc64.xz(bytes(data) if isinstance(data, memoryview) else data, crc))


def combine(first: int, second: int, second_length: int) -> int:
    """Give the checksum of two pieces joined, of their checksums and the second one's length."""
    return _multiply(first, _bytes_power(second_length)) ^ second


def zeros(length: int) -> int:
    """Give the checksum of a run of zero bytes."""
    return _multiply(_ONES, _bytes_power(length)) ^ _ONES


def _multiply(a: int, b: int) -> int:
    """Multiply two reflected polynomials modulo the CRC's."""
    product = 0
    while b:
        if b & _ONE:
            product ^= a
        b = (b << 1) & _ONES
        a = (a >> 1) ^ (_POLYNOMIAL if a & 1 else 0)
    return product


@lru_cache(maxsize=1024)
def _bytes_power(length: int) -> int:
    """Give x^(8 * length); cached, because most parts of an upload are equally long."""
    power, square, exponent = _ONE, _X, 8 * length
    while exponent:
        if exponent & 1:
            power = _multiply(power, square)
        square = _multiply(square, square)
        exponent >>= 1
    return power
