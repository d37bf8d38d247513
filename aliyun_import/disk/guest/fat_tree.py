"""This file lets a FAT volume (an ESP, or a /boot on FAT) be walked like the other file systems."""

from collections.abc import Iterator

from aliyun_import.disk.fat import MAX_FILE_BYTES, FatVolume
from aliyun_import.disk.filesystem import FileSystemFacts, Kind, Node
from aliyun_import.disk.reader import Bad, Missing, Reader, Unsupported

_MAX_NODES = 20_000


class FatTree:
    """A FAT file system whose nodes are numbered as they are met: FAT itself has no inodes."""

    def __init__(self, reader: Reader, *, label: str = "", uuid: str = "") -> None:
        self._volume = FatVolume(reader)
        self._facts = FileSystemFacts(
            type="vfat", uuid=uuid, label=label, size_bytes=reader.size, free_bytes=0, inodes=0, free_inodes=0
        )
        # Path and node by number.
        self._nodes: list[tuple[str, Node]] = [("", Node(0, Kind.DIRECTORY, 0, 0, immutable=False))]
        self._numbers: dict[str, int] = {"": 0}
        self._kept: tuple[int, bytes] | None = None

    @property
    def facts(self) -> FileSystemFacts:
        """Tell what is known of the volume; FAT's free space is not counted."""
        return self._facts

    @property
    def root(self) -> int:
        """Give the root directory's number."""
        return 0

    def node(self, number: int) -> Node:
        """Look at a node that was met before."""
        return self._nodes[number][1]

    def entries(self, number: int) -> Iterator[tuple[str, int]]:
        """Go through a directory."""
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
        """Read part of a file. A FAT chain has no way in but its beginning, so the file read last is kept whole."""
        path, node = self._nodes[number]
        if node.size_bytes > MAX_FILE_BYTES:
            raise Unsupported(f"{path} lies on FAT and has {node.size_bytes} bytes, more than is read there")
        if self._kept is None or self._kept[0] != number:
            self._kept = (number, self._volume.read(path))
        return self._kept[1][offset : offset + length]

    def target(self, number: int) -> str:
        """Raise Missing: FAT has no symbolic links."""
        raise Missing(f"{self._nodes[number][0]} is not a symbolic link")
