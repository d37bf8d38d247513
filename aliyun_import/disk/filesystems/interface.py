"""This file says what a file system is to those who look into it, and how a file's blocks become its bytes."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, Protocol, TypeVar

from aliyun_import.disk.io.reader import Bad, Missing, Reader, read_exactly

# A directory of a system has some thousands of names; 300,000 take 0.3 s to go through, more is damage or an attack.
MAX_ENTRIES = 300_000
# Inodes, and runs of blocks, that are kept; a file of 12,000 runs is an old log's.
KEPT_INODES, KEPT_RUNS = 64, 50_000
# Metadata never asks for more in one piece (a directory block is 64 KiB at most, an inode 64 KiB).
MAX_METADATA_BYTES = 64 * 1024
# The longest target of a symbolic link on Linux.
MAX_LINK_BYTES = 4096


class Kind(Enum):
    """What a node of the tree is."""

    FILE = auto()
    DIRECTORY = auto()
    LINK = auto()
    OTHER = auto()


V = TypeVar("V")
# The file type bits of st_mode, as ext and XFS store them.
_KINDS = {0x8000: Kind.FILE, 0x4000: Kind.DIRECTORY, 0xA000: Kind.LINK}


@dataclass(frozen=True, slots=True)
class Node:
    """One inode. `allocated_bytes` is what its blocks hold, which a sparse file's size exceeds."""

    number: int
    kind: Kind
    size_bytes: int
    allocated_bytes: int
    immutable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystemFacts:
    """What the superblock tells. `unclean` is a sentence about its state, empty when it was unmounted cleanly."""

    type: str
    uuid: str
    label: str
    size_bytes: int
    free_bytes: int
    inodes: int
    free_inodes: int
    unclean: str = ""
    errors: bool = False
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """`count` blocks of a file from block `logical` of it on, which lie at byte `position` of the file system."""

    logical: int
    count: int
    position: int


class Recent(Generic[V]):
    """A cache of the few values used last, so that memory stays bounded whatever a file system holds.

    A value weighs one and its parts, all of them together `limit` at most; the last one is kept whatever it weighs.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._weight = 0
        self._values: OrderedDict[int, tuple[V, int]] = OrderedDict()

    def get(self, key: int) -> V | None:
        """Give the value kept for key, None when there is none (any more)."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def keep(self, key: int, value: V, *, parts: int = 0) -> V:
        """Keep a value that is not kept yet and give it back; those not used for longest go."""
        self._values[key] = (value, 1 + parts)
        self._weight += 1 + parts
        while self._weight > self._limit and len(self._values) > 1:
            self._weight -= self._values.popitem(last=False)[1][1]
        return value


class FileSystem(Protocol):
    """A file system that can be read. Every method raises Bad, Unsupported or Missing and nothing else."""

    @property
    def facts(self) -> FileSystemFacts:
        """Tell what the superblock tells."""
        ...

    @property
    def root(self) -> int:
        """Give the root directory's inode number."""
        ...

    def node(self, number: int) -> Node:
        """Look at an inode."""
        ...

    def entries(self, number: int) -> Iterator[tuple[str, int]]:
        """Go through the names of a directory and their inode numbers; "." and ".." are left out."""
        ...

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Read part of a file, short at its end; the caller bounds `length`."""
        ...

    def target(self, number: int) -> str:
        """Read where a symbolic link points."""
        ...


def kind_of(mode: int) -> Kind:
    """Tell the kind of a node from its st_mode."""
    return _KINDS.get(mode & 0xF000, Kind.OTHER)


def expect_directory(number: int, mode: int) -> None:
    """Raise Missing for what is no directory."""
    if kind_of(mode) is not Kind.DIRECTORY:
        raise Missing(f"inode {number} is not a directory")


def expect_link(number: int, mode: int, *, size_bytes: int) -> None:
    """Raise Missing for what is no symbolic link, Bad for one that is longer than any can be."""
    if kind_of(mode) is not Kind.LINK:
        raise Missing(f"inode {number} is not a symbolic link")
    if size_bytes > MAX_LINK_BYTES:
        raise Bad(f"the symbolic link {number} is {size_bytes} bytes long")


def child_names(number: int, found: Iterable[tuple[bytes, int]]) -> Iterator[tuple[str, int]]:
    """Go through the names of a directory as they lie on the disk: "." and ".." go, and there is an end to it.

    `found` has the places without a name (b""), too: a directory of nothing else would have no end otherwise.
    """
    for index, (name, child) in enumerate(found):
        if index > MAX_ENTRIES:
            raise Bad(f"directory {number} has more than {MAX_ENTRIES} names")
        if name not in (b"", b".", b".."):
            yield text_of(name), child


def text_of(raw: bytes) -> str:
    """Make text of a name as Python's own functions do: bytes that are not UTF-8 survive as surrogates."""
    return raw.decode("utf-8", "surrogateescape")


def checked_runs(runs: Sequence[Run]) -> Sequence[Run]:
    """Give the runs back when each begins after the one before ended, as every writer leaves them; else Bad."""
    end = 0
    for run in runs:
        if run.logical < end:
            raise Bad(f"block {run.logical} of a file is mapped twice")
        end = run.logical + run.count
    return runs


def read_runs(reader: Reader, runs: Sequence[Run], *, block_bytes: int, offset: int, length: int) -> bytes:
    """Read a range of a file by its runs (ascending); what no run covers is zeros."""
    pieces: list[bytes] = []
    position, end = offset, offset + length
    index = max(bisect_right(runs, position // block_bytes, key=lambda run: run.logical) - 1, 0)
    while position < end and index < len(runs):
        run = runs[index]
        start, stop = run.logical * block_bytes, (run.logical + run.count) * block_bytes
        if position < start:
            hole = min(start, end) - position
            pieces.append(bytes(hole))
            position += hole
        elif position < stop:
            piece = min(stop, end) - position
            pieces.append(read_exactly(reader, run.position + position - start, piece))
            position += piece
        else:
            index += 1
    pieces.append(bytes(end - position))
    return b"".join(pieces)
