"""Tests of boots of tiny guests by UEFI, on x86_64 and arm64; skipped if QEMU or its firmware is not installed."""

from dataclasses import replace
from pathlib import Path

import pytest

import aliyun_import
from aliyun_import.boot import accelerator
from aliyun_import.boot.machine import find_firmware, find_program
from aliyun_import.checks.infer import Value
from aliyun_import.errors import LocalStateError
from aliyun_import.model.boot import BootTest, Stage, Verdict
from aliyun_import.model.request import Architecture, BootMode
from tests.boot.tiny import write_uefi_guest
from tests.disk import build

pytestmark = pytest.mark.qemu
MACHINES = {Architecture.X86_64: build.X86_64, Architecture.ARM64: build.ARM64}
LOGIN = "Debian GNU/Linux 12 tiny ttyS0\r\n\r\ntiny login: "
PANIC = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n"


@pytest.fixture(params=list(MACHINES))
def architecture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Architecture:
    """Return each architecture for which QEMU is installed; disable KVM."""
    try:
        find_program(request.param)
        find_firmware(request.param)
    except LocalStateError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(accelerator, "_HOST", {})
    accelerator.choose_accelerator.cache_clear()
    assert isinstance(request.param, Architecture)
    return request.param


def booted(path: Path, architecture: Architecture) -> BootTest:
    """Check and boot a disk, once."""
    test = aliyun_import.boot_test(aliyun_import.check(path))
    (run,) = test.runs
    assert (run.machine.architecture, run.machine.boot_mode) == (architecture, BootMode.UEFI)
    return test


@pytest.mark.parametrize(
    ("text", "verdict", "stage"), [(LOGIN, Verdict.BOOTS, None), (PANIC, Verdict.FAILS, Stage.KERNEL)]
)
def test_a_boot_loader_at_the_removable_path_is_started(
    tmp_path: Path, architecture: Architecture, text: str, verdict: Verdict, stage: Stage | None
) -> None:
    """Its console decides the verdict."""
    disk = write_uefi_guest(tmp_path / "disk.raw", text, machine=MACHINES[architecture])
    test = booted(disk, architecture)
    assert (test.verdict, test.decisive.judgement.stage) == (verdict, stage), test


def test_a_boot_loader_for_another_architecture_is_not_started(tmp_path: Path, architecture: Architecture) -> None:
    """The firmware reports that there is nothing to boot."""
    (other,) = set(MACHINES) - {architecture}
    name = {Architecture.X86_64: "BOOTX64", Architecture.ARM64: "BOOTAA64"}[architecture]
    loader = f"EFI/BOOT/{name}.EFI"
    disk = write_uefi_guest(tmp_path / "disk.raw", LOGIN, machine=MACHINES[other], loader=loader)
    checked = aliyun_import.check(disk)
    values = {**checked.parameters.values, "architecture": Value(architecture), "boot_mode": Value(BootMode.UEFI)}
    test = aliyun_import.boot_test(replace(checked, parameters=replace(checked.parameters, values=values)))
    assert (test.verdict, test.decisive.judgement.stage) == (Verdict.FAILS, Stage.FIRMWARE), test
