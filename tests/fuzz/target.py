"""Definition of a fuzz target."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from aliyun_import.disk.reader import BytesReader, Reader
from tests.fuzz.mutate import Region, Repair


class _Watching:
    """A reader that remembers where it was asked."""

    def __init__(self, data: bytes, metadata_bytes: int) -> None:
        self._inner = BytesReader(data)
        self._metadata_bytes = metadata_bytes
        self.asked: set[Region] = set()

    @property
    def size(self) -> int:
        return self._inner.size

    def pread(self, offset: int, length: int) -> bytes:
        if 0 < length <= self._metadata_bytes and offset < self.size:
            self.asked.add((offset, min(offset + length, self.size)))
        return self._inner.pread(offset, length)


@dataclass(frozen=True)
class Target:
    """A reader under test.

    `make` makes a sound image; `read` may raise nothing at all: a ReadProblem that is allowed, it catches. `places` are
    damaged: written down here, or, where there are none, those that `read` asks a sound image for in pieces of at most
    `metadata_bytes` (longer ones are contents, which anybody may fill with anything). `repair` makes checksums right.
    """

    make: Callable[[], bytes]
    read: Callable[[Reader], None]
    places: tuple[Region, ...] = ()
    metadata_bytes: int = 8192
    repair: Repair | None = None
    needs: str = ""

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """Return the places that are damaged."""
        if self.places:
            return self.places
        watching = _Watching(self.make(), self.metadata_bytes)
        self.read(watching)
        return tuple(sorted(watching.asked))
