"""Tests of the blob store: stored bytes, zeros, and the removal of files."""

import gc
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aliyun_import.sandbox.core.blob_store import BLOCK_BYTES, BlobStore, Content, Segment, crc64_update
from aliyun_import.sandbox.core.records import Table

runs = st.lists(
    st.tuples(st.integers(1, 3 * BLOCK_BYTES), st.sampled_from([b"\0", b"a", b"z"])).map(lambda run: run[1] * run[0]),
    max_size=6,
)


def _chunks(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@given(runs, st.integers(1000, 20000), st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_stored_bytes_are_read_back(tmp_path: Path, pieces: list[bytes], chunk: int, draw: st.DataObject) -> None:
    """Bytes, ranges, joins, checksums and data extents of a stored content are those of the bytes sent."""
    data = b"".join(pieces)
    received = BlobStore(tmp_path, files=Table()).receive(_chunks(data, chunk))
    assert (received.crc64, received.md5) == (crc64_update(data), hashlib.md5(data).digest())
    offset = draw.draw(st.integers(0, len(data)))
    length = draw.draw(st.integers(0, len(data) - offset))
    cut = received.content.cut(offset, length)
    joined = Content.joined([cut, Content([Segment(None, 0, 777)]), received.content])
    expected = data[offset : offset + length] + bytes(777) + data
    assert joined.size == len(expected)
    assert joined.pread(0, joined.size) == b"".join(joined.chunks(0, joined.size)) == expected
    assert joined.crc64 == crc64_update(expected)
    restored = bytearray(len(expected))
    previous_end = -1
    for start, size in joined.data_extents():
        assert start > previous_end
        previous_end = start + size
        restored[start:previous_end] = expected[start:previous_end]
    assert restored == expected


def test_zeros_use_no_space(tmp_path: Path) -> None:
    """64 MiB of zeros create no file; zeros with some data use a block or two."""
    blobs, chunk = BlobStore(tmp_path, files=Table()), bytes(1 << 20)
    received = blobs.receive(chunk for _ in range(64))
    assert list(tmp_path.iterdir()) == []
    assert list(received.content.data_extents()) == []
    received = blobs.receive([chunk, b"\0" * 5000 + b"data", chunk])
    assert list(received.content.data_extents()) == [(len(chunk) + BLOCK_BYTES, 5004 - BLOCK_BYTES)]
    assert sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir()) <= 16 * BLOCK_BYTES


def test_a_file_is_removed_with_the_last_content_that_uses_it(tmp_path: Path) -> None:
    """The file of a part is removed with the last object that has a range of it."""
    content = BlobStore(tmp_path, files=Table()).receive([os.urandom(9000)]).content
    cut = content.cut(100, 50)
    expected = content.pread(100, 50)
    del content
    gc.collect()
    assert cut.pread(0, 50) == expected
    del cut
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_upload_leaves_no_file(tmp_path: Path) -> None:
    """When the stream of bytes fails, the file is removed."""

    def broken() -> Iterator[bytes]:
        yield b"x" * 5000
        raise ConnectionError("closed")

    with pytest.raises(ConnectionError):
        BlobStore(tmp_path, files=Table()).receive(broken())
    assert list(tmp_path.iterdir()) == []


def test_the_directory_of_objects_is_private(tmp_path: Path) -> None:
    """This holds also for an existing directory with other permissions."""
    (tmp_path / "objects").mkdir(mode=0o755)
    BlobStore(tmp_path / "objects", files=Table())
    assert (tmp_path / "objects").stat().st_mode & 0o777 == 0o700
