"""Disks with guests: trees in memory, and images composed of fixtures/."""

from collections.abc import Mapping
from dataclasses import replace

from aliyun_import.disk.filesystems.registry import Volume
from aliyun_import.disk.guest.inspection import disk_names, inspect_systems
from aliyun_import.disk.guest.report import GuestReport
from aliyun_import.disk.guest.systems import find_systems
from aliyun_import.disk.reader import BytesReader
from aliyun_import.disk.report import Partition
from tests.disk import build
from tests.disk.build import MIB, SECTOR, Part
from tests.disk.fixtures import image
from tests.disk.memory import MemoryFiles
from tests.disk.trees import BOOT_UUID, ROOT_UUID, Link

# The extents of the volumes of lvm-head, of 1 MiB each, in the order of the volume root.
ROOT_EXTENTS = (*range(4, 10), *range(13, 23))


def inspect_tree(
    root: Mapping[str, bytes | Link],
    *,
    boot: Mapping[str, bytes | Link] | None = None,
    volume: str = "",
    immutable: tuple[str, ...] = (),
) -> GuestReport:
    """Inspect a tree in memory as the root of a disk, and another one as its /boot."""
    opened = {_volume(2, ROOT_UUID, name=volume): MemoryFiles(root, immutable=immutable)}
    if boot is not None:
        opened[_volume(1, BOOT_UUID)] = MemoryFiles(boot)
    names = disk_names([_partition(found) for found in opened], list(opened))
    return inspect_systems(find_systems(opened, []), opened, names)


def debian_disk(name: str = "guest-debian") -> bytes:
    """Build a BIOS disk with a guest of fixtures/ in its one partition."""
    root = image(name)
    disk = build.mbr(MIB + len(root), [Part(2048, len(root) // SECTOR, 0x83, active=True)], code=build.grub_code())
    build.write_at(disk, SECTOR, b"\x52GRUB core" + bytes(100))
    return bytes(build.write_at(disk, MIB, root))


def rhel_disk() -> bytes:
    """Build a UEFI disk: an ESP, an XFS /boot, and an XFS root on a logical volume of two segments."""
    boot, root, head = image("guest-rhel-boot"), image("guest-rhel-root"), image("lvm-head")
    boot_at, volume_at = 2 * MIB, 2 * MIB + len(boot)
    volume_bytes = 64 * MIB
    parts = [
        Part(2048, 2048, build.ESP, name="ESP"),
        Part(boot_at // SECTOR, len(boot) // SECTOR, build.LINUX),
        Part(volume_at // SECTOR, volume_bytes // SECTOR, "e6d6d379-f507-44c2-a23c-238f2a3df928"),
    ]
    disk = build.gpt(volume_at + volume_bytes + MIB, parts)
    build.write_at(disk, MIB, build.fat({"EFI/BOOT/BOOTX64.EFI": build.pe_program()}))
    build.write_at(disk, boot_at, boot)
    build.write_at(disk, volume_at, head)
    for index, extent in enumerate(ROOT_EXTENTS):
        build.write_at(disk, volume_at + (extent + 1) * MIB, root[index * MIB : (index + 1) * MIB])
    return bytes(disk)


def _volume(number: int, uuid: str, *, name: str = "") -> Volume:
    part = Partition(
        number=number,
        start_bytes=MIB * number,
        size_bytes=1 << 30,
        type_name="Linux",
        type_id="0x83",
        filesystem="ext4",
        uuid=uuid,
    )
    return Volume(part=part, reader=BytesReader(b""), name=name)


def _partition(volume: Volume) -> Partition:
    return replace(volume.part, filesystem="lvm", uuid="") if volume.name else volume.part
