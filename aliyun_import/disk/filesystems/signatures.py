"""Signatures of what is recognised on a partition and not read: other file systems, encryption, volume managers.

The offsets of UUIDs and labels are those that libblkid of util-linux reads.
"""

import struct
from itertools import pairwise

from aliyun_import.disk.filesystems.fat import volume_serial
from aliyun_import.disk.filesystems.interface import FileSystemFormat, Signature, label_of, uuid_of

_SWAP_PAGE_SIZES = (4096, 8192, 16384, 65536)
_SUSPENDED = (b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB000")


def _luks(head: bytes) -> Signature | None:
    if not head.startswith((b"LUKS\xba\xbe", b"SKUL\xba\xbe")):
        return None
    label = label_of(head[24:72]) if head[6:8] == b"\0\2" else ""  # LUKS1 has the cipher there
    return Signature("luks", label=label, uuid=label_of(head[168:208]))


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


def _swap(head: bytes) -> Signature | None:
    for page in _SWAP_PAGE_SIZES:
        magic = head[page - 10 : page]
        if magic in (b"SWAPSPACE2", b"SWAP-SPACE") or magic.startswith(_SUSPENDED):
            name = "swap-suspended" if magic.startswith(_SUSPENDED) else "swap"
            return Signature(name, label=label_of(head[0x41C:0x42C]), uuid=uuid_of(head[0x40C:0x41C]))
    return None


def _ntfs(head: bytes) -> Signature | None:
    if head[3:11] == b"NTFS    ":
        return Signature("ntfs", uuid=f"{int.from_bytes(head[0x48:0x50], 'little'):016X}")
    if head[3:11] == b"EXFAT   ":
        return Signature("exfat", uuid=volume_serial(head[100:104]))
    return None


def _iso9660(head: bytes) -> Signature | None:
    if head[32769:32774] != b"CD001":
        return None
    dates = [head[at : at + 16] for at in (32768 + 830, 32768 + 813)]  # of modification and creation
    date = next((raw.decode() for raw in dates if raw.isdigit() and raw.strip(b"0")), "")
    cuts = (0, 4, 6, 8, 10, 12, 14, 16)
    uuid = "-".join(date[a:b] for a, b in pairwise(cuts)) if date else ""
    return Signature("iso9660", label=label_of(head[32808:32840]), uuid=uuid)


def _at(
    name: str, at: int, magic: bytes, title: str = "", *, uuid_at: int = 0, label_at: int = 0, label_bytes: int = 16,
    utf16: bool = False, hides: bool = False,
) -> FileSystemFormat:  # fmt: skip
    """Return a format with its magic bytes `at` an offset, and its UUID and label at others (0: it is not told)."""

    def probe(head: bytes) -> Signature | None:
        if head[at : at + len(magic)] != magic:
            return None
        raw = head[label_at : label_at + label_bytes] if label_at else b""
        label = raw.decode("utf-16-le", "replace").split("\0")[0] if utf16 else label_of(raw)
        return Signature(name, label=label, uuid=uuid_of(head[uuid_at : uuid_at + 16]) if uuid_at else "")

    return FileSystemFormat(names=(name,), probe=probe, title=title, hides=hides)


CONTAINERS: tuple[FileSystemFormat, ...] = (
    FileSystemFormat(names=("luks",), probe=_luks, title="LUKS, which is encrypted", hides=True),
    FileSystemFormat(names=("bitlocker",), probe=_bitlocker, title="BitLocker, which is encrypted", hides=True),
    FileSystemFormat(names=("lvm",), probe=_lvm),
    FileSystemFormat(names=("mdraid",), probe=_mdraid, title="a Linux RAID member", hides=True),
)
# A title marks what may be the root of a system.
UNREAD: tuple[FileSystemFormat, ...] = (
    _at("btrfs", 0x10040, b"_BHRfS_M", "btrfs", uuid_at=0x10020, label_at=0x1012B, label_bytes=256),
    FileSystemFormat(names=("swap", "swap-suspended"), probe=_swap),
    FileSystemFormat(names=("ntfs", "exfat"), probe=_ntfs),
    _at("squashfs", 0, b"hsqs", "squashfs"),
    _at("f2fs", 1024, b"\x10\x20\xf5\xf2", "F2FS", uuid_at=1132, label_at=1148, label_bytes=1024, utf16=True),
    _at("reiserfs", 65588, b"ReIsEr", "ReiserFS", uuid_at=65620, label_at=65636),
    _at("jfs", 32768, b"JFS1", "JFS", uuid_at=32904, label_at=32920),
    _at("erofs", 1024, b"\xe2\xe1\xf5\xe0", "EROFS", uuid_at=1072, label_at=1088),
    _at("nilfs2", 1030, b"\x34\x34", "NILFS2", uuid_at=1176, label_at=1192, label_bytes=80),
    _at("bcachefs", 4120, bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef"), "bcachefs",
        uuid_at=4152, label_at=4168, label_bytes=32),
    _at("bcache", 4120, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81"), "bcache", hides=True),
    _at("ufs", 65536 + 1372, b"\x19\x01\x54\x19", "UFS", hides=True),
    _at("ufs", 8192 + 1372, b"\x54\x19\x01\x00", "UFS", hides=True),
    _at("hfsplus", 1024, b"H+", "HFS+", hides=True),
    _at("apfs", 32, b"NXSB", "APFS", hides=True),
    _at("romfs", 0, b"-rom1fs-", "romfs"),
    _at("cramfs", 0, b"\x45\x3d\xcd\x28", "cramfs"),
    FileSystemFormat(names=("iso9660",), probe=_iso9660),
    _at("udf", 32769, b"BEA01"),
    # Found by its uberblocks, behind the head.
    FileSystemFormat(names=("zfs",), probe=lambda _head: None, title="ZFS", hides=True),
)  # fmt: skip
# What has a UUID, or a label, that is not read here. An image of ISO 9660 may have a second label (Joliet).
NO_UUID = frozenset({"udf"})
NO_LABEL = frozenset({"ntfs", "exfat", "iso9660", "udf"})
