"""Tests of the inspection of Linux guests, on disks and path by path."""

import gzip
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from aliyun_import.checks.infer import infer_parameters
from aliyun_import.checks.run import run_disk_checks
from aliyun_import.disk.filesystems.ext import Ext
from aliyun_import.disk.filesystems.interface import FileSystem
from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.filesystems.xfs import Xfs
from aliyun_import.disk.guest.mounts import DiskNames
from aliyun_import.disk.guest.report import DRIVERS, DriverPlace, GuestReport, OsRelease
from aliyun_import.disk.inspect import inspect_disk
from aliyun_import.disk.reader import BytesReader
from aliyun_import.disk.report import Partition
from aliyun_import.limits import MIB
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import Architecture, BootMode, DiskRequest, ImportRequest, OsType
from tests.disk.fixtures import image
from tests.disk.guest_disks import debian_disk, inspect_tree, rhel_disk
from tests.disk.trees import BOOT_UUID, ROOT_UUID, Link, cpio, debian, elf, initramfs, rhel_boot, rhel_root, ubuntu
from tests.rows import each_row

DISKS: dict[str, tuple[Callable[[], bytes], str, BootMode]] = {
    "debian": (lambda: debian_disk("guest-debian"), "Debian", BootMode.BIOS),
    "ubuntu": (lambda: debian_disk("guest-ubuntu"), "Ubuntu", BootMode.BIOS),
    "rhel": (rhel_disk, "Rocky Linux", BootMode.UEFI),
}

_WANTS = "/etc/systemd/system/multi-user.target.wants"
_NM: dict[str, bytes | Link] = {f"{_WANTS}/NetworkManager.service": Link("x")}
_NETWORKD: dict[str, bytes | Link] = {f"{_WANTS}/systemd-networkd.service": Link("x")}


@pytest.mark.parametrize("name", DISKS)
def test_a_disk_without_faults_is_recognised_and_has_no_finding(name: str, tmp_path: Path) -> None:
    """The isolated child reports platform, boot mode, architecture and drivers; only notes and LVM are found."""
    make, platform, boot_mode = DISKS[name]
    path = tmp_path / "disk.raw"
    path.write_bytes(make())
    report = inspect_disk(path)
    request = ImportRequest(region="cn-hangzhou", disks=(DiskRequest(path=path),), name="an-image")
    inferred = infer_parameters(report, request).merged_into(request)
    assert (inferred.platform, inferred.boot_mode, inferred.os_type) == (platform, boot_mode, OsType.LINUX)
    assert (inferred.architecture, inferred.nvme_support) == (Architecture.X86_64, "supported")
    findings = run_disk_checks(report, request)
    not_notes = {finding.rule for finding in findings if finding.severity is not Severity.NOTE}
    assert not_notes - {"root-full"} == ({"root-on-lvm"} if name == "rhel" else set())  # the file systems are tiny


@each_row(
    ("name", "reader", "tree"),
    [
        ("guest-debian", Ext, debian()),
        ("guest-ubuntu", Ext, ubuntu()),
        ("guest-rhel-root", Xfs, rhel_root()),
        ("guest-rhel-boot", Xfs, rhel_boot()),
    ],
)
def test_an_image_has_the_files_of_its_tree(
    name: str, reader: Callable[[BytesReader], FileSystem], tree: dict[str, bytes | Link]
) -> None:
    """The tests on disks and those path by path are about the same guests."""
    files = Tree(reader(BytesReader(image(name))))
    other = [path for path, content in tree.items() if not _has(files, path, content)]
    assert not other, f"older than tests/disk/trees.py: as root, run `python -m tests.disk.fixtures.make {name}`"


def _has(files: Tree, path: str, content: bytes | Link) -> bool:
    if isinstance(content, Link):
        return files.link(path) == content.target
    return files.exists(path) and files.read(path, limit=len(content) + 1) == content


def test_all_facts_of_a_debian_are_read() -> None:
    """Each fact of a Debian has the file and line of its evidence."""
    guest = inspect_tree(debian())
    assert guest.unknowns == ()
    assert guest.os_release == OsRelease(
        id="debian",
        name="Debian GNU/Linux",
        version_id="12",
        pretty_name="Debian GNU/Linux 12 (bookworm)",
    )
    assert (guest.machine, guest.architecture) == ("x86-64", Architecture.X86_64)
    (kernel,) = guest.kernels
    assert (kernel.version, kernel.default, kernel.initramfs) == (
        "6.1.0-30-amd64",
        True,
        "/boot/initrd.img-6.1.0-30-amd64",
    )
    assert {driver.place for driver in kernel.drivers} == {DriverPlace.INITRAMFS}
    (entry,) = guest.boot_entries
    assert (entry.where, entry.root, entry.root_found) == ("/boot/grub/grub.cfg:3", f"UUID={ROOT_UUID}", True)
    assert (entry.kernel_found, entry.initramfs_found) == (True, True)
    (line,) = guest.fstab
    assert (line.line, line.mount_point, line.found) == (2, "/", True)
    assert guest.network is not None
    assert [found.where for found in guest.network.dhcp] == ["/etc/network/interfaces:4"]
    assert guest.cloud_init is not None
    assert (guest.cloud_init.version, guest.cloud_init.enabled) == ("22.4.2", True)
    assert guest.cloud_init.sources == ("NoCloud", "AliYun", "None")
    assert guest.cloud_init.sources_where == "/etc/cloud/cloud.cfg.d/90_dpkg.cfg:1"
    assert guest.sshd is not None
    assert (guest.sshd.where, guest.sshd.enabled, guest.sshd.permit_root) == ("/usr/sbin/sshd", True, None)
    assert guest.accounts is not None
    assert guest.accounts.root is not None
    assert (guest.firewall, guest.selinux, guest.guest_agent, guest.machine_id) == ((), None, None, None)


def test_the_facts_of_an_ubuntu_are_read() -> None:
    """Modules in an uncompressed early archive, netplan, a disabled ufw, and cloud-init by its egg are read."""
    guest = inspect_tree(ubuntu())
    assert guest.unknowns == ()
    assert guest.os_release is not None
    assert guest.os_release.id == "ubuntu"
    assert {driver.place for driver in guest.kernels[0].drivers} == {DriverPlace.INITRAMFS}
    assert guest.network is not None
    assert [found.where for found in guest.network.dhcp] == ["/etc/netplan/50-cloud-init.yaml:5"]
    assert guest.cloud_init is not None
    assert (guest.cloud_init.version, guest.cloud_init.sources) == ("24.1.3", ("NoCloud", "AliYun"))
    assert guest.firewall == ()
    assert guest.boot_entries[0].root == f"UUID={ROOT_UUID}"


