"""QCOW2, versions 2 and 3, with zlib and zstd clusters: reader of the disk, and checks of the file.

The specification is docs/interop/qcow2.txt of QEMU. All numbers are big-endian. A backing file and an external data
file are never opened: the header of an untrusted image may name any file of this machine.
"""

import array
import struct
import sys
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import chain

from aliyun_import.disk.containers.interface import (
    ContainerFormat,
    OpenedContainer,
    Source,
    SuffixRule,
    Upload,
    broken_file,
    damaged,
)
from aliyun_import.disk.decompress import new_zstd
from aliyun_import.disk.reader import Bad, PiecewiseReader, Reader, ReadProblem, Recent, Unsupported, read_exactly
from aliyun_import.disk.report import Problem
from aliyun_import.limits import MIB
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskFormat

MAGIC = b"QFI\xfb"
# Incompatible feature bits of version 3.
DIRTY, CORRUPT, EXTERNAL_DATA, _COMPRESSION, EXTENDED_L2 = 1, 2, 4, 8, 16
KNOWN_INCOMPATIBLE = DIRTY | CORRUPT | EXTERNAL_DATA | _COMPRESSION | EXTENDED_L2
_ZLIB, ZSTD = 0, 1
_COMPRESSED, _ZERO = 1 << 62, 1
# The bitmap of an extended entry: the low half marks subclusters with data, the high half those with zeros.
_SUBCLUSTERS = 32
# Bits 9-55 of an L1 or L2 entry are an offset.
OFFSET_MASK = 0x00FFFFFFFFFFFE00
# Limits of QEMU: it refuses an L1 table over 32 MiB, and clusters over 2 MiB.
_MAX_L1_BYTES = 32 * MIB
_MIN_CLUSTER_BITS, _MAX_CLUSTER_BITS = 9, 21
_EXTENSION_END, _EXTENSION_DATA_FILE = 0, 0x44415441
_MAX_EXTENSIONS = 32
_MAX_NAME_BYTES = 1023
# An L2 table of the usual 64 KiB maps 512 MiB. A check of a disk reads about ten of them.
_CACHED_BYTES = 4 * MIB
_CACHED_CLUSTERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The header. `backing` is the name of the backing file, empty if there is none."""

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
    """Read the header. Raises Bad for impossible numbers, and Unsupported for a version other than 2 and 3."""
    raw = file.pread(0, 112)
    if len(raw) < 72 or not raw.startswith(MAGIC):
        raise Bad("the file ends within its header", offset=0)
    version, backing_at, backing_bytes, bits, size, encryption = struct.unpack_from(">IQIIQI", raw, 4)
    l1_entries, l1_at, refcount_at, refcount_clusters, snapshots = struct.unpack_from(">IQQII", raw, 36)
    if version not in (2, 3):
        raise Unsupported(f"QCOW version {version}", offset=4)
    if not _MIN_CLUSTER_BITS <= bits <= _MAX_CLUSTER_BITS:
        raise Bad(f"the header has an impossible cluster size of 2^{bits} bytes", offset=20)
    incompatible, header_bytes, compression = 0, 72, _ZLIB
    if version == 3:
        raw = read_exactly(file, 0, 104) + raw[104:]
        incompatible, header_bytes = struct.unpack_from(">Q", raw, 72)[0], struct.unpack_from(">I", raw, 100)[0]
        compression = raw[104] if header_bytes > 104 and len(raw) > 104 else _ZLIB
        if not 104 <= header_bytes <= 1 << bits:
            raise Bad(f"the header has an impossible length of {header_bytes} bytes", offset=100)
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
    """Return the text of a header extension, empty if it is absent."""
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


def numbers(raw: bytes) -> "array.array[int]":
    """Return the 64-bit numbers of a table."""
    table = array.array("Q", raw)
    if sys.byteorder == "little":
        table.byteswap()
    return table


def read_l1(file: Reader, header: Header) -> "array.array[int]":
    """Read the L1 table. Raises Bad if it is too small for the disk, larger than QEMU allows, or truncated."""
    entry_bits = 4 if header.incompatible & EXTENDED_L2 else 3
    needed = -(-header.virtual_bytes // (1 << header.cluster_bits + header.cluster_bits - entry_bits))
    if header.l1_entries < needed:
        raise Bad(f"the L1 table has {header.l1_entries} entries; the disk needs {needed}", offset=36)
    if header.l1_entries * 8 > _MAX_L1_BYTES:
        raise Bad(f"the L1 table has {header.l1_entries} entries, which QEMU refuses, too", offset=36)
    return numbers(read_exactly(file, header.l1_at, needed * 8))


class Qcow2Reader(PiecewiseReader):
    """The disk in a QCOW2 that depends on no other file. L2 tables are read when they are needed."""

    def __init__(self, file: Reader, header: Header, l1: "array.array[int]") -> None:
        """Use the results of `read_header` and `read_l1`. Raises Unsupported for a variant that can't be read."""
        if header.has_backing or header.encryption or header.incompatible & EXTERNAL_DATA:
            raise Unsupported("it is encrypted, or part of its data is in another file")
        if header.incompatible & ~KNOWN_INCOMPATIBLE:
            raise Unsupported(f"it uses unknown features (bits {header.incompatible:#x})", offset=72)
        self._file, self._l1 = file, l1
        super().__init__(header.virtual_bytes)
        self._bits = header.cluster_bits
        self._cluster = 1 << header.cluster_bits
        # An extended entry is followed by a bitmap of the subclusters.
        self._numbers_per_entry = 2 if header.incompatible & EXTENDED_L2 else 1
        self._inflate = _inflater(header.compression)
        self._tables: Recent[array.array[int]] = Recent(max(_CACHED_BYTES >> self._bits, 2))
        self._clusters: Recent[bytes] = Recent(_CACHED_CLUSTERS)

    def _piece(self, offset: int, length: int) -> bytes:
        """Read within one cluster. Raises Bad if a table or a cluster is not in the file, or can't be unpacked."""
        within = offset & (self._cluster - 1)
        entry, bitmap = self._entry(offset)
        length = min(self._cluster - within, length)
        if bitmap is None or entry & _COMPRESSED:
            return self._read_entry(entry, within, length)
        subcluster = self._cluster // _SUBCLUSTERS
        index = within // subcluster
        length = min((index + 1) * subcluster - within, length)
        is_stored = bitmap >> index & 1 and not bitmap >> (_SUBCLUSTERS + index) & 1
        return self._read_entry(entry & ~_ZERO, within, length) if is_stored else bytes(length)

    def _entry(self, offset: int) -> tuple[int, int | None]:
        """Return the L2 entry of the cluster at an offset of the disk, with its bitmap if the entry is extended."""
        count = self._numbers_per_entry
        slot, within = divmod(offset >> self._bits, (self._cluster >> 3) // count)
        at = self._l1[slot] & OFFSET_MASK
        table = self._table(at) if at else None
        if count == 1:
            return (table[within] if table else 0), None
        return (table[within * 2], table[within * 2 + 1]) if table else (0, 0)

    def _table(self, at: int) -> "array.array[int]":
        table = self._tables.get(at)
        return self._tables.keep(at, numbers(read_exactly(self._file, at, self._cluster))) if table is None else table

    def _read_entry(self, entry: int, within: int, length: int) -> bytes:
        # The compressed bit is tested first: in a compressed entry, bit 0 is part of the offset.
        if entry & _COMPRESSED:
            return self._compressed(entry)[within : within + length]
        at = entry & OFFSET_MASK
        if entry & _ZERO or not at:
            return bytes(length)
        return read_exactly(self._file, at + within, length)

    def _compressed(self, entry: int) -> bytes:
        data = self._clusters.get(entry)
        if data is None:
            at, length = _compressed_place(entry, self._bits)
            # The length is rounded up to whole sectors, and may exceed the file.
            try:
                data = self._inflate(self._file.pread(at, length), self._cluster)
            except (zlib.error, ValueError) as error:
                raise Bad(f"a compressed cluster is damaged ({error})") from error
            if len(data) != self._cluster:
                raise Bad(f"a compressed cluster of {self._cluster} bytes unpacks to {len(data)}")
            self._clusters.keep(entry, data)
        return data


def compressed_mask(cluster_bits: int) -> int:
    """Return the mask of the offset in the entry of a compressed cluster."""
    return (1 << 62 - (cluster_bits - 8)) - 1


def _compressed_place(entry: int, cluster_bits: int) -> tuple[int, int]:
    """Return the offset of a compressed cluster in the file, and its maximum length."""
    shift = 62 - (cluster_bits - 8)
    at = entry & compressed_mask(cluster_bits)
    sectors = (entry >> shift) & ((1 << (cluster_bits - 8)) - 1)
    return at, (sectors + 1) * 512 - at % 512


def _inflater(compression: int) -> Callable[[bytes, int], bytes]:
    if compression == _ZLIB:
        return lambda data, length: zlib.decompressobj(-15).decompress(data, length)
    if compression == ZSTD:
        return lambda data, length: new_zstd().decompress(data, length)
    raise Unsupported(f"compression type {compression}", offset=104)


# Reading the L2 tables takes 0.1 s for 40 GiB, but a disk with clusters of 512 bytes may have millions of tables. This
# is the size of the tables of 512 GiB with the usual clusters of 64 KiB.
_MAX_TABLES_BYTES = 64 * MIB
_PLAIN_END, _COMPRESSED_END, _COPIED_END = 1 << 62, 2 << 62, 3 << 62
_damaged = partial(damaged, "qcow2-damaged", "The QCOW2 is damaged")
_FLATTEN = "Convert it to one file: `qemu-img convert -f qcow2 -O qcow2 {file} WHOLE.qcow2`, and push that."


def _open(own: ContainerFormat, file: Reader, source: Source) -> OpenedContainer:
    """Open the disk in a QCOW2, and check its references to other files, its feature bits and its completeness."""
    del source
    try:
        header = read_header(file)
    except Bad as problem:
        return OpenedContainer(
            container=own,
            format=DiskFormat.QCOW2,
            problems=(_damaged(problem),),
        )
    except ReadProblem as problem:
        return OpenedContainer(
            container=own, format=DiskFormat.QCOW2, unknowns=(f"the QCOW2 can't be read: {problem.message}",)
        )
    problems = _header_problems(header)
    disk: Reader | None = None
    unknowns: tuple[str, ...] = ()
    try:
        l1 = read_l1(file, header)
        problems += _truncation(file, header, l1)
        disk = Qcow2Reader(file, header, l1)
    except Bad as problem:
        problems.append(_damaged(problem))
    except ReadProblem as problem:
        unknowns = (f"the disk in the QCOW2 was not inspected: {problem.message}",)
    return OpenedContainer(
        container=own,
        format=DiskFormat.QCOW2,
        virtual_bytes=header.virtual_bytes,
        disk=disk,
        problems=tuple(problems),
        unknowns=unknowns,
    )


QCOW2 = ContainerFormat(
    name="qcow2",
    open=_open,
    upload=Upload.AS_IS,
    signatures=((0, MAGIC),),
    unpacked_format=DiskFormat.QCOW2,
    suffixes=(".qcow2",),
    suffix_rule=SuffixRule(title="QCOW2", content="`QFI` in its first bytes"),
)


def _header_problems(header: Header) -> list[Problem]:
    """Return the problems in the header: references to other files, damage, snapshots, unknown features."""
    unknown = header.incompatible & ~KNOWN_INCOMPATIBLE
    problems = (
        (header.has_backing, _of_header(
            "qcow2-backing-file", Severity.BLOCKS, "byte 8",
            f"The QCOW2 contains only the differences from its backing file {header.backing!r}.", _FLATTEN,
        )),
        (header.incompatible & EXTERNAL_DATA, _of_header(
            "qcow2-external-data", Severity.BLOCKS, "byte 72, bit 2",
            f"The data of the QCOW2 is in another file, {header.data_file!r}.", _FLATTEN,
        )),
        (header.encryption, _of_header(
            "qcow2-encrypted", Severity.BLOCKS, "byte 32",
            f"The QCOW2 is encrypted ({'LUKS' if header.encryption == 2 else 'AES'}).",
            "Decrypt it: `qemu-img convert --object secret,id=s,file=KEYFILE --image-opts "
            "driver=qcow2,encrypt.key-secret=s,file.filename={file} -O qcow2 PLAIN.qcow2`, and push that.",
        )),
        (header.incompatible & CORRUPT, _of_header(
            "qcow2-corrupt", Severity.BLOCKS, "byte 72, bit 1", "The QCOW2 is marked as corrupt.",
            "Repair a copy: `qemu-img check -r all {file}`.",
        )),
        (header.incompatible & DIRTY, _of_header(
            "qcow2-dirty", Severity.WARNS, "byte 72, bit 0",
            "The QCOW2 was not closed cleanly (dirty bit): a machine is using it, or was killed.",
            "Stop the machine that uses it, and run `qemu-img check -r leaks {file}`.",
        )),
        (unknown, _of_header(
            "qcow2-unknown-feature", Severity.WARNS, "byte 72",
            f"The QCOW2 uses features that this tool does not know (bits {unknown:#x}). ECS may not know them either.",
            _FLATTEN,
        )),
        (header.incompatible & EXTENDED_L2, _of_header(
            "qcow2-extended-l2", Severity.WARNS, "byte 72, bit 4",
            "The QCOW2 uses extended L2 entries (subclusters), which only QEMU 5.2 and later can read.", _FLATTEN,
        )),
        (header.compression == ZSTD, _of_header(
            "qcow2-zstd", Severity.WARNS, "byte 104",
            "The QCOW2 is compressed with zstd. The pages of the service do not mention it, and older software cannot "
            "read it.",
            "Compress it with zlib: `qemu-img convert -f qcow2 -O qcow2 -c -o compression_type=zlib {file} "
            "ZLIB.qcow2`, and push that.",
        )),
        (header.snapshots, _of_header(
            "qcow2-snapshots", Severity.NOTE, "byte 60",
            f"The QCOW2 contains internal snapshots ({header.snapshots}), which are uploaded and not imported.",
            _FLATTEN,
        )),
    )  # fmt: skip
    return [problem for is_present, problem in problems if is_present]


def _of_header(code: str, severity: Severity, where: str, message: str, remedy: str) -> Problem:
    return Problem(code=code, severity=severity, message=message, where=f"header, {where}", remedy=remedy)


def _truncation(file: Reader, header: Header, l1: Iterable[int]) -> list[Problem]:
    """Check that all tables and clusters end within the file, in one pass over the L2 tables."""
    cluster = 1 << header.cluster_bits
    if header.refcount_at + header.refcount_clusters * cluster > file.size:
        return [_truncated("its refcount table", header.refcount_at + header.refcount_clusters * cluster, file)]
    tables = sorted(map(OFFSET_MASK.__and__, l1))
    if tables and tables[-1] + cluster > file.size:
        return [_truncated("an L2 table", tables[-1] + cluster, file)]
    if header.incompatible & EXTERNAL_DATA:
        return []  # the clusters are in the other file
    # Files grow at their end, so the last tables have the last clusters.
    newest = set(tables[-_MAX_TABLES_BYTES // cluster :]) - {0}
    last = max((_last_byte(file, at, header) for at in newest), default=0)
    return [_truncated("a cluster", last, file)] if last > file.size else []


def _last_byte(file: Reader, table_at: int, header: Header) -> int:
    """Return the end of the last cluster in an L2 table.

    There is no Python loop over the entries: a table has up to 262,144 of them.
    """
    cluster = 1 << header.cluster_bits
    # In a table with extended entries, every second number is a bitmap.
    step = 2 if header.incompatible & EXTENDED_L2 else 1
    entries = sorted(numbers(read_exactly(file, table_at, cluster))[::step])
    plain_end, compressed_end, copied_end = (
        bisect_left(entries, end) for end in (_PLAIN_END, _COMPRESSED_END, _COPIED_END)
    )
    plain = chain(entries[:plain_end], entries[compressed_end:copied_end])
    last = max(map(OFFSET_MASK.__and__, plain), default=0)
    # Only its first byte is required: its length is rounded up to sectors, and may exceed the file.
    compressed = chain(entries[plain_end:compressed_end], entries[copied_end:])
    last_compressed = max(map(compressed_mask(header.cluster_bits).__and__, compressed), default=-1)
    return max(last + cluster if last else 0, last_compressed + 1)


def _truncated(what: str, end: int, file: Reader) -> Problem:
    return broken_file(
        "qcow2-truncated",
        f"The QCOW2 is truncated: {what} ends at byte {end}, but the file has {file.size} bytes.",
        where=f"byte {file.size}",
    )
