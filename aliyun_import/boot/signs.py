"""Texts of distributions, boot loaders and firmware by which a boot is judged."""

import re
from dataclasses import dataclass

from aliyun_import.model.boot import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """A text and what it means. `{0}` in reason and remedy is the first group that matched."""

    stage: Stage
    pattern: re.Pattern[str]
    reason: str
    remedy: str | None = None


def _sign(stage: Stage, pattern: str, reason: str, remedy: str | None = None) -> Sign:
    return Sign(stage=stage, pattern=re.compile(pattern, re.MULTILINE), reason=reason, remedy=remedy)


_NO_LOADER = "Install a boot loader on the disk for the boot mode that it is imported with (`grub-install`)."
_INITRAMFS = (
    "Rebuild the initramfs with the drivers of the cloud (virtio_blk, virtio_pci, nvme): `update-initramfs -u -k "
    "all` or `dracut --force --regenerate-all --no-hostonly`; then check root= of the boot loader."
)
_FSTAB = "Correct /etc/fstab on the disk, or add the mount option nofail to disks that instances do not have."
_LOADER_FILES = "Regenerate the configuration of the boot loader (`update-grub`, `grub2-mkconfig`)."

# Each of these ends a boot: it does not continue without manual intervention. The most specific ones first.
FAILED: tuple[Sign, ...] = (
    _sign(
        Stage.KERNEL,
        r"(?<!end )Kernel panic - not syncing: (VFS: Unable to mount root fs.*)",
        "The kernel has no root device: {0}.",
        "Give the boot entry an initramfs that has the driver of the root disk. " + _INITRAMFS,
    ),
    _sign(
        Stage.INITRAMFS,
        r"(?<!end )Kernel panic - not syncing: ((?:No working init found|Attempted to kill init|Requested init).*)",
        "The kernel could not run the first program: {0}.",
        "Repair /sbin/init or the initramfs on the disk; the lines before the panic have the cause.",
    ),
    _sign(
        Stage.KERNEL,
        r"(?<!end )Kernel panic - not syncing: (.*)",
        "The kernel panicked: {0}.",
        "Repair the disk in a virtual machine; the lines before the panic have the cause.",
    ),
    _sign(Stage.KERNEL, r"^panic: (.+)$", "The kernel panicked: {0}.", "Repair the disk in a virtual machine."),
    _sign(Stage.INITRAMFS, r"^mountroot> *$", "The kernel has no root device, and asks for one.", _INITRAMFS),
    _sign(
        Stage.INITRAMFS,
        r"^run-init: /bin/init: No such file or directory|^No init found",
        "The system has no init, and a shell runs in its place.",
        "Repair /sbin/init on the disk.",
    ),
    _sign(
        Stage.INITRAMFS,
        r"^\s*\(initramfs\)",
        "The initramfs could not mount the root device, and opened a shell.",
        _INITRAMFS,
    ),
    _sign(
        Stage.INITRAMFS,
        r"^(?:dracut|switch_root|initramfs|emergency):?/?[^\n]{0,20}# *$",
        "The initramfs could not mount the root device, and opened a shell.",
        _INITRAMFS,
    ),
    _sign(
        Stage.INITRAMFS,
        r"rdsosreport\.txt|^\[rootfs [^\n]{0,30}\]# *$|You are now being dropped into an emergency shell"
        r"|Mount(?:ing)? (?:root|boot media):? failed|initramfs emergency recovery shell launched",
        "The initramfs could not mount the root device, and opened a shell.",
        _INITRAMFS,
    ),
    _sign(
        Stage.SYSTEM,
        r"You are in (emergency|rescue) mode|Cannot open access to console, the root account is locked"
        r"|(?:Give root password for|Press Enter for) (?:system )?maintenance",
        "The system stopped in emergency mode.",
        "Repair what failed, which the lines before it name; absent disks in /etc/fstab are the usual cause. " + _FSTAB,
    ),
    _sign(
        Stage.SYSTEM,
        r"systemd\[1\]: (?:Freezing execution|Failed to (?:start up manager|allocate manager object).*)",
        "systemd could not start.",
        "Repair /usr and /etc on the disk: systemd, or what it needs of them, is damaged.",
    ),
    _sign(Stage.LOADER, r"^grub rescue>", "GRUB did not find its files, and stopped at its rescue prompt.", _NO_LOADER),
    _sign(
        Stage.LOADER,
        r"^grub> *$",
        "GRUB has no configuration, and stopped at its prompt.",
        _LOADER_FILES,
    ),
    _sign(
        Stage.LOADER,
        r"(BOOTMGR is (?:missing|compressed)|NTLDR is (?:missing|compressed)|Missing operating system"
        r"|Error loading operating system|Invalid partition table|Operating [Ss]ystem not found"
        r"|A disk read error occurred|Boot Configuration Data .*(?:missing|errors))",
        "The boot loader stopped: {0}.",
        "Repair the boot loader with the installation medium of the system (`bootrec /fixboot`, `bcdboot`).",
    ),
    _sign(
        Stage.LOADER,
        r"^(GRUB (?:Hard Disk|Geom|Read) Error|(?:GRUB )?Error (?:1[5-8]|2[1-5])\b.*|GRUB Loading stage[^\n]*Error.*)",
        "GRUB could not read its own files: {0}.",
        _NO_LOADER,
    ),
    _sign(
        Stage.LOADER,
        r"^This is the sample disk of aliyun-import\. It has no kernel",
        "It is the sample disk that `aliyun-import sandbox disk FILE` writes, which has no kernel.",
        "Test a disk with a system on it.",
    ),
    _sign(
        Stage.FIRMWARE,
        r"No bootable device\.|No bootable option or device was found|^UEFI Interactive Shell|^Shell> *",
        "The firmware found nothing to boot on the disk.",
        _NO_LOADER,
    ),
)

