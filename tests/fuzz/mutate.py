"""Mutation of images, deterministic for a seed."""

import random
import struct
from collections.abc import Callable, Iterable, Sequence

from aliyun_import.disk.reader import check_range

# A place of an image that readers look at: [start, end).
Region = tuple[int, int]
Patch = tuple[int, bytes]
# Gives what to write so that the checksums of a damaged image are right again.
Repair = Callable[[bytearray], Iterable[Patch]]
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
# Every third image keeps its wrong checksums.
_UNREPAIRED_EVERY = 3


class DamagedReader:
    """The first `size` bytes of a damaged image as a Reader; good until the next image is made."""

    def __init__(self, image: bytearray, size: int) -> None:
        self._view, self._size = memoryview(image), size

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return self._size

    def pread(self, offset: int, length: int) -> bytes:
        """Read."""
        check_range(offset, length)
        return bytes(self._view[offset : min(offset + length, self._size)])


class Mutations:
    """All the ways to damage an image that a seed gives. One image at a time is damaged, in place, and healed again."""

    def __init__(self, image: bytes, regions: Sequence[Region], *, seed: int, repair: Repair | None = None) -> None:
        self._image, self._seed, self._repair = bytearray(image), seed, repair
        self._regions = [(start, min(end, len(image))) for start, end in regions if start < len(image)]
        self._before: list[Patch] = []

    def image(self, number: int) -> DamagedReader:
        """Change one to four places in the regions; every tenth image is cut short, too."""
        for at, data in reversed(self._before):
            self._image[at : at + len(data)] = data
        self._before = []
        chance = random.Random(self._seed * 1_000_003 + number)
        for _ in range(chance.randint(1, 4)):
            start, end = chance.choice(self._regions)
            self._write(*self._change(chance.randrange(start, end), chance))
        if self._repair and number % _UNREPAIRED_EVERY:
            for at, data in self._repair(self._image):
                self._write(at, data)
        size = len(self._image)
        return DamagedReader(self._image, size if number % _TRUNCATE_EVERY else chance.randrange(size))

    def _write(self, at: int, data: bytes) -> None:
        data = data[: len(self._image) - at]
        self._before.append((at, bytes(self._image[at : at + len(data)])))
        self._image[at : at + len(data)] = data

    def _change(self, at: int, chance: random.Random) -> Patch:
        kind = chance.randrange(6)
        if kind == 0:
            return at, bytes([chance.randrange(256)])
        if kind == 1:
            return at, bytes([self._image[at] ^ 1 << chance.randrange(8)])
        if kind == 2:
            return at, bytes([chance.choice((0, 0xFF))]) * chance.choice((2, 4, 8, 16, 64))
        # Numbers and records lie on multiples of their size, as a rule.
        if kind == 3:
            # What is right in another place: a pointer to something else, a record twice, a loop.
            length = chance.choice((2, 4, 8, 16, 32, 256, 1024))
            start, end = chance.choice(self._regions)
            source = chance.randrange(start, end) // length * length
            return at // length * length, bytes(self._image[source : source + length])
        form = chance.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
        width = struct.calcsize(form)
        value = chance.choice(_EXTREMES) if kind == 4 else chance.randrange(1 << 20)
        return at // width * width, struct.pack(form, value & ((1 << 8 * width) - 1))
