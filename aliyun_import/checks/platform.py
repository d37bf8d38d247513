"""This file holds the rules about what system the image is said to hold, and what that name asks of it."""

from aliyun_import.checks.context import API, CUSTOMIZED, GUIDE_2021, Rule, RuleContext
from aliyun_import.checks.platforms import nearest_platform, platform_of
from aliyun_import.limits import GIB
from aliyun_import.model.finding import Finding, Severity

# Platform values with which the import leaves the guest as it is.
_HANDS_OFF = ("Others Linux", "Customized Linux")
# What ECS writes the settings of an instance into, on the first partition of a "Customized Linux".
_CUSTOMIZED_FILE_SYSTEMS = ("vfat", "ext2", "ext3", "ext4", "ufs")
_CUSTOMIZED_ABOVE_GIB = 5


def distribution_unlisted(subject: RuleContext) -> Finding | None:
    """Say that the service's list has no name for the distribution, and what that costs."""
    guest = subject.guest
    release = guest.os_release if guest is not None else None
    if guest is None or release is None or subject.request.platform is not None or platform_of(guest):
        return None
    near = nearest_platform(release)
    advice = f"Give --platform {near}, which it says it is like, " if near else "Give --platform with the nearest name "
    return subject.finding(
        "distribution-unlisted",
        Severity.NOTE,
        f"The service has no Platform for {release.pretty_name or release.id or 'this system'}: it will be Others "
        "Linux, with which the import puts neither drivers nor a password into the guest.",
        remedy=advice + "if the service should treat it as that.",
        where=release.where,
        source=API,
    )


def platform_contradicts(subject: RuleContext) -> Finding | None:
    """Warn of a platform asked for that is not what lies on the disk."""
    guest, asked = subject.guest, subject.request.platform
    found = platform_of(guest) if guest is not None else None
    if guest is None or asked is None or found is None or asked == found:
        return None
    hands_off = asked in _HANDS_OFF
    return subject.finding(
        "platform-contradicts",
        Severity.NOTE if hands_off else Severity.WARNS,
        f'--platform "{asked}" was given, and the disk holds {found}'
        + (": with it the import puts neither drivers nor a password into the guest." if hands_off else "."),
        remedy=f'Leave --platform out, or give --platform "{found}".',
        where=guest.os_release.where if guest.os_release else "the registry",
        source=API,
    )


def customized_linux_size(subject: RuleContext) -> Finding | None:
    """Block a "Customized Linux" of 5 GiB or less."""
    size = subject.report.virtual_bytes
    if subject.request.platform != "Customized Linux" or size is None or size > _CUSTOMIZED_ABOVE_GIB * GIB:
        return None
    return subject.finding(
        "customized-linux-size",
        Severity.BLOCKS,
        f"The disk has {size} bytes, and an image of the platform Customized Linux needs more than 5 GiB.",
        remedy="Enlarge the disk: qemu-img resize DISK 6G; or give another --platform.",
        where=f"virtual size {size} bytes",
        source=CUSTOMIZED,
    )


def customized_linux_directory(subject: RuleContext) -> Finding | None:
    """Warn of a "Customized Linux" on which ECS finds no place for an instance's settings."""
    parts, guest = subject.report.partitions, subject.guest
    if subject.request.platform != "Customized Linux" or not parts:
        return None
    first = parts[0]
    if first.filesystem and first.filesystem not in _CUSTOMIZED_FILE_SYSTEMS:
        seen = f"The first partition holds {first.filesystem}, and ECS writes to FAT32, ext2, ext3, ext4 and UFS only"
    elif guest is not None and guest.custom_image_directory is False:
        seen = "The first partition has no directory /aliyun_custom_image"
    else:
        return None
    return subject.finding(
        "customized-linux-directory",
        Severity.WARNS,
        f"{seen}: the settings of an instance (os.conf: host name, password, network) would have no place to go.",
        remedy="Make /aliyun_custom_image on a writable first partition, and have the start read os.conf there.",
        where=f"partition {first.number}",
        source=CUSTOMIZED,
    )


def issue_changed(subject: RuleContext) -> Finding | None:
    """Say that /etc/issue does not name the distribution, by which older parts of the service tell it."""
    guest = subject.guest
    release = guest.os_release if guest is not None else None
    if guest is None or release is None or guest.issue is None:
        return None
    # "\\S" stands for the name in os-release.
    names = {release.id, *release.name.lower().split()[:1]} - {""}
    if "\\S" in guest.issue or any(name in guest.issue.lower() for name in names):
        return None
    return subject.finding(
        "issue-changed",
        Severity.NOTE,
        "/etc/issue does not name the distribution; the guide of 2021 asks for it to be left as it was, newer pages do "
        "not.",
        remedy="Put the distribution's own /etc/issue back on the source system if the service does not know it.",
        where="/etc/issue:1",
        source=GUIDE_2021,
    )


PLATFORM_RULES: dict[str, Rule] = {
    "distribution-unlisted": distribution_unlisted,
    "platform-contradicts": platform_contradicts,
    "customized-linux-size": customized_linux_size,
    "customized-linux-directory": customized_linux_directory,
    "issue-changed": issue_changed,
}
