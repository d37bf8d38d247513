"""Tests of boots of a guest in every container: QEMU is given the disk that this tool reads."""

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
FORMS = {
    "disk.vmdk": ("vmdk",),
    "disk.vhdx": ("vhdx",),
    "disk.vdi": ("vdi",),
    "disk.qcow2": ("qcow2", "-c"),
    "fixed.vhd": ("vpc", "-o", "subformat=fixed,force_size"),
    "dynamic.vhd": ("vpc", "-o", "subformat=dynamic,force_size"),
}
SIGN = "Kernel panic - not syncing: No working init found.\r\n"


@pytest.fixture(autouse=True)
def _emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the KVM of this machine out."""
    monkeypatch.setattr(accelerator, "_HOST", {})
    accelerator.choose_accelerator.cache_clear()


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Write a guest that says that it found no init."""
    return write_guest(tmp_path / "disk.raw", SIGN)


def stage_of(path: Path) -> str:
    """Boot a disk, which must say its line, and return the last line."""
    test = aliyun_import.boot_test(aliyun_import.check(path))
    assert test.verdict is Verdict.FAILS
    return test.decisive.judgement.evidence[-1]


@pytest.mark.parametrize("name", FORMS)
def test_a_container_of_another_tool(disk: Path, tmp_path: Path, name: str) -> None:
    """What a push converts, merges or sends as it is boots as what it becomes."""
    path = tmp_path / name
    kind, *rest = FORMS[name]
    subprocess.run(["qemu-img", "convert", "-O", kind, *rest, disk, path], check=True, capture_output=True)
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert stage_of(path) == SIGN.strip()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_compressed_disk(disk: Path) -> None:
    """It is unpacked first, to a file that is removed; what it contains decides how it is started."""
    path = disk.with_name("disk.raw.gz")
    path.write_bytes(gzip.compress(disk.read_bytes()))
    disk.unlink()
    assert stage_of(path) == SIGN.strip()
    assert sorted(one.name for one in path.parent.iterdir() if one.is_file()) == ["disk.raw.gz"]


def test_a_chain_of_differencing_vhds(disk: Path) -> None:
    """What the parents and the last child have together boots; no file of the chain is written."""
    whole = disk.read_bytes()
    disk.unlink()
    folder = disk.parent
    # The record of the boot is the child's, the table of partitions its parent's, and the rest the grandparent's.
    base = build.vhd_dynamic(bytes(len(whole)), unique_id=7)
    middle_disk = whole[:446].replace(b"Kernel panic", b"overwritten.") + whole[446:]
    middle = build.vhd_differencing(middle_disk, bytes(len(whole)), parent="base.vhd", parent_id=7, unique_id=8)
    child = build.vhd_differencing(whole, middle_disk, parent="middle.vhd", parent_id=8, unique_id=9)
    files = {"base.vhd": base, "middle.vhd": middle, "child.vhd": child}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    assert stage_of(folder / "child.vhd") == SIGN.strip()
    assert {name: (folder / name).read_bytes() for name in files} == files


def test_a_disk_is_started_as_nvme_too(disk: Path) -> None:
    """Where NVMe is supported, a failure of the system is looked for on both."""
    checked = aliyun_import.check(disk)
    values = {**checked.parameters.values, "nvme_support": Value("supported")}
    test = aliyun_import.boot_test(replace(checked, parameters=replace(checked.parameters, values=values)))
    assert [run.machine.bus for run in test.runs] == [Bus.VIRTIO, Bus.NVME]
    assert {run.judgement.evidence[-1] for run in test.runs} == {SIGN.strip()}
