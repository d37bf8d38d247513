"""Menus of GRUB 2 and GRUB legacy, and entries of the Boot Loader Specification (BLS).

The configuration of GRUB 2 is a program. Only its commands `set`, `menuentry`, `submenu`, `linux` and `initrd` are
read, line by line. A value with a variable is unknown, unless grubenv or a `set` defines the variable.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from aliyun_import.disk.guest.boot_files import BootFiles, assignments, new_entry, words_of
from aliyun_import.disk.guest.mounts import DiskNames
from aliyun_import.disk.guest.report import BootEntry, Evidence

_MENUS = ("boot/grub/grub.cfg", "boot/grub2/grub.cfg", "grub/grub.cfg", "grub2/grub.cfg", "EFI/{vendor}/grub.cfg",
          "EFI/BOOT/grub.cfg")  # fmt: skip
_LEGACY_MENUS = ("boot/grub/menu.lst", "boot/grub/grub.conf", "grub/menu.lst", "grub/grub.conf")
_ENVIRONMENTS = ("boot/grub2/grubenv", "boot/grub/grubenv", "grub2/grubenv", "grub/grubenv", "EFI/{vendor}/grubenv")
_LINUX = {"linux", "linux16", "linuxefi", "kernel"}
_INITRD = {"initrd", "initrd16", "initrdefi"}
_MULTIBOOT = {"multiboot", "multiboot2"}
_MODULE = {"module", "module2"}
# Variables that distributions append to arguments, and that are empty if they are not set.
_EXTRAS = {"tuned_params", "tuned_initrd", "extra_cmdline", "grub_linux_append", "vt_handoff", "saved_entry"}
_MAX_ENTRIES = 100
_TITLE = re.compile(r"""(?:menuentry|submenu)\s+(?:'([^']*)'|"([^"]*)"|(\S+))""")
_PLATFORMS = ("i386-pc", "x86_64-efi", "arm64-efi")
_VERSION = re.compile(rb"\0(\d\.\d{2}[\x21-\x7e]{0,40})\0")
_STUBS = ("EFI/{vendor}/grub.cfg", "EFI/BOOT/grub.cfg")
_SEARCH = re.compile(r"^\s*search[^\n]*?\s([0-9a-fA-F]{4,}(?:-[0-9a-fA-F]{4,})+)\b", re.MULTILINE)
_MENU = re.compile(r"^\s*(menuentry|linux\w*|blscfg)\b", re.MULTILINE)
_ID = re.compile(r"""(?:--id|\$menuentry_id_option)\s+['"]?([^'"\s{]+)""")


@dataclass(slots=True)
class _Item:
    """An entry of a menu, or a submenu. `path` are its numbers in GRUB's count, from the top."""

    path: tuple[int, ...]
    names: tuple[str, ...]
    where: str
    parent: "_Item | None" = None
    entry: BootEntry | None = None
    children: int = 0


@dataclass(slots=True)
class _Menu:
    items: list[_Item] = field(default_factory=list)
    top: int = 0

    def add(self, names: tuple[str, ...], where: str, parent: _Item | None) -> _Item:
        """Add an item below its parent."""
        number = self.top if parent is None else parent.children
        if parent is None:
            self.top += 1
        else:
            parent.children += 1
        item = _Item((*(parent.path if parent else ()), number), names, where, parent)
        self.items.append(item)
        return item

    def chosen(self, default: str) -> _Item | None:
        """Return the item that GRUB starts. As in GRUB, this is the first one if the default is not in the menu."""
        found: _Item | None = None
        for part in default.split(">"):
            below = [item for item in self.items if item.parent is found]
            numbered = [item for item in below if part.isdigit() and item.path[-1] == int(part)]
            named = [item for item in below if part in item.names]
            if not numbered and not named:
                break
            found = (named or numbered)[0]
        if found is None:
            found = self.items[0] if self.items else None
        while found is not None and found.children:
            found = next(item for item in self.items if item.parent is found)
        return found


def read_grub_variables(files: BootFiles) -> dict[str, str]:
    """Return the variables in grubenv. RHEL stores the arguments of the kernel there, in "kernelopts"."""
    variables: dict[str, str] = {}
    for _place, text in files.texts(*_with_vendors(files, _ENVIRONMENTS)):
        for name, value in assignments(text).items():
            variables.setdefault(name, value)
    return variables


def read_grub(files: BootFiles, variables: dict[str, str]) -> Iterator[BootEntry]:
    """Yield the entries of all configurations of GRUB 2 and GRUB legacy, the default of each first."""
    for place, text in files.texts(*_with_vendors(files, _MENUS)):
        yield from _grub2(place, text, dict(variables))
    for place, text in files.texts(*_LEGACY_MENUS):
        yield from _legacy(place, text)


