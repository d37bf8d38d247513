"""This file walks paths through the file systems of an image as its own kernel would, and never leaves the image.

A symbolic link is followed inside the image only, an absolute one from the image's root, 16 of them at most.
"""

from collections.abc import Mapping

from aliyun_import.disk.filesystems.interface import FileSystem, Kind, Node, Recent
from aliyun_import.disk.io.reader import Bad, Missing

_MAX_HOPS = 16
_MAX_STEPS = 400
# Text files of a system's configuration have some KiB, and modules.dep less than a MiB.
MAX_TEXT_BYTES = 2 << 20
# What a file's size may exceed its blocks by: holes are real (mkfs -d makes some), a size out of thin air is an attack.
_MAX_HOLE_BYTES = 16 << 20
# Names that are kept, of all directories together. Those that an inspection goes through have some thousands.
_KEPT_NAMES = 100_000


class TreeFile:
    """A regular file of the tree as a reader: `size` and `pread`."""

    def __init__(self, files: FileSystem, node: Node) -> None:
        if node.size_bytes > node.allocated_bytes + _MAX_HOLE_BYTES:
            raise Bad(f"a file claims {node.size_bytes} bytes and owns {node.allocated_bytes}")
        self._files, self._node = files, node

    @property
    def size(self) -> int:
        """Give the length in bytes."""
        return self._node.size_bytes

    def pread(self, offset: int, length: int) -> bytes:
        """Read a range, short at the end."""
        return self._files.read(self._node.number, offset, length)


class Tree:
    """The tree that the system would see: a root file system and what is mounted below it."""

    def __init__(self, root: FileSystem, *, mounts: Mapping[str, FileSystem] | None = None) -> None:
        self._root = root
        self._mounts = dict(mounts or {})
        self._names: dict[int, Recent[dict[str, int]]] = {}

    def node(self, path: str, *, follow: bool = True) -> Node:
        """Look at what lies at path; Missing when nothing does. `follow` is about a link in the last place."""
        files, number = self._find(path, follow=follow)
        return files.node(number)

    def exists(self, path: str) -> bool:
        """Tell whether anything lies at path; a link to nowhere is nothing."""
        try:
            self._find(path, follow=True)
        except Missing:
            return False
        return True

    def has_name(self, path: str) -> bool:
        """Tell whether path is in its directory, wherever it may lead."""
        try:
            self._find(path, follow=False)
        except Missing:
            return False
        return True

    def link(self, path: str) -> str | None:
        """Give the target of the symbolic link at path; None when there is none."""
        try:
            files, number = self._find(path, follow=False)
        except Missing:
            return None
        return files.target(number) if files.node(number).kind is Kind.LINK else None

    def names(self, path: str) -> tuple[str, ...]:
        """List a directory, sorted; empty when there is none."""
        try:
            files, number = self._find(path, follow=True)
        except Missing:
            return ()
        if files.node(number).kind is not Kind.DIRECTORY:
            return ()
        return tuple(sorted(self._directory(files, number)))

    def open(self, path: str) -> TreeFile:
        """Open a regular file; Missing when there is none."""
        files, number = self._find(path, follow=True)
        node = files.node(number)
        if node.kind is not Kind.FILE:
            raise Missing(f"{path} is not a regular file")
        return TreeFile(files, node)

    def read(self, path: str, *, limit: int = MAX_TEXT_BYTES) -> bytes:
        """Read a whole file; Missing when there is none, Bad when it is longer than limit."""
        file = self.open(path)
        if file.size > limit:
            raise Bad(f"{path} has {file.size} bytes, more than the {limit} that are read")
        return file.pread(0, file.size)

    def text(self, path: str, *, limit: int = MAX_TEXT_BYTES) -> str | None:
        """Read a text file, bytes that are not UTF-8 replaced; None when there is none, Bad when it is too long."""
        try:
            return self.read(path, limit=limit).decode("utf-8", "replace")
        except Missing:
            return None

    def _find(self, path: str, *, follow: bool) -> tuple[FileSystem, int]:
        """Walk to path. `done` is where we are, free of links; `todo` what is left, last part first."""
        done: list[str] = []
        todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        files, number = self._at_root()
        trail: list[tuple[FileSystem, int]] = []
        hops = steps = 0
        while todo:
            steps += 1
            if steps > _MAX_STEPS:
                raise Bad(f"{path} takes more than {_MAX_STEPS} steps")
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
                    raise Missing(f"{path} leads through more than {_MAX_HOPS} symbolic links")
                target = child_files.target(child)
                if target.startswith("/"):
                    done, trail = [], []
                    files, number = self._at_root()
                todo += [piece for piece in reversed(target.split("/")) if piece not in ("", ".")]
                continue
            trail.append((files, number))
            done.append(part)
            files, number = child_files, child
        return files, number

    def _at_root(self) -> tuple[FileSystem, int]:
        return self._root, self._root.root

    def _step(self, files: FileSystem, number: int, parts: list[str]) -> tuple[FileSystem, int]:
        """Go one name down, onto what is mounted there if anything is; Missing below what is no directory."""
        child = self._directory(files, number).get(parts[-1])
        if child is None:
            raise Missing(f"/{'/'.join(parts)} is not there")
        mounted = self._mounts.get("/" + "/".join(parts))
        return (mounted, mounted.root) if mounted else (files, child)

    def _directory(self, files: FileSystem, number: int) -> dict[str, int]:
        kept = self._names.setdefault(id(files), Recent(_KEPT_NAMES))
        names = kept.get(number)
        if names is None:
            names = dict(files.entries(number))
            kept.keep(number, names, parts=len(names))
        return names
