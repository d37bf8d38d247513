"""Changes to copies of real disks: to files in the root file system, and to bytes."""

import gzip
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BIOS, UEFI = "a-mbr-bios.raw", "b-gpt-uefi.raw"
# The same disks without cloud-init, with few drivers in the initramfs, and with a network card that matches their
# configuration: a boot takes a third of the time, and nothing fails in it.
LIGHT, LIGHT_UEFI = "light-bios.raw", "light-uefi.raw"
WHOLE = {LIGHT: BIOS, LIGHT_UEFI: UEFI}
# Offset of the root file system.
ROOT_AT = {BIOS: 2048 * 512, UEFI: 264192 * 512, LIGHT: 2048 * 512, LIGHT_UEFI: 264192 * 512}
ESP_AT = 2048 * 512
GRUB, FSTAB = "/boot/grub/grub.cfg", "/etc/fstab"
ABSENT = "UUID=99999999-2222-4333-8444-cccccccccccc"
BOOT, SYSTEMD = "/boot", "/usr/lib/systemd"
_NEEDED = ("virtio", "ext4", "jbd2", "mbcache", "crc", "nvme", "hv_storvsc", "hv_vmbus", "scsi_")
_DISK_DRIVERS = ("/drivers/block/", "/drivers/nvme/", "/drivers/scsi/", "/drivers/ata/")


@dataclass(frozen=True, slots=True)
class Disk:
    """Copy of a real disk."""

    path: Path
    kind: str

    def run(self, command: str, *, write: bool = False) -> bytes:
        """Run a debugfs command on the root file system, and return its output."""
        program = ["debugfs", *(["-w"] if write else []), "-R", command, f"{self.path}?offset={ROOT_AT[self.kind]}"]
        return subprocess.run(program, check=True, capture_output=True).stdout

    def remove(self, name: str) -> None:
        """Remove a file."""
        self.run(f"rm {name}", write=True)

    def write(self, name: str, content: bytes) -> None:
        """Replace a file."""
        with tempfile.NamedTemporaryFile(dir=self.path.parent) as file:
            file.write(content)
            file.flush()
            self.remove(name)
            self.run(f"write {file.name} {name}", write=True)

    def edit(self, name: str, edit: Callable[[str], str]) -> None:
        """Replace the text of a file, and assert that it changes."""
        before = self.run(f"cat {name}").decode()
        assert before, name
        after = edit(before)
        assert after != before, name
        self.write(name, after.encode())

    def named(self, start: str) -> str:
        """Return the path of the only file in /boot whose name has a prefix."""
        (name,) = [word for word in self.run(f"ls {BOOT}").decode().split() if word.startswith(start)]
        return f"{BOOT}/{name}"

    def fill(self, offset: int, length: int) -> None:
        """Overwrite bytes of the disk with zeros."""
        with self.path.open("r+b") as file:
            file.seek(offset)
            file.write(bytes(length))


Change = Callable[[Disk], None]


def substituted(name: str, old: str, new: str) -> Change:
    """Return a change that replaces a text in a file."""
    return lambda disk: disk.edit(name, lambda text: text.replace(old, new))


def without_lines(name: str, part: str) -> Change:
    """Return a change that removes the lines that contain a text."""
    return lambda disk: disk.edit(
        name, lambda text: "".join(line for line in text.splitlines(keepends=True) if part not in line)
    )


def added(name: str, line: str) -> Change:
    """Return a change that appends a line to a file; it creates the file if needed."""

    def change(disk: Disk) -> None:
        before = disk.run(f"cat {name}")
        disk.write(name, before + line.encode() + b"\n")

    return change


def removed(*names: str) -> Change:
    """Return a change that removes files."""

    def change(disk: Disk) -> None:
        for name in names:
            disk.remove(name)

    return change


def combined(*changes: Change) -> Change:
    """Return a change that makes several changes."""

    def change(disk: Disk) -> None:
        for one in changes:
            one(disk)

    return change


