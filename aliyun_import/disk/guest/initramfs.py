"""This file finds out which kernel modules an initramfs brings along.

An initramfs is one cpio archive after the other: first plain ones (microcode; with newer Ubuntu also the modules), then
one that is compressed. Only names are read, and no further than until every wanted module was seen.
"""

from collections.abc import Collection, Iterator

from aliyun_import.disk.guest.cpio import MAGICS, ByteStream, member_names
from aliyun_import.disk.guest.unpack import MAX_UNPACKED_BYTES, Unpacker
from aliyun_import.disk.reader import Bad, Reader

_PLAIN_CHUNK_BYTES = 64 << 10
# Between two archives there are zeros up to the next multiple of 4, 512 or a page; some tools pad generously.
_MAX_PADDING_BYTES = 16 << 20
_MAX_ARCHIVES = 64
# dracut's no-hostonly initramfs with all firmware has some 8,000 members.
_MAX_MEMBERS = 300_000
_SUFFIXES = (".ko", ".ko.gz", ".ko.xz", ".ko.zst", ".ko.bz2", ".ko.lz4")


def module_name(path: str) -> str | None:
    """Give the name of the kernel module that a path is of, as `modprobe` spells it; None when it is of none."""
    name = path.rsplit("/", 1)[-1]
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            return name.removesuffix(suffix).replace("-", "_")
    return None


def modules_in(file: Reader, wanted: Collection[str], *, limit_bytes: int = MAX_UNPACKED_BYTES) -> frozenset[str]:
    """Tell which of the wanted modules are in an initramfs, which may unpack to `limit_bytes` in all.

    Raises Bad or Unsupported where it could not be read to its end and a wanted module was not seen before.
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
    """Go through all archives in one compressed part; dracut and mkinitramfs may put several into it."""
    stream = ByteStream(unpacker)
    for count in range(_MAX_ARCHIVES):
        yield from member_names(stream)
        magic = _next_magic(stream)
        if not magic:
            return
        if magic not in MAGICS or count == _MAX_ARCHIVES - 1:
            raise Bad("after an archive in its compressed part comes something else")
        stream.unread(magic)


def _next_magic(stream: ByteStream) -> bytes:
    """Pass over the padding between archives; give the next 6 bytes, none at the end."""
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
    """Give the first place from `at` on that is not zero, None when nothing but zeros follows."""
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
