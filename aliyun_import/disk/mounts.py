"""This file reads the system's list of mounts (/proc/self/mountinfo). Its absence is an empty list."""

import re
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
