"""Tests of the inference of parameters from a disk."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from aliyun_import.checks.infer import Origin, infer_parameters
from aliyun_import.disk.guest.report import DriverPlace, OsRelease, WindowsFacts
from aliyun_import.disk.report import BootEvidence
from aliyun_import.limits import GIB
from aliyun_import.model.request import Architecture, BootMode, DiskFormat, DiskRequest, OsType
from tests.checks.reports import BIOS, ROOT, UEFI, guest, kernel, report, request
from tests.rows import each_row


def test_everything_is_inferred_from_the_disk() -> None:
    """A Debian with UEFI needs no option at all, and each value has its evidence."""
    inferred = infer_parameters(report(boot=UEFI, guest=guest()), request())
    assert inferred.parameters == {
        "format": DiskFormat.RAW,
        "size_gib": 40,
        "boot_mode": BootMode.UEFI,
        "architecture": Architecture.X86_64,
        "os_type": OsType.LINUX,
        "platform": "Debian",
        "nvme_support": "supported",
        "detection_strategy": "Standard",
    }
    origins = {name: value.origin for name, value in inferred.values.items()}
    assert origins.pop("detection_strategy") is Origin.SERVICE
    assert set(origins.values()) == {Origin.DISK}
    assert [line.split(":")[0] for line in inferred.evidence] == [
        "format=RAW",
        "size_gib=40",
        "boot_mode=UEFI",
        "architecture=x86_64",
        "os_type=linux",
        "platform=Debian",
        "nvme_support=supported",
        "detection_strategy=Standard",
    ]


def test_options_of_the_user_are_kept() -> None:
    """Options are unchanged, have the user as origin, and have no evidence on the disk."""
    options = {
        "boot_mode": BootMode.BIOS,
        "architecture": Architecture.I386,
        "os_type": OsType.LINUX,
        "platform": "Others Linux",
        "nvme_support": "unsupported",
        "imds_support": "v2",
        "detection_strategy": "none",
        "license_type": "BYOL",
        "description": "a disk",
    }
    requested = request(disks=(DiskRequest(path=Path("disk.raw"), format=DiskFormat.QCOW2, size_gib=100),), **options)
    inferred = infer_parameters(report(boot=UEFI, guest=guest()), requested)
    assert inferred.parameters == {"format": DiskFormat.QCOW2, "size_gib": 100, **options}
    assert {value.origin for value in inferred.values.values()} == {Origin.USER}
    assert inferred.evidence == ()
    assert inferred.merged_into(requested) == requested


def test_a_request_is_completed_disk_by_disk() -> None:
    """The system disk adds parameters of the image and its own; a data disk adds only its own."""
    requested = request(disks=(DiskRequest(path=Path("a")), DiskRequest(path=Path("b"))))
    system, data = report(guest=guest()), report(format=DiskFormat.VHD, virtual_bytes=GIB, boot=UEFI)
    merged = infer_parameters(system, requested).merged_into(requested)
    merged = infer_parameters(data, requested, index=1).merged_into(merged)
    assert (merged.boot_mode, merged.platform, merged.name) == (BootMode.BIOS, "Debian", requested.name)
    assert [(disk.format, disk.size_gib) for disk in merged.disks] == [(DiskFormat.RAW, 40), (DiskFormat.VHD, 1)]


def test_the_requested_platform_determines_the_os_type() -> None:
    """The origin is the user, and the evidence is the platform."""
    os_type = infer_parameters(report(), request(platform="Windows Server 2019")).values["os_type"]
    assert (os_type.value, os_type.origin) == (OsType.WINDOWS, Origin.USER)
    assert "Windows Server 2019" in os_type.evidence


@each_row(
    ("virtual_bytes", "index", "size_gib"),
    [(40 * GIB, 0, 40), (40 * GIB + 1, 0, 41), (GIB, 0, 5), (1, 1, 1), (5 * GIB + 512, 1, 6)],
)
def test_the_size_is_rounded_up(virtual_bytes: int, index: int, size_gib: int) -> None:
    """The size is never less than the virtual size, and at least 5 GiB for a system disk."""
    requested = request(disks=(DiskRequest(path=Path("a")), DiskRequest(path=Path("b"))))
    assert (
        infer_parameters(report(virtual_bytes=virtual_bytes), requested, index=index).parameters["size_gib"] == size_gib
    )


def test_a_data_disk_determines_no_parameter_of_the_image() -> None:
    """Only the system disk determines how the image boots."""
    requested = request(disks=(DiskRequest(path=Path("a")), DiskRequest(path=Path("b"))))
    inferred = infer_parameters(report(boot=UEFI, guest=guest()), requested, index=1)
    assert inferred.parameters == {"format": DiskFormat.RAW, "size_gib": 40}


def test_unknown_parameters_are_left_to_the_service() -> None:
    """Nothing is guessed; the only parameter requests the check of the service."""
    unknown = report(format=None, virtual_bytes=None, boot=BootEvidence(), partitions=())
    assert infer_parameters(unknown, request()).parameters == {"detection_strategy": "Standard"}


@each_row(
    "requested",
    [
        {"platform": "FreeBSD"},
        {"platform": "Customized Linux"},
        {"os_type": OsType.WINDOWS},
        {"platform": "Windows Server 2019"},
    ],
)
def test_the_check_of_the_service_is_requested_only_where_it_is_supported(requested: dict[str, Any]) -> None:
    """It is not requested for platforms whose images the service does not check."""
    assert "detection_strategy" not in infer_parameters(report(boot=UEFI, guest=None), request(**requested)).parameters


def test_a_disk_with_both_boot_modes_has_the_default_of_its_architecture() -> None:
    """BIOS is the service's default on x86, UEFI the only mode on arm64."""
    both = replace(UEFI, bios=BIOS.bios)
    assert infer_parameters(report(boot=both), request()).parameters["boot_mode"] is BootMode.BIOS
    arm = report(boot=both, architecture=Architecture.ARM64)
    assert infer_parameters(arm, request()).parameters["boot_mode"] is BootMode.UEFI