def read_grub_version(files: BootFiles) -> Evidence | None:
    """Return the version of GRUB, a string in its module `normal`, or None if it is not found."""
    for base in files.bases:
        for prefix in ("/boot/grub", "/boot/grub2", "/grub", "/grub2", "/usr/lib/grub"):
            for platform in _PLATFORMS:
                path = f"{base}{prefix}/{platform}/normal.mod"
                if files.find(path, base="") != path:
                    continue
                match = _VERSION.search(files.tree.read(path))
                if match:
                    return Evidence(what=match[1].decode("ascii", "replace"), where=path)
    return None


def read_stale_searches(files: BootFiles, names: DiskNames) -> tuple[Evidence, ...]:
    """Return the file systems that GRUB on the ESPs searches for and that are not on the disk.

    Such a GRUB has a grub.cfg without a menu: it finds another file system by its UUID, and reads the menu there. The
    result is empty if one of the file systems is on the disk, or may be.
    """
    stale: list[Evidence] = []
    for place, text in files.texts(*_with_vendors(files, _STUBS)):
        match = _SEARCH.search(text)
        if match is None or _MENU.search(text):
            continue
        if names.has(f"UUID={match[1]}") is not False:
            return ()
        line = text.count("\n", 0, match.start(1)) + 1
        stale.append(Evidence(what=match[1], where=f"{place}:{line}"))
    return tuple(stale)


def read_bls(files: BootFiles, variables: dict[str, str]) -> Iterator[BootEntry]:
    """Yield BLS entries in the order of the menu: the default, then the newest first."""
    for base in files.bases:
        for prefix in ("/loader", "/boot/loader"):
            directory = f"{base}{prefix}/entries"
            # The base /boot, or a link "boot -> .", leads to the same directory.
            if prefix == "/boot/loader" and (base == "" or files.tree.link(f"{base}/boot") is not None):
                continue
            stems = [name.removesuffix(".conf") for name in files.tree.names(directory) if name.endswith(".conf")]
            pattern, chosen = loader_default(files, f"{base}{prefix}"), variables.get("saved_entry", "")
            # systemd-boot appends the number of tries to a name: "+3-0".
            plain = {stem: re.sub(r"\+\d+(-\d+)?$", "", stem) for stem in stems}
            ranks = {
                stem: (
                    bool(pattern) and (fnmatchcase(f"{name}.conf", pattern) or fnmatchcase(name, pattern)),
                    name == chosen,
                    "rescue" not in name,
                    version_key(name),
                )
                for stem, name in plain.items()
            }
            stems.sort(key=ranks.__getitem__, reverse=True)
            found = [_bls_entry(files, f"{directory}/{stem}.conf", variables) for stem in stems[:_MAX_ENTRIES]]
            yield from (replace(entry, default=at == 0) for at, entry in enumerate(one for one in found if one))


def loader_default(files: BootFiles, directory: str) -> str:
    """Return the pattern of the default entry in loader.conf of systemd-boot, empty without one."""
    for _number, words in words_of(files.tree.text(f"{directory}/loader.conf") or ""):
        if words[0] == "default" and len(words) > 1:
            return words[1]
    return ""


def version_key(version: str) -> list[tuple[int, int, str]]:
    """Return a sort key of a version, in which 10 comes after 9."""
    return [
        (1, int(part), "") if part.isdigit() and len(part) < 19 else (0, 0, part)
        for part in re.split(r"(\d+)", version)
        if part
    ]


def _with_vendors(files: BootFiles, places: tuple[str, ...]) -> list[str]:
    vendors = files.vendors()
    return [
        name
        for place in places
        for name in ([place.format(vendor=vendor) for vendor in vendors] if "{" in place else [place])
    ]