# None of these ends a boot. Each is the cause of a failure that follows, or of a boot that does not continue.
CAUSES: tuple[Sign, ...] = (
    _sign(Stage.INITRAMFS, r"ALERT! +(\S+) does not exist", "the root device {0} is not there"),
    _sign(
        Stage.INITRAMFS,
        r"(?:dracut-initqueue\[\d+\]: )?Warning: (/dev/\S+) does not exist",
        "the root device {0} is not there",
    ),
    _sign(Stage.INITRAMFS, r"Could not boot\.|dracut-initqueue timeout", "the root device did not appear"),
    _sign(Stage.SYSTEM, r"Timed out waiting for device (\S+)", "the device {0} did not appear"),
    _sign(Stage.SYSTEM, r"Dependency failed for (\S+)", "{0} could not start"),
    _sign(Stage.SYSTEM, r"(UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY)", "a file system is damaged ({0})"),
    _sign(
        Stage.LOADER,
        r"error: ((?:no such (?:device|partition)|unknown filesystem|file `?[^\n]* not found|disk `?[^\n]* not found"
        r"|attempt to read or write outside|you need to load the kernel first|symbol `?[^\n]* not found)[^\n]*)",
        "GRUB reports: {0}",
    ),
    _sign(Stage.LOADER, r"(Could not find kernel image[^\n]*|Boot failed: [^\n]*)", "the boot loader reports: {0}"),
    _sign(
        Stage.FIRMWARE,
        r"failed to (?:load|start) (Boot\d{4} [^\n]*)",
        "the firmware could not start {0}",
    ),
    _sign(Stage.KERNEL, r"(BUG: unable to handle [^\n]*|Oops: [^\n]*|Unable to handle kernel [^\n]*)", "{0}"),
)

# The system is up.
BOOTED: tuple[Sign, ...] = (
    _sign(Stage.SYSTEM, r"Cloud-init v\. ?\S+ finished at", "cloud-init finished."),
    _sign(Stage.SYSTEM, r"^(?!Last |.*[Pp]assword)[^\n:]{0,80}\blogin: *$", "The console has a login prompt."),
    _sign(
        Stage.SYSTEM,
        r"Reached target (?:\S+ - )?(?:Multi-User System|Graphical Interface|Login Prompts|multi-user\.target"
        r"|graphical\.target)|systemd\[1\]: Startup finished in .*userspace",
        "systemd reached its target.",
    ),
    _sign(Stage.SYSTEM, r"^SAC> *$|SAC started|The CMD command is now available", "Windows offers its console."),
)

# A system that is up lacks something.
DEGRADED: tuple[Sign, ...] = (
    _sign(Stage.SYSTEM, r"\[ *FAILED *\] Failed to (?:start|mount|activate) ([^\n]*)", "a unit failed: {0}"),
    _sign(Stage.SYSTEM, r"Failed to start (?!up manager)([^\n]*)", "a unit failed: {0}"),
    _sign(Stage.SYSTEM, r"Timed out waiting for device ([^\n]*)", "the device {0} did not appear"),
    _sign(Stage.SYSTEM, r"Dependency failed for ([^\n]*)", "{0} could not start"),
    _sign(
        Stage.SYSTEM,
        r"(No DHCPOFFERS received|No working leases in persistent database|no lease, (?:failing|forking)|DHCP.{0,40}"
        r"timed out|udhcpc: no lease)",
        "the network has no address: {0}",
    ),
    _sign(
        Stage.SYSTEM,
        r"cloud-init\[[^\n]*\.py\[(?:WARNING|ERROR|CRITICAL)\]: ([^\n]{0,200}(?:[Ff]ailed|[Ff]ailure|no response)"
        r"[^\n]{0,40})",
        "cloud-init reports: {0}",
    ),
    _sign(Stage.SYSTEM, r" \* ERROR: ([^\n]*failed to start)", "a service failed: {0}"),
)


def find_sign(signs: tuple[Sign, ...], text: str) -> tuple[Sign, re.Match[str]] | None:
    """Return the first of these signs that a text has, with its last match."""
    for sign in signs:
        found = None
        for found in sign.pattern.finditer(text):  # noqa: B007 -- the last one
            pass
        if found is not None:
            return sign, found
    return None


def format_reason(template: str, match: re.Match[str]) -> str:
    """Return a reason with the first group that matched."""
    group = next((one for one in match.groups() if one), match[0])
    return template.replace("{0}", " ".join(group.split()).rstrip("."))
