"""Tests of the text and the document of the result of `check`."""

import re
from pathlib import Path

from aliyun_import.checks.infer import infer_parameters
from aliyun_import.checks.run import CheckResult
from aliyun_import.cli.render.check import check_outcome
from aliyun_import.disk.report import BootEvidence
from aliyun_import.errors import Exit
from tests.checks.reports import findings, guest, report, request


def checked(**changes: object) -> CheckResult:
    """Check a disk as the command does."""
    disk = report(**changes)
    return CheckResult(
        report=disk, parameters=infer_parameters(disk, request()), findings=tuple(findings(disk).values())
    )


BAD = checked(boot=BootEvidence(), virtual_bytes=3 << 30)
GOOD = checked(guest=guest())
UNREAD = checked(guest=guest(), unknowns=("partition 2: it holds btrfs, and that is not read",))


def test_the_text_has_disk_parameters_findings_and_conclusion() -> None:
    """Each finding is one line with its severity, evidence and id; its remedy is below it; the conclusion is last."""
    head, *rest = check_outcome([BAD]).text.splitlines()
    assert head == "disk.raw: raw, 3 GiB, MBR, 1 partition"
    size = r"  DiskImageSize +5 GiB +the disk has 3 GiB, and a system disk needs 5 GiB"
    assert any(re.fullmatch(size, line) for line in rest)
    (line,) = [line for line in rest if "[nothing-starts]" in line]
    assert line.startswith("  ✗ blocks: ")
    assert "(byte 0, and the EFI system partitions)" in line
    assert rest[rest.index(line) + 1].startswith("      do: Install a boot loader")
    assert rest[-1] == "  ✗ cannot be imported as it is: nothing-starts"


def test_a_disk_that_was_not_read_completely_is_perhaps_importable() -> None:
    """An unknown finding does not count as passed."""
    assert check_outcome([UNREAD]).text.splitlines()[-1] == "  ? can perhaps be imported: 1 unknown finding"


def test_lines_are_wrapped_to_the_terminal_between_words() -> None:
    """No id, path or command is cut."""
    narrow = check_outcome([BAD], width=80).text
    assert max(map(len, narrow.splitlines())) <= 80
    assert " ".join(narrow.split()) == " ".join(check_outcome([BAD]).text.split())


def test_docs_json_has_every_field() -> None:
    """docs/json.md is the reference for scripts."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "json.md").read_text()
    part = page.partition("## The result of `check`")[2].partition("\n## ")[0]
    (disk,) = check_outcome([GOOD]).document["disks"]
    assert [name for name in disk if f"`{name}`" not in part] == []


def test_a_finding_has_the_fields_of_the_schema() -> None:
    """`seen`, the former name of `message`, is still there for scripts."""
    (disk,) = check_outcome([BAD]).document["disks"]
    fields = {"rule", "severity", "seen", "message", "where", "remedy", "subject", "source"}
    assert all(set(finding) == fields and finding["seen"] == finding["message"] for finding in disk["findings"])


def test_several_disks_end_in_a_table() -> None:
    """One row per disk: importable or not, and why."""
    outcome = check_outcome([GOOD, BAD, UNREAD])
    *_blocks, head, good, bad, unread = outcome.text.splitlines()
    assert head.split() == ["DISK", "IMPORTABLE", "BECAUSE"]
    assert (good.split(), bad.split()) == (["disk.raw", "yes"], ["disk.raw", "no", "nothing-starts"])
    assert unread.split() == ["disk.raw", "perhaps", "1", "unknown", "finding"]
    assert (outcome.exit_code, check_outcome([GOOD]).exit_code) == (Exit.DISK, Exit.DONE)
