"""Kernel modules in an initramfs, which consists of plain and compressed cpio archives."""

import re
import struct
from binascii import unhexlify
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from aliyun_import.disk.decompress import MAX_UNPACKED_BYTES, Unpacker
from aliyun_import.disk.filesystems.interface import text_of
from aliyun_import.disk.reader import Bad, Reader, ReadProblem

MAGICS = (b"070701", b"070702")
_HEADER_BYTES = 110
_MAX_NAME_BYTES = 4096
_TRAILER = "TRAILER!!!"
_NOT_ZERO = re.compile(rb"[^\0]")


class ByteStream:
    """A stream of chunks. `position` counts the bytes that were read."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        # The current chunk, and the number of its bytes that were read. Removing them from the chunk would copy the
        # rest each time, and a chunk of 8 MiB may contain 75,000 members.
        self._buffer, self._taken = b"", 0
        self.position = 0

    def read(self, length: int) -> bytes:
        """Read `length` bytes, or fewer at the end of the stream."""
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

    def skip_zeros(self, most_bytes: int) -> int:
        """Skip zeros up to another byte or the end of the stream, and return their number.

        After more than `most_bytes`, no further chunk is read.
        """
        passed = 0
        while passed <= most_bytes:
            found = _NOT_ZERO.search(self._buffer, self._taken)
            end = found.start() if found else len(self._buffer)
            passed += end - self._taken
            self._taken = end
            chunk = None if found else next(self._chunks, None)
            if chunk is None:
                break
            self._buffer, self._taken = chunk, 0
        self.position += passed
        return passed

    def skip(self, length: int) -> None:
        """Skip `length` bytes. Raises Bad if the stream ends before."""
        self.position += length
        while length > len(self._buffer) - self._taken:
            length -= len(self._buffer) - self._taken
            chunk = next(self._chunks, None)
            if chunk is None:
                raise Bad("a cpio archive ends early")
            self._buffer, self._taken = chunk, 0
        self._taken += length


def member_names(stream: ByteStream) -> Iterator[str]:
    """Yield the names in an archive, and read it up to and including its trailer."""
    while True:
        begin = stream.position
        header = stream.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES or header[:6] not in MAGICS:
            raise Bad(f"there is no cpio header at {begin}")
        try:  # int() accepts signs, blanks and underscores, too
            file_bytes, name_bytes = struct.unpack(">II", unhexlify(header[54:62] + header[94:102]))
        except ValueError:
            raise Bad(f"the cpio header at {begin} has invalid numbers") from None
        if not 0 < name_bytes <= _MAX_NAME_BYTES:
            raise Bad(f"the cpio header at {begin} has a name of {name_bytes} bytes")
        name = text_of(stream.read(name_bytes).rstrip(b"\0"))
        # The name and the data are padded: the data and the next header begin at multiples of 4.
        stream.skip(-(_HEADER_BYTES + name_bytes) % 4)
        if name == _TRAILER:
            return
        stream.skip(file_bytes + -file_bytes % 4)
        yield name


_PLAIN_CHUNK_BYTES = 64 << 10
# Archives are padded with zeros to a multiple of 4, 512 or a page. Some tools add more.
_MAX_PADDING_BYTES = 16 << 20
_MAX_ARCHIVES = 64
# A no-hostonly initramfs of dracut with all firmware has about 8,000 members.
_MAX_MEMBERS = 300_000
# These unpack 20 to 70 MiB per second, the others 200 MiB and more.
_SLOW = ("xz", "lzma", "bzip2")
_SUFFIXES = (".ko", ".ko.gz", ".ko.xz", ".ko.zst", ".ko.bz2", ".ko.lz4")


def module_name(path: str) -> str | None:
    """Return the name of the kernel module in a file, in the form of `modprobe`, or None for other files."""
    name = path.rsplit("/", 1)[-1]
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            return name.removesuffix(suffix).replace("-", "_")
    return None


@dataclass(frozen=True, slots=True)
class Contents:
    """The wanted modules that an initramfs has.

    `image` is the name of a file system image with more files ("squashfs-root.img" of dracut), else empty. `damage` is
    a clause about damage after the modules, empty if there is none or the rest was not read.
    """

    modules: frozenset[str]
    image: str = ""
    damage: str = ""


# dracut --squash and mkosi store most files in a file system image in the archive.
_IMAGES = re.compile(r"(^|/)((squash|squashfs|erofs)(-root\.img|/root\.img)|\w[\w.-]*\.(squashfs|erofs|sfs))$")
_VERSION = re.compile(r"(?:^|/)lib/modules/(\d[^/]*)/")


def modules_in(
    file: Reader,
    wanted: Collection[str],
    *,
    version: str = "",
    whole: bool = False,
    limit_bytes: int = MAX_UNPACKED_BYTES,
) -> Contents:
    """Return which of the wanted modules are in an initramfs of at most `limit_bytes` when unpacked.

    Modules for another kernel than `version` are ignored, unless it is empty. With `whole`, the part after the last
    wanted module is read, too, if its compression is fast. Raises Bad or Unsupported if the initramfs can't be read to
    its end before all wanted modules are found.
    """
    missing, image, damage = set(wanted), "", ""
    try:
        for count, (path, is_slow) in enumerate(_paths(file, limit_bytes)):
            name = module_name(path)
            if name is None:
                image = image or (path if _IMAGES.search(path) else "")
            else:
                built_for = _VERSION.search(path)
                if built_for is None or not version or built_for[1] == version:
                    missing.discard(name)
            if not missing and (is_slow or not whole):
                break
            if count >= _MAX_MEMBERS:
                raise Bad(f"it has more than {_MAX_MEMBERS} members")
    except ReadProblem as problem:
        if missing:
            raise
        damage = problem.message if isinstance(problem, Bad) else ""
    return Contents(frozenset(wanted) - missing, image, damage)


def _paths(file: Reader, left: int) -> Iterator[tuple[str, bool]]:
    """Yield the names in all archives, and whether each is in a slow compression."""
    at, archives = 0, 0
    while (begin := _after_zeros(file, at)) is not None:
        archives += 1
        if archives > _MAX_ARCHIVES:
            raise Bad(f"it consists of more than {_MAX_ARCHIVES} archives")
        if file.pread(begin, 6) in MAGICS:
            stream = ByteStream(_plain(file, begin))
            yield from ((name, False) for name in member_names(stream))
            at = begin + stream.position
            continue
        unpacker = Unpacker(file, begin, limit_bytes=left)
        is_slow = unpacker.codec in _SLOW
        yield from ((name, is_slow) for name in _unpacked_paths(unpacker))
        if unpacker.end is None or unpacker.end <= begin:
            raise Bad("its compressed part does not end", offset=begin)
        at, left = unpacker.end, left - unpacker.unpacked_bytes


def _unpacked_paths(unpacker: Unpacker) -> Iterator[str]:
    """Yield the names in all archives of a compressed part. dracut and mkinitramfs may write several."""
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
    """Skip the padding between archives, and return the next 6 bytes, none at the end."""
    passed = stream.skip_zeros(_MAX_PADDING_BYTES)
    if passed > _MAX_PADDING_BYTES:
        raise Bad("the padding after an archive does not end")
    magic = stream.read(6)
    if magic and passed % 4:  # the kernel requires this, too
        raise Bad("the padding after an archive is not a multiple of 4 bytes")
    return magic


def _plain(file: Reader, at: int) -> Iterator[bytes]:
    while chunk := file.pread(at, _PLAIN_CHUNK_BYTES):
        yield chunk
        at += len(chunk)


def _after_zeros(file: Reader, at: int) -> int | None:
    """Return the offset of the first byte from `at` on that is not zero, or None if only zeros follow."""
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
