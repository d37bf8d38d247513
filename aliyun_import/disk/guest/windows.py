"""Windows system on NTFS: registry, drivers, and state of the volume."""

import importlib
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Protocol, TypeVar

from aliyun_import.disk.filesystems.interface import FileSystem
from aliyun_import.disk.filesystems.registry import Volume
from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.report import Evidence, GuestReport, WindowsFacts
from aliyun_import.disk.reader import Bad, Missing, Reader, ReadProblem, Unsupported
from aliyun_import.model.request import Architecture, OsType

T = TypeVar("T")
# The hive SOFTWARE of an old server has about 150 MiB.
_MAX_HIVE_BYTES = 256 << 20
_READ_BYTES = 1 << 20
_MAX_NAMES = 200_000
# NTFS: file $Volume, its attribute $VOLUME_INFORMATION with the dirty flag, FILE_ATTRIBUTE_READONLY.
_VOLUME_FILE = 3
_VOLUME_INFORMATION = 0x70
_DIRTY = 0x0001
_READ_ONLY = 0x0001


class _Entry(Protocol):
    """The used part of pyfsntfs.file_entry."""

    name: str
    size: int
    file_attribute_flags: int
    attributes: "Iterable[_Attribute]"
    number_of_sub_file_entries: int

    def get_sub_file_entry(self, index: int) -> "_Entry": ...
    def read_buffer_at_offset(self, size: int, offset: int) -> bytes: ...


class _Attribute(Protocol):
    """The used part of pyfsntfs.attribute. Only attributes of the type $VOLUME_INFORMATION have `flags`."""

    attribute_type: int
    flags: int


class _Value(Protocol):
    """The used part of pyregf.value."""

    data: bytes | None

    def get_data_as_string(self) -> str | None: ...
    def get_data_as_integer(self) -> int: ...


class _FileObject:
    """A Reader with the file interface of the libraries: read, seek, tell, get_size."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self._at = reader, 0

    def read(self, length: int = -1) -> bytes:
        """Read from the current offset."""
        left = max(self._reader.size - self._at, 0)
        data = self._reader.pread(self._at, left if length < 0 else min(length, left))
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> None:
        """Set the current offset."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._reader.size}[whence]
        self._at = start + offset

    def tell(self) -> int:
        """Return the current offset."""
        return self._at

    def get_size(self) -> int:
        """Return the size in bytes."""
        return self._reader.size


