"""Tests of the checks of sizes, booting, options that contradict the disk, and its layout."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from aliyun_import.disk.guest.report import CloudInit, Evidence, GuestReport
from aliyun_import.disk.report import BootEvidence, Problem, TableKind
from aliyun_import.limits import GIB
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import Architecture, BootMode, DiskFormat, DiskRequest, OsType
from aliyun_import.sizes import exact_size
from tests.checks.reports import BIOS, ESP, LOADER, ROOT, UEFI, findings, guest, report, request
from tests.rows import each_row

BLANK: dict[str, Any] = {"table": TableKind.NONE, "partitions": (), "boot": BootEvidence()}


def test_a_disk_without_faults_has_no_finding() -> None:
    """False positives are the main risk of the checks."""
    assert findings(report()) == {}


def test_a_disk_whose_guest_could_not_be_read_is_not_blocked() -> None:
    """Boot code and an active partition are sufficient, independent of the contents of the partition."""
    unread = replace(ROOT, filesystem="", uuid="")
    found = findings(report(partitions=(unread,), virtual_bytes=2 * GIB, file_bytes=2 * GIB))
    assert {finding.severity for finding in found.values()} <= {Severity.NOTE, Severity.UNKNOWN}


@each_row(
    ("changes", "rule"),
    [
        (BLANK, "no-partition-table"),  # zeros only
        ({**BLANK, "table": TableKind.MBR}, "no-partitions"),
        ({**BLANK, "table": TableKind.GPT}, "no-partitions"),
        ({**BLANK, "partitions": (replace(ROOT, number=0, start_bytes=0),)}, "bare-file-system"),
        ({"boot": BootEvidence()}, "nothing-starts"),
        ({"virtual_bytes": 2049 * GIB}, "disk-too-large"),
    ],
)
def test_a_system_disk_that_cannot_work_is_blocked_for_its_own_reason(changes: dict[str, Any], rule: str) -> None:
    """Each kind of broken system disk has exactly one blocking finding, for its own fault."""
    found = findings(report(**changes))
    assert [name for name, finding in found.items() if finding.severity is Severity.BLOCKS] == [rule]
    assert found[rule].remedy
    assert found[rule].subject == "disk.raw"


@each_row("changes", [BLANK, {**BLANK, "partitions": (replace(ROOT, number=0),)}, {"boot": BootEvidence()}])
def test_a_data_disk_need_not_boot(changes: dict[str, Any]) -> None:
    """A data disk may be empty, a bare file system, or a disk without boot code."""
    assert findings(report(**changes), is_system=False) == {}


@each_row("is_system", [True, False])
def test_a_problem_of_the_container_is_a_finding_of_the_same_name(is_system: bool) -> None:
    """A problem of the file itself is reported for every disk."""
    problem = Problem(
        code="vhd-truncated",
        severity=Severity.BLOCKS,
        message="The file was cut.",
        where="byte 9",
        remedy="Copy it again.",
    )
    broken = report(
        container="vhd-fixed",
        container_problems=(problem,),
        table=TableKind.UNREADABLE,
        partitions=(),
        boot=BootEvidence(),
    )
    found = findings(broken, is_system=is_system)
    assert set(found) == {"vhd-truncated"}
    assert found["vhd-truncated"].severity is Severity.BLOCKS
    assert found["vhd-truncated"].where == "byte 9"


def test_blocking_findings_come_first() -> None:
    """The most important finding is the first one."""
    found = findings(report(boot=BootEvidence(), virtual_bytes=3 * GIB))
    assert [finding.severity for finding in found.values()] == [Severity.BLOCKS, Severity.NOTE]


def test_the_remedy_for_a_loader_outside_the_removable_path_has_both_paths() -> None:
    """A new instance has no boot entry, so the loader must be at the path that the firmware tries without one."""
    loader = replace(LOADER, path="EFI/debian/grubx64.efi", removable=False)
    found = findings(report(boot=BootEvidence(loaders=(loader,))))["nothing-starts"]
    assert "EFI/debian/grubx64.efi" in (found.remedy or "")
    assert "EFI/BOOT/BOOTX64.EFI" in (found.remedy or "")


def test_the_remedy_for_windows_without_a_loader_has_the_tools_of_windows() -> None:
    """Windows has no grub-install, whether a loader is missing or only at another path."""
    windows = replace(ROOT, filesystem="ntfs", type_name="NTFS or exFAT")
    loader = replace(LOADER, path="EFI/Microsoft/Boot/bootmgfw.efi", removable=False)
    for loaders, text in (((), "bootrec /fixmbr"), ((loader,), loader.path)):
        found = findings(report(partitions=(windows,), guest=None, boot=BootEvidence(loaders=loaders)))
        remedy = found["nothing-starts"].remedy or ""
        assert text in remedy
        assert "grub" not in remedy


def test_an_unreadable_esp_is_unknown_and_not_a_failure() -> None:
    """Whether UEFI can boot the disk is not known, so the finding does not block."""
    esp = replace(ESP, number=1)
    found = findings(
        report(
            partitions=(esp, ROOT),
            boot=BootEvidence(),
            unknowns=("partition 1, an EFI system partition, can't be read: no FAT",),
        )
    )
    assert found["nothing-starts"].severity is Severity.UNKNOWN


@each_row(
    ("boot", "requested", "blocks"),
    [
        (BIOS, BootMode.UEFI, True),
        (UEFI, BootMode.BIOS, True),
        (BIOS, BootMode.BIOS, False),
        (UEFI, BootMode.UEFI, False),
        (replace(UEFI, bios=BIOS.bios), BootMode.UEFI, False),
        (replace(UEFI, bios=BIOS.bios), BootMode.BIOS, False),
    ],
)
def test_a_boot_mode_that_contradicts_the_disk_blocks(boot: BootEvidence, requested: BootMode, blocks: bool) -> None:
    """A UEFI disk imported as BIOS imports without error and never boots."""
    assert ("boot-mode-contradicts" in findings(report(boot=boot), request(boot_mode=requested))) is blocks


def test_both_modes_need_evidence_of_both() -> None:
    """UEFI-Preferred boots with BIOS on some instance types and with UEFI on others."""
    both = replace(UEFI, bios=BIOS.bios)
    for boot, blocks in ((UEFI, True), (BIOS, True), (both, False)):
        found = findings(report(boot=boot), request(boot_mode=BootMode.UEFI_PREFERRED))
        assert ("boot-mode-contradicts" in found) is blocks


def test_a_disk_that_boots_with_both_modes_has_a_note() -> None:
    """A choice that was made for the user is reported, with how to change it."""
    found = findings(report(boot=replace(UEFI, bios=BIOS.bios)))
    assert found["both-boot-modes"].severity is Severity.NOTE


@each_row(
    ("actual", "requested", "severity"),
    [
        (Architecture.X86_64, Architecture.ARM64, Severity.BLOCKS),
        (Architecture.ARM64, Architecture.X86_64, Severity.BLOCKS),
        (Architecture.I386, Architecture.X86_64, Severity.WARNS),
    ],
)
def test_an_architecture_that_contradicts_the_disk(
    actual: Architecture, requested: Architecture, severity: Severity
) -> None:
    """ARM and x86 exclude each other; 32-bit programs may run on a 64-bit kernel."""
    disk = report(architecture=actual, boot=UEFI if actual is Architecture.ARM64 else BIOS)
    assert findings(disk, request(architecture=requested))["architecture-contradicts"].severity is severity
    assert "architecture-contradicts" not in findings(disk, request(architecture=actual))


def test_an_os_type_that_contradicts_the_disk_blocks() -> None:
    """Windows parameters for a Linux disk cannot work."""
    assert findings(report(), request(os_type=OsType.WINDOWS))["os-type-contradicts"].severity is Severity.BLOCKS
    assert "os-type-contradicts" not in findings(report(), request(os_type=OsType.LINUX))


@each_row("is_system", [True, False])
def test_requested_size_and_format_must_match_the_disk(is_system: bool) -> None:
    """A size below the virtual size and a format the file does not have block, for data disks too."""
    requested = request(disks=(DiskRequest(path=Path("disk.raw"), format=DiskFormat.VHD, size_gib=39),))
    found = findings(report(), requested, is_system=is_system)
    assert {name: finding.severity for name, finding in found.items()} == {
        "requested-size-too-small": Severity.BLOCKS,
        "requested-format-differs": Severity.BLOCKS,
    }
    assert "40" in (found["requested-size-too-small"].remedy or "")


def test_a_small_disk_is_a_note_for_linux_and_a_warning_for_windows() -> None:
    """The documents recommend sizes; nothing is known to refuse smaller ones."""
    assert findings(report(virtual_bytes=4 * GIB))["disk-small"].severity is Severity.NOTE
    windows = report(virtual_bytes=30 * GIB, partitions=(replace(ROOT, filesystem="ntfs"),))
    assert findings(windows)["disk-small"].severity is Severity.WARNS
    larger = request(disks=(DiskRequest(path=Path("disk.raw"), size_gib=40),))
    assert "disk-small" not in findings(report(virtual_bytes=4 * GIB), larger)


def test_an_encrypted_disk_is_blocked_only_if_no_root_was_found() -> None:
    """An encrypted home beside a plain root boots; an encrypted root waits for a passphrase."""
    luks, btrfs = Evidence(what="luks", where="partition 2"), Evidence(what="btrfs", where="partition 1")
    for unread, system, severity in (
        ((luks,), GuestReport(), Severity.BLOCKS),
        ((btrfs, luks), GuestReport(), Severity.UNKNOWN),  # swap or data may be what is encrypted
        ((luks,), guest(), Severity.NOTE),
    ):
        found = findings(report(guest=replace(system, unread=unread)))
        assert found["root-encrypted"].severity is severity


def test_a_hibernated_linux_is_found() -> None:
    """The swap space has a saved session, which would be resumed on other hardware."""
    swap = replace(ROOT, number=2, filesystem="swap-suspended")
    assert findings(report(partitions=(ROOT, swap)))["hibernated"].severity is Severity.WARNS


def test_the_layout_of_the_root_is_checked() -> None:
    """A root that is not last, swap, LVM and a root too large for its partition have a finding each."""
    swap = replace(ROOT, number=2, start_bytes=39 * GIB, filesystem="swap", type_name="Linux swap")
    plain = guest()
    assert plain.root is not None
    moved = guest(root=replace(plain.root, volume="vg/root", size_bytes=50 * GIB))
    found = findings(report(partitions=(ROOT, swap), guest=moved))
    warned = {name for name, finding in found.items() if finding.severity is Severity.WARNS}
    assert warned == {"root-not-last", "swap-partition", "root-on-lvm"}
    larger = guest(root=replace(plain.root, size_bytes=50 * GIB))
    assert findings(report(guest=larger))["root-larger-than-partition"].severity is Severity.BLOCKS


def test_a_loader_for_another_processor_than_the_system_blocks() -> None:
    """UEFI cannot boot an arm64 instance whose only loader is for x86_64; two loaders are valid."""
    arm = guest(architecture=Architecture.ARM64, machine="aarch64")
    found = findings(report(boot=UEFI, guest=arm))
    assert found["loader-for-other-processor"].severity is Severity.BLOCKS
    assert "EFI/BOOT/BOOTX64.EFI" in found["loader-for-other-processor"].where
    both = replace(LOADER, path="EFI/BOOT/BOOTAA64.EFI", architecture=Architecture.ARM64, machine="arm64")
    assert findings(report(boot=replace(UEFI, loaders=(LOADER, both)), guest=arm)) == {}
    assert findings(report(boot=UEFI, guest=guest())) == {}


def test_a_loader_that_no_new_instance_finds_is_a_note_if_bios_boots_the_disk() -> None:
    """The disk is imported with BIOS; the note has what is missing for UEFI."""
    loader = replace(LOADER, path="EFI/debian/grubx64.efi", removable=False)
    found = findings(report(boot=replace(BIOS, loaders=(loader,))))
    assert {name: finding.severity for name, finding in found.items()} == {"no-removable-loader": Severity.NOTE}


def test_a_root_on_an_unsupported_file_system_warns() -> None:
    """Btrfs in place of a root warns; btrfs beside a root that was read does not."""
    btrfs = replace(ROOT, number=2, start_bytes=1024, filesystem="btrfs")
    unread = GuestReport(unknowns=("partition 2: it holds btrfs, and that is not read",))
    assert findings(report(partitions=(btrfs,), guest=unread))["root-file-system"].severity is Severity.WARNS
    assert findings(report(partitions=(btrfs, ROOT), guest=guest())) == {}


def test_customized_linux_requires_a_size_and_a_directory() -> None:
    """Only this platform needs more than 5 GiB, and /aliyun_custom_image on a first partition that ECS can write."""
    small = report(virtual_bytes=5 * GIB, guest=guest(custom_image_directory=False))
    requested = request(platform="Customized Linux")
    found = findings(small, requested)
    assert found["customized-linux-size"].severity is Severity.BLOCKS
    assert found["customized-linux-directory"].severity is Severity.WARNS
    assert not {name for name in findings(small) if name.startswith("customized")}
    ready = report(guest=guest(custom_image_directory=True))
    assert set(findings(ready, requested)) == {"platform-contradicts"}
    xfs = replace(ready, partitions=(replace(ROOT, filesystem="xfs"),))
    assert "xfs" in findings(xfs, requested)["customized-linux-directory"].message


def test_metadata_by_token_requires_a_cloud_init_that_supports_it() -> None:
    """The check applies to v2 only: v1, the default, works with every version."""
    requested = request(imds_support="v2")
    assert findings(report(guest=guest()), requested)["imds-v2-cloud-init"].severity is Severity.WARNS
    newer = guest(cloud_init=CloudInit(where="/usr/bin/cloud-init", version="23.2.2", enabled=True, growpart=True))
    assert findings(report(guest=newer), requested) == {}
    assert findings(report(guest=guest()), request(imds_support="v1")) == {}


def test_sizes_are_exact() -> None:
    """A size with a remainder is not rounded to a whole one."""
    sizes = {
        4 * GIB: "4 GiB",
        4 * GIB + (1 << 28): "4.25 GiB",
        4 * GIB + 512: "4.00 GiB (4294967808 bytes)",
        700 << 20: "700 MiB",
        (700 << 20) + 512: "700.00 MiB (734003712 bytes)",
        512: "512 bytes",
    }
    assert [exact_size(size_bytes) for size_bytes in sizes] == list(sizes.values())


def test_the_remedy_for_an_incomplete_inspection_of_a_compressed_disk_is_to_unpack_it() -> None:
    """Other disks need a repair; a compressed disk is inspected in full after it is unpacked."""
    packed = Problem(
        code="container-compressed", severity=Severity.NOTE, message="It is compressed.", where="first bytes"
    )
    disk = report(unknowns=("it is compressed (xz)",))
    assert "fsck" in str(findings(disk)["inspection-incomplete"].remedy)
    remedy = findings(replace(disk, container_problems=(packed,)))["inspection-incomplete"].remedy
    assert str(remedy).startswith("Unpack the file")
