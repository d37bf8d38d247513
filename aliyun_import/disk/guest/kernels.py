"""The kernels of a Linux system, and where each has the drivers that it needs on ECS."""

import re
import struct
import time
from binascii import unhexlify
from collections.abc import Collection, Iterable, Iterator, Sequence

from aliyun_import.disk.decompress import MAX_UNPACKED_BYTES, Unpacker
from aliyun_import.disk.filesystems.interface import Tree, text_of
from aliyun_import.disk.guest.boot_config import boot_path, version_key
from aliyun_import.disk.guest.report import DRIVERS, BootEntry, Driver, DriverPlace, Kernel
from aliyun_import.disk.reader import Bad, Reader, ReadProblem, Unsupported

# Each takes one pass over an initramfs. Distributions keep two or three kernels.
_MAX_KERNELS = 4
# bzip2 unpacks at 25 MiB/s, and the child has 60 seconds: a third such initramfs would cost the whole report.
_ENOUGH_CPU_S = 20
_MODULE_DIRECTORIES = ("/lib/modules", "/usr/lib/modules")
_IMAGES = ("/boot/vmlinuz-{0}", "/boot/vmlinux-{0}", "/boot/Image-{0}", "/boot/kernel-{0}", "/lib/modules/{0}/vmlinuz")
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


def find_kernels(tree: Tree, entries: Sequence[BootEntry], *, separate_boot: bool) -> tuple[Kernel, ...]:
    """Return the kernels that have modules: the default of the boot loader, then the newest.

    `entries` are in the loader's order, its default first.
    """
    directory = next((place for place in _MODULE_DIRECTORIES if tree.names(place)), _MODULE_DIRECTORIES[0])
    versions = [name for name in tree.names(directory) if tree.names(f"{directory}/{name}")]
    # Directories that remain of a removed kernel (modules of DKMS) have no image, and are never started.
    versions = [version for version in versions if _image(tree, version)] or versions
    versions.sort(key=version_key, reverse=True)
    started = _version_of(tree, entries[0], versions, separate_boot=separate_boot) if entries else None
    if started is not None:
        versions.remove(started)
        versions.insert(0, started)
    until_cpu_s = time.process_time() + _ENOUGH_CPU_S
    return tuple(
        _kernel(
            tree,
            version,
            entries,
            directory=directory,
            separate_boot=separate_boot,
            default=version == started,
            until_cpu_s=until_cpu_s,
        )
        for version in versions[:_MAX_KERNELS]
    )


def _version_of(tree: Tree, entry: BootEntry, versions: Sequence[str], *, separate_boot: bool) -> str | None:
    """Return which version an entry starts: by its kernel's name, or because there is only one."""
    name = entry.kernel.rsplit("/", 1)[-1]
    named = [version for version in versions if version in name]
    if named:
        return max(named, key=len)
    target = boot_path(tree, entry.kernel, separate_boot=separate_boot) if entry.kernel else None
    linked = (tree.link(target) or "") if target else ""
    named = [version for version in versions if version in linked]
    if named:
        return max(named, key=len)
    return versions[0] if len(versions) == 1 and target else None


def _kernel(
    tree: Tree,
    version: str,
    entries: Sequence[BootEntry],
    *,
    directory: str,
    separate_boot: bool,
    default: bool,
    until_cpu_s: float,
) -> Kernel:
    initramfs = _initramfs(tree, version, entries if default else (), separate_boot=separate_boot)
    built_in = _module_names(tree, f"{directory}/{version}/modules.builtin")
    on_disk = _module_names(tree, f"{directory}/{version}/modules.dep")
    config = _configuration(tree, version)
    wanted = [name for name in DRIVERS if name not in (built_in or ())]
    problem, packed = "", frozenset[str]()
    if initramfs and wanted:
        try:
            if time.process_time() > until_cpu_s:
                raise Unsupported("it was not unpacked: the kernels before it took too long")
            packed = modules_in(tree.open(initramfs), wanted)
        except ReadProblem as trouble:
            problem = trouble.message
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
        image=_image(tree, version),
        initramfs=initramfs,
        initramfs_problem=problem,
        default=default,
        fw_cfg=config["fw_cfg"] in ("y", "m") if config else None,
        drivers=tuple(drivers),
    )