class Ntfs:
    """An NTFS volume. Paths have slashes. The methods raise Bad or Missing, the constructor Unsupported or Bad."""

    def __init__(self, reader: Reader) -> None:
        """Open the volume. Raises Unsupported if the extra is not installed."""
        library = _library("pyfsntfs")
        self._file = _FileObject(reader)  # the library has no reference to it
        self._volume = library.volume()
        _call(lambda: self._volume.open_file_object(self._file))

    def exists(self, path: str) -> bool:
        """Return whether path exists."""
        return self._entry(path) is not None

    def is_read_only(self, path: str) -> bool:
        """Return whether the file at path has the attribute read-only, False if there is no file."""
        entry = self._entry(path)
        return entry is not None and bool(_call(lambda: entry.file_attribute_flags & _READ_ONLY))

    def is_dirty(self) -> bool:
        """Return whether the volume has the dirty flag."""
        entry: _Entry = _call(lambda: self._volume.get_file_entry(_VOLUME_FILE))
        kinds = _call(lambda: {one.attribute_type: one for one in entry.attributes})
        information = kinds.get(_VOLUME_INFORMATION)
        return information is not None and bool(_call(lambda: information.flags & _DIRTY))

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory, empty if it does not exist."""
        entry = self._entry(path)
        if entry is None:
            return ()
        count = _call(lambda: entry.number_of_sub_file_entries)
        if count > _MAX_NAMES:
            raise Bad(f"{path} has {count} names")
        return _call(lambda: tuple(str(entry.get_sub_file_entry(index).name) for index in range(count)))

    def read_head(self, path: str, length: int) -> bytes:
        """Read the first bytes of a file. Raises Missing if there is none."""
        entry = self._entry(path)
        if entry is None:
            raise Missing(f"{path} does not exist")
        return bytes(_call(lambda: entry.read_buffer_at_offset(length, 0)))

    def read(self, path: str) -> bytes:
        """Read a whole file. Raises Missing if there is none."""
        entry = self._entry(path)
        if entry is None:
            raise Missing(f"{path} does not exist")
        size = _call(lambda: entry.size)
        if size > _MAX_HIVE_BYTES:
            raise Bad(f"{path} has {size} bytes, and the limit is {_MAX_HIVE_BYTES}")
        starts = range(0, size, _READ_BYTES)
        return _call(lambda: b"".join(entry.read_buffer_at_offset(min(_READ_BYTES, size - at), at) for at in starts))

    def _entry(self, path: str) -> _Entry | None:
        """Return the entry of a path, or None. Names are not case-sensitive, as in Windows."""
        entry: _Entry | None = _call(lambda: self._volume.get_file_entry_by_path(path.replace("/", "\\")))
        return entry


class Hive:
    """A registry hive in memory. The methods raise Bad, the constructor Bad or Unsupported."""

    def __init__(self, data: bytes) -> None:
        """Open the hive. Raises Bad if it is not a hive, and Unsupported if the extra is not installed."""
        library = _library("pyregf")
        if data[:4] != b"regf":
            raise Bad("it does not begin like a registry hive")
        self._file = io.BytesIO(data)  # the library has no reference to it
        self._hive = library.file()
        _call(lambda: self._hive.open_file_object(self._file))

    def has(self, key: str) -> bool:
        """Return whether a key exists."""
        return _call(lambda: self._hive.get_key_by_path(key)) is not None

    def text(self, key: str, name: str) -> str | None:
        """Return a string value, or None if it does not exist."""
        value = self._value(key, name)
        return None if value is None else str(_call(lambda: value.get_data_as_string()) or "").rstrip("\0")

    def number(self, key: str, name: str) -> int | None:
        """Return a number value, or None if it does not exist."""
        value = self._value(key, name)
        return None if value is None else int(_call(lambda: value.get_data_as_integer()))

    def texts(self, key: str, name: str) -> tuple[str, ...]:
        """Return the strings of a multi-string value, empty if it does not exist."""
        value = self._value(key, name)
        if value is None:
            return ()
        raw = bytes(_call(lambda: value.data) or b"")[:65536]
        return tuple(text for text in raw.decode("utf-16-le", "replace").split("\0") if text)

    def _value(self, key: str, name: str) -> _Value | None:
        found = _call(lambda: self._hive.get_key_by_path(key))
        value: _Value | None = None if found is None else _call(lambda: found.get_value_by_name(name))
        return value


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Unsupported("it contains NTFS, which requires the extra: pip install 'aliyun-import[windows]'") from error


def _call(read: Callable[[], T]) -> T:
    """Call a library. Raises Bad for its errors, which include read errors of the disk."""
    try:
        return read()
    except (OSError, OverflowError, ValueError, TypeError, AttributeError, MemoryError) as error:
        raise Bad(
            f"the library could not read it: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error


_CONFIG = "/Windows/System32/config"
_DRIVERS = "/Windows/System32/drivers"
_DRIVER_FILES = ("viostor.sys", "vioscsi.sys", "netkvm.sys", "stornvme.sys")
# Drivers that the import replaces, unless they are read-only.
_REPLACED = ("netkvm.sys", "balloon.sys", "vioser.sys", "viostor.sys", "pvpanic.sys")
_PENDING_KEY = r"Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending"
_PENDING_FILE = "/Windows/WinSxS/pending.xml"
# The names of the rule since Windows 8, and before.
_DESKTOP_RULES = ("RemoteDesktop-UserMode-In-TCP", "RemoteDesktop-In-TCP")
_VERSION = r"Microsoft\Windows NT\CurrentVersion"
# Device classes of disks and volumes. Their filters are loaded with every disk: Windows does not boot if the driver of
# such a filter is missing.
_DISK_CLASSES = {
    "disk": "{4d36e967-e325-11ce-bfc1-08002be10318}",
    "SCSI adapter": "{4d36e97b-e325-11ce-bfc1-08002be10318}",
    "IDE controller": "{4d36e96a-e325-11ce-bfc1-08002be10318}",
    "volume": "{71a27cdd-812a-11d0-bec7-08002be2092f}",
}
# Filters that belong to Windows.
_OWN_FILTERS = {"partmgr", "volsnap", "fvevol", "iorate", "rdyboost", "volume", "ehstorclass", "iomap"}
# Boot configurations on FAT partitions, for UEFI and for BIOS.
_BOOT_FILES = ("EFI/Microsoft/Boot/BCD", "Boot/BCD")
_GUEST_AGENTS = ("/Program Files/Qemu-ga/qemu-ga.exe", "/Program Files/qemu-ga/qemu-ga.exe")
_MACHINES = {"AMD64": Architecture.X86_64, "ARM64": Architecture.ARM64, "x86": Architecture.I386}


def inspect_windows(volumes: Sequence[Volume], esps: Sequence[FileSystem], unknowns: list[str]) -> GuestReport:
    """Inspect the first NTFS volume with a Windows system. `esps` are the FAT volumes. Raises OSError only."""
    found: Ntfs | None = None
    boot_files: list[str] = []
    for volume in volumes:
        try:
            ntfs = Ntfs(volume.reader)
            if ntfs.exists("/Boot/BCD"):
                boot_files.append(f"Boot/BCD on {volume.title}")
            if found is None and ntfs.names("/Windows/System32"):
                found = ntfs
        except Unsupported as problem:
            unknowns.append(f"{volume.title}: {problem.message}")
            return GuestReport(unknowns=tuple(unknowns))
        except ReadProblem as problem:
            unknowns.append(f"{volume.title} (ntfs): {problem.message}")
    if found is None:
        return GuestReport(unknowns=(*unknowns, "no Windows system was found on the NTFS volumes"))
    complete = not unknowns
    inspection = _Inspection(found, unknowns)
    boot_files += [place for esp in esps for place in _BOOT_FILES if inspection.has_file(esp, place)]
    return inspection.report(tuple(boot_files) if complete or boot_files else None)


class _Inspection:
    """The inspection of a Windows system. A file that can't be read affects one fact only."""

    def __init__(self, ntfs: Ntfs, unknowns: list[str]) -> None:
        self._ntfs, self._unknowns = ntfs, unknowns

    def has_file(self, esp: FileSystem, path: str) -> bool:
        """Return whether a FAT partition has a file."""
        return bool(self._read("a FAT partition", lambda: Tree(esp).exists(f"/{path}")))

    def report(self, boot_files: tuple[str, ...] | None) -> GuestReport:
        """Return all facts."""
        software = self._read("the registry (SOFTWARE)", lambda: Hive(self._ntfs.read(f"{_CONFIG}/SOFTWARE")))
        system = self._read("the registry (SYSTEM)", lambda: Hive(self._ntfs.read(f"{_CONFIG}/SYSTEM")))
        facts = WindowsFacts(
            registry_read=software is not None and system is not None,
            driver_files=tuple(name for name in _DRIVER_FILES if self._has(f"{_DRIVERS}/{name}")),
            read_only_drivers=self._read("the drivers", self._read_only_drivers) or (),
            boot_files=boot_files,
            pending_update=_PENDING_FILE if self._has(_PENDING_FILE) else "",
            hibernated=self._read("hiberfil.sys", self._is_hibernated),
            dirty=self._read("$Volume", self._ntfs.is_dirty),
            guest_agent=next((path for path in _GUEST_AGENTS if self._has(path)), ""),
        )
        machine = None
        if software is not None:
            facts = self._read("the registry (SOFTWARE)", partial(_with_software, facts, software)) or facts
        if system is not None:
            facts = self._read("the registry (SYSTEM)", partial(_with_system, facts, system)) or facts
            machine = self._read("the name of the processor", partial(_machine, system))
        return GuestReport(
            os_type=OsType.WINDOWS,
            architecture=_MACHINES.get(machine or ""),
            machine=machine or "",
            windows=facts,
            unknowns=tuple(self._unknowns),
        )

    def _read(self, what: str, read: Callable[[], T]) -> T | None:
        """Return a fact, or None and add a clause to the unknowns if it can't be read."""
        try:
            return read()
        except ReadProblem as problem:
            self._unknowns.append(f"{what} could not be read: {problem.message}")
            return None

    def _has(self, path: str) -> bool:
        return bool(self._read(path, lambda: self._ntfs.exists(path)))

    def _read_only_drivers(self) -> tuple[str, ...]:
        return tuple(name for name in _REPLACED if self._ntfs.is_read_only(f"{_DRIVERS}/{name}"))

    def _is_hibernated(self) -> bool:
        """Return whether hiberfil.sys has a session of a hibernation or a fast startup. Zeros: it was resumed."""
        try:
            return self._ntfs.read_head("/hiberfil.sys", 4).lower() in (b"hibr", b"wake")
        except Missing:
            return False