@each_row(
    ("release", "platform"),
    [
        (OsRelease(id="debian"), "Debian"),
        (OsRelease(id="ubuntu", id_like=("debian",)), "Ubuntu"),
        (OsRelease(id="centos", name="CentOS Linux"), "CentOS"),
        (OsRelease(id="centos", name="CentOS Stream"), "CentOS Stream"),
        (OsRelease(id="rhel"), "RedHat"),
        (OsRelease(id="rocky"), "Rocky Linux"),
        (OsRelease(id="almalinux"), "AlmaLinux"),
        (OsRelease(id="alinux"), "Aliyun"),
        (OsRelease(id="anolis"), "Anolis"),
        (OsRelease(id="opensuse-leap"), "OpenSUSE"),
        (OsRelease(id="sles"), "SUSE"),
        (OsRelease(id="fedora"), "Fedora"),
        (OsRelease(id="fedora", variant_id="coreos"), "Fedora CoreOS"),
        (OsRelease(id="linuxmint", id_like=("ubuntu", "debian")), None),
    ],
)
def test_the_platform_is_the_services_name_for_the_distribution(release: OsRelease, platform: str | None) -> None:
    """A known distribution is never "Others Linux", and a derivative is not imported as its parent."""
    disk = report(guest=guest(os_release=release))
    assert infer_parameters(disk, request()).parameters.get("platform") == platform


@each_row(
    ("build", "client", "platform"),
    [
        (20348, False, "Windows Server 2022"),
        (17763, False, "Windows Server 2019"),
        (9600, False, "Windows Server 2012"),
        (26100, False, "Other Windows"),
        (19045, True, "Other Windows"),
    ],
)
def test_windows_is_identified_by_its_build(build: int, client: bool, platform: str) -> None:
    """Windows gets its platform, and the license type that the service requires with it."""
    facts = WindowsFacts(product="Windows", build=build, client=client, registry_read=True)
    disk = report(guest=guest(os_type=OsType.WINDOWS, os_release=None, windows=facts, kernels=()))
    inferred = infer_parameters(disk, request())
    assert inferred.parameters["platform"] == platform
    assert inferred.parameters["os_type"] is OsType.WINDOWS
    license_type = "BYOL" if platform == "Other Windows" else "Aliyun"
    assert (inferred.parameters["license_type"], inferred.values["license_type"].origin) == (
        license_type,
        Origin.SERVICE,
    )


def test_windows_is_inferred_from_ntfs_alone() -> None:
    """If NTFS could not be read, a disk with nothing else on it is still not Linux."""
    disk = report(partitions=(replace(ROOT, filesystem="ntfs"),))
    assert infer_parameters(disk, request()).parameters["os_type"] is OsType.WINDOWS


@each_row("place", [DriverPlace.MODULE, DriverPlace.ABSENT, DriverPlace.UNKNOWN])
def test_nvme_support_is_inferred_only_if_the_kernel_can_boot_from_it(place: DriverPlace) -> None:
    """A module on the disk that needs it cannot be loaded."""
    disk = report(guest=guest(kernels=(kernel(nvme=place),)))
    assert "nvme_support" not in infer_parameters(disk, request()).parameters
