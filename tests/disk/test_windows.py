"""This file tests what is told of a Windows: with the extra `[windows]` everything, without it what to install."""

import importlib.util

import pytest

from aliyun_import.disk.guest.inspection import inspect_guest
from aliyun_import.disk.guest.registry import Hive, Ntfs
from aliyun_import.disk.guest_report import GuestReport, WindowsFacts
from aliyun_import.disk.reader import Bad, BytesReader, Missing, Unsupported
from aliyun_import.disk.report import Partition
from aliyun_import.model import Architecture, OsType
from tests.disk.fixtures import image
from tests.disk.hive import hive

EXTRA = all(importlib.util.find_spec(name) for name in ("pyfsntfs", "pyregf"))
needs_extra = pytest.mark.skipif(not EXTRA, reason="needs the extra [windows]: libfsntfs-python and libregf-python")


def looked_at(data: bytes) -> GuestReport:
    """Inspect an NTFS volume as the one partition of a disk."""
    part = Partition(number=1, start_bytes=0, size_bytes=len(data), type_name="NTFS", type_id="0x07", filesystem="ntfs")
    return inspect_guest(BytesReader(data), [part])


@needs_extra
def test_a_windows_is_told_by_its_registry_and_its_files() -> None:
    """Every fact of the Windows of fixtures/, by the control set in use."""
    guest = looked_at(image("guest-windows"))
    assert guest.unknowns == ()
    assert (guest.os_type, guest.architecture) == (OsType.WINDOWS, Architecture.X86_64)
    windows = guest.windows
    assert windows is not None
    assert [filter_.what for filter_ in windows.filters] == ["leftover (disk, UpperFilters)"]
    assert windows == WindowsFacts(
        product="Windows Server 2022 Standard",
        build=20348,
        client=False,
        registry_read=True,
        driver_files=("viostor.sys", "netkvm.sys", "stornvme.sys"),
        viostor_start=3,
        netkvm_start=3,
        stornvme_start=0,
        image_state="IMAGE_STATE_COMPLETE",
        setup_in_progress=False,
        remote_desktop=False,
        filters=windows.filters,
        firewall=("PublicProfile",),
        device_install_disabled=False,
        xen_hidden=False,
        hibernated=True,
        guest_agent="/Program Files/Qemu-ga/qemu-ga.exe",
    )


@needs_extra
def test_values_of_a_hive_are_read_by_their_kind() -> None:
    """Strings, numbers, lists of strings; what is not there is None or empty."""
    read = Hive(hive({r"A\B c": {"text": "schön", "number": 7, "list": ("a", "b")}, "D": {}}))
    assert (read.text(r"A\B c", "text"), read.number(r"A\B c", "number")) == ("schön", 7)
    assert (read.texts(r"A\B c", "list"), read.texts("D", "x")) == (("a", "b"), ())
    assert (read.text("no", "x"), read.number("D", "x")) == (None, None)


@needs_extra
def test_damage_is_bad_and_absence_missing() -> None:
    """The libraries raise all kinds of errors; two of ours come out."""
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
    """NTFS whose table of files is gone gives a sentence, and no error."""
    raw = bytearray(image("guest-windows"))
    raw[4096 : 1 << 20] = bytes((1 << 20) - 4096)
    guest = looked_at(bytes(raw))
    assert guest.windows is None
    assert guest.unknowns


@pytest.mark.skipif(EXTRA, reason="the extra [windows] is installed")
def test_without_the_extra_the_report_says_what_to_install() -> None:
    """NTFS is not read then, and that is unknown."""
    guest = looked_at(image("guest-windows"))
    assert guest.os_type is None
    assert any("pip install 'aliyun-import[windows]'" in unknown for unknown in guest.unknowns)
    with pytest.raises(Unsupported):
        Ntfs(BytesReader(image("guest-windows")))
