"""Tests of parameters that a push infers from the disk, and of options that contradict the disk."""

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from aliyun_import.sandbox.server import Sandbox
from tests.clocks import import_calls
from tests.disk import build
from tests.disk.fixtures import image
from tests.disk.guest_disks import debian_disk
from tests.flows.commands import Commands


@pytest.fixture
def uefi_disk(tmp_path: Path) -> Path:
    """Write a disk for x86_64 that boots by UEFI only."""
    path = tmp_path / "uefi.raw"
    path.write_bytes(build.uefi_disk())
    return path


def request_of(sandbox: Sandbox) -> dict[str, str]:
    """Return the parameters of the one ImportImage call that the sandbox received."""
    (entry,) = import_calls(sandbox)
    return dict(parse_qsl(urlsplit(entry.target).query))


def test_a_uefi_disk_is_imported_with_its_boot_mode(commands: Commands, sandbox: Sandbox, uefi_disk: Path) -> None:
    """BootMode, Architecture, Format and DiskImageSize are inferred from the disk."""
    ran = commands.run("push", uefi_disk)
    assert ran.code == 0, ran.err
    request = request_of(sandbox)
    assert (request["BootMode"], request["Architecture"], request["OSType"]) == ("UEFI", "x86_64", "linux")
    assert (request["DiskDeviceMapping.1.Format"], request["DiskDeviceMapping.1.DiskImageSize"]) == ("RAW", "5")


def test_an_arm64_disk_is_imported_with_its_architecture(commands: Commands, sandbox: Sandbox, tmp_path: Path) -> None:
    """The boot loader is for arm64, and arm64 boots by UEFI."""
    path = tmp_path / "arm.raw"
    path.write_bytes(build.uefi_disk(machine=build.ARM64, path="EFI/BOOT/BOOTAA64.EFI"))
    assert commands.run("push", path).code == 0
    assert (request_of(sandbox)["Architecture"], request_of(sandbox)["BootMode"]) == ("arm64", "UEFI")


def test_a_debian_disk_is_imported_with_its_platform(commands: Commands, sandbox: Sandbox, tmp_path: Path) -> None:
    """Platform comes from os-release, and NvmeSupport from the drivers in the initramfs."""
    path = tmp_path / "debian.raw"
    path.write_bytes(debian_disk())
    ran = commands.run("push", path)
    assert ran.code == 0, ran.err
    request = request_of(sandbox)
    assert (request["Platform"], request["OSType"], request["BootMode"]) == ("Debian", "linux", "BIOS")
    assert request["Features.NvmeSupport"] == "supported"
    # The summary names those that were read from the disk.
    (line,) = [line for line in ran.err.splitlines() if "debian.raw: raw" in line]
    _summary, read = line.split("; read from the disk: ")
    assert read.split(", ")[2:] == [
        "boot mode BIOS", "architecture x86_64", "OS linux", "platform Debian", "NVMe supported"
    ]  # fmt: skip


def test_a_windows_disk_is_imported_with_a_license_type(commands: Commands, sandbox: Sandbox, tmp_path: Path) -> None:
    """ECS requires LicenseType for Windows; an NTFS root is evidence enough."""
    root = image("guest-windows")
    disk = build.mbr(build.MIB + len(root), [build.Part(2048, len(root) // 512, 0x07, active=True)], code=b"\xeb\x63")
    path = tmp_path / "windows.raw"
    path.write_bytes(build.write_at(disk, build.MIB, root))
    ran = commands.run("push", path, "--force")
    assert ran.code == 0, ran.err
    assert (request_of(sandbox)["OSType"], request_of(sandbox)["LicenseType"]) == ("windows", "Aliyun")


def test_options_have_precedence_over_the_disk(commands: Commands, sandbox: Sandbox, tmp_path: Path) -> None:
    """An option that only causes a warning is sent as given, and is not listed as read from the disk."""
    path = tmp_path / "debian.raw"
    path.write_bytes(debian_disk())
    ran = commands.run("push", path, "--platform", "Ubuntu", "--disk-size", "40")
    assert ran.code == 0, ran.err
    request = request_of(sandbox)
    assert (request["Platform"], request["DiskDeviceMapping.1.DiskImageSize"]) == ("Ubuntu", "40")
    assert "platform=Debian" not in ran.err


def test_an_option_that_contradicts_the_disk_is_refused(commands: Commands, sandbox: Sandbox, uefi_disk: Path) -> None:
    """Exit code 3 before the first request, with evidence and remedy."""
    ran = commands.run("push", uefi_disk, "--boot-mode", "BIOS", "--output", "json")
    assert (ran.code, ran.json["code"]) == (3, "boot-mode-contradicts")
    assert "EFI/BOOT/BOOTX64.EFI" in ran.json["cause"]
    assert "Omit --boot-mode" in ran.json["remedy"]
    assert sandbox.requests.entries() == ()


def test_force_sends_an_option_that_contradicts_the_disk(commands: Commands, sandbox: Sandbox, uefi_disk: Path) -> None:
    """The finding is still shown."""
    ran = commands.run("push", uefi_disk, "--boot-mode", "BIOS", "--force")
    assert ran.code == 0, ran.err
    assert request_of(sandbox)["BootMode"] == "BIOS"
    assert "[boot-mode-contradicts]" in ran.err


def test_all_blocking_findings_are_in_one_error(commands: Commands, uefi_disk: Path) -> None:
    """Four contradicting options are four findings of one error; if all but one are skipped, that one blocks."""
    options = ("--boot-mode", "BIOS", "--os-type", "windows", "--architecture", "arm64", "--format", "QCOW2")
    ran = commands.run("push", uefi_disk, *options, "--output", "json")
    rules = set(ran.json["details"]["rules"].split(","))
    expected = {"boot-mode-contradicts", "os-type-contradicts", "architecture-contradicts", "requested-format-differs"}
    assert expected <= rules
    skips = [word for rule in rules - {"boot-mode-contradicts"} for word in ("--skip-check", rule)]
    assert commands.run("push", uefi_disk, *options, *skips, "--output", "json").json["code"] == "boot-mode-contradicts"


def test_a_warning_is_shown_and_the_push_continues(commands: Commands, sandbox: Sandbox, tmp_path: Path) -> None:
    """A disk with a file system that is not read is imported with a finding."""
    path = tmp_path / "btrfs.raw"
    disk = build.bios_disk()
    build.write_at(disk, build.MIB, bytes(65536 + 4096))
    build.write_at(disk, build.MIB + 65536 + 64, b"_BHRfS_M")
    path.write_bytes(disk)
    ran = commands.run("push", path)
    assert ran.code == 0, ran.err
    assert "[guest-unread]" in ran.err
    assert len(import_calls(sandbox)) == 1
