"""This file reads QCOW2, versions 2 and 3, with zlib and zstd clusters.

Written after QEMU's docs/interop/qcow2.txt. All numbers are big-endian. A backing file and an external data file are
never opened: the header of an image that anybody made may name any file of this machine.
"""

import array
import struct
import sys
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from aliyun_import.disk.io.reader import Bad, Reader, Unsupported, check_range, read_exactly
from aliyun_import.limits import MIB

MAGIC = b"QFI\xfb"
# Incompatible feature bits of version 3.
DIRTY, CORRUPT, EXTERNAL_DATA, COMPRESSION, EXTENDED_L2 = 1, 2, 4, 8, 16
KNOWN_INCOMPATIBLE = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION | EXTENDED_L2
ZLIB, ZSTD = 0, 1
_COMPRESSED, _ZERO = 1 << 62, 1
# Bits 9-55 of an L1 or L2 entry are an offset.
OFFSET_MASK = 0x00FFFFFFFFFFFE00
# QEMU itself takes no L1 table over 32 MiB, and no cluster over 2 MiB.
_MAX_L1_BYTES = 32 * MIB
_MIN_CLUSTER_BITS, _MAX_CLUSTER_BITS = 9, 21
_EXTENSION_END, _EXTENSION_DATA_FILE = 0, 0x44415441
_MAX_EXTENSIONS = 32
_MAX_NAME_BYTES = 1023
# An L2 table of the usual 64 KiB covers 512 MiB; a check of a disk touches some ten of them.
_CACHED_BYTES = 4 * MIB
_CACHED_CLUSTERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The header. `backing` is the name of a backing file, empty when there is none; sizes are bytes."""

    version: int
    virtual_bytes: int
    cluster_bits: int
    encryption: int
    l1_entries: int
    l1_at: int
    refcount_at: int
    refcount_clusters: int
    snapshots: int
    incompatible: int
    compression: int
    has_backing: bool
    backing: str
    data_file: str


def read_header(file: Reader) -> Header:
    """Read the header. Bad when its numbers make no sense; Unsupported for a version that is not 2 or 3."""
    raw = file.pread(0, 112)
    if len(raw) < 72 or not raw.startswith(MAGIC):
        raise Bad("the file ends within its header", offset=0)
    version, backing_at, backing_bytes, bits, size, encryption = struct.unpack_from(">IQIIQI", raw, 4)
    l1_entries, l1_at, refcount_at, refcount_clusters, snapshots = struct.unpack_from(">IQQII", raw, 36)
    if version not in (2, 3):
        raise Unsupported(f"QCOW version {version}", offset=4)
    if not _MIN_CLUSTER_BITS <= bits <= _MAX_CLUSTER_BITS:
        raise Bad(f"the header says that a cluster has 2^{bits} bytes", offset=20)
    incompatible, header_bytes, compression = 0, 72, ZLIB
    if version == 3:
        raw = read_exactly(file, 0, 104) + raw[104:]
        incompatible, header_bytes = struct.unpack_from(">Q", raw, 72)[0], struct.unpack_from(">I", raw, 100)[0]
        compression = raw[104] if header_bytes > 104 and len(raw) > 104 else ZLIB
        if not 104 <= header_bytes <= 1 << bits:
            raise Bad(f"the header says that it has {header_bytes} bytes itself", offset=100)
    return Header(
        version=version,
        virtual_bytes=size,
        cluster_bits=bits,
        encryption=encryption,
        l1_entries=l1_entries,
        l1_at=l1_at,
        refcount_at=refcount_at,
        refcount_clusters=refcount_clusters,
        snapshots=snapshots,
        incompatible=incompatible,
        compression=compression,
        has_backing=backing_at != 0,
        backing=_text(file.pread(backing_at, min(backing_bytes, _MAX_NAME_BYTES))) if backing_at else "",
        data_file=_extension(file, header_bytes, _EXTENSION_DATA_FILE),
    )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _extension(file: Reader, at: int, wanted: int) -> str:
    """Find a header extension by its number, and give its text; empty when it is not there."""
    for _ in range(_MAX_EXTENSIONS):
        head = file.pread(at, 8)
        if len(head) < 8:
            return ""
        number, length = struct.unpack(">II", head)
        if number == _EXTENSION_END:
            return ""
        if number == wanted:
            return _text(file.pread(at + 8, min(length, _MAX_NAME_BYTES)))
        at += 8 + -(-length // 8) * 8
    return ""


def words(raw: bytes) -> "array.array[int]":
    """Make 64-bit numbers of a table's bytes."""
    table = array.array("Q", raw)
    if sys.byteorder == "little":
        table.byteswap()
    return table


