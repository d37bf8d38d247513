"""Platforms of ImportImage, the systems on a disk that they correspond to, and checks of them."""

from aliyun_import.checks.registry import Found, GuestSubject, RequestSubject, Source, SystemDiskSubject, check
from aliyun_import.disk.guest.report import GuestReport, OsRelease
from aliyun_import.limits import GIB
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import PLATFORMS, Architecture, ImportRequest, OsType, near_platforms
from aliyun_import.sizes import exact_size

_WINDOWS_BY_BUILD = {
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
# "Overview of image check": platforms whose images are not checked.
UNCHECKED_PLATFORMS = ("CoreOS", "Customized Linux", "Fedora CoreOS", "FreeBSD", "Gentoo")
# ID of os-release -> Platform. Derivatives that are not on the list are omitted on purpose: with the platform of its
# parent, the service would treat a system as the parent.
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
# First and last major version (None: no end is documented) of the systems to which the import adds the virtio drivers,
# as in "Install the virtio driver". Windows Server 2008 and later get them, too.
_INJECTED: dict[str, tuple[int, int | None]] = {
    "CentOS": (6, 8),
    "Ubuntu": (12, None),
    "Debian": (7, None),
    "SUSE": (11, None),
}
# Platforms with which the import leaves the guest unchanged.
_UNCHANGED = ("Others Linux", "Customized Linux")
# File systems of the first partition of a "Customized Linux", on which ECS writes the settings of an instance.
_CUSTOMIZED_FILE_SYSTEMS = ("vfat", "ext2", "ext3", "ext4", "ufs")
_CUSTOMIZED_ABOVE_GIB = 5


def listed_platform(name: str | None) -> str | None:
    """Return a platform with the case of the service's list. A name that is not listed is returned unchanged."""
    return next((listed for listed in PLATFORMS if name and listed.lower() == name.lower()), name)


def platform_of(guest: GuestReport) -> str | None:
    """Return the platform of the guest, or None if its system is unknown or not on the service's list."""
    if guest.os_release is not None:
        return _linux_platform(guest.os_release)
    windows = guest.windows
    if windows is None or windows.build is None or windows.client is None:
        return None
    return OTHER_WINDOWS if windows.client else _WINDOWS_BY_BUILD.get(windows.build, OTHER_WINDOWS)


def import_adds_virtio(release: OsRelease | None, platform: str | None) -> bool:
    """Return whether the import is documented to add the virtio drivers to a system."""
    if release is None or platform not in _INJECTED:
        return False
    first, last = _INJECTED[platform]
    major = release.version_id.split(".")[0]
    if not major.isdigit():
        return platform == "Debian" and not release.version_id  # testing and unstable have no VERSION_ID
    return first <= int(major) and (last is None or int(major) <= last)


def is_windows(request: ImportRequest) -> bool:
    """Return whether the OS type or the platform of a request is Windows."""
    return request.os_type is OsType.WINDOWS or "Windows" in (request.platform or "")


@check("architecture-platform", Severity.WARNS, source=Source.API)
def architecture_platform(subject: RequestSubject) -> Found | None:
    """Check that Windows is imported for a documented architecture.

    Windows is documented for x86_64, and for i386 with Windows Server 2003 and 2008. The service may refuse other
    combinations with InvalidArchitecture.PlatformUnsupported.
    """
    architecture, platform = subject.request.architecture, subject.request.platform or ""
    windows = subject.request.os_type is OsType.WINDOWS or platform.startswith("Windows")
    if not windows or architecture in (None, Architecture.X86_64):
        return None
    if architecture is Architecture.I386 and platform in ("", "Windows Server 2003", "Windows Server 2008"):
        return None
    system = platform if platform.startswith("Windows") else "Windows"
    return Found(
        f"{system} on {architecture} is not documented as supported.",
        "Pass --architecture x86_64 if the disk is for that architecture.",
    )


@check("platform-unlisted", Severity.WARNS, source=Source.API)
def platform_unlisted(subject: RequestSubject) -> Found | None:
    """Check that the platform is on the service's list.

    A platform that is not on the list is sent unchanged, because the list grows. The finding has similar names.
    """
    platform = subject.request.platform
    if platform is None or platform in PLATFORMS:
        return None
    near = near_platforms(platform)
    advice = f'Pass --platform "{near[0]}"' if near else "Pass one of the listed names"
    more = f" (similar: {', '.join(near)})" if len(near) > 1 else ""
    other = OTHER_WINDOWS if is_windows(subject.request) else "Others Linux"
    return Found(
        f"{platform!r} is not on the service's list of platforms. It is sent unchanged.",
        f'{advice}{more}, or "{other}" if none of them applies.',
    )


@check("os-type-platform", Severity.BLOCKS, source=Source.API)
def os_type_platform(subject: RequestSubject) -> Found | None:
    """Check that OSType and Platform agree.

    Without OSType the service assumes linux.
    """
    platform, os_type = subject.request.platform, subject.request.os_type
    if platform not in PLATFORMS:
        return None
    expected = OsType.WINDOWS if "Windows" in platform else OsType.LINUX
    if (os_type or OsType.LINUX) is expected:
        return None
    actual = f"the OS type is {os_type}" if os_type else "the OS type is not given, which means linux"
    return Found(f"The platform is {platform}, and {actual}.", f"Pass --os-type {expected}, or another --platform.")


@check("distribution-unlisted", Severity.NOTE, source=Source.API)
def distribution_unlisted(subject: GuestSubject) -> Found | None:
    """Check that the service has a platform for the distribution.

    Otherwise the platform is Others Linux, the default, and the import leaves the guest unchanged. A derivative is not
    imported with the platform of its parent unless --platform is given.
    """
    release = subject.guest.os_release
    if release is None or subject.request.platform is not None or platform_of(subject.guest):
        return None
    parent = next((_BY_ID[like] for like in release.id_like if like in _BY_ID), None)
    advice = f"Pass --platform {parent}, its parent" if parent else "Pass --platform with the nearest name"
    return Found(
        f"The service has no platform for {release.pretty_name or release.id or 'this system'}. The platform will be "
        "Others Linux, with which the import adds neither drivers nor a password to the guest.",
        f"{advice}, if the service should treat the system as that.",
        release.where,
    )


@check(
    "platform-contradicts",
    {Severity.WARNS: "", Severity.NOTE: "for Others Linux and Customized Linux"},
    source=Source.API,
)
def platform_contradicts(subject: GuestSubject) -> Found | None:
    """Check that --platform is the platform of the system on the disk.

    The platform determines what the import changes in the guest.
    """
    guest, requested = subject.guest, subject.request.platform
    actual = platform_of(guest)
    if requested is None or actual is None or requested == actual:
        return None
    unchanged = requested in _UNCHANGED
    return Found(
        f'--platform "{requested}" was given, and the disk holds {actual}'
        + (": with it the import adds neither drivers nor a password to the guest." if unchanged else "."),
        f'Omit --platform, or pass --platform "{actual}".',
        guest.os_release.where if guest.os_release else "the registry",
        Severity.NOTE if unchanged else None,
    )


@check("customized-linux-size", Severity.BLOCKS, source=Source.CUSTOMIZED)
def customized_linux_size(subject: SystemDiskSubject) -> Found | None:
    """Check that a disk for Customized Linux is larger than 5 GiB."""
    size_bytes = subject.report.virtual_bytes
    if subject.request.platform != "Customized Linux" or size_bytes is None or size_bytes > _CUSTOMIZED_ABOVE_GIB * GIB:
        return None
    return Found(
        f"The disk has {exact_size(size_bytes)}; the platform Customized Linux requires more than 5 GiB.",
        "Enlarge the disk: qemu-img resize DISK 6G; or pass another --platform.",
        f"virtual size {size_bytes} bytes",
    )


@check("customized-linux-directory", Severity.WARNS, source=Source.CUSTOMIZED)
def customized_linux_directory(subject: SystemDiskSubject) -> Found | None:
    """Check that ECS can write the settings of an instance with the platform Customized Linux.

    ECS writes /aliyun_custom_image/os.conf on the first partition, which must be FAT32, ext2, ext3, ext4 or UFS. A
    script in the image must read it.
    """
    parts, guest = subject.report.partitions, subject.report.guest
    if subject.request.platform != "Customized Linux" or not parts:
        return None
    first = parts[0]
    if first.filesystem and first.filesystem not in _CUSTOMIZED_FILE_SYSTEMS:
        message = (
            f"The file system of the first partition is {first.filesystem}, and ECS writes to FAT32, ext2, ext3, ext4 "
            "and UFS only"
        )
    elif guest is not None and guest.custom_image_directory is False:
        message = "The first partition has no directory /aliyun_custom_image"
    else:
        return None
    return Found(
        f"{message}: ECS cannot write the settings of an instance (os.conf: host name, password, network).",
        "Create /aliyun_custom_image on a writable first partition, and read os.conf from it at boot.",
        f"partition {first.number}",
    )


@check("issue-changed", Severity.NOTE, source=Source.GUIDE_2021)
def issue_changed(subject: GuestSubject) -> Found | None:
    r"""Check that /etc/issue contains the name of the distribution.

    According to the guide of 2021, the service identifies the distribution by /etc/issue, among other files. The file
    must contain the name or the ID in os-release, or \S, which agetty replaces with the name.
    """
    release, issue = subject.guest.os_release, subject.guest.issue
    if release is None or issue is None:
        return None
    names = {release.id, *release.name.lower().split()[:1]} - {""}
    if "\\S" in issue or any(name in issue.lower() for name in names):
        return None
    return Found(
        "/etc/issue does not name the distribution. The guide of 2021 requires the original file, newer pages do not.",
        "Restore the original /etc/issue on the source system if the service does not recognise the distribution.",
        "/etc/issue:1",
    )


def _linux_platform(release: OsRelease) -> str | None:
    platform = _BY_ID.get(release.id.lower())
    if platform == "CentOS" and "stream" in release.name.lower():
        return "CentOS Stream"
    if platform == "Fedora" and release.variant_id == "coreos":
        return "Fedora CoreOS"
    return platform
