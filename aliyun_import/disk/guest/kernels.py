"""Kernels of a Linux system, the places of their drivers, and unified kernel images."""

import re
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.boot_files import BootFiles
from aliyun_import.disk.guest.grub import version_key
from aliyun_import.disk.guest.initramfs import module_name, modules_in
from aliyun_import.disk.guest.report import DRIVERS, BootEntry, Driver, DriverPlace, Kernel
from aliyun_import.disk.partitions.boot import pe_header_at
from aliyun_import.disk.reader import Bad, BytesReader, Reader, ReadProblem, Unsupported, Window, read_exactly
from aliyun_import.model.request import Architecture

# Each kernel needs one pass over an initramfs. Distributions keep two or three kernels.
_MAX_KERNELS = 4
# bzip2 unpacks 25 MiB/s, and the child has 60 seconds: without this limit, a third such initramfs would end the child.
_ENOUGH_CPU_S = 20
_MODULE_DIRECTORIES = (
    "/lib/modules",
    "/usr/lib/modules",
    "/nix/var/nix/profiles/system/kernel-modules/lib/modules",
)
# The setup header of a bzImage: its magic, and a pointer to the version 12 bytes after it (boot.rst of Linux).
_MAGIC_AT, _HEAD_BYTES = 0x202, 1024
# The number of sectors of the real-mode part, and the size of the protected-mode part in units of 16 bytes.
_SETUP_AT, _SIZE_AT = 0x1F1, 0x1F4
# The magic of an uncompressed kernel for arm64 (arm64/booting.rst of Linux).
_ARM_AT = 0x38
_IMAGES = (
    "/boot/vmlinuz-{0}",
    "/boot/vmlinux-{0}",
    "/boot/Image-{0}",
    "/boot/kernel-{0}",
    "/lib/modules/{0}/vmlinuz",
    "/usr/lib/modules/{0}/vmlinuz",
)
_INITRAMFS = (
    "/boot/initrd.img-{0}",
    "/boot/initramfs-{0}.img",
    "/boot/initrd-{0}",
    "/boot/initrd-{0}.img",
    "/boot/initramfs-{0}",
    "/lib/modules/{0}/initramfs.img",
    "/lib/modules/{0}/initrd",
)
_CONFIG = {
    "virtio_blk": "CONFIG_VIRTIO_BLK",
    "virtio_pci": "CONFIG_VIRTIO_PCI",
    "virtio_net": "CONFIG_VIRTIO_NET",
    "nvme": "CONFIG_BLK_DEV_NVME",
    "fw_cfg": "CONFIG_FW_CFG_SYSFS",
}


def find_kernels(
    files: BootFiles, entries: Sequence[BootEntry], *, architecture: Architecture | None = None
) -> tuple[Kernel, ...]:
    """Return the kernels of the default entries, then the other kernels with modules, the newest first.

    `entries` are those of the boot loaders, the defaults first. `architecture` is that of the programs, None if
    unknown.
    """
    search = _Search(files, architecture)
    defaults = [entry for entry in entries if entry.default] or list(entries)
    found: dict[tuple[str, tuple[str, ...]], Kernel] = {}
    for entry in defaults:
        if entry.kernel and entry.kernel_found is not False and len(found) < _MAX_KERNELS:
            image = files.find(entry.kernel, base=files.base_of(entry.where)) or ""
            if (image, entry.initrds) not in found:
                found[image, entry.initrds] = search.of_entry(entry, image)
    kernels = list(found.values())
    known = {kernel.version for kernel in kernels}
    kernels += [search.of_version(version) for version in search.versions if version not in known]
    return tuple(kernels[:_MAX_KERNELS])


