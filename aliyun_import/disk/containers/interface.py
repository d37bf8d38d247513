"""The interface of a container format, and the result of opening a file.

A new format is one module that defines a `ContainerFormat`, and one line in `registry.py`.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import BinaryIO, NamedTuple

from aliyun_import.disk.containers.blocks import BlockReader
from aliyun_import.disk.reader import Reader, ReadProblem
from aliyun_import.disk.report import Problem
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskFormat

COPY_AGAIN = "Copy the file again from its source, and compare the sizes (and a checksum) of both."


class Upload(Enum):
    """How a disk in a container is uploaded."""

    AS_IS = auto()
    UNPACKED = auto()  # the content of a compressed file
    CONVERTED = auto()  # to RAW, by qemu-img
    MERGED = auto()  # to RAW, by our own reader
    NEVER = auto()


class Neighbour(NamedTuple):
    """A file in the folder of a disk, and its time of modification in seconds since 1970."""

    file: Reader
    modified_s: float


# Opens the file with this name in the folder of the disk; None if there is none.
Neighbours = Callable[[str], Neighbour | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The surroundings of a file that is opened.

    `path` is for messages, `promise` what its suffix promises. `neighbours` opens other files in the same folder, None
    forbids that. `open_inner` opens the content of a compressed file.
    """

    path: Path
    promise: "Promise | None"
    neighbours: Neighbours | None
    open_inner: "Callable[[Reader, Path], OpenedContainer]"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedContainer:
    """A container that was opened.

    `disk` reads the disk in it; it is None when that can't be read, and `problems` or `unknowns` give the reason.
    `format` is the DiskFormat for ECS, None when ECS does not take it. `problems` and `unknowns` go into the report as
    they are. `parents` are the names of other files in the same folder that are read with it, the nearest first.
    """

    container: "ContainerFormat"
    format: DiskFormat | None = None
    virtual_bytes: int | None = None
    disk: Reader | None = None
    problems: tuple[Problem, ...] = ()
    unknowns: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Compression:
    """How a compressed file is read. `command` writes its content to stdout; `{path}` is the file.

    `unpack` yields the content from its beginning. `open_blocks` opens a file whose blocks can be unpacked one by one,
    and raises Unsupported for any other; its second argument is the memory for unpacked blocks. `reads_end`: nothing
    can be unpacked without the end of the file.
    """

    command: str
    unpack: Callable[[BinaryIO], Generator[bytes]]
    open_blocks: Callable[[Reader, int], BlockReader] | None = None
    reads_end: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What a suffix promises: a file of another format lacks `content` at `where`, which is problem `code`."""

    suffixes: tuple[str, ...]
    title: str
    content: str
    code: str
    where: str = "byte 0"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ContainerFormat:
    """A container format: how it is recognised, opened and uploaded.

    `name` is stable: it is in reports, JSON and messages. A file has the format when one of `signatures` (offset and
    bytes, within the first KiB) is there and `matches`, called with the file and its first 4 KiB, returns true.
    `open` is called with the format itself and raises OSError only. `unpacked_format` is the DiskFormat of a disk that
    was compressed in this format. `judged_by_head`: problems found in the first bytes alone are final. `qemu_name` is
    QEMU's name of a format that is read and converted by QEMU's tools.
    """

    name: str
    open: "Callable[[ContainerFormat, Reader, Source], OpenedContainer]"
    upload: Upload
    signatures: tuple[tuple[int, bytes], ...] = ()
    matches: Callable[[Reader, bytes], bool] | None = None
    unpacked_format: DiskFormat = DiskFormat.RAW
    judged_by_head: bool = True
    promise: Promise | None = None
    qemu_name: str = ""
    compression: Compression | None = None

    def recognises(self, file: Reader, head: bytes) -> bool:
        """Return whether the file, which begins with `head`, has this format."""
        if self.signatures and not any(head[at : at + len(magic)] == magic for at, magic in self.signatures):
            return False
        return self.matches is None or self.matches(file, head)


def broken_file(code: str, seen: str, *, where: str, remedy: str = COPY_AGAIN) -> Problem:
    """Return the problem of a file that was damaged or cut short."""
    return Problem(code=code, severity=Severity.BLOCKS, seen=seen, where=where, remedy=remedy)


def damaged(code: str, what: str, problem: ReadProblem, *, remedy: str = COPY_AGAIN) -> Problem:
    """Return the problem of a file that contradicts its format; `what` is the beginning of its sentence."""
    where = "" if problem.offset is None else f"byte {problem.offset}"
    return broken_file(code, f"{what}: {problem.message}.", where=where, remedy=remedy)
