"""This file looks at a Windows system on NTFS: its registry, its drivers' directory, and what was left on the disk."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from aliyun_import.disk.guest.registry import Hive, Ntfs
from aliyun_import.disk.guest.volumes import Volume
from aliyun_import.disk.guest_report import GuestReport, Sighting, WindowsFacts
from aliyun_import.disk.reader import Missing, ReadProblem, Unsupported
from aliyun_import.model import Architecture, OsType

T = TypeVar("T")
_CONFIG = "/Windows/System32/config"
_DRIVERS = "/Windows/System32/drivers"
_DRIVER_FILES = ("viostor.sys", "vioscsi.sys", "netkvm.sys", "stornvme.sys")
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


def inspect_windows(volumes: Sequence[Volume], unknowns: list[str]) -> GuestReport:
    """Look at the first NTFS volume with Windows on it. Raises OSError only."""
    for volume in volumes:
        try:
            ntfs = Ntfs(volume.reader)
            if ntfs.names("/Windows/System32"):
                return _Inspection(ntfs, unknowns).report()
        except Unsupported as problem:
            unknowns.append(f"{volume.words}: {problem.message}")
            return GuestReport(unknowns=tuple(unknowns))
        except ReadProblem as problem:
            unknowns.append(f"{volume.words} (ntfs): {problem.message}")
    return GuestReport(unknowns=(*unknowns, "no Windows was found on the NTFS volumes"))


class _Inspection:
    """One look at a Windows system: each question is asked by itself."""

    def __init__(self, ntfs: Ntfs, unknowns: list[str]) -> None:
        self._ntfs, self._unknowns = ntfs, unknowns

    def report(self) -> GuestReport:
        """Ask everything."""
        software = self._ask("the registry (SOFTWARE)", lambda: Hive(self._ntfs.read(f"{_CONFIG}/SOFTWARE")))
        system = self._ask("the registry (SYSTEM)", lambda: Hive(self._ntfs.read(f"{_CONFIG}/SYSTEM")))
        facts = WindowsFacts(
            registry_read=software is not None and system is not None,
            driver_files=tuple(name for name in _DRIVER_FILES if self._has(f"{_DRIVERS}/{name}")),
            hibernated=self._ask("hiberfil.sys", self._is_hibernated),
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
        image_state=state,
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
    profiles = ("DomainProfile", "StandardProfile", "PublicProfile")
    return replace(
        facts,
        viostor_start=hive.number(rf"{services}\viostor", "Start"),
        netkvm_start=hive.number(rf"{services}\netkvm", "Start"),
        stornvme_start=hive.number(rf"{services}\stornvme", "Start"),
        setup_in_progress=None if setup is None else setup != 0,
        remote_desktop=None if deny is None else deny == 0,
        filters=tuple(_filters(hive, control)),
        firewall=tuple(name for name in profiles if hive.number(rf"{firewall}\{name}", "EnableFirewall")),
        device_install_disabled=install is not None and install != 0,
        xen_hidden=bool(hive.texts(rf"{services}\xenevtchn\Parameters", "hide_devices")),
    )


def _filters(hive: Hive, control: str) -> list[Sighting]:
    found: list[Sighting] = []
    for name, key in _DISK_CLASSES.items():
        path = rf"{control}\Control\Class\{key}"
        for value in ("UpperFilters", "LowerFilters"):
            foreign = [driver for driver in hive.texts(path, value) if driver.lower() not in _OWN_FILTERS]
            found += [Sighting(what=f"{driver} ({name}, {value})", where=rf"SYSTEM\{path}") for driver in foreign]
    return found


def _control_set(hive: Hive) -> str:
    """Name the control set in use, which the value Current of the key Select tells."""
    try:
        number = hive.number("Select", "Current")
    except ReadProblem:
        number = None
    return f"ControlSet{number:03d}" if number is not None and 0 < number < 1000 else "ControlSet001"
