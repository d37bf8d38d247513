"""Tests of the detection of container formats."""

import bz2
import gzip
import io
import lzma
import os
import re
import shlex
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from aliyun_import.disk import convert
from aliyun_import.disk.containers import registry
from aliyun_import.disk.containers.interface import ContainerFormat, OpenedContainer, Source, SuffixRule, Upload
from aliyun_import.disk.containers.registry import open_container
from aliyun_import.disk.disk import open_disk
from aliyun_import.disk.examine import examine
from aliyun_import.disk.reader import FileReader, Reader, Window
from aliyun_import.disk.report import DiskReport
from aliyun_import.errors import DiskError
from aliyun_import.events import ignore
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskFormat
from tests.disk import build
from tests.disk.build import MIB
from tests.rows import each_row

DISK = bytes(build.bios_disk())


def _open(folder: Path, data: bytes | bytearray, name: str = "disk.raw") -> OpenedContainer:
    path = folder / name
    path.write_bytes(data)
    with FileReader(path) as file:
        return open_container(file, path)


def _at(offset: int, magic: bytes) -> bytes:
    return bytes(offset) + magic + bytes(2 * MIB)


def _zip(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("disk.raw", data)
    return packed.getvalue()


def _tar(data: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("disk.vmdk")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


@each_row(
    ("data", "container"),
    [
        (DISK, "raw"),
        (build.vhd_fixed(DISK), "vhd-fixed"),
        (build.vhd_dynamic(DISK), "vhd-dynamic"),
        (build.vhd_dynamic(DISK, kind=4), "vhd-differencing"),
        (build.qcow2(DISK), "qcow2"),
        (b"QFI\xfb\0\0\0\x01" + bytes(2 * MIB), "qcow"),
        (_at(0, b"KDMV"), "vmdk"),
        (b"# Disk DescriptorFile\nversion=1\n", "vmdk"),
        (_at(0, b"vhdxfile"), "vhdx"),
        (_at(64, b"\x7f\x10\xda\xbe"), "vdi"),
        (gzip.compress(DISK, 1), "gzip"),
        (bz2.compress(DISK), "bzip2"),
        (lzma.compress(DISK, preset=0), "xz"),
        (_zip(DISK), "zip"),
        (_tar(DISK), "tar"),
        (_at(32769, b"CD001"), "iso"),
        (b"", "empty"),
        (b"<html>404 not found</html>\n", "unknown"),
    ],
)
def test_the_format_is_detected_by_content_and_not_by_name(tmp_path: Path, data: bytes, container: str) -> None:
    """All files are named disk.raw."""
    assert _open(tmp_path, data).container.name == container


@each_row(
    ("data", "code"),
    [
        (b"", "file-empty"),
        (b"a text\n", "not-a-disk"),
        (_at(32769, b"CD001"), "iso-image"),
        (_tar(DISK), "container-tar"),
        (DISK + b"x", "raw-size-not-512"),
        (DISK[:4000], "disk-too-small"),
    ],
)
def test_a_file_that_cannot_be_imported_blocks_with_a_remedy(tmp_path: Path, data: bytes, code: str) -> None:
    """Each kind has its own code and exactly one problem."""
    (problem,) = _open(tmp_path, data).problems
    assert (problem.code, problem.severity) == (code, Severity.BLOCKS)
    assert problem.remedy


def _open_new(own: ContainerFormat, file: Reader, _source: Source) -> OpenedContainer:
    return OpenedContainer(container=own, disk=Window(file, start=512, size=file.size - 512))


NEW = ContainerFormat(
    name="new",
    open=_open_new,
    upload=Upload.REWRITTEN,
    signatures=((0, b"NEWDISK"),),
    suffixes=(".new",),
    suffix_rule=SuffixRule(title="NEW", content="`NEWDISK` in its first bytes"),
)
NEW_FILE = b"NEWDISK".ljust(512, b"\0") + DISK


def _inspect(path: Path, *, name: Path | None = None) -> DiskReport:
    """Inspect a disk in this process, which knows the new format."""
    with open_disk(path, name=name) as disk:
        return examine(str(path), str(disk.name), "layout", str(os.dup(disk.descriptor)))


def test_a_new_format_needs_only_its_value_in_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A format in the table is detected by content, opened as RAW with a note, and checked against its suffix."""
    monkeypatch.setattr(registry, "FORMATS", (NEW, *registry.FORMATS))
    opened = _open(tmp_path, NEW_FILE)
    assert (opened.container, opened.format, opened.virtual_bytes) == (NEW, DiskFormat.RAW, len(DISK))
    (note,) = opened.problems
    assert (note.code, note.severity) == ("container-foreign", Severity.NOTE)
    assert build.codes(_open(tmp_path, DISK, "disk.new").problems) == ["suffix-not-content"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, _zip], ids=["plain", "gzip", "xz", "zip"])
def test_the_upload_of_a_new_format_is_the_disk_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    """A rewritten container is uploaded as the bytes of its disk, without a header or a footer of another format."""
    monkeypatch.setattr(registry, "FORMATS", (NEW, *registry.FORMATS))
    monkeypatch.setattr(convert, "inspect_disk", _inspect)
    path = tmp_path / "disk.bin"
    path.write_bytes(pack(NEW_FILE))
    report = _inspect(path)
    assert report.format is DiskFormat.RAW
    with convert.prepare(path, report, work_dir=tmp_path / "work", emit=ignore) as ready:
        assert ready != path
        assert ready.read_bytes() == DISK
    assert list((tmp_path / "work").iterdir()) == []


def test_a_compressed_container_with_a_parent_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent is not in the compressed file, and a file of the work directory is not taken for it."""
    child = replace(NEW, open=lambda own, file, source: replace(_open_new(own, file, source), parents=("base.new",)))
    monkeypatch.setattr(registry, "FORMATS", (child, *registry.FORMATS))
    monkeypatch.setattr(convert, "inspect_disk", _inspect)
    path = tmp_path / "disk.new.gz"
    path.write_bytes(gzip.compress(NEW_FILE))
    with (
        pytest.raises(DiskError, match="whose parent is not in it") as caught,
        convert.prepare(path, _inspect(path), work_dir=tmp_path / "work", emit=ignore),
    ):
        pass
    assert "into the directory of the parent" in (caught.value.remedy or "")
    assert list((tmp_path / "work").iterdir()) == []


def test_a_rewritten_container_without_a_readable_disk_is_never_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason is the cause of the error, also if the findings are overridden."""
    broken = replace(NEW, open=lambda own, _file, _source: OpenedContainer(container=own, unknowns=("no table",)))
    monkeypatch.setattr(registry, "FORMATS", (broken, *registry.FORMATS))
    path = tmp_path / "disk.bin"
    path.write_bytes(NEW_FILE)
    report = _inspect(path)
    assert report.format is None
    with (
        pytest.raises(DiskError) as caught,
        convert.prepare(path, report, work_dir=tmp_path / "work", emit=ignore),
    ):
        pass
    assert (caught.value.code, caught.value.cause) == ("conversion-failed", "no table")


def test_the_pages_name_each_format_that_is_converted() -> None:
    """A row of the table of accepted files has all words of its name."""
    page = (Path(__file__).parents[3] / "docs" / "disks.md").read_text().lower()
    table = page.split("| file | what happens |", 1)[1].split("\n\n", 1)[0]
    rows = [set(re.findall(r"\w+", row.split("|")[1])) for row in table.splitlines() if row.startswith("|")]
    converted = [known.name for known in registry.FORMATS if known.is_rewritten]
    assert [name for name in converted if not any(set(name.split("-")) <= row for row in rows)] == []


def test_a_file_with_the_suffix_of_any_format_is_the_disk_in_a_zip(tmp_path: Path) -> None:
    """The suffixes of the formats that hold a disk are those of the registry."""
    wrong = []
    for known in registry.FORMATS:
        for suffix in known.suffixes:
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                archive.writestr("README", "hello")
                archive.writestr(f"disk{suffix}", build.qcow2(DISK))
            holds_disk = known.upload is not Upload.NEVER and known.compression is None
            if (_open(tmp_path, packed.getvalue(), "disk.zip").format is DiskFormat.QCOW2) is not holds_disk:
                wrong.append(suffix)
    assert not wrong


def test_names_of_formats_are_unique() -> None:
    """A name in a report identifies its format."""
    assert all(registry.format_named(known.name) is known for known in registry.FORMATS)


def test_a_raw_disk_is_its_file(tmp_path: Path) -> None:
    """Format and size are those of the file, and there is no problem."""
    opened = _open(tmp_path, DISK)
    assert (opened.format, opened.virtual_bytes, opened.problems) == (DiskFormat.RAW, len(DISK), ())


def test_a_blank_disk_has_a_note(tmp_path: Path) -> None:
    """A data disk may be empty on purpose; the checks decide whether it blocks."""
    (problem,) = _open(tmp_path, bytes(2 * MIB)).problems
    assert (problem.code, problem.severity) == ("disk-blank", Severity.NOTE)


@pytest.mark.parametrize(
    ("name", "code"),
    [("disk.vhd", "vhd-no-footer"), ("DISK.VHD", "vhd-no-footer"), ("disk.qcow2", "suffix-not-content")],
)
def test_a_suffix_without_its_container_blocks(tmp_path: Path, name: str, code: str) -> None:
    """The usual cause is a truncated file without its footer."""
    opened = _open(tmp_path, DISK, name)
    assert (opened.container.name, build.codes(opened.problems)) == ("raw", [code])


def test_boot_code_that_begins_like_bzip2_is_a_raw_disk(tmp_path: Path) -> None:
    """The three bytes of the signature of bzip2 are not sufficient."""
    assert _open(tmp_path, b"BZh" + DISK[3:]).container.name == "raw"


@pytest.mark.parametrize(
    ("inner", "format_"),
    [(DISK, DiskFormat.RAW), (build.qcow2(DISK), DiskFormat.QCOW2), (build.vhd_dynamic(DISK), DiskFormat.VHD)],
)
def test_a_compressed_file_has_the_format_of_its_contents(tmp_path: Path, inner: bytes, format_: DiskFormat) -> None:
    """The format is detected from the unpacked beginning."""
    opened = _open(tmp_path, gzip.compress(bytes(inner)))
    assert (opened.format, opened.disk) == (format_, None)
    assert (opened.problems[0].convertible, opened.problems[0].severity) == (True, Severity.NOTE)


def test_the_command_for_an_archive_has_the_quoted_path(tmp_path: Path) -> None:
    """The command can be pasted."""
    (problem,) = _open(tmp_path, _tar(DISK), "my disk.tar").problems
    assert shlex.split((problem.remedy or "").split("`")[1]) == ["tar", "-xf", str(tmp_path / "my disk.tar")]


@pytest.mark.parametrize("name", ["my disk.vhd", "my disk.raw"])
def test_a_command_in_a_remedy_has_the_path_of_the_file(tmp_path: Path, name: str) -> None:
    """The command can be pasted, and does not overwrite the file."""
    data = bytearray(build.vhd_fixed(DISK))
    data[-512 + 64] ^= 1
    (problem,) = _open(tmp_path, data, name).problems
    assert problem.code == "vhd-footer-checksum"
    command = (problem.remedy or "").split("`")[1]
    *_, source, target = shlex.split(command)
    assert source == str(tmp_path / name)
    assert target.endswith(".raw")
    assert target != source
