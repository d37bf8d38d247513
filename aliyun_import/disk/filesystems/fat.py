"""FAT12, FAT16 and FAT32, as far as EFI system partitions need: names and small files.

The specification is Microsoft's "FAT: General Overview of On-Disk Format" 1.03. All counts are limited, because the
numbers on the disk are untrusted.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from aliyun_import.disk.filesystems.interface import (
    FileSystemFacts,
    FileSystemFormat,
    Kind,
    Node,
    Run,
    Signature,
    read_runs,
)
from aliyun_import.disk.reader import Bad, Missing, Reader, Recent, Unsupported, read_exactly

# Directories of an ESP have tens of names with about 100 bytes each. The limit of FAT is 2 MiB.
MAX_DIRECTORY_BYTES = 512 * 1024
# Only the beginning of UEFI programs is read, so only these clusters are followed.
_HEAD_BYTES = 64 * 1024
_MAX_NODES = 20_000
_KEPT_RUNS = 50_000
# A unified kernel image of 200 MiB has 400,000 clusters of 512 bytes. Following them takes half a second.
_MAX_CLUSTERS = 1 << 19
_FAT_PAGE = 4096
_DIRECTORY, _VOLUME, _LONG_NAME = 0x10, 0x08, 0x0F
# The specification derives the type from the number of clusters.
_FAT12_CLUSTERS, _FAT16_CLUSTERS = 4085, 65525


class _Entry(NamedTuple):
    """A name in a directory. `cluster` is the first one of its chain, 0 for an empty file."""

    name: str
    is_directory: bool
    cluster: int
    size_bytes: int


class Fat:
    """A FAT file system. Its methods raise Bad, Unsupported or Missing.

    FAT has no inodes: nodes are numbered when they are listed. Free space is not counted.
    """

    def __init__(self, reader: Reader, *, label: str = "", uuid: str = "") -> None:
        """Read the boot sector. Raises Bad if its numbers are impossible."""
        self._reader = reader
        boot = read_exactly(reader, 0, 512)
        sector, per_cluster, reserved, copies, root_entries, small_count = struct.unpack_from("<HBHBHH", boot, 11)
        (small_fat,) = struct.unpack_from("<H", boot, 22)
        large_count, large_fat = struct.unpack_from("<II", boot, 32)
        if sector not in (512, 1024, 2048, 4096) or per_cluster not in (1, 2, 4, 8, 16, 32, 64, 128):
            raise Bad(f"FAT boot sector with {sector}-byte sectors and {per_cluster} sectors per cluster", offset=11)
        fat_sectors, sectors = small_fat or large_fat, small_count or large_count
        if boot[510:512] != b"\x55\xaa" or not (reserved and copies and fat_sectors and sectors):
            raise Bad("FAT boot sector without its signature, its tables or its size", offset=0)
        self.cluster_bytes = sector * per_cluster
        self._fat_at, self._fat_bytes = reserved * sector, fat_sectors * sector
        self._root_at, self._root_bytes = self._fat_at + copies * self._fat_bytes, root_entries * 32
        self._data_at = self._root_at + -(-self._root_bytes // sector) * sector
        self._clusters = (sectors * sector - self._data_at) // self.cluster_bytes
        if self._clusters <= 0 or self._data_at >= reader.size:
            raise Bad("FAT boot sector with a data area outside of the partition", offset=0)
        self._bits = 12 if self._clusters < _FAT12_CLUSTERS else 16 if self._clusters < _FAT16_CLUSTERS else 32
        self._root_cluster = struct.unpack_from("<I", boot, 44)[0] if self._bits == 32 else 0
        self._page_at, self._page = -1, b""
        self.root = 0
        self.facts = FileSystemFacts(
            type="vfat", uuid=uuid, label=label, size_bytes=reader.size, free_bytes=0, inodes=0, free_inodes=0
        )
        # The entry of each node, and the number of each node by the number of its directory and its name.
        self._nodes = [_Entry("", is_directory=True, cluster=self._root_cluster, size_bytes=0)]
        self._numbers: dict[tuple[int, str], int] = {}
        self._runs: Recent[Sequence[Run]] = Recent(_KEPT_RUNS)

    def node(self, number: int) -> Node:
        """Return a node that was listed before."""
        entry = self._nodes[number]
        kind = Kind.DIRECTORY if entry.is_directory else Kind.FILE
        return Node(number, kind, entry.size_bytes, entry.size_bytes, immutable=False)

    def entries(self, number: int) -> Iterator[tuple[str, int]]:
        """Yield the entries of a directory, in the order of the disk."""
        if not self._nodes[number].is_directory:
            raise Missing(f"{self._nodes[number].name} is not a directory")
        for entry in self._names(self._directory(number)):
            child = self._numbers.setdefault((number, entry.name), len(self._nodes))
            if child == len(self._nodes):
                if child >= _MAX_NODES:
                    raise Bad(f"a FAT file system has more than {_MAX_NODES} files")
                self._nodes.append(entry)
            yield entry.name, child

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Read part of a file. The result is short at its end."""
        length = max(min(length, self._nodes[number].size_bytes - offset), 0)
        runs = self._runs_to(number, offset + length)
        return read_runs(self._reader, runs, block_bytes=self.cluster_bytes, offset=offset, length=length)

    def target(self, number: int) -> str:
        """Raise Missing: FAT has no symbolic links."""
        raise Missing(f"{self._nodes[number].name} is not a symbolic link")

    def _runs_to(self, number: int, end: int) -> Sequence[Run]:
        """Return the runs of at least the first `end` bytes of a file, in blocks of `cluster_bytes`.

        The runs are cached, because a chain can only be followed from its beginning.
        """
        known = self._runs.get(number)
        if known is not None:
            return known
        # The head of a program needs a few clusters. For a range after it, the whole chain is followed.
        size, entry, is_head = self.cluster_bytes, self._nodes[number], end <= _HEAD_BYTES
        runs: list[Run] = []
        count = -(-(end if is_head else entry.size_bytes) // size)
        if count > _MAX_CLUSTERS:
            raise Unsupported(f"{entry.name} has {count} FAT clusters, and the limit is {_MAX_CLUSTERS}")
        for logical, cluster in enumerate(self._chain(entry.cluster, count)):
            position, last = self._data_at + (cluster - 2) * size, runs[-1] if runs else None
            if last is not None and last.position + last.count * size == position:
                runs[-1] = Run(last.logical, last.count + 1, last.position)
            else:
                runs.append(Run(logical, 1, position))
        if (runs[-1].logical + runs[-1].count if runs else 0) < count:
            raise Bad(f"the FAT chain of {entry.name} ends before the end of the file")
        return runs if is_head else self._runs.keep(number, runs, parts=len(runs))

    def _directory(self, number: int) -> bytes:
        """Read a whole directory. Raises Bad if it is too long, because a part of the names would be misleading."""
        if number == self.root and self._bits != 32:
            return read_exactly(self._reader, self._root_at, self._root_bytes)
        most, size = MAX_DIRECTORY_BYTES // self.cluster_bytes + 1, self.cluster_bytes
        clusters = list(self._chain(self._nodes[number].cluster, most))
        if len(clusters) == most:
            raise Bad(f"a FAT directory has more than {MAX_DIRECTORY_BYTES} bytes, or no end")
        return b"".join(read_exactly(self._reader, self._data_at + (one - 2) * size, size) for one in clusters)

    def _chain(self, cluster: int, most: int) -> Iterator[int]:
        """Yield the clusters of a chain, at most `most`, because a chain may be a loop."""
        for _ in range(most):
            if not 2 <= cluster < self._clusters + 2:
                return
            yield cluster
            cluster = self._next(cluster)

    def _names(self, raw: bytes) -> Iterator[_Entry]:
        long_name: dict[int, str] = {}
        for at in range(0, len(raw) - 31, 32):
            entry = raw[at : at + 32]
            if entry[0] == 0:
                return
            if entry[0] == 0xE5:
                long_name = {}
            elif entry[11] & 0x3F == _LONG_NAME:
                # 13 UTF-16 characters in three pieces. The entries are numbered, the last one first.
                piece = (entry[1:11] + entry[14:26] + entry[28:32]).decode("utf-16-le", "replace")
                long_name[entry[0] & 0x1F] = piece.split("\0")[0].rstrip("\uffff")
            elif entry[11] & _VOLUME:
                long_name = {}
            else:
                name = "".join(long_name[number] for number in sorted(long_name)) or _short_name(entry)
                long_name = {}
                if name in (".", ".."):
                    continue
                high, low, size = *struct.unpack_from("<H", entry, 20), *struct.unpack_from("<HI", entry, 26)
                cluster = low | (high << 16 if self._bits == 32 else 0)
                yield _Entry(name, bool(entry[11] & _DIRECTORY), cluster, size)

    def _next(self, cluster: int) -> int:
        """Return the cluster after this one. An end mark is larger than any cluster number."""
        at = cluster * self._bits // 8
        if at + 4 > self._fat_bytes + 2:
            raise Bad(f"cluster {cluster} is outside of the FAT", offset=self._fat_at)
        raw = self._fat(at, 4)
        if self._bits == 32:
            return int.from_bytes(raw, "little") & 0x0FFFFFFF
        if self._bits == 16:
            return int.from_bytes(raw[:2], "little")
        pair = int.from_bytes(raw[:2], "little")
        return pair >> 4 if cluster & 1 else pair & 0xFFF

    def _fat(self, at: int, length: int) -> bytes:
        page = at // _FAT_PAGE * _FAT_PAGE
        if page != self._page_at:
            # Four bytes more, for an entry that begins in this page and ends in the next one.
            self._page_at, self._page = page, self._reader.pread(self._fat_at + page, _FAT_PAGE + 4)
        return self._page[at - page : at - page + length]


def _short_name(entry: bytes) -> str:
    # A first byte of 0x05 stands for 0xE5, which marks deleted entries. Bits 3 and 4 of byte 12 mean lower case.
    raw = (b"\xe5" if entry[0] == 5 else entry[:1]) + entry[1:11]
    stem, suffix = raw[:8].decode("cp437").rstrip(), raw[8:11].decode("cp437").rstrip()
    stem = stem.lower() if entry[12] & 0x08 else stem
    suffix = suffix.lower() if entry[12] & 0x10 else suffix
    return f"{stem}.{suffix}" if suffix else stem


def _vfat(head: bytes) -> Signature | None:
    if head[510:512] != b"\x55\xaa" or head[0] not in (0xEB, 0xE9):
        return None
    if head[82:90] == b"FAT32   ":
        return Signature("vfat", label=_fat_label(head[71:82]), uuid=volume_serial(head[67:71]))
    if head[54:59] in (b"FAT16", b"FAT12") or head[54:62] == b"FAT     ":
        return Signature("vfat", label=_fat_label(head[43:54]), uuid=volume_serial(head[39:43]))
    return None


def volume_serial(raw: bytes) -> str:
    """Return the serial number of a FAT or exFAT volume in the form of Linux."""
    number = int.from_bytes(raw, "little")
    return f"{number >> 16:04X}-{number & 0xFFFF:04X}"


def _fat_label(raw: bytes) -> str:
    label = raw.decode("ascii", "replace").strip()
    return "" if label == "NO NAME" else label


FAT = FileSystemFormat(
    names=("vfat",),
    probe=_vfat,
    open=lambda reader, signature: Fat(reader, label=signature.label, uuid=signature.uuid),
)
