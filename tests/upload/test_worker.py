"""Tests of the body of a part: its bytes, its memory, and its CRC-64."""

import os
import threading
from pathlib import Path

import pytest

from aliyun_import.context import Context
from aliyun_import.disk.disk import Disk, open_disk
from aliyun_import.errors import DiskError, Interrupted
from aliyun_import.upload.crc64 import crc64
from aliyun_import.upload.transfer.worker import RangeBody, crc64_of_range
from tests.clocks import SteeredClock

CONTENT = os.urandom(1_000_000)


def body_of(source: Disk, *, start: int, length: int, chunks: list[int], cancel: threading.Event) -> RangeBody:
    """Return a body with a buffer of 64 KiB, which stops when the run is cancelled."""
    context = Context(clock=SteeredClock(), cancel=cancel)

    def on_chunk(count: int) -> None:
        context.check_cancelled()
        chunks.append(count)

    return RangeBody(source, memoryview(bytearray(65_536)), start=start, length=length, on_chunk=on_chunk)


def test_a_body_yields_its_range_and_computes_its_crc(tmp_path: Path) -> None:
    """It may be iterated again, as a retry does; no chunk is longer than the buffer."""
    (tmp_path / "disk").write_bytes(CONTENT)
    chunks: list[int] = []
    with open_disk(tmp_path / "disk") as source:
        body = body_of(source, start=1234, length=500_000, cancel=threading.Event(), chunks=chunks)
        assert len(body) == 500_000
        assert body.crc64 is None
        for _ in range(2):
            assert b"".join(bytes(chunk) for chunk in body) == CONTENT[1234:501_234]
            assert body.crc64 == crc64(CONTENT[1234:501_234])
        assert max(chunks) == 65_536
        assert sum(chunks) == 2 * 500_000


def test_a_body_that_was_not_read_to_its_end_has_no_crc(tmp_path: Path) -> None:
    """A part that was answered before all of it was sent is not proven."""
    (tmp_path / "disk").write_bytes(CONTENT)
    with open_disk(tmp_path / "disk") as source:
        body = body_of(source, start=0, length=500_000, cancel=threading.Event(), chunks=[])
        next(iter(body))
        assert body.crc64 is None


def test_a_cancelled_body_ends_at_the_next_chunk(tmp_path: Path) -> None:
    """A part of 64 MiB on a slow network does not delay the end of the run."""
    (tmp_path / "disk").write_bytes(CONTENT)
    cancel = threading.Event()
    chunks: list[int] = []
    with open_disk(tmp_path / "disk") as source:
        reading = iter(body_of(source, start=0, length=500_000, cancel=cancel, chunks=chunks))
        next(reading)
        cancel.set()
        with pytest.raises(Interrupted):
            next(reading)
    assert len(chunks) == 1


def test_a_read_error_has_its_offset(tmp_path: Path) -> None:
    """It is raised unchanged."""
    (tmp_path / "disk").write_bytes(CONTENT)
    with open_disk(tmp_path / "disk") as source, pytest.raises(DiskError) as raised:
        crc64_of_range(source, start=900_000, length=200_000, on_chunk=lambda _: None)
    assert raised.value.details["offset"] == "1000000"