def test_the_facts_of_a_red_hat_with_a_boot_partition_are_read() -> None:
    """The paths of BLS entries are relative to /boot, and the rescue entry is not the first."""
    guest = inspect_tree(rhel_root(), boot=rhel_boot(), volume="rl/root")
    assert guest.unknowns == ()
    assert guest.boot_partition == 1
    assert [entry.loader for entry in guest.boot_entries] == ["bls", "bls"]
    assert guest.boot_entries[0].kernel == "/vmlinuz-5.14.0-427.el9.x86_64"
    assert all((entry.kernel_found, entry.initramfs_found) == (True, True) for entry in guest.boot_entries)
    assert [entry.root_found for entry in guest.boot_entries] == [True, True]
    (kernel,) = guest.kernels
    assert (kernel.default, kernel.place("virtio_blk")) == (True, DriverPlace.INITRAMFS)
    assert [line.found for line in guest.fstab] == [True, True]
    assert guest.network is not None
    assert [found.what for found in guest.network.dhcp] == ["[ipv4] method=auto"]
    assert guest.selinux is not None
    assert (guest.selinux.what, guest.selinux.where) == ("permissive", "/etc/selinux/config:2")
    assert guest.cloud_init is not None
    assert (guest.cloud_init.version, guest.cloud_init.enabled) == ("23.4", True)


@each_row(
    ("packed", "expected"),
    [
        (initramfs(("virtio_net", "nvme"), version="6.1.0-30-amd64"), (DriverPlace.MODULE, DriverPlace.MODULE)),
        (initramfs(("virtio_blk",), version="6.1.0-30-amd64"), (DriverPlace.INITRAMFS, DriverPlace.MODULE)),
        (initramfs(DRIVERS, version="6.1.0-29-amd64"), (DriverPlace.MODULE, DriverPlace.MODULE)),
        (b"\x1f\x8b damaged", (DriverPlace.UNKNOWN, DriverPlace.UNKNOWN)),
        (gzip.compress(cpio(["init"]), mtime=0)[:-9], (DriverPlace.UNKNOWN, DriverPlace.UNKNOWN)),
    ],
)
def test_drivers_that_are_not_in_the_initramfs_are_found(
    packed: bytes, expected: tuple[DriverPlace, DriverPlace]
) -> None:
    """virtio_blk and virtio_pci are modules on the disk only, or unknown if the initramfs cannot be read."""
    (kernel,) = inspect_tree(debian(**{"/boot/initrd.img-6.1.0-30-amd64": packed})).kernels
    assert (kernel.place("virtio_blk"), kernel.place("virtio_pci")) == expected


