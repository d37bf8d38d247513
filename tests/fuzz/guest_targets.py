"""This file lists the file systems, volumes and guests that are fuzzed; what their readers look at is damaged."""

import gzip
import lzma
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from aliyun_import.disk.ext import Ext
from aliyun_import.disk.filesystem import FileSystem
from aliyun_import.disk.guest.initramfs import modules_in
from aliyun_import.disk.guest.inspection import inspect_guest
from aliyun_import.disk.lvm import read_volume_group
from aliyun_import.disk.probe import probe_filesystem
from aliyun_import.disk.reader import BytesReader, Reader, ReadProblem
from aliyun_import.disk.report import Partition
from aliyun_import.disk.tree import Tree
from aliyun_import.disk.xfs import Xfs
from tests.disk.fixtures import image
from tests.disk.test_initramfs import ZSTD, lz4_legacy
from tests.disk.trees import DRIVERS, cpio
from tests.fuzz.mutate import Region

# Reads of a file system's metadata are not longer; longer ones are contents, which anybody may fill with anything.
_METADATA_BYTES = 8192
_CHUNK = 1 << 20
_MAX_NODES = 1500
# The large directory of the tree has 700 names alike; the first of them tell as much.
_MAX_NAMES = 40
# Damage can put a directory into itself. The tree is 170 characters deep.
_MAX_PATH_CHARS = 200


class _Watching:
    """A reader that remembers where it was asked."""

    def __init__(self, data: bytes, metadata_bytes: int) -> None:
        self._inner = BytesReader(data)
        self._metadata_bytes = metadata_bytes
        self.asked: set[Region] = set()

    @property
    def size(self) -> int:
        return self._inner.size

    def pread(self, offset: int, length: int) -> bytes:
        if 0 < length <= self._metadata_bytes:
            self.asked.add((offset, min(offset + length, self.size)))
        return self._inner.pread(offset, length)


@dataclass(frozen=True)
class WatchedTarget:
    """A reader whose places are found out by watching it read the sound image."""

    make: Callable[[], bytes]
    look: Callable[[Reader], None]
    metadata_bytes: int = _METADATA_BYTES

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """Give every place that the reader asked for."""
        watching = _Watching(self.make(), self.metadata_bytes)
        self.look(watching)
        return tuple(sorted(watching.asked))

    @property
    def read(self) -> Callable[[bytes], None]:
        """Give the function that reads an image."""
        return lambda data: self.look(BytesReader(data))


def _walk(files: FileSystem) -> None:
    """Go through everything that a tree has, as far as it can be read."""
    tree = Tree(files)
    pending = [""]
    seen = 0
    while pending and seen < _MAX_NODES:
        folder = pending.pop()
        names: tuple[str, ...] = ()
        with suppress(ReadProblem):
            names = tree.names(folder or "/")
        for name in names[:_MAX_NAMES]:
            path, seen = f"{folder}/{name}", seen + 1
            with suppress(ReadProblem):
                if tree.link(path) is None and not tree.names(path):
                    file = tree.open(path)
                    for offset in range(0, min(file.size, 8 * _CHUNK), _CHUNK):
                        file.pread(offset, _CHUNK)
                elif len(path) < _MAX_PATH_CHARS:
                    pending.append(path)


def _read_ext(reader: Reader) -> None:
    with suppress(ReadProblem):
        _walk(Ext(reader))


def _read_xfs(reader: Reader) -> None:
    with suppress(ReadProblem):
        _walk(Xfs(reader))


def _read_lvm(reader: Reader) -> None:
    with suppress(ReadProblem):
        for volume in read_volume_group(reader).volumes:
            with suppress(ReadProblem):
                opened = volume.open(reader)
                for offset in range(0, min(opened.size, 16 * _CHUNK), _CHUNK):
                    opened.pread(offset, _CHUNK)


def _read_guest(reader: Reader) -> None:
    """Inspect a file system as the one partition of a disk."""
    try:
        signature = probe_filesystem(reader)
    except ReadProblem:
        return
    part = Partition(
        number=1,
        start_bytes=0,
        size_bytes=reader.size,
        type_name="Linux",
        type_id="0x83",
        filesystem=signature.name if signature else "",
        uuid=signature.uuid if signature else "",
    )
    inspect_guest(reader, [part])


def _read_initramfs(reader: Reader) -> None:
    with suppress(ReadProblem):
        modules_in(reader, DRIVERS)


def _modules() -> bytes:
    return cpio(f"usr/lib/modules/6.1/kernel/drivers/net/module-{number}.ko" for number in range(300))


def _initramfs() -> bytes:
    return cpio(["kernel/x86/microcode/GenuineIntel.bin"]) + gzip.compress(_modules(), mtime=0) + bytes(512)


def _lvm() -> bytes:
    return image("lvm-head") + bytes(24 << 20)


GUEST_TARGETS: dict[str, WatchedTarget] = {
    "ext4": WatchedTarget(lambda: image("ext4"), _read_ext),
    "ext4-inline": WatchedTarget(lambda: image("ext4-inline"), _read_ext),
    "ext4-meta-bg": WatchedTarget(lambda: image("ext4-meta-bg"), _read_ext),
    "ext3": WatchedTarget(lambda: image("ext3"), _read_ext),
    "xfs-v5": WatchedTarget(lambda: image("xfs-v5"), _read_xfs),
    "xfs-v4": WatchedTarget(lambda: image("xfs-v4"), _read_xfs),
    "xfs-1k": WatchedTarget(lambda: image("xfs-1k"), _read_xfs),
    "lvm": WatchedTarget(_lvm, _read_lvm),
    "guest-ext4": WatchedTarget(lambda: image("guest-debian"), _read_guest),
    "guest-xfs": WatchedTarget(lambda: image("guest-rhel-root"), _read_guest),
    "initramfs": WatchedTarget(_initramfs, _read_initramfs, metadata_bytes=1 << 20),
    "initramfs-xz": WatchedTarget(lambda: lzma.compress(_modules()), _read_initramfs, metadata_bytes=1 << 20),
    "initramfs-zstd": WatchedTarget(lambda: ZSTD.compress(_modules()), _read_initramfs, metadata_bytes=1 << 20),
    "initramfs-lz4": WatchedTarget(lambda: lz4_legacy(_modules()), _read_initramfs, metadata_bytes=1 << 20),
}
