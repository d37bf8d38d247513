"""This file looks at a Windows system on NTFS: its registry, its drivers' directory, and what was left on the disk."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from aliyun_import.disk.filesystems.interface import FileSystem
from aliyun_import.disk.filesystems.registry import Volume
from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.report import Evidence, GuestReport, WindowsFacts
from aliyun_import.disk.guest.windows_registry import Hive, Ntfs
from aliyun_import.disk.io.reader import Missing, ReadProblem, Unsupported
from aliyun_import.model.request import Architecture, OsType

T = TypeVar("T")
_CONFIG = "/Windows/System32/config"
_DRIVERS = "/Windows/System32/drivers"
_DRIVER_FILES = ("viostor.sys", "vioscsi.sys", "netkvm.sys", "stornvme.sys")
# What the import puts there itself, and can't where an older one is read-only.
_REPLACED = ("netkvm.sys", "balloon.sys", "vioser.sys", "viostor.sys", "pvpanic.sys")
_PENDING_KEY = r"Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending"
_PENDING_FILE = "/Windows/WinSxS/pending.xml"
# The rule's name since Windows 8, and before.
_DESKTOP_RULES = ("RemoteDesktop-UserMode-In-TCP", "RemoteDesktop-In-TCP")
_VERSION = r"Microsoft\Windows NT\CurrentVersion"
# The classes of disks and of volumes. Filters here are loaded with every disk: one whose driver is gone stops the boot.
_DISK_CLASSES = {
    "disk": "{4d36e967-e325-11ce-bfc1-08002be10318}",
    "SCSI adapter": "{4d36e97b-e325-11ce-bfc1-08002be10318}",
    "IDE controller": "{4d36e96a-e325-11ce-bfc1-08002be10318}",
    "volume": "{71a27cdd-812a-11d0-bec7-08002be2092f}",
}
# What Windows itself puts there.
_OWN_FILTERS = {"partmgr", "volsnap", "fvevol", "iorate", "rdyboost", "volume", "ehstorclass", "iomap"}
_GUEST_AGENTS = ("/Program Files/Qemu-ga/qemu-ga.exe", "/Program Files/qemu-ga/qemu-ga.exe")
_MACHINES = {"AMD64": Architecture.X86_64, "ARM64": Architecture.ARM64, "x86": Architecture.I386}


def inspect_windows(volumes: Sequence[Volume], esps: Sequence[FileSystem], unknowns: list[str]) -> GuestReport:
    """Look at the first NTFS volume with Windows on it; `esps` are the FAT ones. Raises OSError only."""
    found: Ntfs | None = None
    boot_files: list[str] = []
    for volume in volumes:
        try:
            ntfs = Ntfs(volume.reader)
            if ntfs.exists("/Boot/BCD"):
                boot_files.append(f"Boot/BCD on {volume.words}")
            if found is None and ntfs.names("/Windows/System32"):
                found = ntfs
        except Unsupported as problem:
            unknowns.append(f"{volume.words}: {problem.message}")
            return GuestReport(unknowns=tuple(unknowns))
        except ReadProblem as problem:
            unknowns.append(f"{volume.words} (ntfs): {problem.message}")
    if found is None:
        return GuestReport(unknowns=(*unknowns, "no Windows was found on the NTFS volumes"))
    complete = not unknowns
    inspection = _Inspection(found, unknowns)
    boot_files += ["EFI/Microsoft/Boot/BCD" for esp in esps if inspection.has_bcd(esp)]
    return inspection.report(tuple(boot_files) if complete or boot_files else None)


class _Inspection:
    """One look at a Windows system: each question is asked by itself."""

    def __init__(self, ntfs: Ntfs, unknowns: list[str]) -> None:
        self._ntfs, self._unknowns = ntfs, unknowns

    def has_bcd(self, esp: FileSystem) -> bool:
        """Look for the boot configuration of Windows on an EFI system partition."""
        return bool(self._ask("an EFI system partition", lambda: Tree(esp).exists("/EFI/Microsoft/Boot/BCD")))

    def report(self, boot_files: tuple[str, ...] | None) -> GuestReport:
        """Ask everything."""
        software = self._ask("the registry (SOFTWARE)", lambda: Hive(self._ntfs.read(f"{_CONFIG}/SOFTWARE")))
        system = self._ask("the registry (SYSTEM)", lambda: Hive(self._ntfs.read(f"{_CONFIG}/SYSTEM")))
        facts = WindowsFacts(
            registry_read=software is not None and system is not None,
            driver_files=tuple(name for name in _DRIVER_FILES if self._has(f"{_DRIVERS}/{name}")),
            read_only_drivers=self._ask("the drivers", self._read_only_drivers) or (),
            boot_files=boot_files,
            pending_update=_PENDING_FILE if self._has(_PENDING_FILE) else "",
            hibernated=self._ask("hiberfil.sys", self._is_hibernated),
            dirty=self._ask("$Volume", self._ntfs.is_dirty),
            guest_agent=next((path for path in _GUEST_AGENTS if self._has(path)), ""),
        )
        machine = None
        if software is not None:
            facts = self._ask("the registry (SOFTWARE)", partial(_with_software, facts, software)) or facts
        if system is not None:
            facts = self._ask("the registry (SYSTEM)", partial(_with_system, facts, system)) or facts
            machine = self._ask("the processor's name", partial(_machine, system))
        return GuestReport(
            os_type=OsType.WINDOWS,
            architecture=_MACHINES.get(machine or ""),
            machine=machine or "",
            windows=facts,
            unknowns=tuple(self._unknowns),
        )

    def _ask(self, what: str, question: Callable[[], T]) -> T | None:
        """Ask; None, and a sentence in the unknowns, when the answer can't be read."""
        try:
            return question()
        except ReadProblem as problem:
            self._unknowns.append(f"{what} could not be read: {problem.message}")
            return None

    def _has(self, path: str) -> bool:
        return bool(self._ask(path, lambda: self._ntfs.exists(path)))

    def _read_only_drivers(self) -> tuple[str, ...]:
        return tuple(name for name in _REPLACED if self._ntfs.is_read_only(f"{_DRIVERS}/{name}"))

    def _is_hibernated(self) -> bool:
        """Tell a hibernation image (or a fast start-up) by the first bytes of hiberfil.sys; zeros mean resumed."""
        try:
            return self._ntfs.read_head("/hiberfil.sys", 4).lower() in (b"hibr", b"wake")
        except Missing:
            return False


def _with_software(facts: WindowsFacts, hive: Hive) -> WindowsFacts:
    build = hive.text(_VERSION, "CurrentBuildNumber") or hive.text(_VERSION, "CurrentBuild") or ""
    kind = (hive.text(_VERSION, "InstallationType") or "").lower()
    product = hive.text(_VERSION, "ProductName") or ""
    # InstallationType is "Client", "Server" or "Server Core"; before Windows 2008 it is not there.
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
    """Name the control set in use, which the value Current of the key Select tells."""
    try:
        number = hive.number("Select", "Current")
    except ReadProblem:
        number = None
    return f"ControlSet{number:03d}" if number is not None and 0 < number < 1000 else "ControlSet001"
