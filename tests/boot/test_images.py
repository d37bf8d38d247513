"""Tests that boots of real disks, without and with one fault each, agree with the checks.

The disks are those of `tests/disk/test_real_images.py`, in the folder that ALIYUN_IMPORT_TEST_IMAGES names. A boot
takes minutes under emulation; each test boots one.
"""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from aliyun_import.model.boot import Verdict
from tests.boot.edits import BIOS, UEFI
from tests.boot.faults import FAULTS, booted, write_faulty_disk

FOLDER = Path(os.environ.get("ALIYUN_IMPORT_TEST_IMAGES", "/nonexistent"))
TOOLS = ("qemu-system-x86_64", "debugfs", "mcopy")
pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(
        not FOLDER.is_dir() or not all(map(shutil.which, TOOLS)), reason="needs ALIYUN_IMPORT_TEST_IMAGES and tools"
    ),
]


def digest_of(disk: Path) -> tuple[int, bytes]:
    """Return the time of modification and the digest of a file."""
    with disk.open("rb") as file:
        return disk.stat().st_mtime_ns, hashlib.file_digest(file, "blake2b").digest()


@pytest.mark.parametrize("name", [BIOS, UEFI])
def test_a_real_disk_boots_and_is_not_written(name: str) -> None:
    """It boots; content and time of modification of the file are unchanged."""
    disk = FOLDER / name
    before = digest_of(disk)
    _, test = booted(disk, uefi=name == UEFI)
    assert test.verdict in (Verdict.BOOTS, Verdict.DEGRADED), test
    assert digest_of(disk) == before


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in ("none", "none-uefi")])
def test_the_boot_and_the_checks_agree(tmp_path: Path, name: str) -> None:
    """A check finds a fault that prevents the boot, and blocks no disk that boots."""
    fault = FAULTS[name]
    checked, test = booted(write_faulty_disk(FOLDER, tmp_path, name), uefi="uefi" in name)
    found = test.decisive.judgement
    assert (found.verdict, found.stage) == (fault.verdict, fault.stage), test
    assert not fault.check or fault.check in {finding.rule for finding in checked.findings}
    assert fault.verdict is Verdict.FAILS or checked.ok
