"""Screen of a guest: its text while the display adapter is in text mode, and pictures."""

import re
import struct
import zlib

# The colour text mode of VGA: 80 columns, 25 lines, two bytes a character, at a fixed physical address.
TEXT_ADDRESS, TEXT_BYTES = 0xB8000, 80 * 25 * 2
_COLUMNS = 80
# A text mode of 80 x 25 characters in cells of 9 x 16 pixels; no graphics mode has this size.
_TEXT_MODE_PIXELS = (720, 400)


def read_text(memory: bytes) -> str:
    """Return the lines of a screen in text mode from its memory."""
    characters = memory[:TEXT_BYTES:2].replace(b"\0", b" ").decode("cp437")
    lines = (characters[at : at + _COLUMNS].rstrip() for at in range(0, len(characters), _COLUMNS))
    return "\n".join(lines).rstrip("\n") + "\n"


def is_text_mode(picture: bytes) -> bool:
    """Return whether a picture, as PPM, is one of a screen in text mode."""
    return _header(picture)[:2] == _TEXT_MODE_PIXELS


def as_png(picture: bytes) -> bytes:
    """Return a picture, as PPM, as PNG. QEMU writes PNG itself from version 7.1 on. Raises ValueError."""
    width, height, start = _header(picture)
    row = 3 * width
    if not width or len(picture) - start < row * height:
        raise ValueError("not a whole picture")
    rows = b"".join(b"\0" + picture[start + row * y : start + row * (y + 1)] for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _header(picture: bytes) -> tuple[int, int, int]:
    """Return width, height and the offset of the pixels; zeros for anything but a binary PPM of 8 bits."""
    found = re.match(rb"P6\s(\d{1,5})\s(\d{1,5})\s255\s", picture)
    return (int(found[1]), int(found[2]), found.end()) if found else (0, 0, 0)
