"""This file holds the rules of ImportImage about the system in the image: how it boots, what it is."""

from difflib import get_close_matches

from aliyun_import.checks.request_findings import Rule, blocks, note, one_of, warns
from aliyun_import.model.finding import Finding
from aliyun_import.model.request import Architecture, BootMode, ImportRequest, OsType

# ImportImage, Platform, 2025 and 2026.
PLATFORMS = (
    "Aliyun", "AlmaLinux", "Anolis", "CentOS", "CentOS Stream", "CoreOS", "Customized Linux", "Debian", "Fedora",
    "Fedora CoreOS", "FreeBSD", "Gentoo", "Kylin", "OpenSUSE", "Other Windows", "Others Linux", "RedHat", "Rocky Linux",
    "SUSE", "UOS", "Ubuntu", "Windows Server 2003", "Windows Server 2008", "Windows Server 2012", "Windows Server 2016",
    "Windows Server 2019", "Windows Server 2022",
)  # fmt: skip
LICENSE_TYPES = ("Auto", "Aliyun", "BYOL")
NVME_SUPPORT = ("supported", "unsupported")
IMDS_SUPPORT = ("v1", "v2")
DETECTION_STRATEGIES = ("Standard",)
# Image check overview: platforms whose images are not checked.
UNCHECKED_PLATFORMS = ("CoreOS", "Customized Linux", "Fedora CoreOS", "FreeBSD", "Gentoo")


def boot_mode_of_arm(request: ImportRequest) -> Finding | None:
    """Refuse arm64 with BIOS: arm instances start by UEFI only ("InvalidBootMode.NotSupport")."""
    if request.architecture is not Architecture.ARM64 or request.boot_mode is not BootMode.BIOS:
        return None
    return blocks("boot-mode-arm64", "An arm64 image can't boot by BIOS.", "Pass --boot-mode UEFI, or leave it out.")


def windows_on_other_processors(request: ImportRequest) -> Finding | None:
    """Warn of pairs of platform and architecture that no document has ("InvalidArchitecture.PlatformUnsupported")."""
    architecture, platform = request.architecture, request.platform or ""
    windows = request.os_type is OsType.WINDOWS or platform.startswith("Windows")
    if not windows or architecture in (None, Architecture.X86_64):
        return None
    if architecture is Architecture.I386 and platform in ("", "Windows Server 2003", "Windows Server 2008"):
        return None
    system = platform if platform.startswith("Windows") else "Windows"
    return warns(
        "architecture-platform",
        f"{system} on {architecture} is a pair that no document of the service has.",
        "Pass --architecture x86_64 if the disk is for that processor.",
    )


def platform_known(request: ImportRequest) -> Finding | None:
    """Warn of an unknown platform and offer close matches; it is passed on, because the list grows."""
    platform = request.platform
    if platform is None or platform in PLATFORMS:
        return None
    lower = {name.lower(): name for name in PLATFORMS}
    near = [lower[match] for match in get_close_matches(platform.lower(), lower, n=3, cutoff=0.5)]
    advice = f'Pass --platform "{near[0]}"' if near else "Pass one of the listed names"
    more = f" (close to it: {', '.join(near)})" if len(near) > 1 else ""
    return warns(
        "platform-unlisted",
        f"{platform!r} is not on the service's list of platforms; it is passed on as it is.",
        f'{advice}{more}, or "Others Linux" where none fits.',
    )


def os_type_agrees(request: ImportRequest) -> Finding | None:
    """Refuse an OSType and a Platform that contradict each other; without OSType the service takes Linux."""
    if request.platform not in PLATFORMS:
        return None
    wanted = OsType.WINDOWS if "Windows" in request.platform else OsType.LINUX
    if (request.os_type or OsType.LINUX) is wanted:
        return None
    said = f"the OS type is {request.os_type}" if request.os_type else "the OS type is not given, which means linux"
    return blocks(
        "os-type-platform",
        f"The platform is {request.platform}, and {said}.",
        f"Pass --os-type {wanted}, or another --platform.",
    )


def license_type(request: ImportRequest) -> Finding | None:
    """Judge LicenseType: Auto, Aliyun or BYOL, and for Windows Server only."""
    chosen = request.license_type
    problem = one_of("license-type", chosen, option="--license-type", allowed=LICENSE_TYPES)
    if problem is not None or not chosen or chosen == "Auto":
        return problem
    if _is_windows(request):
        return None
    return note(
        "license-type-unused",
        f"The license type {chosen} has an effect on Windows Server only.",
        "Leave --license-type out.",
    )


def nvme_support(request: ImportRequest) -> Finding | None:
    """Judge Features.NvmeSupport: supported or unsupported."""
    return one_of("nvme-support", request.nvme_support, option="--nvme-support", allowed=NVME_SUPPORT)


def imds_support(request: ImportRequest) -> Finding | None:
    """Judge Features.ImdsSupport: v1 or v2 ("InvalidParameter.FeaturesImdsSupport")."""
    return one_of("imds-support", request.imds_support, option="--imds-support", allowed=IMDS_SUPPORT)


def detection_strategy(request: ImportRequest) -> Finding | None:
    """Judge DetectionStrategy: Standard, and not with Windows ("ImageCheckUnsupported.WindowsImage")."""
    chosen = request.detection_strategy
    problem = one_of("detection-strategy", chosen, option="--detection-strategy", allowed=DETECTION_STRATEGIES)
    if problem is not None or not chosen:
        return problem
    if _is_windows(request):
        return blocks(
            "detection-windows",
            "The service does not check Windows images when they are imported.",
            "Leave --detection-strategy out, and have the image checked in the console afterwards.",
        )
    if request.platform in UNCHECKED_PLATFORMS:
        return warns(
            "detection-platform",
            f"The service does not check images of {request.platform}.",
            "Leave --detection-strategy out.",
        )
    return None


SYSTEM_RULES: tuple[Rule, ...] = (
    boot_mode_of_arm,
    windows_on_other_processors,
    platform_known,
    os_type_agrees,
    license_type,
    nvme_support,
    imds_support,
    detection_strategy,
)
SYSTEM_RULE_NAMES = frozenset(
    {
        "architecture-platform",
        "boot-mode-arm64",
        "detection-platform",
        "detection-strategy",
        "detection-windows",
        "imds-support",
        "license-type",
        "license-type-unused",
        "nvme-support",
        "os-type-platform",
        "platform-unlisted",
    }
)


def _is_windows(request: ImportRequest) -> bool:
    return request.os_type is OsType.WINDOWS or "Windows" in (request.platform or "")
