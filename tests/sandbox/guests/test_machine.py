"""Tests of the virtual machine of a guest: its devices, and its isolation."""

import sys
from pathlib import Path

import pytest

from aliyun_import.sandbox.guests import machine
from aliyun_import.sandbox.guests.machine import Descriptors, Machine, command_line, launcher_command
from tests.rows import each_row

DESCRIPTORS = Descriptors(disks=[("raw", 20), ("vpc", 21)], monitor=22, metadata=23, screen=24, variables=(25, 26))


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install programs and firmware that are empty files."""
    for name in ("qemu-system-x86_64", "qemu-system-aarch64", "code", "variables"):
        (tmp_path / name).touch(0o755)
    known = ((str(tmp_path / "code"), str(tmp_path / "variables")),)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(machine, "_X86_FIRMWARE", known)
    monkeypatch.setattr(machine, "_ARM_FIRMWARE", known)


def command_text(
    *, architecture: str = "x86_64", is_uefi: bool = False, is_nvme: bool = False, accelerator: str = "tcg"
) -> str:
    """Return the command line of QEMU as one string."""
    machine_ = Machine(
        architecture=architecture,
        is_uefi=is_uefi,
        is_nvme=is_nvme,
        processors=2,
        memory_mib=1024,
        accelerator=accelerator,
    )
    return " ".join(command_line(machine_, DESCRIPTORS))


@each_row("architecture", ["x86_64", "i386", "arm64"])
@each_row("is_uefi", [False, True])
@each_row("is_nvme", [False, True])
def test_every_guest_is_isolated(architecture: str, is_uefi: bool, is_nvme: bool) -> None:
    """It has no network, no child processes, no files except descriptors, and limited memory and processors."""
    text = command_text(architecture=architecture, is_uefi=is_uefi, is_nvme=is_nvme)
    assert "restrict=on" in text
    assert "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny" in text
    assert "-m 1024 -smp 2" in text
    assert text.count("snapshot=on") == len(DESCRIPTORS.disks)
    assert text.count("file.filename=") == text.count("file.filename=/dev/fdset/")
    assert not {"hostfwd", "virtfs", "-cmd:"} & set(text.replace("=", " ").split())


def test_the_machine_has_the_devices_of_the_instance() -> None:
    """Disks are virtio or NVMe in their format, and the firmware is BIOS or UEFI."""
    assert command_text().count("virtio-blk-pci,drive=disk") == len(DESCRIPTORS.disks)
    assert "nvme,serial=disk1,drive=disk1" in command_text(is_nvme=True)
    assert "driver=vpc,force_size_calc=current_size" in command_text()
    assert "pflash" not in command_text()
    assert "fd=25,set=2 -add-fd fd=26,set=2" in command_text(is_uefi=True)
    assert "-machine virt" in command_text(architecture="arm64", is_uefi=True)
    assert "-accel kvm -cpu host" in command_text(accelerator="kvm")


def test_the_reason_has_the_missing_program_or_firmware(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """QEMU for the architecture and its firmware are checked."""
    assert not machine.unsupported_reason("x86_64", is_uefi=True)
    monkeypatch.setattr(machine, "_ARM_FIRMWARE", ())
    assert "UEFI firmware" in machine.unsupported_reason("arm64", is_uefi=True)
    (tmp_path / "qemu-system-x86_64").unlink()
    assert machine.unsupported_reason("x86_64", is_uefi=False) == "qemu-system-x86_64 is not installed"
    with pytest.raises(LookupError):
        command_text()


@pytest.mark.parametrize(("available", "expected"), [("64000000", 2048), ("2048000", 1000), ("1000", 512)])
def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch, available: str, expected: int) -> None:
    """A guest has at most half of the available memory and 2 GiB, and at least 512 MiB."""
    monkeypatch.setattr(Path, "read_text", lambda _path: f"MemAvailable: {available} kB\n")
    assert machine.memory_mib(8192) == expected


def test_a_launched_program_ends_with_its_parent() -> None:
    """The program runs below an interpreter that asks the kernel to end it with this process."""
    command = launcher_command(sys.executable, ["qemu", "-m", "512"])
    assert command[-3:] == ["qemu", "-m", "512"]
    assert "prctl" in command[4]
