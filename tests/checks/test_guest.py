"""Tests of the checks of the guest: kernels, mounts, access, Windows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aliyun_import.checks.run import raise_if_blocked, refuse_unknown_ids
from aliyun_import.disk.guest.report import (
    Accounts,
    CloudInit,
    DriverPlace,
    Evidence,
    Firewall,
    FstabEntry,
    GuestReport,
    Kernel,
    Network,
    OsRelease,
    RootFileSystem,
    SourceTie,
    Sshd,
    TieKind,
    WindowsFacts,
)
from aliyun_import.disk.report import BootEvidence
from aliyun_import.errors import DiskError, Exit
from aliyun_import.limits import GIB, MIB
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import Architecture, DiskRequest, OsType
from tests.checks.reports import LOADER, UEFI, entry, findings, guest, kernel, report, request
from tests.rows import each_row

BLOCKS, WARNS, NOTE, UNKNOWN = Severity.BLOCKS, Severity.WARNS, Severity.NOTE, Severity.UNKNOWN
ALPINE = OsRelease(id="alpine", name="Alpine Linux", pretty_name="Alpine Linux v3.20", version_id="3.20")
ROCKY = OsRelease(id="rocky", name="Rocky Linux", version_id="9.4", id_like=("rhel", "centos", "fedora"))
EVIDENCE = Evidence(what="seen", where="/etc/file:7")


def root(**changes: Any) -> RootFileSystem:
    """Return a root file system without faults with the given changes."""
    default = guest().root
    assert default is not None
    return replace(default, **changes)


def mounted(spec: str, *options: str, found: bool | None = True, type_: str = "ext4", at: str = "/srv") -> FstabEntry:
    """Return line 4 of an fstab."""
    return FstabEntry(line=4, where="/etc/fstab:4", spec=spec, mount_point=at, type=type_, options=options, found=found)


def tied(kind: TieKind, what: str) -> GuestReport:
    """Return a guest with one setting that ties it to its source."""
    return guest(source_ties=(SourceTie(kind=kind, what=what, where="/etc/file:7"),))


def windows(**changes: Any) -> GuestReport:
    """Return a Windows Server without faults with the given changes."""
    default = WindowsFacts(
        product="Windows Server 2022 Standard",
        build=20348,
        client=False,
        registry_read=True,
        driver_files=("viostor.sys", "netkvm.sys", "stornvme.sys"),
        viostor_start=0,
        image_state="IMAGE_STATE_COMPLETE",
        setup_in_progress=False,
        remote_desktop=True,
        remote_desktop_port=3389,
        boot_files=("Boot/BCD on partition 1",),
        dirty=False,
    )
    return GuestReport(os_type=OsType.WINDOWS, windows=replace(default, **changes))


CASES: list[tuple[str, Severity, GuestReport]] = [
    # Kernels and drivers.
    ("virtio-drivers", BLOCKS, guest(os_release=ROCKY, kernels=(kernel(virtio_blk=DriverPlace.MODULE),))),
    ("virtio-drivers", BLOCKS, guest(os_release=ALPINE, kernels=(kernel(virtio_pci=DriverPlace.ABSENT),))),
    ("virtio-drivers", WARNS, guest(kernels=(kernel(virtio_blk=DriverPlace.MODULE),))),
    (
        "virtio-drivers",
        WARNS,
        guest(os_release=ROCKY, kernels=(kernel(), kernel(virtio_blk=DriverPlace.MODULE))),
    ),
    (
        "initramfs-unread",
        UNKNOWN,
        guest(
            kernels=(
                replace(
                    kernel(virtio_blk=DriverPlace.UNKNOWN, nvme=DriverPlace.UNKNOWN), initramfs_problem="it is damaged"
                ),
            )
        ),
    ),
    ("virtio-network", BLOCKS, guest(os_release=ROCKY, kernels=(kernel(virtio_net=DriverPlace.ABSENT),))),
    ("virtio-network", WARNS, guest(kernels=(kernel(virtio_net=DriverPlace.ABSENT),))),
    ("nvme-driver", WARNS, guest(kernels=(kernel(nvme=DriverPlace.MODULE),))),
    ("kernel-missing", BLOCKS, guest(boot_entries=(entry(kernel_found=False),))),
    ("initramfs-missing", BLOCKS, guest(boot_entries=(entry(initramfs_found=False),))),
    ("kernel-fw-cfg", WARNS, guest(os_release=ROCKY, kernels=(replace(kernel(), fw_cfg=False),))),
    ("distribution-unlisted", NOTE, guest(os_release=ALPINE)),
    # Mounts.
    ("fstab-device-name", BLOCKS, guest(fstab=(mounted("/dev/sda2", found=None),))),
    ("fstab-device-name", WARNS, guest(fstab=(mounted("/dev/sda2", "nofail", found=None),))),
    ("fstab-device-name", WARNS, guest(fstab=(mounted("/dev/xvda3", found=None, type_="swap", at="none"),))),
    ("fstab-device-name", WARNS, guest(fstab=(mounted("/dev/vda1", found=None),))),
    ("fstab-missing", BLOCKS, guest(fstab=(mounted("UUID=2", found=False),))),
    ("fstab-missing", NOTE, guest(fstab=(mounted("UUID=2", "defaults", "nofail", found=False),))),
    ("fstab-missing", WARNS, guest(fstab=(mounted("UUID=2", found=False, type_="swap", at="none"),))),
    ("root-device-name", BLOCKS, guest(boot_entries=(entry(root="/dev/sda1", root_found=None),))),
    ("root-device-name", WARNS, guest(boot_entries=(entry(), entry(root="/dev/sda1", root_found=None)))),
    ("root-device-name", WARNS, guest(boot_entries=(entry(root="/dev/vda1", root_found=None),))),
    ("root-missing", BLOCKS, guest(boot_entries=(entry(root_found=False),))),
    ("root-missing", WARNS, guest(boot_entries=(entry(), entry(root_found=False)))),
    ("file-system-unclean", WARNS, guest(root=root(unclean="it was not unmounted cleanly"))),
    ("root-full", WARNS, guest(root=root(free_bytes=99 * MIB))),
    ("root-full", WARNS, guest(root=root(free_inodes=999))),
    ("project-and-quota", WARNS, guest(root=root(features=("project", "quota")))),
    # Network and remote access.
    ("no-dhcp", WARNS, guest(network=Network(static=(EVIDENCE,)))),
    ("network-bound-to-mac", WARNS, guest(network=Network(dhcp=(EVIDENCE,), bound=(EVIDENCE,)))),
    (
        "network-bound-to-name",
        WARNS,
        guest(
            network=Network(dhcp=(EVIDENCE,), names=(replace(EVIDENCE, what="ens160"),)),
            cloud_init=CloudInit(
                where="/usr/bin/cloud-init", enabled=True, network_fixed="/etc/cloud/cloud.cfg:9", growpart=True
            ),
        ),
    ),
    ("foreign-agent", WARNS, tied(TieKind.CLOUD, "waagent (Azure)")),
    ("foreign-agent", NOTE, tied(TieKind.HYPERVISOR, "open-vm-tools (VMware)")),
    ("rescue-start", WARNS, tied(TieKind.RESCUE, "systemd.unit=rescue.target")),
    ("driver-blacklisted", WARNS, tied(TieKind.DRIVER, "blacklist virtio_net")),
    ("driver-blacklisted", BLOCKS, tied(TieKind.DRIVER, "modprobe.blacklist=virtio-blk")),
    ("source-device", WARNS, tied(TieKind.DEVICE, "resume=UUID=2")),
    ("source-network", WARNS, tied(TieKind.NETWORK, "GATEWAY=10.0.0.1")),
    ("persistent-net-rules", WARNS, guest(network=Network(dhcp=(EVIDENCE,), renamed=(EVIDENCE,)))),
    ("cloud-init-missing", WARNS, guest(cloud_init=CloudInit(enabled=False, growpart=True))),
    (
        "cloud-init-missing",
        WARNS,
        guest(cloud_init=CloudInit(where="/usr/bin/cloud-init", enabled=False, growpart=True)),
    ),
    (
        "cloud-init-source",
        WARNS,
        guest(
            cloud_init=CloudInit(
                where="/usr/bin/cloud-init",
                enabled=True,
                sources=("Ec2", "None"),
                sources_where="/etc/cloud/cloud.cfg:7",
                growpart=True,
            )
        ),
    ),
    (
        "cloud-init-old",
        WARNS,
        guest(cloud_init=CloudInit(where="/usr/bin/cloud-init", enabled=True, version="18.5", growpart=True)),
    ),
    ("no-growpart", NOTE, guest(cloud_init=CloudInit(where="/usr/bin/cloud-init", enabled=True))),
    ("ssh-server", WARNS, guest(sshd=Sshd())),
    ("ssh-server", WARNS, guest(sshd=Sshd(where="/usr/sbin/sshd", enabled=False))),
    ("ssh-root-login", WARNS, guest(sshd=Sshd(where="x", enabled=True, permit_root=replace(EVIDENCE, what="no")))),
    ("ssh-port", WARNS, guest(sshd=Sshd(where="x", enabled=True, ports=(replace(EVIDENCE, what="2222"),)))),
    ("accounts", BLOCKS, guest(accounts=Accounts(readable=True))),
    (
        "accounts",
        BLOCKS,
        guest(accounts=Accounts(readable=True, root=EVIDENCE, passwd=EVIDENCE, shadow_immutable=True)),
    ),
    ("accounts", WARNS, guest(accounts=Accounts(readable=True, root=EVIDENCE))),
    ("lib-links", WARNS, guest(absolute_lib_links=(EVIDENCE,))),
    ("firewall", WARNS, guest(firewall=(Firewall(name="ufw", where="ufw.service"),))),
    ("firewall", NOTE, guest(firewall=(Firewall(name="ufw", where="ufw.service", ssh=EVIDENCE),))),
    ("static-ipv6", WARNS, guest(network=Network(dhcp=(EVIDENCE,), static_ipv6=(EVIDENCE,)))),
    ("several-network-cards", WARNS, guest(network=Network(dhcp=(EVIDENCE,), cards=(EVIDENCE, EVIDENCE)))),
    (
        "network-manager",
        NOTE,
        guest(os_release=OsRelease(id="centos", version_id="7"), network=Network(dhcp=(EVIDENCE,), manager=EVIDENCE)),
    ),
    ("issue-changed", NOTE, guest(issue="Authorised users only.\n")),
    ("processor-not-offered", BLOCKS, guest(architecture=None, machine="riscv")),
    ("boot-loader-config", WARNS, guest(boot_entries=())),
    ("kernel-missing", WARNS, guest(boot_entries=(), kernels=())),
    (
        "several-mounts",
        NOTE,
        guest(fstab=(mounted("UUID=1"), mounted("UUID=2", at="/boot"), mounted("UUID=3", at="/boot/efi"))),
    ),
    ("selinux", WARNS, guest(selinux=replace(EVIDENCE, what="enforcing"))),
    ("guest-agent", WARNS, guest(guest_agent=EVIDENCE)),
    ("local-clock", NOTE, guest(local_clock=EVIDENCE)),
    ("local-clock", WARNS, guest(local_clock=EVIDENCE, architecture=Architecture.ARM64)),
    ("shared-identity", NOTE, guest(machine_id=EVIDENCE)),
    ("guest-unread", UNKNOWN, guest(unknowns=("partition 3: it contains btrfs, which is not supported",))),
    ("no-system", UNKNOWN, GuestReport()),
    (
        "grub-too-old",
        WARNS,
        guest(grub_version=replace(EVIDENCE, what="2.04-1"), boot_features=("64bit", "metadata_csum_seed")),
    ),
    ("system-uncertain", UNKNOWN, guest(uncertain="there are systems on partition 1, partition 2")),
    ("shared-folder", BLOCKS, guest(fstab=(mounted("host", found=None, type_="vboxsf"),))),
    ("shared-folder", WARNS, guest(fstab=(mounted("host", "nofail", found=None, type_="9p"),))),
    ("crypttab", WARNS, guest(crypttab=(mounted("UUID=2", found=False, type_="/key", at="data"),))),
    ("crypttab", WARNS, guest(crypttab=(mounted("UUID=1", type_="none", at="data"),))),
    ("virtio-drivers", UNKNOWN, guest(kernels=(Kernel(version="6.1", image="/boot/vmlinuz"),))),
    # Windows.
    ("windows-client", BLOCKS, windows(client=True, product="Windows 10 Pro")),
    ("windows-too-old", BLOCKS, windows(build=3790, product="Windows Server 2003")),
    ("windows-boot-files", BLOCKS, windows(boot_files=())),
    ("windows-read-only-drivers", WARNS, windows(read_only_drivers=("netkvm.sys",))),
    ("windows-pending-update", WARNS, windows(pending_update="/Windows/WinSxS/pending.xml")),
    ("windows-volume-dirty", WARNS, windows(dirty=True)),
    ("windows-disk-driver", WARNS, windows(viostor_start=3)),
    ("windows-disk-driver", BLOCKS, windows(viostor_start=None, build=3790, service_pack="Service Pack 2")),
    ("windows-network-driver", WARNS, windows(driver_files=("viostor.sys", "stornvme.sys"))),
    ("windows-setup", WARNS, windows(image_state="IMAGE_STATE_UNDEPLOYABLE")),
    ("windows-setup", WARNS, windows(setup_in_progress=True)),
    ("windows-filters", WARNS, windows(filters=(EVIDENCE,))),
    ("windows-hibernated", BLOCKS, windows(hibernated=True)),
    ("windows-device-install", WARNS, windows(device_install_disabled=True)),
    ("windows-remote-desktop", WARNS, windows(remote_desktop=False)),
    ("windows-remote-desktop", WARNS, windows(firewall=("PublicProfile",))),
    ("windows-remote-desktop", NOTE, windows(firewall=("PublicProfile",), remote_desktop_allowed=True)),
    ("windows-remote-desktop", WARNS, windows(remote_desktop_port=3390)),
    ("windows-nvme-driver", NOTE, windows(driver_files=("viostor.sys", "netkvm.sys"))),
    ("guest-agent", WARNS, windows(guest_agent="/Program Files/Qemu-ga/qemu-ga.exe")),
]


@each_row(("rule", "severity", "system"), CASES)
def test_each_fault_has_its_finding_and_no_other(rule: str, severity: Severity, system: GuestReport) -> None:
    """One fault of a system has one finding with its evidence, and no other."""
    found = findings(report(guest=system))
    assert {name: finding.severity for name, finding in found.items()} == {rule: severity} | _also_expected(
        rule, system
    )
    assert found[rule].where
    assert found[rule].source


@each_row(("rule", "system"), [(rule, system) for rule, severity, system in CASES if severity is UNKNOWN])
def test_an_unknown_finding_names_the_unknown_fact(rule: str, system: GuestReport) -> None:
    """The message has what is not known, and the remedy how to find out."""
    finding = findings(report(guest=system))[rule]
    assert "not known" in finding.message or "Nothing is known" in finding.message
    assert finding.remedy


@each_row(("rule", "system"), [(rule, system) for rule, severity, system in CASES if severity is BLOCKS])
def test_every_blocking_finding_can_be_skipped_by_its_id(rule: str, system: GuestReport) -> None:
    """--skip-check with the id in brackets, and nothing else, makes the push continue."""
    found = findings(report(guest=system)).values()
    refuse_unknown_ids([rule])
    with pytest.raises(DiskError) as caught:
        raise_if_blocked(found)
    assert (caught.value.code, caught.value.exit_code) == (rule, Exit.DISK)
    raise_if_blocked(one for one in found if one.rule != rule)


def _also_expected(rule: str, system: GuestReport) -> dict[str, Severity]:
    """Return the note that a system which is not on the service's list has in addition."""
    unlisted = system.os_release is ALPINE and rule != "distribution-unlisted"
    return {"distribution-unlisted": NOTE} if unlisted else {}


