"""Tests of inspect_disk and inspect_opened."""

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


def test_a_report_tells_the_disk_from_its_container_to_its_loaders(tmp_path: Path) -> None:
    """The report has container, partitions and boot loaders."""
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
    """Only the facts of the file differ."""
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


def test_a_loader_for_32_bit_firmware_beside_one_of_64_is_x86_64(tmp_path: Path) -> None:
    """Debian and Fedora install both."""
    files = {"EFI/BOOT/BOOTX64.EFI": build.pe_program(), "EFI/BOOT/BOOTIA32.EFI": build.pe_program(build.I386)}
    report = _inspect(tmp_path, build.place(build.uefi_disk(), build.MIB, build.fat(files)))
    assert report.architecture is Architecture.X86_64


def test_an_empty_file_is_a_report(tmp_path: Path) -> None:
    """It is a problem in the report, together with all others."""
    report = _inspect(tmp_path, b"")
    assert build.codes(report.container_problems) == ["file-empty"]


@pytest.mark.parametrize(("name", "code"), [("none.raw", "disk-missing"), (".", "disk-kind")])
def test_no_disk_is_an_error(tmp_path: Path, name: str, code: str) -> None:
    """There is nothing to report on."""
    with pytest.raises(DiskError) as caught:
        inspect_disk(tmp_path / name)
    assert caught.value.code == code


def test_an_inspection_that_ends_early_is_unknown_and_no_failure(tmp_path: Path) -> None:
    """A child with too little memory returns nothing, and the report has the reason."""
    path = tmp_path / "disk.raw"
    path.write_bytes(DISK)
    report = inspect_disk(path, limits=Limits(wall_s=0.001))
    assert (report.container, report.table, report.file_bytes) == ("unknown", TableKind.UNREADABLE, len(DISK))
    assert "more than 0.001 seconds" in report.unknowns[0]


def test_a_large_sparse_disk_costs_what_a_small_one_does(tmp_path: Path) -> None:
    """40 GiB of holes need 64 MiB of memory beside the interpreter, and one second of processor time."""
    path = tmp_path / "large.raw"
    with path.open("wb") as file:
        file.write(DISK[: 3 << 20])
        file.truncate(40 * GIB)
    report = inspect_disk(path, limits=Limits(memory_bytes=150 << 20, cpu_s=2))
    assert (report.virtual_bytes, len(report.partitions)) == (40 * GIB, 2)


def test_the_opened_disk_is_inspected_whatever_its_path_names_by_now(tmp_path: Path) -> None:
    """The child reads the descriptor that the upload will read, and opens nothing itself."""
    path, other = tmp_path / "disk.img", tmp_path / "other"
    path.write_bytes(DISK)
    other.write_bytes(build.qcow2(DISK))
    with open_disk(path) as disk:
        other.replace(path)
        assert inspect_opened(disk).container == "raw"
        with pytest.raises(DiskChanged):
            disk.refuse_changed()


def test_a_directory_full_of_odd_names_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child imports this package, and no module from the current directory."""
    (tmp_path / "struct.py").write_text("raise SystemExit('imported from the current directory')")
    monkeypatch.chdir(tmp_path)
    assert _inspect(tmp_path, DISK).container == "raw"
