"""File system in memory, built from a mapping of paths."""

from collections.abc import Iterator, Mapping

from aliyun_import.disk.filesystems.interface import FileSystemFacts, Kind, Node
from aliyun_import.disk.reader import Missing
from tests.disk.trees import Link


class MemoryFiles:
    """A FileSystem of a mapping from path to content. The parent directories of each path exist."""

    def __init__(self, tree: Mapping[str, bytes | Link], *, immutable: tuple[str, ...] = ()) -> None:
        self.root = 0
        self.facts = FileSystemFacts(  # with free space
            type="ext4", uuid="", label="", size_bytes=1 << 30, free_bytes=1 << 29, inodes=9000, free_inodes=8000
        )
        self._content: list[bytes | Link | dict[str, int]] = [{}]
        self._immutable: set[int] = set()
        for path, content in tree.items():
            *folders, name = path.strip("/").split("/")
            parent = 0
            for folder in folders:
                parent = self._child(parent, folder, {})
            number = self._child(parent, name, content)
            if path in immutable:
                self._immutable.add(number)

    def _child(self, parent: int, name: str, content: "bytes | Link | dict[str, int]") -> int:
        folder = self._content[parent]
        assert isinstance(folder, dict)
        if name not in folder:
            self._content.append(content)
            folder[name] = len(self._content) - 1
        return folder[name]

    def node(self, number: int) -> Node:
        """Return a node."""
        content = self._content[number]
        kind = {dict: Kind.DIRECTORY, Link: Kind.LINK}.get(type(content), Kind.FILE)
        size = len(content) if isinstance(content, bytes) else 0
        return Node(number, kind, size, size, immutable=number in self._immutable)

    def entries(self, number: int) -> Iterator[tuple[str, int]]:
        """Yield the entries of a directory."""
        content = self._content[number]
        if not isinstance(content, dict):
            raise Missing("no directory")
        yield from content.items()

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Read part of a file."""
        content = self._content[number]
        assert isinstance(content, bytes)
        return content[offset : offset + length]

    def target(self, number: int) -> str:
        """Return the target of a link."""
        content = self._content[number]
        if not isinstance(content, Link):
            raise Missing("no link")
        return content.target
