"""This file knows the containers of other hypervisors, which ECS does not take but which can be made into a RAW disk.

None of them is read by our own code: they are read through `qemu-nbd` where it is installed, and converted by
`qemu-img`.
"""

import shlex
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path

from aliyun_import.disk.containers.interface import OpenedContainer
from aliyun_import.disk.io.reader import Reader
from aliyun_import.disk.report import Container, Problem
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskFormat

# What qemu calls them: always named to its tools, so that they never guess from the content.
QEMU_NAMES: Mapping[Container, str] = {
    Container.VMDK: "vmdk",
    Container.VHDX: "vhdx",
    Container.VDI: "vdi",
    Container.QCOW1: "qcow",
    Container.QED: "qed",
    Container.PARALLELS: "parallels",
}


def conversion(path: Path, container: Container) -> str:
    """Give the command that converts a file beside itself, ready to be pasted into a shell."""
    name, target = shlex.quote(str(path)), shlex.quote(str(path.with_suffix(".qcow2")))
    return f"qemu-img convert -f {QEMU_NAMES[container]} -O qcow2 {name} {target}"


def open_foreign(file: Reader, container: Container, *, path: Path) -> OpenedContainer:
    """Say what will become of the file. Its disk is for `nbd.py` to open. Raises OSError only."""
    return OpenedContainer(
        container=container,
        format=DiskFormat.RAW,
        virtual_bytes=_virtual_bytes(file, container),
        problems=(_other_hypervisor(container, path),),
    )


def _virtual_bytes(file: Reader, container: Container) -> int | None:
    """Read the size of the disk from a header where it has a fixed place."""
    places = {Container.VDI: ("<Q", 0x170, 1), Container.QCOW1: (">Q", 24, 1), Container.QED: ("<Q", 48, 1)}
    if container is Container.VMDK and file.pread(0, 4) == b"KDMV":
        places[container] = ("<Q", 12, 512)
    if container not in places:
        return None
    form, at, unit = places[container]
    raw = file.pread(at, 8)
    size: int = struct.unpack(form, raw)[0] * unit if len(raw) == 8 else 0
    return size or None


def _other_hypervisor(container: Container, path: Path) -> Problem:
    name, command = container.upper(), conversion(path, container)
    if shutil.which("qemu-img") is None:
        return Problem(
            code="container-foreign",
            severity=Severity.BLOCKS,
            seen=f"The file is {name}, which ECS does not import, and qemu-img, to convert it, is not installed.",
            where="first bytes",
            remedy=f"Install qemu-img (package qemu-utils or qemu-img), or convert it elsewhere: `{command}`.",
            convertible=True,
        )
    return Problem(
        code="container-foreign",
        severity=Severity.NOTE,
        seen=f"The file is {name}, which ECS does not import: it is converted on the way.",
        where="first bytes",
        remedy=f"To keep the converted disk, convert it yourself: `{command}`.",
        convertible=True,
    )
