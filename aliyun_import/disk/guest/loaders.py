"""Entries of all boot loaders, and the readers of SYSLINUX, LILO, rEFInd, Limine and unified kernel images."""

import re
from collections.abc import Iterator
from dataclasses import replace

from aliyun_import.disk.guest.boot_files import BootFiles, argument, beside, new_entry, with_arguments, words_of
from aliyun_import.disk.guest.grub import loader_default, read_bls, read_grub, read_grub_variables, version_key
from aliyun_import.disk.guest.kernels import UnifiedImage, read_unified
from aliyun_import.disk.guest.mounts import DiskNames
from aliyun_import.disk.guest.report import BootEntry
from aliyun_import.disk.reader import ReadProblem

_SYSLINUX = (
    "boot/extlinux/extlinux.conf",
    "boot/extlinux.conf",
    "boot/syslinux/syslinux.cfg",
    "extlinux/extlinux.conf",
    "extlinux.conf",
    "syslinux/syslinux.cfg",
    "syslinux.cfg",
    "EFI/syslinux/syslinux.cfg",
    "EFI/BOOT/syslinux.cfg",
)
_REFIND = ("EFI/refind/refind.conf", "EFI/BOOT/refind.conf")
_LIMINE = tuple(
    f"{place}limine.{suffix}"
    for suffix in ("conf", "cfg")
    for place in ("", "limine/", "boot/", "boot/limine/", "EFI/BOOT/", "EFI/limine/")
)
_MAX_IMAGES = 16
_MAX_ENTRIES = 100


def read_boot_entries(files: BootFiles, names: DiskNames) -> tuple[BootEntry, ...]:
    """Return all entries of all boot loaders, the defaults of their configurations first."""
    variables = read_grub_variables(files)
    raw = [
        *read_grub(files, variables),
        *read_bls(files, variables),
        *read_unified_images(files),
        *read_syslinux(files),
        *read_limine(files),
        *read_refind(files),
        *read_lilo(files),
    ]
    raw.sort(key=lambda entry: not entry.default)
    return tuple(_checked(files, names, entry) for entry in raw[:_MAX_ENTRIES])


def _checked(files: BootFiles, names: DiskNames, entry: BootEntry) -> BootEntry:
    base = files.base_of(entry.where)
    states = [files.found(path, base=base) for path in entry.initrds]
    if entry.loader == "unified":
        states = [True]
    main = [path for path in entry.initrds if "ucode" not in path.lower() and "microcode" not in path.lower()]
    return replace(
        entry,
        initramfs=(main or list(entry.initrds) or [""])[-1],
        kernel_found=files.found(entry.kernel, base=base),
        initramfs_found=False if False in states else None if None in states or not states else True,
        root_found=names.has(entry.root) if entry.root else None,
    )


def read_syslinux(files: BootFiles) -> Iterator[BootEntry]:
    """Yield the labels of SYSLINUX, EXTLINUX and U-Boot, without those with a module (menu.c32) in KERNEL."""
    for place, text in files.texts(*_SYSLINUX):
        entries: list[BootEntry] = []
        default, label = "", ""
        current: BootEntry | None = None
        for number, words in words_of(text):
            command, rest = words[0].lower(), words[1:]
            where = f"{place}:{number}"
            if command in ("default", "ontimeout") and rest and not rest[0].endswith(".c32"):
                default = rest[0]
            elif command == "label":
                current, label = None, " ".join(rest)
            elif command in ("kernel", "linux") and rest and not rest[0].endswith((".c32", ".com", ".bin", ".0")):
                current = new_entry("extlinux", where, kernel=beside(place, rest[0]), title=label)
                entries.append(current)
            elif current is not None and command == "initrd" and rest:
                entries[-1] = current = replace(current, initrds=_listed(place, rest[0]))
            elif current is not None and command == "append":
                current = with_arguments(current, where, " ".join(rest))
                initrd = argument(current.arguments, "initrd")
                entries[-1] = current = replace(current, initrds=_listed(place, initrd) or current.initrds)
        yield from _default_first(entries, default)


def read_lilo(files: BootFiles) -> Iterator[BootEntry]:
    """Yield the images of LILO. At boot it does not use these paths, but a list of their sectors."""
    text = files.tree.text("/etc/lilo.conf")
    sections: list[dict[str, tuple[int, str]]] = [{}]
    for number, words in words_of(text or ""):
        key, _, value = " ".join(words).partition("=")
        if key.strip() in ("image", "other"):
            sections.append({})
        sections[-1][key.strip()] = (number, value.strip().strip("\"'"))
    common, entries = sections[0], []
    for section in sections[1:]:
        number, kernel = section.get("image", (0, ""))
        if not kernel:
            continue
        own = common | section
        root = own.get("root", (0, ""))[1]
        arguments = f"{f'root={root} ' if root else ''}{own.get('append', (0, ''))[1]}".strip()
        entry = new_entry(
            "lilo",
            f"/etc/lilo.conf:{own['root'][0] if root else number}",
            kernel=kernel,
            arguments=arguments,
            title=section.get("label", (0, ""))[1],
        )
        initrd = own.get("initrd", (0, ""))[1]
        entries.append(replace(entry, initrds=(initrd,) if initrd else ()))
    yield from _default_first(entries, common.get("default", (0, ""))[1])


def read_refind(files: BootFiles) -> Iterator[BootEntry]:
    """Yield the manual entries of rEFInd, and the kernels that it detects. Its default entry is not known."""
    found = False
    for place, text in files.texts(*_REFIND):
        found = True
        yield from _refind_menu(place, text)
    if not found:
        return
    for place, text in files.texts("boot/refind_linux.conf", "refind_linux.conf"):
        line = next((line for _number, line in enumerate(text.splitlines()) if line.startswith('"')), "")
        options = re.findall(r'"([^"]*)"', line)[1:2]
        directory = place.rsplit("/", 1)[0]
        for name in files.tree.names(directory or "/"):
            if name.startswith(("vmlinuz", "bzImage")):
                yield _beside_kernel(files, place, f"{directory}/{name}", " ".join(options))


