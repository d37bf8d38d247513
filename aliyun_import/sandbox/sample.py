"""Sample disk: sparse, partitioned, with boot sectors that print a text, and the files of a Linux system.

The disk boots on a PC with a BIOS. The boot record loads the first sector of the active partition to 0x7C00 and jumps
to it. That sector writes its text to screen and serial port by calls of the BIOS, and halts. The file system holds the
files that `check` reads. The disk contains no program and no code of a third party.

The file system is ext4: one block group of at most 128 MiB at the start of the partition. Each file and each directory
is one block. Layout: "ext4 Data Structures and Algorithms" of the kernel's documentation.
"""

import errno
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

SECTOR_BYTES = 512
CHUNK_BYTES = 1 << 20
PARTITION_START = 2048  # sectors: 1 MiB, the default of partitioning tools today
LINUX_TYPE = 0x83
ACTIVE = 0x80
MAX_SECTORS = (1 << 32) - 1  # limit of an MBR entry
DISK_ID = b"DISK"  # disk signature at offset 440; fixed, because the disk is always the same

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
# Disk address packet of int 0x13 (BIOS Enhanced Disk Drive services): 16 bytes, one sector, to 0:0x7C00, sector number.
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
    "BE267C"  # 0C  mov si, 0x7C26      the text, 0x26 bytes into the sector
    "AC"  # 0F  lodsb                   next:
    "84C0"  # 10  test al, al
    "740F"  # 12  jz 0x23               the text ends in a zero byte
    "B40E"  # 14  mov ah, 0x0E          teletype output
    "BB0700"  # 16  mov bx, 7           page 0, light grey
    "CD10"  # 19  int 0x10
    "B401"  # 1B  mov ah, 1             write to the serial port
    "31D2"  # 1D  xor dx, dx            the first one, which is the console of an instance
    "CD14"  # 1F  int 0x14
    "EBEC"  # 21  jmp 0x0F
    "F4"  # 23  hlt                     rest:
    "EBFD"  # 24  jmp 0x23
)
_SIGNATURE = b"\x55\xaa"

# File system
BLOCK_BYTES = 4096
MAX_BLOCKS = 8 * BLOCK_BYTES  # number of bits of a bitmap
LABEL = b"sample"

_SUPERBLOCK_AT = 1024
_GROUP_BLOCK, _BLOCK_BITMAP, _INODE_BITMAP, _INODE_TABLE = 1, 2, 3, 4
_INODES = 2048
_INODE_BYTES = 256
_FIRST_DATA_BLOCK = _INODE_TABLE + _INODES * _INODE_BYTES // BLOCK_BYTES
_ROOT_INODE, _FIRST_FREE_INODE = 2, 11
_WRITTEN_S = 1767225600  # 2026-01-01; fixed, because the disk is always the same
_FILE_TYPE, _EXTENTS, _LARGE_FILE = 0x2, 0x40, 0x2
_EXTENTS_FLAG = 0x80000
_RELEASE = "6.1.0-sample"
# Header of an x86 kernel (boot protocol 2.15) with three further sectors and a version, without code.
_KERNEL = bytes(0x1F1) + b"\x03".ljust(0xD, b"\0") + b"\x55\xaa\0\0HdrS" + struct.pack("<H6xH", 0x20F, 0x600)
_KERNEL = _KERNEL.ljust(0x800, b"\0") + f"{_RELEASE} (sample) #1\0".encode()
_DRIVERS = ("block/virtio_blk", "virtio/virtio_pci", "net/virtio_net", "nvme/host/nvme-core", "nvme/host/nvme")