@each_row("system", [guest(), windows(), windows(build=3790, service_pack="Service Pack 1", boot_files=())])
def test_a_system_without_faults_has_no_finding(system: GuestReport) -> None:
    """A current Debian and two versions of Windows have no finding."""
    assert findings(report(guest=system)) == {}


@each_row(
    ("situation", "system"),
    [
        ("a new GRUB", guest(grub_version=replace(EVIDENCE, what="2.12"), boot_features=("metadata_csum_seed",))),
        ("a GRUB of unknown version", guest(boot_features=("metadata_csum_seed",))),
        ("no network configuration, but cloud-init writes one", guest(network=Network())),
        ("a second card with a fixed address", guest(network=Network(dhcp=(EVIDENCE,), static=(EVIDENCE,)))),
        ("SELinux permissive", guest(selinux=replace(EVIDENCE, what="permissive"))),
        (
            "host keys that cloud-init regenerates",
            guest(sshd=Sshd(where="x", enabled=True, host_keys=("/etc/ssh/ssh_host_rsa_key",))),
        ),
        (
            "root by key only",
            guest(sshd=Sshd(where="x", enabled=None, permit_root=replace(EVIDENCE, what="prohibit-password"))),
        ),
        ("accounts that could not be read", guest(accounts=Accounts())),
        ("a mapper name", guest(fstab=(mounted("/dev/mapper/vg-data", found=None),))),
        ("tmpfs", guest(fstab=(mounted("tmpfs", found=None, type_="tmpfs"),))),
        ("one stale entry", guest(boot_entries=(entry(kernel_found=False), entry()))),
        ("one network card", guest(network=Network(dhcp=(EVIDENCE,), cards=(EVIDENCE,)))),
        ("NetworkManager on version 9", guest(os_release=ROCKY, network=Network(dhcp=(EVIDENCE,), manager=EVIDENCE))),
        ("the distribution's own issue", guest(issue="Debian GNU/Linux 12 \\n \\l")),
        ("an issue that takes the name from os-release", guest(issue="\\S\nKernel \\r on an \\m")),
        ("an ESP", guest(fstab=(mounted("UUID=2", at="/boot/efi"),))),
        ("no directory of Customized Linux, and none needed", guest(custom_image_directory=False)),
        ("a kernel without modules", guest(kernels=(), unknowns=(), boot_entries=(entry(),))),
    ],
)
def test_valid_and_unknown_facts_have_no_finding(situation: str, system: GuestReport) -> None:
    """Usual configurations and facts that could not be read are not faults."""
    assert findings(report(guest=system)) == {}