class _Search:
    """The search for the kernels of a system."""

    def __init__(self, files: BootFiles, architecture: Architecture | None) -> None:
        self._files, self._tree, self._architecture = files, files.tree, architecture
        self._until_cpu_s = time.process_time() + _ENOUGH_CPU_S
        tree = files.tree
        self._directory = next((place for place in _MODULE_DIRECTORIES if tree.names(place)), _MODULE_DIRECTORIES[0])
        versions = [name for name in tree.names(self._directory) if tree.names(f"{self._directory}/{name}")]
        # A directory without an image is left from a removed kernel (modules of DKMS).
        versions = [version for version in versions if self._image(version)] or versions
        self.versions = sorted(versions, key=version_key, reverse=True)

    def of_entry(self, entry: BootEntry, image: str) -> Kernel:
        """Return the kernel of an entry, with the initramfs of the entry."""
        base = self._files.base_of(entry.where)
        paths = [self._files.find(path, base=base) or path for path in entry.initrds]
        main = self._files.find(entry.initramfs, base=base) or entry.initramfs if entry.initramfs else ""
        version, is_sure = self._version_of(entry, image)
        return self._kernel(version, image=image, paths=paths, main=main, default=True, is_sure=is_sure)

    def of_version(self, version: str) -> Kernel:
        """Return a kernel that is not in a default entry, with the initramfs that has the usual name."""
        path = self._usual(_INITRAMFS, version)
        image = self._image(version)
        return self._kernel(version, image=image, paths=[path] if path else [], main=path, default=False, is_sure=True)

    def _usual(self, forms: Sequence[str], version: str) -> str:
        return next((path for path in (form.format(version) for form in forms) if self._tree.exists(path)), "")

    def _image(self, version: str) -> str:
        return self._usual(_IMAGES, version)

    def _version_of(self, entry: BootEntry, image: str) -> tuple[str, bool]:
        """Return the kernel version of an entry, empty if unknown, and whether it is certain."""
        released = self._released(image)
        if released:
            return released, True
        names = [entry.kernel, self._tree.link(image) or ""] if image else [entry.kernel]
        for name in names:
            named = [version for version in self.versions if version in name]
            if named:
                return max(named, key=len), True
        # In Arch and Alpine the image has the name of its flavour: vmlinuz-lts for 6.6.22-1-lts.
        flavour = re.sub(r"^(vmlinuz|vmlinux|bzImage|Image|kernel)-?", "", entry.kernel.rsplit("/", 1)[-1])
        for version in self.versions:
            package = (self._tree.text(f"{self._directory}/{version}/pkgbase") or "").strip()
            if flavour and (package == flavour or (not package and version.endswith(f"-{flavour}"))):
                return version, True
        return (self.versions[0], False) if len(self.versions) == 1 else ("", False)

    def _released(self, image: str) -> str:
        """Return the version in the header of a bzImage, or in a unified kernel image."""
        try:
            file = self._tree.open(image) if image else None
            if file is None:
                return ""
            head = file.pread(0, _HEAD_BYTES)
            if head[_MAGIC_AT : _MAGIC_AT + 4] == b"HdrS":
                (pointer,) = struct.unpack_from("<H", head, _MAGIC_AT + 12)
                text = file.pread(pointer + 512, 256).split(b"\0")[0] if pointer else b""
                words = text.decode("ascii", "replace").split()
                return words[0] if words and words[0][:1].isdigit() else ""
            unified = read_unified(file) if head[:2] == b"MZ" else None
            return unified.version if unified is not None else ""
        except ReadProblem:
            return ""

    def _kernel(
        self, version: str, *, image: str, paths: Sequence[str], main: str, default: bool, is_sure: bool
    ) -> Kernel:
        tree, directory = self._tree, f"{self._directory}/{version}"
        built_in = _module_names(tree, f"{directory}/modules.builtin") if version else None
        on_disk = _module_names(tree, f"{directory}/modules.dep") if version else None
        config = _configuration(tree, version) if version else {}
        wanted = [name for name in DRIVERS if name not in (built_in or ()) and config.get(name) != "y"]
        packed, problem, damage = self._in_initramfs(paths, wanted, version if is_sure else "", whole=default)
        drivers = []
        for name in DRIVERS:
            if name in (built_in or ()) or config.get(name) == "y":
                place = DriverPlace.BUILT_IN
            elif name in packed:
                place = DriverPlace.INITRAMFS
            elif problem:
                place = DriverPlace.UNKNOWN
            elif name in (on_disk or ()):
                place = DriverPlace.MODULE
            elif (built_in is None or on_disk is None) and name not in config:
                place = DriverPlace.UNKNOWN
            else:
                place = DriverPlace.ABSENT
            drivers.append(Driver(name=name, place=place))
        return Kernel(
            version=version,
            image=image,
            initramfs=main,
            initramfs_problem=problem,
            initramfs_damage=damage,
            image_damage=self._damage_of(image) if default and image else "",
            default=default,
            fw_cfg=config["fw_cfg"] in ("y", "m") if config else None,
            drivers=tuple(drivers),
        )

    def _in_initramfs(
        self, paths: Sequence[str], wanted: Sequence[str], version: str, *, whole: bool
    ) -> tuple[frozenset[str], str, str]:
        """Return the wanted modules in the files of an initramfs, and clauses about unread parts and about damage."""
        found, problem, damage = frozenset[str](), "", ""
        for path in paths:
            missing = [name for name in wanted if name not in found]
            if not missing and not whole:
                break
            try:
                if time.process_time() > self._until_cpu_s:
                    raise Unsupported("it was not unpacked: the initramfs of other kernels took too long")
                contents = modules_in(self._opened(path), missing, version=version, whole=whole)
            except ReadProblem as error:
                problem = problem or error.message
                damage = damage or (error.message if isinstance(error, Bad) else "")
                continue
            damage = damage or contents.damage
            found |= contents.modules
            if contents.image and len(contents.modules) < len(missing):
                problem = problem or f"most of it is in {contents.image}, a file system image that is not read"
        return found, problem if len(found) < len(wanted) else "", damage

    def _damage_of(self, image: str) -> str:
        """Return a clause about a kernel that is truncated or for another architecture, empty for any other one."""
        try:
            file = self._tree.open(image)
            head = file.pread(0, _HEAD_BYTES)
        except ReadProblem:
            return ""
        is_arm = head[_ARM_AT : _ARM_AT + 4] == b"ARM\x64"
        is_x86 = head[_MAGIC_AT : _MAGIC_AT + 4] == b"HdrS"
        if is_arm and self._architecture in (Architecture.X86_64, Architecture.I386):
            return "it is for arm64"
        if is_x86 and self._architecture is Architecture.ARM64:
            return "it is for x86"
        if not is_x86:
            return ""
        (paragraphs,) = struct.unpack_from("<I", head, _SIZE_AT)
        whole = ((head[_SETUP_AT] or 4) + 1) * 512 + paragraphs * 16
        # The size is rounded up to 16 bytes.
        return f"it has {file.size} of {whole} bytes" if file.size + 15 < whole else ""

    def _opened(self, path: str) -> Reader:
        """Open an initramfs. In a unified kernel image it is a section of the image."""
        file = self._tree.open(path)
        if file.pread(0, 2) != b"MZ":
            return file
        image = read_unified(file)
        if image is None:
            raise Unsupported(f"{path} has no sections of a unified kernel image")
        return image.initramfs or BytesReader(b"")