# In the order of the inodes. A path that ends in a slash is a directory.
_FILES: dict[str, bytes] = {
    "lost+found/": b"",
    "boot/": b"",
    f"boot/vmlinuz-{_RELEASE}": _KERNEL,
    "boot/grub/": b"",
    "boot/grub/grub.cfg": f"""set default=0
menuentry "Sample Linux" {{
    linux /boot/vmlinuz-{_RELEASE} root=LABEL={LABEL.decode()} ro console=tty0 console=ttyS0,115200
}}
""".encode(),
    "etc/": b"",
    "etc/fstab": f"LABEL={LABEL.decode()} / ext4 defaults 0 1\n".encode(),
    "etc/os-release": b'NAME="Sample Linux"\nPRETTY_NAME="Sample Linux 1"\nID=sample\nVERSION_ID="1"\n',
    "etc/systemd/": b"",
    "etc/systemd/network/": b"",
    "etc/systemd/network/ethernet.network": b"[Match]\nType=ether\n\n[Network]\nDHCP=yes\n",
    "lib/": b"",
    "lib/modules/": b"",
    f"lib/modules/{_RELEASE}/": b"",
    f"lib/modules/{_RELEASE}/modules.builtin": "".join(f"kernel/drivers/{one}.ko\n" for one in _DRIVERS).encode()
    + b"kernel/fs/ext4/ext4.ko\n",
    "sbin/": b"",
    "sbin/init": b"#!/bin/sh\n",
    "usr/": b"",
    "usr/bin/": b"",
    "usr/bin/cloud-init": b"#!/bin/sh\n",
    "usr/bin/growpart": b"#!/bin/sh\n",
    "usr/sbin/": b"",
    "usr/sbin/sshd": b"#!/bin/sh\n",
}


def partition_sector() -> bytes:
    """Return the first sector of the partition: code and text."""
    return (PARTITION_CODE + LINE).ljust(510, b"\0") + _SIGNATURE


def boot_record(*, size_bytes: int) -> bytes:
    """Return the first sector of the disk: the loader and a partition table with one partition."""
    count = size_bytes // SECTOR_BYTES - PARTITION_START
    # CHS value "out of range", which partitioning tools write for LBA disks.
    beyond = b"\xfe\xff\xff"
    entry = struct.pack("<B3sB3sII", ACTIVE, b"\x20\x21\x00", LINUX_TYPE, beyond, PARTITION_START, count)
    code = (BOOT_RECORD_CODE + _READ_REQUEST).ljust(440, b"\0")
    return code + DISK_ID + b"\0\0" + entry.ljust(64, b"\0") + _SIGNATURE


def write_sample_disk(path: Path, *, size_bytes: int) -> None:
    """Write the disk as a sparse file, over an existing file. The bytes are always the same.

    Raises ValueError for a size below 2 MiB, above 2 TiB, or not a multiple of 512, and OSError.
    """
    if not _is_possible(size_bytes):
        raise ValueError(f"a sample disk has 2 MiB to 2 TiB in sectors of 512 bytes, not {size_bytes} bytes")
    with path.open("wb") as file:
        for offset, sector in _sectors(size_bytes):
            file.seek(offset)
            file.write(sector)
        file.truncate(size_bytes)


def has_boot_record(path: Path, *, size_bytes: int) -> bool:
    """Return whether a file has the size and the boot record of the sample disk of that size. Raises OSError."""
    if not _has_size(path, size_bytes):
        return False
    with path.open("rb") as file:
        return file.read(SECTOR_BYTES) == _sectors(size_bytes)[0][1]


def is_sample_disk(path: Path, *, size_bytes: int) -> bool:
    """Return whether all bytes of a file are those of the sample disk of that size. Raises OSError.

    Holes of the file are not read, so that the time depends only on the data.
    """
    if not _has_size(path, size_bytes):
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


def _has_size(path: Path, size_bytes: int) -> bool:
    info = path.stat()
    return stat.S_ISREG(info.st_mode) and info.st_size == size_bytes and _is_possible(size_bytes)


def _is_possible(size_bytes: int) -> bool:
    sectors, rest = divmod(size_bytes, SECTOR_BYTES)
    return not rest and 2 * PARTITION_START <= sectors <= MAX_SECTORS + PARTITION_START


def _sectors(size_bytes: int) -> tuple[tuple[int, bytes], ...]:
    """Return the ranges of the disk that are not zero, as (offset, bytes)."""
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
    """Yield the ranges of a file that are not holes, as (offset, length), with at most CHUNK_BYTES each."""
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


