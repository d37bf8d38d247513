"""Small disks that pass the checks: an MBR with boot code, an active partition, and some data."""

import random
import struct
from pathlib import Path

MIB = 1 << 20
SECTOR = 512


def write_disk(path: Path, *, size_bytes: int = 8 * MIB, data_at: tuple[int, ...] = (1, 5), seed: int = 1) -> Path:
    """Write a sparse RAW disk with 512 KiB of random data at each of `data_at` (in MiB)."""
    noise = random.Random(seed)
    entry = struct.pack("<B3sB3sII", 0x80, b"\0\0\0", 0x83, b"\0\0\0", 2048, size_bytes // SECTOR - 2048)
    # cli; hlt; jmp $-2: the check wants boot code, and none of the tests runs it.
    record = b"\xfa\xf4\xeb\xfd".ljust(446, b"\x90") + entry.ljust(64, b"\0") + b"\x55\xaa"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size_bytes)
        file.write(record)
        for start in data_at:
            file.seek(start * MIB)
            file.write(noise.randbytes(512 << 10))
        # The check also reads this signature in the first sector of the active partition.
        file.seek(2048 * SECTOR + 510)
        file.write(b"\x55\xaa")
    return path
