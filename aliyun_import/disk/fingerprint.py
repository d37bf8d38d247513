"""This file tells whether a disk is the one that it was, as far as that can be told without reading all of it.

Pure. A fingerprint proves that a disk is another one. That it is the same one, a fingerprint proves only for a file
whose time of change (ctime) is kept by the system: `utime` sets the time of modification and can't set that one. The
node of a block device has times of its own, which say nothing of the content. What the fingerprint does not tell, the
CRC-64 of the content has to tell.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Likeness(StrEnum):
    """What two fingerprints tell of the disk: it is the same, it is another, or only its content can tell."""

    SAME = "same"
    UNPROVEN = "unproven"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What is known of a disk at one moment, on this machine.

    `sample` is a digest of the size and of sampled content alone: equal on every machine that holds the same disk.
    `ctime_ns` is None where nothing is known of it: in the journal of a version that did not keep it, and on a file
    system that makes it up. `is_block` tells a block device, which is never believed.
    """

    size_bytes: int
    mtime_ns: int
    device: int
    inode: int
    sample: str
    ctime_ns: int | None = None
    is_block: bool = False

    def likeness(self, before: "Fingerprint") -> Likeness:
        """Hold the disk as it is now against what it was before."""
        if (self.size_bytes, self.sample) != (before.size_bytes, before.sample):
            return Likeness.OTHER
        if self.is_block:
            # A node gets another number, and other times, when the machine starts again.
            return Likeness.UNPROVEN
        if (self.mtime_ns, self.device, self.inode) != (before.mtime_ns, before.device, before.inode):
            return Likeness.OTHER
        if self.ctime_ns is None or self.ctime_ns != before.ctime_ns:
            return Likeness.UNPROVEN
        return Likeness.SAME

    def encoded(self) -> str:
        """Give it as one word, for a line of the journal."""
        word = f"{self.size_bytes}:{self.mtime_ns}:{self.device}:{self.inode}:{self.sample}"
        if self.is_block:
            return f"{word}:block"
        return word if self.ctime_ns is None else f"{word}:{self.ctime_ns}"


def decoded(word: str) -> Fingerprint:
    """Read what `Fingerprint.encoded` wrote, in this version or in one that knew no ctime; ValueError for the rest."""
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


def least(likenesses: Iterable[Likeness]) -> Likeness:
    """Give the likeness of several disks together: one that is another makes all of them another."""
    order = (Likeness.OTHER, Likeness.UNPROVEN, Likeness.SAME)
    return min(likenesses, key=order.index, default=Likeness.SAME)