def _grub2(place: str, text: str, settings: dict[str, str]) -> Iterator[BootEntry]:
    """Yield the entries of a grub.cfg. Commands outside of a menuentry are an entry, too."""
    menu, stack, default = _Menu(), list[_Item | None](), ""
    loose: _Item | None = None
    for number, words in words_of(text):
        line, where = " ".join(words), f"{place}:{number}"
        inside = next((item for item in reversed(stack) if item is not None), None)
        if words[0] in ("menuentry", "submenu"):
            title = _TITLE.match(line)
            identity = _ID.search(line)
            names = tuple(name for name in (*(title.groups() if title else ()), identity and identity[1]) if name)
            stack.append(menu.add(names, where, inside))
        elif words[0] == "}":
            if stack:
                stack.pop()
        elif words[0] == "set" and len(words) >= 2 and "=" in words[1]:
            name, _, value = line.removeprefix("set ").partition("=")
            settings[name] = _substitute(value.strip("\"'"), settings)
            default = settings[name] if name == "default" else default
        elif words[0] in _LINUX | _INITRD | _MULTIBOOT | _MODULE:
            if inside is None:
                has_linux = loose is not None and loose.entry is not None
                loose = menu.add((), where, None) if loose is None or (words[0] in _LINUX and has_linux) else loose
            _command(inside or loose, words, where, settings)
        if line.endswith("{") and words[0] not in ("menuentry", "submenu"):
            stack.append(None)
    yield from _ordered(menu, settings.get("next_entry") or default)


def _legacy(place: str, text: str) -> Iterator[BootEntry]:
    """Yield the entries of a menu of GRUB legacy: "title" begins an entry, "default" counts from 0."""
    menu, default, item = _Menu(), "", None
    for number, words in words_of(text):
        where = f"{place}:{number}"
        key, _, value = " ".join(words).partition("=")
        if words[0] == "title":
            item = menu.add((" ".join(words[1:]),), where, None)
        elif item is None and (words[0] == "default" or key.strip() == "default"):
            default = value.strip() or (words[1] if len(words) > 1 else "")
        elif words[0] in _LINUX | _INITRD | _MODULE:
            item = item or menu.add((), where, None)
            _command(item, [word for word in words if not word.startswith("--")], where, {})
    yield from _ordered(menu, default)


def _command(item: "_Item | None", words: list[str], where: str, settings: dict[str, str]) -> None:
    """Apply a command that loads a file to its item."""
    if item is None or len(words) < 2:
        return
    title, entry = (item.names or ("",))[0], item.entry
    is_kernel = words[0] in _LINUX and not re.search(r"/xen[^/]*$", words[1])
    if is_kernel or (words[0] in _MODULE and entry is None):
        arguments = _substitute(" ".join(words[2:]), settings)
        path = _substitute(words[1].strip("\"'"), settings)
        item.entry = new_entry("grub", where, kernel=_without_device(path), arguments=arguments, title=title)
    elif (words[0] in _INITRD or words[0] in _MODULE) and entry is not None:
        paths = [_without_device(_substitute(word.strip("\"'"), settings)) for word in words[1:]]
        item.entry = replace(entry, initrds=(*entry.initrds, *(path for path in paths if path)))


def _ordered(menu: _Menu, default: str) -> Iterator[BootEntry]:
    """Yield the entries, the default first. The default is unknown if its name has a variable."""
    known = "$" not in default
    chosen = menu.chosen(default) if known else None
    if chosen is not None:
        entry = chosen.entry or new_entry("grub", chosen.where, title=(chosen.names or ("",))[0])
        yield replace(entry, default=True)
    for item in menu.items[:_MAX_ENTRIES]:
        if item is not chosen and item.entry is not None:
            yield item.entry


def _bls_entry(files: BootFiles, place: str, variables: dict[str, str]) -> BootEntry | None:
    keys: dict[str, list[tuple[int, str]]] = {}
    for number, words in words_of(files.tree.text(place) or ""):
        keys.setdefault(words[0].lower(), []).append((number, " ".join(words[1:])))
    kernel = keys.get("linux") or keys.get("efi") or keys.get("uki")
    if not kernel:
        return None
    options = keys.get("options") or kernel
    arguments = _substitute(" ".join(text for _number, text in keys.get("options", [])), variables)
    initrds = [word for _number, text in keys.get("initrd", []) for word in _substitute(text, variables).split()]
    title = keys.get("title", [(0, "")])[0][1]
    path = _without_device(_substitute(kernel[0][1], variables))
    entry = new_entry("bls", f"{place}:{options[0][0]}", kernel=path, arguments=arguments, title=title)
    if "linux" not in keys:
        initrds = [path]  # a unified kernel image contains its initramfs
    return replace(entry, initrds=tuple(_without_device(path) for path in initrds))


def _without_device(path: str) -> str:
    """Return "/vmlinuz" for "($root)/vmlinuz", a path on the root file system of the boot loader."""
    return re.sub(r"^\(\$\{?\w+\}?\)/*(?=/)", "", path)


def _substitute(text: str, variables: dict[str, str]) -> str:
    return re.sub(
        r"\$(?:\{(\w+)\}|(\w+))",
        lambda match: variables.get(match[1] or match[2], "" if (match[1] or match[2]) in _EXTRAS else match[0]),
        text,
    )
