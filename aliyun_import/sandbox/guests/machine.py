"""Command line of QEMU for the guest of an instance, without access to the network and to files of the host.

QEMU inherits all files and sockets as descriptors without a name, so that a killed sandbox leaves no files.
"""

import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from aliyun_import.sandbox.guests.metadata import ADDRESS, MAC, NETWORK

MAX_PROCESSORS = 2
# RHEL 9 needs 1.5 GiB, Windows Server 2 GiB.
MAX_MEMORY_MIB, MIN_MEMORY_MIB = 2048, 512
# Run by a Python interpreter. The kernel kills QEMU when the sandbox ends, also after a kill.
_LAUNCHER = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the sandbox has ended")
os.execv(sys.argv[2], sys.argv[2:])
"""
_PROGRAMS: Mapping[str, str] = MappingProxyType(
    {"x86_64": "qemu-system-x86_64", "i386": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}
)
# (code, variables) in the locations of Debian, Ubuntu, Fedora, Arch, openSUSE and QEMU.
_X86_FIRMWARE = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/qemu/ovmf-x86_64-4m-code.bin", "/usr/share/qemu/ovmf-x86_64-4m-vars.bin"),
    ("/usr/share/qemu/edk2-x86_64-code.fd", "/usr/share/qemu/edk2-i386-vars.fd"),
)
_ARM_FIRMWARE = (
    ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
    ("/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"),
    ("/usr/share/qemu/aavmf-aarch64-code.bin", "/usr/share/qemu/aavmf-aarch64-vars.bin"),
    ("/usr/share/qemu/edk2-aarch64-code.fd", "/usr/share/qemu/edk2-arm-vars.fd"),
)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Virtual machine of a guest."""

    architecture: str
    is_uefi: bool
    is_nvme: bool
    processors: int
    memory_mib: int
    accelerator: str = "tcg"


@dataclass(frozen=True, kw_only=True)
class Descriptors:
    """Descriptors that QEMU inherits. `disks` are (format, descriptor).

    `variables` is the file of the UEFI variables, once for reading and once for writing because QEMU opens it twice;
    empty for BIOS.
    """

    disks: Sequence[tuple[str, int]]
    monitor: int
    metadata: int
    screen: int
    variables: Sequence[int] = ()

    def all(self) -> Iterator[int]:
        """Yield all descriptors."""
        yield from (descriptor for _, descriptor in self.disks)
        yield from (self.monitor, self.metadata, self.screen, *self.variables)


def program(architecture: str) -> str | None:
    """Return the path of QEMU for an architecture, or None if it is not installed."""
    return shutil.which(_PROGRAMS[architecture])


def firmware(architecture: str) -> tuple[Path, Path] | None:
    """Return the files of the UEFI firmware as (code, variables), or None if it is not installed."""
    known = _ARM_FIRMWARE if architecture == "arm64" else _X86_FIRMWARE
    return next(((Path(a), Path(b)) for a, b in known if Path(a).is_file() and Path(b).is_file()), None)


def unsupported_reason(architecture: str, *, is_uefi: bool) -> str:
    """Return the reason why a guest cannot be started on this machine; an empty string if it can."""
    if program(architecture) is None:
        return f"{_PROGRAMS[architecture]} is not installed"
    if is_uefi and firmware(architecture) is None:
        return f"the UEFI firmware of QEMU for {architecture} is not installed"
    return ""


