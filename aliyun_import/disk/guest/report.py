"""Report of the operating system on a disk: frozen values.

A field of a fact that could not be read keeps its default (None, or an empty tuple), and `unknowns` has a clause with
the reason. In a field that can be both, None means that it is not known, and an empty value that there is none. All
values have built-in types, because the child process sends the report.
"""

from dataclasses import dataclass
from enum import StrEnum

from aliyun_import.model.request import Architecture, OsType

# The drivers that a system needs on ECS, by their names in Linux.
DRIVERS = ("virtio_blk", "virtio_pci", "virtio_net", "nvme")


class DriverPlace(StrEnum):
    """The place of a driver, from best to worst for booting."""

    BUILT_IN = "built in"
    INITRAMFS = "in the initramfs"
    MODULE = "a module on the disk only"
    ABSENT = "absent"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A fact, as a short text or a value, and its position, such as "/etc/fstab:3"."""

    what: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OsRelease:
    """The fields of os-release that identify the system, empty if the file does not have them."""

    id: str
    id_like: tuple[str, ...] = ()
    name: str = ""
    version_id: str = ""
    pretty_name: str = ""
    variant_id: str = ""
    where: str = "/etc/os-release"


@dataclass(frozen=True, slots=True, kw_only=True)
class RootFileSystem:
    """The root file system, from its superblock. `volume` is the name of a logical volume ("vg/root"), else empty.

    `unclean` is a clause about its state, empty if it was unmounted cleanly.
    """

    partition: int
    type: str
    uuid: str
    size_bytes: int
    free_bytes: int
    inodes: int
    free_inodes: int
    volume: str = ""
    unclean: str = ""
    errors: bool = False
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """The place of a driver of DRIVERS for one kernel."""

    name: str
    place: DriverPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel with its modules and its initramfs. `image` and `initramfs` are paths, empty if there is none.

    `default`: it is in a default entry of a boot loader. `fw_cfg`: it has CONFIG_FW_CFG_SYSFS (None: not known). The
    other fields are clauses, empty without a problem. `initramfs_problem` is why the contents of the initramfs are not
    known. `initramfs_damage` is why it can't be unpacked to its end; this is read only for defaults, and not for slow
    compressions. `image_damage` is about the kernel itself.
    """

    version: str
    image: str = ""
    initramfs: str = ""
    initramfs_problem: str = ""
    initramfs_damage: str = ""
    image_damage: str = ""
    default: bool = False
    fw_cfg: bool | None = None
    drivers: tuple[Driver, ...] = ()

    def place(self, name: str) -> DriverPlace:
        """Return the place of a driver."""
        return next((driver.place for driver in self.drivers if driver.name == name), DriverPlace.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class FstabEntry:
    """A line of /etc/fstab or crypttab, or a unit. `found`: what `spec` refers to is on this disk (None: unknown)."""

    line: int
    where: str = ""
    spec: str
    mount_point: str
    type: str
    options: tuple[str, ...]
    found: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BootEntry:
    """An entry of a boot loader.

    `loader` is "grub", "bls", "extlinux", "lilo", "refind", "limine" or "unified" (a unified kernel image). `default`:
    it is the default entry of its configuration. `initrds` are all files that are joined to the initramfs, `initramfs`
    is the one that is not microcode. `arguments` is the command line of the kernel. `root` is the value of root= in it
    ("UUID=...", "/dev/sda1"), empty if it is absent or a variable. `kernel_found`, `initramfs_found` and `root_found`
    are whether each is on this disk (None: unknown).
    """

    loader: str
    where: str
    title: str = ""
    default: bool = False
    kernel: str = ""
    initramfs: str = ""
    initrds: tuple[str, ...] = ()
    arguments: str = ""
    root: str = ""
    kernel_found: bool | None = None
    initramfs_found: bool | None = None
    root_found: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The network configuration.

    `dhcp` and `static` are for IPv4. `bound` are settings with a MAC address, `renamed` rules that name a card. `names`
    are cards that are configured by a name of their slot (ens160), `kernel_names` those by the name of the kernel
    (eth0); both are empty if a configuration for any card uses DHCP. `names_by_place`: udev names cards by their slot
    unless net.ifnames=0 is set (None: not known). `cards` are the interfaces for which the boot waits, each name once.
    `manager` is NetworkManager if it starts. `has_dhcp_client` is False if only ifupdown uses DHCP and no client is
    installed.
    """

    dhcp: tuple[Evidence, ...] = ()
    static: tuple[Evidence, ...] = ()
    static_ipv6: tuple[Evidence, ...] = ()
    bound: tuple[Evidence, ...] = ()
    renamed: tuple[Evidence, ...] = ()
    names: tuple[Evidence, ...] = ()
    kernel_names: tuple[Evidence, ...] = ()
    names_by_place: bool | None = None
    cards: tuple[Evidence, ...] = ()
    manager: Evidence | None = None
    has_dhcp_client: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Firewall:
    """A firewall that starts at boot. `ssh` is the rule that allows SSH, None if none was found."""

    name: str
    where: str
    ssh: Evidence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudInit:
    """cloud-init. `enabled` is None if it is not known. `sources` is datasource_list, None if it is not set.

    `sources_where` is the line that sets it. `network_fixed` is the line that disables or defines the network in its
    configuration, so that it does not write the network configuration of a new instance.
    """

    version: str = ""
    enabled: bool | None = None
    sources: tuple[str, ...] | None = None
    sources_where: str = ""
    where: str = ""
    network_fixed: str = ""
    growpart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sshd:
    """The SSH server. `permit_root` is the effective PermitRootLogin, None for the built-in default."""

    where: str = ""
    enabled: bool | None = None
    permit_root: Evidence | None = None
    ports: tuple[Evidence, ...] = ()
    host_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Accounts. `root` is the line of root in /etc/passwd, `passwd` the command; each is None if it is missing."""

    root: Evidence | None = None
    passwd: Evidence | None = None
    shadow_immutable: bool = False
    readable: bool = False


class TieKind(StrEnum):
    """The kind of a setting for the source environment."""

    CLOUD = "the agent of another cloud"
    HYPERVISOR = "a tool of another hypervisor"
    RESCUE = "a start that ends before the system is up"
    DRIVER = "a driver that is not loaded"
    DEVICE = "a device of the source machine"
    NETWORK = "a setting of the source's network"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTie:
    """A setting that is right in the source environment only."""

    kind: TieKind
    what: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsFacts:
    r"""The contents of the registry and of System32\drivers, empty or None if they could not be read.

    `viostor_start` is the Start value of the driver (0: at boot), None if it has no key in Services. `client`: the
    edition is not a server. `boot_files` are the boot configurations on all volumes, None if a volume could not be
    read. `remote_desktop_allowed`: a rule of the firewall allows Remote Desktop.
    """

    product: str = ""
    build: int | None = None
    service_pack: str = ""
    client: bool | None = None
    registry_read: bool = False
    driver_files: tuple[str, ...] = ()
    read_only_drivers: tuple[str, ...] = ()
    boot_files: tuple[str, ...] | None = None
    viostor_start: int | None = None
    netkvm_start: int | None = None
    stornvme_start: int | None = None
    image_state: str = ""
    setup_in_progress: bool | None = None
    pending_update: str = ""
    remote_desktop: bool | None = None
    remote_desktop_port: int | None = None
    remote_desktop_allowed: bool = False
    filters: tuple[Evidence, ...] = ()
    firewall: tuple[str, ...] = ()
    device_install_disabled: bool | None = None
    xen_hidden: bool | None = None
    hibernated: bool | None = None
    dirty: bool | None = None
    guest_agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestReport:
    """The operating system on a disk. `os_type` is None if none was found or could be read; see `unknowns`.

    `unread` are the volumes with a file system that is not read: its name and the volume. `uncertain` is a clause with
    the reason why another system may start, empty if it is this one. `tools` are the programs that create an initramfs
    or the configuration of a boot loader. `systemd`: it is the init system. `init_problem` is a clause with the reason
    why the kernel can't start the first program, empty if none is known. `image_based`: the root is a deployment of
    ostree, or /usr is another volume; only the boot loader of such a system finds its kernels. `stale_searches` are the
    UUIDs that GRUB on the ESP searches for, if none of them is on the disk. `grub_version` is the version of the
    modules of GRUB, `boot_features` are the features of the file system with /boot. `issue` is the text of /etc/issue,
    None if there is none. `custom_image_directory`: the first partition has /aliyun_custom_image (None: unknown).
    """

    os_type: OsType | None = None
    os_release: OsRelease | None = None
    architecture: Architecture | None = None
    machine: str = ""
    root: RootFileSystem | None = None
    boot_partition: int | None = None
    kernels: tuple[Kernel, ...] = ()
    fstab: tuple[FstabEntry, ...] = ()
    crypttab: tuple[FstabEntry, ...] = ()
    boot_entries: tuple[BootEntry, ...] = ()
    network: Network | None = None
    cloud_init: CloudInit | None = None
    sshd: Sshd | None = None
    accounts: Accounts | None = None
    firewall: tuple[Firewall, ...] = ()
    selinux: Evidence | None = None
    guest_agent: Evidence | None = None
    absolute_lib_links: tuple[Evidence, ...] = ()
    local_clock: Evidence | None = None
    machine_id: Evidence | None = None
    issue: str | None = None
    custom_image_directory: bool | None = None
    windows: WindowsFacts | None = None
    source_ties: tuple[SourceTie, ...] = ()
    tools: tuple[str, ...] = ()
    systemd: bool | None = None
    init_problem: str = ""
    unread: tuple[Evidence, ...] = ()
    uncertain: str = ""
    image_based: bool = False
    stale_searches: tuple[Evidence, ...] = ()
    grub_version: Evidence | None = None
    boot_features: tuple[str, ...] = ()
    unknowns: tuple[str, ...] = ()

    @property
    def default_kernels(self) -> tuple[Kernel, ...]:
        """The kernels of the boot loader's default entries, or else all of them."""
        return tuple(kernel for kernel in self.kernels if kernel.default) or self.kernels

    @property
    def started(self) -> tuple[BootEntry, ...]:
        """The entries of which one is started: the default of each configuration, or else all of them."""
        return tuple(entry for entry in self.boot_entries if entry.default) or self.boot_entries

    @property
    def name(self) -> str:
        """The name of the system, empty if it is not known."""
        if self.os_release is not None:
            return self.os_release.pretty_name or self.os_release.id
        return self.windows.product if self.windows is not None else ""
