"""Tests of differencing VHDs: the selection of the parent, and the disk that the chain contains."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from aliyun_import.disk.convert import prepare
from aliyun_import.disk.inspect import inspect_disk
from aliyun_import.disk.report import DiskReport
from aliyun_import.errors import LocalStateError
from aliyun_import.events import Event, ignore
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskFormat
from tests.disk import build
from tests.disk.build import MIB

BASE = bytes(build.bios_disk())
DISK = bytes(build.write_at(bytearray(BASE), MIB + 70_000, b"of the child" * 1000))
LAST = bytes(build.write_at(bytearray(DISK), 3 * MIB - 100, b"of the grandchild" * 20))
# Fields in which the report of a differencing VHD differs from that of the RAW disk.
OWN = ("path", "container", "file_bytes", "container_problems", "parents")


def _write_files(folder: Path, files: dict[str, bytes]) -> Path:
    """Write the files, and return the path of the last."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder / next(reversed(files))


def _same_as_raw(report: DiskReport, disk: bytes, folder: Path) -> bool:
    raw = inspect_disk(_write_files(folder, {"disk.raw": disk}))
    return dataclasses.replace(report, **{name: getattr(raw, name) for name in OWN}) == raw


def _prepared(path: Path, report: DiskReport, folder: Path) -> bytes:
    with prepare(path, report, work_dir=folder / "work", emit=ignore) as ready:
        return ready.read_bytes()


@pytest.mark.parametrize(
    "base",
    [build.vhd_fixed(BASE), build.vhd_dynamic(BASE), build.vhd_dynamic(BASE, block=65536)],
    ids=["fixed", "dynamic", "small blocks"],
)
def test_a_child_with_its_parent_is_one_disk(tmp_path: Path, base: bytes) -> None:
    """The report and the uploaded bytes are those of the same disk as RAW, and no temporary file is left."""
    path = _write_files(tmp_path, {"base.vhd": base, "child.vhd": build.vhd_differencing(DISK, BASE)})
    report = inspect_disk(path)
    assert (report.container, report.format) == ("vhd-differencing", DiskFormat.RAW)
    assert (build.codes(report.container_problems), report.parents) == (["vhd-differencing"], (tmp_path / "base.vhd",))
    assert report.container_problems[0].severity is Severity.NOTE
    assert _same_as_raw(report, DISK, tmp_path)
    assert _prepared(path, report, tmp_path) == DISK
    assert list((tmp_path / "work").iterdir()) == []


def test_blocks_of_only_the_child_or_only_the_parent_are_in_the_disk(tmp_path: Path) -> None:
    """The parent may have data where the child has a hole and vice versa, and the child may be larger."""
    base = build.write_at(bytearray(BASE) + bytes(10 * MIB), 9 * MIB, b"of the parent")
    disk = bytes(build.write_at(base + bytes(6 * MIB), 17 * MIB, b"of the child"))
    files = {"base.vhd": build.vhd_dynamic(base, block=65536), "child.vhd": build.vhd_differencing(disk, base)}
    path = _write_files(tmp_path, files)
    assert _prepared(path, inspect_disk(path), tmp_path) == disk


def test_a_chain_of_two_is_one_disk(tmp_path: Path) -> None:
    """The report has the nearest parent first."""
    path = _write_files(
        tmp_path,
        {
            "base.vhd": build.vhd_dynamic(BASE),
            "child.vhd": build.vhd_differencing(DISK, BASE),
            "last.vhd": build.vhd_differencing(LAST, DISK, parent="child.vhd", parent_id=8, unique_id=9),
        },
    )
    report = inspect_disk(path)
    assert [parent.name for parent in report.parents] == ["child.vhd", "base.vhd"]
    assert _same_as_raw(report, LAST, tmp_path)
    assert _prepared(path, report, tmp_path) == LAST


def test_an_enlarged_child_reads_zeros_after_the_end_of_its_parent(tmp_path: Path) -> None:
    """The parent has no data for the added range."""
    disk = DISK + bytes(MIB)
    path = _write_files(tmp_path, {"base.vhd": build.vhd_fixed(BASE), "child.vhd": build.vhd_differencing(disk, BASE)})
    assert _prepared(path, inspect_disk(path), tmp_path) == disk


@pytest.mark.parametrize(
    "names",
    [
        {"parent": "C:\\Disks\\base.vhd"},
        {"parent": "old name.vhd", "locator": ".\\base.vhd"},
        {"parent": "", "locator": "..\\elsewhere\\base.vhd"},
    ],
    ids=["path", "locator", "another folder"],
)
def test_only_the_last_part_of_the_parents_path_is_used(tmp_path: Path, names: dict[str, str]) -> None:
    """Windows writes paths of parents, in the header or in a locator."""
    child = build.vhd_differencing(DISK, BASE, **names)  # type: ignore[arg-type]
    path = _write_files(tmp_path, {"base.vhd": build.vhd_fixed(BASE), "child.vhd": child})
    assert [parent.name for parent in inspect_disk(path).parents] == ["base.vhd"]


