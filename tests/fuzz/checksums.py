"""Recomputation of the checksums of damaged images, so that readers which verify them read the damaged fields."""

import struct
import zlib
from collections.abc import Iterator

from tests.disk.build import SECTOR
from tests.fuzz.mutate import Patch

# The checksum of a larger array, of which the damaged header has the size, is not recomputed.
_MAX_ARRAY_BYTES = 1 << 20


def repaired_gpt(image: bytearray) -> Iterator[Patch]:
    """Yield the checksums of both headers of a GPT and of their partition arrays."""
    for at in (SECTOR, len(image) - SECTOR):
        header = bytearray(image[at : at + 92])
        lba, count, entry_bytes = struct.unpack_from("<QII", header, 72)
        if count * entry_bytes <= _MAX_ARRAY_BYTES:
            array = image[lba * SECTOR : lba * SECTOR + count * entry_bytes]
            struct.pack_into("<I", header, 88, zlib.crc32(array))
        header[16:20] = bytes(4)
        struct.pack_into("<I", header, 16, zlib.crc32(header))
        yield at, bytes(header)


def repaired_vhd(image: bytearray) -> Iterator[Patch]:
    """Yield the checksums of a VHD's footer, its copy and the dynamic header, if their cookies are intact."""
    for at, length, sum_at, mark in (
        (0, SECTOR, 64, b"conectix"),
        (SECTOR, 1024, 36, b"cxsparse"),
        (len(image) - SECTOR, SECTOR, 64, b"conectix"),
    ):
        raw = image[at : at + length]
        if raw.startswith(mark):
            total = sum(raw) - sum(raw[sum_at : sum_at + 4])
            yield at + sum_at, struct.pack(">I", ~total & 0xFFFFFFFF)


def repaired_xz_index(image: bytearray) -> Iterator[Patch]:
    """Yield the checksums of the footer and the index of an .xz file."""
    footer_at = len(image) - 12
    index_at = footer_at - (int.from_bytes(image[footer_at + 4 : footer_at + 8], "little") + 1) * 4
    if index_at > 0:
        yield footer_at - 4, zlib.crc32(image[index_at : footer_at - 4]).to_bytes(4, "little")
    yield footer_at, zlib.crc32(image[footer_at + 4 : footer_at + 10]).to_bytes(4, "little")
