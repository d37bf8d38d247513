"""Tests of the errors that findings raise."""

import pytest

from aliyun_import.checks.run import raise_if_blocked
from aliyun_import.errors import AliyunImportError, DiskError, Exit, RefusedError
from aliyun_import.model.finding import Finding, Severity


def finding(
    rule: str, severity: Severity = Severity.BLOCKS, *, subject: str = "request", remedy: str | None = ""
) -> Finding:
    """Return a finding; its remedy has the id unless another is given."""
    return Finding(
        rule=rule,
        severity=severity,
        message=f"Seen: {rule}.",
        remedy=f"Repair {rule}." if remedy == "" else remedy,
        subject=subject,
    )


def raised(*findings: Finding) -> AliyunImportError:
    """Return the error that the findings raise."""
    with pytest.raises(AliyunImportError) as caught:
        raise_if_blocked(findings)
    return caught.value


def test_only_blocking_findings_raise() -> None:
    """Warnings, notes and what could not be read do not stop the push."""
    rest = tuple(finding(severity, severity) for severity in Severity if severity is not Severity.BLOCKS)
    raise_if_blocked(rest)
    assert raised(*rest, finding("a")).code == "a"


def test_every_blocking_finding_is_named_with_its_remedy() -> None:
    """The error has all blocking findings, and each remedy once."""
    error = raised(finding("a"), finding("b"), finding("b2", remedy="Repair b."), finding("c", Severity.WARNS))
    assert (error.cause or "").splitlines() == ["Seen: a. [a]", "Seen: b. [b]", "Seen: b2. [b2]"]
    assert (error.remedy or "").splitlines() == ["Repair a.", "Repair b."]
    assert error.details == {"rules": "a,b,b2"}
    assert error.code == "request-refused"


def test_a_single_finding_is_the_summary_and_the_code() -> None:
    """A script that reads the code gets the id of the check."""
    error = raised(finding("image-name"))
    assert (error.code, error.summary, error.cause) == ("image-name", "Seen: image-name.", None)
    about_disk = raised(finding("no-root", subject="disk.raw"))
    assert (about_disk.code, "disk.raw" in about_disk.summary) == ("no-root", True)
    assert "Seen: no-root." in str(about_disk.cause)


def test_findings_about_a_disk_are_exit_3_and_others_exit_5() -> None:
    """The exit code depends on what to do next: fix the disk, or change the request."""
    about_disk = raised(finding("a"), finding("b", subject="disk.raw"))
    assert isinstance(about_disk, DiskError)
    assert about_disk.exit_code is Exit.DISK
    assert "disk.raw: Seen: b. [b]" in (about_disk.cause or "")
    assert isinstance(raised(finding("a")), RefusedError)


def test_force_ignores_blocking_findings() -> None:
    """With --force nothing is raised, whatever the subject."""
    raise_if_blocked((finding("a"), finding("b", subject="disk.raw")), force=True)


def test_without_any_remedy_the_option_to_skip_is_named() -> None:
    """The remedy of a finding that cannot be repaired has the option to try it regardless."""
    assert "--skip-check a" in (raised(finding("a", remedy=None)).remedy or "")
