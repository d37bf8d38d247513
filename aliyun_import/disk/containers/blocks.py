"""Compressed files with independent blocks: the disk in one can be read at any offset, one block at a time.

`xz -T0` writes such files, and tools that write several zstd frames do. A block is unpacked completely, compared with
its checksum before a byte of it is returned, and kept for later reads.
"""

import lzma
import mmap
import struct
import threading
import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from itertools import chain
from typing import NamedTuple

from aliyun_import.disk.decompress import NewDecompressor, new_xz, new_zstd
from aliyun_import.disk.reader import Bad, PiecewiseReader, Reader, Unsupported, read_exactly
from aliyun_import.limits import KIB, MIB

# Blocks of `xz -T0 -7` have 48 MiB, those of -6 have 24 MiB.
MAX_BLOCK_BYTES = 64 * MIB
# Memory for unpacked blocks: of a single reader, and of the threads of an upload.
KEPT_BYTES, KEPT_FOR_MANY_BYTES = 128 * MIB, 256 * MIB
# A disk of 2 TiB in blocks of 8 MiB.
MAX_BLOCKS = 262_144
# Maximum growth of a block with data that can't be compressed.
_MAX_OVERHEAD = 64 * KIB
_READ_BYTES = MIB
# Most of a disk is zeros, which are unpacked as slowly as other data. 16 MiB of zeros are always the same 2.5 KiB when
# compressed. The last block may have another size.
_ZEROS_PACKED_BYTES, _MAX_ZEROS = 64 * KIB, 2


class Block(NamedTuple):
    """A piece of the disk from `start` on, compressed at offset `at`. `check` is the checksum type of an xz stream."""

    start: int
    size: int
    at: int
    packed: int
    check: bytes = b""


Unpack = Callable[[Reader, Block], mmap.mmap]


