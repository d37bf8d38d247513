"""This file damages images, the same way each time for the same seed."""

import random
import struct
from collections.abc import Sequence

# A place of an image that readers look at: [start, end).
Region = tuple[int, int]
_EXTREMES = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 62,
    (1 << 63) - 1,
    (1 << 64) - 1,
)
_TRUNCATE_EVERY = 10


def mutated(image: bytes, regions: Sequence[Region], *, seed: int, number: int) -> bytes:
    """Change one to four places in the regions; every tenth image is cut short, too."""
    chance = random.Random(seed * 1_000_003 + number)
    damaged = bytearray(image)
    for _ in range(chance.randint(1, 4)):
        start, end = chance.choice([region for region in regions if region[0] < len(image)])
        _change(damaged, chance.randrange(start, min(end, len(image))), chance)
    if number % _TRUNCATE_EVERY == 0:
        del damaged[chance.randrange(len(damaged)) :]
    return bytes(damaged)


def _change(image: bytearray, at: int, chance: random.Random) -> None:
    kind = chance.randrange(5)
    if kind == 0:
        image[at] = chance.randrange(256)
    elif kind == 1:
        image[at] ^= 1 << chance.randrange(8)
    elif kind == 2:
        length = chance.choice((2, 4, 8, 16, 64))
        image[at : at + length] = bytes([chance.choice((0, 0xFF))]) * len(image[at : at + length])
    else:
        form = chance.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
        width = struct.calcsize(form)
        # Numbers lie on multiples of their width, as a rule.
        at = at // width * width
        value = chance.choice(_EXTREMES) if kind == 3 else chance.randrange(1 << 20)
        if at + width <= len(image):
            struct.pack_into(form, image, at, value & ((1 << 8 * width) - 1))