def test_an_initramfs_after_slow_ones_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The isolated child has 60 seconds; the rest of the report has priority over a third initramfs."""
    monkeypatch.setattr("aliyun_import.disk.guest.kernels._ENOUGH_CPU_S", -1)
    (kernel,) = inspect_tree(debian()).kernels
    assert "took too long" in kernel.initramfs_problem
    assert DriverPlace.UNKNOWN in {driver.place for driver in kernel.drivers}


def test_drivers_that_are_built_in_or_absent() -> None:
    """Built-in drivers are in modules.builtin or in the configuration of the kernel; others are absent."""
    modules = "/usr/lib/modules/6.1.0-30-amd64"
    built_in = {
        f"{modules}/modules.builtin": b"kernel/drivers/block/virtio_blk.ko\nkernel/drivers/virtio/virtio_pci.ko\n"
    }
    (kernel,) = inspect_tree(debian(**built_in, **{f"{modules}/modules.dep": b""})).kernels
    assert [kernel.place(name) for name in DRIVERS] == [DriverPlace.BUILT_IN] * 2 + [DriverPlace.INITRAMFS] * 2
    bare = {f"{modules}/modules.dep": b"", "/boot/initrd.img-6.1.0-30-amd64": gzip.compress(cpio(["init"]))}
    (kernel,) = inspect_tree(debian(**bare)).kernels
    assert {kernel.place(name) for name in DRIVERS} == {DriverPlace.ABSENT}
    config = b"CONFIG_VIRTIO_BLK=y\nCONFIG_VIRTIO_PCI=y\n# CONFIG_BLK_DEV_NVME is not set\nCONFIG_FW_CFG_SYSFS=m\n"
    (kernel,) = inspect_tree(debian(**bare, **{"/boot/config-6.1.0-30-amd64": config})).kernels
    assert [kernel.place(name) for name in DRIVERS] == [DriverPlace.BUILT_IN] * 2 + [DriverPlace.ABSENT] * 2
    assert kernel.fw_cfg is True


def test_the_kernel_that_the_boot_loader_starts_is_first() -> None:
    """Versions are ordered by value, but the first entry of the menu takes precedence."""
    newer = "/usr/lib/modules/6.10.3"
    other = {f"{newer}/modules.dep": b"", f"{newer}/modules.builtin": b"", "/boot/vmlinuz-6.10.3": b"MZ"}
    assert [kernel.version for kernel in inspect_tree(debian(**other)).kernels] == ["6.1.0-30-amd64", "6.10.3"]
    no_menu = inspect_tree(debian(**other, **{"/boot/grub/grub.cfg": b""})).kernels
    assert [(kernel.version, kernel.default) for kernel in no_menu] == [("6.10.3", False), ("6.1.0-30-amd64", False)]


def test_the_saved_entry_of_grubenv_is_first() -> None:
    """BLS entries are sorted by version, newest first, unless grubenv selects one."""
    entry = "version {0}\nlinux /vmlinuz-{0}\noptions root=/dev/mapper/rl-root\n"
    boot = rhel_boot(
        **{
            "/loader/entries/0123456789abcdef-5.14.0-999.el9.x86_64.conf": entry.format(
                "5.14.0-999.el9.x86_64"
            ).encode(),
            "/vmlinuz-5.14.0-999.el9.x86_64": b"MZ",
        }
    )
    assert inspect_tree(rhel_root(), boot=boot, volume="rl/root").boot_entries[0].kernel.endswith("427.el9.x86_64")
    del boot["/grub2/grubenv"]
    assert inspect_tree(rhel_root(), boot=boot, volume="rl/root").boot_entries[0].kernel.endswith("999.el9.x86_64")


@each_row(
    ("text", "found"),
    [
        (f"UUID={ROOT_UUID.upper()} / ext4 defaults 0 1", [True]),
        ('UUID="11111111-0000-0000-0000-000000000000" / ext4 defaults 0 1', [False]),
        (f"/dev/disk/by-uuid/{ROOT_UUID} / ext4 defaults 0 1", [True]),
        ("LABEL=nothing / ext4 defaults 0 1", [False]),
        ("/dev/sda1 / ext4 defaults 0 1", [None]),
        ("tmpfs /tmp tmpfs\nserver:/x /y nfs", [None, None]),
        ("# comment\n\nhalf line", []),
    ],
)
def test_names_in_fstab_are_looked_up(text: str, found: list[bool | None]) -> None:
    """UUIDs, labels and links are looked up; what a device name refers to is unknown."""
    assert [entry.found for entry in inspect_tree(debian(**{"/etc/fstab": text.encode()})).fstab] == found


def test_a_name_that_could_be_on_an_unread_volume_is_unknown() -> None:
    """Encrypted, unread and unknown volumes may contain the file system, so it is not reported as missing."""
    plain = Partition(
        number=1, start_bytes=0, size_bytes=MIB << 10, type_name="", type_id="", filesystem="ext4", uuid="A"
    )
    assert DiskNames.of([plain]).has("UUID=a") is True
    assert DiskNames.of([plain]).has("UUID=b") is False
    assert DiskNames.of([plain]).has("LABEL=x") is False
    assert DiskNames.of([plain], hidden=True).has("UUID=b") is None
    for filesystem in ("luks", "mdraid", ""):
        assert DiskNames.of([plain, replace(plain, filesystem=filesystem, uuid="")]).has("UUID=b") is None
    boot = replace(plain, filesystem="", uuid="", type_id="21686148-6449-6e6f-744e-656564454649")
    assert DiskNames.of([plain, boot]).has("UUID=b") is False
    for filesystem in ("exfat", "ntfs", "iso9660"):
        assert DiskNames.of([plain, replace(plain, filesystem=filesystem)]).has("LABEL=b") is None
    assert DiskNames.of([plain, replace(plain, filesystem="f2fs")]).has("UUID=b") is False
    assert DiskNames.of([plain, replace(plain, filesystem="vfat")]).has("LABEL=ESP") is None
    assert DiskNames.of([plain]).has("PARTUUID=x/PARTNROFF=1") is None


def test_a_missing_boot_partition_of_fstab_is_unknown() -> None:
    """The contents of a /boot that could not be opened are unknown."""
    guest = inspect_tree(rhel_root(), volume="rl/root")
    assert any(BOOT_UUID in unknown for unknown in guest.unknowns)


@each_row(
    ("paths", "kind", "where"),
    [
        (
            {"/etc/network/interfaces": b"iface eth0 inet static\n address 10.0.0.2\n"},
            "static",
            "/etc/network/interfaces:1",
        ),
        (
            {"/etc/sysconfig/network-scripts/ifcfg-eth0": b"DEVICE=eth0\nBOOTPROTO=dhcp\n"},
            "dhcp",
            "/etc/sysconfig/network-scripts/ifcfg-eth0:2",
        ),
        (
            {"/etc/sysconfig/network-scripts/ifcfg-eth0": b'BOOTPROTO="none"\nIPADDR=10.0.0.2\n'},
            "static",
            "/etc/sysconfig/network-scripts/ifcfg-eth0:2",
        ),
        ({"/etc/sysconfig/network/ifcfg-eth0": b"BOOTPROTO='dhcp'\n"}, "dhcp", "/etc/sysconfig/network/ifcfg-eth0:1"),
        (
            {"/etc/sysconfig/network-scripts/ifcfg-eth0": b"HWADDR=52:54:00:00:00:01\n"},
            "bound",
            "/etc/sysconfig/network-scripts/ifcfg-eth0:1",
        ),
        (
            {"/etc/netplan/01.yaml": b"network:\n  ethernets:\n    a:\n      addresses: [10.0.0.2/24]\n"},
            "static",
            "/etc/netplan/01.yaml:4",
        ),
        (
            {
                "/etc/systemd/network/a.network": b"[Match]\nName=e*\n[Network]\nDHCP=yes\n",
                "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service": Link("x"),
            },
            "dhcp",
            "/etc/systemd/network/a.network:4",
        ),
        (
            {
                "/etc/NetworkManager/system-connections/a.nmconnection": b"[ipv4]\nmethod=manual\n",
                "/etc/systemd/system/multi-user.target.wants/NetworkManager.service": Link("x"),
            },
            "static",
            "/etc/NetworkManager/system-connections/a.nmconnection:2",
        ),
        (
            {"/etc/systemd/system/multi-user.target.wants/NetworkManager.service": Link("x")},
            "dhcp",
            "/etc/NetworkManager/system-connections",
        ),
        ({"/etc/network/interfaces": b"iface eth0 inet6 static\n"}, "static_ipv6", "/etc/network/interfaces:1"),
        (
            {"/etc/sysconfig/network-scripts/ifcfg-eth0": b"IPV6ADDR=2001:db8::2/64\n"},
            "static_ipv6",
            "/etc/sysconfig/network-scripts/ifcfg-eth0:1",
        ),
        (
            {"/etc/netplan/01.yaml": b"network:\n  ethernets:\n    a:\n      addresses:\n      - 2001:db8::2/64\n"},
            "static_ipv6",
            "/etc/netplan/01.yaml:4",
        ),
        (
            {"/etc/netplan/01.yaml": b"network: \n  ethernets:\n    a: {dhcp4: true, optional: true}\n"},
            "dhcp",
            "/etc/netplan/01.yaml:3",
        ),
        (
            {"/etc/udev/rules.d/70-persistent-net.rules": b'# x\nATTR{address}=="52:54", NAME="eth0"\n'},
            "renamed",
            "/etc/udev/rules.d/70-persistent-net.rules:2",
        ),
    ],
)
def test_each_network_configuration_is_read(paths: dict[str, bytes | Link], kind: str, where: str) -> None:
    """Each has exactly one piece of evidence, of the right kind, with its line."""
    network = inspect_tree(debian(**({"/etc/network/interfaces": None} | paths))).network
    assert network is not None
    sources = {
        name: [evidence.where for evidence in getattr(network, name)]
        for name in ("dhcp", "static", "static_ipv6", "bound", "renamed")
    }
    assert {name: evidence for name, evidence in sources.items() if evidence} == {kind: [where]}


@each_row(
    "paths",
    [
        {"/etc/sysconfig/network-scripts/ifcfg-lo": b"IPADDR=127.0.0.1\n"},
        {"/etc/netplan/01.yaml": b"network:\n  ethernets:\n    a:\n      nameservers:\n        addresses: [1.1.1.1]\n"},
        {"/etc/systemd/network/a.network": b"[Network]\nDHCP=yes\n"},
        {"/etc/udev/rules.d/70-persistent-net.rules": b"# nothing\n"},
    ],
)
def test_addresses_that_the_instance_does_not_use_are_ignored(paths: dict[str, bytes | Link]) -> None:
    """The loopback, name servers and the files of a disabled service are ignored."""
    network = inspect_tree(debian(**({"/etc/network/interfaces": None} | paths))).network
    assert network is not None
    assert (network.dhcp, network.static, network.bound, network.renamed) == ((), (), (), ())


@each_row(
    ("paths", "cards"),
    [
        ({"/etc/network/interfaces": b"auto lo eth0 eth1\nallow-hotplug eth2\n"}, ["eth0", "eth1"]),
        (
            {
                "/etc/sysconfig/network-scripts/ifcfg-eth0": b"ONBOOT=yes\n",
                "/etc/sysconfig/network-scripts/ifcfg-eth1": b'ONBOOT="no"\n',
                "/etc/sysconfig/network-scripts/ifcfg-eth0.5": b"ONBOOT=yes\n",
                "/etc/sysconfig/network-scripts/ifcfg-lo": b"ONBOOT=yes\n",
            },
            ["eth0"],
        ),
        (
            {
                "/etc/netplan/01.yaml": b"network:\n  ethernets:\n    ens3:\n      dhcp4: true\n    ens4:\n"
                b"      optional: true\n    any:\n      match:\n        name: en*\n    ens5:\n      dhcp6: true\n"
            },
            ["ens3", "ens5"],
        ),
        (
            {
                f"{_WANTS}/NetworkManager.service": Link("x"),
                "/etc/sysconfig/network-scripts/ifcfg-eth0": b"ONBOOT=yes\n",
            },
            [],
        ),
        (
            {
                "/etc/netplan/01.yaml": b"network:\n  ethernets:\n    ens3:\n      dhcp4: true\n",
                "/etc/netplan/02.yaml": b"network:\n  renderer: NetworkManager\n  ethernets:\n    ens4: {}\n",
            },
            ["ens3"],
        ),
    ],
)
def test_the_interfaces_that_the_boot_waits_for_are_listed(paths: dict[str, bytes | Link], cards: list[str]) -> None:
    """Interfaces that are hot-plugged, optional, matched by pattern or managed by NetworkManager are not listed."""
    network = inspect_tree(debian(**({"/etc/network/interfaces": None} | paths))).network
    assert network is not None
    assert [card.what for card in network.cards] == cards


def test_the_time_for_adversarial_files_is_bounded() -> None:
    """Very long lines, unclosed lists and files that include each other are read in bounded time."""
    nested = "".join(f"{' ' * depth}a:\n" for depth in range(800))
    netplan = b"network: {" + b"a" * 1_500_000 + b"\n" + nested.encode()
    changed: dict[str, bytes | Link | None] = {f"{_WANTS}/iptables.service": Link("x")}
    changed |= {
        "/etc/netplan/01.yaml": netplan,
        "/etc/sysconfig/iptables": b"-A INPUT " + b"--dport x," * 150_000 + b"\n-A INPUT -j DROP\n",
        "/etc/issue": b"x" * 1_500_000,
        "/etc/cloud/cloud.cfg": b"datasource_list: [\n" * 20_000,
        "/var/lib/dpkg/status": b"Package: cloud-init\n" * 20_000,
        "/etc/ssh/sshd_config": b"Include " + b"/etc/ssh/*.conf " * 3000,
    }
    for number in range(100):
        changed[f"/etc/ssh/{number}.conf"] = f"Include /etc/ssh/*.conf {number}*\n".encode() * 1000
    started = time.process_time()
    guest = inspect_tree(debian(**changed))
    assert time.process_time() - started < 4
    assert guest.network is not None
    assert (guest.network.cards[0].what, guest.firewall[0].ssh, len(guest.issue or "")) == ("eth0", None, 1000)


@each_row(
    "netplan",
    [
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in pairwise("abcdefghij")),
        "a: &a {x: x}\n"
        + "".join(
            f"{name}: &{name} {{{','.join(f'k{n}: *{before}' for n in range(9))}}}\n"
            for before, name in pairwise("abcdefghij")
        ),
        "network: &n\n  ethernets: *n\n",
        "[" * 100_000,
        "- " * 100_000,
        "a: " + "{a: " * 5_000,
        "".join(f"k{number}: &a{number} {{k: *a{number - 1}}}\n" for number in range(1, 8000)),
        "!!python/object/apply:os.abort []\n",
    ],
    ids=["lists", "maps", "self-reference", "brackets", "dashes", "braces", "chain", "tag"],
)
def test_yaml_that_expands_is_bounded(netplan: str) -> None:
    """Nested aliases, deep nesting, self-references and tags end quickly, and no object is created."""
    started = time.process_time()
    network = inspect_tree(debian(**{"/etc/netplan/01.yaml": netplan.encode()})).network
    assert time.process_time() - started < 2
    assert network is not None
    assert [card.what for card in network.cards if card.where.startswith("/etc/network/")] == ["eth0"]


def test_yaml_is_read_as_netplan_reads_it() -> None:
    """Flow style, quotes, comments, multi-line lists, aliases and addresses with options are supported."""
    text = b"""