def memory_mib(wanted_mib: int) -> int:
    """Return the memory of a guest: at most half of the available memory."""
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        available_mib = int(fields["MemAvailable"].split()[0]) // 1024
    except (OSError, KeyError, ValueError):
        available_mib = 2 * MAX_MEMORY_MIB
    return max(MIN_MEMORY_MIB, min(wanted_mib, MAX_MEMORY_MIB, available_mib // 2))


def processors(wanted: int) -> int:
    """Return the number of processors of a guest."""
    return min(wanted, MAX_PROCESSORS, os.cpu_count() or 1)


def may_have_kvm(architecture: str) -> bool:
    """Return whether KVM of this machine supports an architecture and can be opened."""
    native = {"x86_64": ("x86_64", "i386"), "aarch64": ("arm64",)}.get(platform.machine(), ())
    return architecture in native and os.access("/dev/kvm", os.R_OK | os.W_OK)


def launcher_command(interpreter: str, command: Sequence[str]) -> list[str]:
    """Return the command line that runs a command and ends it with this process."""
    return [interpreter, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command]


def command_line(machine: Machine, given: Descriptors) -> list[str]:
    """Return the command line of QEMU. Raises LookupError if QEMU or its firmware is not installed."""
    path = program(machine.architecture)
    if path is None:
        raise LookupError(machine.architecture)
    return [
        path,
        *("-nodefaults", "-no-user-config", "-display", "none"),
        # No other programs, users or scheduling: this limits the damage by a guest that exploits a bug of QEMU.
        *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
        *("-action", "panic=none", "-rtc", "base=utc"),
        *("-m", str(machine.memory_mib), "-smp", str(machine.processors)),
        *_board(machine),
        *_sets(given),
        *_firmware(machine),
        *_disks(machine, given),
        *("-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"),
        *("-chardev", f"socket,id=monitor,fd={given.monitor}", "-mon", "chardev=monitor,mode=control"),
        *("-chardev", f"socket,id=metadata,fd={given.metadata}"),
        # The values of ECS: cloud-init selects its data source by them.
        *("-smbios", "type=1,manufacturer=Alibaba Cloud,product=Alibaba Cloud ECS"),
        *("-netdev", f"user,id=net,restrict=on,net={NETWORK},guestfwd=tcp:{ADDRESS}:80-chardev:metadata"),
        *("-device", f"virtio-net-pci,netdev=net,mac={MAC},romfile="),
    ]


# Sets of descriptors. QEMU opens a descriptor as /dev/fdset/N.
_SCREEN_SET, _VARIABLES_SET, _FIRST_DISK_SET = 1, 2, 3
SCREEN = f"/dev/fdset/{_SCREEN_SET}"


def _sets(given: Descriptors) -> Iterator[str]:
    sets = [(_SCREEN_SET, given.screen), *((_VARIABLES_SET, each) for each in given.variables)]
    sets += [(_FIRST_DISK_SET + number, each) for number, (_, each) in enumerate(given.disks)]
    for number, descriptor in sets:
        yield from ("-add-fd", f"fd={descriptor},set={number}")


def _board(machine: Machine) -> Sequence[str]:
    # `max` emulates all features that QEMU supports: current distributions need x86-64-v2 or v3.
    chosen = ("-accel", machine.accelerator, "-cpu", "host" if machine.accelerator == "kvm" else "max")
    if machine.architecture == "arm64":
        return ("-machine", "virt", *chosen, "-device", "virtio-gpu-pci")
    return ("-machine", "q35" if machine.is_uefi else "pc", *chosen, "-device", "VGA")


def _firmware(machine: Machine) -> Sequence[str]:
    if not machine.is_uefi:
        return ()
    found = firmware(machine.architecture)
    if found is None:
        raise LookupError(machine.architecture)
    code = str(found[0]).replace(",", ",,")
    return (
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}"),
        *(
            "-drive",
            f"if=pflash,unit=1,format=raw,file.driver=file,file.locking=off,file.filename=/dev/fdset/{_VARIABLES_SET}",
        ),
    )


def _disks(machine: Machine, given: Descriptors) -> Iterator[str]:
    for number, (kind, _) in enumerate(given.disks):
        device = f"nvme,serial=disk{number}" if machine.is_nvme else "virtio-blk-pci"
        # By default, QEMU computes the size of some VHDs from their geometry. An import takes it from the footer. The
        # guest writes to a temporary file (snapshot=on), which QEMU unlinks after opening it.
        size = ",force_size_calc=current_size" if kind == "vpc" else ""
        file = f"file.driver=file,file.locking=off,file.filename=/dev/fdset/{_FIRST_DISK_SET + number}"
        yield from ("-drive", f"if=none,id=disk{number},snapshot=on,driver={kind}{size},{file}")
        yield from ("-device", f"{device},drive=disk{number},bootindex={number}")
