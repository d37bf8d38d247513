"""This file tells by the log of XFS whether it was unmounted cleanly: its last record is that of an unmount then.

Written after "XFS Algorithms & Data Structures" (3rd edition), chapter "Journaling log". The log is a ring of blocks of
512 bytes, each with the number of the round in which it was written, so that its head is found by halving. Nothing is
replayed, and where the log is not as expected nothing is claimed.
"""

import struct

from aliyun_import.disk.reader import Reader, ReadProblem, read_exactly

_BLOCK = 512
_MAGIC = 0xFEEDBABE
_VERSION_2 = 2
_HEADER_COVERS_BYTES = 32768
# A record has 256 KiB and its headers at most, so its header is not further back.
_MAX_RECORD_BLOCKS = 1024
_UNMOUNT = 0x20


def was_unmounted(reader: Reader, *, start: int, size_bytes: int) -> bool | None:
    """Tell whether the log at `start` ends in an unmount; None where that can't be told."""
    blocks = size_bytes // _BLOCK
    if blocks < 2:
        return None
    try:
        return _ends_in_unmount(reader, start, blocks)
    except ReadProblem:
        return None


def _ends_in_unmount(reader: Reader, start: int, blocks: int) -> bool | None:
    if _round(reader, start) == 0:
        return None  # zeros only: a log that nothing was written to, or none
    head = _head(reader, start, blocks)
    record = _record_before(reader, start, blocks, head)
    if record is None:
        return None
    header = read_exactly(reader, start + record * _BLOCK, _BLOCK)
    version, length = struct.unpack_from(">II", header, 8)
    (operations,) = struct.unpack_from(">I", header, 40)
    (buffer_bytes,) = struct.unpack_from(">I", header, 320)
    headers = max(-(-buffer_bytes // _HEADER_COVERS_BYTES), 1) if version & _VERSION_2 else 1
    if headers > _MAX_RECORD_BLOCKS or (record + headers + -(-length // _BLOCK)) % blocks != head:
        return False  # what was being written last is not whole: the machine stopped, or the copy was made, meanwhile
    operation = read_exactly(reader, start + (record + headers) % blocks * _BLOCK, _BLOCK)
    return operations == 1 and bool(operation[9] & _UNMOUNT)


def _round(reader: Reader, at: int) -> int:
    """Give the number of the round in which a block was written; a header has it in its second word."""
    magic, second = struct.unpack(">II", read_exactly(reader, at, 8))
    return int(second if magic == _MAGIC else magic)


def _head(reader: Reader, start: int, blocks: int) -> int:
    """Find where the next record would be written: the first block of an earlier round than block 0."""
    first = _round(reader, start)
    low, high = 0, blocks
    while high - low > 1:
        middle = (low + high) // 2
        if _round(reader, start + middle * _BLOCK) == first:
            low = middle
        else:
            high = middle
    return high % blocks


def _record_before(reader: Reader, start: int, blocks: int, head: int) -> int | None:
    """Find the header of the last record before the head; around the end of the ring, too."""
    for back in range(1, min(_MAX_RECORD_BLOCKS, blocks) + 1):
        block = (head - back) % blocks
        if read_exactly(reader, start + block * _BLOCK, 4) == _MAGIC.to_bytes(4, "big"):
            return block
    return None
