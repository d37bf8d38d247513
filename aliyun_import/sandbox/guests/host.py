"""Host of guests: the guests of instances, and the choice of the accelerator."""

import threading
import time
from dataclasses import replace

from aliyun_import.sandbox.core.state import State
from aliyun_import.sandbox.ecs import catalog
from aliyun_import.sandbox.ecs.catalog import InstanceType
from aliyun_import.sandbox.ecs.state import Ecs, Image, Instance
from aliyun_import.sandbox.guests import machine as machines
from aliyun_import.sandbox.guests.guest import Guest
from aliyun_import.sandbox.guests.machine import Machine
from aliyun_import.sandbox.guests.metadata import Metadata
from aliyun_import.sandbox.importer.formats import DRIVERS

GIB = 1 << 30
# The probe takes 0.4 s under emulation, and less on a working KVM.
PROBE_TIMEOUT_S = 6.0
_PROBE_LINE, _FIRMWARE_LINE = b"this machine runs guests", b"BdsDxe"
# A boot record, assembled from tests/boot/probe.asm. It performs the steps of a boot loader and a kernel, and writes a
# line. On some nested hosts, /dev/kvm can be opened but hangs in one of these steps.
_PROBE = bytes.fromhex(
    "fafc6631c08ed88ec08ed0bc007cbf0010b90010f366abc70600100320c70600200330c70600308300c7060042d27cc70602"
    "420800c7060442008ee4920c02e6920f0116f87c0f20c00c010f22c066ea567c00001000b900000002e2fe0f20e00c200f22"
    "e0b8001000000f22d8b9800000c00f3280cc010f300f20c00d000000800f22c0ea8b7c000008000f011c25fe7c0000b011e6"
    "20b020e621b004e621b001e621b0fee62131dbfbf483fb0372f9fabe087d0000ac84c0741488c466bafd03eca82074fb88e0"
    "66baf803eeebe7f4ebfd50ffc3b020e6205848cf90909090000000000000000000000000009a2000ffff0000009acf001700"
    "e07c0000ff0f00400000000000000d0a616c6979756e2d696d706f72743a2074686973206d616368696e652072756e732067"
    "75657374730d0a00"
)


class Host:
    """Guests of all instances of a sandbox. Callers hold the lock of the state."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._guests: dict[str, Guest] = {}
        self._stopping = threading.Event()
        self._probe_lock = threading.Lock()
        self._kvm_works: dict[str, bool] = {}

    @property
    def running(self) -> int:
        """Return the number of running guests."""
        return sum(1 for each in self._guests.values() if not each.ended.is_set())

    def guest_of(self, instance: Instance) -> Guest | None:
        """Return the guest of an instance, or None.

        A guest that does not run yet is started: with its instance, and again after a restart of the sandbox.
        """
        if instance.image is None:
            return None
        self._guests = {key: each for key, each in self._guests.items() if key in self._state.part(Ecs).instances}
        if instance.id not in self._guests:
            self._guests[instance.id] = self._start(instance, instance.image)
        return self._guests[instance.id]

    def _start(self, instance: Instance, image: Image) -> Guest:
        kind = catalog.instance_type(instance.instance_type)
        machine = Machine(
            architecture=image.architecture,
            is_uefi=_is_uefi(image, kind),
            is_nvme=kind.nvme == "required",
            processors=machines.processors(kind.cores),
            memory_mib=machines.memory_mib(kind.memory_gib * 1024),
        )
        sizes = [instance.disk_gib, *(disk.size_gib for disk in image.disks[1:])]
        return Guest(
            [(DRIVERS[disk.format], disk.content, gib * GIB) for disk, gib in zip(image.disks, sizes, strict=True)],
            lambda: replace(machine, accelerator=self._accelerator(machine)),
            metadata=Metadata.of(instance),
            directory=self._state.directory,
            is_needed=lambda: not self._stopping.is_set() and self._exists(instance.id),
        )

    def stop(self) -> None:
        """End all guests."""
        self._stopping.set()
        for each in self._guests.values():
            each.thread.join()

    def _exists(self, instance_id: str) -> bool:
        # An operation may hold the lock and wait for this thread, so this thread must not wait for the lock.
        if not self._state.lock.acquire(blocking=False):
            return True
        try:
            instance = self._state.part(Ecs).instances.get(instance_id)
            now_s = self._state.clock.now_s()
            return instance is not None and (instance.auto_release_s is None or now_s < instance.auto_release_s)
        finally:
            self._state.lock.release()

    def _accelerator(self, machine: Machine) -> str:
        """Return kvm if KVM can run the probe, otherwise tcg (emulation)."""
        if not machines.may_have_kvm(machine.architecture):
            return "tcg"
        with self._probe_lock:
            if machine.architecture not in self._kvm_works:
                self._kvm_works[machine.architecture] = self._runs_probe(machine)
            return "kvm" if self._kvm_works[machine.architecture] else "tcg"

    def _runs_probe(self, machine: Machine) -> bool:
        line = _FIRMWARE_LINE if machine.architecture == "arm64" else _PROBE_LINE
        probe = replace(
            machine, is_uefi=machine.architecture == "arm64", accelerator="kvm", memory_mib=machines.MIN_MEMORY_MIB
        )
        content = self._state.blobs.receive([(_PROBE.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0")]).content
        until_s = time.monotonic() + PROBE_TIMEOUT_S
        guest = Guest(
            [("raw", content, 1 << 20)],
            lambda: probe,
            metadata=Metadata(),
            directory=self._state.directory,
            is_needed=lambda: time.monotonic() < until_s and not self._stopping.is_set() and line not in guest.output,
        )
        guest.thread.join()
        return line in guest.output


def unsupported_reason(image: Image, kind: InstanceType) -> str:
    """Return the reason why an image cannot run as a guest on this machine; an empty string if it can."""
    for disk in image.disks:
        if not disk.content.size:
            return "the sandbox has no bytes of the image"
        if disk.format == "VMDK":
            # The descriptor may name any file of this machine as an extent or a parent, and QEMU would open it.
            return "a VMDK may refer to other files, which the sandbox does not open"
    return machines.unsupported_reason(image.architecture, is_uefi=_is_uefi(image, kind))


def _is_uefi(image: Image, kind: InstanceType) -> bool:
    return image.boot_mode == "UEFI" or (image.boot_mode == "UEFI-Preferred" and "UEFI" in kind.boot_modes)
