"""Properties of a disk that are read without its whole content: fingerprint, holes, mounts, users of a block device.

Different fingerprints prove that a disk changed. Equal fingerprints prove that it did not change only for a file with a
change time (ctime) of the system, because `utime` can set the modification time and not the change time. The node of a
block device has times that are independent of the content. Without such a proof, the CRC-64 of the content has to be
compared.

A hole is not read: it is uploaded as zeros, and the CRC-64 of the disk is computed with zeros there. So a wrong answer
of the file system would not be detected by any proof. Network and FUSE file systems may give wrong answers, and ZFS may
while data is not written yet.
"""

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from aliyun_import.limits import KIB, MIB


class Comparison(StrEnum):
    """The result of comparing two fingerprints: the same disk, another one, or unknown without reading the content."""

    SAME = "same"
    UNPROVEN = "unproven"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """The properties of a disk at one moment, on this machine.

    `sample` is a digest of the size and of sampled content, equal on all machines with the same disk. `ctime_ns` is
    None if it is unknown: in the journal of a version that did not record it, and on a file system without one.
    `is_block` marks a block device, whose times prove nothing.
    """

    size_bytes: int
    mtime_ns: int
    device: int
    inode: int
    sample: str
    ctime_ns: int | None = None
    is_block: bool = False

    def comparison(self, before: "Fingerprint") -> Comparison:
        """Compare the current state of the disk with an earlier one."""
        if (self.size_bytes, self.sample) != (before.size_bytes, before.sample):
            return Comparison.OTHER
        if self.is_block:
            # A device node has another inode number and other times after a restart of the machine.
            return Comparison.UNPROVEN
        if (self.mtime_ns, self.device, self.inode) != (before.mtime_ns, before.device, before.inode):
            return Comparison.OTHER
        if self.ctime_ns is None or self.ctime_ns != before.ctime_ns:
            return Comparison.UNPROVEN
        return Comparison.SAME

    def encoded(self) -> str:
        """Return it as one word for the journal."""
        word = f"{self.size_bytes}:{self.mtime_ns}:{self.device}:{self.inode}:{self.sample}"
        if self.is_block:
            return f"{word}:block"
        return word if self.ctime_ns is None else f"{word}:{self.ctime_ns}"


def decoded(word: str) -> Fingerprint:
    """Parse a result of `Fingerprint.encoded`, also of versions without ctime. Raises ValueError for other text."""
    size_bytes, mtime_ns, device, inode, sample, *rest = word.split(":")
    last = rest[0] if rest else None
    return Fingerprint(
        size_bytes=int(size_bytes),
        mtime_ns=int(mtime_ns),
        device=int(device),
        inode=int(inode),
        sample=sample,
        ctime_ns=int(last) if last not in (None, "block") else None,
        is_block=last == "block",
    )


def least(comparisons: Iterable[Comparison]) -> Comparison:
    """Return the comparison of several disks together, which is the least of theirs."""
    order = (Comparison.OTHER, Comparison.UNPROVEN, Comparison.SAME)
    return min(comparisons, key=order.index, default=Comparison.SAME)


