"""Tests of boots of disks in each container format: QEMU gets the content that this tool reads."""

import gzip
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import aliyun_import
from aliyun_import.boot import accelerator
from aliyun_import.checks.infer import Value
from aliyun_import.model.boot import Bus, Verdict
from tests.boot.tiny import write_guest
from tests.disk import build

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(
        shutil.which("qemu-system-x86_64") is None or shutil.which("qemu-img") is None, reason="QEMU is not installed"
    ),
]
CONTAINERS = {
    "disk.vmdk": ("vmdk",),
    "disk.vhdx": ("vhdx",),
    "disk.vdi": ("vdi",),
    "disk.qcow2": ("qcow2", "-c"),
    "fixed.vhd": ("vpc", "-o", "subformat=fixed,force_size"),
    "dynamic.vhd": ("vpc", "-o", "subformat=dynamic,force_size"),
}
PANIC = "Kernel panic - not syncing: No working init found.\r\n"


@pytest.fixture(autouse=True)
def _emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable KVM."""
    monkeypatch.setattr(accelerator, "_HOST", {})
    accelerator.choose_accelerator.cache_clear()


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Write a guest that prints a kernel panic."""
    return write_guest(tmp_path / "disk.raw", PANIC)


def last_line_of(path: Path) -> str:
    """Boot a disk that fails, and return the last line of the evidence."""
    test = aliyun_import.boot_test(aliyun_import.check(path))
    assert test.verdict is Verdict.FAILS
    return test.decisive.judgement.evidence[-1]


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_disk_in_another_container_boots(disk: Path, tmp_path: Path, name: str) -> None:
    """Also in containers that a push converts. The file is not written."""
    path = tmp_path / name
    kind, *rest = CONTAINERS[name]
    subprocess.run(["qemu-img", "convert", "-O", kind, *rest, disk, path], check=True, capture_output=True)
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert last_line_of(path) == PANIC.strip()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_compressed_disk_boots(disk: Path) -> None:
    """It is decompressed to a temporary file, which is removed."""
    path = disk.with_name("disk.raw.gz")
    path.write_bytes(gzip.compress(disk.read_bytes()))
    disk.unlink()
    assert last_line_of(path) == PANIC.strip()
    assert sorted(one.name for one in path.parent.iterdir() if one.is_file()) == ["disk.raw.gz"]


def test_a_chain_of_differencing_vhds_boots(disk: Path) -> None:
    """The merged content boots; no file of the chain is written."""
    whole = disk.read_bytes()
    disk.unlink()
    folder = disk.parent
    # The child has the boot record, its parent the partition table, and the grandparent the rest.
    base = build.vhd_dynamic(bytes(len(whole)), unique_id=7)
    middle_disk = whole[:446].replace(b"Kernel panic", b"overwritten.") + whole[446:]
    middle = build.vhd_differencing(middle_disk, bytes(len(whole)), parent="base.vhd", parent_id=7, unique_id=8)
    child = build.vhd_differencing(whole, middle_disk, parent="middle.vhd", parent_id=8, unique_id=9)
    files = {"base.vhd": base, "middle.vhd": middle, "child.vhd": child}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    assert last_line_of(folder / "child.vhd") == PANIC.strip()
    assert {name: (folder / name).read_bytes() for name in files} == files


def test_a_disk_with_nvme_support_boots_on_both_buses(disk: Path) -> None:
    """A disk with NVMe support is booted on virtio and on NVMe."""
    checked = aliyun_import.check(disk)
    values = {**checked.parameters.values, "nvme_support": Value("supported")}
    test = aliyun_import.boot_test(replace(checked, parameters=replace(checked.parameters, values=values)))
    assert [run.machine.bus for run in test.runs] == [Bus.VIRTIO, Bus.NVME]
    assert {run.judgement.evidence[-1] for run in test.runs} == {PANIC.strip()}