def test_a_kernel_that_is_not_found_may_be_on_the_esp() -> None:
    """A missing kernel blocks with GRUB for BIOS, and warns with UEFI. A unified kernel in EFI/Linux has no finding."""
    bare = guest(boot_entries=(), kernels=())
    grub = BootEvidence(bios=("GRUB is in the boot record, and its next stage in sector 1",))
    assert findings(report(guest=bare, boot=grub))["kernel-missing"].severity is BLOCKS
    assert findings(report(guest=bare, boot=UEFI))["kernel-missing"].severity is WARNS
    unified = replace(LOADER, path="EFI/Linux/debian-6.1.0.efi", removable=False)
    assert findings(report(guest=bare, boot=replace(UEFI, loaders=(LOADER, unified)))) == {}
    assert findings(report(guest=bare, boot=BootEvidence(bios=("LILO is in the boot record",)))) == {}


def test_no_network_configuration_and_no_cloud_init_to_write_one() -> None:
    """Without either, nothing requests an address by DHCP."""
    system = guest(network=Network(), cloud_init=CloudInit(where="/usr/bin/cloud-init", enabled=False, growpart=True))
    found = findings(report(guest=system))
    assert {name: finding.severity for name, finding in found.items()} == {
        "no-dhcp": WARNS,
        "cloud-init-missing": WARNS,
    }


