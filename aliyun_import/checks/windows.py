"""Checks of Windows guests: edition, drivers, state of the setup, and access."""

from aliyun_import.checks.registry import Found, Source, check
from aliyun_import.disk.guest.report import WindowsFacts
from aliyun_import.model.finding import Severity

# Values of Setup\State\ImageState of an installation that boots normally.
_GOOD_STATES = (
    "IMAGE_STATE_COMPLETE",
    "IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE",
    "IMAGE_STATE_SPECIALIZE_RESEAL_TO_OOBE",
)
_FIRST_INJECTED_BUILD = 6001  # Windows Server 2008
_WINDOWS_2003 = 3790
_REMOTE_DESKTOP_PORT = 3389


@check("windows-client", Severity.BLOCKS, source=Source.GUIDE_2021)
def windows_client(windows: WindowsFacts) -> Found | None:
    """Check that the edition is Windows Server.

    The service does not import client editions such as Windows 7, 8, 10 and 11.
    """
    if not windows.client:
        return None
    return Found(
        f"{windows.product or 'This Windows'} is a client edition; the service imports Windows Server only.",
        "Install Windows Server; or pass --skip-check windows-client if your account may import client editions.",
        r"SOFTWARE\Microsoft\Windows NT\CurrentVersion",
    )


@check("windows-too-old", Severity.BLOCKS, source=Source.GUIDE_2021)
def windows_too_old(windows: WindowsFacts) -> Found | None:
    """Check that the version is at least Windows Server 2003 with Service Pack 1, the oldest that is imported."""
    if windows.build is None or windows.client:
        return None
    if windows.build > _WINDOWS_2003 or (windows.build == _WINDOWS_2003 and windows.service_pack):
        return None
    return Found(
        f"{windows.product or 'This Windows'} (build {windows.build}) is older than Windows Server 2003 with Service "
        "Pack 1, the oldest that the service imports.",
        "Install the service pack, or a newer Windows Server.",
        r"SOFTWARE\Microsoft\Windows NT\CurrentVersion, CurrentBuildNumber and CSDVersion",
    )


@check("windows-boot-files", Severity.BLOCKS, source=Source.CHECK_ITEMS)
def windows_boot_files(windows: WindowsFacts) -> Found | None:
    r"""Check that a volume has a boot configuration (BCD).

    The boot manager reads Boot\BCD of the active NTFS partition, or EFI\Microsoft\Boot\BCD of the ESP. The check does
    not read the contents of the BCD.
    """
    # Older versions boot with NTLDR and have no BCD.
    before_bcd = windows.build is None or windows.build <= _WINDOWS_2003
    if windows.boot_files is None or windows.boot_files or before_bcd:
        return None
    return Found(
        "No volume has a boot configuration (BCD): the boot manager of Windows cannot start the system.",
        r"Create it on the source system: bcdboot C:\Windows; and copy the whole disk with all partitions.",
        r"Boot\BCD on NTFS, EFI\Microsoft\Boot\BCD on FAT",
    )


@check("windows-disk-driver", {Severity.WARNS: "", Severity.BLOCKS: "before Windows Server 2008"}, source=Source.VIRTIO)
def windows_disk_driver(windows: WindowsFacts) -> Found | None:
    r"""Check that Windows has the driver of virtio disks.

    viostor.sys must be in System32\drivers, and its service must start at boot (Start=0). The service documents that
    the import adds the driver to Windows Server 2008 and later.
    """
    has_file = "viostor.sys" in windows.driver_files
    if not windows.registry_read or (has_file and windows.viostor_start == 0):
        return None
    added = windows.build is not None and windows.build >= _FIRST_INJECTED_BUILD
    reason = "viostor does not start at boot" if has_file else r"viostor.sys is not in System32\drivers"
    return Found(
        f"Windows would not find its disk on ECS: {reason}."
        + (" The import is documented to add the driver to this version." if added else ""),
        "Install the virtio drivers (virtio-win) on the source system, and restart it once.",
        r"SYSTEM\ControlSet\Services\viostor, Windows\System32\drivers",
        None if added else Severity.BLOCKS,
    )


@check("windows-network-driver", Severity.WARNS, source=Source.VIRTIO)
def windows_network_driver(windows: WindowsFacts) -> Found | None:
    """Check that netkvm.sys, the driver of the network cards of ECS, is installed."""
    if "netkvm.sys" in windows.driver_files:
        return None
    return Found(
        r"netkvm.sys, the driver of the network cards of ECS, is not in System32\drivers.",
        "Install the virtio drivers (virtio-win) on the source system.",
        r"Windows\System32\drivers",
    )


@check("windows-nvme-driver", Severity.NOTE, source=Source.CHECK_ITEMS)
def windows_nvme_driver(windows: WindowsFacts) -> Found | None:
    """Check that stornvme.sys, the driver of NVMe disks, is installed."""
    if "stornvme.sys" in windows.driver_files:
        return None
    return Found(
        r"stornvme.sys is not in System32\drivers: Windows cannot boot on newer instance types, which have NVMe disks.",
        None,
        r"Windows\System32\drivers",
    )


@check("windows-read-only-drivers", Severity.WARNS, source=Source.GUIDE_2021)
def windows_read_only_drivers(windows: WindowsFacts) -> Found | None:
    """Check that the import can replace the virtio drivers.

    The import replaces netkvm.sys, balloon.sys, vioser.sys, viostor.sys and pvpanic.sys with builds of the service, so
    these files must not be read-only.
    """
    if not windows.read_only_drivers:
        return None
    return Found(
        f"Drivers that the import replaces are read-only: {', '.join(windows.read_only_drivers)}.",
        r"On the source system: attrib -r C:\Windows\System32\drivers\NAME.",
        r"Windows\System32\drivers, file attributes",
    )


