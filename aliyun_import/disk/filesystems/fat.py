"""FAT12, FAT16 and FAT32: names and small files, which is all that an EFI system partition needs.

Written after Microsoft's "FAT: General Overview of On-Disk Format" 1.03. Every count on the disk is
limited here, because the numbers are untrusted.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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

# An ESP's directories have tens of names, of some 100 bytes each. FAT's own limit are 2 MiB.
MAX_DIRECTORY_BYTES = 512 * 1024
# For files that are read in one piece: the heads of loaders.
MAX_FILE_BYTES = 16 * 1024 * 1024
# A unified kernel image of 200 MiB in clusters of 512 bytes has 400,000; following them takes half a second.
_MAX_CLUSTERS = 1 << 19
_FAT_PAGE = 4096
_DIRECTORY, _VOLUME, _LONG_NAME = 0x10, 0x08, 0x0F
# The sizes in clusters that decide the type, as the specification has them.
_FAT12_CLUSTERS, _FAT16_CLUSTERS = 4085, 65525


@dataclass(frozen=True, slots=True)
class FatEntry:
    """A name in a directory. `cluster` is where its chain begins, 0 for an empty file."""

    name: str
    is_directory: bool
    cluster: int
    size_bytes: int


class FatVolume:
    """A FAT file system on a reader. Every method raises Bad, or Missing for a path that is not there, or OSError."""

    def __init__(self, reader: Reader) -> None:
        """Read the boot sector; Bad when it makes no sense."""
        self._reader = reader
        boot = read_exactly(reader, 0, 512)
        sector, per_cluster, reserved, copies, root_entries, small_count = struct.unpack_from("<HBHBHH", boot, 11)
        (small_fat,) = struct.unpack_from("<H", boot, 22)
        large_count, large_fat = struct.unpack_from("<II", boot, 32)
        if sector not in (512, 1024, 2048, 4096) or per_cluster not in (1, 2, 4, 8, 16, 32, 64, 128):
            raise Bad(f"FAT boot sector with {sector}-byte sectors, {per_cluster} to a cluster", offset=11)
        fat_sectors, sectors = small_fat or large_fat, small_count or large_count
        if boot[510:512] != b"\x55\xaa" or not (reserved and copies and fat_sectors and sectors):
            raise Bad("FAT boot sector without its signature, its tables or its size", offset=0)
        self.cluster_bytes = sector * per_cluster
        self._fat_at, self._fat_bytes = reserved * sector, fat_sectors * sector
        self._root_at, self._root_bytes = self._fat_at + copies * self._fat_bytes, root_entries * 32
        self._data_at = self._root_at + -(-self._root_bytes // sector) * sector
        self._clusters = (sectors * sector - self._data_at) // self.cluster_bytes
        if self._clusters <= 0 or self._data_at >= reader.size:
            raise Bad("FAT boot sector whose data area is outside of the partition", offset=0)
        self._bits = 12 if self._clusters < _FAT12_CLUSTERS else 16 if self._clusters < _FAT16_CLUSTERS else 32
        self._root_cluster = struct.unpack_from("<I", boot, 44)[0] if self._bits == 32 else 0
        self._page_at, self._page = -1, b""

    def entries(self, path: str = "") -> list[FatEntry]:
        """List a directory by its path ("EFI/BOOT", case does not matter), in the order of the disk."""
        return list(self._names(self._directory(path)))

    def read(self, path: str, *, length: int = MAX_FILE_BYTES) -> bytes:
        """Read a file from its beginning, at most `length` bytes of it."""
        folder, _, name = path.rpartition("/")
        entry = self._find(self.entries(folder), name)
        if entry.is_directory:
            raise Missing(f"{path} is a directory")
        return self._chain(entry.cluster, min(entry.size_bytes, length, MAX_FILE_BYTES), exact=True)

    def runs(self, path: str) -> Sequence[Run]:
        """Return the map of a file, its clusters as blocks of `cluster_bytes`."""
        folder, _, name = path.rpartition("/")
        entry = self._find(self.entries(folder), name)
        runs: list[Run] = []
        cluster, size = entry.cluster, self.cluster_bytes
        count = -(-entry.size_bytes // size)
        if count > _MAX_CLUSTERS:
            raise Unsupported(f"{path} is on FAT and has {count} clusters, more than are read there")
        for logical in range(count):
            if not 2 <= cluster < self._clusters + 2:
                raise Bad(f"a FAT chain ends {count - logical} clusters before its file does")
            position, last = self._data_at + (cluster - 2) * size, runs[-1] if runs else None
            if last is not None and last.position + last.count * size == position:
                runs[-1] = Run(last.logical, last.count + 1, last.position)
            else:
                runs.append(Run(logical, 1, position))
            cluster = self._next(cluster)
        return runs

    def _directory(self, path: str) -> bytes:
        raw = (
            self._directory_chain(self._root_cluster)
            if self._bits == 32
            else read_exactly(self._reader, self._root_at, self._root_bytes)
        )
        for name in filter(None, path.split("/")):
            entry = self._find(self._names(raw), name)
            if not entry.is_directory:
                raise Missing(f"{name} is not a directory")
            raw = self._directory_chain(entry.cluster)
        return raw

    def _directory_chain(self, cluster: int) -> bytes:
        """Read a directory; Bad when it is longer than any should be: a part of its names would be misleading."""
        raw = self._chain(cluster, MAX_DIRECTORY_BYTES + 1)
        if len(raw) > MAX_DIRECTORY_BYTES:
            raise Bad(f"a FAT directory has more than {MAX_DIRECTORY_BYTES} bytes, or no end")
        return raw

    @staticmethod
    def _find(entries: Iterator[FatEntry] | list[FatEntry], name: str) -> FatEntry:
        wanted = name.casefold()
        for entry in entries:
            if entry.name.casefold() == wanted:
                return entry
        raise Missing(f"there is no {name}")

    def _names(self, raw: bytes) -> Iterator[FatEntry]:
        long_name: dict[int, str] = {}
        for at in range(0, len(raw) - 31, 32):
            entry = raw[at : at + 32]
            if entry[0] == 0:
                return
            if entry[0] == 0xE5:
                long_name = {}
            elif entry[11] & 0x3F == _LONG_NAME:
                # 13 UTF-16 characters in three pieces; pieces come last first, numbered.
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
                yield FatEntry(name, bool(entry[11] & _DIRECTORY), cluster, size)

    def _chain(self, cluster: int, limit: int, *, exact: bool = False) -> bytes:
        """Follow a chain of clusters up to `limit` bytes. `exact`: Bad when it ends before."""
        pieces, got = [], 0
        # A chain has at most one link per requested byte: a loop ends here, too.
        while got < limit and 2 <= cluster < self._clusters + 2:
            piece = min(self.cluster_bytes, limit - got)
            pieces.append(read_exactly(self._reader, self._data_at + (cluster - 2) * self.cluster_bytes, piece))
            got += piece
            cluster = self._next(cluster)
        if exact and got < limit:
            raise Bad(f"a FAT chain ends {limit - got} bytes before its file does")
        return b"".join(pieces)

    def _next(self, cluster: int) -> int:
        """Return the cluster after this one; any end mark is past every cluster there is."""
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
            # A few bytes more, for an entry that begins in this page and ends in the next.
            self._page_at, self._page = page, self._reader.pread(self._fat_at + page, _FAT_PAGE + 4)
        return self._page[at - page : at - page + length]


def _short_name(entry: bytes) -> str:
    # 0x05 stands for a first byte of 0xE5, which would mean "deleted"; bits 3 and 4 of byte 12 mean lower case.
    raw = (b"\xe5" if entry[0] == 5 else entry[:1]) + entry[1:11]
    stem, suffix = raw[:8].decode("cp437").rstrip(), raw[8:11].decode("cp437").rstrip()
    stem = stem.lower() if entry[12] & 0x08 else stem
    suffix = suffix.lower() if entry[12] & 0x10 else suffix
    return f"{stem}.{suffix}" if suffix else stem


_MAX_NODES = 20_000
_KEPT_RUNS = 50_000


class FatTree:
    """A FAT file system whose nodes are numbered as they are met: FAT itself has no inodes.

    The free space is not counted.
    """

    def __init__(self, reader: Reader, *, label: str = "", uuid: str = "") -> None:
        self._volume = FatVolume(reader)
        self.root = 0
        self.facts = FileSystemFacts(
            type="vfat", uuid=uuid, label=label, size_bytes=reader.size, free_bytes=0, inodes=0, free_inodes=0
        )
        # Path and node by number.
        self._nodes: list[tuple[str, Node]] = [("", Node(0, Kind.DIRECTORY, 0, 0, immutable=False))]
        self._numbers: dict[str, int] = {"": 0}
        self._reader = reader
        self._runs: Recent[Sequence[Run]] = Recent(_KEPT_RUNS)

    def node(self, number: int) -> Node:
        """Return a node that was listed before."""
        return self._nodes[number][1]

    def entries(self, number: int) -> Iterator[tuple[str, int]]:
        """Yield the entries of a directory."""
        path, node = self._nodes[number]
        if node.kind is not Kind.DIRECTORY:
            raise Missing(f"{path} is not a directory")
        for entry in self._volume.entries(path):
            below = f"{path}/{entry.name}".lstrip("/")
            if below not in self._numbers:
                if len(self._nodes) >= _MAX_NODES:
                    raise Bad(f"a FAT file system has more than {_MAX_NODES} files")
                kind = Kind.DIRECTORY if entry.is_directory else Kind.FILE
                child = Node(len(self._nodes), kind, entry.size_bytes, entry.size_bytes, immutable=False)
                self._numbers[below] = child.number
                self._nodes.append((below, child))
            yield entry.name, self._numbers[below]

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Read part of a file, short at its end. A FAT chain has no way in but its beginning, so its map is cached."""
        path, node = self._nodes[number]
        runs = self._runs.get(number)
        if runs is None:
            runs = self._volume.runs(path)
            self._runs.keep(number, runs, parts=len(runs))
        length = max(min(length, node.size_bytes - offset), 0)
        return read_runs(self._reader, runs, block_bytes=self._volume.cluster_bytes, offset=offset, length=length)

    def target(self, number: int) -> str:
        """Raise Missing: FAT has no symbolic links."""
        raise Missing(f"{self._nodes[number][0]} is not a symbolic link")


def _vfat(head: bytes) -> Signature | None:
    if head[510:512] != b"\x55\xaa" or head[0] not in (0xEB, 0xE9):
        return None
    if head[82:90] == b"FAT32   ":
        return Signature("vfat", label=_fat_label(head[71:82]), uuid=volume_serial(head[67:71]))
    if head[54:59] in (b"FAT16", b"FAT12") or head[54:62] == b"FAT     ":
        return Signature("vfat", label=_fat_label(head[43:54]), uuid=volume_serial(head[39:43]))
    return None


def volume_serial(raw: bytes) -> str:
    """Return the serial number of a FAT or exFAT volume as Linux writes it."""
    number = int.from_bytes(raw, "little")
    return f"{number >> 16:04X}-{number & 0xFFFF:04X}"


def _fat_label(raw: bytes) -> str:
    label = raw.decode("ascii", "replace").strip()
    return "" if label == "NO NAME" else label


FAT = FileSystemFormat(
    names=("vfat",),
    probe=_vfat,
    open=lambda reader, signature: FatTree(reader, label=signature.label, uuid=signature.uuid),
)
