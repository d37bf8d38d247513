"""This file holds what a rule about a disk is given, and how it words what it found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aliyun_import.disk.guest.report import Evidence, GuestReport
from aliyun_import.disk.report import DiskReport
from aliyun_import.model.finding import Finding, Severity
from aliyun_import.model.request import DiskRequest, ImportRequest

# The documents behind the rules, by their titles.
API = "ECS API reference, ImportImage"
LINUX_2026 = "ECS user guide, Linux image requirements (2026-04-28)"
GUIDE_2021 = "ECS user guide, Instructions for importing images (2021)"
CHECK_ITEMS = "ECS user guide, Image check items (GUESTOS.*)"
COMPLIANCE = "ECS user guide, Image compliance tool (image_check items)"
VIRTIO = "ECS user guide, Install the virtio driver"
BOOT_MODES = "ECS user guide, Boot modes of instances"
METADATA = "ECS user guide, Instance metadata"
CUSTOMIZED = "ECS user guide, Customize Linux images"
CHECK_OVERVIEW = "ECS user guide, Overview of image check"
JUDGEMENT = "our own judgement: no document of the service asks for it"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleContext:
    """One disk as a rule sees it: the report, what was asked for, and whether it is the system disk."""

    report: DiskReport
    request: ImportRequest
    disk: DiskRequest
    is_system: bool

    @property
    def guest(self) -> GuestReport | None:
        """Give what is known about the system on the disk, None when nobody looked."""
        return self.report.guest if isinstance(self.report.guest, GuestReport) else None

    @property
    def container_blocks(self) -> bool:
        """Tell whether the file itself is no disk that could be imported: little can be said of its contents then."""
        return any(problem.severity is Severity.BLOCKS for problem in self.report.container_problems)

    def finding(
        self, rule: str, severity: Severity, seen: str, *, remedy: str | None, where: str = "", source: str = JUDGEMENT
    ) -> Finding:
        """Word a finding about this disk."""
        return Finding(
            rule=rule,
            severity=severity,
            seen=seen,
            remedy=remedy,
            where=where,
            subject=str(self.report.path),
            source=source,
        )


Rule = Callable[[RuleContext], Finding | None]
# What is said of a rule: the severities that it gives, what it looks at and why, the document.
Text = tuple[str, str, str]


def gib(size_bytes: int) -> str:
    """Say a size for people, in GiB from 1 GiB on; what would look whole and is not is said in bytes."""
    if size_bytes < 1 << 30:
        whole, rest = divmod(size_bytes, 1 << 20)
        return f"{whole} MiB" if whole and not rest else f"{size_bytes} bytes"
    whole, rest = divmod(size_bytes, 1 << 30)
    near = f"{size_bytes / (1 << 30):.2f} GiB"
    return f"{whole} GiB" if not rest else f"{size_bytes} bytes" if near.endswith(".00 GiB") else near


def places(sightings: Sequence[Evidence]) -> str:
    """Say where the first of several things were seen."""
    return ", ".join(dict.fromkeys(sighting.where for sighting in sightings[:4]))