network:
  version: 2
  ethernets:
    "ens3": &card {dhcp4: yes, match: {macaddress: "52:54:00:00:00:01"}}
    ens4: # the second
      addresses: [ "10.0.0.2/24",
                   2001:db8::2/64 ]
    ens5:
      addresses:
        - 10.0.0.3/24: {label: x}
    ens6: *card
"""
    network = inspect_tree(debian(**{"/etc/network/interfaces": None, "/etc/netplan/01.yaml": text})).network
    assert network is not None
    assert [found.where for found in network.dhcp] == ["/etc/netplan/01.yaml:5", "/etc/netplan/01.yaml:5"]
    assert [found.where for found in network.static] == ["/etc/netplan/01.yaml:7", "/etc/netplan/01.yaml:10"]
    assert [found.where for found in network.static_ipv6] == ["/etc/netplan/01.yaml:7"]
    assert [(card.what, card.where) for card in network.cards] == [
        ("ens4", "/etc/netplan/01.yaml:6"),
        ("ens5", "/etc/netplan/01.yaml:9"),
    ]


def test_router_advertisements_are_not_dhcp() -> None:
    """IPv6 autoconfiguration ("inet6 auto") requests no IPv4 address, which ECS assigns by DHCP."""
    text = b"iface eth0 inet static\n address 10.0.0.2\niface eth0 inet6 auto\n"
    network = inspect_tree(debian(**{"/etc/network/interfaces": text})).network
    assert network is not None
    assert (len(network.dhcp), len(network.static)) == (0, 1)


@each_row(
    ("unit", "paths", "where"),
    [
        (
            "firewalld",
            {"/usr/lib/firewalld/zones/public.xml": b'<zone>\n <service name="ssh"/>\n</zone>\n'},
            "/usr/lib/firewalld/zones/public.xml:2",
        ),
        (
            "firewalld",
            {
                "/usr/lib/firewalld/zones/public.xml": b'<service name="ssh"/>\n',
                "/etc/firewalld/zones/public.xml": b'<zone>\n <service name="https"/>\n</zone>\n',
            },
            None,
        ),
        (
            "firewalld",
            {
                "/etc/firewalld/firewalld.conf": b"# x\nDefaultZone=work\n",
                "/etc/firewalld/zones/work.xml": b'<port protocol="tcp" port="22"/>\n',
            },
            "/etc/firewalld/zones/work.xml:1",
        ),
        (
            "ufw",
            {
                "/etc/ufw/ufw.conf": b"ENABLED=yes\n",
                "/etc/ufw/user.rules": b"*filter\n-A ufw-user-input -p tcp --dport 22 -j ACCEPT\n",
            },
            "/etc/ufw/user.rules:2",
        ),
        ("ufw", {"/etc/ufw/ufw.conf": b"ENABLED=yes\n"}, None),
        (
            "iptables",
            {"/etc/sysconfig/iptables": b"-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n-A INPUT -j REJECT\n"},
            "/etc/sysconfig/iptables:1",
        ),
        ("iptables", {"/etc/sysconfig/iptables": b"-A INPUT -p tcp --dport 2222 -j ACCEPT\n-A INPUT -j DROP\n"}, None),
        ("nftables", {"/etc/nftables.conf": b"chain input { type filter; }\n"}, "/etc/nftables.conf"),
        ("nftables", {"/etc/nftables.conf": b"policy drop;\ntcp dport { ssh, http } accept\n"}, "/etc/nftables.conf:2"),
        ("nftables", {"/etc/nftables.conf": b"policy drop;\ntcp dport 443 accept\n"}, None),
        (
            "SuSEfirewall2",
            {"/etc/sysconfig/SuSEfirewall2": b'FW_CONFIGURATIONS_EXT="sshd"\n'},
            "/etc/sysconfig/SuSEfirewall2:1",
        ),
    ],
)  # fmt: skip
def test_the_rule_of_a_firewall_for_ssh_is_found(unit: str, paths: dict[str, bytes | Link], where: str | None) -> None:
    """The evidence is the line that allows SSH in the rules of each firewall; port 2222 is not 22."""
    system = debian(**{f"{_WANTS}/{unit}.service": Link("x")}, **paths)
    (firewall,) = inspect_tree(system).firewall
    assert (firewall.name, firewall.ssh.where if firewall.ssh else None) == (unit, where)


def test_the_directory_of_customized_linux_is_found() -> None:
    """Only an /aliyun_custom_image on the first partition is used."""
    marked = {"/aliyun_custom_image/.keep": b""}
    assert inspect_tree(debian()).custom_image_directory is False
    assert inspect_tree(debian(**marked)).custom_image_directory is True
    assert inspect_tree(rhel_root(**marked), boot=rhel_boot(), volume="rl/root").custom_image_directory is False
    assert inspect_tree(rhel_root(), boot=rhel_boot(**marked), volume="rl/root").custom_image_directory is True


def test_sshd_options_have_their_first_value_before_match() -> None:
    """As in sshd, included files are read at the position of Include, and options after Match are conditional."""
    config = b"Include /etc/ssh/sshd_config.d/*.conf\nPermitRootLogin yes\nPort 22\nMatch User x\nPort 99\n"
    changed = debian(
        **{"/etc/ssh/sshd_config": config, "/etc/ssh/sshd_config.d/10-own.conf": b"PermitRootLogin = no\nPort 2222\n"}
    )
    sshd = inspect_tree(changed).sshd
    assert sshd is not None
    assert sshd.permit_root is not None
    assert (sshd.permit_root.what, sshd.permit_root.where) == ("no", "/etc/ssh/sshd_config.d/10-own.conf:1")
    assert [port.what for port in sshd.ports] == ["2222", "22"]


def test_all_faults_of_a_guest_are_found() -> None:
    """One Debian with many faults has every one of them in its report."""
    wants = "/etc/systemd/system/multi-user.target.wants"
    guest = inspect_tree(
        debian(
            **{
                "/etc/cloud/cloud-init.disabled": b"",
                f"{wants}/ssh.service": None,
                f"{wants}/firewalld.service": Link("x"),
                "/etc/selinux/config": b"SELINUX=enforcing\n",
                "/usr/bin/qemu-ga": elf(),
                "/etc/passwd": b"toor:x:0:0::/root:/bin/sh\n",
                "/usr/bin/passwd": None,
                "/lib": Link("/usr/lib"),
                "/etc/adjtime": b"0.0 0 0.0\n0\nLOCAL\n",
                "/etc/machine-id": b"0123456789abcdef0123456789abcdef\n",
                "/etc/ssh/ssh_host_rsa_key": b"key",
                "/usr/bin/growpart": None,
            }
        ),
        immutable=("/etc/shadow",),
    )
    assert guest.cloud_init is not None
    assert (guest.cloud_init.enabled, guest.cloud_init.growpart) == (False, False)
    assert guest.sshd is not None
    assert (guest.sshd.enabled, guest.sshd.host_keys) == (False, ("/etc/ssh/ssh_host_rsa_key",))
    assert [(firewall.name, firewall.ssh) for firewall in guest.firewall] == [("firewalld", None)]
    assert guest.accounts is not None
    assert (guest.accounts.root, guest.accounts.passwd, guest.accounts.shadow_immutable) == (None, None, True)
    assert [link.what for link in guest.absolute_lib_links] == ["/lib -> /usr/lib"]
    evidence = [guest.selinux, guest.guest_agent, guest.local_clock, guest.machine_id]
    assert [found.where for found in evidence if found] == [
        "/etc/selinux/config:1",
        "/usr/bin/qemu-ga",
        "/etc/adjtime:3",
        "/etc/machine-id:1",
    ]


def test_a_masked_unit_does_not_start() -> None:
    """A link to /dev/null takes precedence over every .wants directory."""
    guest = inspect_tree(debian(**{"/etc/systemd/system/ssh.service": Link("/dev/null")}))
    assert guest.sshd is not None
    assert guest.sshd.enabled is False


@each_row(
    ("machine", "name", "architecture"),
    [
        (62, "x86-64", Architecture.X86_64),
        (183, "aarch64", Architecture.ARM64),
        (3, "i386", Architecture.I386),
        (22, "s390x", None),
    ],
)
def test_the_architecture_is_that_of_the_shell(machine: int, name: str, architecture: Architecture | None) -> None:
    """The ELF header of the shell has the machine."""
    guest = inspect_tree(debian(**{"/usr/bin/dash": elf(machine)}))
    assert (guest.machine, guest.architecture) == (name, architecture)


@each_row(
    ("paths", "identity"),
    [
        ({"/etc/centos-release": b"CentOS release 6.10 (Final)\n"}, ("centos", "6.10")),
        ({"/etc/redhat-release": b"Red Hat Enterprise Linux Server release 6.9 (Santiago)\n"}, ("rhel", "6.9")),
        ({"/etc/SuSE-release": b"SUSE Linux Enterprise Server 11 (x86_64)\nVERSION = 11\n"}, ("sles", "11")),
        ({"/etc/debian_version": b"6.0.10\n"}, ("debian", "6.0.10")),
        ({"/etc/lsb-release": b"DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=10.10\n"}, ("ubuntu", "10.10")),
        (
            {
                "/etc/redhat-release": b"Red Hat Enterprise Linux Server release 5.11 (Tikanga)\n",
                "/etc/oracle-release": b"Oracle Linux Server release 5.11\n",
            },
            ("ol", "5.11"),
        ),
        ({"/etc/redhat-release": b"Scientific Linux release 6.10 (Carbon)\n"}, ("scientific", "6.10")),
        ({"/etc/redhat-release": b"Fedora release 14 (Laughlin)\n"}, ("fedora", "14")),
        ({"/etc/system-release": b"Amazon Linux AMI release 2018.03\n"}, ("amzn", "2018.03")),
        ({"/etc/SuSE-release": b"openSUSE 11.4 (x86_64)\n"}, ("opensuse", "11.4")),
        ({"/etc/slackware-version": b"Slackware 14.2\n"}, ("slackware", "14.2")),
        ({"/etc/gentoo-release": b"Gentoo Base System release 2.2\n"}, ("gentoo", "2.2")),
        ({"/etc/alpine-release": b"3.4.6\n"}, ("alpine", "3.4.6")),
        ({"/etc/os-release": b"NAME='My \"Own\" Linux'\nVERSION_ID=1\n"}, ("", "1")),
    ],
)
def test_systems_older_than_os_release_are_recognised(paths: dict[str, bytes], identity: tuple[str, str]) -> None:
    """Each distribution had its own release file."""
    bare: dict[str, bytes | Link | None] = {"/etc/os-release": None, "/usr/lib/os-release": None}
    release = inspect_tree(debian(**(bare | paths))).os_release
    assert release is not None
    assert (release.id, release.version_id) == identity


@pytest.mark.parametrize(
    ("text", "root"),
    [
        (
            b"title x\nkernel /boot/vmlinuz-6.1.0-30-amd64 root=/dev/sda1 ro\ninitrd /boot/initrd.img-6.1.0-30-amd64\n",
            "/dev/sda1",
        ),
        (b"set kopts=x\nlinux ($root)/boot/vmlinuz-6.1.0-30-amd64 root=$device\n", ""),
    ],
)
def test_other_forms_of_grub_are_read(text: bytes, root: str) -> None:
    """GRUB 1 has menu.lst; a variable that is not set is not guessed."""
    changed = debian(**{"/boot/grub/grub.cfg": None, "/boot/grub/menu.lst": text})
    (entry,) = inspect_tree(changed).boot_entries
    assert (entry.root, entry.kernel_found) == (root, True)


def test_extlinux_is_read() -> None:
    """APPEND has the arguments, paths are relative to the configuration, and menu.c32 is not a kernel."""
    config = b"UI menu.c32\nLABEL a\n KERNEL menu.c32\nLABEL l\n LINUX ../vmlinuz-6.1.0-30-amd64\n" + (
        b" APPEND root=LABEL=x ro initrd=../initrd.img-6.1.0-30-amd64\n"
    )
    changed = debian(**{"/boot/grub/grub.cfg": None, "/boot/extlinux/extlinux.conf": config})
    (entry,) = inspect_tree(changed).boot_entries
    assert (entry.loader, entry.root, entry.root_found) == ("extlinux", "LABEL=x", False)
    assert (entry.kernel_found, entry.initramfs_found, entry.where) == (True, True, "/boot/extlinux/extlinux.conf:6")


def test_an_empty_guest_has_an_empty_report() -> None:
    """A root that has only an os-release is inspected without an error."""
    guest = inspect_tree({"/etc/os-release": b"ID=debian\n"})
    assert isinstance(guest, GuestReport)
    assert (guest.kernels, guest.fstab, guest.boot_entries, guest.unknowns) == ((), (), (), ())
    assert guest.root is not None
    assert guest.root.size_bytes > MIB


_CLOUD_INIT_NETWORK_OFF: dict[str, bytes | Link] = {"/etc/cloud/cloud.cfg.d/99.cfg": b"network: {config: disabled}\n"}
_KEYFILE = "/etc/NetworkManager/system-connections/a.nmconnection"
_NO_IFUPDOWN: dict[str, None] = {"/etc/network/interfaces": None}


@each_row(
    ("paths", "names"),
    [
        ({"/etc/netplan/0.yaml": b"network: {ethernets: {ens160: {dhcp4: true}}}\n"}, ["ens160"]),
        ({"/etc/netplan/0.yaml": b"network: {ethernets: {a: {match: {name: enp*}, dhcp4: true}}}\n"}, []),
        ({"/etc/network/interfaces": b"auto enp0s3\niface enp0s3 inet dhcp\n"}, ["enp0s3"]),
        ({"/etc/network/interfaces": b"auto eth1\niface eth1 inet dhcp\n"}, ["eth1"]),
        ({"/etc/network/interfaces": b"auto eth0 ens3\niface eth0 inet dhcp\niface ens3 inet dhcp\n"}, []),
        ({"/etc/sysconfig/network-scripts/ifcfg-ens192": b"BOOTPROTO=dhcp\nONBOOT=yes\n"}, ["ens192"]),
        ({"/etc/sysconfig/network-scripts/ifcfg-x": b"DEVICE=em1\nBOOTPROTO=dhcp\n"}, ["em1"]),
        ({_KEYFILE: b"[connection]\ntype=ethernet\ninterface-name=ens192\n", **_NM}, ["ens192"]),
        ({_KEYFILE: b"[connection]\ntype=ethernet\n", **_NM}, []),
        ({"/etc/systemd/network/a.network": b"[Match]\nName=ens18\n[Network]\nDHCP=yes\n", **_NETWORKD}, ["ens18"]),
        ({"/etc/systemd/network/a.network": b"[Match]\nName=en* eth*\n[Network]\nDHCP=on\n", **_NETWORKD}, []),
        (
            {
                "/etc/cloud/cloud.cfg.d/99.cfg": b"network:\n  ethernets:\n    ens33: {dhcp4: true}\n",
            },
            ["ens33"],
        ),
    ],
)
def test_an_interface_with_a_predictable_name_is_found(paths: dict[str, bytes | Link], names: list[str]) -> None:
    """Such a name depends on the slot in the source machine; a pattern, eth0 and a profile for any interface do not."""
    network = inspect_tree(debian(**(_NO_IFUPDOWN | _CLOUD_INIT_NETWORK_OFF | paths))).network
    assert network is not None
    assert [card.what for card in network.names] == names


@each_row(
    "path",
    [
        "/etc/sysconfig/network-scripts/ifcfg-eth0.rpmsave",
        "/etc/sysconfig/network-scripts/ifcfg-eth0.bak",
        "/etc/sysconfig/network-scripts/ifcfg-eth0.orig",
        "/etc/network/interfaces.d/not-included",
    ],
)
def test_files_that_the_network_tools_ignore_are_not_read(path: str) -> None:
    """Backups of package managers and editors have no effect."""
    text = b"HWADDR=52:54:00:00:00:01\niface eth9 inet static\n hwaddress 52:54:00:00:00:01\n"
    network = inspect_tree(debian(**{path: text})).network
    assert network is not None
    assert (network.bound, network.static) == ((), ())


@each_row(
    ("paths", "kind"),
    [
        ({"/etc/netplan/0.yaml": b"network: {ethernets: {a: {match: {macaddress: '52:54:00:00:00:01'}}}}\n"}, "bound"),
        ({"/etc/systemd/network/a.network": b"[Match]\nMACAddress=52:54:00:00:00:01\n", **_NETWORKD}, "bound"),
        ({"/etc/systemd/network/a.link": b"[Match]\nMACAddress=52:54:00:00:00:01\n[Link]\nName=eth0\n"}, "renamed"),
        ({"/etc/systemd/network/a.link": b"[Match]\nPath=pci-0000:03:00.0\n[Link]\nName=lan\n"}, "renamed"),
        ({_KEYFILE: b"[ethernet]\nmac-address=52:54:00:00:00:01\n", **_NM}, "bound"),
        ({"/etc/network/interfaces": b"iface eth0 inet dhcp\n hwaddress ether 52:54:00:00:00:01\n"}, "bound"),
        ({"/etc/udev/rules.d/10.rules": b'SUBSYSTEM=="net", KERNELS=="0000:03:00.0", NAME="eth0"\n'}, "renamed"),
        ({"/etc/mactab": b"eth0 52:54:00:00:00:01\n"}, "renamed"),
    ],
)
def test_a_match_of_an_interface_by_its_mac_address_is_found(paths: dict[str, bytes | Link], kind: str) -> None:
    """Udev rules, link files and each network tool have their own syntax for it."""
    network = inspect_tree(debian(**paths)).network
    assert network is not None
    assert len(getattr(network, kind)) == 1


def test_a_file_that_cloud_init_rewrites_is_not_bound_to_a_mac_address() -> None:
    """The header of the file shows it; with network configuration disabled, cloud-init does not rewrite the file."""
    text = b"# Created by cloud-init on instance boot automatically\nDEVICE=eth0\nHWADDR=52:54:00:00:00:01\n"
    paths: dict[str, bytes | Link] = {"/etc/sysconfig/network-scripts/ifcfg-eth0": text}
    for system, count in ((debian(**paths), 0), (debian(**paths, **_CLOUD_INIT_NETWORK_OFF), 1)):
        network = inspect_tree(system).network
        assert network is not None
        assert len(network.bound) == count


@each_row(
    ("paths", "tie"),
    [
        ({f"{_WANTS}/walinuxagent.service": Link("x")}, "walinuxagent (Azure)"),
        ({f"{_WANTS}/open-vm-tools.service": Link("x")}, "open-vm-tools (VMware)"),
        ({"/etc/modprobe.d/x.conf": b"blacklist virtio_net\n"}, "blacklist virtio_net"),
        ({"/etc/modprobe.d/x.conf": b"install virtio-blk /bin/true\n"}, "install virtio-blk /bin/true"),
        ({"/etc/initramfs-tools/conf.d/resume": b"RESUME=UUID=0-0\n"}, "RESUME=UUID=0-0"),
        ({"/etc/sysconfig/network": b"GATEWAY=192.0.2.1\n"}, "GATEWAY=192.0.2.1"),
        ({"/etc/cloud/ds-identify.cfg": b"datasource: Ec2\n"}, "datasource: Ec2"),
        (
            {"/etc/lvm/devices/system.devices": b"# x\nIDTYPE=sys_wwid IDNAME=t10.ATA DEVNAME=/dev/sda2\n"},
            "IDTYPE=sys_wwid IDNAME=t10.ATA DEVNAME=/dev/sda2",
        ),
    ],
)
def test_settings_that_depend_on_the_source_machine_are_found(paths: dict[str, bytes | Link], tie: str) -> None:
    """Agents, drivers, devices and settings are found, each in its own file."""
    assert [one.what for one in inspect_tree(debian(**paths)).source_ties] == [tie]


@each_row(
    ("argument", "kind"),
    [
        ("resume=UUID=0-0", "DEVICE"),
        ("resume=/dev/sda3", "DEVICE"),
        ("rd.lvm.lv=old/swap", "DEVICE"),
        ("single", "RESCUE"),
        ("init=/bin/sh", "RESCUE"),
        ("systemd.unit=rescue.target", "RESCUE"),
        ("ip=192.0.2.5::192.0.2.1:255.255.255.0:host:eth0:off", "NETWORK"),
        ("module_blacklist=virtio_blk", "DRIVER"),
        ("ignition.platform.id=aws", "CLOUD"),
        ("ds=nocloud", "CLOUD"),
        ("cloud-init=disabled", "CLOUD"),
        ("ignition.platform.id=aliyun", None),
        ("ip=dhcp", None),
        ("console=ttyS0,115200", None),
        (f"resume=UUID={ROOT_UUID}", None),
    ],
)
def test_the_arguments_of_the_kernel_are_read(argument: str, kind: str | None) -> None:
    """The arguments of the default boot entry are classified."""
    menu = f"linux /boot/vmlinuz-6.1.0-30-amd64 root=UUID={ROOT_UUID} {argument}\n".encode()
    ties = inspect_tree(debian(**{"/boot/grub/grub.cfg": menu})).source_ties
    assert [tie.kind.name for tie in ties] == ([kind] if kind else [])


def test_mount_units_and_crypttab_are_read() -> None:
    """A required mount unit is equal to a line of fstab, a wanted one to a line with nofail."""
    unit, directory = b"[Mount]\nWhat=/dev/sdb1\nWhere=/data\n", "/etc/systemd/system"
    paths: dict[str, bytes | Link] = {
        f"{directory}/data.mount": unit,
        f"{directory}/more.mount": unit,
        f"{directory}/off.mount": unit,
        f"{directory}/local-fs.target.requires/data.mount": Link("../data.mount"),
        f"{directory}/multi-user.target.wants/more.mount": Link("../more.mount"),
        "/etc/crypttab": b"# x\ndata UUID=0-0 none luks\n",
    }
    guest = inspect_tree(debian(**paths))
    assert [(entry.where, "nofail" in entry.options) for entry in guest.fstab[1:]] == [
        (f"{directory}/data.mount:2", False),
        (f"{directory}/more.mount:2", True),
    ]
    assert [(entry.spec, entry.type, entry.found) for entry in guest.crypttab] == [("UUID=0-0", "none", False)]


@each_row(
    ("spec", "found"),
    [
        ("/dev/mapper/oldvg-data", False),
        ("/dev/oldvg/data", False),
        ("/dev/mapper/mpatha1", False),
        ("/dev/md0", False),
        ("/dev/disk/by-label/my\\x20disk", False),
        ("/dev/disk/by-id/dm-name-oldvg-data", False),
        ("/dev/sda1", None),
        ("/swapfile", None),
    ],
)
def test_devices_that_the_disk_does_not_provide_are_missing(spec: str, found: bool | None) -> None:
    """Volume groups, arrays and multipath devices of the source machine are missing; other device names are unknown."""
    plain = Partition(
        number=1, start_bytes=0, size_bytes=MIB << 10, type_name="", type_id="", filesystem="ext4", uuid="A"
    )
    assert DiskNames.of([plain]).has(spec) is found
    assert DiskNames.of([plain, replace(plain, filesystem="luks")]).has("/dev/oldvg/data") is None


@pytest.mark.parametrize(("argument", "mode"), [("selinux=0", "disabled"), ("enforcing=0", "permissive")])
def test_kernel_arguments_take_precedence_over_the_configuration_of_selinux(argument: str, mode: str) -> None:
    """The arguments of the boot entry determine the mode."""
    menu = f"linux /boot/vmlinuz-6.1.0-30-amd64 root=UUID={ROOT_UUID} {argument}\n".encode()
    paths: dict[str, bytes | Link] = {"/boot/grub/grub.cfg": menu, "/etc/selinux/config": b"SELINUX=enforcing\n"}
    selinux = inspect_tree(debian(**paths)).selinux
    assert selinux is not None
    assert selinux.what == mode


def test_another_ssh_server_is_recognised() -> None:
    """Dropbear, and a unit whose program has another path, are SSH servers."""
    wants = "/etc/systemd/system/multi-user.target.wants"
    for paths in ({"/usr/sbin/dropbear": elf()}, {f"{wants}/sshd.service": elf()}):
        sshd = inspect_tree(debian(**({"/usr/sbin/sshd": None} | paths))).sshd
        assert sshd is not None
        assert sshd.where


def test_the_version_of_grub_is_read_from_its_modules() -> None:
    """The version is a string in normal.mod."""
    module = b"\x7fELF\0GRUB  version %s\0" + b"2.06-13+deb12u1\0normal\0"
    version = inspect_tree(debian(**{"/boot/grub/i386-pc/normal.mod": module})).grub_version
    assert version is not None
    assert (version.what, version.where) == ("2.06-13+deb12u1", "/boot/grub/i386-pc/normal.mod")
