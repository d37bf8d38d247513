"""This file tells for which machine a program was made: PE (UEFI loaders) by its COFF header, per PE/COFF 3.3."""

import struct

from aliyun_import.disk.reader import Bad
from aliyun_import.model import Architecture

# The COFF header of every known loader lies in the first KiB; 4 KiB leave room for odd DOS stubs.
HEAD_BYTES = 4096
_MACHINES = {
    0x8664: ("x86_64", Architecture.X86_64),
    0xAA64: ("arm64", Architecture.ARM64),
    0x014C: ("i386", Architecture.I386),
    0x01C2: ("arm", None),
    0x01C4: ("arm", None),
    0x5064: ("riscv64", None),
    0x6264: ("loongarch64", None),
    0x0EBC: ("EFI byte code", None),
}


def pe_machine(head: bytes) -> tuple[str, Architecture | None]:
    """Name the machine from the first HEAD_BYTES of a PE file, and what ECS calls it (None: it has no such machines).

    Raises Bad when it is no PE file.
    """
    if head[:2] != b"MZ" or len(head) < 0x40:
        raise Bad("no PE file: it does not begin with MZ", offset=0)
    (at,) = struct.unpack_from("<I", head, 0x3C)
    if head[at : at + 4] != b"PE\0\0" or at + 6 > len(head):
        raise Bad(f"no PE file: no PE header at {at}", offset=at)
    (machine,) = struct.unpack_from("<H", head, at + 4)
    return _MACHINES.get(machine, (f"machine {machine:#06x}", None))
