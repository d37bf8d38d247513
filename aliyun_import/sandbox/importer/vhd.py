"""This file reads VHDs in OSS: footer, dynamic header and block table.

Source: Microsoft, "Virtual Hard Disk Image Format Specification", version 1.0 of October 2006. All numbers are
big-endian; sectors have 512 bytes.
"""

import struct
from dataclasses import dataclass

from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.importer.source import DamagedDiskError, Reader

SECTOR_BYTES = 512
FOOTER_COOKIE = b"conectix"
_HEADER_COOKIE = b"cxsparse"
_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4
_UNUSED = 0xFFFFFFFF
# 2 MiB is the specification's default and 512 KiB its other example; which sizes the service takes is not published.
_BLOCK_BYTES = (512 << 10, 2 << 20)


@dataclass(frozen=True, kw_only=True)
class _Footer:
    data_offset: int
    current_bytes: int
    disk_type: int


def virtual_bytes(reader: Reader) -> int:
    """Give the size of the disk in the VHD, having checked that the object is whole.

    Raises DamagedDiskError with the reason, and Refusal for the two faults that ImportImage names by a code of their
    own (sizes of header and table, size of blocks).
    """
    if reader.size < SECTOR_BYTES:
        raise DamagedDiskError("the object is too short for a VHD footer")
    footer = _footer(reader.pread(reader.size - SECTOR_BYTES, SECTOR_BYTES))
    if footer.current_bytes == 0 or footer.current_bytes % SECTOR_BYTES:
        raise DamagedDiskError(f"the VHD footer's current size, {footer.current_bytes}, is not a number of sectors")
    if footer.disk_type == _FIXED:
        if reader.size != footer.current_bytes + SECTOR_BYTES:
            raise DamagedDiskError(
                f"the fixed VHD says {footer.current_bytes} bytes, but {reader.size - SECTOR_BYTES} are there"
            )
    elif footer.disk_type == _DYNAMIC:
        _check_dynamic(reader, footer)
    elif footer.disk_type == _DIFFERENCING:
        raise DamagedDiskError("the VHD is a differencing disk: its parent is missing")
    else:
        raise DamagedDiskError(f"the VHD's disk type is {footer.disk_type}")
    return footer.current_bytes


def _footer(data: bytes) -> _Footer:
    if not data.startswith(FOOTER_COOKIE):
        raise DamagedDiskError("the last sector holds no VHD footer: the object is truncated")
    _check_checksum("footer", data, at=64)
    version, data_offset = struct.unpack_from(">IQ", data, 12)
    if version >> 16 != 1:
        raise DamagedDiskError(f"the VHD has version {version >> 16}.{version & 0xFFFF}")
    current_bytes, disk_type = struct.unpack_from(">Q4xI", data, 48)
    return _Footer(data_offset=data_offset, current_bytes=current_bytes, disk_type=disk_type)


def _check_dynamic(reader: Reader, footer: _Footer) -> None:
    end = reader.size - SECTOR_BYTES
    if footer.data_offset + 1024 > end:
        raise DamagedDiskError("the VHD's dynamic header lies outside of the object")
    header = reader.pread(footer.data_offset, 1024)
    if not header.startswith(_HEADER_COOKIE):
        raise DamagedDiskError("the VHD has no dynamic header where its footer says")
    _check_checksum("dynamic header", header, at=36)
    table_offset, _, entries, block_bytes = struct.unpack_from(">QIII", header, 16)
    if block_bytes not in _BLOCK_BYTES:
        raise Refusal("InvalidBlockSize.NotSupport", f"The block size {block_bytes} of the VHD is not supported.")
    if footer.current_bytes > entries * block_bytes:
        raise Refusal("InvalidVHDImage.IncorrectSize")
    if table_offset + 4 * entries > end:
        raise DamagedDiskError("the VHD's block table lies outside of the object")
    bitmap_bytes = -(-block_bytes // SECTOR_BYTES // 8 // SECTOR_BYTES) * SECTOR_BYTES
    for (sector,) in struct.iter_unpack(">I", reader.pread(table_offset, 4 * entries)):
        if sector != _UNUSED and sector * SECTOR_BYTES + bitmap_bytes + block_bytes > end:
            raise DamagedDiskError(f"a block of the VHD, at sector {sector}, ends outside of the object")


def _check_checksum(what: str, data: bytes, *, at: int) -> None:
    """Check the one's complement of the sum of all bytes but its own four."""
    (given,) = struct.unpack_from(">I", data, at)
    if given != ~(sum(data) - sum(data[at : at + 4])) & 0xFFFFFFFF:
        raise DamagedDiskError(f"the checksum of the VHD's {what} is wrong")