def debugfs(*commands: str) -> Change:
    """Return a change that runs debugfs commands."""

    def change(disk: Disk) -> None:
        for command in commands:
            disk.run(command, write=True)

    return change


def zeros(offset: int, length: int) -> Change:
    """Return a change that overwrites bytes of the disk with zeros."""
    return lambda disk: disk.fill(offset, length)


def boot_file(start: str, edit: Callable[[bytes], bytes]) -> Change:
    """Return a change that edits the file in /boot whose name has a prefix."""

    def change(disk: Disk) -> None:
        name = disk.named(start)
        disk.write(name, edit(disk.run(f"cat {name}")))

    return change


def boot_file_removed(start: str) -> Change:
    """Return a change that removes the file in /boot whose name has a prefix."""
    return lambda disk: disk.remove(disk.named(start))


def initramfs_without(drop: Callable[[str], bool]) -> Change:
    """Return a change that removes files of the initramfs."""
    return boot_file("initrd.img", lambda data: gzip.compress(filtered(gzip.decompress(data), drop), 1))


def filtered(cpio: bytes, drop: Callable[[str], bool]) -> bytes:
    """Return a cpio archive of format newc without some files."""
    kept, at = [], 0
    while True:
        fields = [int(cpio[at + 6 + 8 * number : at + 14 + 8 * number], 16) for number in range(13)]
        size, length = fields[6], fields[11]
        name = cpio[at + 110 : at + 110 + length - 1].decode()
        end = _aligned(_aligned(at + 110 + length) + size)
        if name == "TRAILER!!!" or not drop(name):
            kept.append(cpio[at:end])
        if name == "TRAILER!!!":
            return b"".join(kept)
        at = end


def _aligned(offset: int) -> int:
    return -(-offset // 4) * 4


def is_virtio_disk(name: str) -> bool:
    """Return whether a file is a driver of virtio disks."""
    return "virtio_blk" in name or "virtio_scsi" in name


def is_not_hyper_v(name: str) -> bool:
    """Return whether a file is a driver of disks other than those of Hyper-V."""
    return any(place in name for place in _DISK_DRIVERS) and ("virtio_blk" in name or "hv_storvsc" not in name)


def moved_loader(disk: Disk) -> None:
    """Move the boot loader from the removable path to the path of the distribution."""
    esp = f"{disk.path}@@{ESP_AT}"
    subprocess.run(["mmd", "-i", esp, "::EFI/debian"], check=True)
    subprocess.run(["mmove", "-i", esp, "::EFI/BOOT/BOOTX64.EFI", "::EFI/debian/grubx64.efi"], check=True)


def loader_for_arm(disk: Disk) -> None:
    """Set the machine type in the header of the boot loader to arm64; the file name stays that for x86_64."""
    esp = f"{disk.path}@@{ESP_AT}"
    with tempfile.TemporaryDirectory(dir=disk.path.parent) as directory:
        file = Path(directory, "loader")
        subprocess.run(["mcopy", "-i", esp, "::EFI/BOOT/BOOTX64.EFI", file], check=True)
        data = bytearray(file.read_bytes())
        machine_at = int.from_bytes(data[0x3C:0x40], "little") + 4
        data[machine_at : machine_at + 2] = (0xAA64).to_bytes(2, "little")
        file.write_bytes(data)
        subprocess.run(["mcopy", "-o", "-i", esp, file, "::EFI/BOOT/BOOTX64.EFI"], check=True)


def arm_kernel(_data: bytes) -> bytes:
    """Return the header of a kernel for arm64, padded to 1 MiB."""
    return (bytes(0x38) + b"ARMd").ljust(1 << 20, b"\0")


def is_seldom_needed(name: str) -> bool:
    """Return whether a file of the initramfs is a driver that neither the disk nor its file system needs."""
    return name.endswith(".ko") and not any(part in name for part in _NEEDED)
