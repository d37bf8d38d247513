"""This file knows the service's Platform list, and which of its names a system on a disk goes by."""

from aliyun_import.disk.guest.report import GuestReport, OsRelease

# ImportImage, Platform, as of November 2026. The list grows, so a name that is not in it is no error.
WINDOWS_PLATFORMS = {
    20348: "Windows Server 2022",
    17763: "Windows Server 2019",
    14393: "Windows Server 2016",
    9600: "Windows Server 2012",  # 2012 R2; the list has one name for both
    9200: "Windows Server 2012",
    7601: "Windows Server 2008",  # 2008 R2
    7600: "Windows Server 2008",
    6003: "Windows Server 2008",
    6002: "Windows Server 2008",
    6001: "Windows Server 2008",
    3790: "Windows Server 2003",
}
OTHER_WINDOWS = "Other Windows"
# ID of os-release -> Platform. Derivatives that the list does not name are left out on purpose: calling a system what
# it is not would have the service treat it as that.
_BY_ID = {
    "alinux": "Aliyun",
    "aliyun": "Aliyun",
    "almalinux": "AlmaLinux",
    "anolis": "Anolis",
    "centos": "CentOS",
    "coreos": "CoreOS",
    "debian": "Debian",
    "fedora": "Fedora",
    "freebsd": "FreeBSD",
    "gentoo": "Gentoo",
    "kylin": "Kylin",
    "opensuse": "OpenSUSE",
    "opensuse-leap": "OpenSUSE",
    "opensuse-tumbleweed": "OpenSUSE",
    "rhel": "RedHat",
    "rocky": "Rocky Linux",
    "sle_hpc": "SUSE",
    "sled": "SUSE",
    "sles": "SUSE",
    "sles_sap": "SUSE",
    "suse": "SUSE",
    "ubuntu": "Ubuntu",
    "uos": "UOS",
}
# "Install the virtio driver": CentOS 6-8, Ubuntu 12 and later, Debian 7 and later, SUSE 11 and later, and Windows
# Server 2008 and later get the driver from the import itself. First and last major version (None: no end named).
_INJECTED: dict[str, tuple[int, int | None]] = {
    "CentOS": (6, 8),
    "Ubuntu": (12, None),
    "Debian": (7, None),
    "SUSE": (11, None),
}


def platform_of(guest: GuestReport) -> str | None:
    """Name the system as the service's list does; None when it is not known, or not on the list."""
    if guest.os_release is not None:
        return _linux_platform(guest.os_release)
    windows = guest.windows
    if windows is None or windows.build is None or windows.client is None:
        return None
    return OTHER_WINDOWS if windows.client else WINDOWS_PLATFORMS.get(windows.build, OTHER_WINDOWS)


def nearest_platform(release: OsRelease) -> str | None:
    """Name the platform that an unlisted system says it is like; only good for an advice."""
    return next((_BY_ID[like] for like in release.id_like if like in _BY_ID), None)


def import_adds_virtio(release: OsRelease | None, platform: str | None) -> bool:
    """Tell whether the service says that it adds the virtio drivers to such a system itself."""
    if release is None or platform not in _INJECTED:
        return False
    first, last = _INJECTED[platform]
    major = release.version_id.split(".")[0]
    if not major.isdigit():
        return platform == "Debian" and not release.version_id  # testing and unstable have no VERSION_ID
    return first <= int(major) and (last is None or int(major) <= last)


def _linux_platform(release: OsRelease) -> str | None:
    platform = _BY_ID.get(release.id.lower())
    if platform == "CentOS" and "stream" in release.name.lower():
        return "CentOS Stream"
    if platform == "Fedora" and release.variant_id == "coreos":
        return "Fedora CoreOS"
    return platform
