"""Boots of real disks, and of the same with one fault each: the boot is the judge of the checks.

The disks are those of `tests/disk/test_images.py`, in the folder that ALIYUN_IMPORT_TEST_IMAGES names. A boot takes
minutes under emulation; each test boots one.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import aliyun_import
from aliyun_import import BootOptions, Verdict
from aliyun_import.checks.run import CheckResult
from aliyun_import.model.boot import Stage

FOLDER = Path(os.environ.get("ALIYUN_IMPORT_TEST_IMAGES", "/nonexistent"))
TOOLS = ("qemu-system-x86_64", "debugfs")
pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(
        not FOLDER.is_dir() or not all(map(shutil.which, TOOLS)), reason="needs ALIYUN_IMPORT_TEST_IMAGES and tools"
    ),
]
BIOS, UEFI = "a-mbr-bios.raw", "b-gpt-uefi.raw"
# The root of the disk for BIOS begins at 1 MiB.
ROOT_AT = 1 << 20
CONFIG, FSTAB = "/boot/grub/grub.cfg", "/etc/fstab"
ABSENT = "UUID=99999999-2222-4333-8444-cccccccccccc /data ext4 defaults 0 2\n"


def debugfs(disk: Path, command: str, *, write: bool = False) -> str:
    """Run one command on the root file system of a disk."""
    program = ["debugfs", *(["-w"] if write else []), "-R", command, f"{disk}?offset={ROOT_AT}"]
    return subprocess.run(program, check=True, capture_output=True, text=True).stdout


def edited(disk: Path, path: str, edit: Callable[[str], str]) -> None:
    """Replace the text of a file on a disk."""
    new = disk.with_suffix(".edit")
    new.write_text(edit(debugfs(disk, f"cat {path}")))
    debugfs(disk, f"rm {path}", write=True)
    debugfs(disk, f"write {new} {path}", write=True)


def copied(tmp_path: Path) -> Path:
    """Return a sparse copy of the disk for BIOS."""
    disk = tmp_path / "disk.raw"
    subprocess.run(["cp", "--sparse=always", FOLDER / BIOS, disk], check=True)
    return disk


def booted(disk: Path) -> tuple[CheckResult, aliyun_import.BootTest]:
    """Check and boot a disk, as virtio alone."""
    checked = aliyun_import.check(disk)
    values = {name: value for name, value in checked.parameters.values.items() if name != "nvme_support"}
    once = replace(checked, parameters=replace(checked.parameters, values=values))
    return checked, aliyun_import.boot_test(once, options=BootOptions(timeout_s=1200))


def digest_of(disk: Path) -> tuple[int, bytes]:
    """Return the time of the last change of a file, and the digest of its content."""
    with disk.open("rb") as file:
        return disk.stat().st_mtime_ns, hashlib.file_digest(file, "blake2b").digest()


def without_initramfs(text: str) -> str:
    """Return a configuration of GRUB that names no initramfs."""
    lines = (line for line in text.splitlines(keepends=True) if "initrd " not in line)
    return "".join(lines)


def root_on_nvme(text: str) -> str:
    """Return a configuration of GRUB whose root is an NVMe disk."""
    return re.sub(r"root=UUID=\S+", "root=/dev/nvme0n1p1", text)


@pytest.mark.parametrize("name", [BIOS, UEFI])
def test_a_real_disk_boots_and_is_not_written(name: str) -> None:
    """Its login prompt appears; the file has the same content and the same times."""
    disk = FOLDER / name
    before = digest_of(disk)
    _, test = booted(disk)
    assert test.verdict in (Verdict.BOOTS, Verdict.DEGRADED), test
    assert digest_of(disk) == before


@pytest.mark.parametrize(
    ("path", "edit", "stage", "rule"),
    [
        (CONFIG, without_initramfs, Stage.KERNEL, "virtio-drivers"),
        (CONFIG, root_on_nvme, Stage.INITRAMFS, "root-device-name"),
        (FSTAB, lambda text: text + ABSENT, Stage.SYSTEM, "fstab-missing"),
    ],
    ids=["no initramfs", "root on NVMe", "absent disk in fstab"],
)
def test_a_fault_is_seen_by_the_boot_and_by_the_checks(
    tmp_path: Path, path: str, edit: Callable[[str], str], stage: Stage, rule: str
) -> None:
    """The boot fails where it must, and the checks had warned of the same."""
    disk = copied(tmp_path)
    edited(disk, path, edit)
    checked, test = booted(disk)
    assert (test.verdict, test.decisive.judgement.stage) == (Verdict.FAILS, stage), test
    assert rule in {finding.rule for finding in checked.findings}


def test_a_disk_without_a_boot_loader(tmp_path: Path) -> None:
    """The boot record is empty: nothing follows the firmware."""
    disk = copied(tmp_path)
    with disk.open("r+b") as file:
        file.write(bytes(440))
    checked, test = booted(disk)
    assert (test.verdict, test.decisive.judgement.stage) == (Verdict.FAILS, Stage.LOADER), test
    assert "nothing-starts" in {finding.rule for finding in checked.findings}
