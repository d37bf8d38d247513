"""This file names what lies on a partition by its signature, with label and UUID where the format has them.

Offsets are those of libblkid's probers. Names are blkid's too, shortened where people say it shorter (lvm, luks).
"""

import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from aliyun_import.disk.io.reader import Reader

# Every signature but three lies in the first 68 KiB; those three are read by themselves.
_HEAD_BYTES = 68 * 1024
_UFS2_AT = 65536 + 1372
_ZFS_UBERBLOCKS_AT = 128 * 1024
_SWAP_PAGE_SIZES = (4096, 8192, 16384, 65536)
# ext4 is ext3 with any of these: extents, 64bit, flex_bg, csum_seed, inline_data; huge_file, gdt_csum, dir_nlink,
# extra_isize, metadata_csum.
_EXT4_INCOMPAT = 0x40 | 0x80 | 0x200 | 0x2000 | 0x8000
_EXT4_RO_COMPAT = 0x8 | 0x10 | 0x20 | 0x40 | 0x400
_EXT_HAS_JOURNAL = 0x4


@dataclass(frozen=True, slots=True)
class Signature:
    """What was recognised: a name ("ext4"), and the label and UUID as Linux spells them, empty where there is none."""

    name: str
    label: str = ""
    uuid: str = ""


def probe_filesystem(reader: Reader) -> Signature | None:
    """Recognise a file system, volume manager or encryption by its first bytes; None when nothing is known.

    A signature is no proof of a sound file system. Raises OSError or Bad when the disk can't be read there.
    """
    head = reader.pread(0, _HEAD_BYTES)
    head += bytes(_HEAD_BYTES - len(head))
    for probe in _PROBES:
        found = probe(head)
        if found is not None:
            return found
    uberblocks = reader.pread(_ZFS_UBERBLOCKS_AT, 128 * 1024)
    for at in range(0, len(uberblocks), 1024):
        if uberblocks[at : at + 8] in (b"\x0c\xb1\xba\0\0\0\0\0", b"\0\0\0\0\0\xba\xb1\x0c"):
            return Signature("zfs")
    return None


def is_text(head: bytes) -> bool:
    """Tell whether bytes are plain text: printable UTF-8 with line ends, and not a single zero."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character may be cut in two at the end.
        if error.start < len(head) - 4:
            return False
        text = head[: error.start].decode("utf-8")
    return bool(text) and all(char.isprintable() or char in "\t\r\n\f\ufeff" for char in text)


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("utf-8", "replace").strip()


def _uuid(raw: bytes) -> str:
    return str(uuid.UUID(bytes=raw)) if any(raw) else ""


def _luks(head: bytes) -> Signature | None:
    if head.startswith((b"LUKS\xba\xbe", b"SKUL\xba\xbe")):
        return Signature("luks", uuid=_text(head[168:208]))
    return None


def _bitlocker(head: bytes) -> Signature | None:
    return Signature("bitlocker") if head[3:11] == b"-FVE-FS-" else None


def _lvm(head: bytes) -> Signature | None:
    for at in range(0, 2048, 512):
        if head[at : at + 8] == b"LABELONE" and head[at + 24 : at + 32] == b"LVM2 001":
            (offset,) = struct.unpack_from("<I", head, at + 20)
            raw = head[at + offset : at + offset + 32].decode("ascii", "replace") if offset <= 480 else ""
            cuts = (0, 6, 10, 14, 18, 22, 26, 32)
            return Signature("lvm", uuid="-".join(raw[a:b] for a, b in pairwise(cuts)) if raw else "")
    return None


def _mdraid(head: bytes) -> Signature | None:
    return Signature("mdraid") if b"\xfc\x4e\x2b\xa9" in (head[4096:4100], head[0:4]) else None


def _ext(head: bytes) -> Signature | None:
    if head[1024 + 0x38 : 1024 + 0x3A] != b"\x53\xef":
        return None
    compat, incompat, ro_compat = struct.unpack_from("<III", head, 1024 + 0x5C)
    if incompat & 0x8:
        name = "jbd"
    elif incompat & _EXT4_INCOMPAT or ro_compat & _EXT4_RO_COMPAT:
        name = "ext4"
    else:
        name = "ext3" if compat & _EXT_HAS_JOURNAL else "ext2"
    return Signature(name, label=_text(head[1024 + 0x78 : 1024 + 0x88]), uuid=_uuid(head[1024 + 0x68 : 1024 + 0x78]))


def _xfs(head: bytes) -> Signature | None:
    return Signature("xfs", label=_text(head[108:120]), uuid=_uuid(head[32:48])) if head[:4] == b"XFSB" else None


def _btrfs(head: bytes) -> Signature | None:
    if head[0x10040:0x10048] != b"_BHRfS_M":
        return None
    return Signature("btrfs", label=_text(head[0x1012B:0x1022B]), uuid=_uuid(head[0x10020:0x10030]))


def _swap(head: bytes) -> Signature | None:
    for page in _SWAP_PAGE_SIZES:
        if head[page - 10 : page] in (b"SWAPSPACE2", b"SWAP-SPACE"):
            return Signature("swap", label=_text(head[0x41C:0x42C]), uuid=_uuid(head[0x40C:0x41C]))
        if head[page - 10 : page - 1] == b"S1SUSPEND":
            return Signature("swap-suspended")
    return None


def _ntfs(head: bytes) -> Signature | None:
    if head[3:11] == b"NTFS    ":
        return Signature("ntfs", uuid=f"{int.from_bytes(head[0x48:0x50], 'little'):016X}")
    if head[3:11] == b"EXFAT   ":
        return Signature("exfat", uuid=_serial(head[100:104]))
    return None


def _vfat(head: bytes) -> Signature | None:
    if head[510:512] != b"\x55\xaa" or head[0] not in (0xEB, 0xE9):
        return None
    if head[82:90] == b"FAT32   ":
        return Signature("vfat", label=_fat_label(head[71:82]), uuid=_serial(head[67:71]))
    if head[54:59] in (b"FAT16", b"FAT12") or head[54:62] == b"FAT     ":
        return Signature("vfat", label=_fat_label(head[43:54]), uuid=_serial(head[39:43]))
    return None


def _fat_label(raw: bytes) -> str:
    label = raw.decode("ascii", "replace").strip()
    return "" if label == "NO NAME" else label


def _serial(raw: bytes) -> str:
    number = int.from_bytes(raw, "little")
    return f"{number >> 16:04X}-{number & 0xFFFF:04X}"


def _others(head: bytes) -> Signature | None:
    signatures = (
        (0, b"hsqs", "squashfs"),
        (1024, b"\x10\x20\xf5\xf2", "f2fs"),
        (65536 + 52, b"ReIsEr", "reiserfs"),
        (_UFS2_AT, b"\x19\x01\x54\x19", "ufs"),
        (32769, b"CD001", "iso9660"),
        (32769, b"BEA01", "udf"),
    )
    return next((Signature(name) for at, magic, name in signatures if head[at : at + len(magic)] == magic), None)


_PROBES: tuple[Callable[[bytes], Signature | None], ...] = (
    _luks, _bitlocker, _lvm, _mdraid, _ext, _xfs, _btrfs, _swap, _ntfs, _vfat, _others,
)  # fmt: skip
