"""Command line of QEMU for an isolated machine that resembles an instance of ECS."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aliyun_import.boot.metadata import ADDRESS, MAC, NETWORK
from aliyun_import.errors import LocalStateError
from aliyun_import.model.boot import BootMachine, Bus
from aliyun_import.model.request import Architecture, BootMode

MAX_PROCESSORS = 2
# RHEL 9 needs 1.5 GiB, Windows Server 2 GiB.
MEMORY_MIB, MIN_MEMORY_MIB = 2048, 512
_PROGRAMS = {
    Architecture.X86_64: "qemu-system-x86_64",
    Architecture.I386: "qemu-system-x86_64",
    Architecture.ARM64: "qemu-system-aarch64",
}
# The command of each package manager, and what it calls QEMU and its firmware for x86 and for arm64.
_PACKAGES = (
    ("apt-get install", "qemu-system-x86 ovmf", "qemu-system-arm qemu-efi-aarch64"),
    ("dnf install", "qemu-system-x86 edk2-ovmf", "qemu-system-aarch64 edk2-aarch64"),
    ("zypper install", "qemu-x86 qemu-ovmf-x86_64", "qemu-arm qemu-uefi-aarch64"),
    ("pacman -S", "qemu-system-x86 edk2-ovmf", "qemu-system-aarch64 edk2-aarch64"),
    ("apk add", "qemu-system-x86_64 ovmf", "qemu-system-aarch64 aavmf"),
    ("brew install", "qemu", "qemu"),
)
# Code and variables, as distributions install them: Debian and Ubuntu, Fedora and its relatives, Arch, openSUSE, and
# QEMU's own. Secure boot builds are left out: they need a machine with SMM.
_FIRMWARE = {
    Architecture.X86_64: (
        ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
        ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
        ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
        ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
        ("/usr/share/qemu/ovmf-x86_64-4m-code.bin", "/usr/share/qemu/ovmf-x86_64-4m-vars.bin"),
        ("/usr/share/qemu/edk2-x86_64-code.fd", "/usr/share/qemu/edk2-i386-vars.fd"),
    ),
    Architecture.ARM64: (
        ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
        ("/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"),
        ("/usr/share/qemu/aavmf-aarch64-code.bin", "/usr/share/qemu/aavmf-aarch64-vars.bin"),
        ("/usr/share/qemu/edk2-aarch64-code.fd", "/usr/share/qemu/edk2-arm-vars.fd"),
    ),
}
# No other program, no other user, no obsolete system call, no scheduling: bounds what a guest gains by a flaw of QEMU.
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
# SeaBIOS writes its screen to the serial port at this I/O address as well: the second port, so that a boot loader's
# messages are read although the disk has no serial console.
_SCREEN_PORT = (0x2F8).to_bytes(2, "little")


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFiles:
    """Private directory of a run, with the sockets and files that QEMU uses."""

    directory: Path

    @property
    def disk(self) -> Path:
        """Socket of the disk's server."""
        return self.directory / "disk"

    @property
    def console(self) -> Path:
        """Socket of the first serial port."""
        return self.directory / "console"

    @property
    def screen(self) -> Path:
        """Socket of the second serial port, to which BIOS writes its screen."""
        return self.directory / "screen"

    @property
    def monitor(self) -> Path:
        """Socket of the monitor (QMP)."""
        return self.directory / "monitor"

    @property
    def metadata(self) -> Path:
        """Socket of the metadata service."""
        return self.directory / "metadata"

    @property
    def variables(self) -> Path:
        """UEFI variables of this run."""
        return self.directory / "variables"

    @property
    def screen_port(self) -> Path:
        """File with the I/O address of the second serial port."""
        return self.directory / "screen-port"

    @property
    def dump(self) -> Path:
        """File for pictures and memory."""
        return self.directory / "dump"


def find_program(architecture: Architecture) -> str:
    """Return the path of QEMU for an architecture. Raises LocalStateError "qemu-missing"."""
    program = shutil.which(_PROGRAMS[architecture])
    if program is None:
        raise _missing(_PROGRAMS[architecture], architecture)
    return program


def find_firmware(architecture: Architecture) -> tuple[Path, Path]:
    """Return the files of the UEFI firmware: code and variables. Raises LocalStateError "qemu-missing"."""
    known = Architecture.ARM64 if architecture is Architecture.ARM64 else Architecture.X86_64
    for code, variables in _FIRMWARE[known]:
        if Path(code).is_file() and Path(variables).is_file():
            return Path(code), Path(variables)
    raise _missing("the UEFI firmware for QEMU", architecture)


def _missing(what: str, architecture: Architecture) -> LocalStateError:
    return LocalStateError(
        f"A boot test needs {what}, which is not installed.",
        code="qemu-missing",
        remedy=f"Install it ({_installation(architecture)}), or leave the boot test out.",
    )


