"""Definition of a fuzz target."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from aliyun_import.disk.reader import BytesReader, Reader
from tests.fuzz.mutate import Region, Repair


class _RecordingReader:
    """A reader that records the ranges of its short reads."""

    def __init__(self, data: bytes, metadata_bytes: int) -> None:
        self._inner = BytesReader(data)
        self._metadata_bytes = metadata_bytes
        self.ranges: set[Region] = set()

    @property
    def size(self) -> int:
        return self._inner.size

    def pread(self, offset: int, length: int) -> bytes:
        if 0 < length <= self._metadata_bytes and offset < self.size:
            self.ranges.add((offset, min(offset + length, self.size)))
        return self._inner.pread(offset, length)


@dataclass(frozen=True)
class Target:
    """A reader under test.

    `make` builds an intact image. `read` must not raise: it catches an allowed ReadProblem itself. If
    `ranges_to_damage` is empty, the ranges of at most `metadata_bytes` that `read` reads from an intact image are
    damaged; longer reads are file contents. `repair` makes the checksums valid. `needs` is a required
    module.
    """

    make: Callable[[], bytes]
    read: Callable[[Reader], None]
    ranges_to_damage: tuple[Region, ...] = ()
    metadata_bytes: int = 8192
    repair: Repair | None = None
    needs: str = ""

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """Return the ranges to damage."""
        if self.ranges_to_damage:
            return self.ranges_to_damage
        recording = _RecordingReader(self.make(), self.metadata_bytes)
        self.read(recording)
        return tuple(sorted(recording.ranges))