def _with_software(facts: WindowsFacts, hive: Hive) -> WindowsFacts:
    build = hive.text(_VERSION, "CurrentBuildNumber") or hive.text(_VERSION, "CurrentBuild") or ""
    kind = (hive.text(_VERSION, "InstallationType") or "").lower()
    product = hive.text(_VERSION, "ProductName") or ""
    # InstallationType is "Client", "Server" or "Server Core". Versions before Windows 2008 do not have it.
    client = None if not kind and not product else not (kind.startswith("server") or "server" in product.lower())
    state = hive.text(r"Microsoft\Windows\CurrentVersion\Setup\State", "ImageState") or ""
    return replace(
        facts, product=product, build=int(build) if build.isdigit() and len(build) < 9 else None, client=client,
        image_state=state, service_pack=hive.text(_VERSION, "CSDVersion") or "",
        pending_update=rf"SOFTWARE\{_PENDING_KEY}" if hive.has(_PENDING_KEY) else facts.pending_update,
    )  # fmt: skip


def _machine(hive: Hive) -> str | None:
    return hive.text(rf"{_control_set(hive)}\Control\Session Manager\Environment", "PROCESSOR_ARCHITECTURE")


def _with_system(facts: WindowsFacts, hive: Hive) -> WindowsFacts:
    control = _control_set(hive)
    services = rf"{control}\Services"
    setup = hive.number("Setup", "SystemSetupInProgress")
    deny = hive.number(rf"{control}\Control\Terminal Server", "fDenyTSConnections")
    install = hive.number(rf"{services}\PlugPlay\Parameters", "DeviceInstallDisabled")
    firewall = rf"{services}\SharedAccess\Parameters\FirewallPolicy"
    rules = [hive.text(rf"{firewall}\FirewallRules", name) or "" for name in _DESKTOP_RULES]
    desktop = rf"{control}\Control\Terminal Server\WinStations\RDP-Tcp"
    profiles = ("DomainProfile", "StandardProfile", "PublicProfile")
    return replace(
        facts,
        viostor_start=hive.number(rf"{services}\viostor", "Start"),
        netkvm_start=hive.number(rf"{services}\netkvm", "Start"),
        stornvme_start=hive.number(rf"{services}\stornvme", "Start"),
        setup_in_progress=None if setup is None else setup != 0,
        remote_desktop=None if deny is None else deny == 0,
        remote_desktop_port=hive.number(desktop, "PortNumber"),
        remote_desktop_allowed=any("Active=TRUE" in rule and "Action=Allow" in rule for rule in rules),
        filters=tuple(_filters(hive, control)),
        firewall=tuple(name for name in profiles if hive.number(rf"{firewall}\{name}", "EnableFirewall")),
        device_install_disabled=install is not None and install != 0,
        xen_hidden=bool(hive.texts(rf"{services}\xenevtchn\Parameters", "hide_devices")),
    )


def _filters(hive: Hive, control: str) -> list[Evidence]:
    found: list[Evidence] = []
    for name, key in _DISK_CLASSES.items():
        path = rf"{control}\Control\Class\{key}"
        for value in ("UpperFilters", "LowerFilters"):
            foreign = [driver for driver in hive.texts(path, value) if driver.lower() not in _OWN_FILTERS]
            found += [Evidence(what=f"{driver} ({name}, {value})", where=rf"SYSTEM\{path}") for driver in foreign]
    return found


def _control_set(hive: Hive) -> str:
    """Return the current control set, by the value Current of the key Select."""
    try:
        number = hive.number("Select", "Current")
    except ReadProblem:
        number = None
    return f"ControlSet{number:03d}" if number is not None and 0 < number < 1000 else "ControlSet001"
