"""Scripted consoles of instances. Their first line states that no guest ran.

The other lines are messages of Linux, GRUB, dracut, initramfs-tools, systemd and cloud-init in these cases.
"""

from collections.abc import Mapping
from types import MappingProxyType

_NOTE = "aliyun-import sandbox: scripted console, no guest ran and the image was not started"
_KERNEL = """\
[    0.000000] Linux version 6.1.0-18-cloud-amd64 (debian-kernel@lists.debian.org) (gcc-12 12.2.0)
[    0.000000] Command line: BOOT_IMAGE=/boot/vmlinuz-6.1.0-18-cloud-amd64 root=UUID=00000000-0000-4000-8000-000000000001 ro console=tty0 console=ttyS0,115200n8
[    0.512332] virtio_blk virtio2: [vda] 41943040 512-byte logical blocks (21.5 GB/20.0 GiB)
"""  # noqa: E501 - one line of a console
_BOOTED = """\
[    1.204455] EXT4-fs (vda1): mounted filesystem with ordered data mode. Quota mode: none.
[    1.602211] systemd[1]: Detected virtualization kvm.
[  OK  ] Finished Network Configuration.
[  OK  ] Reached target Multi-User System.
"""
_CLOUD_INIT = (
    "[   11.402310] cloud-init[702]: Cloud-init v. 22.4.2 finished at Tue, 24 Nov 2026 10:00:41 +0000. "
    "Datasource DataSourceAliYun.  Up 11.40 seconds\n"
)
_LOGIN = "\nDebian GNU/Linux 12 sandbox ttyS0\n\nsandbox login: "

TEXTS: Mapping[str, str] = MappingProxyType(
    {
        "boots": _KERNEL + _BOOTED + _CLOUD_INIT + _LOGIN,
        "degraded": _KERNEL + _BOOTED.replace("[  OK  ] Finished Network", "[FAILED] Failed to start Network") + _LOGIN,
        "panic": _KERNEL
        + "[    1.310022] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n"
        + "[    1.310301] CPU: 0 PID: 1 Comm: swapper/0 Not tainted 6.1.0-18-cloud-amd64\n",
        "no-root": _KERNEL
        + "Gave up waiting for root file system device.  Common problems:\n"
        + "ALERT!  UUID=00000000-0000-4000-8000-000000000001 does not exist.  Dropping to a shell!\n(initramfs) ",
        "dracut": _KERNEL
        + "[  190.100332] dracut-initqueue[310]: Warning: dracut-initqueue timeout - starting timeout scripts\n"
        + "[  191.422004] dracut-initqueue[310]: Warning: Could not boot.\n",
        "emergency": _KERNEL
        + "[DEPEND] Dependency failed for Local File Systems.\nYou are in emergency mode.\n"
        + "Give root password for maintenance\n(or press Control-D to continue): ",
        "grub": "error: no such device: 00000000-0000-4000-8000-000000000001.\n"
        + "Entering rescue mode...\ngrub rescue> ",
        "no-disk": "Booting from Hard Disk...\nBoot failed: not a bootable disk\n\nNo bootable device.\n",
        "silent": "",
    }
)


def console(name: str, *, reason: str) -> str:
    """Return a scripted console. `reason` is the reason why no guest ran; empty if none was requested."""
    return f"{_NOTE}{f' ({reason})' if reason else ''}.\n{TEXTS[name]}"


# Picture with the text "sandbox: no guest runs", as base64 of a JPEG, like the screenshots of the service.
SCREEN = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAEMuMjoyKkM6NjpLR0NPZKZsZFxcZMySmnmm8dT++u3U6eX//////////+Xp////////"
    "////////////////////wgALCAAYAKABAREA/8QAFwABAQEBAAAAAAAAAAAAAAAAAAECBP/aAAgBAQAAAAHnAAAa1NTNWBgACwAH"
    "/8QAGhAAAQUBAAAAAAAAAAAAAAAAAAEQEUBBIf/aAAgBAQABBQKohDwa0dMZUt//xAAXEAADAQAAAAAAAAAAAAAAAAAgQIFQ/9oA"
    "CAEBAAY/Al6NwP/EAB8QAAICAQQDAAAAAAAAAAAAAAERACFBMFFhgTFA4f/aAAgBAQABPyH1BeIgVbxU11CHjKJ9iqFmAAhrqLzT"
    "4nBCChCKothiEAOtoAA1rArV/9oACAEBAAAAEP8A/wD6Rn/+/wD/AP/EACUQAQACAgEDAgcAAAAAAAAAAAERIQBRMTBhcaHRQEGB"
    "kcHh8P/aAAgBAQABPxD4QJTL8Yol3O8GBQJqbbfbASMix1xljJANbG/7eAWQGEfXIAtcWvj3yMwkI8N/bIoCQIfFfvCNS8Xv1woA"
    "LH51ziVSwKd2sBlJNtl5AHBbfPWTh6k4ssvPU//Z"
)