def _image(tree: Tree, version: str) -> str:
    return next((path for path in (form.format(version) for form in _IMAGES) if tree.exists(path)), "")


def _initramfs(tree: Tree, version: str, entries: Sequence[BootEntry], *, separate_boot: bool) -> str:
    """Return the initramfs of a version: the one in its boot entry, else by the usual names."""
    if entries and entries[0].initramfs:
        named = boot_path(tree, entries[0].initramfs, separate_boot=separate_boot)
        if named:
            return named
    return next((path for path in (form.format(version) for form in _INITRAMFS) if tree.exists(path)), "")


def _module_names(tree: Tree, path: str) -> frozenset[str] | None:
    """Return the modules in modules.builtin or modules.dep, one path at the beginning of each line."""
    text = tree.text(path)
    if text is None:
        return None
    return frozenset(module_name(line.split(":", 1)[0]) or "" for line in text.splitlines())


def _configuration(tree: Tree, version: str) -> dict[str, str]:
    """Return the options of the kernel's configuration: "y", "m" or "n"; empty when there is none."""
    text = tree.text(f"/boot/config-{version}") or tree.text(f"/lib/modules/{version}/config")
    if not text:
        return {}
    values = {}
    for driver, option in _CONFIG.items():
        match = re.search(rf"^{option}=([ym])$", text, re.MULTILINE)
        values[driver] = match[1] if match else "n"
    return values


MAGICS = (b"070701", b"070702")
_HEADER_BYTES = 110
_MAX_NAME_BYTES = 4096
_TRAILER = "TRAILER!!!"


