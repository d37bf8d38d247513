"""Tests of what a push reads from the disk and tells ECS, and that a flag that contradicts the disk stops it."""

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from aliyun_import.sandbox.server import Sandbox
from tests.disk import build
from tests.disk.fixtures import image
from tests.disk.guests import debian_disk
from tests.flows.commands import Commands
from tests.steered import import_calls


@pytest.fixture
def uefi(tmp_path: Path) -> Path:
    """Make a disk that starts by UEFI only, on x86_64."""
    path = tmp_path / "uefi.raw"
    path.write_bytes(build.uefi_disk())
    return path


def asked(sandbox: Sandbox) -> dict[str, str]:
    """Return the parameters of the one ImportImage call that the sandbox received."""
    (entry,) = import_calls(sandbox)
    return dict(parse_qsl(urlsplit(entry.target).query))


def test_a_uefi_disk_is_imported_as_such(commands: Commands, sandbox: Sandbox, uefi: Path) -> None:
    """Nobody said so: BootMode, Architecture, Format and DiskImageSize come from the disk."""
    ran = commands.run("push", uefi)
    assert ran.code == 0, ran.err
    told = asked(sandbox)
    assert (told["BootMode"], told["Architecture"], told["OSType"]) == ("UEFI", "x86_64", "linux")
    assert (told["DiskDeviceMapping.1.Format"], told["DiskDeviceMapping.1.DiskImageSize"]) == ("RAW", "5")


def test_an_arm64_disk_is_imported_as_such(commands: Commands, sandbox: Sandbox, tmp_path: Path) -> None:
    """The loader of the disk is for arm64, so is the image, and that starts by UEFI."""
    path = tmp_path / "arm.raw"
    path.write_bytes(build.uefi_disk(machine=build.ARM64, path="EFI/BOOT/BOOTAA64.EFI"))
    assert commands.run("push", path).code == 0
    assert (asked(sandbox)["Architecture"], asked(sandbox)["BootMode"]) == ("arm64", "UEFI")


def test_a_debian_is_imported_as_debian(commands: Commands, sandbox: Sandbox, tmp_path: Path) -> None:
    """Platform is never left at Others Linux where os-release tells better, and the NVMe driver is told."""
    path = tmp_path / "debian.raw"
    path.write_bytes(debian_disk())
    ran = commands.run("push", path)
    assert ran.code == 0, ran.err
    told = asked(sandbox)
    assert (told["Platform"], told["OSType"], told["BootMode"]) == ("Debian", "linux", "BIOS")
    assert told["Features.NvmeSupport"] == "supported"
    # The summary says which of them were read from the disk.
    (line,) = [line for line in ran.err.splitlines() if "debian.raw: raw" in line]
    _summary, read = line.split("; read from the disk: ")
    assert read.split(", ")[2:] == [
        "boot mode BIOS", "architecture x86_64", "OS linux", "platform Debian", "NVMe supported"
    ]  # fmt: skip


def test_a_windows_disk_has_its_licence_named(commands: Commands, sandbox: Sandbox, tmp_path: Path) -> None:
    """ECS wants LicenseType with Windows; NTFS alone tells that it is one."""
    root = image("guest-windows")
    disk = build.mbr(build.MIB + len(root), [build.Part(2048, len(root) // 512, 0x07, active=True)], code=b"\xeb\x63")
    path = tmp_path / "windows.raw"
    path.write_bytes(build.place(disk, build.MIB, root))
    ran = commands.run("push", path, "--force")
    assert ran.code == 0, ran.err
    assert (asked(sandbox)["OSType"], asked(sandbox)["LicenseType"]) == ("windows", "Aliyun")


def test_flags_win_over_the_disk_where_they_may(commands: Commands, sandbox: Sandbox, tmp_path: Path) -> None:
    """A flag that only warns is told as it was given, and is not said to be read from the disk."""
    path = tmp_path / "debian.raw"
    path.write_bytes(debian_disk())
    ran = commands.run("push", path, "--platform", "Ubuntu", "--disk-size", "40")
    assert ran.code == 0, ran.err
    told = asked(sandbox)
    assert (told["Platform"], told["DiskDeviceMapping.1.DiskImageSize"]) == ("Ubuntu", "40")
    assert "platform=Debian" not in ran.err


def test_a_flag_that_contradicts_the_disk_stops_the_push(commands: Commands, sandbox: Sandbox, uefi: Path) -> None:
    """Exit 3 before anything is asked of the cloud; the finding has its evidence and the flag its remedy."""
    ran = commands.run("push", uefi, "--boot-mode", "BIOS", "--output", "json")
    assert (ran.code, ran.json["code"]) == (3, "boot-mode-contradicts")
    assert "EFI/BOOT/BOOTX64.EFI" in ran.json["cause"]
    assert "Omit --boot-mode" in ran.json["remedy"]
    assert sandbox.requests.entries() == ()


def test_force_takes_the_flag_at_its_word(commands: Commands, sandbox: Sandbox, uefi: Path) -> None:
    """With --force the request says what the user said, and the finding is still shown."""
    ran = commands.run("push", uefi, "--boot-mode", "BIOS", "--force")
    assert ran.code == 0, ran.err
    assert asked(sandbox)["BootMode"] == "BIOS"
    assert "[boot-mode-contradicts]" in ran.err


def test_all_that_blocks_is_told_at_once(commands: Commands, uefi: Path) -> None:
    """Four flags that contradict the disk are four findings of one refusal; skipping all but one leaves that."""
    flags = ("--boot-mode", "BIOS", "--os-type", "windows", "--architecture", "arm64", "--format", "QCOW2")
    ran = commands.run("push", uefi, *flags, "--output", "json")
    rules = set(ran.json["details"]["rules"].split(","))
    flagged = {"boot-mode-contradicts", "os-type-contradicts", "architecture-contradicts", "requested-format-differs"}
    assert flagged <= rules
    skips = [word for rule in rules - {"boot-mode-contradicts"} for word in ("--skip-check", rule)]
    assert commands.run("push", uefi, *flags, *skips, "--output", "json").json["code"] == "boot-mode-contradicts"


def test_warnings_are_shown_and_the_push_goes_on(commands: Commands, sandbox: Sandbox, tmp_path: Path) -> None:
    """A disk that is read in part only is said to be so, and imported."""
    path = tmp_path / "btrfs.raw"
    disk = build.bios_disk()
    build.place(disk, build.MIB, bytes(65536 + 4096))
    build.place(disk, build.MIB + 65536 + 64, b"_BHRfS_M")
    path.write_bytes(disk)
    ran = commands.run("push", path)
    assert ran.code == 0, ran.err
    assert "[guest-unread]" in ran.err
    assert len(import_calls(sandbox)) == 1
