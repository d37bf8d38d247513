"""Inspection of a disk from its container to its guest, in the isolated child that `inspect.py` starts."""

from dataclasses import replace
from pathlib import Path

from aliyun_import.disk.containers.interface import ContainerFormat, Upload
from aliyun_import.disk.containers.qemu import description, ensure_whole, open_nbd
from aliyun_import.disk.containers.registry import open_container
from aliyun_import.disk.containers.vhd import DiskDirectory
from aliyun_import.disk.guest.inspection import inspect_guest
from aliyun_import.disk.partitions.boot import read_boot
from aliyun_import.disk.partitions.table import read_partitions
from aliyun_import.disk.reader import FileReader, Missing, Reader, ReadProblem
from aliyun_import.disk.report import UNKNOWN, DiskReport, Problem
from aliyun_import.errors import DiskError, QemuImgMissing
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import Architecture

_NEEDS_QEMU = "the disk was not inspected: that requires qemu-img and qemu-nbd (Debian, Ubuntu: package qemu-utils)"


def examine(path: str, name: str, depth: str, descriptor: str) -> DiskReport:
    """Inspect a disk: container, partitions and boot loaders, and with depth "guest" also the guest (else "layout").

    `descriptor` is the number of the inherited descriptor. `path` is for the tools of QEMU and for the parents in the
    same directory, `name` for messages. A read error becomes a problem in the report.
    """
    with FileReader(int(descriptor)) as file, DiskDirectory(Path(path)) as directory:
        report = DiskReport(path=Path(name), container=UNKNOWN, format=None, file_bytes=file.size, virtual_bytes=None)
        try:
            opened = open_container(file, Path(path), name=report.path, open_sibling=directory.open_sibling)
        except OSError as error:
            return replace(report, container_problems=(_read_error(error),))
        report = replace(
            report,
            container=opened.container.name,
            format=opened.format,
            virtual_bytes=opened.virtual_bytes,
            container_problems=opened.problems,
            unknowns=opened.unknowns,
            parents=tuple(directory.path / name for name in opened.parents),
        )
        if opened.container.upload is Upload.BY_QEMU:
            return _through_qemu(report, opened.container, Path(path), depth=depth)
        return report if opened.disk is None else _inspect(report, opened.disk, depth=depth)


def _through_qemu(report: DiskReport, container: ContainerFormat, path: Path, *, depth: str) -> DiskReport:
    """Inspect a disk that only the tools of QEMU can read, if they are installed."""
    try:
        ensure_whole(path, container, name=report.path)
        with open_nbd(description(path, container)) as disk:
            return _inspect(replace(report, virtual_bytes=disk.size), disk, depth=depth)
    except (QemuImgMissing, Missing):
        return replace(report, unknowns=(*report.unknowns, _NEEDS_QEMU))
    except DiskError as error:
        message = f"{error.summary} {error.cause or ''}".strip()
        problem = Problem(code=error.code, severity=Severity.BLOCKS, message=message, remedy=error.remedy)
        return replace(report, container_problems=(*report.container_problems, problem))
    except ReadProblem as problem:
        unknown = f"the disk in the {report.container} was not inspected: {problem.message}"
        return replace(report, unknowns=(*report.unknowns, unknown))


def _inspect(report: DiskReport, disk: Reader, *, depth: str) -> DiskReport:
    """Add the layout and the guest of the disk to the report. A read error ends the inspection and keeps the rest."""
    try:
        report = _with_layout(report, disk)
        return _with_guest(report, disk) if depth == "guest" else report
    except OSError as error:
        return replace(report, container_problems=(*report.container_problems, _read_error(error)))


def _with_layout(report: DiskReport, disk: Reader) -> DiskReport:
    table = read_partitions(disk)
    boot, unknowns = read_boot(disk, table)
    return replace(
        report,
        container_problems=(*report.container_problems, *table.problems),
        table=table.kind,
        partitions=tuple(table.partitions),
        boot=boot,
        architecture=_architecture(boot.architectures),
        unknowns=(*report.unknowns, *unknowns),
        sector_bytes=table.sector_bytes,
    )


def _architecture(found: tuple[Architecture, ...]) -> Architecture | None:
    """Return the architecture of the loaders, or None if there are none or they contradict each other."""
    # A 64-bit system may have an i386 loader beside the x86_64 one, for 32-bit firmware.
    if set(found) == {Architecture.X86_64, Architecture.I386}:
        return Architecture.X86_64
    return found[0] if len(found) == 1 else None


def _with_guest(report: DiskReport, disk: Reader) -> DiskReport:
    guest = inspect_guest(disk, report.partitions)
    return replace(report, guest=guest, architecture=report.architecture or guest.architecture)


def _read_error(error: OSError) -> Problem:
    return Problem(
        code="disk-read-error",
        severity=Severity.BLOCKS,
        message=f"The disk cannot be read: {error.strerror or error}.",
        remedy="Check the log of the kernel (`dmesg`) for the device, and copy the disk to healthy storage.",
    )
