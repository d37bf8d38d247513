"""Tiny guests: a boot record that overwrites a sector of its disk, and writes a text to the serial port."""

from pathlib import Path

MIB = 1024 * 1024
# Assembled from says.asm in this folder.
_CODE = bytes.fromhex(
    "31c08ed88ec08ed0bc007cb80103bb007cb90200b600cd13721abe377cac84c0741288c4bafd03eca82074fb88e0baf803eeebe9f4ebfd"
)


def boot_record(text: str) -> bytes:
    """Return a boot record that writes a text; an active partition makes it one that BIOS starts."""
    code = (_CODE + text.encode() + b"\0").ljust(446, b"\0")
    assert len(code) == 446
    entry = bytes((0x80, 0x20, 0x21, 0, 0x83, 0xFE, 0xFF, 0xFF)) + (2048).to_bytes(4, "little") + bytes((0, 8, 0, 0))
    return code + entry.ljust(64, b"\0") + b"\x55\xaa"


def write_guest(path: Path, text: str) -> Path:
    """Write the disk of a guest that writes a text, with 8 MiB."""
    with path.open("wb") as file:
        file.write(boot_record(text))
        file.truncate(8 * MIB)
    return path
