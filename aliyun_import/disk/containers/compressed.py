"""This file reads a disk that is packed in blocks of their own, at any place, one block at a time.

What `xz -T0` writes is such a file, and so are several zstd frames one after the other. A block is unpacked whole and
held against its checksum before a byte of it is given, and kept for those who read on.
"""

import mmap
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from aliyun_import.disk.io.reader import Bad, Reader, Unsupported, check_range
from aliyun_import.disk.io.unpack import Decompressor
from aliyun_import.limits import KIB, MIB

# What `xz -T0 -7` makes has 48 MiB, that of -6 has 24.
MAX_BLOCK_BYTES = 64 * MIB
# What is kept unpacked: for one who reads alone, and for the threads of an upload.
KEPT_BYTES, KEPT_FOR_MANY_BYTES = 128 * MIB, 256 * MIB
# A disk of 2 TiB in blocks of 8 MiB.
MAX_BLOCKS = 262_144
# No packer makes more of a block than this: what can't be packed is stored.
_MAX_OVERHEAD = 64 * KIB
_READ_BYTES = MIB
# Most of a disk is zeros, as a rule, which unpack as slowly as anything: 16 MiB of them are 2.5 KiB packed, the same
# ones each time. The last block may have another size.
_ZEROS_PACKED_BYTES, _MAX_ZEROS = 64 * KIB, 2


class Block(NamedTuple):
    """A piece of the disk, from `start` on; it lies packed at `at`. `check` is the xz stream's kind of checksum."""

    start: int
    size: int
    at: int
    packed: int
    check: bytes = b""


Unpack = Callable[[Reader, Block], mmap.mmap]


class PackedReader:
    """The disk in a file of blocks. Safe to use from any thread; a block that several ask for is unpacked once.

    Raises Bad for a damaged block, with its place in the file, and what reading the file raises.
    """

    def __init__(self, file: Reader, blocks: Sequence[Block], unpack: Unpack, *, kept_bytes: int = KEPT_BYTES) -> None:
        """Take blocks that follow each other. Unsupported when there are too many, or one is too large."""
        self._file = file
        self._blocks = [block for block in blocks if block.size]
        self._starts = [block.start for block in self._blocks]
        self._unpack = unpack
        largest = max((block.size for block in self._blocks), default=0)
        if largest > MAX_BLOCK_BYTES:
            raise Unsupported(f"it is packed in one piece of {largest / MIB:.0f} MiB, or in several as large")
        self.block_bytes = largest
        self.most_kept = min(kept_bytes // (largest or 1), 64)
        self._kept: OrderedDict[int, Future[mmap.mmap]] = OrderedDict()
        self._zeros: dict[bytes, mmap.mmap] = {}
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Give the size of the disk in bytes."""
        return self._blocks[-1].start + self._blocks[-1].size if self._blocks else 0

    @property
    def blocks(self) -> int:
        """Give the number of blocks that are not empty."""
        return len(self._blocks)

    def pread(self, offset: int, length: int) -> bytes:
        """Read."""
        check_range(offset, length)
        end = min(offset + length, self.size)
        pieces = []
        while offset < end:
            number = bisect_right(self._starts, offset) - 1
            within = offset - self._starts[number]
            piece = self._block(number)[within : within + end - offset]
            pieces.append(piece)
            offset += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def forget(self) -> None:
        """Unpack again what is kept: the file may have changed."""
        with self._lock:
            self._kept.clear()

    def _block(self, number: int) -> mmap.mmap:
        with self._lock:
            kept = self._kept.get(number)
            if kept is not None:
                self._kept.move_to_end(number)
                mine = None
            else:
                kept = mine = self._kept[number] = Future()
                if len(self._kept) > self.most_kept:
                    self._kept.popitem(last=False)
        if mine is not None:
            try:
                mine.set_result(self._unpacked(self._blocks[number]))
            except BaseException as error:  # noqa: BLE001 -- whatever it is, those who wait for the block get it too
                with self._lock:
                    if self._kept.get(number) is mine:
                        del self._kept[number]
                mine.set_exception(error)
        return kept.result()

    def _unpacked(self, block: Block) -> mmap.mmap:
        """Unpack a block, unless it is packed with the same bytes as one of zeros that was seen before."""
        if block.packed > _ZEROS_PACKED_BYTES:
            return self._unpack(self._file, block)
        packed = self._file.pread(block.at, block.packed)
        seen = self._zeros.get(packed)
        if seen is not None and len(seen) == block.size:
            return seen
        data = self._unpack(self._file, block)
        if len(self._zeros) < _MAX_ZEROS and _is_zeros(data):
            self._zeros[packed] = data
        return data


def read_pieces(file: Reader, at: int, length: int) -> Iterable[bytes]:
    """Read a block as it lies packed, in pieces that no memory minds."""
    for offset in range(0, length, _READ_BYTES):
        yield file.pread(at + offset, min(_READ_BYTES, length - offset))


def unpack_block(
    make: Callable[[], Decompressor], pieces: Iterable[bytes], block: Block, *, errors: type[Exception]
) -> mmap.mmap:
    """Unpack a block to the size that its index told, into memory that goes back to the system at its end.

    Bad when it is damaged, or of another size.
    """
    out = mmap.mmap(-1, block.size)
    try:
        _fill(out, make(), pieces)
    except BaseException as error:
        # At once: the error holds on to it for longer than there may be memory.
        out.close()
        if isinstance(error, (errors, EOFError)):
            end = block.at + block.packed
            raise Bad(
                f"the packed data in bytes {block.at}-{end} of the file is damaged ({error})", offset=block.at
            ) from error
        raise
    return out


def _fill(out: mmap.mmap, stream: Decompressor, pieces: Iterable[bytes]) -> None:
    """Fill all of it, to the stream's end; EOFError when there is more or less than that."""
    filled = 0
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


def check_packed(size: int, packed: int, *, at: int) -> None:
    """Refuse an index that tells of more packed bytes than any packer makes; they would all be read."""
    if packed > size + size // 1024 + _MAX_OVERHEAD:
        raise Bad(f"its index tells of {packed} packed bytes for {size}", offset=at)
