"""Builders of small disks, for tests without system tools.

They share no code with the package: they are a second implementation of the specifications of the formats.
"""

import lzma
import struct
import sys
import uuid
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SECTOR = 512
MIB = 1024 * 1024
ESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
LINUX = "0fc63daf-8483-4772-8e79-3d69d8477de4"
BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649"
X86_64, ARM64, I386 = 0x8664, 0xAA64, 0x14C
ROOT_UUID = "11111111-2222-4333-8444-555555555555"


@dataclass(frozen=True)
class Part:
    """A partition to write: first sector, number of sectors, and an MBR type or a GPT type GUID."""

    start: int
    count: int
    kind: int | str
    active: bool = False
    name: str = ""
    attributes: int = 0


def pe_program(machine: int = X86_64) -> bytes:
    """Build the header of a UEFI program."""
    program = bytearray(1024)
    program[:2] = b"MZ"
    struct.pack_into("<I", program, 0x3C, 0x80)
    program[0x80:0x84] = b"PE\0\0"
    struct.pack_into("<H", program, 0x84, machine)
    return bytes(program)


def ext4(*, size: int = MIB, label: str = "rootfs") -> bytes:
    """Build an ext4 that has only its superblock."""
    volume = bytearray(size)
    struct.pack_into("<H", volume, 1024 + 0x38, 0xEF53)
    struct.pack_into("<III", volume, 1024 + 0x5C, 0x4, 0x40 | 0x2, 0x400)
    volume[1024 + 0x68 : 1024 + 0x78] = uuid.UUID(ROOT_UUID).bytes
    volume[1024 + 0x78 : 1024 + 0x78 + len(label)] = label.encode()
    return bytes(volume)


def fat(files: Mapping[str, bytes], *, size: int = MIB, label: str = "ESP") -> bytes:
    """Build a FAT file system with clusters of one sector. The size determines whether it is FAT12, FAT16 or FAT32."""
    return _FatWriter(size, label).write(files)