class BlockReader(PiecewiseReader):
    """The disk in a file of blocks. Thread-safe: a block that several threads request is unpacked once.

    `pread` raises Bad with the offset of a damaged block in the file, and the errors of reading the file.
    """

    def __init__(self, file: Reader, blocks: Sequence[Block], unpack: Unpack, *, kept_bytes: int = KEPT_BYTES) -> None:
        """Use consecutive blocks. Raises Unsupported if one of them is too large."""
        self._file = file
        self._blocks = [block for block in blocks if block.size]
        super().__init__(self._blocks[-1].start + self._blocks[-1].size if self._blocks else 0)
        self._starts = [block.start for block in self._blocks]
        self._unpack = unpack
        largest = max((block.size for block in self._blocks), default=0)
        if largest > MAX_BLOCK_BYTES:
            raise Unsupported(
                f"it has a block of {largest / MIB:.1f} MiB, and blocks of up to {MAX_BLOCK_BYTES // MIB} MiB are "
                "supported"
            )
        self.block_bytes = largest
        self.max_kept = min(kept_bytes // (largest or 1), 64)
        self._kept: OrderedDict[int, Future[mmap.mmap]] = OrderedDict()
        self._zeros: dict[bytes, mmap.mmap] = {}
        self._lock = threading.Lock()

    @property
    def blocks(self) -> int:
        """Return the number of blocks that are not empty."""
        return len(self._blocks)

    def _piece(self, offset: int, length: int) -> bytes:
        number = bisect_right(self._starts, offset) - 1
        within = offset - self._starts[number]
        return self._block(number)[within : within + length]

    def forget(self) -> None:
        """Drop the unpacked blocks: the file may have changed."""
        with self._lock:
            self._kept.clear()

    def _block(self, number: int) -> mmap.mmap:
        with self._lock:
            kept = self._kept.get(number)
            if kept is not None:
                self._kept.move_to_end(number)
                pending = None
            else:
                kept = pending = self._kept[number] = Future()
                if len(self._kept) > self.max_kept:
                    self._kept.popitem(last=False)
        if pending is not None:
            try:
                pending.set_result(self._unpacked(self._blocks[number]))
            except BaseException as error:  # noqa: BLE001 -- raised in all threads that wait for the block
                with self._lock:
                    if self._kept.get(number) is pending:
                        del self._kept[number]
                pending.set_exception(error)
        return kept.result()

    def _unpacked(self, block: Block) -> mmap.mmap:
        """Unpack a block, unless its compressed bytes equal those of an earlier block of zeros."""
        if block.packed > _ZEROS_PACKED_BYTES:
            return self._unpack(self._file, block)
        packed = self._file.pread(block.at, block.packed)
        zeros = self._zeros.get(packed)
        if zeros is not None and len(zeros) == block.size:
            return zeros
        data = self._unpack(self._file, block)
        if len(self._zeros) < _MAX_ZEROS and _is_zeros(data):
            self._zeros[packed] = data
        return data


def _read_pieces(file: Reader, at: int, length: int) -> Iterable[bytes]:
    """Yield the compressed bytes of a block in small pieces."""
    for offset in range(0, length, _READ_BYTES):
        yield file.pread(at + offset, min(_READ_BYTES, length - offset))


def _unpack_block(new: NewDecompressor, pieces: Iterable[bytes], block: Block) -> mmap.mmap:
    """Unpack a block to the size in its index, into memory that is returned to the system when it is not used any more.

    Raises Bad if the block is damaged or has another size.
    """
    out = mmap.mmap(-1, block.size)
    try:
        _fill(out, new, pieces)
    except BaseException as error:
        # Not left to the garbage collector: the error keeps a reference.
        out.close()
        if isinstance(error, (lzma.LZMAError, ValueError, EOFError)):
            end = block.at + block.packed
            raise Bad(
                f"the compressed data in bytes {block.at}-{end} of the file is damaged ({error})", offset=block.at
            ) from error
        raise
    return out


def _fill(out: mmap.mmap, new: NewDecompressor, pieces: Iterable[bytes]) -> None:
    """Fill all of `out`. Raises EOFError if the stream is longer or shorter."""
    stream, filled = new(), 0
    for packed in pieces:
        data = packed
        while not stream.eof:
            piece = stream.decompress(data, _READ_BYTES)
            data = b""
            if filled + len(piece) > len(out):
                raise EOFError("it is longer than it should be")
            out[filled : filled + len(piece)] = piece
            filled += len(piece)
            if stream.needs_input or not piece:
                break
    if filled != len(out) or not stream.eof or stream.unused_data:
        raise EOFError("it is shorter than it should be")


def _is_zeros(data: mmap.mmap) -> bool:
    pieces = (data[at : at + _READ_BYTES] for at in range(0, len(data), _READ_BYTES))
    return all(piece.count(0) == len(piece) for piece in pieces)


def _check_packed(size: int, packed: int, *, at: int) -> None:
    """Refuse an index with more compressed bytes than any tool writes: all of them would be read."""
    if packed > size + size // 1024 + _MAX_OVERHEAD:
        raise Bad(f"its index has {packed} compressed bytes for {size} bytes", offset=at)


# The .xz file format, version 1.1.0. Each block is passed to liblzma as a file with one block and its index: liblzma
# checks header, filters, sizes and checksum (CRC32, CRC64, SHA-256).
_MAGIC, _FOOTER_MAGIC = b"\xfd7zXZ\0", b"YZ"
_HEADER_BYTES = 12
_MAX_INDEX_BYTES, _MAX_STREAMS, _MAX_PADDING_BYTES = 8 * MIB, 4096, MIB
# xz -9 needs 65 MiB.
_MEMORY_BYTES = 256 * MIB


def xz_blocks(file: Reader) -> list[Block]:
    """Return the blocks of all streams. Raises Bad for a damaged or missing index, Unsupported for too many blocks."""
    streams: list[list[Block]] = []
    end, count = file.size, 0
    while end > 0:
        end, blocks = _stream_before(file, end, most=MAX_BLOCKS - count)
        streams.append(blocks)
        count += len(blocks)
        if len(streams) > _MAX_STREAMS:
            raise Unsupported(f"it has more than {_MAX_STREAMS} streams")
    start, placed = 0, []
    for block in chain.from_iterable(reversed(streams)):
        placed.append(block._replace(start=start))
        start += block.size
    return placed


def unpack_xz(file: Reader, block: Block) -> mmap.mmap:
    """Unpack a block of an xz stream. Raises Bad if it is damaged."""
    length = _padded(block.packed)
    index = b"\0\1" + _number(block.packed) + _number(block.size)
    index += bytes(-len(index) % 4)
    index += _crc(index)
    backward = len(index) // 4 - 1
    footer = backward.to_bytes(4, "little") + block.check
    head = _MAGIC + block.check + _crc(block.check)
    tail = index + _crc(footer) + footer + _FOOTER_MAGIC
    pieces = chain([head], _read_pieces(file, block.at, length), [tail])
    return _unpack_block(lambda: new_xz(memory_bytes=_MEMORY_BYTES), pieces, block)


def _stream_before(file: Reader, end: int, *, most: int) -> tuple[int, list[Block]]:
    """Read the index of the stream that ends at `end`. Return the offset at which the stream begins, and its blocks."""
    end = _before_padding(file, end)
    footer = read_exactly(file, end - _HEADER_BYTES, _HEADER_BYTES) if end >= _HEADER_BYTES else b""
    if not footer.endswith(_FOOTER_MAGIC) or _crc(footer[4:10]) != footer[:4]:
        raise Bad("there is no footer at its end: the file was truncated, or something was appended", offset=end)
    index_bytes = (int.from_bytes(footer[4:8], "little") + 1) * 4
    if index_bytes > _MAX_INDEX_BYTES:
        raise Unsupported(f"its index has {index_bytes // MIB} MiB")
    index_at, check = end - _HEADER_BYTES - index_bytes, footer[8:10]
    if index_at < _HEADER_BYTES:
        raise Bad("its index begins before the file does", offset=end)
    records = list(_records(read_exactly(file, index_at, index_bytes), index_at, most=most))
    at = begin = index_at - sum(_padded(packed) for packed, _ in records)
    head = file.pread(begin - _HEADER_BYTES, _HEADER_BYTES) if begin >= _HEADER_BYTES else b""
    if head != _MAGIC + check + _crc(check):
        raise Bad("its index does not match its blocks", offset=index_at)
    blocks = []
    for packed, size in records:
        _check_packed(size, packed, at=index_at)
        blocks.append(Block(0, size, at, packed, check))
        at += _padded(packed)
    return begin - _HEADER_BYTES, blocks


def _before_padding(file: Reader, end: int) -> int:
    """Return the end of a stream without the padding of zeros that may follow it."""
    first = max(end - _MAX_PADDING_BYTES, 0)
    return first + len(file.pread(first, end - first).rstrip(b"\0")) if file.pread(end - 1, 1) == b"\0" else end


def _records(raw: bytes, index_at: int, *, most: int) -> Iterator[tuple[int, int]]:
    """Yield the packed and the unpacked size of each block in an index."""
    if raw[0] != 0 or _crc(raw[:-4]) != raw[-4:]:
        raise Bad("its index is damaged", offset=index_at)
    count, at = _read_number(raw, 1, index_at)
    if count > most:
        raise Unsupported(f"it has more than {MAX_BLOCKS} blocks")
    for _ in range(count):
        packed, at = _read_number(raw, at, index_at)
        size, at = _read_number(raw, at, index_at)
        yield packed, size


def _read_number(raw: bytes, at: int, index_at: int) -> tuple[int, int]:
    """Return a number with seven bits per byte and at most nine bytes, and the offset after it."""
    value = 0
    for place in range(9):
        byte = raw[at + place] if at + place < len(raw) - 4 else 0x80
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise Bad("its index is damaged", offset=index_at + at)


def _number(value: int) -> bytes:
    raw = bytearray()
    while value >= 0x80:
        raw.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*raw, value])


