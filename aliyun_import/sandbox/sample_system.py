"""File system of the sample disk: ext4 with what an inspection of a Linux system reads, and no program that runs.

One block group of at most 128 MiB at the start of the partition. Each file and each directory is one block. Layout:
"ext4 Data Structures and Algorithms" of the kernel's documentation.
"""

import struct
from collections.abc import Iterator

BLOCK_BYTES = 4096
MOST_BLOCKS = 8 * BLOCK_BYTES  # as many as the bits of one bitmap
LABEL = b"sample"

_SUPERBLOCK_AT = 1024
_GROUP_BLOCK, _BLOCK_BITMAP, _INODE_BITMAP, _INODE_TABLE = 1, 2, 3, 4
_INODES = 2048
_INODE_BYTES = 256
_FIRST_DATA_BLOCK = _INODE_TABLE + _INODES * _INODE_BYTES // BLOCK_BYTES
_ROOT_INODE, _FIRST_FREE_INODE = 2, 11
_WRITTEN_S = 1767225600  # 2026-01-01; fixed, because the disk is the same every time
_FILE_TYPE, _EXTENTS, _LARGE_FILE = 0x2, 0x40, 0x2
_EXTENTS_FLAG = 0x80000
_RELEASE = "6.1.0-sample"
# The header of a kernel for the PC (boot protocol 2.15), with its version; no code follows its three further sectors.
_KERNEL = bytes(0x1F1) + b"\x03".ljust(0xD, b"\0") + b"\x55\xaa\0\0HdrS" + struct.pack("<H6xH", 0x20F, 0x600)
_KERNEL = _KERNEL.ljust(0x800, b"\0") + f"{_RELEASE} (sample) #1\0".encode()
_DRIVERS = ("block/virtio_blk", "virtio/virtio_pci", "net/virtio_net", "nvme/host/nvme-core", "nvme/host/nvme")

# In this order, which is that of the inodes. A path that ends in a slash is a directory.
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


def file_system(*, size_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield what is not zero of a file system of at most that size, as (offset, bytes); the first 1024 bytes are free.

    The size is at least 1 MiB.
    """
    blocks = min(size_bytes // BLOCK_BYTES, MOST_BLOCKS)
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
    per_group = (MOST_BLOCKS, MOST_BLOCKS, _INODES)
    fields = struct.pack("<11I", *counts, *block_size, *per_group)
    fields += struct.pack("<IIHHHHHH", 0, _WRITTEN_S, 0, 0xFFFF, 0xEF53, 1, 1, 0)  # never mounted, clean
    fields += struct.pack("<IIIIHH", _WRITTEN_S, 0, 0, 1, 0, 0)
    fields += struct.pack("<IHHIII", _FIRST_FREE_INODE, _INODE_BYTES, 0, 0, _FILE_TYPE | _EXTENTS, _LARGE_FILE)
    return fields + b"aliyun-import-fs" + LABEL.ljust(16, b"\0")


def _bitmap(used: int, *, of: int) -> bytes:
    """Return a bitmap with its first bits set, and those behind the last, which stand for nothing."""
    behind = MOST_BLOCKS - of
    return (((1 << behind) - 1) << of | (1 << used) - 1).to_bytes(BLOCK_BYTES, "little")


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
