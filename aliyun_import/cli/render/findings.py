"""This file sets out what `check` found: a block for each disk for people, a document for scripts."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from aliyun_import.cli.render.voice import Outcome
from aliyun_import.cli.render.words import count, size
from aliyun_import.disk.guest_report import GuestReport
from aliyun_import.errors import Exit
from aliyun_import.model import Finding, Severity
from aliyun_import.pipeline.inspect import Checked, summary

MARKS = {Severity.BLOCKS: "✗", Severity.WARNS: "!", Severity.NOTE: "·", Severity.UNKNOWN: "?"}


def check_outcome(checked: Sequence[Checked]) -> Outcome:
    """Give the result for all disks; exit 3 when anything blocks on any of them."""
    blocked = any(finding.severity is Severity.BLOCKS for one in checked for finding in one.findings)
    return Outcome(
        document={"command": "check", "disks": [_document(one) for one in checked]},
        text="\n\n".join(_text(one) for one in checked),
        exit_code=Exit.DISK if blocked else Exit.DONE,
    )


def _document(one: Checked) -> dict[str, Any]:
    report = one.report
    filled = {name: value for name, value in asdict(one.filled).items() if value is not None and name != "evidence"}
    return {
        "path": str(report.path),
        "container": report.container.value,
        "file_bytes": report.file_bytes,
        "virtual_bytes": report.virtual_bytes,
        "table": report.table.value,
        "partitions": [asdict(partition) for partition in report.partitions],
        "boot": asdict(report.boot),
        "guest": asdict(report.guest) if isinstance(report.guest, GuestReport) else None,
        "importable": not any(finding.severity is Severity.BLOCKS for finding in one.findings),
        "parameters": filled,
        "evidence": list(one.filled.evidence),
        "findings": [asdict(finding) for finding in one.findings],
    }


def _text(one: Checked) -> str:
    report = one.report
    lines = [f"{report.path}", f"  {summary(report)}"]
    for part in report.partitions:
        words = [part.type_name, part.filesystem, part.label, size(part.size_bytes), "active" if part.active else ""]
        lines.append(f"  partition {part.number}: {', '.join(word for word in words if word)}")
    lines += [f"  {line}" for line in one.filled.evidence]
    for finding in one.findings:
        lines += _finding_lines(finding)
    return "\n".join([*lines, f"  {_verdict(one.findings)}"])


def _finding_lines(finding: Finding) -> list[str]:
    where = f" ({finding.where})" if finding.where else ""
    lines = [f"  {MARKS[finding.severity]} {finding.severity}: {finding.seen}{where} [{finding.rule}]"]
    return [*lines, f"      {finding.remedy}"] if finding.remedy else lines


def _verdict(findings: Sequence[Finding]) -> str:
    blocks = sum(1 for finding in findings if finding.severity is Severity.BLOCKS)
    warns = sum(1 for finding in findings if finding.severity is Severity.WARNS)
    if blocks:
        return f"can't be imported as it is: {count(blocks, 'finding')} that block"
    return f"can be imported, with {count(warns, 'warning')}" if warns else "can be imported"
