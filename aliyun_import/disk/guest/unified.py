"""Unified kernel images: a PE file of systemd's stub with the kernel, its initramfs and arguments as sections."""

import struct
from dataclasses import dataclass

from aliyun_import.disk.reader import Bad, Reader, Window, read_exactly

_HEAD_BYTES = 64 << 10
_MAX_SECTIONS = 96
_MAX_TEXT_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class UnifiedImage:
    """What the sections contain: the release of the kernel, its arguments, and the initramfs (None: it has none)."""

    version: str
    arguments: str
    initramfs: Reader | None


def read_unified(file: Reader) -> UnifiedImage | None:
    """Read a unified kernel image; None for a PE file without a kernel in it. Raises Bad for another file."""
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
    head = file.pread(0, _HEAD_BYTES)
    if head[:2] != b"MZ" or len(head) < 0x40:
        raise Bad("no PE file: it does not begin with MZ", offset=0)
    (at,) = struct.unpack_from("<I", head, 0x3C)
    if head[at : at + 4] != b"PE\0\0" or at + 24 > len(head):
        raise Bad(f"no PE file: no PE header at {at}", offset=at)
    (count,) = struct.unpack_from("<H", head, at + 6)
    (optional_bytes,) = struct.unpack_from("<H", head, at + 20)
    first = at + 24 + optional_bytes
    if count > _MAX_SECTIONS or first + count * 40 > len(head):
        raise Bad(f"the PE file has an impossible table of {count} sections", offset=first)
    found: dict[bytes, tuple[int, int]] = {}
    for index in range(count):
        name, virtual_bytes, _address, raw_bytes, raw_at = struct.unpack_from("<8sIIII", head, first + index * 40)
        # The raw size is padded; what the stub sees is the virtual one.
        size = min(virtual_bytes or raw_bytes, raw_bytes)
        if raw_at + size > file.size:
            raise Bad(f"the section {name.rstrip(bytes(1)).decode('ascii', 'replace')} is not whole", offset=raw_at)
        found.setdefault(name.rstrip(b"\0"), (raw_at, size))
    return found


def _text(file: Reader, section: tuple[int, int] | None) -> str:
    if section is None:
        return ""
    return read_exactly(file, section[0], min(section[1], _MAX_TEXT_BYTES)).decode("utf-8", "replace").rstrip("\0\n ")
