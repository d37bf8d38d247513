"""Choice between KVM and emulation, by a boot of a small test disk."""

import os
import platform
import time
from functools import cache
from pathlib import Path

from aliyun_import.boot.guest import start_guest
from aliyun_import.boot.machine import MIN_MEMORY_MIB
from aliyun_import.disk.reader import BytesReader
from aliyun_import.limits import MIB
from aliyun_import.model.boot import BootMachine, Bus
from aliyun_import.model.request import Architecture, BootMode

KVM, TCG = "kvm", "tcg"
_DEVICE = Path("/dev/kvm")
_HOST = {"x86_64": {Architecture.X86_64, Architecture.I386}, "aarch64": {Architecture.ARM64}}
# The test disk takes 0.4 s under emulation, and less with a working KVM.
PROBE_TIMEOUT_S = 6.0
PROBE_LINE = "aliyun-import: this machine runs guests"
# The boot record of the disk, assembled from tests/boot/probe.asm. It has the steps of a boot loader and a kernel:
# real mode, a long loop in protected mode without paging, long mode with paging, three ticks of the timer; then it
# writes the line to the first serial port. A nested KVM without hardware support for the second step emulates it one
# instruction at a time: with such a KVM a boot loader that unpacks itself appears to hang.
_PROBE = bytes.fromhex(
    "fafc6631c08ed88ec08ed0bc007cbf0010b90010f366abc70600100320c70600200330c70600308300c7060042d27cc70602"
    "420800c7060442008ee4920c02e6920f0116f87c0f20c00c010f22c066ea567c00001000b900000002e2fe0f20e00c200f22"
    "e0b8001000000f22d8b9800000c00f3280cc010f300f20c00d000000800f22c0ea8b7c000008000f011c25fe7c0000b011e6"
    "20b020e621b004e621b001e621b0fee62131dbfbf483fb0372f9fabe087d0000ac84c0741488c466bafd03eca82074fb88e0"
    "66baf803eeebe7f4ebfd50ffc3b020e6205848cf90909090000000000000000000000000009a2000ffff0000009acf001700"
    "e07c0000ff0f00400000000000000d0a616c6979756e2d696d706f72743a2074686973206d616368696e652072756e732067"
    "75657374730d0a00"
)


@cache
def choose_accelerator(architecture: Architecture) -> tuple[str, str]:
    """Return the accelerator for an architecture, and why it is not KVM (empty if it is)."""
    if architecture not in _HOST.get(platform.machine(), set()):
        return TCG, f"the disk is for {architecture} and this machine is {platform.machine()}"
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return TCG, f"{_DEVICE} can't be opened" if _DEVICE.exists() else f"there is no {_DEVICE}"
    if runs_probe(KVM, architecture):
        return KVM, ""
    return TCG, f"{_DEVICE} does not boot a small test disk in {PROBE_TIMEOUT_S:g} seconds"


def runs_probe(accelerator: str, architecture: Architecture) -> bool:
    """Return whether a machine with this accelerator boots the test disk in time.

    arm64 has no boot record: there the expected line is one of the firmware, which finds no disk to boot.
    """
    is_arm = architecture is Architecture.ARM64
    machine = BootMachine(
        architecture=architecture,
        boot_mode=BootMode.UEFI if is_arm else BootMode.BIOS,
        bus=Bus.VIRTIO,
        accelerator=accelerator,
        processors=1,
        memory_mib=MIN_MEMORY_MIB,
    )
    with start_guest(machine, BytesReader(probe_disk()), size_bytes=MIB) as guest:
        until_s = time.monotonic() + PROBE_TIMEOUT_S
        while time.monotonic() < until_s and not guest.ended:
            guest.poll(0.1)
            if ("BdsDxe" if is_arm else PROBE_LINE) in guest.console.text:
                return True
    return False


def probe_disk() -> bytes:
    """Return the test disk: a boot record and zeros."""
    return (_PROBE.ljust(510, b"\0") + b"\x55\xaa").ljust(MIB, b"\0")