@pytest.mark.parametrize(
    ("files", "texts"),
    [
        ({"child.vhd": build.vhd_differencing(DISK, BASE)}, ["no file 'base.vhd'"]),
        (
            {"base.vhd": build.vhd_fixed(BASE, unique_id=6), "child.vhd": build.vhd_differencing(DISK, BASE)},
            ["another disk", "-000000000006", "-000000000007"],
        ),
        ({"base.vhd": BASE, "child.vhd": build.vhd_differencing(DISK, BASE)}, ["not a VHD"]),
        ({"child.vhd": build.vhd_differencing(DISK, BASE, parent="child.vhd", parent_id=8)}, ["loop"]),
        (
            {
                "base.vhd": build.vhd_differencing(DISK, BASE, parent="child.vhd", parent_id=8, unique_id=7),
                "child.vhd": build.vhd_differencing(DISK, BASE),
            },
            ["In its parent 'base.vhd'", "loop"],
        ),
        (
            {"base.vhd": build.vhd_dynamic(BASE)[:-MIB], "child.vhd": build.vhd_differencing(DISK, BASE)},
            ["In its parent 'base.vhd'", "truncated"],
        ),
        (
            {
                "base.vhd": build.vhd_fixed(BASE, unique_id=0),
                "child.vhd": build.vhd_differencing(DISK, BASE, parent_id=0),
            },
            ["does not contain the id"],
        ),
        ({"child.vhd": build.vhd_differencing(DISK, BASE, parent="C:\\..")}, ["no file '..'"]),
    ],
    ids=["missing", "wrong id", "no VHD", "itself", "loop", "damaged", "no id", "dots"],
)
def test_a_child_without_its_parent_is_refused(tmp_path: Path, files: dict[str, bytes], texts: Sequence[str]) -> None:
    """The one blocking problem has the expected parent; no other file is used in its place."""
    report = inspect_disk(_write_files(tmp_path, files))
    messages = [problem.message for problem in report.container_problems if problem.severity is Severity.BLOCKS]
    assert len(messages) == 1
    assert all(text in messages[0] for text in texts)
    assert report.container == "vhd-differencing"


def test_the_length_of_a_chain_is_limited(tmp_path: Path) -> None:
    """Each parent needs an open file and a table in memory."""
    files = {
        f"{number}.vhd": build.vhd_differencing(
            BASE[:65536], BASE[:65536], parent=f"{number - 1}.vhd", parent_id=99 + number, unique_id=100 + number
        )
        for number in range(20)
    }
    report = inspect_disk(_write_files(tmp_path, files))
    assert "more than 16 parents" in report.container_problems[-1].message


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_only_a_regular_file_in_the_folder_is_opened(tmp_path: Path, kind: str) -> None:
    """A link could refer to any local file, and opening a pipe would block."""
    folder = tmp_path / "folder"
    folder.mkdir()
    _write_files(tmp_path, {"elsewhere.vhd": build.vhd_fixed(BASE)})
    if kind == "link":
        (folder / "base.vhd").symlink_to(tmp_path / "elsewhere.vhd")
    elif kind == "pipe":
        os.mkfifo(folder / "base.vhd")
    else:
        (folder / "base.vhd").mkdir()
    report = inspect_disk(_write_files(folder, {"child.vhd": build.vhd_differencing(DISK, BASE)}))
    assert "no file 'base.vhd'" in report.container_problems[0].message


@pytest.mark.parametrize("modified", [0, 1])
def test_a_parent_with_another_modification_time_warns(tmp_path: Path, modified: int) -> None:
    """Only the time shows that the parent was written; a child may have no time to compare."""
    path = _write_files(
        tmp_path,
        {"base.vhd": build.vhd_fixed(BASE), "child.vhd": build.vhd_differencing(DISK, BASE, modified=modified)},
    )
    codes = [problem.code for problem in inspect_disk(path).container_problems if problem.severity is Severity.WARNS]
    assert codes == (["vhd-parent-modified"] if modified else [])


def test_a_parent_with_the_recorded_modification_time_has_no_warning(tmp_path: Path) -> None:
    """The recorded time is in seconds since 2000."""
    child = build.vhd_differencing(DISK, BASE, modified=1000)
    path = _write_files(tmp_path, {"base.vhd": build.vhd_fixed(BASE), "child.vhd": child})
    os.utime(tmp_path / "base.vhd", (946_684_800 + 1000, 946_684_800 + 1000))
    assert build.codes(inspect_disk(path).container_problems) == ["vhd-differencing"]


def test_a_change_of_the_parent_stops_the_conversion(tmp_path: Path) -> None:
    """The disk must be that of both files at one time."""
    path = _write_files(tmp_path, {"base.vhd": build.vhd_fixed(BASE), "child.vhd": build.vhd_differencing(DISK, BASE)})
    report = inspect_disk(path)

    def change(event: Event) -> None:
        """Change the parent's time when the conversion begins."""
        del event
        os.utime(tmp_path / "base.vhd", ns=(1, 1))

    with pytest.raises(LocalStateError) as caught, prepare(path, report, work_dir=tmp_path / "work", emit=change):
        pass
    assert caught.value.code == "disk-changed"
    assert list((tmp_path / "work").iterdir()) == []
