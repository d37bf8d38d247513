"""Files of boot loaders: their search in the file systems, and the syntax that their configurations share."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from aliyun_import.disk.filesystems.interface import Kind
from aliyun_import.disk.filesystems.tree import MAX_LINES, Tree
from aliyun_import.disk.guest.report import BootEntry
from aliyun_import.disk.reader import Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class BootFiles:
    """The file systems that a boot loader can read.

    `bases` are their mount points in `tree`: "" for the root, "/boot" if it is another file system, "/partition 1" for
    one that the system does not mount. `complete`: no other file system may have the files.
    """

    tree: Tree
    bases: tuple[str, ...]
    complete: bool

    def find(self, path: str, *, base: str | None = None) -> str | None:
        """Return the path in the tree of a file that a boot loader refers to, or None if it is missing or empty.

        `base` is the file system that is searched first.
        """
        plain = plain_path(path)
        for place in (*(() if base is None else (base,)), *self.bases):
            found = f"{place}{plain}"
            try:
                node = self.tree.node(found)
            except Missing:
                continue
            if node.kind is Kind.FILE and node.size_bytes:
                return found
        return None

    def found(self, path: str, *, base: str | None = None) -> bool | None:
        """Return whether a file that a boot loader refers to is on the disk, or None if that is unknown."""
        if not path or "$" in path:
            return None
        return True if self.find(path, base=base) else False if self.complete else None

    def base_of(self, path: str) -> str:
        """Return the base of the file system with a path of the tree."""
        return max((base for base in self.bases if path.startswith(f"{base}/")), key=len, default="")

    def texts(self, *names: str) -> Iterator[tuple[str, str]]:
        """Yield path and text of the configurations with one of the names in all bases, each file once."""
        found: set[str] = set()
        for base in self.bases:
            for name in names:
                path = f"{base}/{name}"
                text = self.tree.text(path) if path not in found else None
                found.add(path)
                if text is not None and text not in found:  # two bases may have the same /boot/grub
                    found.add(text)
                    yield path, text

    def vendors(self) -> list[str]:
        """Return the names of the vendors' directories in EFI on all EFI system partitions."""
        names = {name: None for base in self.bases for name in self.tree.names(f"{base}/EFI")}
        return [name for name in names if name.upper() not in ("BOOT", "LINUX")][:8]


def plain_path(path: str) -> str:
    """Return a path from the root of its file system, for a path in the syntax of GRUB, Limine or UEFI."""
    path = re.sub(r"^(\([^)]*\)|\w+(\([^)]*\))?:(?=/))", "", path.strip("\"'")).replace("\\", "/")
    return re.sub(r"#[0-9a-f]{128}$", "", "/" + path.lstrip("/"))  # Limine may append a hash of the file


def words_of(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the words of each line, without comments."""
    for number, line in enumerate(text.splitlines()[:MAX_LINES], start=1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield number, words


def beside(place: str, path: str) -> str:
    """Return an absolute path for a path that may be relative to the directory of the configuration `place`."""
    return path if path.startswith("/") else f"{place.rsplit('/', 1)[0]}/{path}"


def argument(arguments: str, name: str) -> str:
    """Return the last value of NAME= in a kernel command line, empty if it is absent or has a variable."""
    values = [word[len(name) + 1 :].strip("\"'") for word in arguments.split() if word.startswith(f"{name}=")]
    return "" if not values or "$" in values[-1] else values[-1]


def new_entry(loader: str, where: str, *, kernel: str = "", arguments: str = "", title: str = "") -> BootEntry:
    """Return an entry without an initramfs. Its root is read from its arguments."""
    return with_arguments(BootEntry(loader=loader, where=where, title=title, kernel=kernel), where, arguments)


def with_arguments(entry: BootEntry, where: str, arguments: str) -> BootEntry:
    """Return an entry with these arguments, and the root in them. `where` is their line in the configuration."""
    return replace(entry, where=where, arguments=arguments, root=argument(arguments, "root"))


def assignments(text: str) -> Mapping[str, str]:
    """Return the NAME=value lines of a shell file as variables. The first line with a name counts."""
    found: dict[str, str] = {}
    for line in text.splitlines()[:1000]:
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            found.setdefault(name.strip(), value.strip().strip("\"'"))
    return found