def test_checks_of_the_guest_are_for_the_system_disk_only() -> None:
    """A data disk may hold any system."""
    assert findings(report(guest=guest(kernels=(kernel(virtio_blk=DriverPlace.ABSENT),))), is_system=False) == {}


def test_only_the_default_kernel_counts() -> None:
    """Another kernel without drivers has no finding; a default kernel without drivers blocks."""
    default, bad = replace(kernel(), default=True), kernel(virtio_blk=DriverPlace.MODULE)
    assert findings(report(guest=guest(os_release=ROCKY, kernels=(default, bad)))) == {}
    swapped = (replace(bad, default=True), replace(default, default=False))
    assert findings(report(guest=guest(os_release=ROCKY, kernels=swapped)))["virtio-drivers"].severity is BLOCKS


@each_row(
    ("release", "severity"),
    [
        (OsRelease(id="centos", name="CentOS Linux", version_id="7"), WARNS),
        (OsRelease(id="centos", name="CentOS Stream", version_id="9"), BLOCKS),
        (OsRelease(id="ubuntu", version_id="24.04"), WARNS),
        (OsRelease(id="ubuntu", version_id="10.04"), BLOCKS),
        (OsRelease(id="debian", version_id=""), WARNS),
        (OsRelease(id="sles", version_id="15.5"), WARNS),
        (OsRelease(id="fedora", version_id="40"), BLOCKS),
    ],
)
def test_missing_drivers_only_warn_if_the_import_adds_them(release: OsRelease, severity: Severity) -> None:
    """The service documents to which systems it adds the virtio drivers itself."""
    system = guest(os_release=release, kernels=(kernel(virtio_blk=DriverPlace.ABSENT),))
    assert findings(report(guest=system))["virtio-drivers"].severity is severity


