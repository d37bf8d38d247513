"""Declaration of checks with `@check`.

A check is a pure function of its subject. Its docstring is its explanation, which `check --explain`, docs/disks.md and
docs/request-checks.md print.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from aliyun_import.disk.guest.report import Evidence, GuestReport, WindowsFacts
from aliyun_import.disk.report import DiskReport
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskRequest, ImportRequest


class Source(StrEnum):
    """Titles of the documents on which the checks are based."""

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
    OSS_NAMES = "OSS developer guide, Naming conventions"
    RAM = "RAM API reference, CreateRole"
    JUDGEMENT = "judgement of this tool: no document of the service requires it"
    VHD = "Virtual Hard Disk Image Format Specification 1.0, and ImportImage's InvalidVHDImage errors"
    QCOW2 = "QEMU, docs/interop/qcow2.txt"
    UEFI = "UEFI specification 2.10, chapter 5 (GPT)"
    QEMU_IMG = "behaviour of qemu-img"
    AZURE = "Azure documentation"


class AppliesTo(StrEnum):
    """What a check applies to. For a check with a function, the type of its argument determines this."""

    CONTAINER = "container"  # found while the disk is read; no function
    BUCKET = "bucket"  # found by the account check, which knows the bucket; no function
    REQUEST = "request"
    ANY_DISK = "any disk"
    SYSTEM_DISK = "system disk"
    GUEST = "guest"  # a system disk whose contents were read
    BOOT = "boot"  # found by starting the disk; no function
    WINDOWS = "windows"  # a system disk with Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSubject:
    """A request with its inferred values. `bucket` and `key` are those of the staging object, if the user set them."""

    request: ImportRequest
    bucket: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSubject:
    """A disk, the request without inferred values, and the part of the request for this disk."""

    report: DiskReport
    request: ImportRequest
    disk: DiskRequest

    @property
    def container_blocks(self) -> bool:
        """Whether a problem of the file itself blocks the import. Its contents are then mostly unknown."""
        return any(problem.severity is Severity.BLOCKS for problem in self.report.container_problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemDiskSubject(DiskSubject):
    """The first disk of an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSubject(DiskSubject):
    """A system disk and the system on it."""

    guest: GuestReport


SUBJECTS: Mapping[type, AppliesTo] = {
    RequestSubject: AppliesTo.REQUEST,
    DiskSubject: AppliesTo.ANY_DISK,
    SystemDiskSubject: AppliesTo.SYSTEM_DISK,
    GuestSubject: AppliesTo.GUEST,
    WindowsFacts: AppliesTo.WINDOWS,
}


@dataclass(frozen=True, slots=True)
class Found:
    """What a check found: a sentence, a remedy (None if there is none) and the place of the evidence.

    `severity` is None if it is the first that the check declares.
    """

    message: str
    remedy: str | None
    where: str = ""
    severity: Severity | None = None


CheckFunction = Callable[..., Found | Iterable[Found] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check. `severities` maps each possible severity to its condition, the usual one first."""

    id: str
    severities: Mapping[Severity, str]
    source: str
    applies_to: AppliesTo
    explanation: str
    function: CheckFunction | None = None

    @property
    def severity(self) -> Severity:
        """The severity of findings that do not have their own."""
        return next(iter(self.severities))

    @property
    def severity_text(self) -> str:
        """All severities in one phrase, such as "blocks, or warns for swap"."""
        phrases = (f"{severity} {when}".rstrip() for severity, when in self.severities.items())
        return ", or ".join(phrases)


def check(
    check_id: str, severity: Severity | Mapping[Severity, str], *, source: str
) -> Callable[[CheckFunction], Check]:
    """Return a decorator that makes a check of a function. The type of its argument determines what it applies to.

    `severity` is that of all findings, or maps each possible severity to its condition, the usual one first.
    """

    def declare(function: CheckFunction) -> Check:
        return declare_check(
            check_id,
            severity,
            inspect.cleandoc(function.__doc__ or ""),
            source=source,
            applies_to=SUBJECTS[next(iter(function.__annotations__.values()))],
            function=function,
        )

    return declare


def declare_check(
    check_id: str,
    severity: Severity | Mapping[Severity, str],
    explanation: str,
    *,
    source: str,
    applies_to: AppliesTo,
    function: CheckFunction | None = None,
) -> Check:
    """Return a check. Each paragraph of `explanation` becomes one line."""
    return Check(
        id=check_id,
        severities={severity: ""} if isinstance(severity, Severity) else severity,
        source=source,
        applies_to=applies_to,
        explanation="\n\n".join(" ".join(paragraph.split()) for paragraph in explanation.split("\n\n")),
        function=function,
    )


def places(evidence: Iterable[Evidence]) -> str:
    """Return the places of the first four pieces of evidence, each once."""
    return ", ".join(dict.fromkeys(one.where for one in list(evidence)[:4]))
