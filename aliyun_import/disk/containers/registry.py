"""This file tells what a file is by its content, and opens what can be opened. A suffix is never believed.

It is believed in one place only: a file named .vhd or .qcow2 that is nothing of the kind was cut short or never was
what its owner thinks, and that is said.
"""

from collections.abc import Mapping
from pathlib import Path

from aliyun_import.disk.containers import qcow2_checks, vhd, vhd_checks
from aliyun_import.disk.containers.compressed_checks import COMPRESSED, open_compressed
from aliyun_import.disk.containers.interface import OpenedContainer
from aliyun_import.disk.containers.qemu_formats import QEMU_NAMES, open_foreign
from aliyun_import.disk.containers.vhd_parent import Neighbours
from aliyun_import.disk.filesystems.probe import is_text
from aliyun_import.disk.io.reader import Reader
from aliyun_import.disk.report import Container, Problem
from aliyun_import.limits import MIB
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskFormat

# Smaller than this is no disk that anybody partitions: tools leave the first MiB free.
_SMALLEST_BYTES = MIB
_TEXT_BYTES = 4096
_ISO_AT, _ISO_MAGIC = 32769, b"CD001"
# Offset and bytes of each signature; all of them lie in the first KiB.
_SIGNATURES: tuple[tuple[int, bytes, Container], ...] = (
    (0, b"KDMV", Container.VMDK),
    (0, b"COWD", Container.VMDK),
    (0, b"# Disk DescriptorFile", Container.VMDK),
    (0, b"vhdxfile", Container.VHDX),
    (0x40, b"\x7f\x10\xda\xbe", Container.VDI),
    (0, b"QED\0", Container.QED),
    (0, b"QFI\xfb\0\0\0\x01", Container.QCOW1),
    (0, b"QFI\xfb", Container.QCOW2),
    (0, b"WithoutFreeSpace", Container.PARALLELS),
    (0, b"WithouFreSpacExt", Container.PARALLELS),
    (0, b"\x1f\x8b\x08", Container.GZIP),
    (0, b"\xfd7zXZ\0", Container.XZ),
    (0, b"\x28\xb5\x2f\xfd", Container.ZSTD),
    (0, b"BZh", Container.BZIP2),
    (0, b"\x04\x22\x4d\x18", Container.LZ4),
    (0, b"PK\x03\x04", Container.ZIP),
    (0, b"7z\xbc\xaf\x27\x1c", Container.SEVEN_ZIP),
    (257, b"ustar", Container.TAR),
)
# What a suffix promises. Not .vmdk: the extent of a flat VMDK is named so, and is a RAW disk.
_PROMISES: Mapping[str, tuple[str, str]] = {
    ".vhd": ("VHD", "a footer that begins with `conectix` in its last 512 bytes"),
    ".vpc": ("VHD", "a footer that begins with `conectix` in its last 512 bytes"),
    ".qcow2": ("QCOW2", "`QFI` in its first bytes"),
    ".vhdx": ("VHDX", "`vhdxfile` in its first bytes"),
    ".vdi": ("VDI", "its signature at byte 64"),
}


def identify(file: Reader) -> Container:
    """Name the container of a file that is no VHD by its first bytes; RAW when none is known."""
    if file.size == 0:
        return Container.EMPTY
    head = file.pread(0, _TEXT_BYTES)
    for at, magic, container in _SIGNATURES:
        if head[at : at + len(magic)] == magic and _plausible(container, head):
            return container
    has_table = head[510:512] == b"\x55\xaa"
    # A hybrid ISO has both a boot record and CD001; ECS takes neither.
    if file.pread(_ISO_AT, len(_ISO_MAGIC)) == _ISO_MAGIC:
        return Container.ISO
    if not has_table and is_text(head):
        return Container.UNKNOWN
    return Container.RAW


def open_container(file: Reader, path: Path, *, neighbours: Neighbours | None = None) -> OpenedContainer:
    """Tell what the file is, open the disk in it, and judge the container. Raises OSError only.

    No other file is opened, but for the parents of a differencing VHD, by `neighbours`, where there are any.
    """
    found = vhd.find_footer(file)
    if found is not None:
        footer, at = found
        return vhd_checks.open_vhd(file, footer, at=at, neighbours=neighbours)
    container = identify(file)
    if container is Container.QCOW2:
        return qcow2_checks.open_qcow2(file)
    if container in QEMU_NAMES:
        return open_foreign(file, container, path=path)
    if container in COMPRESSED:
        return open_compressed(file, container, path=path, open_inner=_open_packed)
    if container is Container.RAW:
        return _open_raw(file, path)
    return OpenedContainer(container=container, problems=(_no_disk(container, path),))


