"""Tests of the conversion of disks that ECS does not accept."""

import gzip
import os
import time
import zipfile
from pathlib import Path

import pytest

from aliyun_import.disk.convert import needs_preparing, prepare
from aliyun_import.disk.inspect import inspect_disk
from aliyun_import.disk.report import DiskReport
from aliyun_import.errors import DiskError, Interrupted, LocalStateError, RefusedError
from aliyun_import.events import Event, Noted, ignore
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskFormat
from tests.disk import build
from tests.disk.build import MIB
from tests.rows import each_row

DISK = bytes(build.bios_disk())


def _source(folder: Path, data: bytes | bytearray, name: str) -> tuple[Path, DiskReport]:
    path = folder / name
    path.write_bytes(data)
    return path, inspect_disk(path)


def _prepared(folder: Path, data: bytes | bytearray, name: str = "disk.bin") -> bytes:
    path, report = _source(folder, data, name)
    with prepare(path, report, work_dir=folder / "work", emit=ignore) as ready:
        return ready.read_bytes()


def test_a_disk_that_ecs_takes_is_given_as_it_is(tmp_path: Path) -> None:
    """There is no copy, and no directory."""
    path, report = _source(tmp_path, DISK, "disk.raw")
    assert not needs_preparing(report)
    with prepare(path, report, work_dir=tmp_path / "work", emit=ignore) as ready:
        assert ready == path
    assert not (tmp_path / "work").exists()


def test_a_compressed_disk_is_unpacked_and_removed_afterwards(tmp_path: Path) -> None:
    """The source is not changed, and no file stays."""
    packed = gzip.compress(DISK)
    path, report = _source(tmp_path, packed, "disk.raw.gz")
    assert needs_preparing(report)
    with prepare(path, report, work_dir=tmp_path / "work", emit=ignore) as ready:
        assert ready.read_bytes() == DISK
        assert ready.suffix == ".raw"
    assert list((tmp_path / "work").iterdir()) == []
    assert path.read_bytes() == packed


@pytest.mark.parametrize(
    ("packed", "format_", "expected"),
    [
        (build.vhd_fixed(DISK), DiskFormat.RAW, DISK),
        (build.vhd_dynamic(DISK), DiskFormat.VHD, build.vhd_dynamic(DISK)),
        (build.qcow2(DISK), DiskFormat.QCOW2, bytes(build.qcow2(DISK))),
    ],
)
def test_what_was_packed_is_sent_as_the_report_told(
    tmp_path: Path, packed: bytes, format_: DiskFormat, expected: bytes
) -> None:
    """A fixed VHD becomes the RAW disk of the report without its footer. Other formats are those of the report."""
    path, report = _source(tmp_path, gzip.compress(packed), "disk.gz")
    assert report.format is format_
    with prepare(path, report, work_dir=tmp_path, emit=ignore) as ready:
        assert ready.read_bytes() == expected
        assert inspect_disk(ready).format is format_


@each_row(
    ("packed", "code"),
    [
        (gzip.compress(DISK), "container-compressed"),
        (b"", "file-empty"),
        (b"only a text\n", "not-a-disk"),
        (DISK[:-100], "raw-size-not-512"),
        (build.vhd_dynamic(DISK, kind=4), "vhd-differencing"),
        (build.qcow2(DISK)[:-65536], "qcow2-truncated"),
    ],
)
def test_what_was_packed_is_judged_before_it_is_sent(tmp_path: Path, packed: bytes, code: str) -> None:
    """No file stays if the content can't be imported."""
    path, report = _source(tmp_path, gzip.compress(packed), "disk.gz")
    with pytest.raises(DiskError) as caught, prepare(path, report, work_dir=tmp_path / "work", emit=ignore):
        pass
    assert caught.value.code == code
    # What was unpacked is gone by now: the user knows the file that he has, and unpacks it under its own name.
    assert "work" not in f"{caught.value.summary} {caught.value.cause} {caught.value.remedy}".replace(str(path), "")
    assert list((tmp_path / "work").iterdir()) == []


