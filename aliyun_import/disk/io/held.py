"""This file reads the system's list of mounts (/proc/self/mountinfo). Its absence is an empty list."""

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MOUNTINFO = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(r"\\([0-7]{3})")
# These keep no time of change of their own. They show the time of modification in its place, which a user can set, or
# what a server says.
_MAKE_UP_CTIME = frozenset({"vfat", "msdos", "exfat", "cifs", "smb3", "9p", "fuseblk"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mount: the device's number ("8:1"), where it is mounted, the kind of file system, what was mounted."""

    device: str
    point: str
    kind: str
    source: str
    read_only: bool


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """Read the lines of mountinfo, as proc(5) describes them. Pure; lines of another form are passed over."""
    mounts = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields, more = left.split(), right.split()
        if len(fields) < 6 or len(more) < 3:
            continue
        read_only = "ro" in more[2].split(",")
        mounts.append(
            Mount(device=fields[2], point=_plain(fields[4]), kind=more[0], source=_plain(more[1]), read_only=read_only)
        )
    return tuple(mounts)


def read_mounts() -> tuple[Mount, ...]:
    """Give the mounts that this process sees."""
    try:
        return parse_mounts(_MOUNTINFO.read_text(errors="surrogateescape"))
    except OSError:
        return ()


def keeps_ctime(device: str, mounts: tuple[Mount, ...]) -> bool:
    """Tell whether files on a device ("8:1") have a time of change that no user can set. Pure."""
    kinds = {mount.kind for mount in mounts if mount.device == device}
    return not any(kind in _MAKE_UP_CTIME or kind.startswith("fuse.") for kind in kinds)


def _plain(word: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), word)


_BY_NUMBER = Path("/sys/dev/block")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Who holds a device, in words. `read_only`: every holder that was found is a mount that can't be written to."""

    by: tuple[str, ...]
    read_only: bool


def holder_of(path: Path) -> Held | None:
    """Tell who holds a block device; None for one that nobody holds, and for every other kind of file."""
    try:
        status = path.stat()
        if not stat.S_ISBLK(status.st_mode):
            return None
    except OSError:
        return None
    if not _is_held(path):
        return None
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    related = dict(_related(_BY_NUMBER / number))
    return held_by({number: path.name, **related}, read_mounts())


def _is_held(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError as error:
        return error.errno == errno.EBUSY  # whoever opens it for reading tells of any other trouble
    return False


def held_by(devices: dict[str, str], mounts: tuple[Mount, ...]) -> Held:
    """Say who holds a device that is held. Pure. `devices` are its numbers and names, and those that are made of it."""
    mine = [mount for mount in mounts if mount.device in devices or mount.source in _nodes(devices)]
    words = [f"{mount.source} is mounted at {mount.point}{', read-only' if mount.read_only else ''}" for mount in mine]
    made_of_it = [name for name in devices.values() if name.startswith(("dm-", "md"))]
    if not words and made_of_it:
        words = [f"{', '.join(made_of_it)} (LVM, RAID or dm-crypt) is made of it"]
    return Held(
        by=tuple(dict.fromkeys(words)) or ("another program, swap or another mount namespace holds it",),
        read_only=bool(mine) and all(mount.read_only for mount in mine),
    )


def _nodes(devices: dict[str, str]) -> set[str]:
    """Name the nodes: some file systems (btrfs) are mounted under a number that is not the device's."""
    return {f"/dev/{name}" for name in devices.values()}


def _related(entry: Path) -> Iterator[tuple[str, str]]:
    """Give number and name of the partitions of a device, of the disk that it is a partition of, and of what is on it.

    A disk that a partition lies on counts as itself alone: what else is on it does not hold the partition.
    """
    real = entry.resolve()
    if (real / "partition").exists():
        yield from _named(real.parent)
    for part in (real, *(child for child in _children(real) if (child / "partition").exists())):
        if part != real:
            yield from _named(part)
        for holder in _children(part / "holders"):
            yield from _named(holder)
            yield from _related(holder)


def _named(entry: Path) -> Iterator[tuple[str, str]]:
    try:
        yield (entry / "dev").read_text().strip(), entry.name
    except OSError:
        return


def _children(directory: Path) -> tuple[Path, ...]:
    try:
        return tuple(sorted(directory.iterdir()))
    except OSError:
        return ()
