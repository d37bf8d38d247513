"""This file writes a disk to try things with: sparse, partitioned, and with a boot sector that prints a line.

It starts on any PC with a BIOS: the boot record, loaded to 0x7C00, writes its line with the BIOS's teletype call and
halts. There is no system on it, and nothing of anybody else's.
"""

import struct
from pathlib import Path

SECTOR_BYTES = 512
PARTITION_START = 2048  # sectors; 1 MiB, where every partitioning tool begins today
LINUX_TYPE = 0x83
ACTIVE = 0x80
MAX_SECTORS = (1 << 32) - 1  # what an MBR entry can count
DISK_ID = b"DISK"  # the four bytes at 440 that name an MBR disk; these cannot have been drawn at random

LINE = b"This is the sample disk of aliyun-import. It has nothing else to say.\r\n\0"

# 16-bit code, assembled by hand; it runs at 0x7C00, and the line lies right behind it.
BOOT_CODE = bytes.fromhex(
    "FA"  # 00  cli
    "31C0"  # 01  xor ax, ax
    "8ED8"  # 03  mov ds, ax
    "8ED0"  # 05  mov ss, ax
    "BC007C"  # 07  mov sp, 0x7C00      the stack grows down from below the code
    "FB"  # 0A  sti
    "FC"  # 0B  cld
    "BE207C"  # 0C  mov si, 0x7C20      the line, 0x20 bytes into the sector
    "AC"  # 0F  lodsb                   next:
    "84C0"  # 10  test al, al
    "7409"  # 12  jz 0x1D               the line ends in a zero byte
    "B40E"  # 14  mov ah, 0x0E          teletype output
    "BB0700"  # 16  mov bx, 7           page 0, light grey
    "CD10"  # 19  int 0x10
    "EBF2"  # 1B  jmp 0x0F
    "F4"  # 1D  hlt                     rest:
    "EBFD"  # 1E  jmp 0x1D
)

# What the partition begins with: a note for whoever looks, where a file system would be.
NOTE = b"aliyun-import sample disk: this partition holds no file system.\n"


def boot_record(*, size_bytes: int) -> bytes:
    """Give the first sector: the code, its line, and a table with one active Linux partition up to the end."""
    count = size_bytes // SECTOR_BYTES - PARTITION_START
    # The CHS fields say "beyond what CHS can say", as every tool writes for LBA disks.
    beyond = b"\xfe\xff\xff"
    entry = struct.pack("<B3sB3sII", ACTIVE, b"\x20\x21\x00", LINUX_TYPE, beyond, PARTITION_START, count)
    code = (BOOT_CODE + LINE).ljust(440, b"\0")
    return code + DISK_ID + b"\0\0" + entry.ljust(64, b"\0") + b"\x55\xaa"


def write_sample_disk(path: Path, *, size_bytes: int) -> None:
    """Write the disk, replacing a file of that name; the file is sparse and the same every time.

    Raises ValueError for a size that an MBR partition cannot fill: under 2 MiB, over 2 TiB, not in whole sectors.
    Raises OSError as writing does.
    """
    sectors, odd = divmod(size_bytes, SECTOR_BYTES)
    if odd or not 2 * PARTITION_START <= sectors <= MAX_SECTORS + PARTITION_START:
        raise ValueError(f"{size_bytes} bytes is no size for a sample disk: 2 MiB to 2 TiB, in sectors of 512")
    with path.open("wb") as file:
        file.write(boot_record(size_bytes=size_bytes))
        file.seek(PARTITION_START * SECTOR_BYTES)
        file.write(NOTE)
        file.truncate(size_bytes)
