"""Inspection of a disk in a child process. This module does not import the readers, which only the child needs."""

from dataclasses import replace
from pathlib import Path

from aliyun_import.disk.disk import Disk, open_disk
from aliyun_import.disk.fingerprint import holder_of
from aliyun_import.disk.isolated import Limits, call_isolated
from aliyun_import.disk.report import UNKNOWN, DiskReport

_EXAMINE = "aliyun_import.disk.examine:examine"


def inspect_disk(path: Path, *, name: Path | None = None, limits: Limits | None = None) -> DiskReport:
    """Open a disk and inspect it. Raises DiskError as `open_disk` does."""
    with open_disk(path, name=name) as disk:
        return inspect_opened(disk, limits=limits)


def inspect_opened(disk: Disk, *, limits: Limits | None = None) -> DiskReport:
    """Inspect a disk image or a block device: container, partitions, boot, operating system.

    The disk is read in a child process with limits, which inherits its descriptor. If the child ends early, the
    inspection is repeated without the guest, and `unknowns` of the report has the reason. It takes 0.1 s, with a guest
    about 0.5 s.
    """
    path, name = disk.path, disk.name
    unknowns: tuple[str, ...] = ()
    for depth in ("guest", "layout"):
        arguments = [str(path.absolute()), str(name.absolute()), depth, str(disk.descriptor)]
        outcome = call_isolated(_EXAMINE, arguments, limits=limits or Limits(), descriptors=(disk.descriptor,))
        if isinstance(outcome.value, DiskReport):
            return replace(
                outcome.value,
                path=name,
                unknowns=(*unknowns, *outcome.value.unknowns),
                held=holder_of(path),
            )
        part = "the operating system" if depth == "guest" else "the disk"
        unknowns = (*unknowns, f"{part} was not inspected: the inspection ended early, {outcome.failure}")
    return DiskReport(
        path=name,
        container=UNKNOWN,
        format=None,
        file_bytes=disk.size_bytes,
        virtual_bytes=None,
        unknowns=unknowns,
        held=holder_of(path),
    )