def test_others_linux_disables_the_injection_of_drivers() -> None:
    """With --platform "Others Linux" the import leaves the guest unchanged, so that missing drivers block."""
    system = guest(kernels=(kernel(virtio_blk=DriverPlace.MODULE),))
    found = findings(report(guest=system), request(platform="Others Linux"))
    assert {name: finding.severity for name, finding in found.items()} == {
        "virtio-drivers": BLOCKS,
        "platform-contradicts": NOTE,
    }


def test_a_wrong_platform_is_a_warning() -> None:
    """The service would make the changes for Ubuntu to a Debian."""
    found = findings(report(guest=guest()), request(platform="Ubuntu"))
    assert found["platform-contradicts"].severity is WARNS


def test_requested_nvme_support_without_the_driver_blocks() -> None:
    """The option declares support that the kernel does not have."""
    system = guest(kernels=(kernel(nvme=DriverPlace.ABSENT),))
    assert findings(report(guest=system), request(nvme_support="supported"))["nvme-driver"].severity is BLOCKS


def test_a_mount_that_may_be_on_a_data_disk_only_warns() -> None:
    """With several disks in one push, a missing file system may be on another disk."""
    two = request(disks=(DiskRequest(path=Path("disk.raw")), DiskRequest(path=Path("data.raw"))))
    system = guest(fstab=(mounted("UUID=2", found=False),))
    assert findings(report(guest=system), two)["fstab-missing"].severity is WARNS


