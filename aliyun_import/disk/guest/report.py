"""The report of the operating system on a disk: frozen values.

Nothing is guessed: where something could not be read, the field keeps its "not known" value (None, or an empty tuple)
and a sentence in `unknowns` says why. All values are plain, so that the report can be sent by the child process.
"""

from dataclasses import dataclass
from enum import StrEnum

from aliyun_import.model.request import Architecture, OsType

# The drivers that matter to a system on ECS, as Linux names them.
DRIVERS = ("virtio_blk", "virtio_pci", "virtio_net", "nvme")


class DriverPlace(StrEnum):
    """Where a driver is, from best to worst for a system that must boot with it."""

    BUILT_IN = "built in"
    INITRAMFS = "in the initramfs"
    MODULE = "a module on the disk only"
    ABSENT = "absent"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A fact, as a short text or its own value, and its position: "/etc/fstab:3"."""

    what: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OsRelease:
    """The fields of os-release that name the system; empty where the file does not have them."""

    id: str
    id_like: tuple[str, ...] = ()
    name: str = ""
    version_id: str = ""
    pretty_name: str = ""
    variant_id: str = ""
    where: str = "/etc/os-release"


@dataclass(frozen=True, slots=True, kw_only=True)
class RootFileSystem:
    """The root file system: sizes from its superblock, `volume` its LVM name ("vg/root") if any.

    `unclean` is a sentence about its state, empty when it was unmounted cleanly.
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
    """Where a kernel has one driver of DRIVERS."""

    name: str
    place: DriverPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One kernel with its modules and its initramfs. `initramfs` is its path, empty when there is none.

    `default`: a boot loader may start this one, as far as its configuration shows; `initramfs_problem` is why its
    contents are not known, empty when they are. `fw_cfg`: it has CONFIG_FW_CFG_SYSFS (None: not known).
    `initramfs_damage` is why it can't be unpacked to its end, which is looked for in a default one without slow
    compression; `image_damage` is what is wrong with the kernel itself; both are empty for nothing.
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
        """Return where the kernel has a driver."""
        return next((driver.place for driver in self.drivers if driver.name == name), DriverPlace.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class FstabEntry:
    """One line of /etc/fstab or crypttab, or a unit. `found`: what it names is on this disk (None: unknown)."""

    line: int
    where: str = ""
    spec: str
    mount_point: str
    type: str
    options: tuple[str, ...]
    found: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BootEntry:
    """One entry of a boot loader, with the files and the root that it names.

    `loader` is "grub", "bls", "extlinux", "lilo", "refind", "limine" or "unified" (a unified kernel image); `default`:
    its configuration starts this entry. `initrds` are all files that are joined to the initramfs, `initramfs` the one
    that is not microcode. `arguments` is the kernel's command line, `root` the value of root= in it ("UUID=...",
    "/dev/sda1"), empty when it is not there or is a variable. The `..._found` are whether each is on this disk (None:
    unknown).
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
    """How the network is configured: by DHCP, by fixed addresses, bound to a MAC address, or renamed by udev.

    `dhcp` and `static` are about IPv4. `names` are cards that are configured by a name that depends on their place in
    the source machine (ens160), `kernel_names` those by the name that the kernel gives (eth0); both are empty where a
    configuration for any card uses DHCP. `names_by_place`: udev names cards by their place unless net.ifnames=0 is set
    (None: not known). `cards` are the interfaces, by name
    and each once, for which the boot waits. `manager` is NetworkManager where it starts. `has_dhcp_client` is False
    where ifupdown alone is to use DHCP, and has no program for it.
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
    """A firewall that starts at boot. `ssh` is the line with which it lets SSH in, None where none was found."""

    name: str
    where: str
    ssh: Evidence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudInit:
    """cloud-init. `enabled` is None where it is not clear; `sources` is None where no datasource_list is set.

    `sources_where` is the line that sets it. `network_fixed` is the line that keeps it from writing the network
    configuration of a new instance, because it is disabled or given there.
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
    """The SSH server. `permit_root` is the effective PermitRootLogin, None where it is the built-in default."""

    where: str = ""
    enabled: bool | None = None
    permit_root: Evidence | None = None
    ports: tuple[Evidence, ...] = ()
    host_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Accounts. `root` is the line of /etc/passwd, None when there is no root; None of `passwd` = no passwd command."""

    root: Evidence | None = None
    passwd: Evidence | None = None
    shadow_immutable: bool = False
    readable: bool = False


class TieKind(StrEnum):
    """What a setting ties a system to, or keeps it from on ECS."""

    CLOUD = "the agent of another cloud"
    HYPERVISOR = "a tool of another hypervisor"
    RESCUE = "a start that ends before the system is up"
    DRIVER = "a driver that is not loaded"
    DEVICE = "a device of the source machine"
    NETWORK = "a setting of the source's network"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTie:
    """A setting that ties a system to its old machine: of which kind, what it is, and where."""

    kind: TieKind
    what: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsFacts:
    """The contents of the registry and the drivers' directory; empty or None where they could not be read.

    `viostor_start` is its Start value (0 is boot), None when the driver has no service key. `client`: not a server.
    `boot_files` are the boot configurations found on all volumes, None where a volume could not be read.
    `remote_desktop_allowed`: a rule of its firewall lets remote desktop in.
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
    """The system on a disk. `os_type` is None when no system was found or could be read: `unknowns` has the reason.

    `unread` are the volumes with a file system that is not read: its name and the volume. `uncertain` is a sentence
    about why another system than this one may be started, empty when it is this one. `tools` are the programs that
    make an initramfs or the configuration of a boot loader; `systemd` is whether it is the init system, `init_problem`
    is why the kernel can't start its first program, empty if nothing is known of a reason. `image_based`:
    its root is a deployment of ostree, or its /usr a volume of its own, and only its own loader finds its kernels.
    `stale_searches` are the UUIDs that GRUB on the ESP looks for, if none of them is on the disk.
    `grub_version` is the version of GRUB's modules, `boot_features` those of the file system with /boot.

    `issue` is the text of /etc/issue, None where there is none; `custom_image_directory` is whether the first
    partition has /aliyun_custom_image (None: unknown).
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
    def started(self) -> tuple[BootEntry, ...]:
        """Return the entries of which one is started: the default of each configuration, else all of them."""
        return tuple(entry for entry in self.boot_entries if entry.default) or self.boot_entries

    @property
    def name(self) -> str:
        """Return the system's own name; empty where it has none."""
        if self.os_release is not None:
            return self.os_release.pretty_name or self.os_release.id
        return self.windows.product if self.windows is not None else ""
