"""Tests of the checks of QCOW2."""

import random
import struct
from pathlib import Path

import pytest

from aliyun_import.disk.containers import qcow2
from aliyun_import.disk.containers.interface import OpenedContainer
from aliyun_import.disk.containers.registry import open_container
from aliyun_import.disk.reader import BytesReader
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskFormat
from tests.disk import build
from tests.disk.build import MIB
from tests.rows import each_row

DISK = b"data" * 50_000 + bytes(MIB)


def _open(image: bytes | bytearray) -> OpenedContainer:
    return open_container(BytesReader(bytes(image)), Path("disk.qcow2"))


def _with(at: int, form: str, *values: object) -> bytearray:
    image = build.qcow2(DISK)
    struct.pack_into(form, image, at, *values)
    return image


@pytest.mark.parametrize("compression", ["", "zlib", "zstd"])
def test_an_intact_qcow2_has_no_problems_and_reads_back(compression: str) -> None:
    """The disk that is read is the disk that was written."""
    opened = _open(build.qcow2(DISK, compression=compression))
    warned = ["qcow2-zstd"] if compression == "zstd" else []  # not in the documents of the service
    assert (opened.format, build.codes(opened.problems), opened.unknowns) == (DiskFormat.QCOW2, warned, ())
    assert opened.disk is not None
    assert (opened.virtual_bytes, opened.disk.pread(0, MIB)) == (len(DISK), DISK[:MIB])


@each_row(
    ("image", "code", "severity"),
    [
        (_with(8, ">QI", 600, 4), "qcow2-backing-file", Severity.BLOCKS),
        (_with(72, ">Q", 4), "qcow2-external-data", Severity.BLOCKS),
        (_with(32, ">I", 2), "qcow2-encrypted", Severity.BLOCKS),
        (_with(72, ">Q", 2), "qcow2-corrupt", Severity.BLOCKS),
        (_with(72, ">Q", 1), "qcow2-dirty", Severity.WARNS),
        (_with(72, ">Q", 16), "qcow2-extended-l2", Severity.WARNS),
        (_with(72, ">Q", 1 << 20), "qcow2-unknown-feature", Severity.WARNS),
        (_with(60, ">I", 3), "qcow2-snapshots", Severity.NOTE),
        (_with(36, ">I", 0), "qcow2-damaged", Severity.BLOCKS),
        (_with(20, ">I", 40), "qcow2-damaged", Severity.BLOCKS),
    ],
)
def test_each_fault_has_its_own_code(image: bytearray, code: str, severity: Severity) -> None:
    """A fault in the header has exactly one problem, with a remedy."""
    (problem,) = _open(image).problems
    assert (problem.code, problem.severity) == (code, severity)
    assert problem.remedy


@pytest.mark.parametrize("image", [_with(8, ">QI", 600, 4), _with(72, ">Q", 4), _with(72, ">Q", 1 << 20)])
def test_an_incomplete_or_unknown_image_is_not_read(image: bytearray) -> None:
    """A disk with zeros in place of another file's data would pass the checks and be wrong."""
    opened = _open(image)
    assert opened.disk is None
    assert opened.unknowns


@pytest.mark.parametrize("compression", ["", "zlib"])
def test_a_truncated_file_is_found(compression: str) -> None:
    """The last cluster of a table is beyond the end of the file."""
    image = build.qcow2(DISK, compression=compression)
    cut = image[: len(image) - 2 * 65536] if not compression else image[: 3 * 65536 + 10]
    opened = _open(cut)
    assert build.codes(opened.problems) == ["qcow2-truncated"]
    assert str(len(cut)) in opened.problems[0].message


def test_a_truncated_header_is_damage() -> None:
    """A magic number without a header is not an image."""
    assert build.codes(_open(b"QFI\xfb" + bytes(20)).problems) == ["qcow2-damaged"]


@pytest.mark.parametrize("compression", ["", "zlib"])
def test_of_too_many_tables_the_last_ones_are_checked(compression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files grow at their end, so the last tables show whether a file is truncated."""
    disk = random.Random(3).randbytes(200_000)
    image = build.qcow2(disk, cluster_bits=9, compression=compression)
    monkeypatch.setattr(qcow2, "_MAX_TABLES_BYTES", 1024)
    assert build.codes(_open(image).problems) == []
    assert build.codes(_open(image[:-4096]).problems) == ["qcow2-truncated"]
