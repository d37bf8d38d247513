"""Tests of the declarations of all checks, and of the pages that are generated from them."""

import runpy
from collections import Counter
from enum import Enum
from pathlib import Path

import pytest

from aliyun_import.checks.infer import INFERENCES
from aliyun_import.checks.registry import AppliesTo, Check, DiskSubject, Found, check
from aliyun_import.checks.run import CHECKS, explain, known_ids, refuse_unknown_ids
from aliyun_import.errors import UsageError
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import parameters
from tests.rows import each_row

ROOT = Path(__file__).resolve().parents[2]


def test_no_two_checks_have_the_same_id() -> None:
    """Skipping one check must not skip another."""
    assert [check_id for check_id, count in Counter(one.id for one in CHECKS).items() if count > 1] == []


@each_row("declared", CHECKS)
def test_every_check_is_declared_completely(declared: Check) -> None:
    """Explanations have what is checked, why, the severity, and the document that requires it."""
    assert declared.explanation.endswith((".", "`."))
    assert declared.source
    assert declared.severities
    assert declared.severity_text.split(",")[0].split()[0] in set(Severity)
    assert (declared.function is None) is (
        declared.applies_to in (AppliesTo.CONTAINER, AppliesTo.BUCKET, AppliesTo.BOOT)
    )
    text = explain(declared.id)
    assert text.startswith(
        f"{declared.id}: {declared.severity_text}\n\n{declared.explanation}\n\nSource: {declared.source}\n"
    )
    assert f"--skip-check {declared.id}" in text


@each_row("declared", [one for one in CHECKS if one.function])
def test_a_check_is_found_by_its_id(declared: Check) -> None:
    """The function has the name of the check, and its docstring begins with what is checked."""
    name = declared.function.__name__ if declared.function else ""
    assert name in (declared.id.replace("-", "_"), "one_of")
    assert declared.explanation.startswith("Check ")


def test_a_check_is_declared_where_it_is_written() -> None:
    """The decorator and the docstring provide the id, the severities, the source and the explanation."""

    @check("an-id", {Severity.NOTE: "", Severity.WARNS: "on arm64"}, source="a page")
    def an_id(_subject: DiskSubject) -> Found | None:
        """Check one thing.

        The reason is
        on two lines.
        """
        return None

    assert (an_id.id, an_id.severity, an_id.severity_text) == ("an-id", Severity.NOTE, "note, or warns on arm64")
    assert an_id.explanation == "Check one thing.\n\nThe reason is on two lines."


def test_a_parameter_with_choices_needs_no_check_of_its_own() -> None:
    """The check is derived from the declaration of the parameter, with the name of its option as id.

    A request refuses the other values of an Enum without a check.
    """
    texts = [one for one in parameters() if one.choices and not isinstance(one.choices[0], Enum)]
    assert {one.option.removeprefix("--") for one in texts} <= known_ids()


def test_a_parameter_is_inferred_if_and_only_if_its_declaration_has_it() -> None:
    """Help texts and docs are generated from the declarations."""
    assert set(INFERENCES) == {one.name for one in parameters() if one.inferred}


def test_an_unknown_id_is_refused_with_similar_ones() -> None:
    """A misspelt id must not pass for an explanation, or for a check that was skipped."""
    with pytest.raises(UsageError) as caught:
        explain("virtio-driver")
    assert caught.value.code == "unknown-check"
    assert "virtio-drivers" in (caught.value.cause or "")
    assert "--explain virtio-drivers" in (caught.value.remedy or "")
    refuse_unknown_ids({"image-name"})
    with pytest.raises(UsageError) as caught:
        refuse_unknown_ids({"image-nam"})
    assert "--skip-check image-name," in (caught.value.remedy or "")
    with pytest.raises(UsageError):
        refuse_unknown_ids({"zzz"})


@each_row("page", ["disks.md", "request-checks.md"])
def test_the_pages_about_the_checks_are_generated(page: str) -> None:
    """The tables have what `--explain` prints."""
    text = (ROOT / "docs" / page).read_text()
    with_tables = runpy.run_path(str(ROOT / "docs" / "generate_checks.py"))["with_tables"]
    assert with_tables(text) == text, "run `python docs/generate.py`"


def test_every_check_is_on_one_page() -> None:
    """The pages have a row for each check, and no other."""
    pages = [(ROOT / "docs" / page).read_text() for page in ("disks.md", "request-checks.md")]
    rows = [line.split("`")[1] for page in pages for line in page.splitlines() if line.startswith("| `")]
    assert set(rows) == {one.id for one in CHECKS}
    assert len(rows) == len(CHECKS)