def test_a_file_that_was_cut_short_is_not_sent(tmp_path: Path) -> None:
    """The compressed data ends too early."""
    path, report = _source(tmp_path, gzip.compress(os.urandom(MIB))[: MIB // 2], "disk.gz")
    with pytest.raises(DiskError) as caught, prepare(path, report, work_dir=tmp_path, emit=ignore):
        pass
    assert caught.value.code == "unpack-failed"


def test_a_padded_vhd_loses_its_padding(tmp_path: Path) -> None:
    """It becomes a fixed VHD of the size that the disk had, with the same data."""
    padded = 1040 * 8 * 512  # 64 KiB more than the 4 MiB of the disk
    footer = build.vhd_footer(padded, creator=b"qemu", geometry=(1040, 1, 8))
    image = DISK + bytes(padded - len(DISK)) + footer
    path, report = _source(tmp_path, image, "disk.vhd")
    assert build.codes(report.container_problems) == ["vhd-chs-padded"]
    with prepare(path, report, work_dir=tmp_path, emit=ignore) as ready:
        assert ready.read_bytes()[:-512] == DISK
        again = inspect_disk(ready)
    assert (again.container, again.virtual_bytes, again.container_problems) == ("vhd-fixed", len(DISK), ())


def test_a_large_padded_vhd_becomes_whole_gib_without_a_look_at_its_holes(tmp_path: Path) -> None:
    """A cylinder of a large disk has more than one MiB, and the rest of it would cost one GiB."""
    padded = 515 * 16 * 255 * 512  # 1.98 MiB more than a GiB
    path = tmp_path / "disk.vhd"
    path.write_bytes(DISK)
    os.truncate(path, padded)
    with path.open("ab") as file:
        file.write(build.vhd_footer(padded, creator=b"qemu", geometry=(515, 16, 255)))
    report = inspect_disk(path)
    begun = time.process_time()
    with prepare(path, report, work_dir=tmp_path / "work", emit=ignore) as ready:
        assert time.process_time() - begun < 0.3  # to read a GiB of zeros takes more than half a second
        assert ready.stat().st_size == (1 << 30) + 512
        assert ready.stat().st_blocks * 512 <= 2 * len(DISK)
        with ready.open("rb") as made:
            assert made.read(len(DISK)) == DISK


def test_data_in_the_padding_is_kept(tmp_path: Path) -> None:
    """With data it is not padding."""
    padded = 1040 * 8 * 512
    footer = build.vhd_footer(padded, creator=b"qemu", geometry=(1040, 1, 8))
    image = DISK + bytes(1000) + b"data" + bytes(padded - len(DISK) - 1004) + footer
    assert len(_prepared(tmp_path, image, "disk.vhd")) == padded + 512


def test_the_same_source_gives_the_same_file_each_time(tmp_path: Path) -> None:
    """A stopped upload can be resumed."""
    path, report = _source(tmp_path, gzip.compress(DISK), "disk.gz")
    seen = []
    for _ in range(2):
        with prepare(path, report, work_dir=tmp_path, emit=ignore) as ready:
            seen.append((ready.name, ready.stat().st_mtime_ns, ready.read_bytes()))
    assert seen[0] == seen[1]


def test_a_finished_file_is_used_again_after_an_interruption(tmp_path: Path) -> None:
    """It stays after a transient failure, and the next run finds it."""
    path, report = _source(tmp_path, gzip.compress(DISK), "disk.gz")
    said: list[Event] = []
    stopped = Interrupted("Stopped.", code="interrupted", remedy=None)
    with pytest.raises(Interrupted), prepare(path, report, work_dir=tmp_path, emit=said.append) as ready:
        raise stopped
    inode = ready.stat().st_ino
    assert str(ready) in str(said[-1])
    with prepare(path, report, work_dir=tmp_path, emit=said.append) as again:
        assert again.stat().st_ino == inode
    assert not again.exists()
    assert isinstance(said[-1], Noted)


def test_a_final_failure_leaves_nothing(tmp_path: Path) -> None:
    """No later run would use the file."""
    path, report = _source(tmp_path, gzip.compress(DISK), "disk.gz")
    refused = RefusedError("No.", code="no", remedy=None)
    with pytest.raises(RefusedError), prepare(path, report, work_dir=tmp_path / "work", emit=ignore):
        raise refused
    assert list((tmp_path / "work").iterdir()) == []


def test_what_a_killed_run_left_half_made_is_removed(tmp_path: Path) -> None:
    """Partial files of ended processes are removed, also of other disks. Those of running processes stay."""
    path, report = _source(tmp_path, gzip.compress(DISK), "disk.gz")
    with prepare(path, report, work_dir=tmp_path, emit=ignore) as ready:
        name = ready.name
    dead = [f"{name}.4194305.part", f"{name}.4194305.part.second", f"aliyun-import-{'0' * 20}.qcow2.4194305.part"]
    kept = [f"{name}.{os.getppid()}.part", "aliyun-import-notes.4194305.part"]
    for one in (*dead, *kept):
        (tmp_path / one).write_bytes(b"half")
    with prepare(path, report, work_dir=tmp_path, emit=ignore):
        assert not any((tmp_path / one).exists() for one in dead)
        assert all((tmp_path / one).exists() for one in kept)


def test_a_file_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    """Names in a shared directory are predictable, so a file that other users can write to is refused."""
    path, report = _source(tmp_path, gzip.compress(DISK), "disk.gz")
    with prepare(path, report, work_dir=tmp_path, emit=ignore) as ready:
        name = ready.name
    (tmp_path / name).write_bytes(b"trojan")
    (tmp_path / name).chmod(0o666)
    with pytest.raises(LocalStateError) as caught, prepare(path, report, work_dir=tmp_path, emit=ignore):
        pass
    assert caught.value.code == "work-dir-unusable"


def test_a_disk_that_changes_meanwhile_is_not_sent(tmp_path: Path) -> None:
    """The converted file is neither the disk before the change nor the one after it."""
    path, report = _source(tmp_path, gzip.compress(DISK), "disk.gz")

    def change(event: Event) -> None:
        """Change the disk when the conversion begins."""
        del event
        os.utime(path, ns=(1, 1))

    with pytest.raises(LocalStateError) as caught, prepare(path, report, work_dir=tmp_path / "work", emit=change):
        pass
    assert caught.value.code == "disk-changed"
    assert list((tmp_path / "work").iterdir()) == []


def test_a_work_dir_that_is_a_file_is_told(tmp_path: Path) -> None:
    """The remedy has the name of the option."""
    path, report = _source(tmp_path, gzip.compress(DISK), "disk.gz")
    with pytest.raises(LocalStateError) as caught, prepare(path, report, work_dir=path, emit=ignore):
        pass
    assert "--work-dir" in (caught.value.remedy or "")


def test_without_qemu_img_the_exact_command_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The inspection reports the container as a blocking problem."""
    path, report = _source(tmp_path, b"KDMV" + bytes(MIB), "disk.vmdk")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DiskError) as caught, prepare(path, report, work_dir=tmp_path / "work", emit=ignore):
        pass
    assert caught.value.code == "qemu-img-missing"
    command = f"`qemu-img convert -f vmdk -O qcow2 {tmp_path}/disk.vmdk {tmp_path}/disk.qcow2`"
    assert command in (caught.value.remedy or "")
    blocked = inspect_disk(path)
    assert build.codes(blocked.container_problems) == ["container-foreign"]
    assert blocked.container_problems[0].severity == "blocks"
    assert command in (blocked.container_problems[0].remedy or "")
    assert "qemu-utils" in blocked.unknowns[0]


def test_what_a_packed_file_begins_with_is_judged_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inspection reports a VMDK that can't be converted, a file that is compressed twice, and a text."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for inner, code in (
        (b"KDMV" + bytes(MIB), "container-foreign"),
        (gzip.compress(DISK), "container-compressed"),
        (b"only a text\n", "not-a-disk"),
    ):
        _, report = _source(tmp_path, gzip.compress(inner), "disk.gz")
        blocking = [one.code for one in report.container_problems if one.severity is Severity.BLOCKS]
        assert blocking == [code]


def test_a_zip_archive_gives_the_disk_in_it(tmp_path: Path) -> None:
    """From the inspection to the converted file."""
    packed = tmp_path / "packed"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("disk.raw", DISK)
        archive.writestr("README", "hello")
    assert _prepared(tmp_path, packed.read_bytes(), "disk.zip") == DISK
