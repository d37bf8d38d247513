"""This file reads QCOW2 images in OSS: the header, and whether all that its tables point at is in the object.

Source: QEMU, docs/interop/qcow2. All numbers are big-endian.
"""

import struct

from aliyun_import.sandbox.importer.source import DamagedDiskError, Reader

MAGIC = b"QFI\xfb"
_OFFSET = 0x00FFFFFFFFFFFE00  # bits 9-55 of a table's entry
_COMPRESSED = 1 << 62
_CORRUPT, _EXTERNAL_DATA, _EXTENDED_L2 = 1 << 1, 1 << 2, 1 << 4


def virtual_bytes(reader: Reader) -> int:
    """Give the size of the disk in the image; raises DamagedDiskError with the reason."""
    header = reader.pread(0, min(104, reader.size))
    if len(header) < 72:
        raise DamagedDiskError("the object is too short for a QCOW2 header")
    version, backing_offset, _, cluster_bits, size, crypt, l1_entries, l1_offset = struct.unpack_from(
        ">IQIIQIIQ", header, 4
    )
    if version not in (2, 3):
        raise DamagedDiskError(f"the QCOW2 image has version {version}")
    if backing_offset:
        raise DamagedDiskError("the QCOW2 image has a backing file, which is missing")
    if crypt:
        raise DamagedDiskError("the QCOW2 image is encrypted")
    if not 9 <= cluster_bits <= 21:
        raise DamagedDiskError(f"the QCOW2 image's clusters have 2^{cluster_bits} bytes")
    if size == 0:
        raise DamagedDiskError("the QCOW2 image holds a disk of no bytes")
    features = struct.unpack_from(">Q", header, 72)[0] if version == 3 and len(header) >= 80 else 0
    _check_features(features)
    entry_bytes = 16 if features & _EXTENDED_L2 else 8
    per_l1 = (1 << cluster_bits) * ((1 << cluster_bits) // entry_bytes)
    if l1_entries < -(-size // per_l1) or l1_offset + 8 * l1_entries > reader.size:
        raise DamagedDiskError("the QCOW2 image's first table is too short, or lies outside of the object")
    for (entry,) in struct.iter_unpack(">Q", reader.pread(l1_offset, 8 * l1_entries)):
        if entry & _OFFSET:
            _check_second_table(reader, entry & _OFFSET, cluster_bits=cluster_bits, step=entry_bytes // 8)
    return int(size)


def _check_features(features: int) -> None:
    if features & _CORRUPT:
        raise DamagedDiskError("the QCOW2 image is marked as corrupt")
    if features & _EXTERNAL_DATA:
        raise DamagedDiskError("the QCOW2 image keeps its data in another file")


def _check_second_table(reader: Reader, offset: int, *, cluster_bits: int, step: int) -> None:
    if offset + (1 << cluster_bits) > reader.size:
        raise DamagedDiskError("a table of the QCOW2 image lies outside of the object: it is truncated")
    compressed_mask = (1 << (62 - (cluster_bits - 8))) - 1
    table = struct.unpack(f">{(1 << cluster_bits) // 8}Q", reader.pread(offset, 1 << cluster_bits))
    for entry in table[::step]:
        start = entry & (compressed_mask if entry & _COMPRESSED else _OFFSET)
        if start >= reader.size:
            raise DamagedDiskError(f"data of the QCOW2 image, at {start}, lies outside of the object: it is truncated")