def file_system(*, size_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield the ranges of a file system that are not zero, as (offset, bytes). The first 1024 bytes are not used.

    `size_bytes` is the maximum size, at least 1 MiB.
    """
    blocks = min(size_bytes // BLOCK_BYTES, MAX_BLOCKS)
    paths = ["", *_FILES]
    numbers = {path: _inode_number(index) for index, path in enumerate(paths)}
    used_blocks = _FIRST_DATA_BLOCK + len(paths)
    used_inodes = numbers[paths[-1]]
    yield _SUPERBLOCK_AT, _superblock(blocks, used_blocks=used_blocks, used_inodes=used_inodes)
    places = struct.pack("<III", _BLOCK_BITMAP, _INODE_BITMAP, _INODE_TABLE)
    directories = sum(not path or path.endswith("/") for path in paths)
    counts = struct.pack("<HHH", blocks - used_blocks, _INODES - used_inodes, directories)
    yield _GROUP_BLOCK * BLOCK_BYTES, places + counts
    yield _BLOCK_BITMAP * BLOCK_BYTES, _bitmap(used_blocks, of=blocks)
    yield _INODE_BITMAP * BLOCK_BYTES, _bitmap(used_inodes, of=_INODES)
    for index, path in enumerate(paths):
        block, number = _FIRST_DATA_BLOCK + index, numbers[path]
        content = _FILES[path] if path and not path.endswith("/") else _directory(path, numbers)
        yield _INODE_TABLE * BLOCK_BYTES + (number - 1) * _INODE_BYTES, _inode(path, len(content), block)
        yield block * BLOCK_BYTES, content


def _inode_number(index: int) -> int:
    return _FIRST_FREE_INODE + index - 1 if index else _ROOT_INODE


def _superblock(blocks: int, *, used_blocks: int, used_inodes: int) -> bytes:
    counts = (_INODES, blocks, 0, blocks - used_blocks, _INODES - used_inodes, 0)
    block_size = (2, 2)  # 1024 << 2, of blocks and of clusters
    per_group = (MAX_BLOCKS, MAX_BLOCKS, _INODES)
    fields = struct.pack("<11I", *counts, *block_size, *per_group)
    fields += struct.pack("<IIHHHHHH", 0, _WRITTEN_S, 0, 0xFFFF, 0xEF53, 1, 1, 0)  # never mounted, clean
    fields += struct.pack("<IIIIHH", _WRITTEN_S, 0, 0, 1, 0, 0)
    fields += struct.pack("<IHHIII", _FIRST_FREE_INODE, _INODE_BYTES, 0, 0, _FILE_TYPE | _EXTENTS, _LARGE_FILE)
    return fields + b"aliyun-import-fs" + LABEL.ljust(16, b"\0")


def _bitmap(used: int, *, of: int) -> bytes:
    """Return a bitmap with `of` bits, of which the first `used` are set, and with set bits as padding."""
    padding = MAX_BLOCKS - of
    return (((1 << padding) - 1) << of | (1 << used) - 1).to_bytes(BLOCK_BYTES, "little")


def _inode(path: str, size_bytes: int, block: int) -> bytes:
    is_directory = not path or path.endswith("/")
    mode = 0o40755 if is_directory else 0o100755 if "bin/" in path else 0o100644
    children = [one for one in _FILES if one.endswith("/") and _parent(one) == path]
    links = 2 + len(children) if is_directory else 1
    fields = struct.pack("<HHIIIIIHHII", mode, 0, size_bytes, *[_WRITTEN_S] * 3, 0, 0, links, 8, _EXTENTS_FLAG)
    extent = struct.pack("<HHHHI", 0xF30A, 1, 4, 0, 0) + struct.pack("<IHHI", 0, 1, 0, block)
    return (fields + bytes(4) + extent).ljust(128, b"\0") + struct.pack("<H", 32)


def _directory(path: str, numbers: dict[str, int]) -> bytes:
    names = [(".", path), ("..", _parent(path) if path else path)]
    names += [(one.rstrip("/").rpartition("/")[2], one) for one in _FILES if _parent(one) == path]
    content = b""
    for index, (name, target) in enumerate(names):
        kind = 2 if not target or target.endswith("/") else 1
        length = 8 + -(-len(name) // 4) * 4
        if index == len(names) - 1:
            length = BLOCK_BYTES - len(content)
        entry = struct.pack("<IHBB", numbers[target], length, len(name), kind) + name.encode()
        content += entry.ljust(length, b"\0")
    return content


def _parent(path: str) -> str:
    above = path.rstrip("/").rpartition("/")[0]
    return f"{above}/" if above else ""
