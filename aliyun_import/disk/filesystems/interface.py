"""Interface of a file system, and shared parts of file systems with inodes.

A new file system is one module that defines a `FileSystemFormat`, and one line in `registry.py`.
"""

import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, Protocol, TypeVar

from aliyun_import.disk.reader import Bad, Missing, Reader, Recent, read_exactly

# A directory of a system has some thousands of names. 300,000 take 0.3 s to read; more indicate damage or an attack.
MAX_ENTRIES = 300_000
# Limits of the caches of inodes and of runs. An old log has about 12,000 runs.
_KEPT_INODES, _KEPT_RUNS = 64, 50_000
# The maximum length of the target of a symbolic link on Linux.
MAX_LINK_BYTES = 4096


class Kind(Enum):
    """The kind of a node."""

    FILE = auto()
    DIRECTORY = auto()
    LINK = auto()
    OTHER = auto()


V = TypeVar("V")
# The file type bits of st_mode, as ext and XFS store them.
_KINDS = {0x8000: Kind.FILE, 0x4000: Kind.DIRECTORY, 0xA000: Kind.LINK}


@dataclass(frozen=True, slots=True)
class Node:
    """An inode. `allocated_bytes` is the size of its blocks, which is less than `size_bytes` for a sparse file."""

    number: int
    kind: Kind
    size_bytes: int
    allocated_bytes: int
    immutable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystemFacts:
    """The contents of the superblock. `unclean` is a clause about its state, empty if it was unmounted cleanly."""

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
    """`count` blocks of a file from its block `logical` on, stored at byte `position` of the file system."""

    logical: int
    count: int
    position: int


@dataclass(frozen=True, slots=True)
class Signature:
    """A recognised content: its name ("ext4"), and its label and UUID in the form of Linux, empty if there is none."""

    name: str
    label: str = ""
    uuid: str = ""


class FileSystem(Protocol):
    """A file system that can be read. Its methods raise only Bad, Unsupported and Missing.

    `facts` are from the superblock. `root` is the inode number of the root directory.
    """

    facts: FileSystemFacts
    root: int

    def node(self, number: int) -> Node:
        """Return an inode."""
        ...

    def entries(self, number: int) -> Iterator[tuple[str, int]]:
        """Yield the names of a directory and their inode numbers, without "." and ".."."""
        ...

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Read part of a file. The result is short at its end. The caller limits `length`."""
        ...

    def target(self, number: int) -> str:
        """Return the target of a symbolic link."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystemFormat:
    """A kind of content of a partition, such as a file system: how it is recognised and opened.

    `probe` gets the first 68 KiB. `open` gets a reader and the signature; it is None if the content is not read.
    `title` is for messages about contents that are not read. `hides`: it may contain file systems, or have a UUID or
    label, that are not read.
    """

    names: tuple[str, ...]
    probe: Callable[[bytes], Signature | None]
    open: Callable[[Reader, Signature], FileSystem] | None = None
    title: str = ""
    hides: bool = False


class InodeFileSystem(Generic[V]):
    """Base class of file systems with numbered inodes. Not thread-safe: it has caches."""

    def __init__(self, reader: Reader, facts: FileSystemFacts, *, root: int) -> None:
        self._reader, self.facts, self.root = reader, facts, root
        self._inodes: Recent[V] = Recent(_KEPT_INODES)
        self._runs: Recent[Sequence[Run]] = Recent(_KEPT_RUNS)

    def _inode(self, number: int) -> V:
        return self._inodes.get(number) or self._inodes.keep(number, self._load_inode(number))

    def _load_inode(self, number: int) -> V:
        raise NotImplementedError

    def _runs_of(self, number: int) -> Sequence[Run]:
        known = self._runs.get(number)
        if known is None:
            known = self._load_runs(self._inode(number))
            self._runs.keep(number, known, parts=len(known))
        return known

    def _load_runs(self, inode: V) -> Sequence[Run]:
        raise NotImplementedError


def kind_of(mode: int) -> Kind:
    """Return the kind of a node from its st_mode."""
    return _KINDS.get(mode & 0xF000, Kind.OTHER)


def expect_directory(number: int, mode: int) -> None:
    """Raise Missing unless the node is a directory."""
    if kind_of(mode) is not Kind.DIRECTORY:
        raise Missing(f"inode {number} is not a directory")


def expect_link(number: int, mode: int, *, size_bytes: int) -> None:
    """Raise Missing unless the node is a symbolic link, and Bad if it is longer than Linux allows."""
    if kind_of(mode) is not Kind.LINK:
        raise Missing(f"inode {number} is not a symbolic link")
    if size_bytes > MAX_LINK_BYTES:
        raise Bad(f"the symbolic link {number} is {size_bytes} bytes long")


def child_names(number: int, found: Iterable[tuple[bytes, int]]) -> Iterator[tuple[str, int]]:
    """Yield the names of a directory without "." and "..". Raises Bad after MAX_ENTRIES.

    `found` includes unused entries (b""), so that a directory of unused entries reaches the limit, too.
    """
    for index, (name, child) in enumerate(found):
        if index > MAX_ENTRIES:
            raise Bad(f"directory {number} has more than {MAX_ENTRIES} names")
        if name not in (b"", b".", b".."):
            yield text_of(name), child


def text_of(raw: bytes) -> str:
    """Return a name as text. Bytes that are not UTF-8 become surrogates, as in the functions of Python."""
    return raw.decode("utf-8", "surrogateescape")


def label_of(raw: bytes) -> str:
    """Return a label or UUID that is stored as text and padded with zeros."""
    return raw.split(b"\0")[0].decode("utf-8", "replace").strip()


def uuid_of(raw: bytes) -> str:
    """Return a stored UUID as text, empty for zeros."""
    return str(uuid.UUID(bytes=raw)) if any(raw) else ""


def checked_runs(runs: Sequence[Run]) -> Sequence[Run]:
    """Return the runs if they are ascending and disjoint, as all systems store them. Raises Bad otherwise."""
    end = 0
    for run in runs:
        if run.logical < end:
            raise Bad(f"block {run.logical} of a file is mapped twice")
        end = run.logical + run.count
    return runs


def read_runs(reader: Reader, runs: Sequence[Run], *, block_bytes: int, offset: int, length: int) -> bytes:
    """Read a range of a file by its ascending runs. Holes between them are zeros."""
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
