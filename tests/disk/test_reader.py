"""Tests of the basic readers: bytes, files and windows."""

import os
from pathlib import Path

import pytest

from aliyun_import.disk.reader import MAX_READ_BYTES, Bad, BytesReader, FileReader, Window, read_exactly
from tests.rows import each_row


def test_a_file_reads_short_only_at_its_end(tmp_path: Path) -> None:
    """A read across the end is short; a read past the end is empty."""
    path = tmp_path / "disk"
    path.write_bytes(b"0123456789")
    with FileReader(path) as reader:
        assert reader.size == 10
        assert reader.pread(2, 3) == b"234"
        assert reader.pread(8, 5) == b"89"
        assert reader.pread(20, 5) == b""


def test_a_file_that_shrank_reads_short(tmp_path: Path) -> None:
    """The size is that at opening, and reading the missing part exactly raises Bad."""
    path = tmp_path / "disk"
    path.write_bytes(bytes(100))
    with FileReader(path) as reader:
        os.truncate(path, 10)
        with pytest.raises(Bad):
            read_exactly(reader, 0, 100)


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1), (0, MAX_READ_BYTES + 1)])
def test_an_invalid_range_raises_bad(offset: int, length: int) -> None:
    """Numbers of a damaged table are refused before memory is allocated."""
    with pytest.raises(Bad):
        BytesReader(b"abc").pread(offset, length)


def test_a_window_is_limited_to_its_range() -> None:
    """Offsets are relative to the start of the window, and reads end at its end."""
    window = Window(BytesReader(b"0123456789"), start=2, size=4)
    assert window.size == 4
    assert window.pread(1, 10) == b"345"
    assert window.pread(4, 1) == b""


def test_a_window_may_reach_past_the_end_but_not_begin_there() -> None:
    """A partition of a truncated disk reads short; one past the end raises Bad."""
    assert Window(BytesReader(b"0123"), start=2, size=100).pread(0, 100) == b"23"
    with pytest.raises(Bad):
        Window(BytesReader(b"0123"), start=5, size=1)


@each_row("offset", [3, 1 << 62, 1 << 64, 1 << 109])
def test_a_read_past_the_end_is_empty(tmp_path: Path, offset: int) -> None:
    """Offsets of a damaged table may exceed what the system supports."""
    path = tmp_path / "disk"
    path.write_bytes(b"abc")
    with FileReader(path) as reader:
        assert reader.pread(offset, 10) == b""
