"""Tests of the inspection of a Windows guest, with and without the extra `[windows]`."""

import importlib.util
import re

import pytest

from aliyun_import.disk.filesystems.fat import Fat
from aliyun_import.disk.filesystems.registry import Volume
from aliyun_import.disk.guest.inspection import inspect_guest
from aliyun_import.disk.guest.report import GuestReport, WindowsFacts
from aliyun_import.disk.guest.windows import Hive, Ntfs, inspect_windows
from aliyun_import.disk.reader import Bad, BytesReader, Missing, Unsupported
from aliyun_import.disk.report import Partition
from aliyun_import.model.request import Architecture, OsType
from tests.disk import build
from tests.disk.fixtures import image
from tests.disk.hive import hive

EXTRA = all(importlib.util.find_spec(name) for name in ("pyfsntfs", "pyregf"))
needs_extra = pytest.mark.skipif(not EXTRA, reason="needs the extra [windows]: libfsntfs-python and libregf-python")


def inspect_ntfs(data: bytes) -> GuestReport:
    """Inspect an NTFS volume as the one partition of a disk."""
    part = Partition(number=1, start_bytes=0, size_bytes=len(data), type_name="NTFS", type_id="0x07", filesystem="ntfs")
    return inspect_guest(BytesReader(data), [part])


@needs_extra
def test_the_facts_of_a_windows_are_read_from_its_registry_and_files() -> None:
    """Every fact of the Windows of fixtures/ is read, from the control set in use."""
    guest = inspect_ntfs(image("guest-windows"))
    assert guest.unknowns == ()
    assert (guest.os_type, guest.architecture) == (OsType.WINDOWS, Architecture.X86_64)
    windows = guest.windows
    assert windows is not None
    assert [filter_.what for filter_ in windows.filters] == ["leftover (disk, UpperFilters)"]
    assert windows == WindowsFacts(
        product="Windows Server 2022 Standard",
        build=20348,
        read_only_drivers=(),
        boot_files=("Boot/BCD on partition 1",),
        pending_update=r"SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending",
        client=False,
        registry_read=True,
        driver_files=("viostor.sys", "netkvm.sys", "stornvme.sys"),
        viostor_start=3,
        netkvm_start=3,
        stornvme_start=0,
        image_state="IMAGE_STATE_COMPLETE",
        setup_in_progress=False,
        remote_desktop=False,
        remote_desktop_port=3390,
        remote_desktop_allowed=True,
        filters=windows.filters,
        firewall=("PublicProfile",),
        device_install_disabled=False,
        xen_hidden=False,
        hibernated=True,
        dirty=False,
        guest_agent="/Program Files/Qemu-ga/qemu-ga.exe",
    )


@needs_extra
def test_a_dirty_volume_and_read_only_drivers_are_found() -> None:
    """Both are flags in the MFT, of $Volume and of the driver."""
    raw = bytearray(image("guest-windows"))
    _set_flag(raw, "$Volume", kind=0x70, at=10)
    _set_flag(raw, "netkvm.sys", kind=0x10, at=32)
    windows = inspect_ntfs(bytes(raw)).windows
    assert windows is not None
    assert (windows.dirty, windows.read_only_drivers) == (True, ("netkvm.sys",))


