"""Tests of the conversion of disks to a format that ECS imports."""

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


def test_a_disk_that_ecs_imports_is_not_converted(tmp_path: Path) -> None:
    """The result is the path itself, and no directory is created."""
    path, report = _source(tmp_path, DISK, "disk.raw")
    assert not needs_preparing(report)
    with prepare(path, report, work_dir=tmp_path / "work", emit=ignore) as ready:
        assert ready == path
    assert not (tmp_path / "work").exists()


def test_a_compressed_disk_is_unpacked_and_removed_afterwards(tmp_path: Path) -> None:
    """The source is not changed, and no file is left in the work directory."""
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
def test_the_converted_disk_has_the_format_of_the_report(
    tmp_path: Path, packed: bytes, format_: DiskFormat, expected: bytes
) -> None:
    """A fixed VHD becomes the RAW disk of the report, without its footer; other formats are kept."""
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
def test_the_unpacked_disk_is_checked_before_the_upload(tmp_path: Path, packed: bytes, code: str) -> None:
    """A disk that cannot be imported is refused, and no file is left."""
    path, report = _source(tmp_path, gzip.compress(packed), "disk.gz")
    with pytest.raises(DiskError) as caught, prepare(path, report, work_dir=tmp_path / "work", emit=ignore):
        pass
    assert caught.value.code == code
    # The unpacked file was removed, so that no message may refer to it.
    assert "work" not in f"{caught.value.summary} {caught.value.cause} {caught.value.remedy}".replace(str(path), "")
    assert list((tmp_path / "work").iterdir()) == []


def test_a_compressed_differencing_vhd_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """It is not merged with a file of the work directory, and no text says that it is merged."""
    child = build.vhd_differencing(DISK, bytes(len(DISK)), parent="base.vhd")
    path, report = _source(tmp_path, gzip.compress(child), "child.vhd.gz")
    (tmp_path / "work").mkdir()
    for parent in (None, build.vhd_dynamic(bytes(len(DISK)), unique_id=7)):
        if parent is not None:
            (tmp_path / "work" / "base.vhd").write_bytes(parent)
        with pytest.raises(DiskError) as caught, prepare(path, report, work_dir=tmp_path / "work", emit=ignore):
            pass
        assert caught.value.code == "vhd-differencing"
        assert caught.value.summary == f"{path} contains a vhd-differencing image, whose parent is not in it."
        assert "Unpack child.vhd.gz into the directory of the parent" in (caught.value.remedy or "")


def test_a_file_that_is_compressed_twice_is_refused_as_such(tmp_path: Path) -> None:
    """No text says that the inner file is unpacked."""
    path, report = _source(tmp_path, gzip.compress(gzip.compress(DISK)), "disk.gz")
    with pytest.raises(DiskError) as caught, prepare(path, report, work_dir=tmp_path, emit=ignore):
        pass
    assert caught.value.summary == f"{path} can't be imported: The file is compressed twice: it contains gzip data."
    assert caught.value.remedy == "Unpack disk.gz once, and push the result."


