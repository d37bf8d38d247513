"""Builders of small disks of every format, intact or damaged, for imports."""

import struct
from dataclasses import dataclass

MIB = 1 << 20
UNUSED = 0xFFFFFFFF


@dataclass(frozen=True)
class BytesReader:
    """Reader of bytes in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return len(self.data)

    def pread(self, offset: int, length: int) -> bytes:
        """Read a range."""
        assert offset >= 0, "read before the object's beginning"
        assert offset + length <= self.size, "read beyond the object's end"
        return self.data[offset : offset + length]


def checksummed(data: bytes, *, at: int) -> bytes:
    """Set the checksum of the footer or header of a VHD."""
    blank = data[:at] + bytes(4) + data[at + 4 :]
    return blank[:at] + struct.pack(">I", ~sum(blank) & 0xFFFFFFFF) + blank[at + 4 :]


def vhd_footer(size: int, *, kind: int = 2, data_offset: int = 0xFFFFFFFFFFFFFFFF, version: int = 0x10000) -> bytes:
    """Build a footer: kind 2 is fixed, 3 dynamic, 4 differencing."""
    head = struct.pack(
        ">8sIIQI4sI4sQQII", b"conectix", 2, version, data_offset, 0, b"test", 0, b"Wi2k", size, size, 0, kind
    )
    return checksummed(head.ljust(512, b"\0"), at=64)


def fixed_vhd(data: bytes) -> bytes:
    """Build a fixed VHD."""
    return data + vhd_footer(len(data))


def dynamic_vhd(
    size: int, *, entries: int = 2, block_bytes: int = 2 * MIB, table: tuple[int, ...] = (UNUSED,)
) -> bytes:
    """Build a dynamic VHD. `table` has the sectors of its blocks; with any, the VHD has one block of data."""
    footer = vhd_footer(size, kind=3, data_offset=512)
    header = struct.pack(">8sQQIII", b"cxsparse", 0xFFFFFFFFFFFFFFFF, 1536, 0x10000, entries, block_bytes)
    sectors = struct.pack(f">{entries}I", *table, *[UNUSED] * (entries - len(table)))
    blocks = bytes(512 + 2 * MIB) if table != (UNUSED,) else b""
    return b"".join((footer, checksummed(header.ljust(1024, b"\0"), at=36), sectors.ljust(512, b"\0"), blocks, footer))


def qcow2(
    size: int = 10 * MIB,
    *,
    version: int = 3,
    backing: int = 0,
    crypt: int = 0,
    cluster_bits: int = 16,
    features: int = 0,
    l1_entries: int = 1,
    l1_offset: int = 1 << 16,
    l2_offset: int = 2 << 16,
    data_entry: int = 3 << 16,
) -> bytes:
    """Build a QCOW2 image of four clusters: header, L1 table, L2 table, and one cluster of data."""
    header = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", version, backing, 0, cluster_bits, size, crypt, l1_entries, l1_offset, 0, 0, 0, 0
    )
    if version == 3:
        header += struct.pack(">QQQII", features, 0, 0, 4, 104)
    clusters = (header, struct.pack(">Q", l2_offset | 1 << 63), struct.pack(">Q", data_entry | 1 << 63), b"data")
    return b"".join(cluster.ljust(1 << 16, b"\0") for cluster in clusters)
