"""The files of boot loaders: where a loader may look for them, and the words of their configurations."""

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

    `bases` are the directories of `tree` in which such a file system begins: "" for the root, "/boot" where it is a
    file system of its own, "/partition 1" for one that is mounted nowhere. `complete`: no other may have the files.
    """

    tree: Tree
    bases: tuple[str, ...]
    complete: bool

    def find(self, path: str, *, base: str | None = None) -> str | None:
        """Return the path in the tree of a file that a boot loader names; None when it is missing or empty.

        `base` is the file system that is looked through first.
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
        """Return whether a file that a boot loader names is on the disk; None where that is unknown."""
        if not path or "$" in path:
            return None
        return True if self.find(path, base=base) else False if self.complete else None

    def base_of(self, path: str) -> str:
        """Return the base of the file system that a path of the tree is on."""
        return max((base for base in self.bases if path.startswith(f"{base}/")), key=len, default="")

    def texts(self, *names: str) -> Iterator[tuple[str, str]]:
        """Yield the path and text of each configuration with one of the names, in every base, each file once."""
        seen: set[str] = set()
        for base in self.bases:
            for name in names:
                path = f"{base}/{name}"
                text = self.tree.text(path) if path not in seen else None
                seen.add(path)
                if text is not None and text not in seen:  # /boot/grub may be seen from two bases
                    seen.add(text)
                    yield path, text

    def vendors(self) -> list[str]:
        """Return the directories beside EFI/BOOT on all EFI system partitions."""
        names = {name: None for base in self.bases for name in self.tree.names(f"{base}/EFI")}
        return [name for name in names if name.upper() not in ("BOOT", "LINUX")][:8]


def plain_path(path: str) -> str:
    """Return a path below the root of its file system: GRUB, Limine and UEFI have their own ways to write it."""
    path = re.sub(r"^(\([^)]*\)|\w+(\([^)]*\))?:(?=/))", "", path.strip("\"'")).replace("\\", "/")
    return re.sub(r"#[0-9a-f]{128}$", "", "/" + path.lstrip("/"))  # Limine's hash of the file


def words_of(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the words of each line with its number, without comments."""
    for number, line in enumerate(text.splitlines()[:MAX_LINES], start=1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield number, words


def beside(place: str, path: str) -> str:
    """Return a path that is relative to the directory of a configuration."""
    return path if path.startswith("/") else f"{place.rsplit('/', 1)[0]}/{path}"


def argument(arguments: str, name: str) -> str:
    """Return the last value of NAME= in a kernel command line; empty when it is absent, or has a variable."""
    values = [word[len(name) + 1 :].strip("\"'") for word in arguments.split() if word.startswith(f"{name}=")]
    return "" if not values or "$" in values[-1] else values[-1]


def new_entry(loader: str, where: str, *, kernel: str = "", arguments: str = "", title: str = "") -> BootEntry:
    """Return an entry without an initramfs, its root from its arguments."""
    return with_arguments(BootEntry(loader=loader, where=where, title=title, kernel=kernel), where, arguments)


def with_arguments(entry: BootEntry, where: str, arguments: str) -> BootEntry:
    """Return an entry whose arguments, and the root in them, are at a line of its configuration."""
    return replace(entry, where=where, arguments=arguments, root=argument(arguments, "root"))


def assignments(text: str) -> Mapping[str, str]:
    """Return the NAME=value lines of a file as a shell's variables."""
    found: dict[str, str] = {}
    for line in text.splitlines()[:1000]:
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            found.setdefault(name.strip(), value.strip().strip("\"'"))
    return found
