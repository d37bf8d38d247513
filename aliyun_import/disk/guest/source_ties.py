"""Settings of a Linux system for its source machine or cloud, except for mounts and network cards."""

import re
from collections.abc import Callable, Collection, Iterator, Sequence

from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.guest.boot_files import assignments
from aliyun_import.disk.guest.mounts import DiskNames
from aliyun_import.disk.guest.report import BootEntry, SourceTie, TieKind

_MODPROBE = ("/etc/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d", "/run/modprobe.d")
_DRIVERS = ("virtio_blk", "virtio_pci", "virtio_net", "virtio_scsi", "nvme", "virtio")
# Units and services of agents of other clouds, and of tools of hypervisors.
_AGENTS = {
    "walinuxagent": "Azure", "waagent": "Azure", "google-guest-agent": "Google Cloud",
    "google-startup-scripts": "Google Cloud", "google-compute-engine": "Google Cloud",
    "google-osconfig-agent": "Google Cloud", "google-accounts-daemon": "Google Cloud",
    "amazon-ssm-agent": "AWS", "snap.amazon-ssm-agent.amazon-ssm-agent": "AWS", "ec2net-ifup": "AWS",
    "policy-routes": "AWS", "ec2-net-utils": "AWS", "ec2sys-autotune": "AWS", "hibinit-agent": "AWS",
    "oracle-cloud-agent": "Oracle Cloud", "snap.oracle-cloud-agent.oracle-cloud-agent": "Oracle Cloud",
    "tat_agent": "Tencent Cloud", "YDService": "Tencent Cloud", "stargate": "Tencent Cloud", "qcloud": "Tencent Cloud",
    "uniagent": "Huawei Cloud", "hostguard": "Huawei Cloud", "telescoped": "Huawei Cloud",
    "do-agent": "DigitalOcean", "droplet-agent": "DigitalOcean", "afterburn": "another cloud",
}  # fmt: skip
_TOOLS = {
    "open-vm-tools": "VMware", "vmtoolsd": "VMware", "vgauth": "VMware", "vmware-tools": "VMware",
    "vboxadd": "VirtualBox", "vboxadd-service": "VirtualBox", "virtualbox-guest-utils": "VirtualBox",
    "vboxservice": "VirtualBox", "hypervkvpd": "Hyper-V", "hv-kvp-daemon": "Hyper-V", "hypervvssd": "Hyper-V",
    "xe-daemon": "Xen", "xe-linux-distribution": "Xen", "xenstored": "Xen", "prltoolsd": "Parallels",
}  # fmt: skip
# Arguments of the kernel with which the boot ends in a shell, or before services are started.
_RESCUE = re.compile(
    r"(1|s|S|single|emergency|rescue|rd\.break\S*|break\S*|init=/(usr/)?bin/\w*sh"
    r"|systemd\.unit=(rescue|emergency)\.target|rd\.emergency=\S+|rd\.shell)$"
)
# Arguments that select the cloud, for Ignition, afterburn and cloud-init.
_CLOUD = re.compile(
    r"((ignition\.platform\.id|coreos\.oem\.id|flatcar\.oem\.id|ds|ci\.ds|ci\.datasource)=."
    r"|(cloud-init|network-config)=disabled$)"
)
_BLACKLISTS = ("module_blacklist", "modprobe.blacklist", "rd.driver.blacklist", "rdblacklist")
# Arguments with a device of the disk -> prefix of their values.
_DEVICES = {
    "resume": "",
    "rd.lvm.lv": "/dev/",
    "rd_LVM_LV": "/dev/",
    "rd.luks.uuid": "UUID=",
    "rd_LUKS_UUID": "UUID=",
    "mount.usr": "",
    "boot": "",
}


def read_source_ties(
    tree: Tree, entries: Sequence[BootEntry], names: DiskNames, enabled: Collection[str]
) -> tuple[SourceTie, ...]:
    """Return the ties of a system. `entries` are those of the boot loader, the default first; `enabled` are units."""
    found: list[SourceTie] = []
    for entry in entries[:1]:
        found += _of_arguments(entry, names)
    for unit in enabled:
        name = re.sub(r"(@.*)?\.(service|socket|timer|path)$", "", unit)
        for agents, kind in ((_AGENTS, TieKind.CLOUD), (_TOOLS, TieKind.HYPERVISOR)):
            if name in agents:
                found.append(SourceTie(kind=kind, what=f"{name} ({agents[name]})", where=unit))
    readers: tuple[Callable[[Tree, DiskNames], Iterator[SourceTie]], ...] = (
        _blacklists,
        _resume,
        _lvm_devices,
        _red_hat_network,
        _cloud_init,
    )
    for read in readers:
        found += read(tree, names)
    return tuple({(tie.kind, tie.what): tie for tie in found}.values())


