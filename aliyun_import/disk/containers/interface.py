"""Interface of a container format, and the result of opening a file.

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

# In a remedy it stands for the path of the file, quoted for a shell.
FILE = "{file}"
COPY_AGAIN = "Copy the file again from its source, and compare the sizes (and a checksum) of both."


class Upload(Enum):
    """How a disk in a container is uploaded."""

    AS_IS = auto()
    UNPACKED = auto()  # the content of a compressed file
    BY_QEMU = auto()  # as RAW, which qemu-img writes
    REWRITTEN = auto()  # as RAW, which this tool writes from `OpenedContainer.disk`
    NEVER = auto()


class Sibling(NamedTuple):
    """A file in the directory of a disk, and its modification time in seconds since 1970."""

    file: Reader
    modified_s: float


# Opens the file with a name in the directory of the disk, or returns None.
OpenSibling = Callable[[str], Sibling | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The context of a file that is opened.

    `path` is for messages. `suffix_rule` is that of its suffix. `open_sibling` opens a file in the same directory; None
    forbids that. `open_inner` opens the content of a compressed file.
    """

    path: Path
    suffix_rule: "SuffixRule | None"
    open_sibling: OpenSibling | None
    open_inner: "Callable[[Reader, Path], OpenedContainer]"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedContainer:
    """An open container.

    `disk` reads the disk in it. It is None if the disk can't be read; `problems` or `unknowns` have the reason.
    `format` is the DiskFormat for ECS, None if ECS does not accept the container. `open_container` sets `format`,
    `virtual_bytes` and a note for a container that is rewritten. `parents` are the names of other files in the same
    directory with data of the disk, the nearest first.
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
    """How a compressed file is read. `command` writes the content of the file `{path}` to stdout.

    `unpack` yields the content from its beginning. `open_blocks` opens a file with blocks that can be unpacked
    separately, and raises Unsupported for other files; its second argument is the memory for unpacked blocks, in bytes.
    `reads_end`: `unpack` needs the end of the file first.
    """

    command: str
    unpack: Callable[[BinaryIO], Generator[bytes]]
    open_blocks: Callable[[Reader, int], BlockReader] | None = None
    reads_end: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SuffixRule:
    """The content that files with the suffixes of a format have. A file without it at `where` has problem `code`."""

    title: str
    content: str
    code: str = "suffix-not-content"
    where: str = "byte 0"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ContainerFormat:
    """A container format: how it is recognised, opened and uploaded.

    `name` is stable: it is in reports, JSON and messages. A file has the format if it has one of `signatures` (offset
    and bytes, within the first KiB), and `matches`, called with the file and its first 4 KiB, returns true. `open` is
    called with the format and raises OSError only. `unpacked_format` is the DiskFormat of a compressed disk in this
    format. `judged_by_head`: `open` finds the same blocking problems in the first MiB of a disk as in all of it.
    `suffixes` are the usual ones of its files, and `suffix_rule` what files with them contain.
    `qemu_name` is the name of the format for the tools of QEMU, which read and convert it.
    """

    name: str
    open: "Callable[[ContainerFormat, Reader, Source], OpenedContainer]"
    upload: Upload
    signatures: tuple[tuple[int, bytes], ...] = ()
    matches: Callable[[Reader, bytes], bool] | None = None
    unpacked_format: DiskFormat = DiskFormat.RAW
    judged_by_head: bool = False
    suffixes: tuple[str, ...] = ()
    suffix_rule: SuffixRule | None = None
    qemu_name: str = ""
    compression: Compression | None = None

    @property
    def is_rewritten(self) -> bool:
        """Return whether the upload is a RAW disk made from the file, and never the file itself."""
        return self.upload in (Upload.BY_QEMU, Upload.REWRITTEN)

    def recognises(self, file: Reader, head: bytes) -> bool:
        """Return whether the file, which begins with `head`, has this format."""
        if self.signatures and not any(head[at : at + len(magic)] == magic for at, magic in self.signatures):
            return False
        return self.matches is None or self.matches(file, head)


def broken_file(code: str, message: str, *, where: str, remedy: str = COPY_AGAIN) -> Problem:
    """Return the problem of a damaged or truncated file."""
    return Problem(code=code, severity=Severity.BLOCKS, message=message, where=where, remedy=remedy)


def damaged(code: str, what: str, problem: ReadProblem, *, remedy: str = COPY_AGAIN) -> Problem:
    """Return the problem of a file that contradicts its format. `what` is the beginning of the message."""
    where = "" if problem.offset is None else f"byte {problem.offset}"
    return broken_file(code, f"{what}: {problem.message}.", where=where, remedy=remedy)
