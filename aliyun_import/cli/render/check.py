"""This file sets out what `check` found: a block for each disk for people, a document for scripts."""

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from aliyun_import.cli.render.result import Outcome, columns, table
from aliyun_import.cli.render.text import count
from aliyun_import.disk.guest.report import GuestReport
from aliyun_import.errors import Exit
from aliyun_import.model.finding import Finding, Severity
from aliyun_import.push.inspect_stage import Checked, summary
from aliyun_import.sizes import size

MARKS = {Severity.BLOCKS: "✗", Severity.WARNS: "!", Severity.NOTE: "·", Severity.UNKNOWN: "?"}


# The parameters of ImportImage by their own names, with which docs/disks.md explains them.
_PARAMETERS = {
    "format": "Format",
    "size_gib": "DiskImageSize",
    "boot_mode": "BootMode",
    "architecture": "Architecture",
    "os_type": "OSType",
    "platform": "Platform",
    "nvme_support": "NvmeSupport",
    "license_type": "LicenseType",
}


def check_outcome(checked: Sequence[Checked], *, width: int | None = None) -> Outcome:
    """Give the result for all disks; exit 3 when anything blocks on any of them.

    `width` is that of the terminal, to which the text is wrapped; None leaves each finding on a line.
    """
    blocked = any(finding.severity is Severity.BLOCKS for one in checked for finding in one.findings)
    blocks = [_text(one, width) for one in checked]
    return Outcome(
        document={"command": "check", "disks": [_document(one) for one in checked]},
        text="\n\n".join(blocks if len(checked) == 1 else [*blocks, _overview(checked, width)]),
        exit_code=Exit.DISK if blocked else Exit.DONE,
    )


def _document(one: Checked) -> dict[str, Any]:
    report = one.report
    filled = {name: value for name, value in asdict(one.filled).items() if value is not None and name != "evidence"}
    return {
        "path": str(report.path),
        "container": report.container,
        "file_bytes": report.file_bytes,
        "virtual_bytes": report.virtual_bytes,
        "table": report.table.value,
        "partitions": [asdict(partition) for partition in report.partitions],
        "boot": asdict(report.boot),
        "guest": asdict(report.guest) if isinstance(report.guest, GuestReport) else None,
        "unknowns": list(report.unknowns),
        "importable": not any(finding.severity is Severity.BLOCKS for finding in one.findings),
        "parameters": filled,
        "evidence": list(one.filled.evidence),
        "findings": [asdict(finding) for finding in one.findings],
    }


def _text(one: Checked, width: int | None) -> str:
    report = one.report
    parts = [
        (
            f"partition {part.number}" if part.number else "the whole disk",
            size(part.size_bytes),
            part.type_name if part.number else "",
            part.filesystem,
            part.label,
            "active" if part.active else "",
        )
        for part in report.partitions
    ]
    read = [_parameter(line) for line in one.filled.evidence]
    sections = [
        _wrapped(f"{report.path}: {summary(report)}", width, indent="  ").splitlines(),
        _indented(columns(parts)),
        [
            line
            for row, (*_, why) in zip(_indented(columns(read)), read, strict=True)
            for line in _wrapped(row, width, indent=" " * (len(row) - len(why))).splitlines()
        ],
        [line for finding in one.findings for line in _finding_lines(finding, width)],
        _wrapped(_verdict_line(one.findings), width, indent=" " * 4).splitlines(),
    ]
    return "\n".join(line for section in sections for line in section)


def _parameter(evidence: str) -> tuple[str, str, str]:
    """Split "boot_mode=UEFI: why" into columns."""
    name, _, rest = evidence.partition("=")
    value, _, why = rest.partition(": ")
    value += " GiB" if name == "size_gib" else ""
    return _PARAMETERS.get(name, name), value, why


def _finding_lines(finding: Finding, width: int | None) -> list[str]:
    where = f" ({finding.where})" if finding.where else ""
    said = f"  {MARKS[finding.severity]} {finding.severity}: {finding.seen}{where} [{finding.rule}]"
    lines = _wrapped(said, width, indent=" " * 6)
    if finding.remedy:
        lines += "\n" + _wrapped(f"      do: {finding.remedy}", width, indent=" " * 10)
    return lines.splitlines()


def _wrapped(text: str, width: int | None, *, indent: str) -> str:
    if width is None or len(text) <= width:
        return text
    # Paths, commands and rules' names stay whole, so that they can be copied.
    return textwrap.fill(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _overview(checked: Sequence[Checked], width: int | None) -> str:
    """Set all disks in one table, for who looks at many."""
    rows = [(str(one.report.path), *_verdict(one.findings)) for one in checked]
    lines = table(("DISK", "IMPORTABLE", "BECAUSE"), rows).splitlines()
    return "\n".join(_wrapped(line, width, indent=" " * 4) for line in lines)


def _verdict(findings: Sequence[Finding]) -> tuple[str, str]:
    """Say whether it can be imported, and what speaks against it: by name what blocks, by number what does not.

    "perhaps" is for a disk of which something could not be read: nothing of that is taken for fine.
    """
    blocks, warns, unknown = (
        [finding.rule for finding in findings if finding.severity is severity]
        for severity in (Severity.BLOCKS, Severity.WARNS, Severity.UNKNOWN)
    )
    if blocks:
        return "no", ", ".join(blocks)
    rest = [count(len(warns), "warning")] if warns else []
    rest += [f"{count(len(unknown), 'thing')} not read"] if unknown else []
    return "perhaps" if unknown else "yes", ", ".join(rest)


def _verdict_line(findings: Sequence[Finding]) -> str:
    answer, because = _verdict(findings)
    if answer == "no":
        return f"  ✗ can't be imported as it is: {because}"
    words = "? can perhaps be imported" if answer == "perhaps" else "✓ can be imported"
    return f"  {words}{f': {because}' if because else ''}"
