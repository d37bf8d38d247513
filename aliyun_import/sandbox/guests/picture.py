"""JPEG encoder for the screenshots of guests: baseline, greyscale.

GetInstanceScreenshot returns JPEG, but QEMU writes PPM and PNG. The format is ITU T.81 with the JFIF header. The tables
are the simplest possible ones: one quantisation step for all coefficients, and Huffman codes of equal length. The file
is larger by a third than with the usual tables, but the encoder is short and needs no dependency.
"""

import math
import re
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache

SIDE = 8
_STEP = 10
_MAX_SIDE = 4096
# Zigzag order of the coefficients of a block: along the diagonals, alternately upwards and downwards.
_ORDER = sorted(
    ((u, v) for u in range(SIDE) for v in range(SIDE)),
    key=lambda at: (at[0] + at[1], at[0] if (at[0] + at[1]) % 2 else at[1]),
)
_COSINES = [
    [math.cos((2 * x + 1) * u * math.pi / 16) * (math.sqrt(1 / 8) if u == 0 else 0.5) for x in range(SIDE)]
    for u in range(SIDE)
]
# Symbols of DC differences (length in bits) and of AC coefficients (preceding zeros, length in bits); 0xF0 is 16 zeros.
_DC_SYMBOLS, _DC_BITS = tuple(range(12)), 4
_AC_SYMBOLS, _AC_BITS = (0, 0xF0, *(zeros << 4 | bits for zeros in range(16) for bits in range(1, 11))), 8
_AC_CODES = {symbol: code for code, symbol in enumerate(_AC_SYMBOLS)}


def as_jpeg(picture: bytes) -> bytes:
    """Return a binary PPM of 8 bits as JPEG. Raises ValueError for other formats and incomplete pictures."""
    found = re.match(rb"P6\s(\d{1,4})\s(\d{1,4})\s255\s", picture)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if found is None or not 0 < width <= _MAX_SIDE or not 0 < height <= _MAX_SIDE:
        raise ValueError("not a picture")
    pixels = picture[found.end() : found.end() + 3 * width * height]
    if len(pixels) < 3 * width * height:
        raise ValueError("not a whole picture")
    grey = bytes(
        (77 * r + 150 * g + 29 * b) >> 8 for r, g, b in zip(pixels[::3], pixels[1::3], pixels[2::3], strict=True)
    )
    frame = struct.pack(">BHHB", 8, height, width, 1) + bytes((1, 0x11, 0))
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
            _segment(0xDB, b"\0" + bytes([_STEP] * SIDE * SIDE)),
            _segment(0xC0, frame),
            _segment(0xC4, b"\0" + _lengths(_DC_BITS, len(_DC_SYMBOLS)) + bytes(_DC_SYMBOLS)),
            _segment(0xC4, b"\x10" + _lengths(_AC_BITS, len(_AC_SYMBOLS)) + bytes(_AC_SYMBOLS)),
            _segment(0xDA, bytes((1, 1, 0, 0, 63, 0))),
            _scan(grey, width, height),
            b"\xff\xd9",
        )
    )


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _lengths(bits: int, count: int) -> bytes:
    """Return the number of codes of each length from 1 to 16. All codes have `bits` bits."""
    return bytes(count if length == bits else 0 for length in range(1, 17))


def _scan(grey: bytes, width: int, height: int) -> bytes:
    """Return the encoded blocks, with a zero after each byte 0xFF."""
    previous, codes = 0, []
    for block in _blocks(grey, width, height):
        first, rest = _encode_block(block)
        codes.append(_encode_number(first - previous, lambda bits: f"{bits:04b}") + rest)
        previous = first
    text = "".join(codes)
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")


def _blocks(grey: bytes, width: int, height: int) -> Iterator[bytes]:
    """Yield the blocks of 8 x 8 pixels. The last column and the last line are repeated to fill blocks."""
    for top in range(0, height, SIDE):
        lines = [grey[y * width : (y + 1) * width] for y in (min(top + n, height - 1) for n in range(SIDE))]
        lines = [line + line[-1:] * (-width % SIDE) for line in lines]
        for left in range(0, width, SIDE):
            yield b"".join(line[left : left + SIDE] for line in lines)


@lru_cache(maxsize=4096)
def _encode_block(block: bytes) -> tuple[int, str]:
    """Return the DC coefficient of a block, and the code of the others. Cached: blocks of a screen repeat."""
    if block.count(block[0]) == len(block):
        return round((block[0] - 128) * SIDE / _STEP), f"{_AC_CODES[0]:08b}"
    rows = [[pixel - 128 for pixel in block[at : at + SIDE]] for at in range(0, len(block), SIDE)]
    across = [[sum(c * p for c, p in zip(cosines, row, strict=True)) for cosines in _COSINES] for row in rows]
    columns = list(zip(*across, strict=True))
    values = [
        round(sum(c * p for c, p in zip(_COSINES[down], columns[right], strict=True)) / _STEP) for down, right in _ORDER
    ]
    codes, zeros = [], 0
    last = max((at for at, value in enumerate(values) if value), default=0)
    for value in values[1 : last + 1]:
        if value == 0:
            zeros += 1
            continue
        codes += [f"{_AC_CODES[0xF0]:08b}"] * (zeros // 16)
        run = zeros % 16
        codes.append(_encode_number(value, lambda bits, run=run: f"{_AC_CODES[run << 4 | bits]:08b}"))  # type: ignore[misc]
        zeros = 0
    end = f"{_AC_CODES[0]:08b}" if last < SIDE * SIDE - 1 else ""
    return values[0], "".join(codes) + end


def _encode_number(value: int, code: Callable[[int], str]) -> str:
    """Return a number as bits: the code of its length, and its digits (inverted for a negative number)."""
    bits = abs(value).bit_length()
    digits = value if value >= 0 else value + (1 << bits) - 1
    return code(bits) + (f"{digits:0{bits}b}" if bits else "")
