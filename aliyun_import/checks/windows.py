"""This file holds the rules about Windows guests: edition, drivers, set-up state, and ways in."""

from aliyun_import.checks.context import CHECK_ITEMS, GUIDE_2021, JUDGEMENT, VIRTIO, Rule, RuleContext
from aliyun_import.disk.guest.report import WindowsFacts
from aliyun_import.model.finding import Finding, Severity

# Values of Setup\State\ImageState with which Windows starts in an ordinary way.
_GOOD_STATES = (
    "IMAGE_STATE_COMPLETE",
    "IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE",
    "IMAGE_STATE_SPECIALIZE_RESEAL_TO_OOBE",
)
_FIRST_INJECTED_BUILD = 6001  # Windows Server 2008
_WINDOWS_2003 = 3790
_REMOTE_DESKTOP_PORT = 3389


def windows_client(subject: RuleContext) -> Finding | None:
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


def windows_too_old(subject: RuleContext) -> Finding | None:
    """Block a Windows from before Windows Server 2003 with Service Pack 1."""
    windows = _windows(subject)
    if windows is None or windows.build is None or windows.client:
        return None
    if windows.build > _WINDOWS_2003 or (windows.build == _WINDOWS_2003 and windows.service_pack):
        return None
    return subject.finding(
        "windows-too-old",
        Severity.BLOCKS,
        f"{windows.product or 'This Windows'} (build {windows.build}) is older than Windows Server 2003 with Service "
        "Pack 1, the oldest that the service imports.",
        remedy="Install the service pack, or a newer Windows Server.",
        where=r"SOFTWARE\Microsoft\Windows NT\CurrentVersion, CurrentBuildNumber and CSDVersion",
        source=GUIDE_2021,
    )


def windows_boot_files(subject: RuleContext) -> Finding | None:
    """Block a Windows without a boot configuration on any volume."""
    windows = _windows(subject)
    if windows is None or windows.boot_files is None or windows.boot_files or _starts_by_ntldr(windows):
        return None
    return subject.finding(
        "windows-boot-files",
        Severity.BLOCKS,
        "No volume has a boot configuration (BCD): the boot manager of Windows would find nothing to start.",
        remedy=r"Write it on the source system: bcdboot C:\Windows; and copy all of its partitions, not one of them.",
        where=r"Boot\BCD on NTFS, EFI\Microsoft\Boot\BCD on FAT",
        source=CHECK_ITEMS,
    )


def windows_read_only_drivers(subject: RuleContext) -> Finding | None:
    """Warn of virtio drivers that the import can't replace."""
    windows = _windows(subject)
    if windows is None or not windows.read_only_drivers:
        return None
    return subject.finding(
        "windows-read-only-drivers",
        Severity.WARNS,
        f"{', '.join(windows.read_only_drivers)} are read-only, and the import puts its own in their place.",
        remedy=r"On the source system: attrib -r C:\Windows\System32\drivers\NAME.",
        where=r"Windows\System32\drivers, file attributes",
        source=GUIDE_2021,
    )


def windows_pending_update(subject: RuleContext) -> Finding | None:
    """Warn of updates that wait for a restart."""
    windows = _windows(subject)
    if windows is None or not windows.pending_update:
        return None
    return subject.finding(
        "windows-pending-update",
        Severity.WARNS,
        "Updates wait for a restart: the first start finishes them on other hardware, or fails at it.",
        remedy="Restart the source system until no update is left, and shut it down.",
        where=windows.pending_update,
        source=CHECK_ITEMS,
    )


def windows_volume_dirty(subject: RuleContext) -> Finding | None:
    """Warn of an NTFS that was not unmounted cleanly, in which the import can hardly put drivers."""
    windows = _windows(subject)
    if windows is None or not windows.dirty:
        return None
    return subject.finding(
        "windows-volume-dirty",
        Severity.WARNS,
        "The NTFS of Windows is marked for chkdsk: it was not shut down cleanly, and the import may not write to it.",
        remedy="Shut the source system down (not restart, not hibernate) before the disk is copied, or run chkdsk /f.",
        where="$Volume, $VOLUME_INFORMATION",
        source=JUDGEMENT,
    )


def windows_disk_driver(subject: RuleContext) -> Finding | None:
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


def windows_network_driver(subject: RuleContext) -> Finding | None:
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


def windows_setup(subject: RuleContext) -> Finding | None:
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


def windows_filters(subject: RuleContext) -> Finding | None:
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


def windows_hibernated(subject: RuleContext) -> Finding | None:
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


def windows_device_install(subject: RuleContext) -> Finding | None:
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


def windows_remote_desktop(subject: RuleContext) -> Finding | None:
    """Warn of a Windows that remote desktop does not reach; a firewall that lets it in is a note."""
    windows = _windows(subject)
    if windows is None:
        return None
    port, shut = windows.remote_desktop_port, bool(windows.firewall) and not windows.remote_desktop_allowed
    seen = ["remote desktop is off"] if windows.remote_desktop is False else []
    seen += [f"it listens on port {port} and not on 3389"] if port not in (None, _REMOTE_DESKTOP_PORT) else []
    seen += [f"the firewall is on ({', '.join(windows.firewall)}) and lets it not in"] if shut else []
    if not seen and not windows.firewall:
        return None
    return subject.finding(
        "windows-remote-desktop",
        Severity.WARNS if seen else Severity.NOTE,
        f"On this Windows {' and '.join(seen)}: the instance may be reached by its console only."
        if seen
        else f"The firewall of Windows is on ({', '.join(windows.firewall)}), and lets remote desktop in.",
        remedy="Allow remote desktop on port 3389, and let it through the firewall, on the source system."
        if seen
        else None,
        where=r"SYSTEM\ControlSet\Control\Terminal Server, Services\SharedAccess",
        source=GUIDE_2021,
    )


def windows_nvme_driver(subject: RuleContext) -> Finding | None:
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


def _starts_by_ntldr(windows: WindowsFacts) -> bool:
    """Tell the versions from before the BCD; where the version is not known, nothing is concluded."""
    return windows.build is None or windows.build <= _WINDOWS_2003


def _windows(subject: RuleContext) -> WindowsFacts | None:
    return subject.guest.windows if subject.guest is not None else None


WINDOWS_RULES: dict[str, Rule] = {
    "windows-client": windows_client,
    "windows-too-old": windows_too_old,
    "windows-boot-files": windows_boot_files,
    "windows-disk-driver": windows_disk_driver,
    "windows-network-driver": windows_network_driver,
    "windows-read-only-drivers": windows_read_only_drivers,
    "windows-setup": windows_setup,
    "windows-filters": windows_filters,
    "windows-pending-update": windows_pending_update,
    "windows-volume-dirty": windows_volume_dirty,
    "windows-hibernated": windows_hibernated,
    "windows-device-install": windows_device_install,
    "windows-remote-desktop": windows_remote_desktop,
    "windows-nvme-driver": windows_nvme_driver,
}
