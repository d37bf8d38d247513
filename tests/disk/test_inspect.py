"""Tests of the inspection of a disk."""

import dataclasses
from pathlib import Path

import pytest

from aliyun_import.disk.disk import open_disk
from aliyun_import.disk.inspect import inspect_disk, inspect_opened
from aliyun_import.disk.isolated import Limits
from aliyun_import.disk.report import DiskReport, TableKind
from aliyun_import.errors import DiskChanged, DiskError
from aliyun_import.limits import GIB
from aliyun_import.model.request import Architecture, DiskFormat
from tests.disk import build
from tests.rows import each_row

DISK = bytes(build.uefi_disk())


def _inspect(folder: Path, data: bytes | bytearray, name: str = "disk.img") -> DiskReport:
    path = folder / name
    path.write_bytes(data)
    return inspect_disk(path)


def test_a_report_has_container_partitions_and_boot_evidence(tmp_path: Path) -> None:
    """Sizes, table, file systems, boot evidence and architecture are those of the disk."""
    report = _inspect(tmp_path, DISK)
    assert report.path == tmp_path / "disk.img"
    assert (report.container, report.format) == ("raw", DiskFormat.RAW)
    assert (report.file_bytes, report.virtual_bytes, report.table) == (len(DISK), len(DISK), TableKind.GPT)
    assert [partition.filesystem for partition in report.partitions] == ["vfat", "ext4"]
    assert (report.boot.bios, len(report.boot.uefi), report.architecture) == ((), 1, Architecture.X86_64)


@each_row(
    "image",
    [
        build.vhd_fixed(DISK),
        build.vhd_dynamic(DISK),
        build.qcow2(DISK),
        build.qcow2(DISK, version=2, compression="zlib"),
        build.qcow2(DISK, compression="zstd"),
    ],
    ids=["vhd-fixed", "vhd-dynamic", "qcow2", "qcow2-v2-zlib", "qcow2-zstd"],
)
def test_the_same_disk_gives_the_same_report_in_every_container(tmp_path: Path, image: bytes) -> None:
    """Only the fields about the file differ."""
    raw, other = _inspect(tmp_path, DISK), _inspect(tmp_path, image, "other.img")
    assert raw.container_problems == ()
    assert {problem.code for problem in other.container_problems} <= {"qcow2-zstd"}
    same = dataclasses.replace(
        other,
        path=raw.path,
        container=raw.container,
        format=raw.format,
        file_bytes=raw.file_bytes,
        container_problems=raw.container_problems,
    )
    assert same == raw


def test_loaders_for_32_and_64_bit_firmware_are_x86_64(tmp_path: Path) -> None:
    """Debian and Fedora install both."""
    files = {"EFI/BOOT/BOOTX64.EFI": build.pe_program(), "EFI/BOOT/BOOTIA32.EFI": build.pe_program(build.I386)}
    report = _inspect(tmp_path, build.write_at(build.uefi_disk(), build.MIB, build.fat(files)))
    assert report.architecture is Architecture.X86_64


def test_an_empty_file_has_a_report(tmp_path: Path) -> None:
    """The problem is in the report, with all other findings."""
    report = _inspect(tmp_path, b"")
    assert build.codes(report.container_problems) == ["file-empty"]


@pytest.mark.parametrize(("name", "code"), [("none.raw", "disk-missing"), (".", "disk-kind")])
def test_a_path_without_a_disk_raises(tmp_path: Path, name: str, code: str) -> None:
    """There is no disk to report."""
    with pytest.raises(DiskError) as caught:
        inspect_disk(tmp_path / name)
    assert caught.value.code == code


def test_an_inspection_that_exceeds_its_limit_is_unknown(tmp_path: Path) -> None:
    """A child that is ended early does not fail the inspection, and the report has the reason."""
    path = tmp_path / "disk.raw"
    path.write_bytes(DISK)
    report = inspect_disk(path, limits=Limits(wall_s=0.001))
    assert (report.container, report.table, report.file_bytes) == ("unknown", TableKind.UNREADABLE, len(DISK))
    assert "more than 0.001 seconds" in report.unknowns[0]


def test_a_large_sparse_disk_needs_no_more_than_a_small_one(tmp_path: Path) -> None:
    """40 GiB of holes need 150 MiB of address space and two seconds of processor time at most."""
    path = tmp_path / "large.raw"
    with path.open("wb") as file:
        file.write(DISK[: 3 << 20])
        file.truncate(40 * GIB)
    report = inspect_disk(path, limits=Limits(memory_bytes=150 << 20, cpu_s=2))
    assert (report.virtual_bytes, len(report.partitions)) == (40 * GIB, 2)


def test_the_opened_disk_is_inspected_even_if_its_path_was_replaced(tmp_path: Path) -> None:
    """The child reads the descriptor that the upload reads, and opens no file."""
    path, other = tmp_path / "disk.img", tmp_path / "other"
    path.write_bytes(DISK)
    other.write_bytes(build.qcow2(DISK))
    with open_disk(path) as disk:
        other.replace(path)
        assert inspect_opened(disk).container == "raw"
        with pytest.raises(DiskChanged):
            disk.refuse_changed()


def test_the_child_imports_nothing_from_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the standard library's name in the current directory is ignored."""
    (tmp_path / "struct.py").write_text("raise SystemExit('imported from the current directory')")
    monkeypatch.chdir(tmp_path)
    assert _inspect(tmp_path, DISK).container == "raw"