class ByteStream:
    """Chunks read as one stream. `position` counts the bytes that were read."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        # The current chunk, and how much of it was read: a chunk of 8 MiB may contain 75,000 members, and removing each
        # from its front would copy the rest each time.
        self._buffer, self._taken = b"", 0
        self.position = 0

    def read(self, length: int) -> bytes:
        """Read `length` bytes, fewer only where the stream ends."""
        while len(self._buffer) - self._taken < length:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._buffer, self._taken = self._buffer[self._taken :] + chunk, 0
        data = self._buffer[self._taken : self._taken + length]
        self._taken += len(data)
        self.position += len(data)
        return data

    def unread(self, data: bytes) -> None:
        """Undo the last read."""
        self._taken -= len(data)
        self.position -= len(data)

    def skip(self, length: int) -> None:
        """Skip `length` bytes; Bad where the stream ends before."""
        self.position += length
        while length > len(self._buffer) - self._taken:
            length -= len(self._buffer) - self._taken
            chunk = next(self._chunks, None)
            if chunk is None:
                raise Bad("a cpio archive ends early")
            self._buffer, self._taken = chunk, 0
        self._taken += length


def member_names(stream: ByteStream) -> Iterator[str]:
    """Yield the names of one archive up to its trailer, which is read, too."""
    while True:
        begin = stream.position
        header = stream.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES or header[:6] not in MAGICS:
            raise Bad(f"there is no cpio header at {begin}")
        try:  # int() would take signs, blanks and underscores, too
            file_bytes, name_bytes = struct.unpack(">II", unhexlify(header[54:62] + header[94:102]))
        except ValueError:
            raise Bad(f"the cpio header at {begin} has invalid numbers") from None
        if not 0 < name_bytes <= _MAX_NAME_BYTES:
            raise Bad(f"the cpio header at {begin} has a name of {name_bytes} bytes")
        name = text_of(stream.read(name_bytes).rstrip(b"\0"))
        # The name is padded so that the data begin at a multiple of 4, and the data so that the next header does.
        stream.skip(-(_HEADER_BYTES + name_bytes) % 4)
        if name == _TRAILER:
            return
        stream.skip(file_bytes + -file_bytes % 4)
        yield name


_PLAIN_CHUNK_BYTES = 64 << 10
# Between two archives there are zeros up to the next multiple of 4, 512 or a page; some tools pad generously.
_MAX_PADDING_BYTES = 16 << 20
_MAX_ARCHIVES = 64
# dracut's no-hostonly initramfs with all firmware has some 8,000 members.
_MAX_MEMBERS = 300_000
_SUFFIXES = (".ko", ".ko.gz", ".ko.xz", ".ko.zst", ".ko.bz2", ".ko.lz4")


def module_name(path: str) -> str | None:
    """Return the name of the kernel module in a file, as `modprobe` writes it; None for other files."""
    name = path.rsplit("/", 1)[-1]
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            return name.removesuffix(suffix).replace("-", "_")
    return None


def modules_in(file: Reader, wanted: Collection[str], *, limit_bytes: int = MAX_UNPACKED_BYTES) -> frozenset[str]:
    """Return which of the wanted modules are in an initramfs, which may unpack to `limit_bytes` in all.

    Raises Bad or Unsupported where it could not be read to its end and a wanted module was not found before.
    """
    missing = set(wanted)
    for count, path in enumerate(_paths(file, limit_bytes)):
        missing.discard(module_name(path) or "")
        if not missing:
            break
        if count >= _MAX_MEMBERS:
            raise Bad(f"it has more than {_MAX_MEMBERS} members")
    return frozenset(wanted) - missing


def _paths(file: Reader, left: int) -> Iterator[str]:
    at, archives = 0, 0
    while (begin := _after_zeros(file, at)) is not None:
        archives += 1
        if archives > _MAX_ARCHIVES:
            raise Bad(f"it consists of more than {_MAX_ARCHIVES} archives")
        if file.pread(begin, 6) in MAGICS:
            stream = ByteStream(_plain(file, begin))
            yield from member_names(stream)
            at = begin + stream.position
            continue
        unpacker = Unpacker(file, begin, limit_bytes=left)
        yield from _unpacked_paths(unpacker)
        if unpacker.end is None or unpacker.end <= begin:
            raise Bad("its compressed part does not end", offset=begin)
        at, left = unpacker.end, left - unpacker.unpacked_bytes


def _unpacked_paths(unpacker: Unpacker) -> Iterator[str]:
    """Yield the names of all archives in one compressed part; dracut and mkinitramfs may put several into it."""
    stream = ByteStream(unpacker)
    for count in range(_MAX_ARCHIVES):
        yield from member_names(stream)
        magic = _next_magic(stream)
        if not magic:
            return
        if magic not in MAGICS or count == _MAX_ARCHIVES - 1:
            raise Bad("an archive in its compressed part is followed by unknown data")
        stream.unread(magic)


def _next_magic(stream: ByteStream) -> bytes:
    """Skip the padding between archives; return the next 6 bytes, none at the end."""
    passed = 0
    while data := stream.read(4):
        if any(data):
            return data + stream.read(2)
        passed += 4
        if passed > _MAX_PADDING_BYTES:
            raise Bad("the padding after an archive does not end")
    return b""


def _plain(file: Reader, at: int) -> Iterator[bytes]:
    while chunk := file.pread(at, _PLAIN_CHUNK_BYTES):
        yield chunk
        at += len(chunk)


def _after_zeros(file: Reader, at: int) -> int | None:
    """Return the first offset from `at` on that is not zero, None when only zeros follow."""
    end = at + _MAX_PADDING_BYTES
    while at < file.size:
        if at >= end:
            raise Bad("the padding after an archive does not end", offset=at)
        chunk = file.pread(at, _PLAIN_CHUNK_BYTES)
        if not chunk:
            return None
        rest = chunk.lstrip(b"\0")
        if rest:
            return at + len(chunk) - len(rest)
        at += len(chunk)
    return None