def _module_names(tree: Tree, path: str) -> frozenset[str] | None:
    """Return the modules in modules.builtin or modules.dep, whose lines begin with a path. None without the file."""
    text = tree.text(path)
    if text is None:
        return None
    return frozenset(module_name(line.split(":", 1)[0]) or "" for line in text.splitlines())


def _configuration(tree: Tree, version: str) -> dict[str, str]:
    """Return "y", "m" or "n" for each driver by the configuration of the kernel, empty if there is none."""
    places = (f"/boot/config-{version}", f"/lib/modules/{version}/config", f"/usr/lib/modules/{version}/config")
    text = next((text for text in (tree.text(place) for place in places) if text), None)
    if not text:
        return {}
    values = {}
    for driver, option in _CONFIG.items():
        match = re.search(rf"^{option}=([ym])$", text, re.MULTILINE)
        values[driver] = match[1] if match else "n"
    return values


_PE_HEAD_BYTES = 64 << 10
_MAX_SECTIONS = 96
_MAX_TEXT_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class UnifiedImage:
    """The sections of a unified kernel image, which is a PE file with the stub of systemd.

    `version` is the release of the kernel. `initramfs` is None if the image has none.
    """

    version: str
    arguments: str
    initramfs: Reader | None


def read_unified(file: Reader) -> UnifiedImage | None:
    """Read a unified kernel image. Return None for a PE file without a kernel. Raises Bad for other files."""
    sections = _sections(file)
    if b".linux" not in sections:
        return None
    arguments = " ".join(_text(file, sections.get(b".cmdline")).split())
    initrd = sections.get(b".initrd")
    return UnifiedImage(
        version=_text(file, sections.get(b".uname")).strip(),
        arguments=arguments,
        initramfs=Window(file, start=initrd[0], size=initrd[1]) if initrd else None,
    )


def _sections(file: Reader) -> dict[bytes, tuple[int, int]]:
    """Return the offset and length of each section by its name."""
    head = file.pread(0, _PE_HEAD_BYTES)
    at = pe_header_at(head)
    (count,) = struct.unpack_from("<H", head, at + 6)
    (optional_bytes,) = struct.unpack_from("<H", head, at + 20)
    first = at + 24 + optional_bytes
    if count > _MAX_SECTIONS or first + count * 40 > len(head):
        raise Bad(f"the PE file has an impossible table of {count} sections", offset=first)
    found: dict[bytes, tuple[int, int]] = {}
    for index in range(count):
        name, virtual_bytes, _address, raw_bytes, raw_at = struct.unpack_from("<8sIIII", head, first + index * 40)
        # The raw size is padded. The virtual size is that of the content.
        size = min(virtual_bytes or raw_bytes, raw_bytes)
        if raw_at + size > file.size:
            raise Bad(f"the section {name.rstrip(bytes(1)).decode('ascii', 'replace')} is truncated", offset=raw_at)
        found.setdefault(name.rstrip(b"\0"), (raw_at, size))
    return found


def _text(file: Reader, section: tuple[int, int] | None) -> str:
    if section is None:
        return ""
    return read_exactly(file, section[0], min(section[1], _MAX_TEXT_BYTES)).decode("utf-8", "replace").rstrip("\0\n ")
