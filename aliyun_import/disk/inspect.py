"""The inspection of a disk: one call and one report, whatever the disk contains."""

from dataclasses import replace
from pathlib import Path

from aliyun_import.disk.disk import open_source
from aliyun_import.disk.fingerprint import holder_of
from aliyun_import.disk.isolated import Limits, call_isolated
from aliyun_import.disk.report import UNKNOWN, DiskReport
from aliyun_import.errors import DiskEmpty

_EXAMINE = "aliyun_import.disk.examine:examine"


def inspect_disk(path: Path, *, guest: bool = True, limits: Limits | None = None) -> DiskReport:
    """Inspect a disk image or a block device: container, partitions, boot, and with `guest` its operating system.

    The disk is read in a child process with limits. When that ends early it is repeated without the guest; the report
    then contains what is known, and `unknowns` what happened. Takes 0.1 s, with a guest some 0.5 s. Raises DiskError
    when there is no disk: "disk-missing", "disk-kind", "disk-unreadable".
    """
    file_bytes, identity = _opened(path)
    unknowns: tuple[str, ...] = ()
    for depth in ("guest", "layout") if guest else ("layout",):
        outcome = call_isolated(_EXAMINE, [str(path.absolute()), depth], limits=limits or Limits())
        if isinstance(outcome.value, DiskReport):
            return replace(
                outcome.value,
                path=path,
                unknowns=(*unknowns, *outcome.value.unknowns),
                held=holder_of(path),
                identity=identity,
            )
        what = "the operating system" if depth == "guest" else "the disk"
        unknowns = (*unknowns, f"{what} was not inspected: the inspection ended early, {outcome.failure}")
    return DiskReport(
        path=path,
        container=UNKNOWN,
        format=None,
        file_bytes=file_bytes,
        virtual_bytes=None,
        unknowns=unknowns,
        held=holder_of(path),
        identity=identity,
    )


def _opened(path: Path) -> tuple[int, tuple[int, ...]]:
    """Return size and identity of the disk. A missing file is reported here and not by the child."""
    try:
        with open_source(path) as source:
            return source.size_bytes, source.identity()
    except DiskEmpty:  # a problem in the report
        return 0, ()