def _installation(architecture: Architecture) -> str:
    """Return the command that installs the packages, or the usual ones if the package manager is not known."""
    is_arm = architecture is Architecture.ARM64
    commands = [(command, f"`{command} {arm if is_arm else x86}`") for command, x86, arm in _PACKAGES]
    known = [line for command, line in commands if shutil.which(command.partition(" ")[0])]
    return known[0] if known else f"Debian, Ubuntu: {commands[0][1]}; Fedora: {commands[1][1]}"


def memory_mib() -> int:
    """Return the memory of a guest in MiB: at most half of what is available."""
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        available_mib = int(fields["MemAvailable"].split()[0]) // 1024
    except (OSError, KeyError, ValueError):
        return MEMORY_MIB
    return max(MIN_MEMORY_MIB, min(MEMORY_MIB, available_mib // 2))


def processors() -> int:
    """Return the number of processors of a guest."""
    return min(MAX_PROCESSORS, os.cpu_count() or 1)


def write_files(machine: BootMachine, files: MachineFiles) -> None:
    """Write the files that the command line names."""
    files.screen_port.write_bytes(_SCREEN_PORT)
    if machine.boot_mode is BootMode.UEFI:
        _, variables = find_firmware(machine.architecture)
        shutil.copyfile(variables, files.variables)


def command_line(machine: BootMachine, files: MachineFiles) -> list[str]:
    """Return the command line. Raises LocalStateError "qemu-missing"."""
    return [
        find_program(machine.architecture),
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-sandbox", _SANDBOX),
        *("-action", "panic=none"),
        *("-m", str(machine.memory_mib), "-smp", str(machine.processors)),
        *("-rtc", "base=utc"),
        *_board(machine),
        *_firmware(machine, files),
        *_disk(machine, files),
        *_ports(machine, files),
        # The values of ECS, by which cloud-init chooses its data source.
        *("-smbios", "type=1,manufacturer=Alibaba Cloud,product=Alibaba Cloud ECS"),
        *("-netdev", f"user,id=net,restrict=on,net={NETWORK},guestfwd=tcp:{ADDRESS}:80-chardev:metadata"),
        *("-device", f"virtio-net-pci,netdev=net,mac={MAC},romfile="),
    ]


def _board(machine: BootMachine) -> Sequence[str]:
    is_arm = machine.architecture is Architecture.ARM64
    # Emulation with all features of a processor: current distributions need x86-64-v2 or v3. With hv-crash Windows
    # reports the code of a stop error to the machine; only KVM has it.
    processor = "max" if machine.accelerator != "kvm" else "host" if is_arm else "host,hv-crash"
    chosen = ("-accel", machine.accelerator, "-cpu", processor)
    if is_arm:
        return ("-machine", "virt", *chosen, "-device", "virtio-gpu-pci")
    board = "q35" if machine.boot_mode is BootMode.UEFI else "pc"
    return ("-machine", board, *chosen, "-device", "VGA", "-device", "pvpanic")


def _firmware(machine: BootMachine, files: MachineFiles) -> Sequence[str]:
    if machine.boot_mode is BootMode.BIOS:
        return ()
    code, _ = find_firmware(machine.architecture)
    return (
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={_escaped(code)}"),
        *("-drive", f"if=pflash,unit=1,format=raw,file={_escaped(files.variables)}"),
    )


def _disk(machine: BootMachine, files: MachineFiles) -> Sequence[str]:
    device = "virtio-blk-pci" if machine.bus is Bus.VIRTIO else "nvme,serial=boot-test"
    # Writes of the guest go to a temporary file, which QEMU unlinks after opening it.
    source = f"file.driver=nbd,file.server.type=unix,file.server.path={_escaped(files.disk)}"
    return (
        *("-drive", f"if=none,id=disk,format=raw,snapshot=on,{source}"),
        *("-device", f"{device},drive=disk,bootindex=0"),
    )


def _ports(machine: BootMachine, files: MachineFiles) -> Sequence[str]:
    sockets = {"console": files.console, "monitor": files.monitor, "metadata": files.metadata}
    if machine.boot_mode is BootMode.BIOS:
        sockets["screen"] = files.screen
    chardevs = [
        word for name, path in sockets.items() for word in ("-chardev", f"socket,id={name},path={_escaped(path)}")
    ]
    ports = ["-serial", "chardev:console"]
    if machine.boot_mode is BootMode.BIOS:
        ports += ["-serial", "chardev:screen", "-fw_cfg", f"name=etc/sercon-port,file={_escaped(files.screen_port)}"]
    return (*chardevs, *ports, "-mon", "chardev=monitor,mode=control")


def _escaped(path: Path) -> str:
    """Return a path for an option of QEMU, in which a comma is doubled."""
    return str(path).replace(",", ",,")