def _open_packed(file: Reader, path: Path) -> OpenedContainer:
    """Open what a compressed file holds, but nothing that is compressed in its turn: that may go on for ever."""
    container = identify(file)
    if container in COMPRESSED and vhd.find_footer(file) is None:
        return OpenedContainer(container=container)
    return open_container(file, path)


def _plausible(container: Container, head: bytes) -> bool:
    """Hold a short signature against the bytes behind it: boot code may begin with anything."""
    if container is Container.BZIP2:
        return head[3:4].isdigit() and head[4:10] in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")
    return True


def _open_raw(file: Reader, path: Path) -> OpenedContainer:
    problems = []
    if file.size >= _SMALLEST_BYTES and file.size % 512:
        problems.append(
            Problem(
                code="raw-size-not-512",
                severity=Severity.BLOCKS,
                seen=f"A RAW disk is a whole number of 512-byte sectors, but the file has {file.size} bytes, which is "
                f"{file.size % 512} too many: it was cut short, or something was appended.",
                where=f"byte {file.size // 512 * 512}",
                remedy="Copy the file again from its source, and compare the sizes (and a checksum) of both.",
            )
        )
    if file.size < _SMALLEST_BYTES:
        problems.append(
            Problem(
                code="disk-too-small",
                severity=Severity.BLOCKS,
                seen=f"The file has {file.size} bytes, and nothing that small is a disk with a partition.",
                where="file size",
                remedy="Give the disk image itself; if this is it, copy it again from its source.",
            )
        )
    problems += _broken_promise(path)
    if not problems and _looks_blank(file):
        problems.append(
            Problem(
                code="disk-blank",
                severity=Severity.NOTE,
                seen="The disk holds nothing but zeros wherever it was looked at.",
                where=f"{_SAMPLES} places between byte 0 and {file.size}",
                remedy="Leave it as it is if it is to be an empty data disk; a system disk must hold a system.",
            )
        )
    return OpenedContainer(
        container=Container.RAW,
        format=DiskFormat.RAW,
        virtual_bytes=file.size,
        disk=file,
        problems=tuple(problems),
    )


_SAMPLES = 64


def _looks_blank(file: Reader) -> bool:
    """Look at the first MiB, the last 64 KiB, and places evenly spread between."""
    if any(file.pread(0, MIB)) or any(file.pread(max(file.size - 65536, 0), 65536)):
        return False
    return not any(any(file.pread(file.size // _SAMPLES * place, 65536)) for place in range(1, _SAMPLES))


def _broken_promise(path: Path) -> list[Problem]:
    """Find a file named as a container that it is not: a VHD that lost its footer still reads as a RAW disk."""
    name, mark = _PROMISES.get(path.suffix.lower(), ("", ""))
    if not name:
        return []
    return [
        Problem(
            code="vhd-no-footer" if name == "VHD" else "suffix-not-content",
            severity=Severity.BLOCKS,
            seen=f"The file is named {path.suffix}, but a {name} has {mark}, and there is none: it was cut short, or "
            "it is a RAW disk with a wrong name.",
            where="last 512 bytes" if name == "VHD" else "byte 0",
            remedy="Copy the file again from its source; if it is a RAW disk, rename it to end in .raw.",
        )
    ]


def _no_disk(container: Container, path: Path) -> Problem:
    """Say why a file that is no container of a disk can't be imported."""
    if container is Container.EMPTY:
        return Problem(
            code="file-empty",
            severity=Severity.BLOCKS,
            seen="The file is empty.",
            where="file size",
            remedy="Copy the file again from its source.",
        )
    if container is Container.ISO:
        return Problem(
            code="iso-image",
            severity=Severity.BLOCKS,
            seen="It is an ISO image (an installation medium), and ECS imports no ISO images.",
            where=f"byte {_ISO_AT}: CD001",
            remedy="Install the system from it into a virtual machine, and push that machine's disk.",
        )
    if container is Container.UNKNOWN:
        return Problem(
            code="not-a-disk",
            severity=Severity.BLOCKS,
            seen="The file is plain text and no disk image.",
            where="byte 0",
            remedy="Give the disk image itself, not a file about it (a checksum file, a descriptor, an error page).",
        )
    return Problem(
        code=f"container-{container}",
        severity=Severity.BLOCKS,
        seen=f"The file is {container} data, which ECS does not import and this tool does not unpack.",
        where="first bytes",
        remedy=_UNPACK.get(container, "Unpack the disk image in it, and push that.").format(path=path.name),
    )


_UNPACK = {
    Container.TAR: "Unpack it with `tar -xf {path}` (an .ova is a tar archive), and push the disk image in it.",
    Container.SEVEN_ZIP: "Unpack it with `7z x {path}`, and push the disk image in it.",
    Container.LZ4: "Unpack it with `lz4 -d {path}`, and push the result.",
}
