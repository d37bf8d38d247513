"""Output of a guest: lines of its console and of its screen in text mode, and pictures of its screen."""

import codecs
import re
import struct
import zlib

# Bounds the memory for a guest that never stops writing; a boot writes some 100 KiB.
MAX_CHARS = 1024 * 1024
EVIDENCE_LINES = 12
# The cursor moves to another line: position, up, down, next line, previous line, clear screen.
_NEW_LINE = re.compile(r"\x1b\[[0-9;]*[ABEFHJf]|\x1bc")
# The last alternative: systemd cuts a line in the middle of a sequence.
_ESCAPE = re.compile(
    r"\x1b(?:\[[0-9;?=!>]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()#][0-9A-Za-z]|[=>78DEHMNOZ]|\[[0-9;]*)"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-9;?=!>]*|\][^\x07\x1b]*|[()#])?\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SPACES = re.compile(r"[ \t]{8,}")

# The colour text mode of VGA: 80 columns, 25 lines, two bytes a character, at a fixed physical address.
TEXT_ADDRESS, TEXT_BYTES = 0xB8000, 80 * 25 * 2
_COLUMNS = 80
# A text mode of 80 x 25 characters in cells of 9 x 16 pixels; no graphics mode has this size.
_TEXT_MODE_PIXELS = (720, 400)


class Transcript:
    """Text that a guest wrote since its last restart, without escape sequences."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._text = ""
        self._pending = ""

    @property
    def text(self) -> str:
        """The text: lines that end with a line feed, and the last one."""
        return self._text

    @property
    def last_line(self) -> str:
        """The last line that is not empty, or an empty text."""
        return next(reversed(lines_of(self._text[-4096:])), "")

    def feed(self, data: bytes) -> None:
        """Add what the guest wrote."""
        raw = self._pending + self._decode(data)
        unfinished = _UNFINISHED.search(raw)
        # A longer text is not an escape sequence.
        self._pending = unfinished[0] if unfinished and len(unfinished[0]) < 256 else ""
        raw = raw[: len(raw) - len(self._pending)]
        self._text = (self._text + plain(raw))[-MAX_CHARS:]

    def restart(self) -> None:
        """Discard the text: the guest restarts."""
        self._text, self._pending = "", ""


def plain(raw: str) -> str:
    """Return a text without escape sequences and control characters; a moved cursor begins another line."""
    text = _ESCAPE.sub("", _NEW_LINE.sub("\n", raw))
    return _SPACES.sub("  ", _CONTROL.sub("", text.replace("\r\n", "\n")))


def lines_of(text: str) -> list[str]:
    """Return the lines that are not empty."""
    return [line.strip() for line in text.split("\n") if line.strip()]


def tail(text: str, *, containing: str) -> tuple[str, ...]:
    """Return the last lines of a text; the last line `containing` a text replaces the first if it is before them."""
    lines = lines_of(text)
    last = lines[-EVIDENCE_LINES:]
    if containing and not any(containing in line for line in last):
        found = next((line for line in reversed(lines) if containing in line), None)
        if found is not None:
            return (found, *last[1:])
    return tuple(last)


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
