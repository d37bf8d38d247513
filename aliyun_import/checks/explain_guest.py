"""This file holds the texts about the rules of the guest: class, reason, document."""

from aliyun_import.checks.context import (
    API,
    CHECK_ITEMS,
    COMPLIANCE,
    CUSTOMIZED,
    GUIDE_2021,
    JUDGEMENT,
    LINUX_2026,
    METADATA,
    VIRTIO,
    Text,
)

GUEST_TEXTS: dict[str, Text] = {
    "virtio-drivers": (
        "blocks, or warns where the import says that it adds the drivers, or another kernel starts",
        "Disks of ECS are virtio. virtio_blk and virtio_pci must be built into the kernel, or lie in its initramfs: a "
        "module on the very disk that it is needed for is no use. For CentOS 6-8, Ubuntu 12 and later, Debian 7 and "
        "later, SUSE 11 and later the service says that the import adds them, unless Platform is Others Linux or "
        "Customized Linux. Looked at: modules.builtin, modules.dep, the kernel's configuration, and the names in the "
        "initramfs.",
        VIRTIO,
    ),
    "initramfs-unread": (
        "unknown",
        "The initramfs is damaged, larger than is read, or compressed in a way that is not known here (lzo).",
        VIRTIO,
    ),
    "virtio-network": (
        "blocks, or warns where the import says that it adds the drivers",
        "Network cards of ECS are virtio. Without virtio_net the instance starts and is reached by nobody.",
        VIRTIO,
    ),
    "nvme-driver": (
        "warns, or blocks when --nvme-support supported was given",
        "Newer instance types have NVMe disks; NvmeSupport tells the service that the image can start from them.",
        CHECK_ITEMS,
    ),
    "kernel-missing": (
        "blocks, or warns where another loader than GRUB may start one that is not seen",
        "No kernel that the boot loader names is on the disk, or there is no kernel at all. Unified kernel images "
        "(EFI/Linux on the ESP) and LILO's map count as kernels.",
        CHECK_ITEMS,
    ),
    "boot-loader-config": (
        "warns",
        "There are kernels in /boot, and no configuration of GRUB, BLS or extlinux names one. A loader may be "
        "configured in a way that is not read here.",
        LINUX_2026,
    ),
    "initramfs-missing": ("blocks", "No initramfs that the boot loader names is on the disk.", CHECK_ITEMS),
    "kernel-fw-cfg": (
        "warns",
        "On arm64, and for CentOS Stream, Anolis, AlmaLinux, UOS, Kylin and Rocky Linux, the service sets passwords "
        "and keys through QEMU's fw_cfg, which asks for CONFIG_FW_CFG_SYSFS.",
        API,
    ),
    "distribution-unlisted": (
        "note",
        "ImportImage's list of Platform has no name for the distribution. With Others Linux, the default, the import "
        "leaves the guest as it is. A derivative is not passed off as its parent unless you say so.",
        API,
    ),
    "platform-contradicts": (
        "warns, or a note for Others Linux and Customized Linux",
        "The Platform asked for decides what the import changes in the guest, and it is not what is on the disk.",
        API,
    ),
    "customized-linux-size": ("blocks", "Customized Linux needs a disk of more than 5 GiB.", CUSTOMIZED),
    "customized-linux-directory": (
        "warns",
        "With Customized Linux, ECS writes /aliyun_custom_image/os.conf on the first partition, which must be FAT32, "
        "ext2, ext3, ext4 or UFS, and the image's own script reads it.",
        CUSTOMIZED,
    ),
    "issue-changed": (
        "note",
        "The guide of 2021 tells the distribution by /etc/issue, among others. Looked for: the name or the ID of "
        "os-release, or \\S, which stands for the name.",
        GUIDE_2021,
    ),
    "fstab-device-name": (
        "blocks, or warns for swap, nofail, and /dev/vda",
        "Disks are called /dev/vda, or /dev/nvme0n1 on newer instance types. A line with /dev/sda makes the first "
        "start wait for it and end in emergency mode. /dev/vda works on some types only.",
        LINUX_2026,
    ),
    "fstab-missing": (
        "blocks, or warns for swap and where it may be on a data disk, or a note with nofail",
        "A line of fstab names a UUID or label that no file system of the disk has: the first start waits for it in "
        "vain.",
        CHECK_ITEMS,
    ),
    "root-device-name": (
        "blocks, or warns for entries that are not the first, and /dev/vda",
        "The kernel is given root=/dev/sda1 or the like, which does not exist on ECS.",
        LINUX_2026,
    ),
    "root-missing": (
        "blocks, or warns for entries that are not the first",
        "The kernel is given a root= that no file system of the disk has.",
        CHECK_ITEMS,
    ),
    "file-system-unclean": (
        "warns",
        "The root was not unmounted cleanly, or has errors. The import mounts it to change it, and fsck may run at "
        "the first start. ext2, ext3 and ext4 have a flag for it; XFS tells by the last record of its log.",
        GUIDE_2021,
    ),
    "root-full": (
        "warns",
        "Less than 100 MiB or 1000 inodes are free on the root: the import and the first start write there.",
        COMPLIANCE,
    ),
    "project-and-quota": ("warns", "ext4's features project and quota must not be on together.", GUIDE_2021),
    "ext4-64bit": (
        "note",
        "Rules of 2021 asked for ext4 without 64bit, which mkfs has set for years; newer documents do not.",
        GUIDE_2021,
    ),
    "no-dhcp": (
        "warns",
        "ECS gives addresses by DHCP. Looked at: ifupdown, ifcfg files, netplan, systemd-networkd and NetworkManager. "
        "Where nothing is configured and cloud-init starts, cloud-init writes the configuration.",
        CHECK_ITEMS,
    ),
    "static-ipv6": ("warns", "A fixed IPv6 address of the source's network means nothing in a VPC.", GUIDE_2021),
    "several-network-cards": (
        "warns",
        "auto lines of ifupdown, ONBOOT=yes or STARTMODE=auto of ifcfg files, and cards of netplan without optional: "
        "true are brought up at the start, which waits for them (NetworkManager does not). An instance has one card "
        "unless more are attached.",
        GUIDE_2021,
    ),
    "network-manager": (
        "note",
        "On CentOS and Red Hat 6 and 7 the service's image_check tool asks for the network service in place of "
        "NetworkManager.",
        COMPLIANCE,
    ),
    "network-bound-to-mac": (
        "warns",
        "HWADDR and its like bind a configuration to the source machine's card.",
        GUIDE_2021,
    ),
    "persistent-net-rules": (
        "warns",
        "70-persistent-net.rules keeps the name eth0 for the source machine's card; the new one becomes eth1.",
        GUIDE_2021,
    ),
    "cloud-init-missing": (
        "warns",
        "cloud-init sets host name, password, keys, network and user data of an instance. Without it the image starts "
        "and stays as it was.",
        CHECK_ITEMS,
    ),
    "cloud-init-source": ("warns", "datasource_list is set and does not have AliYun.", CHECK_ITEMS),
    "cloud-init-old": ("warns", "Password and key injection ask for cloud-init 19.1.3 or newer.", API),
    "imds-v2-cloud-init": (
        "warns",
        "With ImdsSupport v2 metadata are read with a token only (hardened mode), which cloud-init does since 23.2.2. "
        "The import can't go back from v2 to v1.",
        METADATA,
    ),
    "no-growpart": ("note", "growpart lets cloud-init grow the root on a larger disk.", CHECK_ITEMS),
    "ssh-server": (
        "warns",
        "Without an SSH server that starts, the instance is reached by its console only.",
        COMPLIANCE,
    ),
    "ssh-root-login": ("warns", "PermitRootLogin no: the service sets the password and key of root.", COMPLIANCE),
    "ssh-port": ("warns", "The default security group opens port 22.", COMPLIANCE),
    "accounts": (
        "blocks for an immutable /etc/shadow or no root, warns without passwd",
        "The import and cloud-init set the password of root in /etc/shadow.",
        COMPLIANCE,
    ),
    "lib-links": ("warns", "/lib or /lib64 as an absolute link leads out of the disk for who mounts it.", COMPLIANCE),
    "firewall": (
        "warns, or a note where a rule lets SSH in",
        "firewalld, ufw, iptables, nftables or SuSEfirewall2 starts with the system. The guide asks for no firewall; "
        "security groups do its work. Looked at for SSH: firewalld's default zone, ufw's user.rules, the saved rules "
        "of iptables and nftables, FW_SERVICES_EXT_TCP.",
        GUIDE_2021,
    ),
    "selinux": ("warns", "SELinux is enforcing; what the import writes has no labels.", CHECK_ITEMS),
    "guest-agent": ("warns", "qemu-ga is installed, which the image requirements exclude.", GUIDE_2021),
    "local-clock": (
        "note, or warns on arm64",
        "The hardware clock is taken for local time; on ECS it is in UTC, and arm64 asks for that.",
        CHECK_ITEMS,
    ),
    "shared-identity": (
        "note",
        "SSH host keys that nothing makes anew, or a machine id, would be the same on every instance of the image.",
        JUDGEMENT,
    ),
    "guest-unread": (
        "unknown",
        "A file system or a file could not be read: btrfs, LUKS, LVM other than linear, NTFS without the extra "
        "[windows], or damage. Nothing is concluded from it.",
        JUDGEMENT,
    ),
    "windows-client": ("blocks", "The service imports Windows Server, and no Windows 7, 8, 10 or 11.", GUIDE_2021),
    "windows-too-old": (
        "blocks",
        "Windows Server 2003 with Service Pack 1 is the oldest that is imported.",
        GUIDE_2021,
    ),
    "windows-boot-files": (
        "blocks",
        "The boot manager reads Boot\\BCD of the active NTFS partition, or EFI\\Microsoft\\Boot\\BCD of the ESP. All "
        "volumes were looked at, and none has either. What the BCD says is not read.",
        CHECK_ITEMS,
    ),
    "windows-disk-driver": (
        "warns, or blocks before Windows Server 2008",
        "viostor must be in the drivers' directory and start at boot (Start=0). For Windows Server 2008 and later the "
        "service says that the import adds it.",
        VIRTIO,
    ),
    "windows-network-driver": ("warns", "netkvm.sys is the driver of the network cards of ECS.", VIRTIO),
    "windows-nvme-driver": ("note", "stornvme.sys is the driver of NVMe disks.", CHECK_ITEMS),
    "windows-read-only-drivers": (
        "warns",
        "The import puts its own netkvm.sys, balloon.sys, vioser.sys, viostor.sys and pvpanic.sys in place of those of "
        "the community, which must not be read-only.",
        GUIDE_2021,
    ),
    "windows-pending-update": (
        "warns",
        "The key RebootPending of Component Based Servicing, or WinSxS\\pending.xml, is there.",
        CHECK_ITEMS,
    ),
    "windows-volume-dirty": ("warns", "NTFS has a flag that asks for chkdsk; many tools do not write then.", JUDGEMENT),
    "windows-setup": ("warns", "ImageState says that a set-up or sysprep is not finished.", CHECK_ITEMS),
    "windows-filters": (
        "warns",
        "Filter drivers on disks and volumes stop the start when their program is gone.",
        CHECK_ITEMS,
    ),
    "windows-hibernated": ("blocks", "hiberfil.sys holds a session: the file system must not be changed.", JUDGEMENT),
    "windows-device-install": (
        "warns",
        "DeviceInstallDisabled, or Xen's hide_devices, keeps Windows from setting up new hardware.",
        CHECK_ITEMS,
    ),
    "windows-remote-desktop": (
        "warns, or a note where the firewall lets it in",
        "Remote desktop is off or listens on another port than 3389, or a profile of the firewall is on and its rule "
        "for remote desktop is not active.",
        GUIDE_2021,
    ),
}
