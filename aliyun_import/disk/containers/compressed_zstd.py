"""This file finds the frames of a .zst file, by the table of zstd's seekable format or by going through it.

Written after RFC 8878 and zstd's contrib/seekable_format. A frame tells its own size where it was packed from a file;
what came through a pipe does not (pzstd's frames neither), and can only be unpacked from its beginning.
"""

import mmap
import struct
import sys

from aliyun_import.disk.containers.compressed import MAX_BLOCKS, Block, check_packed, read_pieces, unpack_block
from aliyun_import.disk.io.reader import Bad, Reader, Unsupported, read_exactly
from aliyun_import.limits import KIB

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MAGIC, _SKIPPED, _TABLE = 0xFD2FB528, 0x184D2A50, 0x184D2A5E
_SEEKABLE = 0x8F92EAB1
# Each step through a frame is a read of three bytes; a million are a second, and 128 GiB.
_MAX_STEPS = 1_000_000
_MAX_HEADER_BYTES = 18
_PADDING_BYTES = 64 * KIB
_RLE = 1


def zstd_blocks(file: Reader) -> list[Block]:
    """List the frames. Bad when the file is cut short or damaged, Unsupported when a frame does not tell its size."""
    return _by_table(file) or _Walk(file).blocks()


def unpack_zstd(file: Reader, block: Block) -> mmap.mmap:
    """Unpack a frame. Bad when it is damaged."""
    return unpack_block(zstd.ZstdDecompressor, read_pieces(file, block.at, block.packed), block, errors=zstd.ZstdError)


def _by_table(file: Reader) -> list[Block]:
    """Read the table at the end; none when there is no such table."""
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
        check_packed(size, packed, at=table_at)
        blocks.append(Block(start, size, at, packed))
        at, start = at + packed, start + size
    if at != table_at - 8:
        raise Bad("its seek table does not fit its frames", offset=table_at)
    return blocks


class _Walk:
    """A way through a file, from one frame to the next."""

    def __init__(self, file: Reader) -> None:
        self._file = file
        self._steps = 0

    def blocks(self) -> list[Block]:
        """Give the frames that hold something."""
        blocks: list[Block] = []
        at = start = magic = 0
        while at < self._file.size:
            self._step()
            magic = int.from_bytes(self._file.pread(at, 4), "little")
            if magic & ~0xF == _SKIPPED:
                at += 8 + int.from_bytes(read_exactly(self._file, at + 4, 4), "little")
            elif magic == _MAGIC:
                size, end = self._frame(at)
                blocks.append(Block(start, size, at, end - at))
                at, start = end, start + size
            elif not any(self._file.pread(at, _PADDING_BYTES)):
                at += _PADDING_BYTES
            else:
                raise Bad("there is no frame where one should begin", offset=at)
        if at > self._file.size and magic != 0:
            raise Bad("it ends before its end: the file was cut short", offset=self._file.size)
        return blocks

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise Unsupported("it is too large to be gone through without a seek table")

    def _frame(self, at: int) -> tuple[int, int]:
        """Give the size of a frame's content, and where it ends."""
        raw = self._file.pread(at + 4, _MAX_HEADER_BYTES - 4)
        flags = raw[0] if raw else 0
        size_bytes = (1 if flags & 0x20 else 0, 2, 4, 8)[flags >> 6]
        size_at = 1 + (not flags & 0x20) + (0, 1, 2, 4)[flags & 3]
        if len(raw) < size_at + size_bytes:
            raise Bad("it ends before its end: the file was cut short", offset=at)
        if not size_bytes:
            raise Unsupported("its frames do not tell their size, as those that came through a pipe")
        size = int.from_bytes(raw[size_at : size_at + size_bytes], "little") + (256 if size_bytes == 2 else 0)
        end, is_last = at + 4 + size_at + size_bytes, False
        while not is_last:
            self._step()
            head = int.from_bytes(read_exactly(self._file, end, 3), "little")
            is_last = bool(head & 1)
            end += 3 + (1 if head >> 1 & 3 == _RLE else head >> 3)
        return size, end + (4 if flags & 4 else 0)
