"""Path lookup across mounted file systems."""

from collections.abc import Iterator, Mapping
from itertools import islice

from aliyun_import.disk.filesystems.interface import FileSystem, Kind, Node
from aliyun_import.disk.reader import Bad, Missing, Recent

_MAX_HOPS = 16
_MAX_STEPS = 400
# Configuration files have some KiB, and modules.dep less than a MiB.
MAX_TEXT_BYTES = 2 << 20
MAX_LINES = 20_000
# The maximum of the holes in a file. Holes are normal (mkfs -d creates some), but a large size without blocks is an
# attack.
_MAX_HOLE_BYTES = 16 << 20
# The number of names in the cache. The directories that an inspection reads have some thousands.
_KEPT_NAMES = 100_000


class TreeFile:
    """A Reader of a regular file in the tree."""

    def __init__(self, files: FileSystem, node: Node) -> None:
        if node.size_bytes > node.allocated_bytes + _MAX_HOLE_BYTES:
            raise Bad(f"a file has a size of {node.size_bytes} bytes, and blocks for {node.allocated_bytes} bytes")
        self._files, self._number = files, node.number
        self.size = node.size_bytes

    def pread(self, offset: int, length: int) -> bytes:
        """Read a range. The result is short at the end of the file."""
        return self._files.read(self._number, offset, length)


class Tree:
    """The directory tree of a system: a root file system with other file systems mounted below it.

    A mount point need not exist as a directory. Names on FAT are not case-sensitive, as in Linux, firmware and boot
    loaders.
    """

    def __init__(
        self, root: FileSystem, *, mounts: Mapping[str, FileSystem] | None = None, directory: int | None = None
    ) -> None:
        """Use a root file system. `directory` is the inode of another root directory than its own."""
        self._root = root, root.root if directory is None else directory
        self._mounts = dict(mounts or {})
        self._names: dict[int, Recent[dict[str, int]]] = {}

    def node(self, path: str, *, follow: bool = True) -> Node:
        """Return the node at path. Raises Missing if there is none. `follow` is for a link at the end of the path."""
        files, number = self._find(path, follow=follow)
        return files.node(number)

    def exists(self, path: str) -> bool:
        """Return whether path exists. A dangling symbolic link does not."""
        return self._is_found(path, follow=True)

    def has_name(self, path: str) -> bool:
        """Return whether the directory of path has its name, which may be a dangling symbolic link."""
        return self._is_found(path, follow=False)

    def link(self, path: str) -> str | None:
        """Return the target of the symbolic link at path, or None if there is none."""
        try:
            files, number = self._find(path, follow=False)
        except Missing:
            return None
        return files.target(number) if files.node(number).kind is Kind.LINK else None

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory, sorted. Empty if it does not exist."""
        try:
            files, number = self._find(path, follow=True)
        except Missing:
            return ()
        if files.node(number).kind is not Kind.DIRECTORY:
            return ()
        return tuple(sorted(self._directory(files, number)))

    def open(self, path: str) -> TreeFile:
        """Open a regular file. Raises Missing if there is none."""
        files, number = self._find(path, follow=True)
        node = files.node(number)
        if node.kind is not Kind.FILE:
            raise Missing(f"{path} is not a regular file")
        return TreeFile(files, node)

    def read(self, path: str, *, limit: int = MAX_TEXT_BYTES) -> bytes:
        """Read a whole file. Raises Missing if there is none, and Bad if it is longer than `limit`."""
        file = self.open(path)
        if file.size > limit:
            raise Bad(f"{path} has {file.size} bytes, and the limit is {limit}")
        return file.pread(0, file.size)

    def text(self, path: str, *, limit: int = MAX_TEXT_BYTES) -> str | None:
        """Read a text file, with bytes that are not UTF-8 replaced. None if there is none. Raises Bad if too long."""
        try:
            return self.read(path, limit=limit).decode("utf-8", "replace")
        except Missing:
            return None

    def lines(self, path: str) -> Iterator[tuple[int, str]]:
        """Yield the first MAX_LINES lines of a text file with their numbers, none if there is no file."""
        return islice(enumerate((self.text(path) or "").splitlines(), start=1), MAX_LINES)

    def _is_found(self, path: str, *, follow: bool) -> bool:
        try:
            self._find(path, follow=follow)
        except Missing:
            return False
        return True

    def _find(self, path: str, *, follow: bool) -> tuple[FileSystem, int]:
        """Return the file system and the inode number of path. Raises Missing, and Bad for too many components."""
        # `done` is the path so far without links. `todo` are the remaining components, the last one first.
        done: list[str] = []
        todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        files, number = self._root
        trail: list[tuple[FileSystem, int]] = []
        hops = steps = 0
        while todo:
            steps += 1
            if steps > _MAX_STEPS:
                raise Bad(f"{path} has more than {_MAX_STEPS} components, including those of symbolic links")
            part = todo.pop()
            if part == "..":
                if trail:
                    files, number = trail.pop()
                    done.pop()
                continue
            child_files, child = self._step(files, number, [*done, part])
            node = child_files.node(child)
            if node.kind is Kind.LINK and (todo or follow):
                hops += 1
                if hops > _MAX_HOPS:
                    raise Missing(f"{path} has more than {_MAX_HOPS} symbolic links")
                target = child_files.target(child)
                if target.startswith("/"):
                    done, trail = [], []
                    files, number = self._root
                todo += [piece for piece in reversed(target.split("/")) if piece not in ("", ".")]
                continue
            trail.append((files, number))
            done.append(part)
            files, number = child_files, child
        return files, number

    def _step(self, files: FileSystem, number: int, parts: list[str]) -> tuple[FileSystem, int]:
        """Return the child of a directory, or the root of a file system mounted there. Raises Missing if none."""
        path = "/" + "/".join(parts)
        mounted = self._mounts.get(path)
        if mounted is not None:
            return mounted, mounted.root
        names = self._directory(files, number)
        child = names.get(parts[-1])
        if child is None and files.facts.type == "vfat":
            child = next((other for name, other in names.items() if name.casefold() == parts[-1].casefold()), None)
        if child is None:
            raise Missing(f"{path} does not exist")
        return files, child

    def _directory(self, files: FileSystem, number: int) -> dict[str, int]:
        kept = self._names.get(id(files))
        if kept is None:
            kept = self._names[id(files)] = Recent(_KEPT_NAMES)
        names = kept.get(number)
        if names is None:
            names = dict(files.entries(number))
            kept.keep(number, names, parts=len(names))
        return names
