"""Tests of the detection of file systems by signature."""

import struct
import uuid

from aliyun_import.disk.containers.registry import is_text
from aliyun_import.disk.filesystems.interface import Signature
from aliyun_import.disk.filesystems.registry import probe_filesystem
from aliyun_import.disk.reader import BytesReader
from tests.disk import build
from tests.rows import each_row

RAW_UUID = uuid.UUID(build.ROOT_UUID).bytes


def _volume(*pieces: tuple[int, bytes], size: int = 256 * 1024) -> bytes:
    volume = bytearray(size)
    for at, data in pieces:
        volume[at : at + len(data)] = data
    return bytes(volume)


def _ext(compat: int, incompat: int, ro_compat: int) -> bytes:
    return _volume((1024 + 0x38, b"\x53\xef"), (1024 + 0x5C, struct.pack("<III", compat, incompat, ro_compat)))


@each_row(
    ("volume", "expected"),
    [
        (build.ext4(), Signature("ext4", label="rootfs", uuid=build.ROOT_UUID)),
        (_ext(0x4, 0x2, 0x1), Signature("ext3")),
        (_ext(0x0, 0x2, 0x1), Signature("ext2")),
        (_ext(0x0, 0x8, 0x0), Signature("jbd")),
        (
            _volume((0, b"XFSB"), (32, RAW_UUID), (108, b"data\0\0")),
            Signature("xfs", label="data", uuid=build.ROOT_UUID),
        ),
        (
            _volume((0x10040, b"_BHRfS_M"), (0x10020, RAW_UUID), (0x1012B, b"pool")),
            Signature("btrfs", label="pool", uuid=build.ROOT_UUID),
        ),
        (_volume((4086, b"SWAPSPACE2"), (0x40C, RAW_UUID)), Signature("swap", uuid=build.ROOT_UUID)),
        (_volume((65526, b"SWAPSPACE2")), Signature("swap")),
        (
            _volume((512, b"LABELONE"), (532, struct.pack("<I", 32)), (536, b"LVM2 001" + b"abcdef" * 5 + b"gh")),
            Signature("lvm", uuid="abcdef-abcd-efab-cdef-abcd-efab-cdefgh"),
        ),
        (
            _volume((0, b"LUKS\xba\xbe"), (168, build.ROOT_UUID.encode())),
            Signature("luks", uuid=build.ROOT_UUID),
        ),
        (_volume((3, b"-FVE-FS-")), Signature("bitlocker")),
        (
            _volume((3, b"NTFS    "), (0x48, bytes.fromhex("8877665544332211"))),
            Signature("ntfs", uuid="1122334455667788"),
        ),
        (build.fat({}), Signature("vfat", label="ESP", uuid="AB12-CD34")),
        (_volume((4096, b"\xfc\x4e\x2b\xa9")), Signature("mdraid")),
        (_volume((128 * 1024 + 1024, b"\x0c\xb1\xba\0\0\0\0\0")), Signature("zfs")),
        (_volume((65536 + 1372, b"\x19\x01\x54\x19")), Signature("ufs")),
        (
            _volume((1024, b"\x10\x20\xf5\xf2"), (1132, RAW_UUID), (1148, "home".encode("utf-16-le"))),
            Signature("f2fs", label="home", uuid=build.ROOT_UUID),
        ),
        (
            _volume((65588, b"ReIsEr2Fs"), (65620, RAW_UUID), (65636, b"srv")),
            Signature("reiserfs", label="srv", uuid=build.ROOT_UUID),
        ),
        (
            _volume((32768, b"JFS1"), (32904, RAW_UUID), (32920, b"JJ")),
            Signature("jfs", label="JJ", uuid=build.ROOT_UUID),
        ),
        (
            _volume((1024, b"\xe2\xe1\xf5\xe0"), (1072, RAW_UUID), (1088, b"ro")),
            Signature("erofs", label="ro", uuid=build.ROOT_UUID),
        ),
        (
            _volume((1030, b"\x34\x34"), (1176, RAW_UUID), (1192, b"log")),
            Signature("nilfs2", label="log", uuid=build.ROOT_UUID),
        ),
        (
            _volume((4120, bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef")), (4152, RAW_UUID), (4168, b"bc")),
            Signature("bcachefs", label="bc", uuid=build.ROOT_UUID),
        ),
        (
            _volume((32769, b"CD001"), (32808, b"CIDATA   "), (32768 + 813, b"2026112412000000")),
            Signature("iso9660", label="CIDATA", uuid="2026-11-24-12-00-00-00"),
        ),
    ],
)
def test_a_signature_is_detected_with_label_and_uuid(volume: bytes, expected: Signature) -> None:
    """Each format is recognised by its own bytes; the UUID has the form that Linux uses."""
    assert probe_filesystem(BytesReader(volume)) == expected


@each_row("volume", [b"", bytes(10), bytes(100_000), b"\x55\xaa" * 5000])
def test_a_volume_without_a_known_signature_is_none(volume: bytes) -> None:
    """Blank, tiny and unknown volumes have no signature."""
    assert probe_filesystem(BytesReader(volume)) is None


@each_row(
    ("head", "expected"),
    [
        (b"sha256  disk.raw\n", True),
        ("磁盘\n".encode() * 300 + b"\xe7\xa3", True),
        (b"", False),
        (b"text\0", False),
        (b"\xff\xfe binary", False),
    ],
)
def test_text_is_distinguished_from_binary_data(head: bytes, expected: object) -> None:
    """Text has no zeros and no invalid UTF-8, except for a character that is cut at the end."""
    assert is_text(head) is expected