@each_row(
    ("initramfs", "tool"),
    [("/boot/initrd.img-6.1.0", "update-initramfs -u -k 6.1.0"), ("/boot/initramfs-6.1.0.img", "dracut -f")],
)
def test_the_remedy_names_the_tool_of_the_system(initramfs: str, tool: str) -> None:
    """The command depends on the tool with which the system generates its initramfs."""
    bad = replace(kernel(virtio_blk=DriverPlace.MODULE), initramfs=initramfs)
    assert tool in (findings(report(guest=guest(kernels=(bad,))))["virtio-drivers"].remedy or "")


def test_windows_without_the_extra_has_a_remedy() -> None:
    """The remedy for a guest that needs an optional package has the command that installs it."""
    unread = GuestReport(unknowns=("partition 1: it needs pip install 'aliyun-import[windows]'",))
    assert "aliyun-import[windows]" in (findings(report(guest=unread))["guest-unread"].remedy or "")


def test_the_evidence_has_file_and_line() -> None:
    """A finding has the line to change."""
    mounts = findings(report(guest=guest(fstab=(mounted("/dev/sda2", found=None),))))
    assert mounts["fstab-device-name"].where == "/etc/fstab:4"
    enforcing = findings(report(guest=guest(selinux=replace(EVIDENCE, what="enforcing"))))
    assert enforcing["selinux"].where == "/etc/file:7"


def test_free_space_is_checked_by_its_amount() -> None:
    """A small root that is nearly full by percent, but has space for the first boot, has no finding."""
    assert findings(report(guest=guest(root=root(size_bytes=20 * GIB, free_bytes=200 * MIB)))) == {}


def test_a_grub_that_searches_for_a_missing_file_system() -> None:
    """It blocks with UEFI only, where GRUB stops at its prompt, and warns if BIOS boots the disk too."""
    system = guest(stale_searches=(EVIDENCE,))
    both = replace(UEFI, bios=("GRUB",))
    assert findings(report(guest=system, boot=UEFI))["grub-search-stale"].severity is BLOCKS
    assert findings(report(guest=system, boot=both))["grub-search-stale"].severity is WARNS
    assert findings(report(guest=system)) == {}
