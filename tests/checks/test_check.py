"""Tests of the verdict over all findings."""

import pytest

from aliyun_import.checks.run import Verdict, raise_if_refused, refuse_unknown_rules
from aliyun_import.errors import AliyunImportError, DiskError, Exit, RefusedError, UsageError
from aliyun_import.model.finding import Finding, Severity


def finding(
    rule: str, severity: Severity = Severity.BLOCKS, *, subject: str = "request", remedy: str | None = ""
) -> Finding:
    """Give a finding; its remedy names the rule unless another is given."""
    return Finding(
        rule=rule,
        severity=severity,
        seen=f"Seen: {rule}.",
        remedy=f"Repair {rule}." if remedy == "" else remedy,
        subject=subject,
    )


def raised(*findings: Finding, skip: frozenset[str] = frozenset(), force: bool = False) -> AliyunImportError:
    """Give what is raised."""
    with pytest.raises(AliyunImportError) as caught:
        raise_if_refused(Verdict(findings), skip=skip, force=force)
    return caught.value


def test_only_what_blocks_refuses() -> None:
    """Warnings, notes and what could not be read let the push go on."""
    rest = tuple(finding(severity, severity) for severity in Severity if severity is not Severity.BLOCKS)
    assert not Verdict(rest).refused
    raise_if_refused(Verdict(rest))
    assert Verdict((*rest, finding("a"))).refused


def test_every_blocking_finding_is_named_with_its_remedy() -> None:
    """All at once, each remedy once."""
    error = raised(finding("a"), finding("b"), finding("b2", remedy="Repair b."), finding("c", Severity.WARNS))
    assert (error.cause or "").splitlines() == ["Seen: a. [a]", "Seen: b. [b]", "Seen: b2. [b2]"]
    assert (error.remedy or "").splitlines() == ["Repair a.", "Repair b."]
    assert error.details == {"rules": "a,b,b2"}
    assert error.code == "request-refused"


def test_a_single_finding_is_the_summary_and_the_code() -> None:
    """A script that asks for the code gets the rule."""
    error = raised(finding("image-name"))
    assert error.code == "image-name"
    assert "Seen: image-name." in str(error.cause)


def test_findings_about_a_disk_are_exit_3_and_others_exit_5() -> None:
    """What a caller should do next decides: fix the disk, or change the request."""
    about_disk = raised(finding("a"), finding("b", subject="disk.raw"))
    assert isinstance(about_disk, DiskError)
    assert about_disk.exit_code is Exit.DISK
    assert "disk.raw: Seen: b. [b]" in (about_disk.cause or "")
    assert isinstance(raised(finding("a")), RefusedError)


def test_skipped_rules_do_not_block() -> None:
    """--skip-check passes over its rule and no other."""
    raise_if_refused(Verdict((finding("a"),)), skip=frozenset({"a"}))
    assert raised(finding("a"), finding("b"), skip=frozenset({"a"})).code == "b"


def test_force_goes_on() -> None:
    """--force is the user's word against ours."""
    raise_if_refused(Verdict((finding("a"), finding("b", subject="disk.raw"))), force=True)


def test_without_any_remedy_there_is_still_a_way() -> None:
    """A finding that nothing repairs names the switch to try it all the same."""
    assert "--skip-check a" in (raised(finding("a", remedy=None)).remedy or "")


def test_an_unknown_check_is_refused_with_what_was_meant() -> None:
    """A typo must not look like a check that was skipped."""
    known = {"image-name", "tag-key"}
    refuse_unknown_rules({"image-name"}, known=known)
    with pytest.raises(UsageError) as caught:
        refuse_unknown_rules({"image-nam"}, known=known)
    assert "--skip-check image-name," in (caught.value.remedy or "")
    with pytest.raises(UsageError):
        refuse_unknown_rules({"zzz"}, known=known)
