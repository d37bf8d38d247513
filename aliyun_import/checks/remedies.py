"""Commands in remedies, chosen by the tools that are installed in the guest."""

import shlex
from pathlib import Path

from aliyun_import.disk.guest.report import GuestReport, Kernel
from aliyun_import.model.request import Architecture


def rebuild_initramfs(guest: GuestReport, kernel: Kernel) -> str:
    """Return the sentence that describes how to add the virtio and nvme drivers to an initramfs of the guest."""
    names = ["virtio_blk", "virtio_pci", "virtio_net"]
    if guest.architecture is not Architecture.I386:  # no i386 instance has NVMe disks
        names.append("nvme")
    # The path of a file on a partition that the guest does not mount is no path of the source system.
    output = f" {kernel.initramfs}" if kernel.initramfs.startswith(("/boot", "/efi")) else ""
    drivers, version = " ".join(names), kernel.version or "VERSION"
    commands = {
        "update-initramfs": f"add {drivers} to /etc/initramfs-tools/modules, one per line, then run "
        f"update-initramfs -u -k {version}",
        "mkinitcpio": f"add {drivers} to MODULES=() in /etc/mkinitcpio.conf, then run mkinitcpio -P",
        "mkinitfs": f"add virtio and nvme to features= in /etc/mkinitfs/mkinitfs.conf, then run mkinitfs {version}",
        "booster": f"add modules: {','.join(names)} to /etc/booster.yaml, then run /usr/lib/booster/regenerate_images",
        "nixos-rebuild": f"add {drivers} to boot.initrd.availableKernelModules, then run nixos-rebuild boot",
        "genkernel": "enable VIRTIO_BLK and VIRTIO_PCI in the configuration of the kernel, then run genkernel all",
        "mkinitrd": f"add {drivers} to INITRD_MODULES in /etc/sysconfig/kernel, then run mkinitrd",
        "dracut": f'run: dracut -f --add-drivers "{drivers}"{output} {version}',
    }
    tool = _tool_of(guest, kernel, commands)
    return f"On the source system {commands[tool]}."


def start_command(path: Path) -> str:
    """Return the command that starts a disk on this machine and reports whether it boots, quoted for a shell."""
    return f"`aliyun-import check --boot {shlex.quote(str(path))}`"


def regenerate_menu(guest: GuestReport) -> str:
    """Return the command that regenerates the configuration of the guest's boot loader."""
    commands = {
        "update-grub": "update-grub",
        "grub2-mkconfig": "grub2-mkconfig -o /boot/grub2/grub.cfg",
        "grub-mkconfig": "grub-mkconfig -o /boot/grub/grub.cfg",
        "nixos-rebuild": "nixos-rebuild boot",
        "lilo": "lilo",
    }
    found = next((command for tool, command in commands.items() if tool in guest.tools), "")
    return found or "update-grub, or grub2-mkconfig -o /boot/grub2/grub.cfg"


def _tool_of(guest: GuestReport, kernel: Kernel, commands: dict[str, str]) -> str:
    """Return the tool that the guest has. Without any, return the one that fits the name of the initramfs."""
    usual = "update-initramfs" if "initrd.img" in kernel.initramfs else "dracut"
    # Debian has update-initramfs beside dracut if both are installed, and openSUSE mkinitrd as a link to dracut.
    present = [tool for tool in commands if tool in guest.tools and (tool != "mkinitrd" or "dracut" not in guest.tools)]
    return present[0] if present else usual
