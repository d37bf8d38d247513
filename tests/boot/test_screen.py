"""Tests of the screen: text mode and pictures."""

import struct
import zlib

import pytest

from aliyun_import.boot.screen import TEXT_BYTES, as_png, is_text_mode, read_text
from tests.rows import each_row


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
