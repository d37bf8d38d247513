"""Tests of errors as text and as JSON."""

import pytest

from aliyun_import.cli.main import bug_report, requested_output
from aliyun_import.cli.render.json import failure_document
from aliyun_import.cli.render.text import failure_lines
from aliyun_import.errors import DiskError
from tests.rows import each_row

ERROR = DiskError(
    "disk.vhd is cut short.",
    code="vhd-truncated",
    cause="It has 100 bytes.\nIts footer says 200.",
    remedy="Copy it again.",
    details={"request_id": "R-1"},
)


def test_the_text_has_summary_cause_and_remedy() -> None:
    """The last line has code, exit code and request id."""
    assert failure_lines(ERROR) == [
        "error: disk.vhd is cut short.",
        "  why: It has 100 bytes.",
        "       Its footer says 200.",
        "  do:  Copy it again.",
        "  (vhd-truncated, exit 3, request id R-1)",
    ]


def test_the_json_has_the_same_fields() -> None:
    """Code, exit code, remedy and details."""
    document = failure_document(ERROR)
    assert document["type"] == "error"
    assert (document["code"], document["exit_code"], document["remedy"]) == ("vhd-truncated", 3, "Copy it again.")
    assert document["details"] == {"request_id": "R-1"}


def test_a_bug_report_has_the_location_and_no_values() -> None:
    """The text of the exception is left out, because it may contain a secret."""
    with pytest.raises(ValueError, match="SANDBOX") as caught:
        int("SANDBOX-SECRET")
    report = bug_report(caught.value)
    assert report.exit_code == 1
    assert "ValueError" in str(report.cause)
    assert "SANDBOX-SECRET" not in "\n".join(failure_lines(report))
    assert "test_failure.py" in str(report.cause)


@each_row(
    ("arguments", "environment", "expected"),
    [
        (["push", "--output", "json"], {}, "json"),
        (["push", "--output=jsonl"], {"ALIYUN_IMPORT_OUTPUT": "plain"}, "jsonl"),
        (["push"], {"ALIYUN_IMPORT_OUTPUT": "json"}, "json"),
        (["push", "--output"], {}, "human"),
    ],
)
def test_usage_errors_have_the_requested_output(
    arguments: list[str], environment: dict[str, str], expected: str
) -> None:
    """Also for a command line that cannot be parsed."""
    assert requested_output(arguments, environment) == expected