@needs_extra
def test_a_driver_without_its_attributes_is_bad() -> None:
    """The library returns None for missing flags, which is damage and not "not read-only"."""
    raw = bytearray(image("guest-windows"))
    name = "viostor.sys".encode("utf-16-le")
    records = {found.start() // 1024 * 1024 for found in re.finditer(re.escape(name), bytes(raw))}
    for record in records:
        if raw[record : record + 4] == b"FILE":
            first = record + int.from_bytes(raw[record + 0x14 : record + 0x16], "little")
            raw[first : first + 2] = b"\0\x10"  # a type that no attribute has, instead of 0x10
    with pytest.raises(Bad):
        Ntfs(BytesReader(bytes(raw))).is_read_only("/Windows/System32/drivers/viostor.sys")


def _set_flag(raw: bytearray, name: str, *, kind: int, at: int) -> None:
    """Set bit 0 of a byte of an attribute's content, in the MFT record of this name."""
    for found in re.finditer(re.escape(name.encode("utf-16-le")), bytes(raw)):
        record = found.start() // 1024 * 1024  # the index of the directory has the name too
        if raw[record : record + 4] != b"FILE":
            continue
        attribute_at = record + int.from_bytes(raw[record + 0x14 : record + 0x16], "little")
        while int.from_bytes(raw[attribute_at : attribute_at + 4], "little") not in (kind, 0xFFFFFFFF):
            attribute_at += int.from_bytes(raw[attribute_at + 4 : attribute_at + 8], "little")
        if raw[attribute_at] == kind:
            raw[attribute_at + int.from_bytes(raw[attribute_at + 0x14 : attribute_at + 0x16], "little") + at] |= 1


@needs_extra
def test_a_boot_configuration_on_an_esp_is_a_boot_file() -> None:
    """EFI/Microsoft/Boot/BCD on FAT is reported as Boot/BCD on NTFS is."""
    part = Partition(number=2, start_bytes=0, size_bytes=0, type_name="", type_id="", filesystem="ntfs")
    ntfs = Volume(part=part, reader=BytesReader(image("guest-windows")))
    esp = Fat(BytesReader(build.fat({"EFI/Microsoft/Boot/BCD": b"regf"})))
    windows = inspect_windows([ntfs], [esp], []).windows
    assert windows is not None
    assert windows.boot_files == ("Boot/BCD on partition 2", "EFI/Microsoft/Boot/BCD")


@needs_extra
def test_values_of_a_hive_are_read_by_type() -> None:
    """Strings, numbers and lists of strings are read; missing values are None or empty."""
    read = Hive(hive({r"A\B c": {"text": "schön", "number": 7, "list": ("a", "b")}, "D": {}}))
    assert (read.text(r"A\B c", "text"), read.number(r"A\B c", "number")) == ("schön", 7)
    assert (read.texts(r"A\B c", "list"), read.texts("D", "x")) == (("a", "b"), ())
    assert (read.text("no", "x"), read.number("D", "x")) == (None, None)
    assert (read.has("D"), read.has("no")) == (True, False)


@needs_extra
def test_damage_raises_bad_and_a_missing_file_raises_missing() -> None:
    """The errors of the libraries are converted to two errors of the package."""
    with pytest.raises(Bad):
        Hive(bytes(4096))
    with pytest.raises(Bad):
        Hive(b"regf" + bytes(100))
    with pytest.raises(Bad):
        Ntfs(BytesReader(bytes(1 << 20)))
    volume = Ntfs(BytesReader(image("guest-windows")))
    assert not volume.exists("/nothing")
    assert "System32" in volume.names("/Windows")
    with pytest.raises(Missing):
        volume.read("/nothing")


@needs_extra
def test_a_damaged_windows_is_unknown() -> None:
    """An NTFS without its MFT is reported as unknown and raises no error."""
    raw = bytearray(image("guest-windows"))
    raw[4096 : 1 << 20] = bytes((1 << 20) - 4096)
    guest = inspect_ntfs(bytes(raw))
    assert guest.windows is None
    assert guest.unknowns


@pytest.mark.skipif(EXTRA, reason="the extra [windows] is installed")
def test_without_the_extra_the_report_has_the_command_to_install_it() -> None:
    """NTFS is not read without the extra, so the guest is unknown."""
    guest = inspect_ntfs(image("guest-windows"))
    assert guest.os_type is None
    assert any("pip install 'aliyun-import[windows]'" in unknown for unknown in guest.unknowns)
    with pytest.raises(Unsupported):
        Ntfs(BytesReader(image("guest-windows")))
