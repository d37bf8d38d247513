"""Tests on real disks: a Debian in every container, and damaged disks.

ALIYUN_IMPORT_TEST_IMAGES names the directory with them; docs/contributing.md describes how to create them.
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

WHOLE = ("c-fixed.vhd", "c-dynamic.vhd", "c.qcow2", "c-compressed.qcow2", "c.vmdk", "c-stream.vmdk", "c.vhdx", "c.vdi")


@pytest.fixture(scope="module")
def images() -> Path:
    """Return the directory, or skip."""
    directory = os.environ.get("ALIYUN_IMPORT_TEST_IMAGES")
    if not directory:
        pytest.skip("ALIYUN_IMPORT_TEST_IMAGES does not name a directory of disk images")
    return Path(directory)


def _blocking(report: DiskReport) -> list[str]:
    return [problem.code for problem in report.container_problems if problem.severity is Severity.BLOCKS]


@pytest.mark.parametrize("name", WHOLE)
def test_the_same_debian_gives_the_same_report_in_every_container(images: Path, name: str) -> None:
    """Partitions, boot evidence, the system and all of its facts."""
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


def test_a_debian_under_bios_is_told(images: Path) -> None:
    """GRUB is in the MBR, and there is one ext4 root."""
    report = inspect_disk(images / "a-mbr-bios.raw")
    assert (report.table, report.virtual_bytes, report.architecture) == (TableKind.MBR, 4 * GIB, Architecture.X86_64)
    assert report.boot.bios
    assert not report.boot.uefi
    assert report.guest is not None
    assert report.guest.os_release is not None
    assert report.guest.os_release.id == "debian"


def test_a_debian_under_uefi_is_told(images: Path) -> None:
    """There is an ESP with the removable loader."""
    report = inspect_disk(images / "b-gpt-uefi.raw")
    assert (report.table, report.architecture) == (TableKind.GPT, Architecture.X86_64)
    assert report.boot.uefi
    assert not report.boot.bios


def test_a_padded_vhd_becomes_the_disk_that_it_was_made_of(images: Path, tmp_path: Path) -> None:
    """The padding is found and removed."""
    report = inspect_disk(images / "c-fixed-chs.vhd")
    assert build.codes(report.container_problems) == ["vhd-chs-padded"]
    with prepare(report.path, report, work_dir=tmp_path, emit=ignore) as ready:
        made = inspect_disk(ready)
    assert (made.virtual_bytes, made.container_problems) == (4 * GIB, ())


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
def test_a_broken_disk_is_told_by_its_own_name(images: Path, name: str, codes: list[str]) -> None:
    """Each has the id of its problem."""
    assert _blocking(inspect_disk(images / name)) == codes


@pytest.mark.parametrize(
    ("name", "table", "numbers"),
    [
        ("e-zeros.raw", TableKind.NONE, []),
        ("e-mbr-nopart.raw", TableKind.MBR, []),
        ("e-bare-ext4.raw", TableKind.NONE, [0]),
    ],
)
def test_what_no_system_can_start_from_is_told_as_fact(
    images: Path, name: str, table: TableKind, numbers: list[int]
) -> None:
    """They may be data disks: a check decides whether they block."""
    report = inspect_disk(images / name)
    assert (_blocking(report), report.table) == ([], table)
    assert [partition.number for partition in report.partitions] == numbers
