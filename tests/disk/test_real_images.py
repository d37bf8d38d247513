"""Tests with real disk images: a Debian in every container, and damaged images.

ALIYUN_IMPORT_TEST_IMAGES is the directory with the images; docs/contributing.md describes how to create them.
"""

import dataclasses
import os
from pathlib import Path

import pytest

from aliyun_import.disk.convert import prepare
from aliyun_import.disk.inspect import inspect_disk
from aliyun_import.disk.report import DiskReport, TableKind
from aliyun_import.events import ignore
from aliyun_import.limits import GIB
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import Architecture
from tests.disk import build

pytestmark = pytest.mark.root

IMAGES = ("c-fixed.vhd", "c-dynamic.vhd", "c.qcow2", "c-compressed.qcow2", "c.vmdk", "c-stream.vmdk", "c.vhdx", "c.vdi")


@pytest.fixture(scope="module")
def images() -> Path:
    """Return the directory of the images. Skip the test if it is not set."""
    directory = os.environ.get("ALIYUN_IMPORT_TEST_IMAGES")
    if not directory:
        pytest.skip("ALIYUN_IMPORT_TEST_IMAGES is not set to a directory of disk images")
    return Path(directory)


def _blocking(report: DiskReport) -> list[str]:
    return [problem.code for problem in report.container_problems if problem.severity is Severity.BLOCKS]


@pytest.mark.parametrize("name", IMAGES)
def test_the_same_debian_gives_the_same_report_in_every_container(images: Path, name: str) -> None:
    """Partitions, boot evidence and the guest are equal."""
    raw, other = inspect_disk(images / "a-mbr-bios.raw"), inspect_disk(images / name)
    assert _blocking(other) == []
    same = dataclasses.replace(
        other,
        path=raw.path,
        container=raw.container,
        format=raw.format,
        file_bytes=raw.file_bytes,
        container_problems=raw.container_problems,
    )
    assert same == raw


def test_a_debian_that_boots_with_bios_is_recognised(images: Path) -> None:
    """It has GRUB in the MBR and one ext4 root."""
    report = inspect_disk(images / "a-mbr-bios.raw")
    assert (report.table, report.virtual_bytes, report.architecture) == (TableKind.MBR, 4 * GIB, Architecture.X86_64)
    assert report.boot.bios
    assert not report.boot.uefi
    assert report.guest is not None
    assert report.guest.os_release is not None
    assert report.guest.os_release.id == "debian"


def test_a_debian_that_boots_with_uefi_is_recognised(images: Path) -> None:
    """It has an ESP with a loader at the removable path."""
    report = inspect_disk(images / "b-gpt-uefi.raw")
    assert (report.table, report.architecture) == (TableKind.GPT, Architecture.X86_64)
    assert report.boot.uefi
    assert not report.boot.bios


def test_the_padding_of_a_vhd_is_removed(images: Path, tmp_path: Path) -> None:
    """The converted disk has the original size."""
    report = inspect_disk(images / "c-fixed-chs.vhd")
    assert build.codes(report.container_problems) == ["vhd-chs-padded"]
    with prepare(report.path, report, work_dir=tmp_path, emit=ignore) as ready:
        converted = inspect_disk(ready)
    assert (converted.virtual_bytes, converted.container_problems) == (4 * GIB, ())


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("e-truncated-fixed.vhd", ["vhd-no-footer", "partition-outside-disk"]),
        ("e-no-footer.vhd", ["vhd-no-footer"]),
        ("e-badsum-fixed.vhd", ["vhd-footer-checksum"]),
        ("e-empty.raw", ["file-empty"]),
        ("e-100bytes.raw", ["disk-too-small"]),
        ("e-odd-size.raw", ["raw-size-not-512"]),
    ],
)
def test_a_damaged_disk_has_its_own_codes(images: Path, name: str, codes: list[str]) -> None:
    """Each kind of damage has its own code."""
    assert _blocking(inspect_disk(images / name)) == codes


@pytest.mark.parametrize(
    ("name", "table", "numbers"),
    [
        ("e-zeros.raw", TableKind.NONE, []),
        ("e-mbr-nopart.raw", TableKind.MBR, []),
        ("e-bare-ext4.raw", TableKind.NONE, [0]),
    ],
)
def test_a_disk_without_a_system_is_reported_without_a_problem(
    images: Path, name: str, table: TableKind, numbers: list[int]
) -> None:
    """It may be a data disk; the checks decide whether it blocks."""
    report = inspect_disk(images / name)
    assert (_blocking(report), report.table) == ([], table)
    assert [partition.number for partition in report.partitions] == numbers
