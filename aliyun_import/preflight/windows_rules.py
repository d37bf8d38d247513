"""This file holds the rules about Windows guests: edition, drivers, set-up state, and ways in."""

from aliyun_import.disk.guest_report import WindowsFacts
from aliyun_import.model import Finding, Severity
from aliyun_import.preflight.subject import CHECK_ITEMS, GUIDE_2021, JUDGEMENT, VIRTIO, Rule, Subject

# Values of Setup\State\ImageState with which Windows starts in an ordinary way.
_GOOD_STATES = (
    "IMAGE_STATE_COMPLETE",
    "IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE",
    "IMAGE_STATE_SPECIALIZE_RESEAL_TO_OOBE",
)
_FIRST_INJECTED_BUILD = 6001  # Windows Server 2008


def windows_client(subject: Subject) -> Finding | None:
    """Block editions of Windows that are no servers, which the import does not take."""
    windows = _windows(subject)
    if windows is None or not windows.client:
        return None
    return subject.finding(
        "windows-client",
        Severity.BLOCKS,
        f"{windows.product or 'This Windows'} is a client edition; the service imports Windows Server only.",
        remedy="Install Windows Server; or --skip-check windows-client if your account may import clients.",
        where=r"SOFTWARE\Microsoft\Windows NT\CurrentVersion",
        source=GUIDE_2021,
    )


def windows_disk_driver(subject: Subject) -> Finding | None:
    """Block a Windows that would not find a virtio disk; warn where the service says that it adds the driver."""
    windows = _windows(subject)
    if windows is None or not windows.registry_read:
        return None
    has_file, start = "viostor.sys" in windows.driver_files, windows.viostor_start
    if has_file and start == 0:
        return None
    added = windows.build is not None and windows.build >= _FIRST_INJECTED_BUILD
    what = "viostor.sys is not in the drivers' directory" if not has_file else "viostor is not set to start at boot"
    return subject.finding(
        "windows-disk-driver",
        Severity.WARNS if added else Severity.BLOCKS,
        f"Windows would not find its disk on ECS: {what}."
        + (" For this version the import says that it adds the driver itself." if added else ""),
        remedy="Install the virtio drivers (virtio-win) on the source system, and restart it once.",
        where=r"SYSTEM\ControlSet\Services\viostor, Windows\System32\drivers",
        source=VIRTIO,
    )


def windows_network_driver(subject: Subject) -> Finding | None:
    """Warn of a Windows without the driver of virtio network cards."""
    windows = _windows(subject)
    if windows is None or "netkvm.sys" in windows.driver_files:
        return None
    return subject.finding(
        "windows-network-driver",
        Severity.WARNS,
        "netkvm.sys, the driver of ECS's network cards, is not in the drivers' directory.",
        remedy="Install the virtio drivers (virtio-win) on the source system.",
        where=r"Windows\System32\drivers",
        source=VIRTIO,
    )


def windows_setup(subject: Subject) -> Finding | None:
    """Warn of a Windows in the middle of its set-up."""
    windows = _windows(subject)
    if windows is None:
        return None
    state = windows.image_state
    if not windows.setup_in_progress and (not state or state in _GOOD_STATES):
        return None
    return subject.finding(
        "windows-setup",
        Severity.WARNS,
        f"Windows is in the middle of its set-up ({state or 'SystemSetupInProgress is set'}).",
        remedy="Let the source system finish its start, and shut it down; or run sysprep /generalize /oobe /shutdown.",
        where=r"SOFTWARE\Microsoft\Windows\CurrentVersion\Setup\State",
        source=CHECK_ITEMS,
    )


def windows_filters(subject: Subject) -> Finding | None:
    """Warn of filter drivers of other makers on disks and volumes."""
    windows = _windows(subject)
    if windows is None or not windows.filters:
        return None
    names = ", ".join(sighting.what for sighting in windows.filters[:4])
    return subject.finding(
        "windows-filters",
        Severity.WARNS,
        f"Filter drivers of other software sit on disks or volumes: {names}. One that is left over stops the start.",
        remedy="Uninstall backup, encryption and virtualisation tools on the source system.",
        where=windows.filters[0].where,
        source=CHECK_ITEMS,
    )


def windows_hibernated(subject: Subject) -> Finding | None:
    """Block a Windows that was hibernated and not shut down."""
    windows = _windows(subject)
    if windows is None or not windows.hibernated:
        return None
    return subject.finding(
        "windows-hibernated",
        Severity.BLOCKS,
        "Windows was hibernated, or shut down with fast start-up: its NTFS can't be changed, and it would wake up on "
        "other hardware.",
        remedy="Start the source system, run powercfg /h off, and shut it down.",
        where="hiberfil.sys, byte 0",
        source=JUDGEMENT,
    )


def windows_device_install(subject: Subject) -> Finding | None:
    """Warn of a Windows that installs no new devices, or hides them."""
    windows = _windows(subject)
    if windows is None or not (windows.device_install_disabled or windows.xen_hidden):
        return None
    key = "DeviceInstallDisabled" if windows.device_install_disabled else "hide_devices of Xen's driver"
    return subject.finding(
        "windows-device-install",
        Severity.WARNS,
        f"{key} is set: Windows would not set up the disk and the network card that it meets on ECS.",
        remedy="Remove the value from the registry of the source system, or uninstall Xen's tools.",
        where=r"SYSTEM\ControlSet\Services",
        source=CHECK_ITEMS,
    )


def windows_remote_desktop(subject: Subject) -> Finding | None:
    """Warn of a Windows without remote desktop, or with a firewall."""
    windows = _windows(subject)
    if windows is None or (windows.remote_desktop is not False and not windows.firewall):
        return None
    seen = ["remote desktop is off"] if windows.remote_desktop is False else []
    seen += [f"the firewall is on ({', '.join(windows.firewall)})"] if windows.firewall else []
    return subject.finding(
        "windows-remote-desktop",
        Severity.WARNS,
        f"On this Windows {' and '.join(seen)}: the instance may be reached by its console only.",
        remedy="Allow remote desktop, and let port 3389 through the firewall, on the source system.",
        where=r"SYSTEM\ControlSet\Control\Terminal Server, Services\SharedAccess",
        source=GUIDE_2021,
    )


def windows_nvme_driver(subject: Subject) -> Finding | None:
    """Say that Windows would not start on the instance types whose disks are NVMe."""
    windows = _windows(subject)
    if windows is None or "stornvme.sys" in windows.driver_files:
        return None
    return subject.finding(
        "windows-nvme-driver",
        Severity.NOTE,
        "stornvme.sys is not in the drivers' directory: newer instance types with NVMe disks can't start it.",
        remedy=None,
        where=r"Windows\System32\drivers",
        source=CHECK_ITEMS,
    )


def _windows(subject: Subject) -> WindowsFacts | None:
    return subject.guest.windows if subject.guest is not None else None


WINDOWS_RULES: dict[str, Rule] = {
    "windows-client": windows_client,
    "windows-disk-driver": windows_disk_driver,
    "windows-network-driver": windows_network_driver,
    "windows-setup": windows_setup,
    "windows-filters": windows_filters,
    "windows-hibernated": windows_hibernated,
    "windows-device-install": windows_device_install,
    "windows-remote-desktop": windows_remote_desktop,
    "windows-nvme-driver": windows_nvme_driver,
}
