"""Rendering of the result of `check`."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from aliyun_import.checks.run import CheckResult
from aliyun_import.cli.render.boot import boot_document, boot_lines
from aliyun_import.cli.render.json import finding_document
from aliyun_import.cli.render.layout import laid_out, wrapped
from aliyun_import.cli.render.result import Outcome, columns, table
from aliyun_import.cli.render.text import count, escaped
from aliyun_import.disk.guest.report import GuestReport
from aliyun_import.errors import Exit
from aliyun_import.model.finding import Finding, Severity
from aliyun_import.model.request import parameters
from aliyun_import.push.inspect_stage import summary
from aliyun_import.sizes import size

MARKS = {Severity.BLOCKS: "✗", Severity.WARNS: "!", Severity.NOTE: "·", Severity.UNKNOWN: "?"}
# The parameters by the names of ImportImage, with which docs/disks.md explains them.
_API_NAMES = {"format": "Format", "size_gib": "DiskImageSize"} | {
    one.name: one.api.rpartition(".")[2] for one in parameters()
}


def check_outcome(checked: Sequence[CheckResult], *, width: int | None = None) -> Outcome:
    """Return the result for all disks, with exit code 3 if a finding blocks.

    The text is wrapped to `width`; with None each finding is one line.
    """
    blocked = any(finding.severity is Severity.BLOCKS for one in checked for finding in one.findings)
    shown = escaped(tuple(checked))
    blocks = [_text(one, width) for one in shown]
    return Outcome(
        document={"command": "check", "disks": [_document(one) for one in checked]},
        text="\n\n".join(blocks if len(checked) == 1 else [*blocks, _overview(shown, width)]),
        is_marked=True,
        exit_code=Exit.DISK if blocked else Exit.DONE,
    )


def _document(one: CheckResult) -> dict[str, Any]:
    report = one.report
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
        "parameters": one.parameters.parameters,
        "evidence": list(one.parameters.evidence),
        "findings": [finding_document(finding) for finding in one.findings],
        "boot_test": boot_document(one.boot_test) if one.boot_test else None,
    }


def _text(one: CheckResult, width: int | None) -> str:
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
    inferred = [
        (_API_NAMES[name], f"{value.value} GiB" if name == "size_gib" else str(value.value), value.evidence)
        for name, value in one.parameters.values.items()
        if value.evidence
    ]
    sections = [
        wrapped(f"{report.path}: {summary(report)}", width, indent="  "),
        _indented(columns(parts)),
        [
            line
            for row, (*_, evidence) in zip(_indented(columns(inferred)), inferred, strict=True)
            for line in wrapped(row, width, indent=" " * (len(row) - len(evidence)))
        ],
        [line for finding in one.findings for line in _finding_lines(finding, width)],
        boot_lines(one.boot_test) if one.boot_test else [],
        wrapped(_verdict_line(one.findings), width, indent=" " * 4),
    ]
    return "\n".join(line for section in sections for line in section)


def _finding_lines(finding: Finding, width: int | None) -> list[str]:
    where = f" ({finding.where})" if finding.where else ""
    line = f"  {MARKS[finding.severity]} {finding.severity}: {finding.message}{where} [{finding.rule}]"
    lines = wrapped(line, width, indent=" " * 6)
    if not finding.remedy:
        return lines
    label = "      do: "
    if width is None:
        return [*lines, label + finding.remedy]
    return [*lines, *(one.text for one in laid_out(label, finding.remedy, width))]


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _overview(checked: Sequence[CheckResult], width: int | None) -> str:
    rows = [(str(one.report.path), *_verdict(one.findings)) for one in checked]
    lines = table(("DISK", "IMPORTABLE", "BECAUSE"), rows).splitlines()
    return "\n".join("\n".join(wrapped(line, width, indent=" " * 4)) for line in lines)


def _verdict(findings: Sequence[Finding]) -> tuple[str, str]:
    """Return whether a disk can be imported, and why not: the ids of blocking findings, the number of others.

    "perhaps" means that a part of the disk could not be read.
    """
    blocks, warns, unknown = (
        [finding.rule for finding in findings if finding.severity is severity]
        for severity in (Severity.BLOCKS, Severity.WARNS, Severity.UNKNOWN)
    )
    if blocks:
        return "no", ", ".join(blocks)
    rest = [count(len(warns), "warning")] if warns else []
    rest += [count(len(unknown), "unknown finding")] if unknown else []
    return "perhaps" if unknown else "yes", ", ".join(rest)


def _verdict_line(findings: Sequence[Finding]) -> str:
    answer, because = _verdict(findings)
    if answer == "no":
        return f"  ✗ cannot be imported as it is: {because}"
    text = "? can perhaps be imported" if answer == "perhaps" else "✓ can be imported"
    return f"  {text}{f': {because}' if because else ''}"
