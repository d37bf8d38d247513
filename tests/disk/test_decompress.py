"""Tests of the streaming decompression of disks."""

import bz2
import gzip
import lzma
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from aliyun_import.disk.containers.compressed import unpacked_file
from aliyun_import.disk.containers.registry import format_named
from aliyun_import.disk.decompress import STEP_BYTES
from aliyun_import.disk.reader import Bad, Unsupported
from tests.rows import each_row

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DATA = b"".join(b"%09d\n" % number for number in range(40_000))
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": partial(lzma.compress, preset=0),
    "zstd": zstd.compress,
}


def _unpack(folder: Path, packed: bytes, container: str) -> bytes:
    path = folder / "packed"
    path.write_bytes(packed)
    return b"".join(unpacked_file(path, format_named(container)))


@each_row("container", PACKERS)
def test_unpacked_data_is_the_original(tmp_path: Path, container: str) -> None:
    """One stream, and two concatenated ones as parallel compressors write them, are unpacked."""
    pack = PACKERS[container]
    assert _unpack(tmp_path, pack(DATA), container) == DATA
    assert _unpack(tmp_path, pack(DATA[:10]) + pack(DATA[10:]), container) == DATA


@each_row("container", PACKERS)
def test_a_decompression_bomb_is_returned_in_bounded_pieces(tmp_path: Path, container: str) -> None:
    """No piece is larger than STEP_BYTES."""
    path = tmp_path / "packed"
    path.write_bytes(PACKERS[container](bytes(3 * STEP_BYTES)))
    sizes = [len(piece) for piece in unpacked_file(path, format_named(container))]
    assert sum(sizes) == 3 * STEP_BYTES
    assert max(sizes) <= STEP_BYTES


@each_row("container", PACKERS)
@each_row("keep", [0.5, 0.999])
def test_truncated_data_raises_bad(tmp_path: Path, container: str, keep: float) -> None:
    """An incomplete disk must not be imported."""
    packed = PACKERS[container](DATA)
    with pytest.raises(Bad):
        _unpack(tmp_path, packed[: int(len(packed) * keep)], container)


@each_row("container", PACKERS)
def test_damaged_data_raises_bad(tmp_path: Path, container: str) -> None:
    """The checksum of each format is verified."""
    packed = bytearray(PACKERS[container](DATA))
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(Bad):
        _unpack(tmp_path, bytes(packed), container)


def test_padding_after_the_last_stream_is_ignored(tmp_path: Path) -> None:
    """Files from tapes and block devices are padded with zeros."""
    assert _unpack(tmp_path, gzip.compress(DATA) + bytes(1000), "gzip") == DATA


def _zip(folder: Path, members: dict[str, bytes]) -> bytes:
    path = folder / "archive"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path.read_bytes()


@pytest.mark.parametrize("members", [{"disk": DATA}, {"README": b"hello", "../disk.vmdk": DATA}])
def test_the_only_disk_in_a_zip_is_unpacked(tmp_path: Path, members: dict[str, bytes]) -> None:
    """It is the only member, or the only one with the suffix of a disk; its path is ignored."""
    assert _unpack(tmp_path, _zip(tmp_path, members), "zip") == DATA


@pytest.mark.parametrize("members", [{}, {"a.raw": DATA, "b.raw": DATA}, {"a.txt": b"a", "b.txt": b"b"}])
def test_a_zip_with_no_or_several_disks_is_unsupported(tmp_path: Path, members: dict[str, bytes]) -> None:
    """The disk is not guessed."""
    with pytest.raises(Unsupported):
        _unpack(tmp_path, _zip(tmp_path, members), "zip")


def test_a_damaged_zip_raises_bad(tmp_path: Path) -> None:
    """The directory at its end is missing."""
    packed = _zip(tmp_path, {"disk": DATA})
    with pytest.raises(Bad):
        _unpack(tmp_path, packed[:-100], "zip")