_MOUNTINFO = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(r"\\([0-7]{3})")
# File systems without a change time. They report the modification time in its place, which a user can set, or the time
# of a server.
_WITHOUT_CTIME = frozenset({"vfat", "msdos", "exfat", "cifs", "smb3", "9p", "fuseblk"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A mount: number of the device ("8:1"), mount point, type of the file system, source."""

    device: str
    point: str
    kind: str
    source: str
    read_only: bool


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """Parse the lines of mountinfo, as proc(5) describes them. Pure; lines of another form are skipped."""
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
    """Return the mounts in the namespace of this process, none on systems without /proc."""
    try:
        return parse_mounts(_MOUNTINFO.read_text(errors="surrogateescape"))
    except OSError:
        return ()


def keeps_ctime(device: str, mounts: tuple[Mount, ...]) -> bool:
    """Return whether files on a device ("8:1") have a change time that no user can set. Pure."""
    kinds = {mount.kind for mount in mounts if mount.device == device}
    return not any(kind in _WITHOUT_CTIME or kind.startswith("fuse.") for kind in kinds)


def _plain(word: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), word)


_SYS_DEVICES = Path("/sys/dev/block")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The users of a block device, as text. `read_only`: all of them are read-only mounts."""

    by: tuple[str, ...]
    read_only: bool


def holder_of(path: Path) -> Held | None:
    """Return the users of a block device, or None for a device that is not in use and for other kinds of files."""
    try:
        status = path.stat()
        if not stat.S_ISBLK(status.st_mode):
            return None
    except OSError:
        return None
    if not _is_held(path):
        return None
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    related = dict(_related(_SYS_DEVICES / number))
    return held_by({number: path.name, **related}, read_mounts())


def _is_held(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError as error:
        return error.errno == errno.EBUSY  # opening the disk reports other errors
    return False


def held_by(devices: dict[str, str], mounts: tuple[Mount, ...]) -> Held:
    """Return the users of a device. `devices` maps the numbers of the device and of those on it to names. Pure."""
    own_mounts = [mount for mount in mounts if mount.device in devices or mount.source in _nodes(devices)]
    users = [
        f"{mount.source} is mounted at {mount.point}{', read-only' if mount.read_only else ''}" for mount in own_mounts
    ]
    on_top = [name for name in devices.values() if name.startswith(("dm-", "md"))]
    if not users and on_top:
        users = [f"{', '.join(on_top)} (LVM, RAID or dm-crypt) is on top of it"]
    return Held(
        by=tuple(dict.fromkeys(users)) or ("another program, swap or another mount namespace uses it",),
        read_only=bool(own_mounts) and all(mount.read_only for mount in own_mounts),
    )


def _nodes(devices: dict[str, str]) -> set[str]:
    """Return the device nodes. Mounts of some file systems (btrfs) have another number than their device."""
    return {f"/dev/{name}" for name in devices.values()}


def _related(entry: Path) -> Iterator[tuple[str, str]]:
    """Yield number and name of the disk of a partition, of the partitions of a device, and of the devices on top.

    The other partitions of the disk of a partition are omitted: their users do not use this one.
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


# Errors of SEEK_DATA for file systems and kinds of files without holes.
_NO_HOLES = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.ESPIPE})
# For these Linux answers from its own block maps. For others the allocated size is compared, too. That is not possible
# here, because space that is reserved and not written (fallocate) is allocated and a hole.
_LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "f2fs", "bcachefs"})
# The allocated size includes metadata of the file.
_SLACK_BYTES = MIB
_SAMPLE_RANGE_BYTES = 4 * KIB
_MAX_HOLES_TRIED = 128


@dataclass(frozen=True, slots=True)
class Extent:
    """A range of the disk that may contain data: [start, end), in bytes."""

    start: int
    end: int


def find_extents(descriptor: int, size_bytes: int) -> tuple[Extent, ...]:
    """Return the ranges that the file system reports as data: the whole file if it does not report holes.

    Written data is flushed first, so that it is included. Raises the OSErrors of the file system.
    """
    with contextlib.suppress(OSError):
        os.fsync(descriptor)
    return tuple(_walk(descriptor, size_bytes))


def reason_to_distrust(
    descriptor: int, size_bytes: int, extents: Sequence[Extent], *, kinds: frozenset[str], allocated_bytes: int
) -> str:
    """Return a clause that contradicts the holes, or an empty one: data in them, or a larger allocated size.

    `kinds` are the types of the file system that the file may be on, empty if unknown.
    """
    data_bytes = sum(extent.end - extent.start for extent in extents)
    if kinds - _LOCAL and allocated_bytes > data_bytes + _SLACK_BYTES and data_bytes < size_bytes:
        return f"{allocated_bytes} bytes are allocated, and {data_bytes} are reported as data"
    for offset, length in sample_ranges(holes_of(size_bytes, extents)):
        if any(os.pread(descriptor, length, offset)):
            return f"there is data at byte {offset}, in a range that is reported as a hole"
    return ""


def holes_of(size_bytes: int, extents: Sequence[Extent]) -> list[Extent]:
    """Return the ranges between the extents. Pure."""
    starts = [0, *(extent.end for extent in extents)]
    ends = [*(extent.start for extent in extents), size_bytes]
    return [Extent(start, end) for start, end in zip(starts, ends, strict=True) if start < end]


def sample_ranges(holes: Sequence[Extent]) -> Iterator[tuple[int, int]]:
    """Yield the (offset, length) ranges that are tested for data: both ends and the middle of holes. Pure."""
    step = -(-len(holes) // _MAX_HOLES_TRIED) or 1
    for hole in holes[::step]:
        length = min(_SAMPLE_RANGE_BYTES, hole.end - hole.start)
        middle = hole.start + (hole.end - hole.start - length) // 2
        for offset in dict.fromkeys((hole.start, middle, hole.end - length)):
            yield offset, length


def _walk(descriptor: int, size_bytes: int) -> Iterator[Extent]:
    end = 0
    while end < size_bytes:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
            next_end = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            if error.errno in _NO_HOLES:
                yield Extent(end, size_bytes)
                return
            raise
        if start >= size_bytes:
            return
        end = min(next_end, size_bytes)
        yield Extent(start, end)