def _padded(length: int) -> int:
    return -(-length // 4) * 4


def _crc(raw: bytes) -> bytes:
    return zlib.crc32(raw).to_bytes(4, "little")


# RFC 8878 and contrib/seekable_format of zstd. Frames contain their size if zstd read a file. Frames of pzstd, and of
# zstd reading from a pipe, do not, and can only be unpacked from the beginning of the file.
_ZSTD_MAGIC, _SKIPPED, _TABLE = 0xFD2FB528, 0x184D2A50, 0x184D2A5E
_SEEKABLE = 0x8F92EAB1
# Each step through a frame reads three bytes. A million steps take one second, and are enough for 128 GiB.
_MAX_STEPS = 1_000_000
_MAX_HEADER_BYTES = 18
_PADDING_BYTES = 64 * KIB
_RLE = 1


def zstd_blocks(file: Reader) -> list[Block]:
    """Return the frames. Raises Bad for a truncated or damaged file, and Unsupported for a frame without a size."""
    return _by_table(file) or _Walk(file).blocks()


def unpack_zstd(file: Reader, block: Block) -> mmap.mmap:
    """Unpack a frame. Raises Bad if it is damaged."""
    return _unpack_block(new_zstd, _read_pieces(file, block.at, block.packed), block)


def _by_table(file: Reader) -> list[Block]:
    """Return the frames in the seek table at the end, none if there is no table."""
    footer = file.pread(file.size - 9, 9) if file.size >= 17 else b""
    if len(footer) < 9 or int.from_bytes(footer[5:], "little") != _SEEKABLE:
        return []
    count, entry_bytes = int.from_bytes(footer[:4], "little"), 12 if footer[4] & 0x80 else 8
    if count > MAX_BLOCKS:
        raise Unsupported(f"it has more than {MAX_BLOCKS} frames")
    table_at = file.size - 9 - count * entry_bytes
    if table_at < 8 or struct.unpack("<II", file.pread(table_at - 8, 8)) != (_TABLE, count * entry_bytes + 9):
        raise Bad("its seek table is damaged", offset=max(table_at - 8, 0))
    table = read_exactly(file, table_at, count * entry_bytes)
    blocks, at, start = [], 0, 0
    for entry in range(0, len(table), entry_bytes):
        packed, size = struct.unpack_from("<II", table, entry)
        _check_packed(size, packed, at=table_at)
        blocks.append(Block(start, size, at, packed))
        at, start = at + packed, start + size
    if at != table_at - 8:
        raise Bad("its seek table does not match its frames", offset=table_at)
    return blocks


class _Walk:
    """An iteration over the frames of a file."""

    def __init__(self, file: Reader) -> None:
        self._file = file
        self._steps = 0

    def blocks(self) -> list[Block]:
        """Return the frames with content."""
        blocks: list[Block] = []
        at = start = magic = 0
        while at < self._file.size:
            self._step()
            magic = int.from_bytes(self._file.pread(at, 4), "little")
            if magic & ~0xF == _SKIPPED:
                at += 8 + int.from_bytes(read_exactly(self._file, at + 4, 4), "little")
            elif magic == _ZSTD_MAGIC:
                size, end = self._frame(at)
                blocks.append(Block(start, size, at, end - at))
                at, start = end, start + size
            elif not any(self._file.pread(at, _PADDING_BYTES)):
                at += _PADDING_BYTES
            else:
                raise Bad("there is no frame where one should begin", offset=at)
        if at > self._file.size and magic != 0:
            raise Bad("it ends early: the file was truncated", offset=self._file.size)
        return blocks

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise Unsupported("it is too large to be searched without a seek table")

    def _frame(self, at: int) -> tuple[int, int]:
        """Return the size of the content of a frame, and the offset of its end."""
        raw = self._file.pread(at + 4, _MAX_HEADER_BYTES - 4)
        flags = raw[0] if raw else 0
        size_bytes = (1 if flags & 0x20 else 0, 2, 4, 8)[flags >> 6]
        size_at = 1 + (not flags & 0x20) + (0, 1, 2, 4)[flags & 3]
        if len(raw) < size_at + size_bytes:
            raise Bad("it ends early: the file was truncated", offset=at)
        if not size_bytes:
            raise Unsupported("its frames do not contain their size, like those of zstd reading from a pipe")
        size = int.from_bytes(raw[size_at : size_at + size_bytes], "little") + (256 if size_bytes == 2 else 0)
        end, is_last = at + 4 + size_at + size_bytes, False
        while not is_last:
            self._step()
            head = int.from_bytes(read_exactly(self._file, end, 3), "little")
            is_last = bool(head & 1)
            end += 3 + (1 if head >> 1 & 3 == _RLE else head >> 3)
        return size, end + (4 if flags & 4 else 0)