def _of_arguments(entry: BootEntry, names: DiskNames) -> Iterator[SourceTie]:
    for word in entry.arguments.split():
        kind = _kind_of(word, names)
        if kind is not None:
            yield SourceTie(kind=kind, what=word, where=entry.where)


def _kind_of(word: str, names: DiskNames) -> TieKind | None:
    """Return the kind of the tie in an argument of the kernel, or None."""
    key, _, value = word.partition("=")
    value = value.strip("\"'")
    if _RESCUE.fullmatch(word):
        return TieKind.RESCUE
    if key in _BLACKLISTS and any(name.replace("-", "_") in _DRIVERS for name in value.split(",")):
        return TieKind.DRIVER
    if key in _DEVICES and "$" not in value:
        spec = f"{_DEVICES[key]}{value.removeprefix('luks-')}"
        return TieKind.DEVICE if names.has(spec) is False or is_place(spec) else None
    if key in ("ifname", "BOOTIF") or (key == "ip" and re.match(r"\[?[0-9a-fA-F.:]+\]?:", value)):
        return TieKind.NETWORK
    if _CLOUD.match(word) and not value.lower().startswith("aliyun"):
        return TieKind.CLOUD
    return None


def is_place(spec: str) -> bool:
    """Return whether the name of a device depends on its controller in the source machine."""
    return re.match(r"/dev/((sd|hd|xvd|ubd)[a-z]|cciss/|mmcblk|disk/by-(path|id)/(?!dm-|md-|lvm-))", spec) is not None


def _blacklists(tree: Tree, _names: DiskNames) -> Iterator[SourceTie]:
    for directory in _MODPROBE:
        for name in tree.names(directory)[:200]:
            path = f"{directory}/{name}"
            for number, line in tree.lines(path):
                words = line.split()
                off = len(words) > 1 and (
                    words[0] == "blacklist" or (words[0] == "install" and words[-1].endswith(("/true", "/false")))
                )
                if off and name.endswith(".conf") and words[1].replace("-", "_") in _DRIVERS:
                    yield SourceTie(kind=TieKind.DRIVER, what=line.strip(), where=f"{path}:{number}")


def _resume(tree: Tree, names: DiskNames) -> Iterator[SourceTie]:
    """Read the hibernation device of initramfs-tools, for which the boot waits 30 seconds."""
    path = "/etc/initramfs-tools/conf.d/resume"
    value = assignments(tree.text(path) or "").get("RESUME", "")
    if value and value not in ("none", "auto") and (names.has(value) is False or is_place(value)):
        yield SourceTie(kind=TieKind.DEVICE, what=f"RESUME={value}", where=path)


def _lvm_devices(tree: Tree, _names: DiskNames) -> Iterator[SourceTie]:
    """Read the list of devices of LVM. LVM uses no others, and identifies them by the hardware of the source."""
    path = "/etc/lvm/devices/system.devices"
    for number, line in tree.lines(path):
        if line.startswith("IDTYPE=") and not line.startswith("IDTYPE=devname IDNAME=/dev/vd"):
            yield SourceTie(kind=TieKind.DEVICE, what=line[:120], where=f"{path}:{number}")


def _red_hat_network(tree: Tree, _names: DiskNames) -> Iterator[SourceTie]:
    path = "/etc/sysconfig/network"
    text = tree.text(path)
    values = assignments(text or "")
    for key in ("GATEWAY", "GATEWAYDEV", "IPV6_DEFAULTGW"):
        if values.get(key):
            yield SourceTie(kind=TieKind.NETWORK, what=f"{key}={values[key]}", where=path)
    if values.get("NETWORKING", "yes").lower() in ("no", "false", "0"):
        yield SourceTie(kind=TieKind.NETWORK, what="NETWORKING=no", where=path)


def _cloud_init(tree: Tree, _names: DiskNames) -> Iterator[SourceTie]:
    """Read ds-identify.cfg, which takes precedence over datasource_list."""
    path = "/etc/cloud/ds-identify.cfg"
    for number, line in tree.lines(path):
        key, _, value = (part.strip() for part in line.partition(":"))
        if (key == "datasource" and value.lower() != "aliyun") or (key == "policy" and value.startswith("disabled")):
            yield SourceTie(kind=TieKind.CLOUD, what=line.strip(), where=f"{path}:{number}")