@check("windows-setup", Severity.WARNS, source=Source.CHECK_ITEMS)
def windows_setup(windows: WindowsFacts) -> Found | None:
    """Check that no setup and no sysprep is in progress.

    The check reads ImageState and SystemSetupInProgress in the registry.
    """
    state = windows.image_state
    if not windows.setup_in_progress and (not state or state in _GOOD_STATES):
        return None
    return Found(
        f"The setup of Windows is in progress ({state or 'SystemSetupInProgress is set'}).",
        "Complete the setup on the source system, and shut it down; or run sysprep /generalize /oobe /shutdown.",
        r"SOFTWARE\Microsoft\Windows\CurrentVersion\Setup\State",
    )


@check("windows-filters", Severity.WARNS, source=Source.CHECK_ITEMS)
def windows_filters(windows: WindowsFacts) -> Found | None:
    """Check that disks and volumes have no filter drivers of other software.

    If such software was removed and its filter driver is still registered, Windows does not boot.
    """
    if not windows.filters:
        return None
    names = ", ".join(one.what for one in windows.filters[:4])
    return Found(
        f"Disks or volumes have filter drivers of other software: {names}. Windows does not boot if one cannot be "
        "loaded.",
        "Uninstall backup, encryption and virtualization tools on the source system.",
        windows.filters[0].where,
    )


@check("windows-pending-update", Severity.WARNS, source=Source.CHECK_ITEMS)
def windows_pending_update(windows: WindowsFacts) -> Found | None:
    r"""Check that no update requires a restart.

    An update is pending if Component Based Servicing has the key RebootPending, or if WinSxS\pending.xml exists.
    """
    if not windows.pending_update:
        return None
    return Found(
        "Updates require a restart: the first boot would complete them on other hardware, or fail.",
        "Restart the source system until no update is pending, and shut it down.",
        windows.pending_update,
    )


@check("windows-volume-dirty", Severity.WARNS, source=Source.JUDGEMENT)
def windows_volume_dirty(windows: WindowsFacts) -> Found | None:
    """Check that the NTFS volume was unmounted cleanly.

    The dirty flag of NTFS requests chkdsk. Many tools do not write to such a volume.
    """
    if not windows.dirty:
        return None
    return Found(
        "The NTFS volume is marked for chkdsk: Windows was not shut down cleanly, and the import may not write to it.",
        "Shut the source system down (do not restart or hibernate it) before you copy the disk, or run chkdsk /f.",
        "$Volume, $VOLUME_INFORMATION",
    )


@check("windows-hibernated", Severity.BLOCKS, source=Source.JUDGEMENT)
def windows_hibernated(windows: WindowsFacts) -> Found | None:
    """Check that Windows was shut down and not hibernated.

    If hiberfil.sys contains a session, the file system must not be changed.
    """
    if not windows.hibernated:
        return None
    return Found(
        "Windows was hibernated, or shut down with fast startup: the import cannot change its NTFS volume, and Windows "
        "would resume on other hardware.",
        "Boot the source system, run powercfg /h off, and shut it down.",
        "hiberfil.sys, byte 0",
    )


@check("windows-device-install", Severity.WARNS, source=Source.CHECK_ITEMS)
def windows_device_install(windows: WindowsFacts) -> Found | None:
    """Check that Windows installs new devices.

    The settings DeviceInstallDisabled, and hide_devices of the Xen driver, prevent it.
    """
    if not (windows.device_install_disabled or windows.xen_hidden):
        return None
    setting = "DeviceInstallDisabled" if windows.device_install_disabled else "hide_devices of the Xen driver"
    return Found(
        f"{setting} is set: Windows would not install the disk and the network card of ECS.",
        "Remove the value from the registry of the source system, or uninstall the Xen tools.",
        r"SYSTEM\ControlSet\Services",
    )


@check(
    "windows-remote-desktop", {Severity.WARNS: "", Severity.NOTE: "if the firewall allows it"}, source=Source.GUIDE_2021
)
def windows_remote_desktop(windows: WindowsFacts) -> Found | None:
    """Check that Remote Desktop is enabled on port 3389, and that the firewall is disabled.

    If a profile of the firewall is enabled, its rule for Remote Desktop must be active.
    """
    port, profiles = windows.remote_desktop_port, ", ".join(windows.firewall)
    where = r"SYSTEM\ControlSet\Control\Terminal Server, Services\SharedAccess"
    problems = ["Remote Desktop is disabled"] if windows.remote_desktop is False else []
    if port not in (None, _REMOTE_DESKTOP_PORT):
        problems.append(f"Remote Desktop listens on port {port} and not on 3389")
    if profiles and not windows.remote_desktop_allowed:
        problems.append(f"the firewall is enabled ({profiles}) and does not allow Remote Desktop")
    if problems:
        return Found(
            f"In Windows, {' and '.join(problems)}: the instance may be reached by its console only.",
            "Enable Remote Desktop on port 3389, and allow it in the firewall, on the source system.",
            where,
        )
    if profiles:
        message = f"The firewall of Windows is enabled ({profiles}), and allows Remote Desktop."
        return Found(message, None, where, Severity.NOTE)
    return None
