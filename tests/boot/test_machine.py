"""Tests of the virtual machine of a boot test: devices, isolation, programs and accelerator."""

import platform
from pathlib import Path

import pytest

from aliyun_import.boot import accelerator, machine
from aliyun_import.boot.guest import stop_code
from aliyun_import.boot.machine import MachineFiles, command_line, find_firmware, find_program
from aliyun_import.errors import LocalStateError
from aliyun_import.model.boot import BootMachine, Bus
from aliyun_import.model.request import Architecture, BootMode
from tests.rows import each_row


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install programs and firmware that are empty files."""
    for name in ("qemu-system-x86_64", "qemu-system-aarch64"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    code, variables = tmp_path / "code.fd", tmp_path / "vars,1.fd"
    for file in (code, variables):
        file.write_bytes(b"firmware")
    known = {one: ((str(code), str(variables)),) for one in (Architecture.X86_64, Architecture.ARM64)}
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(machine, "_FIRMWARE", known)
    return tmp_path


def line(directory: Path, **given: object) -> str:
    """Return the command line of a machine as one text."""
    values = {
        "architecture": Architecture.X86_64,
        "boot_mode": BootMode.BIOS,
        "bus": Bus.VIRTIO,
        "accelerator": "tcg",
        "processors": 2,
        "memory_mib": 2048,
        **given,
    }
    return " ".join(command_line(BootMachine(**values), MachineFiles(directory=directory)))  # type: ignore[arg-type]


@each_row("architecture", [Architecture.X86_64, Architecture.I386, Architecture.ARM64])
@each_row("boot_mode", BootMode)
@each_row("bus", Bus)
def test_every_machine_is_isolated(installed: Path, architecture: Architecture, boot_mode: BootMode, bus: Bus) -> None:
    """No network outside, no other program, no write to the disk, and limited memory and processors."""
    text = line(installed, architecture=architecture, boot_mode=boot_mode, bus=bus)
    assert "restrict=on" in text
    assert "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny" in text
    assert "snapshot=on,file.driver=nbd" in text
    assert "-m 2048 -smp 2" in text
    assert text.count("-netdev") == 1
    assert not {"hostfwd", "virtfs", "-cmd:", "/dev/"} & set(text.replace("=", " ").split())


def test_the_machine_is_like_an_instance(installed: Path) -> None:
    """Virtio or NVMe, virtio-net, the metadata service, and the product name that cloud-init reads."""
    assert "virtio-blk-pci,drive=disk" in line(installed)
    assert "nvme,serial=boot-test,drive=disk" in line(installed, bus=Bus.NVME)
    assert "virtio-net-pci" in line(installed)
    assert "product=Alibaba Cloud ECS" in line(installed)
    assert "guestfwd=tcp:100.100.100.200:80-chardev:metadata" in line(installed)


def test_the_boot_mode_selects_the_firmware(installed: Path) -> None:
    """UEFI has its firmware and a copy of the variables; BIOS writes its screen to a second port."""
    uefi = line(installed, boot_mode=BootMode.UEFI)
    assert "if=pflash,unit=0,format=raw,readonly=on" in uefi
    assert "sercon-port" not in uefi
    assert "sercon-port" in line(installed)
    machine.write_files(
        BootMachine(
            architecture=Architecture.X86_64,
            boot_mode=BootMode.UEFI,
            bus=Bus.VIRTIO,
            accelerator="tcg",
            processors=1,
            memory_mib=512,
        ),
        MachineFiles(directory=installed),
    )
    assert (installed / "variables").read_bytes() == b"firmware"


def test_without_qemu_the_remedy_has_the_install_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also without the firmware. Each architecture has its own packages."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(machine, "_FIRMWARE", dict.fromkeys((Architecture.X86_64, Architecture.ARM64), ()))
    for find in (find_program, find_firmware):
        for architecture, package in (
            (Architecture.X86_64, "apt-get install qemu-system-x86 ovmf"),
            (Architecture.ARM64, "apt-get install qemu-system-arm qemu-efi-aarch64"),
        ):
            with pytest.raises(LocalStateError) as caught:
                find(architecture)
            assert caught.value.code == "qemu-missing"
            assert package in (caught.value.remedy or "")


@pytest.mark.parametrize(
    ("manager", "x86", "arm"),
    [
        ("apt-get", "apt-get install qemu-system-x86 ovmf", "apt-get install qemu-system-arm qemu-efi-aarch64"),
        ("dnf", "dnf install qemu-system-x86 edk2-ovmf", "dnf install qemu-system-aarch64 edk2-aarch64"),
        ("zypper", "zypper install qemu-x86 qemu-ovmf-x86_64", "zypper install qemu-arm qemu-uefi-aarch64"),
        ("pacman", "pacman -S qemu-system-x86 edk2-ovmf", "pacman -S qemu-system-aarch64 edk2-aarch64"),
        ("apk", "apk add qemu-system-x86_64 ovmf", "apk add qemu-system-aarch64 aavmf"),
        ("brew", "brew install qemu", "brew install qemu"),
    ],
)
def test_the_install_command_is_for_the_installed_package_manager(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, manager: str, x86: str, arm: str
) -> None:
    """Commands for other package managers are not named."""
    (tmp_path / manager).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for architecture, line in ((Architecture.X86_64, x86), (Architecture.I386, x86), (Architecture.ARM64, arm)):
        with pytest.raises(LocalStateError) as caught:
            find_program(architecture)
        assert caught.value.remedy == f"Install it (`{line}`), or leave the boot test out."


@pytest.mark.parametrize(
    ("host", "device", "works", "expected"),
    [
        ("x86_64", "there", True, "kvm"),
        ("x86_64", "there", False, "tcg"),
        ("x86_64", "absent", True, "tcg"),
        ("aarch64", "there", True, "tcg"),
        ("riscv64", "there", True, "tcg"),
    ],
)
def test_kvm_is_used_where_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, device: str, works: bool, expected: str
) -> None:
    """The device exists, the architecture of the host is that of the guest, and the probe succeeds."""
    (tmp_path / "there").touch()
    monkeypatch.setattr(platform, "machine", lambda: host)
    monkeypatch.setattr(accelerator, "_DEVICE", tmp_path / device)
    monkeypatch.setattr(accelerator, "runs_probe", lambda *_: works)
    accelerator.choose_accelerator.cache_clear()
    chosen, why_not = accelerator.choose_accelerator(Architecture.X86_64)
    accelerator.choose_accelerator.cache_clear()
    assert chosen == expected
    assert bool(why_not) is (expected == "tcg")


def test_the_probe_is_a_boot_record() -> None:
    """It has the signature of a boot record and the expected line."""
    disk = accelerator.probe_disk()
    assert disk[510:512] == b"\x55\xaa"
    assert accelerator.PROBE_LINE.encode() in disk[:510]
    assert not any(disk[512:])


@each_row(
    ("info", "expected"),
    [
        ({"type": "hyper-v", "arg1": 0x7B, "arg2": 1}, "0x0000007B"),
        ({"type": "s390"}, ""),
        ({}, ""),
        ({"type": "hyper-v", "arg1": "x"}, ""),
    ],
)
def test_the_stop_code_of_windows_is_read(info: dict[str, object], expected: str) -> None:
    """The first crash register has it."""
    assert stop_code(info) == expected
