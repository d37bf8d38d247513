"""Tests of the JPEG encoder, with an independent decoder."""

import io
import math
import random
from collections.abc import Callable, Iterator

import pytest

from aliyun_import.sandbox.guests.picture import as_jpeg
from tests.rows import each_row

Pixel = Callable[[int, int], int]
# The quantisation step of coefficients is 10: the sum of the rounding errors of 64 of them is below two steps.
MAX_ERROR = 20
NOISE = random.Random(7).randbytes(4096)


def ppm(width: int, height: int, pixel: Pixel) -> bytes:
    """Return a grey picture in PPM."""
    head = f"P6\n{width} {height}\n255\n".encode()
    return head + bytes(value for y in range(height) for x in range(width) for value in [pixel(x, y)] * 3)


def blocks_of(jpeg: bytes) -> Iterator[list[float]]:
    """Yield the blocks of a picture, decoded by its own tables as in ITU T.81."""
    tables: dict[int, dict[str, int]] = {}
    steps, at = b"", 2
    while jpeg[at + 1] != 0xDA:
        marker, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], "big")
        content = jpeg[at + 4 : at + 2 + length]
        if marker == 0xDB:
            steps = content[1:]
        elif marker == 0xC4:
            tables[content[0]] = codes_of(content[1:17], content[17:])
        at += 2 + length
    at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    scan = jpeg[at:-2].replace(b"\xff\0", b"\xff")
    bits = iter("".join(f"{byte:08b}" for byte in scan))
    first = 0
    order = sorted(((u, v) for u in range(8) for v in range(8)), key=lambda p: (sum(p), p[0] if sum(p) % 2 else p[1]))
    while True:
        values = [0] * 64
        try:
            first += number(bits, symbol(bits, tables[0]))
        except StopIteration:
            return
        values[0], index = first, 1
        while index < 64 and (found := symbol(bits, tables[0x10])):
            index += found >> 4
            values[index] = number(bits, found & 15)
            index += 1
        scaled = {position: value * step for position, value, step in zip(order, values, steps, strict=True) if value}
        yield [
            128 + sum(value * cosine(v, x) * cosine(u, y) for (u, v), value in scaled.items())
            for y in range(8)
            for x in range(8)
        ]


def cosine(frequency: int, at: int) -> float:
    """Return the factor of a coefficient at a pixel, in one direction."""
    return math.cos((2 * at + 1) * frequency * math.pi / 16) * (math.sqrt(1 / 8) if frequency == 0 else 0.5)


def codes_of(counts: bytes, symbols: bytes) -> dict[str, int]:
    """Return the symbols by their codes."""
    codes, code, rest = {}, 0, iter(symbols)
    for length, count in enumerate(counts, 1):
        for _ in range(count):
            codes[f"{code:0{length}b}"] = next(rest)
            code += 1
        code <<= 1
    assert all("0" in code for code in codes), "a code of ones alone is not allowed"
    return codes


def symbol(bits: Iterator[str], codes: dict[str, int]) -> int:
    """Read a symbol."""
    code = next(bits)
    while code not in codes:
        code += next(bits)
    return codes[code]


def number(bits: Iterator[str], length: int) -> int:
    """Read a number of some bits."""
    text = "".join(next(bits) for _ in range(length))
    return 0 if not text else int(text, 2) if text[0] == "1" else int(text, 2) - (1 << length) + 1


@each_row(
    ("width", "height", "pixel"),
    [
        (8, 8, lambda _x, _y: 255),
        (1, 1, lambda _x, _y: 77),
        (17, 9, lambda x, y: 10 * x + y),
        (64, 24, lambda x, y: 255 * (NOISE[x + 64 * y] & 1)),
        (24, 24, lambda x, y: NOISE[x + 24 * y]),
    ],
    ids=["white", "one pixel", "slope", "characters", "noise"],
)
def test_a_decoded_picture_is_the_encoded_one(width: int, height: int, pixel: Pixel) -> None:
    """Pixels are equal up to the rounding of coefficients, also if the sides are not multiples of 8."""
    jpeg = as_jpeg(ppm(width, height, pixel))
    assert jpeg[:4] == b"\xff\xd8\xff\xe0"
    across = -(-width // 8)
    blocks = list(blocks_of(jpeg))[: across * -(-height // 8)]
    for y in range(height):
        for x in range(width):
            decoded = blocks[y // 8 * across + x // 8][y % 8 * 8 + x % 8]
            assert abs(decoded - pixel(x, y)) <= MAX_ERROR


def test_pillow_reads_the_picture() -> None:
    """The test is skipped if Pillow is not installed."""
    image = pytest.importorskip("PIL.Image")
    opened = image.open(io.BytesIO(as_jpeg(ppm(30, 20, lambda x, _y: 8 * x))))
    assert (opened.size, opened.mode) == ((30, 20), "L")
    assert all(abs(opened.getpixel((x, 5)) - 8 * x) <= MAX_ERROR for x in range(30))


@each_row("data", [b"", b"P6\n8 8\n255\nshort", b"\x89PNG", b"P6\n0 8\n255\n", b"P6\n5000 1\n255\n"])
def test_data_that_is_not_a_picture_is_refused(data: bytes) -> None:
    """A QEMU that ends may leave an incomplete picture."""
    with pytest.raises(ValueError, match="not a"):
        as_jpeg(data)