def test_a_truncated_compressed_file_is_refused(tmp_path: Path) -> None:
    """The error is unpack-failed."""
    path, report = _source(tmp_path, gzip.compress(os.urandom(MIB))[: MIB // 2], "disk.gz")
    with pytest.raises(DiskError) as caught, prepare(path, report, work_dir=tmp_path, emit=ignore):
        pass
    assert caught.value.code == "unpack-failed"


def test_a_padded_vhd_loses_its_padding(tmp_path: Path) -> None:
    """The result is a fixed VHD with the original size and data of the disk."""
    padded = 1040 * 8 * 512  # 64 KiB more than the 4 MiB of the disk
    footer = build.vhd_footer(padded, creator=b"qemu", geometry=(1040, 1, 8))
    image = DISK + bytes(padded - len(DISK)) + footer
    path, report = _source(tmp_path, image, "disk.vhd")
    assert build.codes(report.container_problems) == ["vhd-chs-padded"]
    with prepare(path, report, work_dir=tmp_path, emit=ignore) as ready:
        assert ready.read_bytes()[:-512] == DISK
        again = inspect_disk(ready)
    assert (again.container, again.virtual_bytes, again.container_problems) == ("vhd-fixed", len(DISK), ())


def test_a_large_padded_vhd_becomes_whole_gib_without_reading_its_holes(tmp_path: Path) -> None:
    """A cylinder of a large disk exceeds a MiB, and a partial GiB would be billed as a GiB."""
    padded = 515 * 16 * 255 * 512  # 1.98 MiB more than a GiB
    path = tmp_path / "disk.vhd"
    path.write_bytes(DISK)
    os.truncate(path, padded)
    with path.open("ab") as file:
        file.write(build.vhd_footer(padded, creator=b"qemu", geometry=(515, 16, 255)))
    report = inspect_disk(path)
    started = time.process_time()
    with prepare(path, report, work_dir=tmp_path / "work", emit=ignore) as ready:
        assert time.process_time() - started < 0.3  # to read a GiB of zeros takes more than half a second
        assert ready.stat().st_size == (1 << 30) + 512
        assert ready.stat().st_blocks * 512 <= 2 * len(DISK)
        with ready.open("rb") as converted:
            assert converted.read(len(DISK)) == DISK


def test_data_in_the_padding_is_kept(tmp_path: Path) -> None:
    """If the end of the disk has data, it is not padding."""
    padded = 1040 * 8 * 512
    footer = build.vhd_footer(padded, creator=b"qemu", geometry=(1040, 1, 8))
    image = DISK + bytes(1000) + b"data" + bytes(padded - len(DISK) - 1004) + footer
    assert len(_prepared(tmp_path, image, "disk.vhd")) == padded + 512


def test_the_conversion_is_deterministic(tmp_path: Path) -> None:
    """Name, time and contents are equal each time, so that an upload can be resumed."""
    path, report = _source(tmp_path, gzip.compress(DISK), "disk.gz")
    results = []
    for _ in range(2):
        with prepare(path, report, work_dir=tmp_path, emit=ignore) as ready:
            results.append((ready.name, ready.stat().st_mtime_ns, ready.read_bytes()))
    assert results[0] == results[1]


def test_a_converted_file_is_reused_after_an_interruption(tmp_path: Path) -> None:
    """It is kept if the run is interrupted, and the next run uses it."""
    path, report = _source(tmp_path, gzip.compress(DISK), "disk.gz")
    events: list[Event] = []
    stopped = Interrupted("Stopped.", code="interrupted", remedy=None)
    with pytest.raises(Interrupted), prepare(path, report, work_dir=tmp_path, emit=events.append) as ready:
        raise stopped
    inode = ready.stat().st_ino
    assert str(ready) in str(events[-1])
    with prepare(path, report, work_dir=tmp_path, emit=events.append) as again:
        assert again.stat().st_ino == inode
    assert not again.exists()
    assert isinstance(events[-1], Noted)


def test_a_permanent_failure_removes_the_converted_file(tmp_path: Path) -> None:
    """No later run would use it."""
    path, report = _source(tmp_path, gzip.compress(DISK), "disk.gz")
    refused = RefusedError("No.", code="no", remedy=None)
    with pytest.raises(RefusedError), prepare(path, report, work_dir=tmp_path / "work", emit=ignore):
        raise refused
    assert list((tmp_path / "work").iterdir()) == []


def test_partial_files_of_ended_processes_are_removed(tmp_path: Path) -> None:
    """Partial files of other disks are removed too; those of running processes and other files are kept."""
    path, report = _source(tmp_path, gzip.compress(DISK), "disk.gz")
    with prepare(path, report, work_dir=tmp_path, emit=ignore) as ready:
        name = ready.name
    stale = [f"{name}.4194305.part", f"{name}.4194305.part.second", f"aliyun-import-{'0' * 20}.qcow2.4194305.part"]
    kept = [f"{name}.{os.getppid()}.part", "aliyun-import-notes.4194305.part"]
    for one in (*stale, *kept):
        (tmp_path / one).write_bytes(b"half")
    with prepare(path, report, work_dir=tmp_path, emit=ignore):
        assert not any((tmp_path / one).exists() for one in stale)
        assert all((tmp_path / one).exists() for one in kept)


def test_a_file_that_other_users_can_write_is_not_used(tmp_path: Path) -> None:
    """File names are predictable, so that another user of a shared directory could create the file."""
    path, report = _source(tmp_path, gzip.compress(DISK), "disk.gz")
    with prepare(path, report, work_dir=tmp_path, emit=ignore) as ready:
        name = ready.name
    (tmp_path / name).write_bytes(b"other data")
    (tmp_path / name).chmod(0o666)
    with pytest.raises(LocalStateError) as caught, prepare(path, report, work_dir=tmp_path, emit=ignore):
        pass
    assert caught.value.code == "work-dir-unusable"


def test_a_change_of_the_disk_stops_the_conversion(tmp_path: Path) -> None:
    """The result would be neither the disk before the change nor the one after."""
    path, report = _source(tmp_path, gzip.compress(DISK), "disk.gz")

    def change(event: Event) -> None:
        """Change the disk's time when the conversion begins."""
        del event
        os.utime(path, ns=(1, 1))

    with pytest.raises(LocalStateError) as caught, prepare(path, report, work_dir=tmp_path / "work", emit=change):
        pass
    assert caught.value.code == "disk-changed"
    assert list((tmp_path / "work").iterdir()) == []


def test_a_work_dir_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """The remedy has the option."""
    path, report = _source(tmp_path, gzip.compress(DISK), "disk.gz")
    with pytest.raises(LocalStateError) as caught, prepare(path, report, work_dir=path, emit=ignore):
        pass
    assert "--work-dir" in (caught.value.remedy or "")


def test_without_qemu_img_the_remedy_has_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The inspection already blocks, with the same command."""
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


def test_the_beginning_of_a_compressed_file_is_checked_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A VMDK without a converter, a file that is compressed twice and a text block in the inspection."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for inner, code in (
        (b"KDMV" + bytes(MIB), "container-foreign"),
        (gzip.compress(DISK), "container-compressed"),
        (b"only a text\n", "not-a-disk"),
    ):
        _, report = _source(tmp_path, gzip.compress(inner), "disk.gz")
        blocking = [one.code for one in report.container_problems if one.severity is Severity.BLOCKS]
        assert blocking == [code]


def test_a_zip_archive_is_converted_to_the_disk_in_it(tmp_path: Path) -> None:
    """The disk is unpacked, and the other member is ignored."""
    packed = tmp_path / "packed"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("disk.raw", DISK)
        archive.writestr("README", "hello")
    assert _prepared(tmp_path, packed.read_bytes(), "disk.zip") == DISK