def _refind_menu(place: str, text: str) -> Iterator[BootEntry]:
    entry: BootEntry | None = None
    disabled = False
    for number, words in words_of(text):
        rest = " ".join(words[1:]).strip("\"'")
        if words[0] == "menuentry":
            entry, disabled = new_entry("refind", f"{place}:{number}", title=rest.rstrip(" {\"'")), False
        elif entry is None:
            continue
        elif words[0] == "disabled":
            disabled = True
        elif words[0] == "loader":
            entry = replace(entry, kernel=rest)
        elif words[0] == "initrd":
            entry = replace(entry, initrds=(*entry.initrds, rest))
        elif words[0] == "options":
            initrd = tuple(word[7:] for word in rest.split() if word.startswith("initrd="))
            entry = with_arguments(entry, f"{place}:{number}", rest)
            entry = replace(entry, initrds=(*entry.initrds, *initrd))
        elif words[0] == "}":
            if entry.kernel and not disabled and "vmlinu" in entry.kernel.lower():
                yield entry
            entry = None


def _beside_kernel(files: BootFiles, place: str, kernel: str, arguments: str) -> BootEntry:
    """Return an entry for a kernel, with the initramfs in the same directory that has the same suffix."""
    directory, name = kernel.rsplit("/", 1)
    suffix = re.sub(r"^(vmlinuz|bzImage)", "", name)
    forms = (f"initrd.img{suffix}", f"initramfs{suffix}.img", f"initrd{suffix}", f"initrd{suffix}.img")
    named = tuple(f"{directory}/{word.rsplit('/', 1)[-1]}" for word in re.findall(r"\binitrd=(\S+)", arguments))
    beside_it = tuple(f"{directory}/{form}" for form in forms if files.tree.exists(f"{directory}/{form}"))[:1]
    return replace(new_entry("refind", f"{place}:1", kernel=kernel, arguments=arguments), initrds=named or beside_it)


def read_limine(files: BootFiles) -> Iterator[BootEntry]:
    """Yield the entries of Limine: `/Title` and `key: value`, or `:Title` and `KEY=value` before version 8."""
    for place, text in files.texts(*_LIMINE):
        old = place.endswith(".cfg")
        mark, sign = (":", "=") if old else ("/", ":")
        entries: list[BootEntry] = []
        default = ""
        for number, words in words_of(text):
            line = " ".join(words)
            if line.startswith(mark):
                entries.append(new_entry("limine", f"{place}:{number}", title=line.lstrip(f"{mark}+ ")))
                continue
            key, _, value = (part.strip() for part in line.partition(sign))
            key = key.lower()
            if key == "default_entry":
                default = value
            elif not entries:
                continue
            elif key in ("path", "kernel_path"):
                entries[-1] = replace(entries[-1], kernel=value)
            elif key == "module_path":
                entries[-1] = replace(entries[-1], initrds=(*entries[-1].initrds, value))
            elif key in ("cmdline", "kernel_cmdline"):
                entries[-1] = with_arguments(entries[-1], f"{place}:{number}", value)
        bootable = [entry for entry in entries if entry.kernel]
        if default.isdigit():  # counts from 1, and includes directories
            chosen = int(default) - 1
            default = entries[chosen].title if 0 <= chosen < len(entries) else ""
        yield from _default_first(bootable, default)


def read_unified_images(files: BootFiles) -> Iterator[BootEntry]:
    """Yield the unified kernel images in EFI/Linux, and one at the path that the firmware starts."""
    for base in files.bases:
        directory = f"{base}/EFI/Linux"
        names = [name for name in files.tree.names(directory) if name.lower().endswith(".efi")]
        names.sort(key=version_key, reverse=True)
        pattern = loader_default(files, f"{base}/loader")
        names.sort(key=lambda name: name != pattern)
        for at, name in enumerate(names[:_MAX_IMAGES]):
            entry = _unified(files, f"{directory}/{name}", certain=True)
            if entry is not None:
                yield replace(entry, default=at == 0 and (len(names) == 1 or name == pattern))
        for name in ("BOOTX64.EFI", "BOOTAA64.EFI"):
            entry = _unified(files, f"{base}/EFI/BOOT/{name}", certain=False)
            if entry is not None:
                yield replace(entry, default=True)


def _unified(files: BootFiles, path: str, *, certain: bool) -> BootEntry | None:
    """Return the entry of an image, or None if there is none. `certain`: by its path, it is a unified kernel image."""
    image: UnifiedImage | None = None
    if files.find(path, base="") is None:
        return None
    try:
        image = read_unified(files.tree.open(path))
    except ReadProblem:
        if not certain:
            return None
    if image is None and not certain:
        return None
    arguments = image.arguments if image is not None else ""
    return replace(new_entry("unified", path, kernel=path, arguments=arguments), initrds=(path,))


def _listed(place: str, value: str) -> tuple[str, ...]:
    """Return the files in a list with commas, which SYSLINUX joins to one initramfs."""
    return tuple(beside(place, path) for path in value.split(",") if path)


def _default_first(entries: list[BootEntry], default: str) -> Iterator[BootEntry]:
    """Yield the entries, first the default: the one with the title `default`, or else the first one."""
    chosen = next((at for at, entry in enumerate(entries) if entry.title and entry.title == default), 0)
    yield from (replace(entry, default=True) for entry in entries[chosen : chosen + 1])
    yield from (entry for at, entry in enumerate(entries) if at != chosen)
