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
    """A cursor movement begins a new line, so that a prompt is at the beginning of a line."""
    transcript = Transcript()
    transcript.feed(raw)
    assert transcript.text == expected
    bytewise = Transcript()
    for at in range(len(raw)):
        bytewise.feed(raw[at : at + 1])
    assert lines_of(bytewise.text) == lines_of(expected)


def test_endless_output_does_not_fill_the_memory() -> None:
    """The last part is kept. An escape sequence without an end is bounded, too."""
    transcript = Transcript()
    for _ in range(20):
        transcript.feed(b"x" * (MAX_CHARS // 10))
    transcript.feed(b"\x1b]" + b"y" * 1000)
    transcript.feed(b"\n end")
    assert len(transcript.text) <= MAX_CHARS
    assert transcript.last_line == "end"


def test_a_restart_discards_the_text() -> None:
    """Output before a restart has no effect on the verdict afterwards."""
    transcript = Transcript()
    transcript.feed(b"Kernel panic\n\x1b[")
    transcript.restart()
    transcript.feed(b"login: ")
    assert transcript.text == "login: "


def test_the_tail_has_the_line_of_the_sign() -> None:
    """The evidence has the line that decided, also if many lines follow."""
    text = "panic here\n" + "\n".join(f"line {number}" for number in range(50))
    last = [f"line {number}" for number in range(38, 50)]
    assert tail(text, containing="panic") == ("panic here", *last[1:])
    assert tail(text, containing="") == tail(text, containing="line 40") == tuple(last)
    assert tail("", containing="panic") == ()


def test_a_screen_in_text_mode_is_read() -> None:
    """Each character is followed by its attribute; a line has 80 characters."""
    line = b"disk login: ".ljust(80)
    memory = b"".join(bytes((one, 0x07)) for one in (b" " * 80 + line + b"\0" * 80)).ljust(TEXT_BYTES, b"\0")
    assert read_text(memory) == "\ndisk login:\n"


def test_text_mode_is_detected_by_its_size() -> None:
    """720 x 400 is text mode; another size is graphics."""
    assert is_text_mode(b"P6\n720 400\n255\n" + bytes(720 * 400 * 3))
    assert not is_text_mode(b"P6\n1024 768\n255\n" + bytes(1024 * 768 * 3))
    assert not is_text_mode(b"")


def test_an_image_is_converted_to_png() -> None:
    """Row by row, with the same pixels."""
    pixels = bytes(range(18))
    png = as_png(b"P6\n3 2\n255\n" + pixels)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png[16:24]) == (3, 2)
    data_at = png.index(b"IDAT")
    (length,) = struct.unpack(">I", png[data_at - 4 : data_at])
    assert zlib.decompress(png[data_at + 4 : data_at + 4 + length]) == b"\0" + pixels[:9] + b"\0" + pixels[9:]


@each_row("picture", [b"", b"P6\n3 2\n255\n", b"P5\n3 2\n255\n" + bytes(18), b"P6\nx y\n255\n", b"P6 3 2"])
def test_an_invalid_image_is_refused(picture: bytes) -> None:
    """A truncated dump is not written as an image."""
    with pytest.raises(ValueError, match="picture"):
        as_png(picture)
