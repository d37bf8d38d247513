"""Tests of the output of a guest: its text and its screen."""

import struct
import zlib

import pytest

from aliyun_import.boot.output import MAX_CHARS, TEXT_BYTES, Transcript, as_png, is_text_mode, lines_of, read_text, tail
from tests.rows import each_row


@each_row(
    ("raw", "expected"),
    [
        (b"[\x1b[0;32m  OK  \x1b[0m] Reached\r\n", "[  OK  ] Reached\n"),
        (b"\x1b[05;02Hmenu\x1b[23;01Hgrub> ", "\nmenu\ngrub> "),
        (b"\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS\r\n", "\n\nSeaBIOS\n"),
        (b"\x1b]0;title\x07shell# ", "shell# "),
        (b"caf\xc3\xa9 \xff\n", "café \ufffd\n"),
        (b"a\x00b\x07c\n", "abc\n"),
        ("for device \x1b[0;1;…9999-cccc.\n".encode(), "for device …9999-cccc.\n"),
    ],
)
def test_escape_sequences_are_removed(raw: bytes, expected: str) -> None:
    """Colours vanish; a moved cursor begins another line, so that a prompt stands at the beginning of one."""
    transcript = Transcript()
    transcript.feed(raw)
    assert transcript.text == expected
    bytewise = Transcript()
    for at in range(len(raw)):
        bytewise.feed(raw[at : at + 1])
    assert lines_of(bytewise.text) == lines_of(expected)


def test_a_guest_that_writes_without_end_fills_no_memory() -> None:
    """The last part is kept, also of an escape sequence that never ends."""
    transcript = Transcript()
    for _ in range(20):
        transcript.feed(b"x" * (MAX_CHARS // 10))
    transcript.feed(b"\x1b]" + b"y" * 1000)
    transcript.feed(b"\n end")
    assert len(transcript.text) <= MAX_CHARS
    assert transcript.last_line == "end"


def test_a_restart_discards_the_text() -> None:
    """What was written before a restart decides nothing afterwards."""
    transcript = Transcript()
    transcript.feed(b"Kernel panic\n\x1b[")
    transcript.restart()
    transcript.feed(b"login: ")
    assert transcript.text == "login: "


def test_the_tail_has_the_line_of_the_sign() -> None:
    """The line that decided is among the evidence, however much follows it."""
    text = "panic here\n" + "\n".join(f"line {number}" for number in range(50))
    last = [f"line {number}" for number in range(38, 50)]
    assert tail(text, containing="panic") == ("panic here", *last[1:])
    assert tail(text, containing="") == tail(text, containing="line 40") == tuple(last)
    assert tail("", containing="panic") == ()


def test_the_text_of_a_screen_in_text_mode() -> None:
    """Each character has an attribute beside it; lines have 80 characters."""
    line = b"disk login: ".ljust(80)
    memory = b"".join(bytes((one, 0x07)) for one in (b" " * 80 + line + b"\0" * 80)).ljust(TEXT_BYTES, b"\0")
    assert read_text(memory) == "\ndisk login:\n"


def test_only_the_size_of_a_text_mode_is_one() -> None:
    """720 x 400 is a text mode; any other size is graphics."""
    assert is_text_mode(b"P6\n720 400\n255\n" + bytes(720 * 400 * 3))
    assert not is_text_mode(b"P6\n1024 768\n255\n" + bytes(1024 * 768 * 3))
    assert not is_text_mode(b"")


def test_a_picture_becomes_a_png() -> None:
    """The pixels are those of the picture, row by row."""
    pixels = bytes(range(18))
    png = as_png(b"P6\n3 2\n255\n" + pixels)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png[16:24]) == (3, 2)
    data_at = png.index(b"IDAT")
    (length,) = struct.unpack(">I", png[data_at - 4 : data_at])
    assert zlib.decompress(png[data_at + 4 : data_at + 4 + length]) == b"\0" + pixels[:9] + b"\0" + pixels[9:]


@each_row("picture", [b"", b"P6\n3 2\n255\n", b"P5\n3 2\n255\n" + bytes(18), b"P6\nx y\n255\n", b"P6 3 2"])
def test_what_is_no_picture_is_refused(picture: bytes) -> None:
    """A dump that was cut short is never written as a picture."""
    with pytest.raises(ValueError, match="picture"):
        as_png(picture)