def read_l1(file: Reader, header: Header) -> "array.array[int]":
    """Read the L1 table. Bad when it is too small for the disk, too large for any, or not whole."""
    needed = -(-header.virtual_bytes // (1 << header.cluster_bits + header.cluster_bits - 3))
    if header.l1_entries < needed:
        raise Bad(f"the L1 table has {header.l1_entries} entries; the disk needs {needed}", offset=36)
    if header.l1_entries * 8 > _MAX_L1_BYTES:
        raise Bad(f"the L1 table has {header.l1_entries} entries, which QEMU refuses, too", offset=36)
    return words(read_exactly(file, header.l1_at, needed * 8))


class Qcow2Reader:
    """The disk in a QCOW2 image that is whole by itself; its tables are read as they are needed."""

    def __init__(self, file: Reader, header: Header, l1: "array.array[int]") -> None:
        """Take what `read_header` and `read_l1` gave. Unsupported for what this class can't read."""
        if header.has_backing or header.encryption or header.incompatible & EXTERNAL_DATA:
            raise Unsupported("it is encrypted, or part of its data is in another file")
        if header.incompatible & EXTENDED_L2:
            raise Unsupported("it uses extended L2 entries", offset=72)
        if header.incompatible & ~KNOWN_INCOMPATIBLE:
            raise Unsupported(f"it uses unknown features (bits {header.incompatible:#x})", offset=72)
        self._file, self._l1 = file, l1
        self._size, self._bits = header.virtual_bytes, header.cluster_bits
        self._cluster = 1 << header.cluster_bits
        self._inflate = _inflater(header.compression)
        self._tables: OrderedDict[int, array.array[int]] = OrderedDict()
        self._clusters: OrderedDict[int, bytes] = OrderedDict()

    @property
    def size(self) -> int:
        """Give the size of the disk in bytes."""
        return self._size

    def pread(self, offset: int, length: int) -> bytes:
        """Read; Bad where a table or a cluster lies outside of the file or does not decompress."""
        check_range(offset, length)
        end = min(offset + length, self._size)
        pieces = []
        while offset < end:
            within = offset & (self._cluster - 1)
            piece = min(self._cluster - within, end - offset)
            pieces.append(self._piece(self._entry(offset), within, piece))
            offset += piece
        return b"".join(pieces)

    def _entry(self, offset: int) -> int:
        """Give the L2 entry of the cluster at this place of the disk."""
        number = offset >> self._bits
        slot, within = number >> (self._bits - 3), number & ((self._cluster >> 3) - 1)
        at = self._l1[slot] & OFFSET_MASK
        return self._table(at)[within] if at else 0

    def _table(self, at: int) -> "array.array[int]":
        table = self._tables.get(at)
        if table is None:
            table = words(read_exactly(self._file, at, self._cluster))
            self._tables[at] = table
            if len(self._tables) > max(_CACHED_BYTES >> self._bits, 2):
                self._tables.popitem(last=False)
        else:
            self._tables.move_to_end(at)
        return table

    def _piece(self, entry: int, within: int, length: int) -> bytes:
        # The compressed bit comes first: in a compressed entry bit 0 is part of the offset, and no "reads as zeros".
        if entry & _COMPRESSED:
            return self._compressed(entry)[within : within + length]
        at = entry & OFFSET_MASK
        if entry & _ZERO or not at:
            return bytes(length)
        return read_exactly(self._file, at + within, length)

    def _compressed(self, entry: int) -> bytes:
        data = self._clusters.get(entry)
        if data is None:
            at, length = compressed_place(entry, self._bits)
            # The last sector of the file may be cut off: the length is rounded up to whole sectors.
            data = self._inflate(self._file.pread(at, length), self._cluster)
            self._clusters[entry] = data
            if len(self._clusters) > _CACHED_CLUSTERS:
                self._clusters.popitem(last=False)
        return data


def compressed_mask(cluster_bits: int) -> int:
    """Give the bits of a compressed cluster's entry that are its place in the file."""
    return (1 << 62 - (cluster_bits - 8)) - 1


def compressed_place(entry: int, cluster_bits: int) -> tuple[int, int]:
    """Give the place of a compressed cluster in the file, and the most bytes that it has."""
    shift = 62 - (cluster_bits - 8)
    at = entry & compressed_mask(cluster_bits)
    sectors = (entry >> shift) & ((1 << (cluster_bits - 8)) - 1)
    return at, (sectors + 1) * 512 - at % 512


def _inflater(compression: int) -> Callable[[bytes, int], bytes]:
    if compression == ZLIB:
        return _inflate_zlib
    if compression == ZSTD:
        return _inflate_zstd
    raise Unsupported(f"compression type {compression}", offset=104)


def _inflate_zlib(data: bytes, length: int) -> bytes:
    try:
        out = zlib.decompressobj(-15).decompress(data, length)
    except zlib.error as error:
        raise Bad(f"a compressed cluster is damaged ({error})") from error
    return _whole(out, length)


def _inflate_zstd(data: bytes, length: int) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    try:
        out = zstd.ZstdDecompressor().decompress(data, max_length=length)
    except zstd.ZstdError as error:
        raise Bad(f"a compressed cluster is damaged ({error})") from error
    return _whole(out, length)


def _whole(out: bytes, length: int) -> bytes:
    if len(out) != length:
        raise Bad(f"a compressed cluster of {length} bytes unpacks to {len(out)}")
    return out
