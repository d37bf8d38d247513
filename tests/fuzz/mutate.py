"""Mutations of images, deterministic for a seed."""

import random
import struct
from collections.abc import Callable, Iterable, Sequence

from aliyun_import.disk.reader import check_range

# A range of an image that readers read: [start, end).
Region = tuple[int, int]
Patch = tuple[int, bytes]
# Returns the writes that make the checksums of a damaged image valid.
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
    """The first `size` bytes of a damaged image as a Reader, valid until the next mutation."""

    def __init__(self, image: bytearray, size: int) -> None:
        self._view, self._size = memoryview(image), size

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return self._size

    def pread(self, offset: int, length: int) -> bytes:
        """Read bytes, fewer at the end of the image."""
        check_range(offset, length)
        return bytes(self._view[offset : min(offset + length, self._size)])


class Mutations:
    """The numbered mutations of an image for a seed. One is applied at a time, in place, and undone before the next."""

    def __init__(self, image: bytes, regions: Sequence[Region], *, seed: int, repair: Repair | None = None) -> None:
        self._image, self._seed, self._repair = bytearray(image), seed, repair
        self._regions = [(start, min(end, len(image))) for start, end in regions if start < len(image)]
        self._before: list[Patch] = []

    def image(self, number: int) -> DamagedReader:
        """Return the image with one to four changes in its regions; every tenth image is truncated too."""
        for at, data in reversed(self._before):
            self._image[at : at + len(data)] = data
        self._before = []
        rng = random.Random(self._seed * 1_000_003 + number)
        for _ in range(rng.randint(1, 4)):
            start, end = rng.choice(self._regions)
            self._write(*self._change(rng.randrange(start, end), rng))
        if self._repair and number % _UNREPAIRED_EVERY:
            for at, data in self._repair(self._image):
                self._write(at, data)
        size = len(self._image)
        return DamagedReader(self._image, size if number % _TRUNCATE_EVERY else rng.randrange(size))

    def _write(self, at: int, data: bytes) -> None:
        data = data[: len(self._image) - at]
        self._before.append((at, bytes(self._image[at : at + len(data)])))
        self._image[at : at + len(data)] = data

    def _change(self, at: int, rng: random.Random) -> Patch:
        kind = rng.randrange(6)
        if kind == 0:
            return at, bytes([rng.randrange(256)])
        if kind == 1:
            return at, bytes([self._image[at] ^ 1 << rng.randrange(8)])
        if kind == 2:
            return at, bytes([rng.choice((0, 0xFF))]) * rng.choice((2, 4, 8, 16, 64))
        # Numbers and records are usually aligned to their size.
        if kind == 3:
            # Data of another offset: a pointer to another structure, a duplicated record, a loop.
            length = rng.choice((2, 4, 8, 16, 32, 256, 1024))
            start, end = rng.choice(self._regions)
            source = rng.randrange(start, end) // length * length
            return at // length * length, bytes(self._image[source : source + length])
        form = rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
        width = struct.calcsize(form)
        value = rng.choice(_EXTREMES) if kind == 4 else rng.randrange(1 << 20)
        return at // width * width, struct.pack(form, value & ((1 << 8 * width) - 1))