class _FatWriter:
    def __init__(self, size: int, label: str) -> None:
        sectors = size // SECTOR
        self.bits = 12 if sectors < 4085 else 16 if sectors < 65525 else 32
        self.fat_sectors = -(-(sectors * self.bits // 8 + 16) // SECTOR)
        self.reserved, self.root_entries = (32, 0) if self.bits == 32 else (1, 64)
        self.root_at = (self.reserved + 2 * self.fat_sectors) * SECTOR
        self.data_at = self.root_at + self.root_entries * 32
        self.table = [0xFFFFFFF8, 0xFFFFFFFF]
        self.volume = bytearray(size)
        self.label = label.ljust(11).encode()

    def write(self, files: Mapping[str, bytes]) -> bytes:
        tree: dict[str, object] = {}
        for path, data in files.items():
            *folders, name = path.split("/")
            node = tree
            for folder in folders:
                node = node.setdefault(folder, {})  # type: ignore[assignment]
            node[name] = data
        if self.bits == 32:
            self.table.append(0xFFFFFFFF)  # cluster 2 is the root directory; one sector is enough here
            root = self._directory(tree, root=True)
            self._put(2, root)
        else:
            root = self._directory(tree, root=True)
            self.volume[self.root_at : self.root_at + len(root)] = root
        self._boot_sector()
        self._tables()
        return bytes(self.volume)

    def _put(self, cluster: int, data: bytes) -> None:
        at = self.data_at + (cluster - 2) * SECTOR
        self.volume[at : at + len(data)] = data

    def _store(self, data: bytes) -> int:
        if not data:
            return 0
        first = len(self.table)
        count = -(-len(data) // SECTOR)
        self.table += [*range(first + 1, first + count), 0xFFFFFFFF]
        self._put(first, data)
        return first

    def _directory(self, tree: Mapping[str, object], *, root: bool = False) -> bytes:
        raw = b"" if not root else self.label + b"\x08" + bytes(20)
        if not root:
            raw += b".          \x10" + bytes(20) + b"..         \x10" + bytes(20)
        for number, (name, content) in enumerate(tree.items()):
            is_directory = isinstance(content, dict)
            data = self._directory(content) if isinstance(content, dict) else content
            assert isinstance(data, bytes)
            cluster = self._store(data)
            raw += _names(name, number) + bytes([0x10 if is_directory else 0x20]) + bytes(8)
            raw += struct.pack("<H4xHI", cluster >> 16, cluster & 0xFFFF, 0 if is_directory else len(data))
        return raw

    def _boot_sector(self) -> None:
        sectors = len(self.volume) // SECTOR
        small, small_fat = (0, 0) if self.bits == 32 else (sectors, self.fat_sectors)
        boot = self.volume
        struct.pack_into(
            "<3s8sHBHBHHBH", boot, 0, b"\xeb\x3c\x90", b"builder ", SECTOR, 1, self.reserved, 2, self.root_entries,
            small if small < 65536 else 0, 0xF8, small_fat,
        )  # fmt: skip
        struct.pack_into("<I", boot, 32, sectors if self.bits == 32 or small >= 65536 else 0)
        if self.bits == 32:
            struct.pack_into("<II", boot, 36, self.fat_sectors, 0)
            struct.pack_into("<I", boot, 44, 2)
            boot[66:90] = b"\x29" + bytes.fromhex("34cd12ab") + self.label + b"FAT32   "
        else:
            boot[38:62] = b"\x29" + bytes.fromhex("34cd12ab") + self.label + f"FAT{self.bits}   ".encode()
        boot[510:512] = b"\x55\xaa"

    def _tables(self) -> None:
        if self.bits == 12:
            packed = 0
            for number, value in enumerate(self.table):
                packed |= (value & 0xFFF) << (12 * number)
            raw = packed.to_bytes(len(self.table) * 3 // 2 + 2, "little")
        else:
            mask = 0xFFFF if self.bits == 16 else 0x0FFFFFFF
            raw = b"".join((value & mask).to_bytes(self.bits // 8, "little") for value in self.table)
        for copy in range(2):
            at = (self.reserved + copy * self.fat_sectors) * SECTOR
            self.volume[at : at + len(raw)] = raw


def _names(name: str, number: int) -> bytes:
    """Build the long-name entries of a name, and its short name."""
    stem, _, suffix = name.partition(".")
    if name.isupper() and len(stem) <= 8 and len(suffix) <= 3 and "." not in suffix:
        return stem.ljust(8).encode() + suffix.ljust(3).encode()
    short = f"LONG~{number}".ljust(11).encode()
    units = name.encode("utf-16-le") + b"\0\0"
    units += b"\xff" * (-len(units) % 26)
    pieces = [units[at : at + 26] for at in range(0, len(units), 26)]
    raw = b""
    for index in range(len(pieces), 0, -1):
        piece = pieces[index - 1]
        mark = index | (0x40 if index == len(pieces) else 0)
        raw += bytes([mark]) + piece[:10] + b"\x0f\0\0" + piece[10:22] + b"\0\0" + piece[22:]
    return raw + short


def mbr(size: int, parts: Sequence[Part], *, code: bytes = b"", logical: Sequence[Part] = ()) -> bytearray:
    """Build a disk with an MBR. Logical partitions are in the first entry of type 0x05, each after its EBR."""
    disk = bytearray(size)
    disk[: len(code)] = code
    disk[440:444] = bytes.fromhex("02b0ad1b")
    for index, part in enumerate(parts):
        _entry(disk, 446 + 16 * index, part)
    disk[510:512] = b"\x55\xaa"
    extended = next((part.start for part in parts if part.kind == 5), 0)
    for index, part in enumerate(logical):
        record = extended if index == 0 else part.start - 1
        _entry(disk, record * SECTOR + 446, Part(part.start - record, part.count, part.kind))
        if index + 1 < len(logical):
            following = logical[index + 1]
            link = Part(following.start - 1 - extended, following.count + 1, 5)
            _entry(disk, record * SECTOR + 462, link)
        disk[record * SECTOR + 510 : record * SECTOR + 512] = b"\x55\xaa"
    return disk


def _entry(disk: bytearray, at: int, part: Part) -> None:
    assert isinstance(part.kind, int)
    struct.pack_into("<B3xB3xII", disk, at, 0x80 if part.active else 0, part.kind, part.start, part.count)


def gpt(size: int, parts: Sequence[Part], *, sector: int = SECTOR, code: bytes = b"") -> bytearray:
    """Build a disk with both copies of a GPT and a protective MBR."""
    disk = bytearray(size)
    last = size // sector - 1
    disk[: len(code)] = code
    _entry(disk, 446, Part(1, min(last, 0xFFFFFFFF), 0xEE))
    disk[510:512] = b"\x55\xaa"
    array = bytearray(128 * 128)
    for index, part in enumerate(parts):
        struct.pack_into(
            "<16s16sQQQ72s", array, index * 128, uuid.UUID(str(part.kind)).bytes_le,
            uuid.UUID(int=index + 1).bytes_le, part.start, part.start + part.count - 1, part.attributes,
            part.name.encode("utf-16-le"),
        )  # fmt: skip
    array_sectors = len(array) // sector
    for own, other, array_at in ((1, last, 2), (last, 1, last - array_sectors)):
        header = bytearray(92)
        struct.pack_into("<8sIIIIQQQQ16sQIII", header, 0, b"EFI PART", 0x10000, 92, 0, 0, own, other,
                         2 + array_sectors, last - array_sectors - 1, uuid.UUID(int=99).bytes_le, array_at, 128, 128,
                         zlib.crc32(array))  # fmt: skip
        struct.pack_into("<I", header, 16, zlib.crc32(header))
        disk[own * sector : own * sector + 92] = header
        disk[array_at * sector : array_at * sector + len(array)] = array
    return disk


def write_at(disk: bytearray, at: int, data: bytes) -> bytearray:
    """Write bytes at an offset of a disk, and return the disk."""
    disk[at : at + len(data)] = data
    return disk


def grub_code(next_sector: int = 1) -> bytes:
    """Build the part of GRUB's boot.img by which it is recognised."""
    code = bytearray(440)
    code[:3] = b"\xeb\x63\x90"
    code[0x5C:0x64] = next_sector.to_bytes(8, "little")
    code[0x180:0x184] = b"GRUB"
    return bytes(code)


def bios_disk(size: int = 4 * MIB) -> bytearray:
    """Build a BIOS disk: GRUB in the MBR, one active ext4 partition."""
    disk = mbr(size, [Part(2048, size // SECTOR - 2048, 0x83, active=True)], code=grub_code())
    write_at(disk, SECTOR, b"\x52GRUB core" + bytes(100))
    return write_at(disk, MIB, ext4())


def uefi_disk(size: int = 4 * MIB, *, machine: int = X86_64, path: str = "EFI/BOOT/BOOTX64.EFI") -> bytearray:
    """Build a UEFI disk: GPT, an ESP with one loader, an ext4 partition."""
    parts = [Part(2048, 2048, ESP, name="ESP"), Part(4096, size // SECTOR - 4096 - 64, LINUX, name="root")]
    disk = gpt(size, parts)
    write_at(disk, MIB, fat({path: pe_program(machine)}))
    return write_at(disk, 2 * MIB, ext4(size=65536))


def vhd_footer(
    size: int,
    *,
    kind: int = 2,
    creator: bytes = b"qem2",
    geometry: tuple[int, int, int] = (65535, 16, 255),
    unique_id: int = 7,
) -> bytes:
    """Build a VHD footer."""
    footer = bytearray(SECTOR)
    offset = 0xFFFFFFFFFFFFFFFF if kind == 2 else SECTOR
    struct.pack_into(">8sIIQI4sI4sQQHBBI", footer, 0, b"conectix", 2, 0x10000, offset, 0x2F000000, creator, 0x50003,
                     b"Wi2k", size, size, *geometry, kind)  # fmt: skip
    footer[68:84] = uuid.UUID(int=unique_id).bytes
    struct.pack_into(">I", footer, 64, _vhd_sum(footer))
    return bytes(footer)


def _vhd_sum(raw: bytes | bytearray) -> int:
    return 0xFFFFFFFF - sum(raw) % (1 << 32)


def vhd_fixed(data: bytes | bytearray, **footer: object) -> bytes:
    """Build a fixed VHD."""
    return bytes(data) + vhd_footer(len(data), **footer)  # type: ignore[arg-type]


def vhd_dynamic(
    data: bytes | bytearray,
    *,
    block: int = 2 * MIB,
    kind: int = 3,
    parent: str = "",
    size: int | None = None,
    unique_id: int = 7,
) -> bytes:
    """Build a dynamic VHD without the blocks of zeros. With kind 4 its footer has the type of a differencing VHD."""
    pieces = [bytes(data[at : at + block]).ljust(block, b"\0") for at in range(0, len(data), block)]
    blocks = [(b"\xff" * _bitmap_bytes(block), piece) if piece != bytes(block) else None for piece in pieces]
    footer = vhd_footer(len(data) if size is None else size, kind=kind, unique_id=unique_id)
    return _vhd_blocks(blocks, footer, block=block, header=_vhd_header(parent=parent))


def vhd_differencing(
    data: bytes | bytearray,
    base: bytes | bytearray,
    *,
    parent: str = "base.vhd",
    parent_id: int = 7,
    unique_id: int = 8,
    block: int = 64 * 1024,
    modified: int = 0,
    locator: str = "",
) -> bytes:
    """Build a differencing VHD: the sectors of `data` that differ from `base`, and arbitrary bytes in the others.

    The locator is a relative path (W2ru).
    """
    base = bytes(base).ljust(len(data), b"\0")
    blocks: list[tuple[bytes, bytes] | None] = []
    for start in range(0, len(data), block):
        bitmap, own = bytearray(_bitmap_bytes(block)), bytearray(b"junk" * (block // 4))
        for at in range(start, min(start + block, len(data)), SECTOR):
            sector = bytes(data[at : at + SECTOR])
            if sector != base[at : at + SECTOR]:
                number = (at - start) // SECTOR
                bitmap[number // 8] |= 0x80 >> number % 8
                own[at - start : at - start + len(sector)] = sector
        blocks.append((bytes(bitmap), bytes(own)) if any(bitmap) else None)
    header = _vhd_header(parent=parent, parent_id=parent_id, modified=modified)
    footer = vhd_footer(len(data), kind=4, unique_id=unique_id)
    return _vhd_blocks(blocks, footer, block=block, header=header, locator=locator.encode("utf-16-le"))


def _bitmap_bytes(block: int) -> int:
    return -(-(block // SECTOR) // (8 * SECTOR)) * SECTOR


def _vhd_header(*, parent: str, parent_id: int = 0, modified: int = 0) -> bytearray:
    header = bytearray(1024)
    header[40:56] = uuid.UUID(int=parent_id).bytes
    struct.pack_into(">I", header, 56, modified)
    name = parent.encode("utf-16-be")
    header[64 : 64 + len(name)] = name
    return header


def _vhd_blocks(
    blocks: Sequence[tuple[bytes, bytes] | None],
    footer: bytes,
    *,
    block: int,
    header: bytearray,
    locator: bytes = b"",
) -> bytes:
    """Join the parts of a VHD: the footer's copy, the header, the table, a locator, and blocks with bitmaps."""
    table_bytes = -(-len(blocks) * 4 // SECTOR) * SECTOR
    table, body, at = [], locator.ljust(-(-len(locator) // SECTOR) * SECTOR, b"\0"), SECTOR + 1024 + table_bytes
    if locator:
        struct.pack_into(">4sIIIQ", header, 576, b"W2ru", len(body), len(locator), 0, at)
    for one in blocks:
        table.append(0xFFFFFFFF if one is None else (at + len(body)) // SECTOR)
        body += b"" if one is None else one[0] + one[1]
    struct.pack_into(">8sQQIII", header, 0, b"cxsparse", 0xFFFFFFFFFFFFFFFF, SECTOR + 1024, 0x10000, len(blocks), block)
    struct.pack_into(">I", header, 36, _vhd_sum(header))
    entries = struct.pack(f">{len(blocks)}I", *table).ljust(table_bytes, b"\xff")
    return footer + bytes(header) + entries + body + footer


def qcow2(
    data: bytes | bytearray, *, version: int = 3, cluster_bits: int = 16, compression: str = "", size: int | None = None
) -> bytearray:
    """Build a QCOW2 without clusters of zeros and without reference counts, which readers do not use."""
    cluster = 1 << cluster_bits
    size = len(data) if size is None else size
    clusters = -(-size // cluster)
    per_table = cluster // 8
    tables = -(-clusters // per_table)
    l1_at, tables_at = cluster, cluster * (1 + -(-tables * 8 // cluster))
    body, body_at = bytearray(), tables_at + tables * cluster
    entries = [0] * (tables * per_table)
    for number in range(clusters):
        piece = bytes(data[number * cluster : (number + 1) * cluster]).ljust(cluster, b"\0")
        if piece == bytes(cluster):
            continue
        if compression:
            packed = _compress(piece, compression)
            at = body_at + len(body)
            sectors = (at % SECTOR + len(packed) - 1) // SECTOR
            entries[number] = 1 << 62 | sectors << (62 - (cluster_bits - 8)) | at
            body += packed
        else:
            entries[number] = 1 << 63 | (body_at + len(body))
            body += piece
    header = bytearray(cluster)
    struct.pack_into(">4sIQIIQIIQQIIQ", header, 0, b"QFI\xfb", version, 0, 0, cluster_bits, size, 0, tables, l1_at,
                     0, 0, 0, 0)  # fmt: skip
    if version == 3:
        zstd = compression == "zstd"
        struct.pack_into(">QQQII", header, 72, 8 if zstd else 0, 0, 0, 4, 112)
        header[104] = 1 if zstd else 0
    l1 = struct.pack(f">{tables}Q", *(1 << 63 | (tables_at + index * cluster) for index in range(tables)))
    image = header + l1.ljust(tables_at - l1_at, b"\0") + struct.pack(f">{len(entries)}Q", *entries) + body
    return image + bytes(-len(image) % cluster)


def _compress(piece: bytes, how: str) -> bytes:
    if how == "zstd":
        return zstd.compress(piece)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -12)
    return deflate.compress(piece) + deflate.flush()


def xz(data: bytes | bytearray, *, block: int, check: int = 4) -> bytes:
    """Build an .xz file of one stream with several blocks, as `xz --block-size` does. liblzma compresses each block."""
    head, blocks, records = b"", b"", b""
    for at in range(0, len(data), block):
        piece = bytes(data[at : at + block])
        alone = lzma.compress(piece, check=check, preset=0)
        index_bytes = (int.from_bytes(alone[-8:-4], "little") + 1) * 4
        head, packed = alone[:12], alone[12 : -12 - index_bytes]
        # The index of a stream with only this block has its unpadded size.
        first, size_at = _xz_number(alone, len(alone) - 12 - index_bytes + 2)
        records += alone[len(alone) - 10 - index_bytes : size_at]
        records += _xz_bytes(len(piece))
        assert first <= len(packed) < first + 4
        blocks += packed
    count = -(-len(data) // block)
    index = b"\0" + _xz_bytes(count) + records
    index += bytes(-len(index) % 4)
    return xz_sealed(head + blocks, index)


def xz_sealed(body: bytes, index: bytes) -> bytes:
    """Append an index, its checksum and a footer to a stream's header and blocks."""
    footer = (len(index) // 4).to_bytes(4, "little") + body[6:8]
    index += zlib.crc32(index).to_bytes(4, "little")
    return body + index + zlib.crc32(footer).to_bytes(4, "little") + footer + b"YZ"


def _xz_number(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while raw[at] >= 0x80:
        value, shift, at = value | (raw[at] & 0x7F) << shift, shift + 7, at + 1
    return value | raw[at] << shift, at + 1


def _xz_bytes(value: int) -> bytes:
    raw = b""
    while value >= 0x80:
        raw, value = raw + bytes([value & 0x7F | 0x80]), value >> 7
    return raw + bytes([value])


def zstd_frames(data: bytes | bytearray, *, frame: int, table: bool = False) -> bytes:
    """Build a .zst file of several frames that contain their sizes; with `table`, only a seek table has the sizes."""
    pieces = [bytes(data[at : at + frame]) for at in range(0, len(data), frame)]
    if not table:
        return b"".join(zstd.compress(piece) for piece in pieces)
    frames, entries = b"", b""
    for piece in pieces:
        stream = zstd.ZstdCompressor()
        packed = stream.compress(piece) + stream.flush()
        frames += packed
        entries += struct.pack("<II", len(packed), len(piece))
    entries += struct.pack("<IBI", len(pieces), 0, 0x8F92EAB1)
    return frames + struct.pack("<II", 0x184D2A5E, len(entries)) + entries


def codes(problems: Iterable[object]) -> list[str]:
    """Return the codes of problems."""
    return [str(getattr(problem, "code", problem)) for problem in problems]
