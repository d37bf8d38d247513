"""This file finds the parent of a differencing VHD, and opens no other file of this machine.

A disk may have been made by anybody, and names its parent by a path that may be any. So of that path the last part
alone is used, and only in the folder that the disk itself lies in; no link is followed; and the file there must be a
VHD with a sound footer whose unique id is the one that the disk wants. These ids are random and have 128 bits: who
writes one into a disk has had the parent in hand, so that a stranger's disk brings nothing to light that its maker
does not know already, and nothing at all but a VHD that was put beside it.
"""

import os
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from aliyun_import.disk.containers import vhd
from aliyun_import.disk.io.reader import FileReader, Missing, Reader, read_exactly

# Hyper-V warns of long chains, and nobody has such; each costs an open file and its block table.
MAX_PARENTS = 16
_MAX_PATH_BYTES = 4096
# Paths of Windows, relative and absolute, in UTF-16; and a URL of macOS.
_CODES = {b"W2ru": "utf-16-le", b"W2ku": "utf-16-le", b"MacX": "utf-8"}
# 2000-01-01 in seconds since 1970.
_EPOCH_S = 946_684_800


class Neighbour(NamedTuple):
    """A file in the folder of a disk, and when it was modified last, in seconds since 1970."""

    file: Reader
    modified_s: float


# Gives the file of that name, None when there is none.
Neighbours = Callable[[str], Neighbour | None]


class Folder:
    """The regular files in the folder that a disk lies in. A context manager that closes those that it opened."""

    def __init__(self, disk: Path) -> None:
        self.path = disk.resolve().parent
        self._files: list[FileReader] = []

    def neighbour(self, name: str) -> Neighbour | None:
        """Open a file by its bare name; None for what is not there, can't be read, or is no regular file."""
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            return None
        path = self.path / name
        try:
            # A link leads out of the folder. A pipe, which would keep the open waiting, is not even opened.
            if not stat.S_ISREG(path.lstat().st_mode):
                return None
            file = FileReader(path, flags=os.O_NOFOLLOW | os.O_NONBLOCK)
            self._files.append(file)
            return Neighbour(file, path.lstat().st_mtime)
        except OSError:
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()


class Parent(NamedTuple):
    """A parent that was found: its name, and where in it a sound footer lies."""

    name: str
    neighbour: Neighbour
    footer: vhd.Footer
    at: int


def find_parent(
    file: Reader, header: vhd.DynamicHeader, *, neighbours: Neighbours | None, chain: tuple[bytes, ...]
) -> Parent:
    """Find the parent of a differencing VHD; `chain` are the unique ids of the disk and of those that it is for.

    Raises Missing, whose message says what was looked for and what was there instead.
    """
    wanted = header.parent_id
    names = tuple(dict.fromkeys(_names(file, header)))
    if not any(wanted) or not names:
        raise Missing(f"it does not say {'which disk its parent is' if names else 'what its parent is called'}")
    if wanted in chain:
        raise Missing(f"its parents form a circle: {names[0]!r} is a child of its own child")
    if len(chain) > MAX_PARENTS:
        raise Missing(f"it has more than {MAX_PARENTS} parents, one behind the other")
    seen = [_look(name, wanted, neighbours) for name in names]
    found = next((one for one in seen if isinstance(one, Parent)), None)
    if found is None:
        raise Missing("; ".join(str(one) for one in seen))
    return found


def modified_since(parent: Parent, header: vhd.DynamicHeader) -> bool:
    """Tell whether the parent was modified at another time than its child remembers: a changed parent spoils it.

    A copy without its times (`cp` without -p) looks the same. Times of FAT have a grain of two seconds.
    """
    return header.parent_time_s > 0 and abs(parent.neighbour.modified_s - _EPOCH_S - header.parent_time_s) > 2


def bare_name(path: str) -> str:
    """Give the last part of a path of any system."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _look(name: str, wanted: bytes, neighbours: Neighbours | None) -> "Parent | str":
    neighbour = neighbours(name) if neighbours else None
    if neighbour is None:
        return f"there is no file {name!r} in its folder"
    found = vhd.find_footer(neighbour.file)
    if found is None or not found[0].checksum_right:
        return f"{name!r} in its folder is no VHD, or a damaged one"
    if found[0].unique_id != wanted:
        return (
            f"{name!r} in its folder is another disk: its id is {uuid.UUID(bytes=found[0].unique_id)}, "
            f"and {uuid.UUID(bytes=wanted)} is wanted"
        )
    return Parent(name, neighbour, *found)


def _names(file: Reader, header: vhd.DynamicHeader) -> Iterator[str]:
    """Give the last part of each path by which the parent is named."""
    paths = [header.parent]
    for code, at, length in header.locators:
        if code in _CODES and 0 < length <= _MAX_PATH_BYTES:
            paths.append(read_exactly(file, at, length).decode(_CODES[code], "replace").split("\0")[0])
    yield from (name for path in paths if (name := bare_name(path)))
