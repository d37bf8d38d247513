"""A sample disk: sparse, partitioned, with boot sectors that print a text and the files of a Linux system.

It boots on any PC with a BIOS. The boot record loads the first sector of the active partition to 0x7C00 and jumps
there; that sector prints its text with the BIOS's teletype call and halts. The file system has what `check` reads of a
system; no program runs, and there is no code of a third party.
"""

import errno
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from aliyun_import.sandbox.sample_system import file_system

SECTOR_BYTES = 512
CHUNK_BYTES = 1 << 20
PARTITION_START = 2048  # sectors: 1 MiB, the default of partitioning tools today
LINUX_TYPE = 0x83
ACTIVE = 0x80
MAX_SECTORS = (1 << 32) - 1  # what an MBR entry can count
DISK_ID = b"DISK"  # the disk signature at 440; fixed, because the disk is the same every time

LINE = b"This is the sample disk of aliyun-import. It has no kernel: nothing follows.\r\n\0"

# 16-bit code, assembled by hand. The BIOS loads it to 0x7C00 with the drive's number in dl.
BOOT_RECORD_CODE = bytes.fromhex(
    "FA"  # 00  cli
    "31C0"  # 01  xor ax, ax
    "8ED8"  # 03  mov ds, ax
    "8EC0"  # 05  mov es, ax
    "8ED0"  # 07  mov ss, ax
    "BC007C"  # 09  mov sp, 0x7C00      the stack grows down from below the code
    "FB"  # 0C  sti
    "FC"  # 0D  cld
    "BE007C"  # 0E  mov si, 0x7C00      relocate to 0x0600
    "BF0006"  # 11  mov di, 0x0600
    "B90001"  # 14  mov cx, 256
    "F3A5"  # 17  rep movsw
    "EA1E060000"  # 19  jmp 0:0x061E
    "BE3006"  # 1E  mov si, 0x0630      the request below
    "B442"  # 21  mov ah, 0x42          extended read
    "CD13"  # 23  int 0x13
    "7205"  # 25  jc 0x2C
    "EA007C0000"  # 27  jmp 0:0x7C00
    "F4"  # 2C  hlt                     rest:
    "EBFD"  # 2D  jmp 0x2C
    "90"  # 2F  nop
)
# What int 0x13 reads (BIOS Enhanced Disk Drive services): 16 bytes of request, one sector, to 0:0x7C00, which sector.
_READ_REQUEST = struct.pack("<BBHHHQ", 16, 0, 1, 0x7C00, 0, PARTITION_START)

# The partition's boot sector; the text follows the code.
PARTITION_CODE = bytes.fromhex(
    "FA"  # 00  cli
    "31C0"  # 01  xor ax, ax
    "8ED8"  # 03  mov ds, ax
    "8ED0"  # 05  mov ss, ax
    "BC007C"  # 07  mov sp, 0x7C00
    "FB"  # 0A  sti
    "FC"  # 0B  cld
    "BE207C"  # 0C  mov si, 0x7C20      the text, 0x20 bytes into the sector
    "AC"  # 0F  lodsb                   next:
    "84C0"  # 10  test al, al
    "7409"  # 12  jz 0x1D               the text ends in a zero byte
    "B40E"  # 14  mov ah, 0x0E          teletype output
    "BB0700"  # 16  mov bx, 7           page 0, light grey
    "CD10"  # 19  int 0x10
    "EBF2"  # 1B  jmp 0x0F
    "F4"  # 1D  hlt                     rest:
    "EBFD"  # 1E  jmp 0x1D
)
_SIGNATURE = b"\x55\xaa"


def partition_sector() -> bytes:
    """Return the first sector of the partition: code and text."""
    return (PARTITION_CODE + LINE).ljust(510, b"\0") + _SIGNATURE


def boot_record(*, size_bytes: int) -> bytes:
    """Return the first sector of the disk: the loader and a partition table with one partition."""
    count = size_bytes // SECTOR_BYTES - PARTITION_START
    # The CHS fields hold "out of range", as every tool writes for LBA disks.
    beyond = b"\xfe\xff\xff"
    entry = struct.pack("<B3sB3sII", ACTIVE, b"\x20\x21\x00", LINUX_TYPE, beyond, PARTITION_START, count)
    code = (BOOT_RECORD_CODE + _READ_REQUEST).ljust(440, b"\0")
    return code + DISK_ID + b"\0\0" + entry.ljust(64, b"\0") + _SIGNATURE


def write_sample_disk(path: Path, *, size_bytes: int) -> None:
    """Write the disk as a sparse file, over an existing one; the bytes are the same every time.

    Raises ValueError for a size that is not possible: below 2 MiB, above 2 TiB, no multiple of 512. Raises OSError.
    """
    if not _is_possible(size_bytes):
        raise ValueError(f"a sample disk has 2 MiB to 2 TiB in sectors of 512 bytes, not {size_bytes} bytes")
    with path.open("wb") as file:
        for offset, sector in _sectors(size_bytes):
            file.seek(offset)
            file.write(sector)
        file.truncate(size_bytes)


def was_sample_disk(path: Path, *, size_bytes: int) -> bool:
    """Return whether a regular file begins as the sample disk of that size does. Raises OSError."""
    info = path.stat()
    if not stat.S_ISREG(info.st_mode) or info.st_size != size_bytes or not _is_possible(size_bytes):
        return False
    with path.open("rb") as file:
        return file.read(SECTOR_BYTES) == _sectors(size_bytes)[0][1]


def is_sample_disk(path: Path, *, size_bytes: int) -> bool:
    """Return whether a regular file is the sample disk of that size to the last byte. Raises OSError.

    Holes of the file are not read, so that a disk of a terabyte takes no longer than its data.
    """
    info = path.stat()
    if not stat.S_ISREG(info.st_mode) or info.st_size != size_bytes or not _is_possible(size_bytes):
        return False
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sectors = _sectors(size_bytes)
        if any(os.pread(descriptor, len(sector), offset) != sector for offset, sector in sectors):
            return False
        return all(
            os.pread(descriptor, length, offset) == _expected(sectors, offset, length)
            for offset, length in _data_ranges(descriptor, size_bytes)
        )
    finally:
        os.close(descriptor)


def _is_possible(size_bytes: int) -> bool:
    sectors, rest = divmod(size_bytes, SECTOR_BYTES)
    return not rest and 2 * PARTITION_START <= sectors <= MAX_SECTORS + PARTITION_START


def _sectors(size_bytes: int) -> tuple[tuple[int, bytes], ...]:
    """Return what is not zero of the disk, as (offset, bytes)."""
    start = PARTITION_START * SECTOR_BYTES
    files = file_system(size_bytes=size_bytes - start)
    return (
        (0, boot_record(size_bytes=size_bytes)),
        (start, partition_sector()),
        *((start + offset, content) for offset, content in files),
    )


def _expected(sectors: tuple[tuple[int, bytes], ...], offset: int, length: int) -> bytes:
    """Return a range of the disk."""
    expected = bytearray(length)
    for start, sector in sectors:
        low, high = max(start, offset), min(start + len(sector), offset + length)
        if low < high:
            expected[low - offset : high - offset] = sector[low - start : high - start]
    return bytes(expected)


def _data_ranges(descriptor: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of a file that are no holes, as (offset, length) of at most CHUNK_BYTES."""
    end = 0
    while end < size_bytes:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data up to the end
                return
            raise
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        for offset in range(start, end, CHUNK_BYTES):
            yield offset, min(CHUNK_BYTES, end - offset)
