"""Tiny guests that print a text: a boot record, which also overwrites a sector of its disk, and UEFI programs."""

import struct
from pathlib import Path

from tests.disk import build

MIB = 1024 * 1024
# Assembled from print-text.asm.
_CODE = bytes.fromhex(
    "31c08ed88ec08ed0bc007cb80103bb007cb90200b600cd13721abe377cac84c0741288c4bafd03eca82074fb88e0baf803eeebe9f4ebfd"
)


def boot_record(text: str) -> bytes:
    """Return a boot record that prints a text. It has an active partition, so that BIOS starts it."""
    code = (_CODE + text.encode() + b"\0").ljust(446, b"\0")
    assert len(code) == 446
    entry = bytes((0x80, 0x20, 0x21, 0, 0x83, 0xFE, 0xFF, 0xFF)) + (2048).to_bytes(4, "little") + bytes((0, 8, 0, 0))
    return code + entry.ljust(64, b"\0") + b"\x55\xaa"


def write_guest(path: Path, text: str) -> Path:
    """Write a disk of 8 MiB with a guest that prints a text by BIOS."""
    with path.open("wb") as file:
        file.write(boot_record(text))
        file.truncate(8 * MIB)
    return path


# Assembled from print-text-uefi.asm (x86_64) and print-text-uefi.s (arm64). The text follows the code.
_UEFI_CODE = {
    build.X86_64: bytes.fromhex("4883ec28488b4a40488d1506000000ff5108f4ebfd"),
    build.ARM64: bytes.fromhex("f4000010202040f9080440f9e10314aa00013fd67f2003d5ffffff17"),
}
_LOADERS = {build.X86_64: "EFI/BOOT/BOOTX64.EFI", build.ARM64: "EFI/BOOT/BOOTAA64.EFI"}
# The program has one section of one page.
_HEADERS_BYTES, _PAGE_BYTES = 0x400, 0x1000


def uefi_program(text: str, machine: int) -> bytes:
    """Return a UEFI program that prints a text. The format is described in Microsoft's "PE Format"."""
    code = (_UEFI_CODE[machine] + text.encode("utf-16-le") + bytes(2)).ljust(_PAGE_BYTES, b"\0")
    assert len(code) == _PAGE_BYTES
    head = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40)
    coff = b"PE\0\0" + struct.pack("<HHIIIHH", machine, 1, 0, 0, 0, 0xF0, 0x22E)
    optional = struct.pack("<HBBIIIII", 0x20B, 0, 0, _PAGE_BYTES, 0, 0, _PAGE_BYTES, _PAGE_BYTES)
    optional += struct.pack("<QII", 0, _PAGE_BYTES, 0x200) + bytes(16)
    optional += struct.pack("<IIIHH", 2 * _PAGE_BYTES, _HEADERS_BYTES, 0, 10, 0) + bytes(36)
    optional += struct.pack("<I", 16) + bytes(128)
    section = struct.pack(
        "<8sIIIIIIHHI", b".text", _PAGE_BYTES, _PAGE_BYTES, _PAGE_BYTES, _HEADERS_BYTES, 0, 0, 0, 0, 0x60000020
    )
    return (head + coff + optional[:0xF0].ljust(0xF0, b"\0") + section).ljust(_HEADERS_BYTES, b"\0") + code


def write_uefi_guest(path: Path, text: str, *, machine: int = build.X86_64, loader: str = "") -> Path:
    """Write a disk of 8 MiB with a guest that prints a text by UEFI."""
    disk = build.uefi_disk(8 * MIB, machine=machine, path=loader or _LOADERS[machine])
    build.write_at(disk, MIB, build.fat({loader or _LOADERS[machine]: uefi_program(text, machine)}))
    path.write_bytes(disk)
    return path
