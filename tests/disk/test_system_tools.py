"""Tests that the readers and the usual system tools return the same for the same image."""

import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aliyun_import.disk.containers import vhd
from aliyun_import.disk.containers.interface import OpenedContainer
from aliyun_import.disk.containers.registry import open_container
from aliyun_import.disk.convert import prepare
from aliyun_import.disk.filesystems.fat import Fat
from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.inspect import inspect_disk
from aliyun_import.disk.partitions.table import read_partitions
from aliyun_import.disk.reader import FileReader
from aliyun_import.errors import DiskError
from aliyun_import.events import ignore
from aliyun_import.limits import MIB
from aliyun_import.model.finding import Severity
from tests.disk import build
from tests.disk.tools import need, run

pytestmark = pytest.mark.root


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Return a disk of 40 MiB and 64 KiB: a GPT with an ESP, text, random bytes and holes."""
    size = 40 * MIB + 64 * 1024
    image = bytearray(size)
    image[: 4 * MIB] = build.uefi_disk()[: 4 * MIB]
    gpt = build.gpt(size, [build.Part(2048, 2048, build.ESP, name="ESP"), build.Part(4096, 70000, build.LINUX)])
    image[:17408], image[-16896:] = gpt[:17408], gpt[-16896:]
    rng = random.Random(5)
    image[6 * MIB : 7 * MIB] = rng.randbytes(MIB)
    image[20 * MIB + 3 : 20 * MIB + 3 + 600_000] = b"".join(b"%09d\n" % number for number in range(60_000))
    path = tmp_path / "disk.raw"
    path.write_bytes(image)
    return path


@contextmanager
def _opened(path: Path) -> Iterator[OpenedContainer]:
    with FileReader(path) as file:
        yield open_container(file, path)


@pytest.mark.parametrize(
    "options",
    [
        "-O vpc -o subformat=fixed,force_size=on",
        "-O vpc -o subformat=dynamic,force_size=on",
        "-O qcow2 -o compat=0.10",
        "-O qcow2",
        "-O qcow2 -c",
        "-O qcow2 -c -o compression_type=zstd",
        "-O qcow2 -o cluster_size=512",
        "-O qcow2 -o cluster_size=2M",
        "-O qcow2 -o preallocation=metadata",
        "-O qcow2 -o lazy_refcounts=on",
    ],
)
def test_every_byte_of_an_image_of_qemu_img_reads_back(tmp_path: Path, disk: Path, options: str) -> None:
    """All container formats with a reader have no problem worse than a note, except zstd."""
    need("qemu-img")
    image = tmp_path / "image"
    run("qemu-img", "convert", "-f", "raw", *options.split(), disk, image)
    with _opened(image) as opened:
        worse = [problem.code for problem in opened.problems if problem.severity is not Severity.NOTE]
        assert worse == (["qcow2-zstd"] if "zstd" in options else [])
        assert opened.unknowns == ()
        assert opened.disk is not None
        assert opened.disk.size == disk.stat().st_size
        assert opened.disk.pread(0, opened.disk.size) == disk.read_bytes()


def test_qemu_img_reads_the_written_footer(tmp_path: Path, disk: Path) -> None:
    """A disk with the footer of the package is a fixed VHD of the same size."""
    need("qemu-img")
    image = tmp_path / "image.vhd"
    image.write_bytes(disk.read_bytes() + vhd.fixed_footer(disk.stat().st_size))
    assert (
        json.loads(run("qemu-img", "info", "-f", "vpc", "--output=json", image))["virtual-size"] == disk.stat().st_size
    )
    assert "identical" in run("qemu-img", "compare", "-f", "raw", "-F", "vpc", disk, image)


@pytest.mark.parametrize("subformat", ["fixed", "dynamic"])
def test_the_padding_of_qemu_img_is_removed(tmp_path: Path, disk: Path, subformat: str) -> None:
    """The result is the original disk."""
    need("qemu-img")
    image = tmp_path / "image.vhd"
    run("qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", f"subformat={subformat}", disk, image)
    report = inspect_disk(image)
    assert "vhd-chs-padded" in build.codes(report.container_problems)
    with prepare(image, report, work_dir=tmp_path / "work", emit=ignore) as ready:
        assert ready.read_bytes()[:-512] == disk.read_bytes()


@pytest.mark.parametrize(
    ("container", "options"),
    [
        ("vmdk", "-O vmdk"),
        ("vmdk", "-O vmdk -o subformat=streamOptimized"),
        ("vhdx", "-O vhdx"),
        ("vdi", "-O vdi"),
        ("qed", "-O qed"),
        ("qcow", "-O qcow"),
        ("parallels", "-O parallels"),
    ],
)
def test_other_containers_are_read_and_converted_by_qemu(
    tmp_path: Path, disk: Path, container: str, options: str
) -> None:
    """The report and the converted bytes are those of the RAW disk."""
    need("qemu-img", "qemu-nbd")
    image = tmp_path / "image"
    run("qemu-img", "convert", "-f", "raw", *options.split(), disk, image)
    report, raw = inspect_disk(image), inspect_disk(disk)
    assert (report.container, report.unknowns) == (container, ())
    assert (report.table, report.boot, report.guest) == (raw.table, raw.boot, raw.guest)
    assert report.partitions == raw.partitions
    with prepare(image, report, work_dir=tmp_path / "work", emit=ignore) as ready:
        # Some of these formats round sizes up, with zeros at the end.
        converted = ready.read_bytes()
    assert converted[: disk.stat().st_size] == disk.read_bytes()
    assert not any(converted[disk.stat().st_size :])
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("options", ["-o subformat=monolithicFlat", "-b base.vmdk -F vmdk"])
def test_a_vmdk_that_refers_to_other_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    """Its descriptor may refer to any local file."""
    need("qemu-img", "qemu-nbd")
    monkeypatch.chdir(tmp_path)
    run("qemu-img", "create", "-f", "vmdk", "base.vmdk", "10M")
    run("qemu-img", "create", "-f", "vmdk", *options.split(), "child.vmdk", *([] if "-b" in options else ["10M"]))
    report = inspect_disk(tmp_path / "child.vmdk")
    assert build.codes(report.container_problems) == ["container-foreign", "not-whole"]
    with (
        pytest.raises(DiskError) as caught,
        prepare(report.path, report, work_dir=tmp_path / "work", emit=ignore),
    ):
        pass
    assert caught.value.code == "not-whole"
    assert list((tmp_path / "work").iterdir()) == []


def test_a_damaged_vmdk_is_refused_with_the_reason(tmp_path: Path) -> None:
    """The reason is that of qemu-img."""
    need("qemu-img", "qemu-nbd")
    image = tmp_path / "image.vmdk"
    image.write_bytes(b"KDMV" + os.urandom(MIB))
    report = inspect_disk(image)
    assert build.codes(report.container_problems) == ["container-foreign", "conversion-failed"]


def test_incomplete_qcow2_images_have_their_own_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """qemu-img creates a backing file, an external data file, extended L2 entries and a snapshot."""
    need("qemu-img")
    monkeypatch.chdir(tmp_path)
    qcow2 = ("qemu-img", "create", "-q", "-f", "qcow2")
    run(*qcow2, "base.qcow2", "10M")
    run(*qcow2, "-b", "base.qcow2", "-F", "qcow2", "backed.qcow2")
    run(*qcow2, "-o", "data_file=data.raw", "external.qcow2", "10M")
    run(*qcow2, "-o", "extended_l2=on", "extended.qcow2", "10M")
    run(*qcow2, "snapshot.qcow2", "10M")
    run("qemu-img", "snapshot", "-c", "one", "snapshot.qcow2")
    found = {path.stem: build.codes(inspect_disk(path).container_problems) for path in tmp_path.glob("*.qcow2")}
    assert found == {
        "base": [],
        "backed": ["qcow2-backing-file"],
        "external": ["qcow2-external-data"],
        "extended": ["qcow2-extended-l2"],
        "snapshot": ["qcow2-snapshots"],
    }


def test_a_gpt_of_sgdisk_is_read(tmp_path: Path) -> None:
    """Offsets, sizes, types, names and PARTUUIDs are those that sgdisk prints."""
    need("sgdisk")
    path = tmp_path / "disk"
    path.write_bytes(bytes(64 * MIB))
    run(
        "sgdisk",
        "-n1:2048:+8M",
        "-t1:ef00",
        "-c1:ESP",
        "-n2:0:+1M",
        "-t2:ef02",
        "-n5:0:0",
        "-t5:8300",
        "-c5:rööt",
        path,
    )
    with FileReader(path) as file:
        table = read_partitions(file)
    assert table.problems == []
    assert [partition.number for partition in table.partitions] == [1, 2, 5]
    for partition in table.partitions:
        printed = run("sgdisk", f"-i{partition.number}", path)
        assert f"First sector: {partition.start_bytes // 512} " in printed
        assert f"Partition size: {partition.size_bytes // 512} sectors" in printed
        assert partition.type_id.upper() in printed
        assert partition.part_uuid.upper() in printed
        assert f"Partition name: '{partition.name}'" in printed


def test_an_mbr_of_sfdisk_is_read(tmp_path: Path) -> None:
    """Primary, extended, logical and active partitions are those that sfdisk prints."""
    need("sfdisk")
    path = tmp_path / "disk"
    path.write_bytes(bytes(64 * MIB))
    script = "label: dos\n,8M,83,*\n,8M,82\n,,5\n,8M,83\n,8M,8e\n,,7\n"
    run("sfdisk", "-q", path, stdin=script)
    printed = json.loads(run("sfdisk", "-J", path))["partitiontable"]["partitions"]
    with FileReader(path) as file:
        table = read_partitions(file)
    partitions = [(p.start_bytes // 512, p.size_bytes // 512, p.type_id, p.active) for p in table.partitions]
    assert partitions == [
        (p["start"], p["size"], f"0x{int(p['type'], 16):02x}", p.get("bootable", False)) for p in printed
    ]
    assert table.problems == []


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_files_that_mtools_writes_read_back(tmp_path: Path, bits: int) -> None:
    """Long and short names, directories of many clusters and files of many sizes are read."""
    need("mkfs.vfat", "mmd", "mcopy")
    image, source = tmp_path / "fat", tmp_path / "source"
    image.write_bytes(bytes({12: 2, 16: 32, 32: 80}[bits] * MIB))
    run("mkfs.vfat", "-F", str(bits), "-n", "ESP", "-i", "AB12CD34", image)
    source.mkdir()
    files = {f"file number {index} with a long näme.efi": os.urandom(index * 997) for index in range(60)}
    for name, data in files.items():
        (source / name).write_bytes(data)
    run("mmd", "-i", image, "::EFI", "::EFI/BOOT")
    run("mcopy", "-i", image, *sorted(source.iterdir()), "::EFI/BOOT")
    with FileReader(image) as file:
        tree = Tree(Fat(file))
        assert set(tree.names("EFI/BOOT")) == set(files)
        for name, data in files.items():
            assert tree.read(f"EFI/BOOT/{name}") == data
        partition = read_partitions(file).partitions[0]
    assert (partition.filesystem, partition.label, partition.uuid) == ("vfat", "ESP", "AB12-CD34")


@pytest.mark.parametrize(
    "command",
    [
        "mkfs.ext4 -q -F -L data",
        "mkfs.ext3 -q -F -L data",
        "mkfs.ext2 -q -F -L data",
        "mkfs.xfs -q -L data",
        "mkswap -q -L data",
        "mkfs.vfat -F 32 -n DATA",
        "mkntfs -q -F -L data",
        "mkfs.btrfs -q -L data",
    ],
)
def test_a_file_system_is_detected_as_by_blkid(tmp_path: Path, command: str) -> None:
    """Type, UUID and label are those that blkid prints."""
    program, *options = command.split()
    need(program, "blkid")
    path = tmp_path / "volume"
    with path.open("wb") as file:
        file.truncate(400 * MIB)
    run(program, *options, path)
    printed = dict(line.split("=", 1) for line in run("blkid", "-p", "-o", "export", path).splitlines())
    with FileReader(path) as reader:
        partition = read_partitions(reader).partitions[0]
    assert (partition.filesystem, partition.uuid) == (printed["TYPE"], printed["UUID"])
    if printed["TYPE"] != "ntfs":  # the label of NTFS is a file, which is not read
        assert partition.label == printed.get("LABEL", "")
